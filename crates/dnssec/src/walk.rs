//! The walk from a trust anchor down to the zone of a name.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;

use crate::anchor::TrustAnchor;
use crate::cache::BrokenZone;
use crate::cache::Keep as _;
use crate::chain::Cut;
use crate::chain::KeyProof;
use crate::chain::KnownCut;
use crate::chain::Trust;
use crate::chain::Zone;
use crate::denial::CutDenial;
use crate::denial::Denial;
use crate::denial::WildcardProof;
use crate::explain::Link;
use crate::explain::LinkVerdict;
use crate::explain::SignatureEntry;
use crate::fault::Fault;
use crate::fault::Rule;
use crate::message::Question;
use crate::message::Response;
use crate::message::SignedSet;
use crate::name;
use crate::signature::Unverified;
use crate::signature::Verified;
use crate::signature::Verifier;
use crate::validation::Stop;
use crate::validation::Validation;
use crate::verdict::Failure;
use crate::verdict::Insecure;
use crate::verdict::InsecureProof;

/// What the walk to a name ended at.
pub(crate) enum Reached {
    /// The deepest zone at or above the name, proven.
    Zone(Arc<Zone>),
    /// The chain ends on the way, in good order.
    Insecure(Insecure),
}

/// Whether the walk goes to a zone that signatures name, or looks where the chain ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Destination {
    /// A signature says that a zone is there, so its keys will be needed.
    Signer,
    /// Nothing is signed.
    Unsigned,
}

impl Validation {
    /// Walks to the zone of a name.
    ///
    /// # Errors
    /// More answers are needed, or the chain breaks on the way.
    pub(crate) fn walk(
        &mut self,
        target: &Name<Bytes>,
        destination: Destination,
        now: UnixTime,
    ) -> Result<Reached, Stop> {
        let shared = Arc::clone(&self.shared);
        if let Some(insecure) = self.below_negative_anchor(target) {
            return Ok(Reached::Insecure(insecure));
        }
        let Some(anchor) = shared.anchors.closest(target) else {
            return Ok(Reached::Insecure(Insecure {
                at: target.clone(),
                proof: InsecureProof::NoAnchor,
            }));
        };
        let known = self.known(&anchor.zone, now, |walk| walk.prove_anchor(anchor, now))?;
        let mut zone = match known {
            Cut::Secure(zone) => zone,
            Cut::Insecure(proof) => return Ok(insecure(&anchor.zone, proof)),
            Cut::Absent | Cut::NothingBelow => {
                return Ok(insecure(target, InsecureProof::NoAnchor));
            }
        };
        let mut absent_in_a_row = 0;
        for labels in name::label_count(&anchor.zone) + 1..=name::label_count(target) {
            let name = name::ancestor(target, labels);
            let known = self.known(&name, now, |walk| {
                let ahead = questions_ahead(&name, target, destination, absent_in_a_row);
                walk.prove_cut(&zone, &name, ahead, now)
            })?;
            match known {
                Cut::Secure(child) => {
                    zone = child;
                    absent_in_a_row = 0;
                }
                Cut::Insecure(proof) => return Ok(insecure(&name, proof)),
                Cut::Absent => absent_in_a_row += 1,
                Cut::NothingBelow => break,
            }
        }
        Ok(Reached::Zone(zone))
    }

    /// Why a name is insecure, if it is at or below a negative trust anchor.
    pub(crate) fn below_negative_anchor(&self, name: &Name<Bytes>) -> Option<Insecure> {
        let negative = self.shared.anchors.negative(name)?;
        Some(Insecure {
            at: negative.clone(),
            proof: InsecureProof::NegativeAnchor,
        })
    }

    /// Stops, before anything is asked, if the current name lies in a zone that was bogus just now.
    ///
    /// RFC 4035, Section 4.7; RFC 9520, Section 3.2: what is broken is not asked about again and
    /// again.
    ///
    /// # Errors
    /// The zone is bogus; or what lies above it must be asked for first.
    pub(crate) fn stop_at_broken_zone(&mut self, rtype: Rtype, now: UnixTime) -> Result<(), Stop> {
        let highest = if rtype == Rtype::DS {
            name::parent(&self.current)
        } else {
            self.current.clone()
        };
        let broken = &self.shared.broken;
        let broken = self
            .chain_names(&highest)
            .find(|zone| broken.get(zone, now).is_some());
        match broken {
            Some(zone) => self.walk(&zone, Destination::Unsigned, now).map(drop),
            None => Ok(()),
        }
    }

