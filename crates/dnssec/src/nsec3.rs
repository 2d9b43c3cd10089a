//! Denial of existence by NSEC3: RFC 5155, Section 8; RFC 9276.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Nsec3HashAlgorithm;
use domain::base::iana::Rtype;
use domain::rdata::Nsec3;
use domain::rdata::dnssec::RtypeBitmap;
use domain::utils::base32;

use crate::denial::Absence;
use crate::denial::CutDenial;
use crate::limits::Limits;
use crate::limits::Work;
use crate::message::RecordSet;
use crate::name;
use crate::nsec;
use crate::verdict::Failure;

/// NSEC3 records of one chain of one zone, all with valid signatures: those of an answer, or those kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nsec3Proof {
    parameters: Option<Parameters>,
    /// By hash, so that the record before a hash, or else the last, is the one that covers it.
    records: BTreeMap<Hash, Span>,
}

impl Nsec3Proof {
    /// Adds a record set whose signature is valid and not from a wildcard.
    ///
    /// RFC 5155, Sections 8.1 and 8.2: records with unknown hash functions or flags are ignored;
    /// those of a second chain are, too.
    pub(crate) fn add(&mut self, zone: &Name<Bytes>, set: &RecordSet) {
        let Some(hash) = hash_in_owner(zone, &set.owner) else {
            return;
        };
        for nsec3 in set.parsed::<Nsec3<Bytes>>() {
            let parameters = Parameters {
                iterations: nsec3.iterations(),
                salt: Bytes::copy_from_slice(nsec3.salt().as_slice()),
            };
            let known = nsec3.hash_algorithm() == Nsec3HashAlgorithm::SHA1
                && nsec3.flags() & !FLAG_OPT_OUT == 0;
            let next = Hash::try_from(nsec3.next_owner().as_slice());
            let (true, Ok(next)) = (known, next) else {
                continue;
            };
            if *self.parameters.get_or_insert_with(|| parameters.clone()) == parameters {
                let cover = if nsec3.flags() & FLAG_OPT_OUT == 0 {
                    Cover::Complete
                } else {
                    Cover::OptOut
                };
                let types = nsec3.types().clone();
                let span = Span {
                    hash,
                    next,
                    cover,
                    types,
                };
                self.records.insert(hash, span);
            }
        }
    }

    /// Adds the records of another proof of the same zone, if they belong to the same chain; but
    /// none with opt-out, which prove nothing about other names (RFC 8198, Section 5.1).
    pub(crate) fn extend(&mut self, other: &Self) {
        let Some(parameters) = &other.parameters else {
            return;
        };
        if self.parameters.get_or_insert_with(|| parameters.clone()) == parameters {
            let records = other.records.iter();
            let complete = records.filter(|(_, span)| span.cover == Cover::Complete);
            self.records
                .extend(complete.map(|(hash, span)| (*hash, span.clone())));
        }
    }

    /// About how much memory they take.
    pub(crate) fn octets(&self) -> usize {
        let of_one = |span: &Span| size_of::<(Hash, Span)>() + span.types.as_slice().len();
        self.records.values().map(of_one).sum()
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The iterations of the chain, if they are more than are done.
    pub(crate) fn excessive_iterations(&self, limits: &Limits) -> Option<u16> {
        self.parameters
            .as_ref()
            .map(|parameters| parameters.iterations)
            .filter(|iterations| *iterations > limits.nsec3_iterations_max)
    }

    /// What is proven about records of a type at a name.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn deny(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        rtype: Rtype,
        meter: &mut Meter<'_>,
    ) -> Result<Option<Absence>, Failure> {
        let Some(encloser) = self.closest_encloser(zone, name, meter)? else {
            return Ok(None);
        };
        let Some(next_closer) = encloser.next_closer else {
            let lacks = nsec::lacks(&encloser.span.types, rtype, name);
            return Ok(lacks.then_some(Absence::NoData));
        };
        let Some(cover) = self.cover_below(&encloser.span.types, next_closer) else {
            return Ok(None);
        };
        let complete = match cover {
            Cover::Complete => Absence::NxDomain,
            Cover::OptOut => Absence::OptOut,
        };
        let Some(wildcard) = name::wildcard_below(&encloser.name) else {
            return Ok(Some(complete));
        };
        let hash = self.hash(&wildcard, meter)?;
        if let Some(span) = self.matching(hash) {
            let lacks = nsec::lacks(&span.types, rtype, &wildcard);
            return Ok(lacks.then_some(match cover {
                Cover::Complete => Absence::NoData,
                Cover::OptOut => Absence::OptOutNoData,
            }));
        }
        if self.covering(hash).is_some() {
            return Ok(Some(complete));
        }
        // An unsigned delegation below the name would make it an empty non-terminal that has no
        // record, before any wildcard: RFC 5155, Sections 7.1 and 8.6.
        Ok((cover == Cover::OptOut).then_some(Absence::OptOutNoData))
    }

