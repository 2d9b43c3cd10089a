//! Where chains of trust begin (RFC 4033, Section 2), and where an operator cuts them.

use std::fmt;

use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Class;
use domain::base::iana::DigestAlgorithm;
use domain::base::name::FlattenInto;
use domain::rdata::Dnskey;
use domain::rdata::Ds;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::Entry;
use domain::zonefile::inplace::Zonefile;

use crate::algorithm::Sha1Policy;
use crate::chain::Trust;
use crate::key::Key;
use crate::name;

/// The trust anchors and negative trust anchors of a validator.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor>,
    negative: Vec<Name<Bytes>>,
}

impl TrustAnchors {
    /// The key-signing keys of the DNS root, as IANA publishes them (RFC 9718): KSK-2017 and
    /// KSK-2024.
    #[must_use]
    pub fn root() -> Self {
        // The text is ours and tested, so there is no error to report.
        Self::parse(IANA_ROOT).unwrap_or_default()
    }

    /// Reads DS and DNSKEY records in the form of a zone file: one record a line, or several lines
    /// in parentheses; `;` begins a comment. Several at one name are alternatives.
    ///
    /// # Errors
    /// Names the line, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidAnchors> {
        let mut anchors = Self::default();
        for (line, entry) in entries(text)? {
            let record = parse_record(&entry).map_err(|why| InvalidAnchors { line, why })?;
            anchors.add(record);
        }
        if anchors.is_empty() {
            let line = text.lines().count().max(1);
            let why = AnchorFault::Empty;
            return Err(InvalidAnchors { line, why });
        }
        Ok(anchors)
    }

    /// Adds the anchors of another; several at one name are alternatives.
    pub fn extend(&mut self, other: Self) {
        for anchor in other.anchors {
            let known = self.at(anchor.zone);
            known.ds.extend(anchor.ds);
            known.keys.extend(anchor.keys);
        }
        self.negative.extend(other.negative);
    }

    /// Adds one record.
    fn add(&mut self, record: AnchorRecord) {
        match record {
            AnchorRecord::Ds(zone, ds) => self.at(zone).ds.push(ds),
            AnchorRecord::Key(zone, key) => self.at(zone).keys.push(key),
        }
    }

    /// Trusts a key of a zone as well.
    pub(crate) fn trust(&mut self, zone: &Name<Bytes>, key: Dnskey<Bytes>) {
        let anchor = self.at(zone.clone());
        if !anchor.keys.contains(&key) {
            anchor.keys.push(key);
        }
    }

    /// Trusts these keys of a zone no longer.
    ///
    /// If it has no others, or none that are supported, its chain begins nowhere, so that everything
    /// below it is bogus. RFC 5011, Section 5 would have it insecure; but then whoever got hold of the
    /// last key could switch off validation with it.
    pub(crate) fn revoke(&mut self, zone: &Name<Bytes>, revoked: &[Key]) {
        let Some(anchor) = self.anchors.iter_mut().find(|anchor| anchor.zone == zone) else {
            return;
        };
        let digests = |ds: &Ds<Bytes>| {
            let mut keys = revoked.iter();
            keys.any(|key| key.matches(zone, ds, Sha1Policy::Validate))
        };
        let before = anchor.ds.len() + anchor.keys.len();
        anchor.ds.retain(|ds| !digests(ds));
        anchor
            .keys
            .retain(|kept| !revoked.iter().any(|key| key.dnskey == *kept));
        let is_changed = anchor.ds.len() + anchor.keys.len() < before;
        if is_changed && Trust::from_anchor(anchor, Sha1Policy::Validate).is_unsupported() {
            let unusable = revoked.iter().filter_map(|key| key.revoked_form());
            anchor.keys = unusable.collect();
            anchor.ds.clear();
        }
    }

    /// Adds a name below which nothing is validated: RFC 7646.
    pub fn add_negative(&mut self, zone: Name<Bytes>) {
        self.negative.push(zone);
    }

    /// Whether there is any anchor to begin at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// The zones that have an anchor, each once.
    pub fn zones(&self) -> impl Iterator<Item = &Name<Bytes>> {
        self.anchors.iter().map(|anchor| &anchor.zone)
    }

    /// The zones that have an anchor and are validated: no negative anchor covers them.
    pub fn validated_zones(&self) -> impl Iterator<Item = &Name<Bytes>> {
        self.zones().filter(|zone| self.negative(zone).is_none())
    }

    /// The anchors of a zone in presentation form, without its name, in a fixed order.
    #[must_use]
    pub fn records(&self, zone: &Name<Bytes>) -> Vec<String> {
        let mut records = Vec::new();
        for anchor in self.anchors.iter().filter(|anchor| anchor.zone == zone) {
            records.extend(anchor.ds.iter().map(|ds| format!("DS {ds}")));
            records.extend(anchor.keys.iter().map(|key| format!("DNSKEY {key}")));
        }
        records.sort();
        records
    }

    /// Whether a chain can begin at a zone: it has an anchor, and not all of its keys are revoked.
    #[must_use]
    pub fn is_alive(&self, zone: &Name<Bytes>) -> bool {
        let anchor = self.anchors.iter().find(|anchor| anchor.zone == zone);
        anchor.is_some_and(|anchor| {
            !anchor.ds.is_empty() || anchor.keys.iter().any(|key| !key.is_revoked())
        })
    }

    /// The deepest anchor at or above a name.
    pub(crate) fn closest(&self, name: &Name<Bytes>) -> Option<&TrustAnchor> {
        self.anchors
            .iter()
            .filter(|anchor| name.ends_with(&anchor.zone))
            .max_by_key(|anchor| name::label_count(&anchor.zone))
    }

    /// The deepest negative anchor at or above a name, unless a trust anchor is deeper still.
    pub(crate) fn negative(&self, name: &Name<Bytes>) -> Option<&Name<Bytes>> {
        let anchored = self
            .closest(name)
            .map_or(0, |anchor| name::label_count(&anchor.zone));
        self.negative
            .iter()
            .filter(|negative| name.ends_with(negative))
            .max_by_key(|negative| name::label_count(negative))
            .filter(|negative| name::label_count(negative) >= anchored)
    }

    /// The anchor of a zone, new if need be.
    fn at(&mut self, zone: Name<Bytes>) -> &mut TrustAnchor {
        let at = self.anchors.iter().position(|anchor| anchor.zone == zone);
        if at.is_none() {
            self.anchors.push(TrustAnchor {
                zone,
                ds: Vec::new(),
                keys: Vec::new(),
            });
        }
        let last = self.anchors.len() - 1;
        #[expect(
            clippy::indexing_slicing,
            reason = "the place was just found, or the last one just made"
        )]
        &mut self.anchors[at.unwrap_or(last)]
    }
}

