//! Judging what an answer says about one name: records, or their absence.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::ParsedName;
use domain::base::iana::Rtype;
use domain::rdata::Nsec3param;
use domain::rdata::Soa;

use crate::cache::Keep as _;
use crate::denial::Absence;
use crate::denial::Denial;
use crate::denial::WildcardProof;
use crate::fault::Rule;
use crate::message::Question;
use crate::message::Response;
use crate::message::SignedSet;
use crate::name;
use crate::signature::Verifier;
use crate::validation::NXDOMAIN;
use crate::validation::Stop;
use crate::validation::Validation;
use crate::verdict::Insecure;
use crate::verdict::InsecureProof;
use crate::verdict::Kind;
use crate::walk::Destination;
use crate::walk::Reached;
use crate::walk::fault;

/// What was judged, if not bogus.
pub(crate) struct Judged {
    /// Why it is insecure; `None` if it is secure.
    pub(crate) insecure: Option<Insecure>,
    /// Until when it may be kept.
    pub(crate) expires: UnixTime,
}

impl Validation {
    /// Judges a record set.
    ///
    /// # Errors
    /// More answers are needed, or it is bogus.
    pub(crate) fn judge_set(
        &mut self,
        signed: &SignedSet,
        response: &Response,
        now: UnixTime,
    ) -> Result<Judged, Stop> {
        let (owner, rtype) = (&signed.set.owner, signed.set.rtype);
        let signers = signed.signatures.iter().map(|rrsig| rrsig.signer_name());
        let zone = match self.zone_of(owner, rtype, signers, now)? {
            Reached::Insecure(why) => return Ok(judged(Some(why), signed.set.ttl, now)),
            Reached::Zone(zone) => zone,
        };
        let shared = Arc::clone(&self.shared);
        let verifier = Verifier {
            zone: &zone.apex,
            keys: &zone.keys,
            limits: &shared.limits,
            sha1: shared.sha1,
            now,
        };
        let verified = self.verified(&verifier, signed, response)?;
        let Some(encloser) = &verified.wildcard_encloser else {
            return Ok(judged(None, verified.ttl, now));
        };
        // A DNAME that a wildcard made leads nowhere: RFC 4592, Section 4.4. It can be asked for.
        if rtype == Rtype::DNAME && *owner != self.current {
            let record = Question::new(owner.clone(), rtype);
            return Err(Stop::Bogus(fault(record, Rule::WildcardNotAllowed)));
        }
        let denial = Denial::collect(&verifier, &response.authority, &mut self.work)
            .map_err(Stop::Failed)?;
        let proof = denial
            .of_closer_match(owner, encloser, &mut self.work)
            .map_err(Stop::Failed)?;
        let insecure = match proof {
            Some(WildcardProof::Secure) => None,
            Some(WildcardProof::Insecure(proof)) => Some(Insecure {
                at: zone.apex.clone(),
                proof,
            }),
            None => Some(self.explain_missing_proof(&verifier, signed, response)?),
        };
        if let Some(fault) = denial.fault {
            return Err(Stop::Bogus(fault));
        }
        Ok(judged(insecure, verified.ttl.min(denial.ttl), now))
    }