    /// What is proven about a delegation at a name below the zone's apex.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn deny_cut(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        meter: &mut Meter<'_>,
    ) -> Result<Option<CutDenial>, Failure> {
        let Some(encloser) = self.closest_encloser(zone, name, meter)? else {
            return Ok(None);
        };
        let Some(next_closer) = encloser.next_closer else {
            return Ok(CutDenial::from_types(&encloser.span.types));
        };
        let cover = self.cover_below(&encloser.span.types, next_closer);
        Ok(cover.map(|cover| match cover {
            Cover::OptOut => CutDenial::OptOut,
            Cover::Complete => CutDenial::NothingBelow,
        }))
    }

    /// How it is proven that `name` matches nothing closer than the wildcard below `encloser`, if
    /// it is: RFC 5155, Section 8.8.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn proves_wildcard(
        &self,
        name: &Name<Bytes>,
        encloser: &Name<Bytes>,
        meter: &mut Meter<'_>,
    ) -> Result<Option<Cover>, Failure> {
        if self.records.is_empty() {
            return Ok(None);
        }
        let next_closer = name::ancestor(name, name::label_count(encloser) + 1);
        let hash = self.hash(&next_closer, meter)?;
        Ok(self.covering(hash).map(|span| span.cover))
    }

    /// The deepest ancestor of a name, or the name itself, that a record matches: RFC 5155, Section 8.3.
    fn closest_encloser(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        meter: &mut Meter<'_>,
    ) -> Result<Option<Encloser<'_>>, Failure> {
        if self.records.is_empty() || !name.ends_with(zone) {
            return Ok(None);
        }
        let mut next_closer = None;
        for labels in (name::label_count(zone)..=name::label_count(name)).rev() {
            let candidate = name::ancestor(name, labels);
            let hash = self.hash(&candidate, meter)?;
            if let Some(span) = self.matching(hash) {
                return Ok(Some(Encloser {
                    name: candidate,
                    span,
                    next_closer,
                }));
            }
            next_closer = Some(hash);
        }
        Ok(None)
    }

    /// How the next closer name is covered, if the encloser's record may speak about names below it.
    ///
    //= https://www.rfc-editor.org/rfc/rfc5155#section-8.3
    //# Once the closest encloser has been discovered, the validator MUST
    //# check that the NSEC3 RR that has the closest encloser as the original
    //# owner name is from the proper zone.  The DNAME type bit must not be
    //# set and the NS type bit may only be set if the SOA type bit is set.
    fn cover_below(&self, encloser: &RtypeBitmap<Bytes>, next_closer: Hash) -> Option<Cover> {
        if nsec::hides_what_is_below(encloser) {
            return None;
        }
        self.covering(next_closer).map(|span| span.cover)
    }

    /// The record of a hash.
    fn matching(&self, hash: Hash) -> Option<&Span> {
        self.records.get(&hash)
    }

    /// The record whose span holds a hash.
    fn covering(&self, hash: Hash) -> Option<&Span> {
        let before = self.records.range(..hash).next_back();
        let (_, span) = before.or_else(|| self.records.last_key_value())?;
        span.covers(hash).then_some(span)
    }

    /// The hash of a name: RFC 5155, Section 5.
    fn hash(&self, name: &Name<Bytes>, meter: &mut Meter<'_>) -> Result<Hash, Failure> {
        let (iterations, salt) = self.parameters.as_ref().map_or((0, &[][..]), |parameters| {
            (parameters.iterations, parameters.salt.as_ref())
        });
        meter.work.count_hash(iterations, meter.limits)?;
        let mut input = Vec::with_capacity(name::NAME_OCTETS_MAX * 2);
        name::push_canonical(&mut input, name);
        for _ in 0..=iterations {
            input.extend_from_slice(salt);
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &input);
            input.clear();
            input.extend_from_slice(hash.as_ref());
        }
        Ok(Hash::try_from(input.as_slice()).unwrap_or_default())
    }
}

/// What hashing may cost and has cost.
pub(crate) struct Meter<'a> {
    /// The bounds.
    pub(crate) limits: &'a Limits,
    /// The count.
    pub(crate) work: &'a mut Work,
}

/// The output of the only hash function there is, SHA-1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Hash([u8; HASH_OCTETS]);

impl TryFrom<&[u8]> for Hash {
    type Error = std::array::TryFromSliceError;

    fn try_from(octets: &[u8]) -> Result<Self, Self::Error> {
        octets.try_into().map(Self)
    }
}

/// What all records of one chain share.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Parameters {
    iterations: u16,
    salt: Bytes,
}

/// How well a span is proven to be empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cover {
    /// Nothing lies in it.
    Complete,
    /// Nothing but perhaps unsigned delegations lies in it.
    OptOut,
}

