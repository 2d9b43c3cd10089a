//! TLSA records: RFC 6698, Section 2, with the names of RFC 7218.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

/// One TLSA record as it stands in the DNS.
///
/// Every combination of octets is a record; whether a sender can use it is another question, and
/// one that RFC 7672 answers differently from "is it well-formed" (behaviour rule 14).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TlsaRecord {
    /// What the record says about the certificate chain.
    pub usage: CertUsage,
    /// What part of the certificate is compared.
    pub selector: Selector,
    /// How `data` stands for that part.
    pub matching_type: MatchingType,
    /// "Certificate association data": a digest, or the part itself.
    pub data: Vec<u8>,
}

impl TlsaRecord {
    /// Reads the RDATA of a record: RFC 6698, Section 2.1.
    ///
    /// # Errors
    /// The RDATA ends before the three parameters do.
    pub fn from_wire(rdata: &[u8]) -> Result<Self, InvalidTlsa> {
        let [usage, selector, matching_type, data @ ..] = rdata else {
            return Err(InvalidTlsa {
                offset: rdata.len(),
                fault: TlsaFault::Truncated,
            });
        };
        Ok(Self {
            usage: CertUsage::from(*usage),
            selector: Selector::from(*selector),
            matching_type: MatchingType::from(*matching_type),
            data: data.to_vec(),
        })
    }

    /// The RDATA of the record.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut rdata = vec![
            self.usage.into(),
            self.selector.into(),
            self.matching_type.into(),
        ];
        rdata.extend_from_slice(&self.data);
        rdata
    }

    /// The record for a line in a log or a receipt: as `Display`, but long data is cut off and its
    /// length is told.
    pub fn abbreviated(&self) -> impl fmt::Display + '_ {
        Abbreviated(self)
    }

    /// The three parameters as numbers.
    fn write_parameters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            u8::from(self.usage),
            u8::from(self.selector),
            u8::from(self.matching_type)
        )
    }
}

impl FromStr for TlsaRecord {
    type Err = InvalidTlsa;

    /// Parses the presentation form: RFC 6698, Section 2.2, with numbers or with RFC 7218's
    /// acronyms.
    ///
    /// "Whitespace is allowed within the hexadecimal text". A record without data is a record, and
    /// an unusable one.
    fn from_str(text: &str) -> Result<Self, InvalidTlsa> {
        let mut fields = Fields { text, offset: 0 };
        let usage = fields.parameter(Parameter::Usage)?;
        let selector = fields.parameter(Parameter::Selector)?;
        let matching_type = fields.parameter(Parameter::MatchingType)?;
        Ok(Self {
            usage: usage.into(),
            selector: selector.into(),
            matching_type: matching_type.into(),
            data: fields.data()?,
        })
    }
}

impl fmt::Display for TlsaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_parameters(f)?;
        if !self.data.is_empty() {
            f.write_str(" ")?;
        }
        write_hex(f, &self.data)
    }
}

impl Serialize for TlsaRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TlsaRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A record whose data is cut off where it would fill the screen.
struct Abbreviated<'a>(&'a TlsaRecord);

impl fmt::Display for Abbreviated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record) = self;
        match record.data.get(..ABBREVIATED_OCTETS) {
            Some(start) if record.data.len() > ABBREVIATED_OCTETS => {
                record.write_parameters(f)?;
                f.write_str(" ")?;
                write_hex(f, start)?;
                write!(f, "… ({} octets)", record.data.len())
            }
            Some(_) | None => record.fmt(f),
        }
    }
}

/// "Certificate usage": RFC 6698, Section 2.1.1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CertUsage {
    /// 0: an authority that must be in the path, besides a public root. Unusable for SMTP.
    PkixTa,
    /// 1: the server's certificate, besides a public root. Unusable for SMTP.
    PkixEe,
    /// 2: an authority that the path must end in.
    DaneTa,
    /// 3: the server's own certificate or key.
    DaneEe,
    /// 4 to 254 are unassigned, 255 is private.
    Unassigned(u8),
}

impl From<u8> for CertUsage {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::PkixTa,
            1 => Self::PkixEe,
            2 => Self::DaneTa,
            3 => Self::DaneEe,
            other => Self::Unassigned(other),
        }
    }
}