    /// The names at which the chain to a name may pass: from itself up to its anchor's zone.
    ///
    /// None at or below a negative anchor, or where there is no anchor. Zones above the anchor have no
    /// say here: they may be another view of the name space.
    pub(crate) fn chain_names<'a>(
        &self,
        name: &'a Name<Bytes>,
    ) -> impl Iterator<Item = Name<Bytes>> + use<'a> {
        let anchor = self.shared.anchors.closest(name);
        let anchor = anchor.filter(|_| self.below_negative_anchor(name).is_none());
        let count = anchor.map_or(0, |anchor| {
            name::label_count(name) + 1 - name::label_count(&anchor.zone)
        });
        name.iter_suffixes().take(count)
    }

    /// What the chain to the current name will need, as far as it can be told before the answer
    /// about it has come: the keys of its trust anchor, and beside them at first the DS records of
    /// zones that are likely to exist, then their keys.
    pub(crate) fn foreseen(&self, now: UnixTime) -> Vec<Question> {
        let (anchors, cuts) = (&self.shared.anchors, &self.shared.cuts);
        let mut questions = Vec::new();
        let Some(anchor) = anchors.closest(&self.current) else {
            return questions;
        };
        if anchors.negative(&self.current).is_some() {
            return questions;
        }
        if cuts.get(&anchor.zone, now).is_none() {
            questions.push(Question::new(anchor.zone.clone(), Rtype::DNSKEY));
        }
        let highest = name::label_count(&anchor.zone);
        let deepest = highest + self.shared.limits.zones_ahead_max;
        for labels in highest + 1..=deepest.min(name::label_count(&self.current)) {
            let zone = name::ancestor(&self.current, labels);
            // Underscore names belong to a host and are hardly ever a zone of their own.
            if zone.first().as_slice().starts_with(b"_") {
                break;
            }
            match cuts.get(&zone, now).map(|known| known.cut) {
                Some(Cut::Secure(_) | Cut::Absent) => continue,
                Some(Cut::Insecure(_) | Cut::NothingBelow) => break,
                None => {}
            }
            let ds = Question::new(zone.clone(), Rtype::DS);
            match self.answers.get(&ds) {
                None => questions.push(ds),
                Some(Ok(response)) if response.answer.find(&zone, Rtype::DS).is_some() => {
                    questions.push(Question::new(zone, Rtype::DNSKEY));
                }
                Some(Ok(_) | Err(_)) => {}
            }
        }
        questions
    }

    /// A fault, or the news that the upstream strips signatures, where an answer has none at all.
    ///
    /// The two look alike. So the anchor's own zone is asked about: what comes without signatures
    /// from there has lost them on the way.
    pub(crate) fn unsigned(&mut self, fault: Fault, response: &Response) -> Stop {
        if response.has_signatures() {
            return Stop::Bogus(fault);
        }
        let Some(anchor) = self.shared.anchors.closest(&fault.record.name) else {
            return Stop::Bogus(fault);
        };
        let control = Question::new(anchor.zone.clone(), Rtype::SOA);
        match self.answer(&control, None) {
            Ok(response) if response.has_signatures() => Stop::Bogus(fault),
            Ok(_) => Stop::Failed(Failure::UpstreamStripsDnssec(control)),
            Err(Stop::Need(questions)) => Stop::Need(questions),
            Err(Stop::Bogus(_) | Stop::Failed(_)) => Stop::Bogus(fault),
        }
    }

    /// What is known about a name as a zone cut, from this validation, from others, or from `prove`.
    fn known(
        &mut self,
        name: &Name<Bytes>,
        now: UnixTime,
        prove: impl FnOnce(&mut Self) -> Result<KnownCut, Stop>,
    ) -> Result<Cut, Stop> {
        let known = match self.cuts.get(name) {
            Some(known) => known.clone(),
            None => {
                let known = match self.shared.cuts.get(name, now) {
                    Some(known) => known,
                    None => self.prove_unless_broken(name, now, prove)?,
                };
                if known.expires > now {
                    self.shared.cuts.insert(name.clone(), known.clone());
                }
                self.cuts.insert(name.clone(), known.clone());
                known
            }
        };
        if let Some(link) = known.link {
            self.note(link);
        }
        Ok(known.cut)
    }

    /// What `prove` finds out about a name as a zone cut, unless that was bogus just now.
    fn prove_unless_broken(
        &mut self,
        name: &Name<Bytes>,
        now: UnixTime,
        prove: impl FnOnce(&mut Self) -> Result<KnownCut, Stop>,
    ) -> Result<KnownCut, Stop> {
        let remembered = self.shared.broken.get(name, now);
        let fault = match remembered {
            Some(broken) => broken.fault,
            None => match prove(self) {
                Err(Stop::Bogus(fault)) => {
                    let expires = now + self.shared.limits.broken_zone_ttl;
                    let fault_kept = fault.clone();
                    self.shared.broken.insert(
                        name.clone(),
                        BrokenZone {
                            fault: fault_kept,
                            expires,
                        },
                    );
                    fault
                }
                other => return other,
            },
        };
        self.note(Arc::new(Link::broken(name.clone(), fault.clone())));
        Err(Stop::Bogus(fault))
    }

    /// Adds a link to the explanation, once.
    fn note(&mut self, link: Arc<Link>) {
        if !self.links.iter().any(|noted| noted.zone == link.zone) {
            self.links.push(link);
        }
    }

    /// Proves the keys of an anchor's zone.
    fn prove_anchor(&mut self, anchor: &TrustAnchor, now: UnixTime) -> Result<KnownCut, Stop> {
        let trust = Trust::from_anchor(anchor, self.shared.sha1);
        let expires = now + self.shared.limits.ttl_max;
        if trust.is_unsupported() {
            return Ok(unsupported(&anchor.zone, trust, None, expires));
        }
        let question = Question::new(anchor.zone.clone(), Rtype::DNSKEY);
        let response = self.good_answer(&question, None)?;
        // Who configured the anchor knows that the zone is signed.
        if !response.has_signatures() {
            return Err(Stop::Failed(Failure::UpstreamStripsDnssec(question)));
        }
        self.prove_keys(&anchor.zone, trust, expires, &response, now)
    }

    /// Finds out what a name below a proven zone's apex is, by the parent's word.
    fn prove_cut(
        &mut self,
        parent: &Zone,
        name: &Name<Bytes>,
        ahead: Vec<Question>,
        now: UnixTime,
    ) -> Result<KnownCut, Stop> {
        let question = Question::new(name.clone(), Rtype::DS);
        if !self.answers.contains_key(&question)
            && let Some(known) = self.cut_by_denials(parent, name, now)
        {
            return Ok(known);
        }
        let response = self.good_answer(&question, ahead)?;
        let shared = Arc::clone(&self.shared);
        let verifier = Verifier {
            zone: &parent.apex,
            keys: &parent.keys,
            limits: &shared.limits,
            sha1: shared.sha1,
            now,
        };
        if let Some(signed) = response.answer.find(name, Rtype::DS) {
            return self.prove_child(&verifier, signed, &response, now);
        }
        let alias = response.answer.find(name, Rtype::CNAME);
        let dname = response
            .answer
            .of_type(Rtype::DNAME)
            .find(|signed| name::is_below(name, &signed.set.owner));
        // A CNAME that a DNAME made has no signature of its own.
        if let Some(signed) = dname.or(alias) {
            return self.prove_alias(&verifier, signed, &response, now);
        }
        self.prove_no_ds(&verifier, name, &response, now)
    }

    /// Proves the keys of a child zone by the DS records that its parent has for it.
    fn prove_child(
        &mut self,
        verifier: &Verifier<'_>,
        signed: &SignedSet,
        response: &Response,
        now: UnixTime,
    ) -> Result<KnownCut, Stop> {
        let name = &signed.set.owner;
        let trust = Trust::from_ds(&signed.set, verifier.sha1, verifier.limits);
        // Without the keys there is no use in checking the DS records yet.
        let keys = Question::new(name.clone(), Rtype::DNSKEY);
        let keys = match self.good_answer(&keys, None) {
            Err(Stop::Need(questions)) if !trust.is_unsupported() => {
                return Err(Stop::Need(questions));
            }
            answer => answer,
        };
        let verified = self.verified(verifier, signed, response)?;
        if verified.wildcard_encloser.is_some() {
            let record = Question::new(name.clone(), Rtype::DS);
            return Err(Stop::Bogus(fault(record, Rule::WildcardNotAllowed)));
        }
        let expires = now + Duration::from_secs(u64::from(verified.ttl));
        if trust.is_unsupported() {
            return Ok(unsupported(name, trust, Some(&verified), expires));
        }
        self.prove_keys(name, trust, expires, &*keys?, now)
    }

    /// A name with a CNAME, or below a DNAME, has no other records and so no delegation.
    fn prove_alias(
        &mut self,
        verifier: &Verifier<'_>,
        signed: &SignedSet,
        response: &Response,
        now: UnixTime,
    ) -> Result<KnownCut, Stop> {
        let verified = self.verified(verifier, signed, response)?;
        let mut ttl = verified.ttl;
        let mut cut = if signed.set.rtype == Rtype::DNAME {
            Cut::NothingBelow
        } else {
            Cut::Absent
        };
        if let Some(encloser) = &verified.wildcard_encloser {
            let denial = Denial::collect(verifier, &response.authority, &mut self.work)
                .map_err(Stop::Failed)?;
            let proof = denial
                .of_closer_match(&signed.set.owner, encloser, &mut self.work)
                .map_err(Stop::Failed)?;
            ttl = ttl.min(denial.ttl);
            cut = match proof {
                Some(WildcardProof::Secure) => Cut::NothingBelow,
                Some(WildcardProof::Insecure(proof)) => Cut::Insecure(proof),
                None => {
                    let record = Question::new(signed.set.owner.clone(), signed.set.rtype);
                    return Err(Stop::Bogus(fault(record, Rule::WildcardUnproven)));
                }
            };
        }
        Ok(KnownCut {
            cut,
            link: None,
            expires: now + Duration::from_secs(u64::from(ttl)),
        })
    }

    /// Looks for the proof that a name has no DS records.
    fn prove_no_ds(
        &mut self,
        verifier: &Verifier<'_>,
        name: &Name<Bytes>,
        response: &Response,
        now: UnixTime,
    ) -> Result<KnownCut, Stop> {
        let denial =
            Denial::collect(verifier, &response.authority, &mut self.work).map_err(Stop::Failed)?;
        let proven = denial.of_cut(name, &mut self.work).map_err(Stop::Failed)?;
        let Some(proven) = proven else {
            let missing = fault(Question::new(name.clone(), Rtype::DS), Rule::NoDsUnproven);
            let fault = denial.fault.unwrap_or(missing);
            return Err(self.unsigned(fault, response));
        };
        let signature = denial.verified.as_ref().map(SignatureEntry::from);
        let expires = now + Duration::from_secs(u64::from(denial.ttl));
        Ok(denied_cut(name, proven, signature, expires))
    }

    /// What denials that other answers brought prove about a zone cut: RFC 8198.
    fn cut_by_denials(
        &mut self,
        parent: &Zone,
        name: &Name<Bytes>,
        now: UnixTime,
    ) -> Option<KnownCut> {
        let shared = Arc::clone(&self.shared);
        let denials = shared.denials.get(&parent.apex, now)?;
        let proven = denials.deny_cut(&parent.apex, name, &shared.limits, &mut self.work);
        match proven.ok()?? {
            proven @ (CutDenial::NotACut | CutDenial::NothingBelow | CutDenial::Unsigned) => {
                Some(denied_cut(name, proven, None, denials.expires()))
            }
            CutDenial::OptOut | CutDenial::TooManyIterations(_) => None,
        }
    }

    /// Proves the keys of a zone by what vouches for them.
    fn prove_keys(
        &mut self,
        apex: &Name<Bytes>,
        trust: Trust,
        trust_expires: UnixTime,
        response: &Response,
        now: UnixTime,
    ) -> Result<KnownCut, Stop> {
        let Some(signed) = response.answer.find(apex, Rtype::DNSKEY) else {
            let question = Question::new(apex.clone(), Rtype::DNSKEY);
            return Err(self.unsigned(fault(question, Rule::NoDnskeys), response));
        };
        let shared = Arc::clone(&self.shared);
        let proof = KeyProof {
            apex,
            trust,
            trust_expires,
            limits: &shared.limits,
            sha1: shared.sha1,
            now,
        };
        proof
            .check(signed, &mut self.work)
            .map_err(|unverified| self.unverified(unverified, response))
    }

    /// Checks the signatures over a record set.
    pub(crate) fn verified(
        &mut self,
        verifier: &Verifier<'_>,
        signed: &SignedSet,
        response: &Response,
    ) -> Result<Verified, Stop> {
        verifier
            .verify(signed, &mut self.work)
            .map_err(|unverified| self.unverified(unverified, response))
    }

    /// What a record set without valid signature makes of the validation.
    fn unverified(&mut self, unverified: Unverified, response: &Response) -> Stop {
        match unverified {
            Unverified::Fault(fault) => self.unsigned(fault, response),
            Unverified::Failure(failure) => Stop::Failed(failure),
        }
    }
}