/// One NSEC3 record: no hash lies between `hash` and `next`.
#[derive(Clone, Debug)]
struct Span {
    hash: Hash,
    next: Hash,
    cover: Cover,
    types: RtypeBitmap<Bytes>,
}

impl Span {
    /// Whether the hash lies strictly between the ends; the last record of a chain wraps around.
    fn covers(&self, hash: Hash) -> bool {
        if self.hash < self.next {
            self.hash < hash && hash < self.next
        } else {
            hash > self.hash || hash < self.next
        }
    }
}

/// The deepest existing ancestor of a name.
struct Encloser<'a> {
    name: Name<Bytes>,
    span: &'a Span,
    /// The hash of the name one label longer; `None` if the name itself exists.
    next_closer: Option<Hash>,
}

/// The hash that is the first label of an NSEC3 record's owner, directly below the zone's apex.
fn hash_in_owner(zone: &Name<Bytes>, owner: &Name<Bytes>) -> Option<Hash> {
    if name::parent(owner) != *zone || owner.is_root() {
        return None;
    }
    let label = std::str::from_utf8(owner.first().as_slice()).ok()?;
    let octets: Vec<u8> = base32::decode_hex(label).ok()?;
    Hash::try_from(octets.as_slice()).ok()
}

/// RFC 5155, Section 3.1.2.1.
const FLAG_OPT_OUT: u8 = 1;

/// SHA-1's.
const HASH_OCTETS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_5155_appendix_a() {
        for (text, hash) in [
            ("example.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example.", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("NS1.example.", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
            ("*.w.example.", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            let proof = Nsec3Proof {
                parameters: Some(Parameters {
                    iterations: 12,
                    salt: Bytes::from_static(&[0xaa, 0xbb, 0xcc, 0xdd]),
                }),
                records: BTreeMap::new(),
            };
            let (limits, mut work) = (Limits::default(), Work::default());
            let mut meter = Meter {
                limits: &limits,
                work: &mut work,
            };
            let found = proof.hash(&name(text), &mut meter).unwrap();
            let owner = name(&format!("{hash}.example."));
            assert_eq!(
                Some(found),
                hash_in_owner(&name("example."), &owner),
                "{text}"
            );
            assert_eq!(work.nsec3_rounds, 13);
        }
    }

    #[test]
    fn only_a_hash_directly_below_the_apex_is_the_owner_of_a_record() {
        let hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom";
        for (owner, is_one) in [
            (format!("{hash}.example."), true),
            (format!("{}.example.", hash.to_uppercase()), true),
            (format!("{hash}.a.example."), false),
            (format!("a.{hash}.example."), false),
            (format!("{}.example.", hash.trim_start_matches('0')), false),
            (String::from("example."), false),
            (String::from("."), false),
        ] {
            let found = hash_in_owner(&name("example."), &name(&owner));
            assert_eq!(found.is_some(), is_one, "{owner}");
        }
    }

    /// Hashes of one chain tell nothing about where names lie in another.
    #[test]
    fn proofs_of_different_chains_are_not_mixed() {
        check((1, b"salt"), true);
        check((2, b"salt"), false);
        check((1, b"pepp"), false);

        #[track_caller]
        fn check((iterations, salt): (u16, &'static [u8]), same: bool) {
            let proof = |octet, iterations, salt| Nsec3Proof {
                parameters: Some(Parameters {
                    iterations,
                    salt: Bytes::from_static(salt),
                }),
                records: BTreeMap::from([(Hash([octet; HASH_OCTETS]), span(octet, octet + 1))]),
            };
            let mut kept = proof(1, 1, b"salt");
            kept.extend(&proof(3, iterations, salt));
            assert_eq!(kept.len(), if same { 2 } else { 1 });
        }
    }

    #[test]
    fn the_last_span_wraps_around() {
        for (from, to, hash, covers) in [
            (2, 6, 4, true),
            (2, 6, 2, false),
            (2, 6, 6, false),
            (2, 6, 8, false),
            (6, 2, 8, true),
            (6, 2, 1, true),
            (6, 2, 4, false),
            (6, 2, 2, false),
            (4, 4, 4, false),
            (4, 4, 5, true),
        ] {
            let found = span(from, to).covers(Hash([hash; HASH_OCTETS]));
            assert_eq!(found, covers, "{from} {to} {hash}");
        }
    }

    /// A span between hashes of one octet again and again.
    fn span(from: u8, to: u8) -> Span {
        Span {
            hash: Hash([from; HASH_OCTETS]),
            next: Hash([to; HASH_OCTETS]),
            cover: Cover::Complete,
            types: RtypeBitmap::from_octets(Bytes::new()).unwrap(),
        }
    }

    fn name(text: &str) -> Name<Bytes> {
        Name::bytes_from_str(text).unwrap()
    }
}
