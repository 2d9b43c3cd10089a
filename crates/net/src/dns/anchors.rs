//! Where the chains of trust begin: RFC 4033, Section 2 ("Trust Anchor").

use std::fmt;

use bytes::Bytes;
use domain::base::Name;
use domain::base::ToName;
use domain::base::iana::Class;
use domain::base::iana::DigestAlgorithm;
use domain::dnssec::validator::anchor;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::Entry;
use domain::zonefile::inplace::Zonefile;

/// Keys that are trusted without a signature, for the root or for zones below it.
#[derive(Clone, Debug)]
pub struct TrustAnchors {
    /// The anchors in the order of their text.
    records: Vec<AnchorRecord>,
}

/// One DS or DNSKEY record.
#[derive(Clone, Debug)]
struct AnchorRecord {
    /// The zone.
    owner: Name<Bytes>,
    /// The record in presentation form, on one line.
    text: String,
}

impl TrustAnchors {
    /// The key-signing keys of the DNS root, as IANA publishes them (RFC 9718): KSK-2017 and
    /// KSK-2024.
    #[must_use]
    pub fn root() -> Self {
        let records = ROOT_ANCHORS.iter().map(|text| AnchorRecord {
            owner: Name::root_bytes(),
            text: (*text).to_owned(),
        });
        Self {
            records: records.collect(),
        }
    }

    /// Reads DS and DNSKEY records in the form of a zone file: one record a line, or several lines
    /// in parentheses; `;` begins a comment.
    ///
    /// # Errors
    /// Names the line, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidAnchors> {
        let mut records = Vec::new();
        for (line, entry) in entries(text)? {
            let record = parse_record(&entry).map_err(|why| InvalidAnchors { line, why })?;
            records.push(record);
        }
        if records.is_empty() {
            let line = text.lines().count().max(1);
            let why = AnchorFault::Empty;
            return Err(InvalidAnchors { line, why });
        }
        Ok(Self { records })
    }

    /// Whether there is no anchor at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The zones that have an anchor, each once.
    pub(super) fn owners(&self) -> Vec<Name<Bytes>> {
        let mut owners: Vec<Name<Bytes>> = Vec::new();
        for record in &self.records {
            if !owners.contains(&record.owner) {
                owners.push(record.owner.clone());
            }
        }
        owners
    }

    /// The deepest zone with an anchor that a name lies in.
    pub(super) fn zone_of(&self, name: &Name<Bytes>) -> Option<&Name<Bytes>> {
        self.records
            .iter()
            .map(|record| &record.owner)
            .filter(|owner| name.ends_with(owner))
            .max_by_key(|owner| owner.label_count())
    }

    /// The anchors in the form that the validator takes.
    pub(super) fn for_validator(&self) -> anchor::TrustAnchors {
        let mut anchors = anchor::TrustAnchors::empty();
        for record in &self.records {
            // The text was read once already, so that it cannot fail; if it did, the zone would
            // have no anchor, and nothing in it would be secure.
            let added = anchors.add_u8(record.text.as_bytes());
            debug_assert!(added.is_ok(), "{:?}", record.text);
        }
        anchors
    }
}

/// Splits the text into records without comments, each with the number of its first line.
fn entries(text: &str) -> Result<Vec<(usize, String)>, InvalidAnchors> {
    let mut entries: Vec<(usize, String)> = Vec::new();
    // The record that is open, and how many parentheses are.
    let mut open: Option<(usize, String)> = None;
    let mut depth = 0_usize;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let fault = |why| InvalidAnchors {
            line: line_number,
            why,
        };
        if entries.len() >= ANCHORS_MAX {
            return Err(fault(AnchorFault::TooMany));
        }
        let content = line.split(';').next().unwrap_or_default();
        for c in content.chars() {
            match c {
                '(' => depth += 1,
                ')' => {
                    let less = depth.checked_sub(1);
                    depth = less.ok_or_else(|| fault(AnchorFault::Parentheses))?;
                }
                _ => {}
            }
        }
        let content = content.replace(['(', ')'], " ");
        let (first, mut entry) = open.take().unwrap_or((line_number, String::new()));
        entry.push(' ');
        entry.push_str(content.trim());
        if depth > 0 {
            open = Some((first, entry));
        } else if !entry.trim().is_empty() {
            entries.push((first, entry.trim().to_owned()));
        }
    }
    match open {
        Some((line, _)) => Err(InvalidAnchors {
            line,
            why: AnchorFault::Parentheses,
        }),
        None => Ok(entries),
    }
}

