//! From a question to an answer, as a recursive resolver gives it.

use std::collections::BTreeMap;

use byrnie_base::UnixTime;
use domain::base::Name;
use domain::base::Rtype;
use domain::base::iana::Rcode;

use super::Denial;
use super::DnsFault;
use super::RecordSet;
use super::Zones;
use super::record::parent;
use super::record::wildcard_below;
use super::sign::Validity;
use super::zones::State;
use super::zones::Zone;
use crate::LabError;

/// What the answer to a question says, before it is cut to what the client asked for.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The code.
    pub rcode: Rcode,
    /// Aliases, and what stands at their end.
    pub answer: Vec<SignedSet>,
    /// The start of authority and the proof, where something is absent.
    pub authority: Vec<SignedSet>,
}

/// A record set in an answer.
#[derive(Clone, Debug)]
pub struct SignedSet {
    /// Where it stands.
    pub owner: Name<Vec<u8>>,
    /// Its records.
    pub set: RecordSet,
    /// The data of the RRSIG over it, if it is signed.
    pub rrsig: Option<Vec<u8>>,
}

impl Zones {
    /// The fault that meets a question as a whole.
    #[must_use]
    pub fn question_fault(&self, name: &Name<Vec<u8>>, rtype: Rtype) -> Option<DnsFault> {
        let state = self.lock();
        let fault = state.fault(name, rtype);
        fault.filter(|fault| !fault.concerns_signatures()).cloned()
    }

    /// The answer to a question, with faults in signatures but without those of
    /// [`question_fault`](Self::question_fault) that are not made of records.
    ///
    /// # Errors
    /// The machine refuses to sign.
    pub fn lookup(
        &self,
        name: &Name<Vec<u8>>,
        rtype: Rtype,
        now: UnixTime,
    ) -> Result<Lookup, LabError> {
        let state = self.lock();
        let mut search = Search {
            state: &state,
            asked: (name.clone(), rtype),
            now,
            found: Lookup {
                rcode: Rcode::NOERROR,
                answer: Vec::new(),
                authority: Vec::new(),
            },
        };
        let mut at = name.clone();
        for _ in 0..ALIASES_MAX {
            match search.step(&at)? {
                Some(target) => at = target,
                None => break,
            }
        }
        Ok(search.found)
    }
}

/// One search for an answer.
struct Search<'a> {
    /// The zones.
    state: &'a State,
    /// The question.
    asked: (Name<Vec<u8>>, Rtype),
    /// The time that signatures are made for.
    now: UnixTime,
    /// What was found so far.
    found: Lookup,
}

impl<'a> Search<'a> {
    /// Looks at one name; gives the next one if this one is an alias.
    fn step(&mut self, name: &Name<Vec<u8>>) -> Result<Option<Name<Vec<u8>>>, LabError> {
        let rtype = self.asked.1;
        if let Some(DnsFault::Forged(data)) = self.state.fault(name, rtype) {
            let set = RecordSet::new(rtype, FORGED_TTL, data.clone());
            let owner = name.clone();
            self.found.answer.push(SignedSet {
                owner,
                set,
                rrsig: None,
            });
            return Ok(None);
        }
        let zone = self.zone_for(name, rtype)?;
        // The records are those of the name, or of the wildcard that stands for it.
        let wildcard = wildcard_below(&zone.closest_encloser(name))
            .filter(|wildcard| !zone.exists(name) && zone.has_records(wildcard));
        let source = wildcard.as_ref().unwrap_or(name);
        let alias = zone
            .get(source, Rtype::CNAME)
            .filter(|_| rtype != Rtype::CNAME);
        if let Some(set) = alias.or_else(|| zone.get(source, rtype)) {
            let target = alias.and_then(|set| set.data.first());
            let target = target.and_then(|wire| Name::from_octets(wire.clone()).ok());
            let signed = self.signed(zone, name, source, set.clone())?;
            self.found.answer.push(signed);
            if wildcard.is_some() {
                self.prove(zone, |zone, denial| zone.prove_wildcard(denial, name))?;
            }
            return Ok(target);
        }
        let soa = zone.get(&zone.apex, Rtype::SOA).cloned();
        if let Some(soa) = soa {
            let signed = self.signed(zone, &zone.apex, &zone.apex, soa)?;
            self.found.authority.push(signed);
        }
        if let Some(wildcard) = wildcard {
            self.prove(zone, |zone, denial| {
                zone.prove_wildcard_no_data(denial, name, &wildcard)
            })?;
        } else if zone.exists(name) {
            self.prove(zone, |zone, denial| zone.prove_no_data(denial, name))?;
        } else {
            self.found.rcode = Rcode::NXDOMAIN;
            self.prove(zone, |zone, denial| zone.prove_no_name(denial, name))?;
        }
        Ok(None)
    }

    /// The zone that answers: for DS at a cut, the one above the cut.
    fn zone_for(&self, name: &Name<Vec<u8>>, rtype: Rtype) -> Result<&'a Zone, LabError> {
        let state = self.state;
        let zone = state.zone_of(name)?;
        match parent(name) {
            Some(above) if rtype == Rtype::DS && zone.apex == *name => state.zone_of(&above),
            Some(_) | None => Ok(zone),
        }
    }

    /// Adds a proof of absence, if the zone is signed.
    fn prove(
        &mut self,
        zone: &Zone,
        proof: impl FnOnce(&Zone, Denial) -> BTreeMap<Name<Vec<u8>>, RecordSet>,
    ) -> Result<(), LabError> {
        let Some((_, denial)) = &zone.key else {
            return Ok(());
        };
        for (owner, set) in proof(zone, *denial) {
            let signed = self.signed(zone, &owner, &owner, set)?;
            self.found.authority.push(signed);
        }
        Ok(())
    }

    /// A set with its signature, right or wrong as the faults have it.
    fn signed(
        &self,
        zone: &Zone,
        owner: &Name<Vec<u8>>,
        source: &Name<Vec<u8>>,
        set: RecordSet,
    ) -> Result<SignedSet, LabError> {
        let (asked_name, asked_type) = &self.asked;
        let fault = self
            .state
            .fault(asked_name, *asked_type)
            .filter(|fault| fault.concerns_signatures())
            .or_else(|| self.state.fault(owner, set.rtype));
        let mut rrsig = match &zone.key {
            Some((key, _)) => {
                let validity = match fault {
                    Some(DnsFault::ExpiredSignature) => Validity::expired(self.now),
                    Some(DnsFault::FutureSignature) => Validity::future(self.now),
                    Some(
                        DnsFault::BogusSignature
                        | DnsFault::StrippedSignature
                        | DnsFault::Forged(_)
                        | DnsFault::Code(_)
                        | DnsFault::Silent
                        | DnsFault::Truncated,
                    )
                    | None => Validity::around(self.now),
                };
                Some(key.rrsig(&zone.apex, source, &set, validity)?)
            }
            None => None,
        };
        if fault == Some(&DnsFault::StrippedSignature) {
            rrsig = None;
        }
        if fault == Some(&DnsFault::BogusSignature)
            && let Some(last) = rrsig.as_mut().and_then(|rrsig| rrsig.last_mut())
        {
            *last ^= 1;
        }
        Ok(SignedSet {
            owner: owner.clone(),
            set,
            rrsig,
        })
    }
}

/// Aliases that the resolver follows.
const ALIASES_MAX: usize = 16;

/// The TTL of forged data in seconds.
const FORGED_TTL: u32 = 1;
