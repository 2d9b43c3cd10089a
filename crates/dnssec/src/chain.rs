//! One link of the chain of trust: from DS records or a trust anchor to a zone's keys.

use std::sync::Arc;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Rtype;
use domain::rdata::Dnskey;
use domain::rdata::Ds;

use crate::algorithm;
use crate::algorithm::Sha1Policy;
use crate::anchor::TrustAnchor;
use crate::explain::DsEntry;
use crate::explain::KeyEntry;
use crate::explain::Link;
use crate::explain::LinkVerdict;
use crate::explain::SignatureEntry;
use crate::fault::Fault;
use crate::fault::Rule;
use crate::key::Key;
use crate::limits::Limits;
use crate::limits::Work;
use crate::message::Question;
use crate::message::RecordSet;
use crate::message::SignedSet;
use crate::signature::Unverified;
use crate::signature::Verified;
use crate::signature::Verifier;
use crate::verdict::InsecureProof;

/// A zone with proven keys.
#[derive(Debug)]
pub(crate) struct Zone {
    /// Its apex.
    pub(crate) apex: Name<Bytes>,
    /// Its keys.
    pub(crate) keys: Vec<Key>,
}

impl Zone {
    /// About how much memory it takes.
    pub(crate) fn octets(&self) -> usize {
        let keys: usize = self.keys.iter().map(Key::octets).sum();
        size_of::<Self>() + self.apex.len() + keys
    }
}

/// What is proven about one name as a zone cut.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// A signed zone begins here.
    Secure(Arc<Zone>),
    /// Everything from here down is insecure.
    Insecure(InsecureProof),
    /// No zone begins here.
    Absent,
    /// Nothing exists here or below.
    NothingBelow,
}

/// A proof about one name as a zone cut, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct KnownCut {
    /// What is proven.
    pub(crate) cut: Cut,
    /// How; `None` where the name is no cut, and so no link of a chain.
    pub(crate) link: Option<Arc<Link>>,
    /// Until when it may be kept.
    pub(crate) expires: UnixTime,
}

/// What vouches for a zone's keys.
pub(crate) struct Trust {
    ds: Vec<Ds<Bytes>>,
    keys: Vec<Dnskey<Bytes>>,
    entries: Vec<DsEntry>,
}

impl Trust {
    /// DS records whose signature is valid; `None` if none of them is supported.
    ///
    //= https://www.rfc-editor.org/rfc/rfc4035#section-5.2
    //# If the validator does not support any of the algorithms listed in an
    //# authenticated DS RRset, then the resolver has no supported
    //# authentication path leading from the parent to the child.
    ///
    /// All of them are looked at for that, and the bound is on those that are supported: else the
    /// order of the records, which nobody signs, could hide those.
    pub(crate) fn from_ds(set: &RecordSet, sha1: Sha1Policy, limits: &Limits) -> Self {
        let all: Vec<Ds<Bytes>> = set.parsed().collect();
        let entries = all.iter().map(entry).take(limits.ds_per_zone_max);
        let entries = entries.collect();
        let mut ds = usable(all, sha1);
        ds.truncate(limits.ds_per_zone_max);
        Self {
            entries,
            ds,
            keys: Vec::new(),
        }
    }

    /// A configured anchor.
    pub(crate) fn from_anchor(anchor: &TrustAnchor, sha1: Sha1Policy) -> Self {
        Self {
            entries: anchor.ds.iter().map(entry).collect(),
            ds: usable(anchor.ds.clone(), sha1),
            keys: anchor
                .keys
                .iter()
                .filter(|key| algorithm::is_supported(key.algorithm(), sha1))
                .cloned()
                .collect(),
        }
    }

    /// Whether nothing in it is supported.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.ds.is_empty() && self.keys.is_empty()
    }

    /// The link of a zone that is insecure because nothing is supported.
    pub(crate) fn unsupported_link(self, zone: Name<Bytes>, signature: Option<&Verified>) -> Link {
        Link {
            zone,
            ds: self.entries,
            keys: Vec::new(),
            signature: signature.map(SignatureEntry::from),
            verdict: LinkVerdict::Insecure(InsecureProof::UnsupportedDs),
        }
    }

    /// Whether it vouches for nothing but these keys.
    fn is_for_none_but(&self, zone: &Name<Bytes>, keys: &[Key], sha1: Sha1Policy) -> bool {
        let mut ds = self.ds.iter();
        let mut trusted = self.keys.iter();
        ds.all(|ds| keys.iter().any(|key| key.matches(zone, ds, sha1)))
            && trusted.all(|trusted| keys.iter().any(|key| key.dnskey == *trusted))
    }

    /// Whether it vouches for a key.
    fn vouches_for(&self, zone: &Name<Bytes>, key: &Key, sha1: Sha1Policy) -> bool {
        key.is_zone_key()
            && (self.keys.contains(&key.dnskey)
                || self.ds.iter().any(|ds| key.matches(zone, ds, sha1)))
    }
}