impl From<CertUsage> for u8 {
    fn from(usage: CertUsage) -> Self {
        match usage {
            CertUsage::PkixTa => 0,
            CertUsage::PkixEe => 1,
            CertUsage::DaneTa => 2,
            CertUsage::DaneEe => 3,
            CertUsage::Unassigned(other) => other,
        }
    }
}

impl fmt::Display for CertUsage {
    /// The acronym of RFC 7218, Section 2.1, with the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PkixTa => f.write_str("PKIX-TA(0)"),
            Self::PkixEe => f.write_str("PKIX-EE(1)"),
            Self::DaneTa => f.write_str("DANE-TA(2)"),
            Self::DaneEe => f.write_str("DANE-EE(3)"),
            Self::Unassigned(other) => other.fmt(f),
        }
    }
}

/// "Selector": RFC 6698, Section 2.1.2.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Selector {
    /// 0: the whole certificate.
    Cert,
    /// 1: the SubjectPublicKeyInfo.
    Spki,
    /// 2 to 254 are unassigned, 255 is private.
    Unassigned(u8),
}

impl From<u8> for Selector {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Cert,
            1 => Self::Spki,
            other => Self::Unassigned(other),
        }
    }
}

impl From<Selector> for u8 {
    fn from(selector: Selector) -> Self {
        match selector {
            Selector::Cert => 0,
            Selector::Spki => 1,
            Selector::Unassigned(other) => other,
        }
    }
}

impl fmt::Display for Selector {
    /// The acronym of RFC 7218, Section 2.2, with the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cert => f.write_str("Cert(0)"),
            Self::Spki => f.write_str("SPKI(1)"),
            Self::Unassigned(other) => other.fmt(f),
        }
    }
}

/// "Matching type": RFC 6698, Section 2.1.3.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MatchingType {
    /// 0: the selected part itself.
    Full,
    /// 1: its SHA-256 digest.
    Sha256,
    /// 2: its SHA-512 digest.
    Sha512,
    /// 3 to 254 are unassigned, 255 is private.
    Unassigned(u8),
}

impl From<u8> for MatchingType {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Full,
            1 => Self::Sha256,
            2 => Self::Sha512,
            other => Self::Unassigned(other),
        }
    }
}

impl From<MatchingType> for u8 {
    fn from(matching_type: MatchingType) -> Self {
        match matching_type {
            MatchingType::Full => 0,
            MatchingType::Sha256 => 1,
            MatchingType::Sha512 => 2,
            MatchingType::Unassigned(other) => other,
        }
    }
}

impl fmt::Display for MatchingType {
    /// The acronym of RFC 7218, Section 2.3, with the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("Full(0)"),
            Self::Sha256 => f.write_str("SHA2-256(1)"),
            Self::Sha512 => f.write_str("SHA2-512(2)"),
            Self::Unassigned(other) => other.fmt(f),
        }
    }
}

/// Why octets or a text are not a TLSA record, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidTlsa {
    /// Octets from the start of the input to the fault.
    pub offset: usize,
    /// What is wrong there.
    pub fault: TlsaFault,
}

impl fmt::Display for InvalidTlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.fault, self.offset)
    }
}

impl std::error::Error for InvalidTlsa {}

/// What is wrong with a TLSA record that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TlsaFault {
    /// A parameter is neither a number up to 255 nor an acronym of RFC 7218.
    BadParameter(Parameter),
    /// The input ends where a parameter should stand.
    MissingParameter(Parameter),
    /// A character in the data is no hexadecimal digit.
    NotHexadecimal(char),
    /// The data has an odd number of hexadecimal digits.
    OddDigits,
    /// The data is longer than a resource record can carry.
    TooLong,
    /// The RDATA is shorter than its three parameters.
    Truncated,
}

impl fmt::Display for TlsaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadParameter(parameter) => {
                write!(f, "the {parameter} is no number up to 255 and no acronym")
            }
            Self::MissingParameter(parameter) => write!(f, "the {parameter} is missing"),
            Self::NotHexadecimal(c) => write!(f, "{c:?} is no hexadecimal digit"),
            Self::OddDigits => f.write_str("the data has an odd number of hexadecimal digits"),
            Self::TooLong => f.write_str("the data is longer than a record can carry"),
            Self::Truncated => f.write_str("the record ends within its three parameters"),
        }
    }
}

