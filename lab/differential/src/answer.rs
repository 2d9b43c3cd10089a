//! What an honest recursive resolver replies, and what is true.

use std::fmt;

use crate::message::CNAME;
use crate::message::DNAME;
use crate::message::DS;
use crate::message::NS;
use crate::message::NXDOMAIN;
use crate::message::Record;
use crate::message::Reply;
use crate::message::SOA;
use crate::message::YXDOMAIN;
use crate::name::Name;
use crate::tree::Tree;
use crate::zone;
use crate::zone::Denial;
use crate::zone::Security;
use crate::zone::Span;
use crate::zone::Zone;

/// What the zones truly say, by the word of the one who made them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Truth {
    /// `None` where an honest answer cannot be used: aliases without end, or too long.
    pub(crate) security: Option<Security>,
    pub(crate) kind: Kind,
    /// Whether an opt-out span or too many iterations are part of the proof.
    pub(crate) weak_proof: bool,
    /// Whether a wildcard that is an empty non-terminal is why there are no data.
    pub(crate) empty_wildcard: bool,
    /// Every zone that has a part in it, by apex.
    pub(crate) zones: Vec<Name>,
    /// Every name on the way.
    pub(crate) names: Vec<Name>,
}

/// What an answer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// These data, in canonical form and order.
    Answer(Vec<Vec<u8>>),
    NoData,
    NxDomain,
    /// Nothing that can be used.
    None,
}

impl Kind {
    /// Records that were found.
    pub(crate) fn answer(rtype: u16, data: &[Vec<u8>]) -> Self {
        let mut data: Vec<Vec<u8>> = data
            .iter()
            .map(|data| zone::canonical(rtype, data))
            .collect();
        data.sort();
        data.dedup();
        Self::Answer(data)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(data) => write!(f, "answer of {}", data.len()),
            Self::NoData => f.write_str("nodata"),
            Self::NxDomain => f.write_str("nxdomain"),
            Self::None => f.write_str("nothing"),
        }
    }
}

/// The honest reply to a question, with the truth about it.
pub(crate) fn resolve(tree: &Tree, name: &Name, rtype: u16) -> (Reply, Truth) {
    let mut answering = Answering {
        tree,
        rtype,
        reply: Reply::default(),
        truth: Truth {
            security: Some(Security::Secure),
            kind: Kind::None,
            weak_proof: false,
            empty_wildcard: false,
            zones: Vec::new(),
            names: Vec::new(),
        },
    };
    let mut current = name.clone();
    while let Some(next) = answering.step(&current) {
        if answering.truth.names.contains(&next) || answering.truth.names.len() > ALIASES_MAX {
            answering.truth.security = None;
            break;
        }
        current = next;
    }
    (answering.reply, answering.truth)
}

/// An answer while it is made.
struct Answering<'a> {
    tree: &'a Tree,
    rtype: u16,
    reply: Reply,
    truth: Truth,
}