/// What is trusted to belong to one zone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TrustAnchor {
    /// The zone.
    pub(crate) zone: Name<Bytes>,
    /// Digests of trusted keys.
    pub(crate) ds: Vec<Ds<Bytes>>,
    /// Trusted keys.
    pub(crate) keys: Vec<Dnskey<Bytes>>,
}

impl TrustAnchor {
    /// Whether it speaks for a key.
    pub(crate) fn is_for(&self, key: &Key) -> bool {
        let mut ds = self.ds.iter();
        self.keys.contains(&key.dnskey)
            || ds.any(|ds| key.matches(&self.zone, ds, Sha1Policy::Validate))
    }
}

/// One DS or DNSKEY record, with its zone.
enum AnchorRecord {
    /// The digest of a key.
    Ds(Name<Bytes>, Ds<Bytes>),
    /// A key.
    Key(Name<Bytes>, Dnskey<Bytes>),
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
    let zone: Name<Bytes> = record.owner().clone().flatten_into();
    let rtype = record.rtype();
    let data: ZoneRecordData<Bytes, Name<Bytes>> = record.into_data().flatten_into();
    if let ZoneRecordData::Ds(ds) = data {
        let length = digest_octets(ds.digest_type()).ok_or(AnchorFault::DigestType)?;
        if ds.digest().len() != length {
            return Err(AnchorFault::DigestLength);
        }
        Ok(AnchorRecord::Ds(zone, ds))
    } else if let ZoneRecordData::Dnskey(key) = data {
        if !key.is_zone_key() || key.protocol() != DNSSEC_PROTOCOL {
            return Err(AnchorFault::NoZoneKey);
        }
        if key.is_revoked() {
            return Err(AnchorFault::Revoked);
        }
        Ok(AnchorRecord::Key(zone, key))
    } else {
        Err(AnchorFault::OtherType(rtype.to_string()))
    }
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

/// <https://data.iana.org/root-anchors/root-anchors.xml>
const IANA_ROOT: &str = "\
. 86400 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. 86400 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_two_keys() {
        let anchors = TrustAnchors::root();
        let tags: Vec<u16> = anchors
            .closest(&name("example."))
            .unwrap()
            .ds
            .iter()
            .map(Ds::key_tag)
            .collect();
        assert_eq!(tags, [20326, 38696]);
    }

    #[test]
    fn the_deepest_anchor_counts() {
        let mut anchors = TrustAnchors::root();
        anchors.extend(corp(2));
        for (below, zone, digests) in [
            ("a.corp.example.", "corp.example.", 2),
            ("example.", ".", 2),
        ] {
            let anchor = anchors.closest(&name(below)).unwrap();
            assert_eq!((&anchor.zone, anchor.ds.len()), (&name(zone), digests));
        }
    }

    #[test]
    fn a_negative_anchor_counts_unless_a_trust_anchor_is_deeper() {
        let mut anchors = TrustAnchors::root();
        anchors.add_negative(name("example."));
        anchors.extend(corp(1));
        assert_eq!(
            anchors.negative(&name("a.example.")),
            Some(&name("example."))
        );
        assert_eq!(anchors.negative(&name("a.corp.example.")), None);
        assert_eq!(anchors.negative(&name("org.")), None);
        anchors.add_negative(name("corp.example."));
        let validated: Vec<_> = anchors.validated_zones().collect();
        assert_eq!(validated, [&name(".")]);
    }

    #[test]
    fn anchors_are_read_in_the_forms_that_tools_write() {
        check(&[ROOT], Ok(&["."]));
        check(&["; comment", "", ROOT, "\t"], Ok(&["."]));
        check(
            &[&format!("example. IN {DNSKEY} ; key id = 1")],
            Ok(&["example"]),
        );
        check(&[&format!("a.example {DNSKEY}")], Ok(&["a.example"]));
        let (head, tail) = DNSKEY.split_at(30);
        let lines = ["example. IN (", head, tail, ")", ROOT];
        let joined = format!("example. IN DNSKEY 257 3 13 (\n{KEY} ; the key\n)");
        check(&[&joined], Ok(&["example"]));
        check(&lines, Ok(&["example", "."]));
    }

    #[test]
    fn a_bad_anchor_is_refused_with_its_line() {
        check(&[""], Err((1, AnchorFault::Empty)));
        check(&["; nothing", "; at all"], Err((2, AnchorFault::Empty)));
        let good = ROOT;
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
        let zones = TrustAnchors::parse(&text)
            .map(|anchors| anchors.zones().map(ToString::to_string).collect::<Vec<_>>());
        let expected = expected
            .map(|zones| zones.iter().map(ToString::to_string).collect::<Vec<_>>())
            .map_err(|(line, why)| InvalidAnchors { line, why });
        assert_eq!(zones, expected, "{text}");
    }

    fn corp(digests: u8) -> TrustAnchors {
        let digest = "00".repeat(32);
        let lines = (0..digests).map(|tag| format!("corp.example. IN DS {tag} 13 2 {digest}\n"));
        TrustAnchors::parse(&lines.collect::<String>()).unwrap()
    }

    fn name(text: &str) -> Name<Bytes> {
        Name::bytes_from_str(text).unwrap()
    }

    const ROOT: &str =
        ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
    const DNSKEY: &str = "DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
    const KEY: &str =
        "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
}