/// Reads one record and checks that a chain of trust can begin with it.
fn parse_record(entry: &str) -> Result<AnchorRecord, AnchorFault> {
    if entry.starts_with('$') {
        return Err(AnchorFault::Directive);
    }
    let mut zonefile = Zonefile::new();
    zonefile.set_default_class(Class::IN);
    zonefile.set_origin(Name::root_bytes());
    // A TTL of any length may be left out; what is trusted does not expire with it.
    zonefile.extend_from_slice(b"$TTL 86400\n");
    zonefile.extend_from_slice(entry.as_bytes());
    zonefile.extend_from_slice(b"\n");
    let record = match zonefile.next_entry() {
        Ok(Some(Entry::Record(record))) => record,
        Ok(Some(Entry::Include { .. }) | None) => return Err(AnchorFault::Directive),
        Err(error) => return Err(AnchorFault::Unreadable(plain_zonefile_error(&error))),
    };
    let owner: Name<Bytes> = record.owner().to_name();
    let data = if let ZoneRecordData::Ds(ds) = record.data() {
        let length = digest_octets(ds.digest_type()).ok_or(AnchorFault::DigestType)?;
        if ds.digest().len() != length {
            return Err(AnchorFault::DigestLength);
        }
        format!("DS {ds}")
    } else if let ZoneRecordData::Dnskey(key) = record.data() {
        if !key.is_zone_key() || key.protocol() != DNSSEC_PROTOCOL {
            return Err(AnchorFault::NoZoneKey);
        }
        if key.is_revoked() {
            return Err(AnchorFault::Revoked);
        }
        format!("DNSKEY {key}")
    } else {
        return Err(AnchorFault::OtherType(record.rtype().to_string()));
    };
    let text = format!("{} 86400 IN {data}", owner.fmt_with_dot());
    Ok(AnchorRecord { owner, text })
}

/// The message of an error of the zone-file parser, without its own count of lines.
fn plain_zonefile_error(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let stripped = text.split_once(": ").map(|(_, why)| why.to_owned());
    stripped.unwrap_or(text)
}

/// How long a digest of that type is; `None` if it cannot be checked (RFC 8624, Section 3.3).
fn digest_octets(digest_type: DigestAlgorithm) -> Option<usize> {
    match digest_type {
        DigestAlgorithm::SHA1 => Some(20),
        DigestAlgorithm::SHA256 => Some(32),
        DigestAlgorithm::SHA384 => Some(48),
        _ => None,
    }
}

/// Why a text holds no trust anchors, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidAnchors {
    /// The line, from 1; of a record over several lines, the first.
    pub line: usize,
    /// What is wrong there.
    pub why: AnchorFault,
}

impl fmt::Display for InvalidAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for InvalidAnchors {}

/// What is wrong with a trust anchor.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AnchorFault {
    /// The digest has another length than its type.
    DigestLength,
    /// The digest type is none of SHA-1, SHA-256 and SHA-384.
    DigestType,
    /// `$INCLUDE` and its like.
    Directive,
    /// There is no record in the whole text.
    Empty,
    /// The DNSKEY is not for zones (RFC 4034, Section 2.1.1) or not for DNSSEC.
    NoZoneKey,
    /// A record of this type.
    OtherType(String),
    /// A parenthesis without its other half.
    Parentheses,
    /// The DNSKEY is revoked (RFC 5011, Section 2.1).
    Revoked,
    /// More than [`ANCHORS_MAX`] records.
    TooMany,
    /// No record at all.
    Unreadable(String),
}

impl fmt::Display for AnchorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DigestLength => f.write_str("the digest does not have the length of its type"),
            Self::DigestType => f.write_str("the digest type is not 1, 2 or 4"),
            Self::Directive => f.write_str("directives such as $INCLUDE cannot stand here"),
            Self::Empty => f.write_str("there is no DS or DNSKEY record in the text"),
            Self::NoZoneKey => f.write_str("the DNSKEY record holds no zone key"),
            Self::OtherType(rtype) => write!(f, "{rtype} is neither DS nor DNSKEY"),
            Self::Parentheses => f.write_str("a parenthesis has no other half"),
            Self::Revoked => f.write_str("the key is revoked"),
            Self::TooMany => write!(f, "more than {ANCHORS_MAX} trust anchors"),
            Self::Unreadable(why) => write!(f, "this is no DS or DNSKEY record: {why}"),
        }
    }
}

