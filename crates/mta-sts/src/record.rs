//! The TXT record that says that there is a policy, and which: RFC 8461, Section 3.1.

use std::fmt;
use std::str::FromStr;

/// The TXT record at `_mta-sts.` and the policy domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StsRecord {
    /// Which instance of the policy the domain serves now.
    pub id: PolicyId,
}

impl StsRecord {
    /// Picks the record out of all the TXT records that stand at `_mta-sts.` and the policy domain.
    ///
    /// `None` means that no record is about MTA-STS: the domain does not take part. An error means
    /// that it tried to; either way there is no record to go by, and a cached policy lives on.
    ///
    /// # Errors
    /// Several records are about MTA-STS, or the one that is breaks the grammar.
    pub fn select<'a>(
        texts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, RecordError> {
        //= https://www.rfc-editor.org/rfc/rfc8461#section-3.1
        //# If multiple TXT records for "_mta-sts" are returned by the resolver,
        //# records that do not begin with "v=STSv1;" are discarded.
        let mut ours = texts
            .into_iter()
            .filter(|text| text.starts_with(PREFIX.as_bytes()));
        let Some(text) = ours.next() else {
            return Ok(None);
        };
        //# If the number of resulting records is not one, or if the resulting record is
        //# syntactically invalid, senders MUST assume the recipient domain does not have an
        //# available MTA-STS Policy and skip the remaining steps of policy discovery.
        match ours.count() {
            0 => Self::parse(text).map(Some),
            others => Err(RecordError::Several(others + 1)),
        }
    }

    /// Parses one record.
    ///
    /// # Errors
    /// Says which field breaks the grammar, and how.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(text).map_err(|_| RecordError::NotText)?;
        let fields = text.strip_prefix(PREFIX).ok_or(RecordError::NoVersion)?;
        // One delimiter may stand at the end, where it is followed by nothing.
        let fields = fields.trim_end_matches(WHITE_SPACE);
        let fields = fields.strip_suffix(';').unwrap_or(fields);

        let mut id = None;
        for (position, field) in (2..).zip(fields.split(';')) {
            let fault = |fault| RecordError::Field { position, fault };
            let field = field.trim_matches(WHITE_SPACE);
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| fault(RecordFault::NotNameValue))?;
            match name {
                // The first of several counts, as in the policy file (Section 3.2).
                "id" if id.is_none() => {
                    id = Some(value.parse().map_err(|why| fault(RecordFault::Id(why)))?);
                }
                "id" => {}
                name if !is_extension_name(name) => return Err(fault(RecordFault::Name)),
                _ if !is_extension_value(value) => return Err(fault(RecordFault::Value)),
                _ => {}
            }
        }
        id.map(|id| Self { id }).ok_or(RecordError::NoId)
    }
}

impl FromStr for StsRecord {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for StsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} id={};", self.id)
    }
}

/// The `id` field: 1 to 32 letters and digits that change whenever the policy does.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyId(Box<str>);

impl PolicyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyId {
    type Err = InvalidPolicyId;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyId> {
        if text.is_empty() {
            return Err(InvalidPolicyId::Empty);
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric()) {
            return Err(InvalidPolicyId::BadCharacter(c));
        }
        if text.len() > ID_OCTETS_MAX {
            return Err(InvalidPolicyId::TooLong);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is not a policy id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidPolicyId {
    /// A character that is neither a letter nor a digit of ASCII.
    BadCharacter(char),
    /// There is nothing.
    Empty,
    /// More than 32 characters.
    TooLong,
}

impl fmt::Display for InvalidPolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCharacter(c) => write!(f, "{c:?} cannot stand in an id"),
            Self::Empty => f.write_str("the id is empty"),
            Self::TooLong => write!(f, "the id is longer than {ID_OCTETS_MAX} characters"),
        }
    }
}

impl std::error::Error for InvalidPolicyId {}

/// Why there is no record to go by although the domain has tried to publish one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordError {
    /// A field breaks the grammar.
    Field {
        /// Which one, counted from 1, the version.
        position: usize,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// There is no `id`.
    NoId,
    /// The record does not begin with `v=STSv1;`.
    NoVersion,
    /// The record is not UTF-8, let alone ASCII.
    NotText,
    /// So many records begin with `v=STSv1;`.
    Several(usize),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { position, fault } => write!(f, "field {position}: {fault}"),
            Self::NoId => f.write_str("there is no id"),
            Self::NoVersion => write!(f, "the record does not begin with {PREFIX}"),
            Self::NotText => f.write_str("the record is not text"),
            Self::Several(count) => write!(f, "{count} records begin with {PREFIX}"),
        }
    }
}

impl std::error::Error for RecordError {}

/// What is wrong with one field of the record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordFault {
    /// The value of `id` is no id.
    Id(InvalidPolicyId),
    /// The name of an extension breaks its grammar.
    Name,
    /// There is no `=`.
    NotNameValue,
    /// The value of an extension breaks its grammar.
    Value,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(why) => why.fmt(f),
            Self::Name => f.write_str("the name is not 1 to 32 letters, digits, _, - and ."),
            Self::NotNameValue => f.write_str("there is no = in it"),
            Self::Value => f.write_str("the value is empty or has a character it must not have"),
        }
    }
}

/// `sts-ext-name`.
fn is_extension_name(name: &str) -> bool {
    name.len() <= EXTENSION_NAME_OCTETS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// `sts-ext-value`: printable, without space, `;` and `=`.
fn is_extension_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'=')
}

/// What the records that count begin with.
const PREFIX: &str = "v=STSv1;";

/// `WSP` of RFC 5234.
const WHITE_SPACE: [char; 2] = [' ', '\t'];

/// `sts-id = %s"id=" 1*32(ALPHA / DIGIT)`.
const ID_OCTETS_MAX: usize = 32;

/// `(ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")`.
const EXTENSION_NAME_OCTETS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    #[test]
    fn every_refusal_says_what_and_where() {
        for (text, why) in [
            (
                "v=STSv1; id=2026 1122",
                "field 2: ' ' cannot stand in an id",
            ),
            ("v=STSv1; id=1; x", "field 3: there is no = in it"),
            ("v=STSv1;", "field 2: there is no = in it"),
            ("v=STSv1; a=b;", "there is no id"),
        ] {
            let error = text.parse::<StsRecord>().unwrap_err();
            assert_eq!(error.to_string(), why, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_make_the_parser_panic(tail in vec(any::<u8>(), 0..80)) {
            _ = StsRecord::select([[b"v=STSv1;".as_slice(), &tail].concat().as_slice()]);
        }

        #[test]
        fn a_record_reads_back_as_it_was_written(id in "[A-Za-z0-9]{1,32}") {
            let record = StsRecord { id: id.parse().unwrap() };
            assert_eq!(record.to_string().parse(), Ok(record));
        }
    }
}
