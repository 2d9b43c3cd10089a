//! Where chains of trust begin, and where an operator cuts them.

use std::fmt;

use bytes::Bytes;
use domain::base::Name;
use domain::base::name::FlattenInto;
use domain::rdata::Dnskey;
use domain::rdata::Ds;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::Entry;
use domain::zonefile::inplace::Zonefile;

use crate::name;

/// The trust anchors and negative trust anchors of a validator.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor>,
    negative: Vec<Name<Bytes>>,
}

impl TrustAnchors {
    /// The root's keys that IANA published in 2017 and 2024.
    #[must_use]
    pub fn iana() -> Self {
        let mut anchors = Self::default();
        // The text is ours and tested, so there is no error to report.
        let _ = anchors.add_text(IANA_ROOT);
        anchors
    }

    /// Adds DS and DNSKEY records in the form of a zone file; several at one name are alternatives.
    ///
    /// # Errors
    /// The text is no zone file, or has another record. Nothing is added then.
    pub fn add_text(&mut self, text: &str) -> Result<(), InvalidAnchors> {
        let mut added = self.clone();
        // The parser wants the last line ended, too.
        let mut zonefile = Zonefile::from(format!("{text}\n").as_str());
        zonefile.set_default_class(domain::base::iana::Class::IN);
        loop {
            let entry = zonefile
                .next_entry()
                .map_err(|why| InvalidAnchors::Syntax(why.to_string()))?;
            let record = match entry {
                None => break,
                Some(Entry::Include { .. }) => return Err(InvalidAnchors::Include),
                Some(Entry::Record(record)) => record,
            };
            let zone: Name<Bytes> = record.owner().clone().flatten_into();
            let data: ZoneRecordData<Bytes, Name<Bytes>> = record.into_data().flatten_into();
            if let ZoneRecordData::Ds(ds) = data {
                added.at(zone).ds.push(ds);
            } else if let ZoneRecordData::Dnskey(key) = data {
                added.at(zone).keys.push(key);
            } else {
                return Err(InvalidAnchors::OtherType(zone));
            }
        }
        *self = added;
        Ok(())
    }

    /// Trusts these keys of a zone, and no others.
    pub(crate) fn replace(&mut self, zone: &Name<Bytes>, keys: Vec<Dnskey<Bytes>>) {
        let anchor = self.at(zone.clone());
        anchor.ds.clear();
        anchor.keys = keys;
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
#[derive(Clone, Debug)]
pub(crate) struct TrustAnchor {
    /// The zone.
    pub(crate) zone: Name<Bytes>,
    /// Digests of trusted keys.
    pub(crate) ds: Vec<Ds<Bytes>>,
    /// Trusted keys.
    pub(crate) keys: Vec<Dnskey<Bytes>>,
}

/// Why a text holds no trust anchors.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidAnchors {
    /// It has an `$INCLUDE` line.
    Include,
    /// It has a record that is neither DS nor DNSKEY.
    OtherType(Name<Bytes>),
    /// It is no zone file.
    Syntax(String),
}

impl fmt::Display for InvalidAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Include => f.write_str("$INCLUDE cannot stand among trust anchors"),
            Self::OtherType(zone) => write!(
                f,
                "the record at {} is neither DS nor DNSKEY",
                zone.fmt_with_dot()
            ),
            Self::Syntax(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for InvalidAnchors {}

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
        let anchors = TrustAnchors::iana();
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
        let mut anchors = TrustAnchors::iana();
        anchors
            .add_text("corp.example. IN DS 1 13 2 00\ncorp.example. IN DS 2 13 2 00")
            .unwrap();
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
        let mut anchors = TrustAnchors::iana();
        anchors.add_negative(name("example."));
        anchors.add_text("corp.example. IN DS 1 13 2 00").unwrap();
        assert_eq!(
            anchors.negative(&name("a.example.")),
            Some(&name("example."))
        );
        assert_eq!(anchors.negative(&name("a.corp.example.")), None);
        assert_eq!(anchors.negative(&name("org.")), None);
    }

    #[test]
    fn what_is_no_anchor_is_refused_and_changes_nothing() {
        let mut anchors = TrustAnchors::default();
        for text in [
            ". IN DS 1 13 2 00\n. IN NS a.",
            ". IN DS 1 13 2 00\n$INCLUDE other",
            ". IN DS 1 13",
            "what",
        ] {
            assert!(anchors.add_text(text).is_err(), "{text:?}");
            assert!(anchors.is_empty());
        }
    }

    fn name(text: &str) -> Name<Bytes> {
        Name::bytes_from_str(text).unwrap()
    }
}