/// What proving a zone's keys needs beside the keys.
pub(crate) struct KeyProof<'a> {
    /// The zone's apex.
    pub(crate) apex: &'a Name<Bytes>,
    /// What vouches for its keys.
    pub(crate) trust: Trust,
    /// Until when that may be kept.
    pub(crate) trust_expires: UnixTime,
    /// The bounds.
    pub(crate) limits: &'a Limits,
    /// What SHA-1 is worth.
    pub(crate) sha1: Sha1Policy,
    /// The time.
    pub(crate) now: UnixTime,
}

impl KeyProof<'_> {
    /// Proves the keys of a zone: RFC 4035, Section 5.2.
    ///
    /// # Errors
    /// No key that is vouched for signed the set.
    pub(crate) fn check(self, signed: &SignedSet, work: &mut Work) -> Result<KnownCut, Unverified> {
        if signed.set.data.len() > self.limits.keys_per_zone_max {
            return Err(self.fault(Rule::TooManyKeys));
        }
        let keys = signed.set.parsed::<Dnskey<Bytes>>().map(Key::new);
        let (mut keys, others): (Vec<Key>, Vec<Key>) =
            keys.partition(|key| self.trust.vouches_for(self.apex, key, self.sha1));
        // The set is not proven yet: a key that is vouched for may be missing because somebody left it
        // out, so what is there says something about the zone only if none is missing.
        let is_unsupported = !keys.iter().any(Key::is_usable);
        let is_complete = || self.trust.is_for_none_but(self.apex, &keys, self.sha1);
        if keys.is_empty() || is_unsupported && !is_complete() {
            return Err(self.fault(Rule::NoKeyMatchesDs));
        }
        let entries = keys.iter().map(|key| KeyEntry::new(key, true));
        let entries: Vec<KeyEntry> = entries
            .chain(others.iter().map(|key| KeyEntry::new(key, false)))
            .collect();
        if is_unsupported {
            let proof = InsecureProof::UnsupportedKeys;
            return Ok(KnownCut {
                cut: Cut::Insecure(proof.clone()),
                expires: self.trust_expires,
                link: Some(self.link(entries, None, LinkVerdict::Insecure(proof))),
            });
        }
        let verifier = Verifier {
            zone: self.apex,
            keys: &keys,
            limits: self.limits,
            sha1: self.sha1,
            now: self.now,
        };
        let verified = verifier.verify(signed, work)?;
        let ttl = std::time::Duration::from_secs(u64::from(verified.ttl));
        keys.extend(others);
        Ok(KnownCut {
            cut: Cut::Secure(Arc::new(Zone {
                apex: self.apex.clone(),
                keys,
            })),
            expires: self.trust_expires.min(self.now + ttl),
            link: Some(self.link(entries, Some(&verified), LinkVerdict::Secure)),
        })
    }

    /// A fault of the zone's DNSKEY set.
    fn fault(&self, rule: Rule) -> Unverified {
        Unverified::Fault(Fault {
            record: Question::new(self.apex.clone(), Rtype::DNSKEY),
            signature: None,
            rule,
        })
    }

    /// The zone as a link of the chain.
    fn link(
        self,
        keys: Vec<KeyEntry>,
        signature: Option<&Verified>,
        verdict: LinkVerdict,
    ) -> Arc<Link> {
        Arc::new(Link {
            zone: self.apex.clone(),
            ds: self.trust.entries,
            keys,
            signature: signature.map(SignatureEntry::from),
            verdict,
        })
    }
}

/// The DS records that can be used.
///
//= https://www.rfc-editor.org/rfc/rfc4509#section-3
//# Validator implementations SHOULD ignore DS RRs containing SHA-1
//# digests if DS RRs with SHA-256 digests are present in the DS RRset.
///
/// SHA-384 comes as near: RFC 6605, Section 2.
fn usable(mut all: Vec<Ds<Bytes>>, sha1: Sha1Policy) -> Vec<Ds<Bytes>> {
    all.retain(|ds| {
        algorithm::is_supported(ds.algorithm(), sha1)
            && algorithm::digest(ds.digest_type(), sha1).is_some()
    });
    if all
        .iter()
        .any(|ds| ds.digest_type() != DigestAlgorithm::SHA1)
    {
        all.retain(|ds| ds.digest_type() != DigestAlgorithm::SHA1);
    }
    all
}

/// What to say of a DS record.
fn entry(ds: &Ds<Bytes>) -> DsEntry {
    DsEntry {
        key_tag: ds.key_tag(),
        algorithm: ds.algorithm(),
        digest_type: ds.digest_type(),
    }
}
