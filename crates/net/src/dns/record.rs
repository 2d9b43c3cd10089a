//! Records and their types, between the wire, byrnie and people.

use std::fmt;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::str::FromStr;

use byrnie_base::DomainName;
use byrnie_dane::TlsaRecord;
use bytes::Bytes;
use domain::base::Name;
use domain::base::ParsedName;
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::zonefile_fmt::DisplayKind;
use domain::base::zonefile_fmt::ZonefileFmt;
use domain::rdata::AllRecordData;
use domain::rdata::Tlsa;

/// A record, as far as byrnie understands it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchange; the host is `None` for the root (RFC 7505's null MX).
    ///
    /// A mail exchange whose name is no [`DomainName`], such as one with a space in it, is an
    /// [`Other`](Self::Other): nobody can be connected to under such a name.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The host.
        host: Option<DomainName>,
    },
    /// Certificate associations.
    Tlsa(TlsaRecord),
    /// The character strings of a TXT record, joined.
    Txt(Vec<u8>),
    /// Any other record, in presentation form.
    Other(String),
}

impl RecordData {
    /// What byrnie makes of a record from the wire.
    pub(super) fn from_wire(data: &AllRecordData<Bytes, ParsedName<Bytes>>) -> Self {
        if let AllRecordData::A(a) = data {
            return Self::A(a.addr());
        }
        if let AllRecordData::Aaaa(aaaa) = data {
            return Self::Aaaa(aaaa.addr());
        }
        if let AllRecordData::Tlsa(tlsa) = data {
            return Self::Tlsa(tlsa_from_wire(tlsa));
        }
        if let AllRecordData::Txt(txt) = data {
            return Self::Txt(txt.iter().flatten().copied().collect());
        }
        if let AllRecordData::Mx(mx) = data {
            let host = if mx.exchange().is_root() {
                Some(None)
            } else {
                domain_name(mx.exchange()).map(Some)
            };
            if let Some(host) = host {
                return Self::Mx {
                    preference: mx.preference(),
                    host,
                };
            }
        }
        Self::Other(data.display_zonefile(DisplayKind::Simple).to_string())
    }

    /// About how much memory it takes, for the bounds of the cache.
    pub(super) fn octets(&self) -> usize {
        let heap = match self {
            Self::A(_) | Self::Aaaa(_) => 0,
            Self::Mx { host, .. } => host.as_ref().map_or(0, |host| host.as_str().len()),
            Self::Tlsa(record) => record.data.len(),
            Self::Txt(text) => text.len(),
            Self::Other(text) => text.len(),
        };
        size_of::<Self>() + heap
    }
}

impl fmt::Display for RecordData {
    /// The presentation form (RFC 1035, Section 5.1), with absolute names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Mx { preference, host } => match host {
                Some(host) => write!(f, "{preference} {host}."),
                None => write!(f, "{preference} ."),
            },
            Self::Tlsa(record) => record.fmt(f),
            Self::Txt(text) => fmt_txt(text, f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Record types that byrnie asks for, and any other for people who look.
///
/// `Other` is never one of the types that have a variant of their own when it comes from
/// [`RecordType::from`] or [`str::parse`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchanges.
    Mx,
    /// Certificate associations.
    Tlsa,
    /// Text.
    Txt,
    /// Any other, by number.
    Other(u16),
}

impl RecordType {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::A => Rtype::A.to_int(),
            Self::Aaaa => Rtype::AAAA.to_int(),
            Self::Mx => Rtype::MX.to_int(),
            Self::Tlsa => Rtype::TLSA.to_int(),
            Self::Txt => Rtype::TXT.to_int(),
            Self::Other(number) => number,
        }
    }

    /// The type as the wire knows it.
    pub(super) fn rtype(self) -> Rtype {
        Rtype::from_int(self.number())
    }

    /// Whether it names no RRset of its own: a type of questions or of the protocol, or signatures,
    /// which are nothing without what they sign.
    pub(super) fn is_meta(self) -> bool {
        let rtype = self.rtype();
        rtype == Rtype::OPT
            || rtype == Rtype::SIG
            || rtype == Rtype::RRSIG
            || self.number() == 0
            || META_TYPES.contains(&self.number())
    }
}

impl From<u16> for RecordType {
    fn from(number: u16) -> Self {
        [Self::A, Self::Aaaa, Self::Mx, Self::Tlsa, Self::Txt]
            .into_iter()
            .find(|known| known.number() == number)
            .unwrap_or(Self::Other(number))
    }
}

impl FromStr for RecordType {
    type Err = InvalidRecordType;

    /// Reads a mnemonic in any case, or `TYPE` and a number (RFC 3597, Section 5).
    fn from_str(text: &str) -> Result<Self, InvalidRecordType> {
        match text.parse::<Rtype>() {
            Ok(rtype) => Ok(Self::from(rtype.to_int())),
            Err(_) => Err(InvalidRecordType),
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.rtype().to_string())
    }
}

/// A text is not a record type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidRecordType;

