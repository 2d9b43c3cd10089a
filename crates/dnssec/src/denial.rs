//! Proofs that something does not exist, whatever kind of record they are made of.

use std::time::Duration;

use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;
use domain::rdata::Soa;
use domain::rdata::dnssec::RtypeBitmap;

use crate::cache::Cache;
use crate::cache::KnownDenials;
use crate::fault::Fault;
use crate::limits::Work;
use crate::message::Section;
use crate::message::SignedSet;
use crate::nsec;
use crate::nsec::NsecProof;
use crate::nsec3::Cover;
use crate::nsec3::Meter;
use crate::nsec3::Nsec3Proof;
use crate::signature::Unverified;
use crate::signature::Verified;
use crate::signature::Verifier;
use crate::verdict::Failure;
use crate::verdict::InsecureProof;

/// What is proven about records of one type at one name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Absence {
    /// The name exists in the form of compact denial only: RFC 9824.
    CompactNxDomain,
    /// The name exists without such records.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Neither the name nor a wildcard for it is signed; an unsigned delegation may be there.
    OptOut,
    /// The name has no such signed records; an unsigned delegation may be at it or below it.
    OptOutNoData,
    /// The hash takes too many iterations to look.
    TooManyIterations(u16),
}

/// What is proven about a zone cut at a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CutDenial {
    /// A delegation without DS records.
    Unsigned,
    /// The name is not delegated.
    NotACut,
    /// The name does not exist, so nothing below it does.
    NothingBelow,
    /// No signed delegation is there, an unsigned one may be.
    OptOut,
    /// The hash takes too many iterations to look.
    TooManyIterations(u16),
}

impl CutDenial {
    /// What the type bitmap at the name itself proves.
    ///
    /// A SOA bit means that the record is the child's, which knows nothing of its DS records.
    pub(crate) fn from_types(types: &RtypeBitmap<Bytes>) -> Option<Self> {
        if types.contains(Rtype::DS) || types.contains(Rtype::SOA) {
            None
        } else if types.contains(nsec::NXNAME) {
            Some(Self::NothingBelow)
        } else if nsec::is_delegation(types) {
            Some(Self::Unsigned)
        } else {
            Some(Self::NotACut)
        }
    }

    /// Why everything from this name down is insecure, if it is.
    pub(crate) const fn insecure(self) -> Option<InsecureProof> {
        match self {
            Self::Unsigned => Some(InsecureProof::NoDs),
            Self::OptOut => Some(InsecureProof::OptOut),
            Self::TooManyIterations(count) => Some(InsecureProof::TooManyIterations(count)),
            Self::NotACut | Self::NothingBelow => None,
        }
    }
}

/// The valid NSEC and NSEC3 records of one zone in the authority section of an answer.
pub(crate) struct Denial<'a> {
    verifier: &'a Verifier<'a>,
    nsec: NsecProof,
    nsec3: Nsec3Proof,
    /// Seconds for which the proof may be kept.
    pub(crate) ttl: u32,
    /// A signature that the proof rests on.
    pub(crate) verified: Option<Verified>,
    /// What is wrong with the first of the zone's records that is not valid; its SOA is one of them.
    pub(crate) fault: Option<Fault>,
}

impl<'a> Denial<'a> {
    /// Checks the signatures and keeps what is valid.
    ///
    /// # Errors
    /// That costs too much.
    pub(crate) fn collect(
        verifier: &'a Verifier<'a>,
        authority: &Section,
        work: &mut Work,
    ) -> Result<Self, Failure> {
        let mut denial = Self {
            verifier,
            nsec: NsecProof::default(),
            nsec3: Nsec3Proof::default(),
            ttl: crate::signature::seconds(verifier.limits.ttl_max),
            verified: None,
            fault: None,
        };
        let records = authority
            .of_type(Rtype::NSEC)
            .chain(authority.of_type(Rtype::NSEC3))
            .take(verifier.limits.denial_sets_max);
        for signed in records {
            let Some(verified) = denial.check(signed, work)? else {
                continue;
            };
            // A record from a wildcard says nothing about the name that it was expanded to:
            // CVE-2017-15105.
            if verified.wildcard_encloser.is_some() || !signed.set.owner.ends_with(verifier.zone) {
                continue;
            }
            denial.ttl = denial.ttl.min(verified.ttl);
            denial.verified = Some(verified);
            if signed.set.rtype == Rtype::NSEC {
                denial.nsec.add(&signed.set);
            } else {
                denial.nsec3.add(verifier.zone, &signed.set);
            }
        }
        if let Some(signed) = authority.find(verifier.zone, Rtype::SOA) {
            denial.bound_by_soa(signed, work)?;
        }
        Ok(denial)
    }