    /// Looks for the reason why a wildcard has no proof at all beside it.
    ///
    /// Some validating upstreams drop NSEC3 records with more iterations than they do themselves.
    /// The zone's own signed parameters then tell that the proof would be insecure anyway.
    fn explain_missing_proof(
        &mut self,
        verifier: &Verifier<'_>,
        wildcard: &SignedSet,
        response: &Response,
    ) -> Result<Insecure, Stop> {
        let record = Question::new(wildcard.set.owner.clone(), wildcard.set.rtype);
        let unproven = Stop::Bogus(fault(record, Rule::WildcardUnproven));
        if response.authority.of_type(Rtype::NSEC3).next().is_some() {
            return Err(unproven);
        }
        let question = Question::new(verifier.zone.clone(), Rtype::NSEC3PARAM);
        let parameters = match self.good_answer(&question, None) {
            Ok(response) => response,
            Err(Stop::Need(questions)) => return Err(Stop::Need(questions)),
            Err(Stop::Bogus(_) | Stop::Failed(_)) => return Err(unproven),
        };
        let Some(signed) = parameters.answer.find(verifier.zone, Rtype::NSEC3PARAM) else {
            return Err(unproven);
        };
        self.verified(verifier, signed, &parameters)?;
        let iterations = signed
            .set
            .parsed::<Nsec3param<Bytes>>()
            .map(|parameters| parameters.iterations())
            .min()
            .filter(|iterations| *iterations > verifier.limits.nsec3_iterations_max);
        match iterations {
            Some(count) => Ok(Insecure {
                at: verifier.zone.clone(),
                proof: InsecureProof::TooManyIterations(count),
            }),
            None => Err(unproven),
        }
    }

    /// Judges the absence of records of a type at the current name.
    ///
    /// What is proven counts, and the response code, which is not signed, must not contradict it.
    /// Without proof, in the insecure part of the tree, there is nothing but the code.
    ///
    /// # Errors
    /// More answers are needed, or it is bogus.
    pub(crate) fn judge_absence(
        &mut self,
        rtype: Rtype,
        response: &Response,
        now: UnixTime,
    ) -> Result<(Kind, Judged), Stop> {
        let name = self.current.clone();
        let claimed = if response.rcode == NXDOMAIN {
            Kind::NxDomain
        } else {
            Kind::NoData
        };
        let signers = [Rtype::SOA, Rtype::NSEC, Rtype::NSEC3]
            .into_iter()
            .flat_map(|rtype| response.authority.of_type(rtype))
            .flat_map(|signed| &signed.signatures)
            .map(|rrsig| rrsig.signer_name());
        let zone = match self.zone_of(&name, rtype, signers, now)? {
            Reached::Insecure(why) => {
                let ttl = negative_ttl(response);
                return Ok((claimed, judged(Some(why), ttl, now)));
            }
            Reached::Zone(zone) => zone,
        };
        let shared = Arc::clone(&self.shared);
        let verifier = Verifier {
            zone: &zone.apex,
            keys: &zone.keys,
            limits: &shared.limits,
            sha1: shared.sha1,
            now,
        };
        let denial = Denial::collect(&verifier, &response.authority, &mut self.work)
            .map_err(Stop::Failed)?;
        let absence = denial
            .of_records(&name, rtype, &mut self.work)
            .map_err(Stop::Failed)?;
        let (kind, proof) = match absence {
            // Some servers say NXDOMAIN of empty non-terminals (RFC 8020); Unbound minds that only
            // where the denial is by NSEC3 records, and so does this.
            Some(Absence::NoData) if claimed == Kind::NoData || denial.is_by_nsec() => {
                (Kind::NoData, None)
            }
            Some(Absence::NxDomain) if claimed == Kind::NxDomain => (Kind::NxDomain, None),
            Some(Absence::NoData | Absence::NxDomain) => {
                let question = Question::new(name, rtype);
                return Err(Stop::Bogus(fault(question, Rule::CodeContradicted)));
            }
            Some(Absence::CompactNxDomain) => (claimed, None),
            Some(Absence::OptOut) => (claimed, Some(InsecureProof::OptOut)),
            Some(Absence::TooManyIterations(count)) => {
                (claimed, Some(InsecureProof::TooManyIterations(count)))
            }
            Some(Absence::OptOutNoData) if claimed == Kind::NoData => {
                (claimed, Some(InsecureProof::OptOut))
            }
            Some(Absence::OptOutNoData) | None => {
                let unproven = fault(Question::new(name, rtype), Rule::DenialUnproven);
                let fault = denial.fault.unwrap_or(unproven);
                return Err(self.unsigned(fault, response));
            }
        };
        //= https://www.rfc-editor.org/rfc/rfc4035#section-3.2.3
        //# the name server considers all RRsets in the Answer and Authority sections of the
        //# response to be authentic.
        if let Some(fault) = denial.fault {
            return Err(Stop::Bogus(fault));
        }
        denial.keep(&shared.denials);
        let insecure = proof.map(|proof| Insecure {
            at: zone.apex.clone(),
            proof,
        });
        Ok((kind, judged(insecure, denial.ttl, now)))
    }