/// RFC 4034, Section 2.1.2: the only value of the Protocol field.
const DNSSEC_PROTOCOL: u8 = 3;

/// At most this many trust anchors.
pub const ANCHORS_MAX: usize = 64;

/// <https://data.iana.org/root-anchors/root-anchors.xml>, the key digests that are valid now.
const ROOT_ANCHORS: [&str; 2] = [
    ". 86400 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". 86400 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_anchors_are_built_in() {
        let built_in = TrustAnchors::root();
        let read = TrustAnchors::parse(&ROOT_ANCHORS.join("\n")).unwrap();
        assert_eq!(read.owners(), built_in.owners());
        for (read, built_in) in read.records.iter().zip(&built_in.records) {
            assert!(read.text.eq_ignore_ascii_case(&built_in.text), "{read:?}");
        }
        assert_eq!(read.records.len(), 2);
    }

    #[test]
    fn anchors_are_read_in_the_forms_that_tools_write() {
        check(&[ROOT_ANCHORS[0]], Ok(&["."]));
        check(&["; comment", "", ROOT_ANCHORS[0], "\t"], Ok(&["."]));
        check(
            &[&format!("example. IN {DNSKEY} ; key id = 1")],
            Ok(&["example"]),
        );
        check(&[&format!("a.example {DNSKEY}")], Ok(&["a.example"]));
        let (head, tail) = DNSKEY.split_at(30);
        let lines = ["example. IN (", head, tail, ")", ROOT_ANCHORS[1]];
        let joined = format!("example. IN DNSKEY 257 3 13 (\n{KEY} ; the key\n)");
        check(&[&joined], Ok(&["example"]));
        check(&lines, Ok(&["example", "."]));
    }

    #[test]
    fn a_bad_anchor_is_refused_with_its_line() {
        check(&[""], Err((1, AnchorFault::Empty)));
        check(&["; nothing", "; at all"], Err((2, AnchorFault::Empty)));
        let good = ROOT_ANCHORS[0];
        check(
            &[good, ". A 192.0.2.1"],
            Err((2, AnchorFault::OtherType("A".into()))),
        );
        check(&["$INCLUDE other"], Err((1, AnchorFault::Directive)));
        check(
            &[good, "", "$ORIGIN example."],
            Err((3, AnchorFault::Directive)),
        );
        check(&[". DS 1 8 2 00"], Err((1, AnchorFault::DigestLength)));
        check(&[". DS 1 8 9 00"], Err((1, AnchorFault::DigestType)));
        check(&["", ". DS 1 8 ("], Err((2, AnchorFault::Parentheses)));
        check(&[". DS 1 8 )"], Err((1, AnchorFault::Parentheses)));
        let not_for_zones = format!(". DNSKEY 1 3 13 {KEY}");
        check(&[&not_for_zones], Err((1, AnchorFault::NoZoneKey)));
        let revoked = format!(". DNSKEY 385 3 13 {KEY}");
        check(&[&revoked], Err((1, AnchorFault::Revoked)));
        let many = [good; ANCHORS_MAX + 1];
        check(&many, Err((ANCHORS_MAX + 1, AnchorFault::TooMany)));
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        for nonsense in [
            "hello",
            ". DS",
            ". DS x 8 2 00",
            ". DNSKEY 257 3 13 !",
            "\u{0}",
        ] {
            let text = format!("\n{nonsense}");
            let error = TrustAnchors::parse(&text).unwrap_err();
            assert_eq!(error.line, 2, "{nonsense:?}");
            assert!(matches!(error.why, AnchorFault::Unreadable(_)), "{error}");
        }
    }

    #[track_caller]
    fn check(lines: &[&str], expected: Result<&[&str], (usize, AnchorFault)>) {
        let text = lines.join("\n");
        match (TrustAnchors::parse(&text), expected) {
            (Ok(anchors), Ok(owners)) => {
                let found: Vec<String> = anchors.owners().iter().map(ToString::to_string).collect();
                assert_eq!(found, owners, "{text}");
                anchors.for_validator();
            }
            (Err(error), Err((line, why))) => {
                assert_eq!(error, InvalidAnchors { line, why }, "{text}");
            }
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        }
    }

    const DNSKEY: &str = "DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
    const KEY: &str =
        "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
}