    /// What is proven about records of a type at a name.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn of_records(
        &self,
        name: &Name<Bytes>,
        rtype: Rtype,
        work: &mut Work,
    ) -> Result<Option<Absence>, Failure> {
        let zone = self.verifier.zone;
        if let Some(absence) = self.nsec.deny(zone, name, rtype) {
            return Ok(Some(absence));
        }
        if let Some(count) = self.nsec3.excessive_iterations(self.verifier.limits) {
            return Ok(Some(Absence::TooManyIterations(count)));
        }
        self.nsec3.deny(zone, name, rtype, &mut self.meter(work))
    }

    /// Whether there are NSEC records to prove something by.
    pub(crate) fn is_by_nsec(&self) -> bool {
        self.nsec.len() > 0
    }

    /// Keeps the records to answer other questions with.
    pub(crate) fn keep(&self, kept: &Cache<KnownDenials>) {
        let Verifier {
            zone, limits, now, ..
        } = self.verifier;
        if self.nsec.len() + self.nsec3.len() == 0 {
            return;
        }
        // Records that cost too much to use now would cost too much later.
        if self.nsec3.excessive_iterations(limits).is_some() {
            return;
        }
        let ttl = Duration::from_secs(u64::from(self.ttl)).min(limits.denial_ttl_max);
        let expires = *now + ttl;
        let known = kept.get(zone, *now).unwrap_or_default();
        let known = known.with(&self.nsec, &self.nsec3, expires, limits);
        kept.insert((*zone).clone(), known);
    }

    /// What is proven about a zone cut at a name.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn of_cut(
        &self,
        name: &Name<Bytes>,
        work: &mut Work,
    ) -> Result<Option<CutDenial>, Failure> {
        let zone = self.verifier.zone;
        if let Some(denial) = self.nsec.deny_cut(zone, name) {
            return Ok(Some(denial));
        }
        if let Some(count) = self.nsec3.excessive_iterations(self.verifier.limits) {
            return Ok(Some(CutDenial::TooManyIterations(count)));
        }
        self.nsec3.deny_cut(zone, name, &mut self.meter(work))
    }

    /// How it is proven that a name has no closer match than the wildcard below `encloser`.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn of_closer_match(
        &self,
        name: &Name<Bytes>,
        encloser: &Name<Bytes>,
        work: &mut Work,
    ) -> Result<Option<WildcardProof>, Failure> {
        if self
            .nsec
            .proves_wildcard(self.verifier.zone, name, encloser)
        {
            return Ok(Some(WildcardProof::Secure));
        }
        if let Some(count) = self.nsec3.excessive_iterations(self.verifier.limits) {
            let proof = InsecureProof::TooManyIterations(count);
            return Ok(Some(WildcardProof::Insecure(proof)));
        }
        let cover = self
            .nsec3
            .proves_wildcard(name, encloser, &mut self.meter(work))?;
        Ok(cover.map(|cover| match cover {
            Cover::Complete => WildcardProof::Secure,
            Cover::OptOut => WildcardProof::Insecure(InsecureProof::OptOut),
        }))
    }

    /// What hashing is metered with.
    const fn meter<'w>(&'w self, work: &'w mut Work) -> Meter<'w> {
        Meter {
            limits: self.verifier.limits,
            work,
        }
    }

    /// Checks one record set; `None` if it is not valid.
    fn check(&mut self, signed: &SignedSet, work: &mut Work) -> Result<Option<Verified>, Failure> {
        match self.verifier.verify(signed, work) {
            Ok(verified) => Ok(Some(verified)),
            Err(Unverified::Fault(fault)) => {
                // Behind a chain of aliases there may be the records of other zones as well.
                let owner = &signed.set.owner;
                if owner.ends_with(self.verifier.zone) && !self.is_of_zone_below(signed) {
                    self.fault.get_or_insert(fault);
                }
                Ok(None)
            }
            Err(Unverified::Failure(failure)) => Err(failure),
        }
    }

    /// Whether a zone below this one claims to have signed the set, and this one does not.
    fn is_of_zone_below(&self, signed: &SignedSet) -> bool {
        let zone = self.verifier.zone;
        let mut signers = signed.signatures.iter().map(|rrsig| rrsig.signer_name());
        let is_own = signers.clone().any(|signer| signer == zone);
        !is_own
            && signers.any(|signer| signed.set.owner.ends_with(signer) && signer.ends_with(zone))
    }

    /// Keeps the denial no longer than the SOA record says: RFC 2308, Section 5.
    fn bound_by_soa(&mut self, signed: &SignedSet, work: &mut Work) -> Result<(), Failure> {
        if let Some(verified) = self.check(signed, work)? {
            let minimum = signed
                .set
                .parsed::<Soa<domain::base::ParsedName<Bytes>>>()
                .map(|soa| soa.minimum().as_secs())
                .min();
            self.ttl = self.ttl.min(verified.ttl).min(minimum.unwrap_or(0));
        }
        Ok(())
    }
}

/// How it is proven that a wildcard applies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum WildcardProof {
    /// Nothing closer exists.
    Secure,
    /// Nothing closer that is signed exists, or it is too costly to look.
    Insecure(InsecureProof),
}
