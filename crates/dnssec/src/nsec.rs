//! Denial of existence by NSEC: RFC 4035, Section 5.4; RFC 6840, Section 4.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::rdata::Nsec;
use domain::rdata::dnssec::RtypeBitmap;

use crate::denial::Absence;
use crate::denial::CutDenial;
use crate::message::RecordSet;
use crate::name;

/// NSEC records of one zone, all with valid signatures: those of an answer, or those kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct NsecProof {
    /// By owner, in canonical order, so that the record before a name is the one that covers it.
    records: BTreeMap<Name<Bytes>, Span>,
}

impl NsecProof {
    /// Adds a record set whose signature is valid and not from a wildcard.
    pub(crate) fn add(&mut self, set: &RecordSet) {
        for nsec in set.parsed::<Nsec<Bytes, domain::base::ParsedName<Bytes>>>() {
            let nsec: Nsec<Bytes, Name<Bytes>> = nsec.flatten_into();
            let span = Span {
                owner: set.owner.clone(),
                next: nsec.next_name().clone(),
                types: nsec.types().clone(),
            };
            self.records.insert(set.owner.clone(), span);
        }
    }

    /// Adds the records of another proof of the same zone.
    pub(crate) fn extend(&mut self, other: &Self) {
        let records = other.records.iter();
        self.records
            .extend(records.map(|(owner, span)| (owner.clone(), span.clone())));
    }

    /// About how much memory they take.
    pub(crate) fn octets(&self) -> usize {
        let of_one = |span: &Span| {
            size_of::<Span>() + span.owner.len() + span.next.len() + span.types.as_slice().len()
        };
        self.records.values().map(of_one).sum()
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// What is proven about records of a type at a name.
    pub(crate) fn deny(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        rtype: Rtype,
    ) -> Option<Absence> {
        if let Some(span) = self.matching(name) {
            return lacks(&span.types, rtype, name).then_some(if span.types.contains(NXNAME) {
                Absence::CompactNxDomain
            } else {
                Absence::NoData
            });
        }
        let span = self.covering(zone, name)?;
        if span.shows_empty_non_terminal(name) {
            return Some(Absence::NoData);
        }
        let Some(wildcard) = name::wildcard_below(&span.closest_encloser(name)) else {
            return Some(Absence::NxDomain);
        };
        if let Some(span) = self.matching(&wildcard) {
            return lacks(&span.types, rtype, &wildcard).then_some(Absence::NoData);
        }
        let span = self.covering(zone, &wildcard)?;
        Some(if span.shows_empty_non_terminal(&wildcard) {
            Absence::NoData
        } else {
            Absence::NxDomain
        })
    }

    /// What is proven about a delegation at a name below the zone's apex.
    pub(crate) fn deny_cut(&self, zone: &Name<Bytes>, name: &Name<Bytes>) -> Option<CutDenial> {
        if let Some(span) = self.matching(name) {
            return CutDenial::from_types(&span.types);
        }
        let span = self.covering(zone, name)?;
        Some(if span.shows_empty_non_terminal(name) {
            CutDenial::NotACut
        } else {
            CutDenial::NothingBelow
        })
    }

    /// Whether it is proven that `name` matches nothing closer than the wildcard below `encloser`.
    pub(crate) fn proves_wildcard(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        encloser: &Name<Bytes>,
    ) -> bool {
        self.covering(zone, name).is_some_and(|span| {
            !span.shows_empty_non_terminal(name) && span.closest_encloser(name) == *encloser
        })
    }

    /// The record at a name.
    fn matching(&self, name: &Name<Bytes>) -> Option<&Span> {
        self.records.get(name)
    }

    /// The record whose span holds a name.
    fn covering(&self, zone: &Name<Bytes>, name: &Name<Bytes>) -> Option<&Span> {
        let (_, span) = self.records.range::<Name<Bytes>, _>(..name).next_back()?;
        span.covers(zone, name).then_some(span)
    }
}

/// One NSEC record: nothing exists between `owner` and `next`.
#[derive(Clone, Debug)]
struct Span {
    owner: Name<Bytes>,
    next: Name<Bytes>,
    types: RtypeBitmap<Bytes>,
}

impl Span {
    /// Whether `name` sorts between the two ends, and the record may speak about it.
    ///
    //= https://www.rfc-editor.org/rfc/rfc6840#section-4.1
    //# Ancestor delegation NSEC or NSEC3 RRs MUST NOT be used to assume
    //# nonexistence of any RRs below that zone cut, which include all RRs at
    //# that (original) owner name other than DS RRs, and all RRs below that
    //# owner name regardless of type.
    fn covers(&self, zone: &Name<Bytes>, name: &Name<Bytes>) -> bool {
        if name::is_below(name, &self.owner) && hides_what_is_below(&self.types) {
            return false;
        }
        // The last record of a zone points back to the apex.
        self.owner < *name && (*name < self.next || self.next == *zone) && name.ends_with(zone)
    }

    /// Whether the covered name exists without records, because the next name lies below it.
    fn shows_empty_non_terminal(&self, name: &Name<Bytes>) -> bool {
        name::is_below(&self.next, name)
    }

    /// The deepest ancestor of the covered name that exists.
    fn closest_encloser(&self, name: &Name<Bytes>) -> Name<Bytes> {
        let by_owner = name::common_ancestor(name, &self.owner);
        let by_next = name::common_ancestor(name, &self.next);
        if name::label_count(&by_owner) >= name::label_count(&by_next) {
            by_owner
        } else {
            by_next
        }
    }
}

/// Whether a type bitmap belongs to a delegation as the parent sees it, or to a DNAME: names below
/// are another matter then.
pub(crate) fn hides_what_is_below(types: &RtypeBitmap<Bytes>) -> bool {
    is_delegation(types) || types.contains(Rtype::DNAME)
}

/// Whether a type bitmap belongs to a delegation as the parent sees it.
pub(crate) fn is_delegation(types: &RtypeBitmap<Bytes>) -> bool {
    types.contains(Rtype::NS) && !types.contains(Rtype::SOA)
}

/// Whether the bitmap of a name proves that it has no records of a type.
///
/// RFC 6840, Section 4.3: a CNAME would have to be followed. And each side of a zone cut proves
/// only what it is the authority for: the parent DS, the child all else.
pub(crate) fn lacks(types: &RtypeBitmap<Bytes>, rtype: Rtype, name: &Name<Bytes>) -> bool {
    let right_side = if rtype == Rtype::DS {
        !types.contains(Rtype::SOA) || name.is_root()
    } else {
        !is_delegation(types)
    };
    right_side && !types.contains(rtype) && !types.contains(Rtype::CNAME)
}

/// The pseudo-type that marks a name that does not exist: RFC 9824, Section 2.
pub(crate) const NXNAME: Rtype = Rtype::from_int(128);