    /// Judges the absence of a name by denials that other answers brought: RFC 8198.
    ///
    /// Only names that do not exist: a wildcard's records may have changed together with what denies
    /// them, and servers that sign on the fly are not all honest about which types a name has.
    pub(crate) fn judge_by_denials(&mut self, rtype: Rtype, now: UnixTime) -> Option<Judged> {
        let shared = Arc::clone(&self.shared);
        let name = self.current.clone();
        let highest = if rtype == Rtype::DS {
            name::parent(&name)
        } else {
            name.clone()
        };
        for zone in self.chain_names(&highest) {
            let Some(denials) = shared.denials.get(&zone, now) else {
                continue;
            };
            // Its keys must still be proven, or the records would outlive them.
            let reached = self.walk(&zone, Destination::Signer, now);
            if !matches!(reached, Ok(Reached::Zone(reached)) if reached.apex == zone) {
                return None;
            }
            let absence = denials.deny(&zone, &name, rtype, &shared.limits, &mut self.work);
            match absence.ok()? {
                Some(Absence::NxDomain) => {}
                Some(
                    Absence::CompactNxDomain
                    | Absence::NoData
                    | Absence::OptOut
                    | Absence::OptOutNoData
                    | Absence::TooManyIterations(_),
                )
                | None => continue,
            }
            let judged = Judged {
                insecure: None,
                expires: denials.expires(),
            };
            return Some(judged);
        }
        None
    }

    /// Walks to the zone that must have signed what an answer says about a name.
    ///
    /// That is the deepest one that signatures name; a name that lies deeper than all true cuts
    /// leads to the true zone all the same. Without signatures, it is the zone of the name.
    fn zone_of<'a>(
        &mut self,
        owner: &Name<Bytes>,
        rtype: Rtype,
        signers: impl Iterator<Item = &'a Name<Bytes>>,
        now: UnixTime,
    ) -> Result<Reached, Stop> {
        // DS records belong to the parent: RFC 4035, Section 3.1.4.1.
        let highest = if rtype == Rtype::DS {
            name::parent(owner)
        } else {
            owner.clone()
        };
        // A negative anchor need not be where a zone begins.
        if let Some(insecure) = self.below_negative_anchor(&highest) {
            return Ok(Reached::Insecure(insecure));
        }
        let signer = signers
            .filter(|signer| highest.ends_with(signer))
            .max_by_key(|signer| name::label_count(signer));
        match signer {
            Some(signer) => self.walk(signer, Destination::Signer, now),
            None => self.walk(&highest, Destination::Unsigned, now),
        }
    }
}

/// Something judged that may be kept for some seconds.
fn judged(insecure: Option<Insecure>, ttl: u32, now: UnixTime) -> Judged {
    Judged {
        insecure,
        expires: now + Duration::from_secs(u64::from(ttl)),
    }
}

/// How long an absence without proof may be kept: RFC 2308, Section 5.
fn negative_ttl(response: &Response) -> u32 {
    response
        .authority
        .of_type(Rtype::SOA)
        .flat_map(|signed| {
            let minimum = signed.set.parsed::<Soa<ParsedName<Bytes>>>();
            minimum.map(|soa| soa.minimum().as_secs().min(signed.set.ttl))
        })
        .min()
        .unwrap_or(UNMARKED_NEGATIVE_TTL)
}

/// How long an absence without a SOA record may be kept, in seconds: RFC 2308 says not at all, and
/// a little saves asking twice for one message.
const UNMARKED_NEGATIVE_TTL: u32 = 5;