/// The fields before the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parameter {
    /// [`CertUsage`].
    Usage,
    /// [`Selector`].
    Selector,
    /// [`MatchingType`].
    MatchingType,
}

impl Parameter {
    /// The acronyms of RFC 7218, Section 2, in its registries' spelling.
    const fn acronyms(self) -> &'static [(&'static str, u8)] {
        match self {
            Self::Usage => &[
                ("PKIX-TA", 0),
                ("PKIX-EE", 1),
                ("DANE-TA", 2),
                ("DANE-EE", 3),
                ("PrivCert", 255),
            ],
            Self::Selector => &[("Cert", 0), ("SPKI", 1), ("PrivSel", 255)],
            Self::MatchingType => &[
                ("Full", 0),
                ("SHA2-256", 1),
                ("SHA2-512", 2),
                ("PrivMatch", 255),
            ],
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usage => "certificate usage",
            Self::Selector => "selector",
            Self::MatchingType => "matching type",
        })
    }
}

/// Reads the presentation form from left to right.
struct Fields<'a> {
    /// What is not read yet.
    text: &'a str,
    /// Octets before it.
    offset: usize,
}

impl Fields<'_> {
    /// The next field as the value of a parameter.
    fn parameter(&mut self, parameter: Parameter) -> Result<u8, InvalidTlsa> {
        let rest = self.text.trim_start();
        self.offset += self.text.len() - rest.len();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (field, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if field.is_empty() {
            return Err(self.fault(TlsaFault::MissingParameter(parameter)));
        }
        let number = match field.bytes().all(|octet| octet.is_ascii_digit()) {
            true => field.parse().ok(),
            false => parameter
                .acronyms()
                .iter()
                .find(|(acronym, _)| field.eq_ignore_ascii_case(acronym))
                .map(|(_, number)| *number),
        };
        let value = number.ok_or_else(|| self.fault(TlsaFault::BadParameter(parameter)))?;
        self.offset += end;
        self.text = rest;
        Ok(value)
    }

    /// All that is left, as hexadecimal digits with any whitespace between them.
    fn data(&self) -> Result<Vec<u8>, InvalidTlsa> {
        let mut data = Vec::new();
        let mut high = None;
        for (position, c) in self.text.char_indices() {
            let at = |fault| InvalidTlsa {
                offset: self.offset + position,
                fault,
            };
            if c.is_whitespace() {
                continue;
            }
            let digit = c
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
                .ok_or_else(|| at(TlsaFault::NotHexadecimal(c)))?;
            high = match high {
                None => Some(digit << 4),
                Some(_) if data.len() == DATA_OCTETS_MAX => return Err(at(TlsaFault::TooLong)),
                Some(high) => {
                    data.push(high | digit);
                    None
                }
            };
        }
        match high {
            None => Ok(data),
            Some(_) => Err(InvalidTlsa {
                offset: self.offset + self.text.len(),
                fault: TlsaFault::OddDigits,
            }),
        }
    }

    /// A fault at the current place.
    fn fault(&self, fault: TlsaFault) -> InvalidTlsa {
        InvalidTlsa {
            offset: self.offset,
            fault,
        }
    }
}

/// Writes octets as lower-case hexadecimal digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// RDLENGTH is 16 bits wide (RFC 1035, Section 3.2.1), and three octets are spent on parameters.
const DATA_OCTETS_MAX: usize = 65_535 - 3;

