//! Checking the signatures over a record set: RFC 4035, Section 5.3.

use std::time::Duration;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::SecurityAlgorithm;
use domain::rdata::Rrsig;
use domain::rdata::dnssec::Timestamp;

use crate::algorithm;
use crate::algorithm::Sha1Policy;
use crate::fault::Fault;
use crate::fault::Rule;
use crate::fault::SignatureId;
use crate::key::Key;
use crate::limits::Limits;
use crate::limits::Work;
use crate::message::Question;
use crate::message::RecordSet;
use crate::message::SignedSet;
use crate::name;
use crate::rdata;
use crate::verdict::Failure;

/// A signature that was found valid, and what follows from it.
///
/// Invariant: made by [`Verifier::verify`] only.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    /// Which signature it is.
    pub(crate) id: SignatureId,
    /// When it began to be valid.
    pub(crate) inception: UnixTime,
    /// When it ceases to be valid.
    pub(crate) expiration: UnixTime,
    /// Seconds for which the record set may be kept.
    pub(crate) ttl: u32,
    /// The name whose wildcard the record set was expanded from, if it was.
    pub(crate) wildcard_encloser: Option<Name<Bytes>>,
}

/// Why no signature was found valid.
pub(crate) enum Unverified {
    /// The record set is bogus.
    Fault(Fault),
    /// A bound was exceeded.
    Failure(Failure),
}

/// What checking a signature needs beside the records.
pub(crate) struct Verifier<'a> {
    /// The zone that must have signed.
    pub(crate) zone: &'a Name<Bytes>,
    /// The keys that may have signed.
    pub(crate) keys: &'a [Key],
    /// The bounds.
    pub(crate) limits: &'a Limits,
    /// What SHA-1 is worth.
    pub(crate) sha1: Sha1Policy,
    /// The time.
    pub(crate) now: UnixTime,
}

impl Verifier<'_> {
    /// Looks for one valid signature of the zone over a record set.
    ///
    /// One is enough, whatever the others: RFC 6840, Section 5.11 for several algorithms, and
    /// key rollovers in general.
    ///
    /// # Errors
    /// There is none; the fault tells of the one that came nearest.
    pub(crate) fn verify(
        &self,
        signed: &SignedSet,
        work: &mut Work,
    ) -> Result<Verified, Unverified> {
        let mut nearest: Option<(Rule, SignatureId)> = None;
        let mut failures = 0;
        for signature in &signed.signatures {
            if failures >= self.limits.signature_failures_per_set_max {
                break;
            }
            if signature.signer_name() != self.zone {
                continue;
            }
            let checks_before = work.signature_checks;
            match self.check(&signed.set, signature, work)? {
                Ok(()) => return Ok(self.verified(&signed.set, signature)),
                Err(rule) => {
                    failures += work.signature_checks - checks_before;
                    if nearest.as_ref().is_none_or(|(nearest, _)| *nearest < rule) {
                        nearest = Some((rule, self.id(signature)));
                    }
                }
            }
        }
        let (rule, signature) = match nearest {
            Some((rule, signature)) => (rule, Some(signature)),
            None => (Rule::NotSigned, None),
        };
        Err(Unverified::Fault(Fault {
            record: Question::new(signed.set.owner.clone(), signed.set.rtype),
            signature,
            rule,
        }))
    }

    /// Whether one given key signed a record set, even a key that may sign nothing else.
    pub(crate) fn is_signed_by(&self, signed: &SignedSet, key: &Key) -> bool {
        let by_key = signed.signatures.iter().filter(|signature| {
            signature.signer_name() == self.zone
                && signature.key_tag() == key.tag
                && signature.algorithm() == key.dnskey.algorithm()
                && self.check_time(signature).is_ok()
        });
        by_key.take(SIGNATURES_PER_KEY_MAX).any(|signature| {
            key.verifies(&signed_data(&signed.set, signature), signature.signature())
        })
    }

    /// Checks one signature, first what is cheap.
    fn check(
        &self,
        set: &RecordSet,
        signature: &Rrsig<Bytes, Name<Bytes>>,
        work: &mut Work,
    ) -> Result<Result<(), Rule>, Unverified> {
        //= https://www.rfc-editor.org/rfc/rfc4035#section-5.3.1
        //# The number of labels in the RRset owner name MUST be greater than
        //# or equal to the value in the RRSIG RR's Labels field.
        //
        // An asterisk counts as a label here, though a signer must not count it: some do, and their
        // signatures then are over the name as it stands.
        if usize::from(signature.labels()) > name::label_count(&set.owner) {
            return Ok(Err(Rule::TooManyLabels));
        }
        if !algorithm::is_supported(signature.algorithm(), self.sha1) {
            return Ok(Err(Rule::UnsupportedAlgorithm));
        }
        let mut keys = self
            .keys_for(signature.algorithm(), signature.key_tag())
            .peekable();
        if keys.peek().is_none() {
            return Ok(Err(Rule::NoSuchKey));
        }
        if let Err(rule) = self.check_time(signature) {
            return Ok(Err(rule));
        }
        let message = signed_data(set, signature);
        for key in keys {
            work.count_signature(key.check_cost(), message.len(), self.limits)
                .map_err(Unverified::Failure)?;
            if key.verifies(&message, signature.signature()) {
                return Ok(Ok(()));
            }
        }
        Ok(Err(Rule::WrongSignature))
    }

    /// The zone keys with this algorithm and tag, at most [`Limits::keys_per_tag_max`].
    fn keys_for(&self, algorithm: SecurityAlgorithm, tag: u16) -> impl Iterator<Item = &Key> {
        self.keys
            .iter()
            .filter(move |key| key.tag == tag && key.dnskey.algorithm() == algorithm)
            .filter(|key| key.is_zone_key() && key.is_usable())
            .take(self.limits.keys_per_tag_max)
    }

    /// Whether the signature is valid now, give or take the clock's skew.
    fn check_time(&self, signature: &Rrsig<Bytes, Name<Bytes>>) -> Result<(), Rule> {
        let from = self.time(signature.inception());
        let until = self.time(signature.expiration());
        let skew = (until.since(from) / 10)
            .max(self.limits.clock_skew_min)
            .min(self.limits.clock_skew_max);
        if until < from || self.now > until + skew {
            return Err(Rule::Expired(until));
        }
        if self.now + skew < from {
            return Err(Rule::NotYetValid(from));
        }
        Ok(())
    }

    /// What follows from a valid signature.
    fn verified(&self, set: &RecordSet, signature: &Rrsig<Bytes, Name<Bytes>>) -> Verified {
        let expiration = self.time(signature.expiration());
        let left = expiration.since(self.now).min(self.limits.ttl_max);
        let labels = usize::from(signature.labels());
        Verified {
            id: self.id(signature),
            inception: self.time(signature.inception()),
            expiration,
            // RFC 4035, Section 5.3.3: the least of the TTL as received, the original TTL and what
            // is left of the signature's time.
            ttl: set
                .ttl
                .min(signature.original_ttl().as_secs())
                .min(seconds(left)),
            wildcard_encloser: (labels < name::signed_labels(&set.owner))
                .then(|| name::ancestor(&set.owner, labels)),
        }
    }

    /// What tells a signature of the zone apart; the zone's own name in it keeps no message.
    fn id(&self, signature: &Rrsig<Bytes, Name<Bytes>>) -> SignatureId {
        SignatureId {
            signer: self.zone.clone(),
            algorithm: signature.algorithm(),
            key_tag: signature.key_tag(),
        }
    }

    /// The point in time that a signature means: the nearest to now.
    ///
    /// RFC 4034, Section 3.1.5: serial number arithmetic, as the field wraps around in 2106.
    fn time(&self, timestamp: Timestamp) -> UnixTime {
        let ahead = u64::from(timestamp.into_int()).wrapping_sub(self.now.0) & u64::from(u32::MAX);
        if ahead <= u64::from(u32::MAX / 2) {
            UnixTime(self.now.0.saturating_add(ahead))
        } else {
            UnixTime(self.now.0.saturating_sub((1 << 32) - ahead))
        }
    }
}