impl fmt::Display for InvalidRecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "neither the name of a record type, such as MX, nor TYPE and a number up to 65535",
        )
    }
}

impl std::error::Error for InvalidRecordType {}

/// The name as byrnie writes names; `None` for the root and for labels that are no host's.
pub(super) fn domain_name(name: &impl ToName) -> Option<DomainName> {
    let name: Name<Vec<u8>> = name.to_name();
    DomainName::from_ascii(&name.to_string()).ok()
}

/// A TLSA record from the wire; every combination of octets is one.
fn tlsa_from_wire(tlsa: &Tlsa<Bytes>) -> TlsaRecord {
    TlsaRecord {
        usage: tlsa.usage().to_int().into(),
        selector: tlsa.selector().to_int().into(),
        matching_type: tlsa.matching_type().to_int().into(),
        data: tlsa.data().to_vec(),
    }
}

/// RFC 1035, Section 5.1: quoted strings, of at most 255 octets each.
fn fmt_txt(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if text.is_empty() {
        return f.write_str("\"\"");
    }
    for (index, string) in text.chunks(CHARACTER_STRING_OCTETS_MAX).enumerate() {
        if index > 0 {
            f.write_char(' ')?;
        }
        f.write_char('"')?;
        for &octet in string {
            match octet {
                b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                b' '..=b'~' => f.write_char(char::from(octet))?,
                other => write!(f, "\\{other:03}")?,
            }
        }
        f.write_char('"')?;
    }
    Ok(())
}

/// RFC 1035, Section 3.3.
const CHARACTER_STRING_OCTETS_MAX: usize = 255;

/// TKEY, TSIG, IXFR, AXFR, MAILB, MAILA and ANY: RFC 6895, Section 3.1.
const META_TYPES: std::ops::RangeInclusive<u16> = 249..=255;

#[cfg(test)]
mod tests {
    use byrnie_dane::CertUsage;
    use byrnie_dane::MatchingType;
    use byrnie_dane::Selector;

    use super::*;

    #[test]
    fn record_types_are_read_by_name_and_by_number() {
        check_type("MX", Some(RecordType::Mx), "MX");
        check_type("aaaa", Some(RecordType::Aaaa), "AAAA");
        check_type("TYPE1", Some(RecordType::A), "A");
        check_type("type52", Some(RecordType::Tlsa), "TLSA");
        check_type("SOA", Some(RecordType::Other(6)), "SOA");
        check_type("TYPE65280", Some(RecordType::Other(65280)), "TYPE65280");
        check_type("DNSKEY", Some(RecordType::Other(48)), "DNSKEY");
        check_type("TYPE65536", None, "");
        check_type("TYPE", None, "");
        check_type("", None, "");
        check_type("MXX", None, "");
        check_type("\u{e4}\u{e4}\u{e4}\u{e4}1", None, "");
    }

    #[test]
    fn types_that_have_no_rrset_are_known() {
        for text in ["ANY", "AXFR", "IXFR", "OPT", "RRSIG", "TSIG", "TYPE0"] {
            assert!(text.parse::<RecordType>().unwrap().is_meta(), "{text}");
        }
        for text in ["A", "CNAME", "DS", "NSEC", "CAA", "TYPE248"] {
            assert!(!text.parse::<RecordType>().unwrap().is_meta(), "{text}");
        }
    }

    #[test]
    fn records_are_shown_in_presentation_form() {
        check_display(RecordData::A([192, 0, 2, 1].into()), "192.0.2.1");
        check_display(RecordData::Aaaa(Ipv6Addr::LOCALHOST), "::1");
        check_display(
            RecordData::Mx {
                preference: 10,
                host: Some("mx.example.org".parse().unwrap()),
            },
            "10 mx.example.org.",
        );
        let null = RecordData::Mx {
            preference: 0,
            host: None,
        };
        check_display(null, "0 .");
        check_display(
            RecordData::Tlsa(TlsaRecord {
                usage: CertUsage::DaneEe,
                selector: Selector::Spki,
                matching_type: MatchingType::Unassigned(9),
                data: vec![0xAB, 1],
            }),
            "3 1 9 ab01",
        );
        check_display(RecordData::Txt(Vec::new()), "\"\"");
        check_display(
            RecordData::Txt(b"a \"b\"\\\n".to_vec()),
            r#""a \"b\"\\\010""#,
        );
        let long = RecordData::Txt(vec![b'x'; 256]);
        let expected = format!("\"{}\" \"x\"", "x".repeat(255));
        check_display(long, &expected);
    }

    #[track_caller]
    fn check_type(text: &str, expected: Option<RecordType>, shown: &str) {
        let parsed = text.parse::<RecordType>().ok();
        assert_eq!(parsed, expected, "{text:?}");
        if let Some(parsed) = parsed {
            assert_eq!(parsed.to_string(), shown);
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "it reads better in the rows")]
    fn check_display(data: RecordData, expected: &str) {
        assert_eq!(data.to_string(), expected);
    }
}