/// Data up to a SHA-512 digest is always shown whole.
const ABBREVIATED_OCTETS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    #[test]
    fn parameters_are_numbers_or_acronyms_in_any_case() {
        check("3 1 1 ab", Ok("3 1 1 ab"));
        check("DANE-EE SPKI SHA2-256 AB", Ok("3 1 1 ab"));
        check("dane-ta cert full ab", Ok("2 0 0 ab"));
        check("PKIX-TA Cert sha2-512 ab", Ok("0 0 2 ab"));
        check("pkix-ee 1 1 ab", Ok("1 1 1 ab"));
        check("PrivCert PrivSel PrivMatch ab", Ok("255 255 255 ab"));
        check("003 001 001 ab", Ok("3 1 1 ab"));
        check("7 8 9 ab", Ok("7 8 9 ab"));
    }

    #[test]
    fn data_may_have_whitespace_anywhere_and_may_be_empty() {
        check("  3\t1 1 a b\n cd ", Ok("3 1 1 abcd"));
        check("3 1 1", Ok("3 1 1"));
        check("3 1 1  ", Ok("3 1 1"));
    }

    #[test]
    fn what_is_no_record_is_refused_with_the_place() {
        use Parameter::MatchingType;
        use Parameter::Selector;
        use Parameter::Usage;
        check("", Err((0, TlsaFault::MissingParameter(Usage))));
        check("3", Err((1, TlsaFault::MissingParameter(Selector))));
        check("3 1 ", Err((4, TlsaFault::MissingParameter(MatchingType))));
        check("256 1 1 ab", Err((0, TlsaFault::BadParameter(Usage))));
        check("+3 1 1 ab", Err((0, TlsaFault::BadParameter(Usage))));
        check(
            "3 SHA2-256 1 ab",
            Err((2, TlsaFault::BadParameter(Selector))),
        );
        check(
            "3 1 SPKI ab",
            Err((4, TlsaFault::BadParameter(MatchingType))),
        );
        check("3 1 1 abx", Err((8, TlsaFault::NotHexadecimal('x'))));
        check("3 1 1 ab é", Err((9, TlsaFault::NotHexadecimal('é'))));
        check("3 1 1 abc", Err((9, TlsaFault::OddDigits)));
        let longest = format!("3 1 1 {}", "00".repeat(65_532));
        check(&longest, Ok(&longest));
        let too_long = format!("{longest}00");
        check(&too_long, Err((longest.len() + 1, TlsaFault::TooLong)));
    }

    #[test]
    fn rdata_shorter_than_its_parameters_is_refused() {
        for length in 0..3 {
            assert_eq!(
                TlsaRecord::from_wire(&[3, 1][..length.min(2)]),
                Err(InvalidTlsa {
                    offset: length.min(2),
                    fault: TlsaFault::Truncated
                })
            );
        }
        assert_eq!(
            TlsaRecord::from_wire(&[3, 1, 1]),
            Ok("3 1 1".parse().unwrap())
        );
    }

    #[test]
    fn long_data_is_cut_off_in_logs() {
        let record: TlsaRecord = format!("2 0 0 {}", "0a".repeat(70)).parse().unwrap();
        assert_eq!(
            record.abbreviated().to_string(),
            format!("2 0 0 {}… (70 octets)", "0a".repeat(64))
        );
        let record: TlsaRecord = format!("3 1 2 {}", "0a".repeat(64)).parse().unwrap();
        assert_eq!(record.abbreviated().to_string(), record.to_string());
    }

    #[test]
    fn a_record_is_a_string_in_json() {
        let record: TlsaRecord = "3 1 1 abcd".parse().unwrap();
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(json, "\"3 1 1 abcd\"");
        assert_eq!(serde_json::from_str::<TlsaRecord>(&json).unwrap(), record);
        assert!(serde_json::from_str::<TlsaRecord>("\"3 1\"").is_err());
    }

    proptest! {
        #[test]
        fn any_rdata_survives_the_wire_and_the_presentation_form(
            rdata in proptest::collection::vec(any::<u8>(), 3..200)
        ) {
            let record = TlsaRecord::from_wire(&rdata).unwrap();
            assert_eq!(record.to_wire(), rdata);
            assert_eq!(record.to_string().parse(), Ok(record));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<TlsaRecord>();
        }

        #[test]
        fn whitespace_between_digits_does_not_matter(
            data in proptest::collection::vec(any::<u8>(), 0..40),
            gap in "[ \\t\\n]{0,3}",
        ) {
            let spaced: String = data.iter().map(|octet| format!("{gap}{octet:02X}")).collect();
            let record: TlsaRecord = format!("3 1 1 {spaced}").parse().unwrap();
            assert_eq!(record.data, data);
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, (usize, TlsaFault)>) {
        let parsed = text.parse::<TlsaRecord>();
        assert_eq!(
            parsed.map(|record| record.to_string()),
            expected
                .map(str::to_owned)
                .map_err(|(offset, fault)| InvalidTlsa { offset, fault }),
            "{text:?}"
        );
    }
}