impl Answering<'_> {
    /// Adds what there is at a name; the next name if it is an alias.
    fn step(&mut self, name: &Name) -> Option<Name> {
        let zone = self.tree.zone_for(name, self.rtype);
        self.truth.names.push(name.clone());
        if !self.truth.zones.contains(&zone.apex) {
            self.truth.zones.push(zone.apex.clone());
        }
        self.bound(zone.security);
        if let Some(dname) = dname_above(zone, name) {
            return self.dname(zone, &dname, name);
        }
        if zone.exists(name) {
            return self.found(zone, name, name);
        }
        let mut encloser = name.parent();
        while !zone.exists(&encloser) {
            encloser = encloser.parent();
        }
        let wildcard = encloser.wildcard();
        if zone.exists(&wildcard) {
            return self.found(zone, &wildcard, name);
        }
        self.reply.rcode = NXDOMAIN;
        self.truth.kind = Kind::NxDomain;
        self.add_soa(zone);
        let next_closer = name.suffix(encloser.len() + 1);
        match zone.denial {
            Denial::Nsec | Denial::NsecOfSelf => {
                self.deny(zone, zone.covering(name));
                self.deny(zone, zone.covering(&wildcard));
            }
            Denial::Nsec3 { .. } => {
                self.deny_encloser(zone, &encloser, &next_closer);
                self.deny(zone, zone.covering(&wildcard));
            }
        }
        None
    }

    /// Adds what there is at an existing name, or at a wildcard for another.
    fn found(&mut self, zone: &Zone, source: &Name, name: &Name) -> Option<Name> {
        for rtype in [self.rtype, CNAME] {
            let Some(set) = zone.get(source, rtype) else {
                continue;
            };
            self.reply.answer.extend(zone.signed(source, name, rtype));
            if source != name {
                self.deny_closer(zone, source, name);
            }
            if rtype == CNAME && self.rtype != CNAME {
                return Some(Name::read(&set.data[0]).expect("data is well-formed").0);
            }
            self.truth.kind = Kind::answer(rtype, &set.data);
            if self.tree.authority_ns && self.rtype != NS {
                let ns = zone.signed(&zone.apex, &zone.apex, NS);
                self.reply.authority.extend(ns);
            }
            return None;
        }
        self.truth.kind = Kind::NoData;
        self.truth.empty_wildcard = source != name && !zone.sets.contains_key(source);
        self.add_soa(zone);
        self.deny_types(zone, source, name);
        None
    }

    /// Adds a DNAME and the CNAME that follows from it.
    fn dname(&mut self, zone: &Zone, owner: &Name, name: &Name) -> Option<Name> {
        self.reply.answer.extend(zone.signed(owner, owner, DNAME));
        let set = zone.get(owner, DNAME).expect("it was just found");
        let (target, _) = Name::read(&set.data[0]).expect("data is well-formed");
        let kept = name.len() - owner.len();
        let mut labels: Vec<Vec<u8>> = name.0.iter().take(kept).cloned().collect();
        labels.extend(target.0);
        let next = Name(labels);
        if next.octets() > NAME_OCTETS_MAX {
            self.reply.rcode = YXDOMAIN;
            self.truth.security = None;
            return None;
        }
        self.reply.answer.push(Record {
            owner: name.wire(),
            rtype: CNAME,
            ttl: set.ttl,
            data: next.wire(),
        });
        if self.rtype == CNAME {
            self.truth.kind = Kind::answer(CNAME, &[next.wire()]);
            return None;
        }
        Some(next)
    }

    /// Proves that nothing closer than a wildcard exists.
    fn deny_closer(&mut self, zone: &Zone, wildcard: &Name, name: &Name) {
        let next_closer = name.suffix(wildcard.len());
        match zone.denial {
            Denial::Nsec | Denial::NsecOfSelf => self.deny(zone, zone.covering(name)),
            Denial::Nsec3 { .. } => {
                self.weaken(zone);
                self.deny(zone, zone.covering(&next_closer));
            }
        }
    }

    /// Proves that a name, or a wildcard for it, lacks a type.
    fn deny_types(&mut self, zone: &Zone, source: &Name, name: &Name) {
        match zone.denial {
            Denial::Nsec | Denial::NsecOfSelf => {
                // An empty non-terminal has no record of its own.
                let matching = zone.matching(source);
                self.deny(zone, matching.or_else(|| zone.covering(source)));
                if source != name {
                    self.deny(zone, zone.covering(name));
                }
            }
            Denial::Nsec3 { iterations, .. } => {
                if iterations > ITERATIONS_MAX {
                    self.weaken(zone);
                }
                if source != name {
                    let encloser = source.parent();
                    let next_closer = name.suffix(source.len());
                    self.deny_encloser(zone, &encloser, &next_closer);
                }
                match zone.matching(source) {
                    Some(span) => self.deny(zone, Some(span)),
                    // An opt-out span leaves it out.
                    None => {
                        let mut encloser = source.parent();
                        while zone.matching(&encloser).is_none() && encloser.len() > zone.apex.len()
                        {
                            encloser = encloser.parent();
                        }
                        let next_closer = source.suffix(encloser.len() + 1);
                        self.deny_encloser(zone, &encloser, &next_closer);
                    }
                }
            }
        }
    }

    /// Proves the closest encloser by NSEC3.
    fn deny_encloser(&mut self, zone: &Zone, encloser: &Name, next_closer: &Name) {
        self.weaken(zone);
        // With opt-out, the encloser itself may have been left out.
        let (mut encloser, mut next_closer) = (encloser.clone(), next_closer.clone());
        while zone.matching(&encloser).is_none() && encloser.len() > zone.apex.len() {
            next_closer = encloser.clone();
            encloser = encloser.parent();
        }
        self.deny(zone, zone.matching(&encloser));
        self.deny(zone, zone.covering(&next_closer));
    }

    /// Takes note of proofs that cannot be secure: opt-out leaves room for unsigned delegations, and
    /// nobody counts that many iterations.
    fn weaken(&mut self, zone: &Zone) {
        if let Denial::Nsec3 {
            opt_out,
            iterations,
            ..
        } = zone.denial
            && (opt_out || iterations > ITERATIONS_MAX)
        {
            self.truth.weak_proof = true;
            self.bound(Security::Insecure);
        }
    }

    /// The whole is at most as good as a part.
    fn bound(&mut self, security: Security) {
        self.truth.security = self.truth.security.map(|whole| whole.min(security));
    }

    /// Adds a denial, once.
    fn deny(&mut self, zone: &Zone, span: Option<&Span>) {
        for record in span
            .map(|span| zone.denial_records(span))
            .into_iter()
            .flatten()
        {
            if !self.reply.authority.contains(&record) {
                self.reply.authority.push(record);
            }
        }
    }

    /// Adds the SOA record of a negative answer.
    fn add_soa(&mut self, zone: &Zone) {
        let soa = zone.signed(&zone.apex, &zone.apex, SOA);
        self.reply.authority.extend(soa);
    }
}

/// The DNAME in the zone that a name lies below.
pub(crate) fn dname_above(zone: &Zone, name: &Name) -> Option<Name> {
    (zone.apex.len()..name.len())
        .map(|labels| name.suffix(labels))
        .find(|owner| zone.get(owner, DNAME).is_some())
}

/// Every question that a validation of a question may ask: the names on the way, and the keys of all
/// zones above them. Those of the root are left out, for they belong to every case.
pub(crate) fn questions(tree: &Tree, truth: &Truth, rtype: u16) -> Vec<(Name, u16)> {
    let mut questions: Vec<(Name, u16)> = Vec::new();
    for name in &truth.names {
        let mut all = vec![(name.clone(), rtype)];
        for zone in tree.zones.iter().skip(1) {
            if name.ends_with(&zone.apex) {
                all.extend([
                    (zone.apex.clone(), DS),
                    (zone.apex.clone(), crate::message::DNSKEY),
                ]);
            }
        }
        for question in all {
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
    }
    questions
}

/// Aliases that the upstream follows in one reply.
const ALIASES_MAX: usize = 8;

/// RFC 1035, Section 2.3.4.
const NAME_OCTETS_MAX: usize = 255;

/// What both validators are set to.
pub(crate) const ITERATIONS_MAX: u16 = 150;