/// The octets that a signature is over: RFC 4034, Section 3.1.8.1.
fn signed_data(set: &RecordSet, signature: &Rrsig<Bytes, Name<Bytes>>) -> Vec<u8> {
    let mut data = Vec::with_capacity(SIGNED_DATA_OCTETS);
    data.extend_from_slice(&signature.type_covered().to_int().to_be_bytes());
    data.push(signature.algorithm().to_int());
    data.push(signature.labels());
    data.extend_from_slice(&signature.original_ttl().as_secs().to_be_bytes());
    data.extend_from_slice(&signature.expiration().into_int().to_be_bytes());
    data.extend_from_slice(&signature.inception().into_int().to_be_bytes());
    data.extend_from_slice(&signature.key_tag().to_be_bytes());
    name::push_canonical(&mut data, signature.signer_name());

    let mut head = Vec::with_capacity(name::NAME_OCTETS_MAX);
    let labels = usize::from(signature.labels());
    if labels < name::signed_labels(&set.owner) {
        head.extend_from_slice(b"\x01*");
        name::push_canonical(&mut head, &name::ancestor(&set.owner, labels));
    } else {
        name::push_canonical(&mut head, &set.owner);
    }
    head.extend_from_slice(&set.rtype.to_int().to_be_bytes());
    head.extend_from_slice(&CLASS_IN.to_be_bytes());
    head.extend_from_slice(&signature.original_ttl().as_secs().to_be_bytes());

    // RFC 4034, Section 6.3: sorted by data; the set has none twice.
    let mut records: Vec<_> = set
        .data
        .iter()
        .map(|data| rdata::canonical(set.rtype, data))
        .collect();
    records.sort_unstable();
    for record in records {
        data.extend_from_slice(&head);
        let length = u16::try_from(record.len()).unwrap_or(u16::MAX);
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(&record);
    }
    data
}

/// Whole seconds, as many as fit.
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Signatures by one key over one record set that are looked at; one is what there should be.
const SIGNATURES_PER_KEY_MAX: usize = 2;

/// RFC 1035, Section 3.2.4.
const CLASS_IN: u16 = 1;

/// Enough for most signed data, so that it is allocated once.
const SIGNED_DATA_OCTETS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_nearest_to_now_also_when_the_field_wraps() {
        let wrap = 1 << 32;
        for (now, field, expected) in [
            (1_800_000_000, 1_700_000_000, 1_700_000_000),
            (1_800_000_000, 1_900_000_000, 1_900_000_000),
            (wrap - 10, 5, wrap + 5),
            (wrap + 10, u32::MAX - 4, wrap - 5),
            (wrap + 10, 20, wrap + 20),
        ] {
            let limits = Limits::default();
            let verifier = Verifier {
                zone: &Name::root_bytes(),
                keys: &[],
                limits: &limits,
                sha1: Sha1Policy::Validate,
                now: UnixTime(now),
            };
            let found = verifier.time(Timestamp::from(field));
            assert_eq!(found, UnixTime(expected), "{now} {field}");
        }
    }
}