/// A fault without a signature.
pub(crate) const fn fault(record: Question, rule: Rule) -> Fault {
    Fault {
        record,
        signature: None,
        rule,
    }
}

/// A name that its parent proves to be no signed delegation.
fn denied_cut(
    name: &Name<Bytes>,
    proven: CutDenial,
    signature: Option<SignatureEntry>,
    expires: UnixTime,
) -> KnownCut {
    let cut = match (proven.insecure(), proven) {
        (Some(proof), _) => Cut::Insecure(proof),
        (None, CutDenial::NothingBelow) => Cut::NothingBelow,
        (
            None,
            CutDenial::NotACut
            | CutDenial::OptOut
            | CutDenial::TooManyIterations(_)
            | CutDenial::Unsigned,
        ) => Cut::Absent,
    };
    let link = proven.insecure().map(|proof| {
        Arc::new(Link {
            zone: name.clone(),
            ds: Vec::new(),
            keys: Vec::new(),
            signature,
            verdict: LinkVerdict::Insecure(proof),
        })
    });
    KnownCut { cut, link, expires }
}

/// What is likely to be needed next, beside the DS records of `name`.
///
/// To a zone that a signature names, all that leads there. Where nothing is signed, the DS records of
/// deeper names: as many as names above were no zone cuts, so that a long name without any takes few
/// round trips, and a short one no question too many.
fn questions_ahead(
    name: &Name<Bytes>,
    target: &Name<Bytes>,
    destination: Destination,
    absent_in_a_row: usize,
) -> Vec<Question> {
    let deeper = (name::label_count(name)..=name::label_count(target))
        .map(|labels| name::ancestor(target, labels));
    match destination {
        Destination::Signer => deeper
            .flat_map(|zone| {
                [Rtype::DS, Rtype::DNSKEY].map(|rtype| Question::new(zone.clone(), rtype))
            })
            .skip(1) // the DS records of `name` are asked for anyway
            .collect(),
        Destination::Unsigned => deeper
            .skip(1)
            .take(absent_in_a_row)
            .map(|zone| Question::new(zone, Rtype::DS))
            .collect(),
    }
}

/// A zone where nothing is supported.
fn unsupported(
    zone: &Name<Bytes>,
    trust: Trust,
    verified: Option<&Verified>,
    expires: UnixTime,
) -> KnownCut {
    KnownCut {
        cut: Cut::Insecure(InsecureProof::UnsupportedDs),
        link: Some(Arc::new(trust.unsupported_link(zone.clone(), verified))),
        expires,
    }
}

/// The end of the chain at a name.
fn insecure(at: &Name<Bytes>, proof: InsecureProof) -> Reached {
    Reached::Insecure(Insecure {
        at: at.clone(),
        proof,
    })
}
