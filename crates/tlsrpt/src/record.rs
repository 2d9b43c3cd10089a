//! The TXT record that says where reports go: RFC 8460, Section 3.

use std::fmt;

use byrnie_base::Mailbox;

/// The TXT record at `_smtp._tls.` and the policy domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsrptRecord {
    /// Where reports go: to each of these, of which there is at least one.
    pub destinations: Vec<Destination>,
}

/// Where reports go.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Destination {
    /// By mail, to this address.
    Mailto(Mailbox),
    /// By HTTPS, to this URL, of which only the scheme was looked at.
    Https(String),
}

impl TlsrptRecord {
    /// Picks the record out of all the TXT records that stand at `_smtp._tls.` and the policy domain.
    ///
    /// `None` means that no record is about reports. An error means that one tried to be; either way
    /// nobody is to be sent a report.
    ///
    /// # Errors
    /// Several records are about reports, or the one that is names nobody whom they could be sent to.
    pub fn select<'a>(
        texts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, RecordError> {
        //= https://www.rfc-editor.org/rfc/rfc8460#section-3
        //# If multiple TXT records for "_smtp._tls" are returned by the resolver, records that do
        //# not begin with "v=TLSRPTv1;" are discarded.
        let mut ours = texts
            .into_iter()
            .filter(|text| text.starts_with(PREFIX.as_bytes()));
        let Some(text) = ours.next() else {
            return Ok(None);
        };
        //# If the number of resulting records is not one, senders MUST assume the recipient domain
        //# does not implement TLSRPT.
        match ours.count() {
            0 => Self::parse(text).map(Some),
            others => Err(RecordError::Several(others + 1)),
        }
    }

    /// Parses one record; fields other than `rua`, and destinations of other kinds, are left out.
    ///
    /// # Errors
    /// It is no record, or names nobody whom a report could be sent to.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(text).map_err(|_| RecordError::NotText)?;
        let fields = text.strip_prefix(PREFIX).ok_or(RecordError::NoVersion)?;
        let rua = fields.split(';').find_map(|field| {
            let (name, value) = field.split_once('=')?;
            (name.trim_matches(WHITE_SPACE) == "rua").then_some(value)
        });
        let mut destinations = Vec::new();
        for uri in rua.ok_or(RecordError::NoRua)?.split(',') {
            let destination = Destination::parse(uri.trim_matches(WHITE_SPACE));
            let known = |known: &Destination| destinations.contains(known);
            match destination.filter(|destination| !known(destination)) {
                Some(_) if destinations.len() >= DESTINATIONS_MAX => break,
                Some(destination) => destinations.push(destination),
                None => {}
            }
        }
        match destinations.is_empty() {
            true => Err(RecordError::NoDestination),
            false => Ok(Self { destinations }),
        }
    }
}

impl Destination {
    /// The destination that a URI names, if it is of a kind that reports can be sent to.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        if scheme.eq_ignore_ascii_case("https") {
            return Some(Self::Https(String::from(uri)));
        }
        if !scheme.eq_ignore_ascii_case("mailto") {
            return None;
        }
        // What stands behind `?` would be header fields of somebody else's choice.
        let address = rest.split('?').next()?;
        percent_decoded(address)?.parse().ok().map(Self::Mailto)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailto(address) => write!(f, "mailto:{address}"),
            Self::Https(url) => f.write_str(url),
        }
    }
}

/// A text with each `%` and two hexadecimal digits replaced by what they stand for: RFC 3986, Section 2.1.
fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(octets).ok()
}

/// Why there is nobody to send reports to although the domain has tried to name somebody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordError {
    /// No URI in `rua` is one of `mailto` with an address or of `https`.
    NoDestination,
    /// There is no field `rua`.
    NoRua,
    /// It does not begin with `v=TLSRPTv1;`.
    NoVersion,
    /// It is not UTF-8.
    NotText,
    /// So many records are about reports, instead of one.
    Several(usize),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDestination => f.write_str("no mailto or https URI stands in rua"),
            Self::NoRua => f.write_str("there is no rua"),
            Self::NoVersion => write!(f, "it does not begin with {PREFIX:?}"),
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Several(count) => write!(f, "there are {count} records instead of one"),
        }
    }
}

impl std::error::Error for RecordError {}

/// How many destinations of one domain get reports; those past it are left out, so that nobody can have
/// byrnie send mail to a crowd.
pub const DESTINATIONS_MAX: usize = 4;

/// How a record begins.
const PREFIX: &str = "v=TLSRPTv1;";

/// What may stand around fields and URIs.
const WHITE_SPACE: [char; 2] = [' ', '\t'];
