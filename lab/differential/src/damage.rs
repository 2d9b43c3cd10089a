//! What happens to replies on the way.

use std::collections::BTreeSet;

use crate::answer;
use crate::answer::Truth;
use crate::case::Case;
use crate::key;
use crate::message::A;
use crate::message::CNAME;
use crate::message::DNSKEY;
use crate::message::DS;
use crate::message::NOERROR;
use crate::message::NS;
use crate::message::NSEC;
use crate::message::NSEC3;
use crate::message::NXDOMAIN;
use crate::message::REFUSED;
use crate::message::RRSIG;
use crate::message::Record;
use crate::message::Reply;
use crate::message::SERVFAIL;
use crate::message::SOA;
use crate::message::Sent;
use crate::message::TXT;
use crate::name::Name;
use crate::tree::DAY;
use crate::tree::Tree;
use crate::tree::seconds;
use crate::zone;
use crate::zone::Set;
use crate::zone::Signing;
use crate::zone::Validity;
use crate::zone::Zone;
use crate::zone::ZoneKey;

/// One damage.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) kind: Kind,
    pub(crate) scope: Scope,
    /// What its details are drawn from.
    seed: u64,
}

/// Which replies a damage hits.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// The reply to one question.
    Question(Name, u16),
    /// One record set, in whatever reply it is.
    Set(Name, u16),
}

impl Scope {
    /// What reports call it.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Question(name, rtype) => format!("reply to {name} {rtype}"),
            Self::Set(name, rtype) => format!("set {name} {rtype}"),
        }
    }
}

/// Declares the kinds with their list and their names.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal,)*) => {
        /// What is done to a reply.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(crate) enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// What reports call it.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// A bit anywhere behind the question.
    FlipOctet => "a bit anywhere",
    /// A bit in the data of a record that is no signature.
    FlipData => "a bit in record data",
    /// A bit in a signature proper.
    FlipSignature => "a bit in a signature",
    /// A bit in the fields before the signer's name.
    FlipSignatureHead => "a bit in a signature's fields",
    /// The signatures over one set are gone.
    DropSignatures => "a set without signatures",
    /// All signatures are gone.
    StripSignatures => "no signatures",
    /// Signatures and denials are gone.
    StripAll => "no DNSSEC records",
    /// A set is gone with its signatures.
    DropSet => "a set missing",
    /// A record is gone.
    DropRecord => "a record missing",
    /// A section is empty.
    DropSection => "a section missing",
    /// Two sets have each other's signatures.
    SwapSignatures => "signatures swapped",
    /// Sets from another reply are added.
    AddOther => "sets of another reply added",
    /// The reply is that to another question.
    ReplaceWhole => "another reply",
    /// The reply is that to another question, its owner renamed.
    ReplaceRenamed => "another reply, renamed",
    /// Signed anew, with dates in the past.
    Expired => "expired",
    /// Signed anew, with dates to come.
    NotYetValid => "not yet valid",
    /// Dates changed without signing.
    ShiftDates => "dates changed",
    /// Signed anew under another zone's name.
    WrongSigner => "wrong signer",
    /// Signed anew with another zone's key and name.
    ForeignKey => "another zone's key",
    /// Signed anew with another count of labels.
    WrongLabels => "wrong label count",
    /// TTLs are changed.
    AlterTtl => "TTLs changed",
    /// The denials are others of the same zone, or of another.
    OtherDenials => "other denials",
    /// Type bits are changed.
    TypeBits => "type bits changed",
    /// Type bits are changed and signed.
    SignedTypeBits => "type bits changed and signed",
    /// The case of owners is changed.
    OwnerCase => "case of owners",
    /// Records come twice.
    Duplicate => "duplicates",
    /// A wildcard is expanded to the name.
    ExpandWildcard => "wildcard expanded",
    /// The name is denied with records of the zone.
    ForgeDenial => "denial forged",
    /// The name is denied with the denial of a name nearby.
    DenialOfOther => "denial of another name",
    /// DS records are those of another zone.
    SwapDs => "DS records of another zone",
    /// A key is added or missing, or the keys are those of another zone.
    ChangeKeys => "keys changed",
    /// The response code is changed.
    Rcode => "response code",
    /// A set moves to the other section.
    MoveSection => "section moved",
    /// Records are shuffled.
    Reorder => "reordered",
    /// An unsigned set is added.
    InjectUnsigned => "unsigned set added",
    /// An unsigned CNAME takes the answer's place.
    InjectAlias => "unsigned CNAME",
    /// A signature that is wrong is put beside the others.
    BadSignatureBeside => "wrong signature beside",
}

impl Kind {
    /// Whether a secure answer must stay secure.
    pub(crate) const fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::AlterTtl
                | Self::OwnerCase
                | Self::Duplicate
                | Self::Reorder
                | Self::BadSignatureBeside
        )
    }

    /// Whether the zone's own keys sign what is not in the zone, so that it becomes what the zone says.
    pub(crate) const fn changes_truth(self) -> bool {
        matches!(
            self,
            Self::WrongLabels | Self::SignedTypeBits | Self::WrongSigner
        )
    }
}

/// Chooses what will be done to the replies of a case.
pub(crate) fn plan(
    random: &mut fastrand::Rng,
    tree: &Tree,
    truth: &Truth,
    rtype: u16,
) -> Vec<Damage> {
    let count = match random.u8(..100) {
        0..5 => 0,
        5..70 => 1,
        70..90 => 2,
        _ => 3,
    };
    let questions = answer::questions(tree, truth, rtype);
    (0..count)
        .map(|_| {
            let kind = *random.choice(Kind::ALL).expect("not empty");
            let at = if random.u8(..10) < 5 {
                0
            } else {
                random.usize(..questions.len())
            };
            let (name, rtype) = questions[at].clone();
            let scope = if random.u8(..4) == 0 {
                let (reply, _) = answer::resolve(tree, &name, rtype);
                random
                    .choice(&reply.sets())
                    .map(|(name, rtype)| Scope::Set(name.clone(), *rtype))
            } else {
                None
            };
            Damage {
                kind,
                scope: scope.unwrap_or(Scope::Question(name, rtype)),
                seed: random.u64(..),
            }
        })
        .collect()
}

/// The reply to a question, damaged as planned.
pub(crate) fn inflict(case: &Case, name: &Name, rtype: u16) -> Sent {
    let mut reply = case.honest(name, rtype);
    let mut flips = Vec::new();
    for damage in &case.damages {
        // The root's own records are the same for all cases.
        if name.len() == 0 {
            break;
        }
        let target = match &damage.scope {
            Scope::Question(asked, asked_type) => {
                if (asked, *asked_type) != (name, rtype) {
                    continue;
                }
                None
            }
            Scope::Set(owner, set_type) => {
                let set = (owner.clone(), *set_type);
                if !reply.sets().contains(&set) {
                    continue;
                }
                Some(set)
            }
        };
        let random = fastrand::Rng::with_seed(damage.seed);
        if damage.kind == Kind::FlipOctet {
            flips.push(random);
            continue;
        }
        let mut damaging = Damaging {
            case,
            name,
            rtype,
            random,
            target,
            reply: &mut reply,
        };
        damaging.inflict(damage.kind);
    }
    let mut body = reply.body();
    for mut random in flips {
        if !body.is_empty() {
            let at = random.usize(..body.len());
            body[at] ^= 1 << random.u8(..8);
        }
    }
    Sent {
        rcode: reply.rcode,
        answers: reply.answer.len() as u16,
        authorities: reply.authority.len() as u16,
        body,
        reply,
    }
}

/// One reply that is being damaged.
struct Damaging<'a> {
    case: &'a Case,
    name: &'a Name,
    rtype: u16,
    random: fastrand::Rng,
    target: Option<(Name, u16)>,
    reply: &'a mut Reply,
}

impl<'a> Damaging<'a> {
    /// Does it.
    fn inflict(&mut self, kind: Kind) {
        match kind {
            Kind::FlipOctet => {}
            Kind::FlipData => self.flip(|record| (record.rtype != RRSIG).then_some(0)),
            Kind::FlipSignature => self.flip(signature_start),
            Kind::FlipSignatureHead => self.flip_signature_head(),
            Kind::DropSignatures => self.drop_where(|record| record.rtype == RRSIG),
            Kind::StripSignatures => self.retain(|record| record.rtype != RRSIG),
            Kind::StripAll => self.retain(|record| ![RRSIG, NSEC, NSEC3].contains(&record.rtype)),
            Kind::DropSet => self.drop_where(|_| true),
            Kind::DropRecord => self.drop_record(),
            Kind::DropSection => {
                if self.random.bool() {
                    self.reply.answer.clear();
                } else {
                    self.reply.authority.clear();
                }
            }
            Kind::SwapSignatures => self.swap_signatures(),
            Kind::AddOther => self.add_other(),
            Kind::ReplaceWhole => {
                let (name, rtype) = self.other_question();
                *self.reply = self.case.honest(&name, rtype);
            }
            Kind::ReplaceRenamed => self.replace_renamed(),
            Kind::Expired => self.redate(-40, -4),
            Kind::NotYetValid => self.redate(4, 40),
            Kind::ShiftDates => self.shift_dates(),
            Kind::WrongSigner => self.wrong_signer(),
            Kind::ForeignKey => self.foreign_key(),
            Kind::WrongLabels => self.wrong_labels(),
            Kind::AlterTtl => self.alter_ttl(),
            Kind::OtherDenials => self.other_denials(),
            Kind::TypeBits => self.type_bits(false),
            Kind::SignedTypeBits => self.type_bits(true),
            Kind::OwnerCase => self.owner_case(),
            Kind::Duplicate => self.duplicate(),
            Kind::ExpandWildcard => self.expand_wildcard(),
            Kind::ForgeDenial => self.forge_denial(),
            Kind::DenialOfOther => self.denial_of_other(),
            Kind::SwapDs => self.swap_ds(),
            Kind::ChangeKeys => self.change_keys(),
            Kind::Rcode => {
                self.reply.rcode = match (self.reply.rcode, self.random.u8(..8)) {
                    (_, 0) => SERVFAIL,
                    (_, 1) => REFUSED,
                    (NOERROR, _) => NXDOMAIN,
                    (_, _) => NOERROR,
                }
            }
            Kind::MoveSection => self.move_section(),
            Kind::Reorder => {
                for section in self.reply.sections() {
                    self.random.shuffle(section);
                }
            }
            Kind::InjectUnsigned => self.inject_unsigned(),
            Kind::InjectAlias => self.inject_alias(),
            Kind::BadSignatureBeside => self.bad_signature_beside(),
        }
    }

    /// The set to damage.
    fn set(&mut self) -> Option<(Name, u16)> {
        self.target
            .clone()
            .or_else(|| self.random.choice(&self.reply.sets()).cloned())
    }

    /// Flips a bit in the data of one of the records for which `from` says where to begin.
    fn flip(&mut self, from: impl Fn(&Record) -> Option<usize>) {
        let target = self.target.clone();
        let mut records: Vec<(&mut Record, usize)> = Vec::new();
        for section in self.reply.sections() {
            for record in section.iter_mut() {
                if is_of(record, target.as_ref())
                    && let Some(start) = from(record)
                    && start < record.data.len()
                {
                    records.push((record, start));
                }
            }
        }
        if records.is_empty() {
            return;
        }
        let at = self.random.usize(..records.len());
        let (record, start) = &mut records[at];
        let octet = self.random.usize(*start..record.data.len());
        record.data[octet] ^= 1 << self.random.u8(..8);
    }

    /// Flips a bit in the first 18 octets of a signature record.
    fn flip_signature_head(&mut self) {
        let target = self.target.clone();
        let mut records: Vec<&mut Record> = Vec::new();
        for section in self.reply.sections() {
            records.extend(
                section
                    .iter_mut()
                    .filter(|record| record.rtype == RRSIG && is_of(record, target.as_ref())),
            );
        }
        if records.is_empty() {
            return;
        }
        let at = self.random.usize(..records.len());
        records[at].data[self.random.usize(..18)] ^= 1 << self.random.u8(..8);
    }

    /// Drops the records of one set for which `condition` holds.
    fn drop_where(&mut self, condition: impl Fn(&Record) -> bool) {
        if let Some(set) = self.set() {
            self.retain(|record| !(is_of(record, Some(&set)) && condition(record)));
        }
    }

    /// Keeps what `condition` holds for.
    fn retain(&mut self, condition: impl Fn(&Record) -> bool) {
        for section in self.reply.sections() {
            section.retain(&condition);
        }
    }

    /// Drops one record.
    fn drop_record(&mut self) {
        let records: Vec<Record> = self.reply.records().cloned().collect();
        if let Some(victim) = self.random.choice(&records).cloned() {
            self.retain(|record| *record != victim);
        }
    }

    /// Lets two sets exchange their signatures.
    fn swap_signatures(&mut self) {
        let (Some(one), Some(two)) = (self.set(), self.random.choice(&self.reply.sets()).cloned())
        else {
            return;
        };
        let signature_of = |reply: &Reply, set: &(Name, u16)| {
            let mut records = reply.records();
            records
                .find(|record| record.rtype == RRSIG && is_of(record, Some(set)))
                .map(|record| record.data.clone())
        };
        let (Some(of_one), Some(of_two)) = (
            signature_of(self.reply, &one),
            signature_of(self.reply, &two),
        ) else {
            return;
        };
        let keep_type = self.random.bool();
        for section in self.reply.sections() {
            for record in section.iter_mut().filter(|record| record.rtype == RRSIG) {
                let own = record.data.clone();
                if is_of(record, Some(&one)) {
                    record.data.clone_from(&of_two);
                } else if is_of(record, Some(&two)) {
                    record.data.clone_from(&of_one);
                } else {
                    continue;
                }
                if keep_type {
                    record.data[..2].copy_from_slice(&own[..2]);
                }
            }
        }
    }

    /// A question near the one that is answered.
    fn other_question(&mut self) -> (Name, u16) {
        let names = self.case.tree.names();
        let name = match self.random.u8(..6) {
            0 => self.name.clone(),
            1 => self.name.parent(),
            2 => self.name.below(b"other"),
            _ => self.random.choice(&names).expect("not empty").clone(),
        };
        let name = if name.len() == 0 {
            self.name.clone()
        } else {
            name
        };
        let here = self.case.tree.zone_for(&name, A).sets.get(&name);
        let mut types: Vec<u16> = here.map_or_else(Vec::new, |sets| sets.keys().copied().collect());
        types.extend([self.rtype, A, TXT, DS]);
        let rtype = *self.random.choice(&types).expect("not empty");
        (name, rtype)
    }

    /// Adds sets from another reply.
    fn add_other(&mut self) {
        let (name, rtype) = self.other_question();
        let other = self.case.honest(&name, rtype);
        match self.random.u8(..4) {
            0 => self.reply.answer.extend(other.answer),
            1 => self.reply.authority.extend(other.authority),
            2 => self.reply.authority.extend(other.answer),
            _ => {
                self.reply.answer.extend(other.answer);
                self.reply.authority.extend(other.authority);
            }
        }
    }

    /// Puts the answer to a question about another name in place, as if it were for this one.
    fn replace_renamed(&mut self) {
        let (name, rtype) = self.other_question();
        let rtype = if self.random.bool() {
            self.rtype
        } else {
            rtype
        };
        let mut other = self.case.honest(&name, rtype);
        for record in &mut other.answer {
            if record.name() == name {
                record.owner = self.name.wire();
            }
        }
        *self.reply = other;
    }

    /// The zone that signs a set.
    fn zone_of(&self, set: &(Name, u16)) -> &'a Zone {
        self.case.tree.zone_for(&set.0, set.1)
    }

    /// Signs a set anew with changes; `change` gets the label count, the signer, the dates.
    fn sign_anew(
        &mut self,
        set: &(Name, u16),
        by: &Zone,
        labels: Option<u8>,
        signer: &Name,
        validity: Validity,
    ) {
        let (owner, rtype) = set;
        let records: Vec<&Record> = self
            .reply
            .records()
            .filter(|record| is_of(record, Some(set)))
            .collect();
        let Some(signature) = records.iter().find(|record| record.rtype == RRSIG) else {
            return;
        };
        let labels = labels.or_else(|| signature.data.get(3).copied());
        let mut data: Vec<Vec<u8>> = records
            .iter()
            .filter(|record| record.rtype != RRSIG)
            .map(|record| record.data.clone())
            .collect();
        data.dedup();
        let signed = Set {
            ttl: signature.ttl,
            data,
        };
        let keys = by.keys.iter().filter(|key| {
            if *rtype == DNSKEY {
                key.signs_keys
            } else {
                key.signs_data
            }
        });
        let mut signatures: Vec<Vec<u8>> = keys
            .map(|key| {
                Signing {
                    key: &key.key,
                    tag: key::tag(&key.dnskey()),
                    signer,
                    labels,
                    validity,
                }
                .rrsig(owner, *rtype, &signed)
            })
            .collect();
        signatures.reverse();
        for section in self.reply.sections() {
            let Some(at) = section
                .iter()
                .position(|record| record.rtype == RRSIG && is_of(record, Some(set)))
            else {
                continue;
            };
            let model = section[at].clone();
            section.retain(|record| !(record.rtype == RRSIG && is_of(record, Some(set))));
            for data in &signatures {
                section.insert(
                    at.min(section.len()),
                    Record {
                        data: data.clone(),
                        ..model.clone()
                    },
                );
            }
        }
    }

    /// Signs a set anew with dates so many days from now.
    fn redate(&mut self, from: i32, until: i32) {
        let Some(set) = self.set() else { return };
        let zone = self.case.tree.zone_for(&set.0, set.1);
        let at = |days: i32| seconds(self.case.now).wrapping_add_signed(days * DAYS);
        let validity = Validity {
            inception: at(from),
            expiration: at(until),
        };
        self.sign_anew(&set, zone, None, &zone.apex, validity);
    }

    /// Changes dates without signing.
    fn shift_dates(&mut self) {
        let Some(set) = self.set() else { return };
        let days = self.random.u32(1..400);
        for section in self.reply.sections() {
            for record in section.iter_mut() {
                if record.rtype == RRSIG && is_of(record, Some(&set)) {
                    let mut date = [0; 4];
                    date.copy_from_slice(&record.data[8..12]);
                    let date = u32::from_be_bytes(date).wrapping_add(days * DAY);
                    record.data[8..12].copy_from_slice(&date.to_be_bytes());
                }
            }
        }
    }

    /// Signs a set with its zone's keys in the name of another.
    fn wrong_signer(&mut self) {
        let Some(set) = self.set() else { return };
        let zone = self.case.tree.zone_for(&set.0, set.1);
        let signer = match self.random.u8(..4) {
            0 => zone.apex.parent(),
            1 => self.name.clone(),
            2 => set.0.clone(),
            _ => {
                let at = self.random.usize(..self.case.tree.zones.len());
                self.case.tree.zones[at].apex.clone()
            }
        };
        self.sign_anew(&set, zone, None, &signer, zone.validity);
    }

    /// Signs a set with the keys of another zone, in its name or that of the right one.
    fn foreign_key(&mut self) {
        let Some(set) = self.set() else { return };
        let zone = self.case.tree.zone_for(&set.0, set.1);
        // The root's keys stay out of it: they are not an attacker's.
        let at = self.random.usize(1..self.case.tree.zones.len());
        let other = &self.case.tree.zones[at];
        if set.0.ends_with(&other.apex) && other.apex.len() <= zone.apex.len() {
            // That would be an ancestor, or the zone itself.
            return;
        }
        let is_own = |key: &ZoneKey| zone.keys.iter().any(|own| own.dnskey() == key.dnskey());
        if other.keys.iter().any(is_own) {
            // Keys are few, and zones share some of them.
            return;
        }
        let signer = if self.random.bool() {
            &other.apex
        } else {
            &zone.apex
        };
        self.sign_anew(&set, other, None, signer, zone.validity);
    }

    /// Signs a set with a wrong count of labels.
    fn wrong_labels(&mut self) {
        let Some(set) = self.set() else { return };
        let zone = self.case.tree.zone_for(&set.0, set.1);
        let labels = match self.random.u8(..4) {
            0 => set.0.len() + 1,
            1 => set.0.len(),
            2 => zone.apex.len(),
            _ => set.0.len().saturating_sub(1),
        };
        self.sign_anew(&set, zone, Some(labels as u8), &zone.apex, zone.validity);
    }

    /// Lowers or raises TTLs.
    fn alter_ttl(&mut self) {
        for section in self.reply.sections() {
            for record in section.iter_mut() {
                record.ttl = match self.random.u8(..4) {
                    0 => 0,
                    1 => record.ttl / 2,
                    2 => record.ttl.saturating_mul(3).min(0x7fff_ffff),
                    _ => record.ttl,
                };
            }
        }
    }

    /// Puts other denials in the place of those that are there.
    fn other_denials(&mut self) {
        let zones = &self.case.tree.zones;
        let zone = if self.random.u8(..3) > 0 {
            self.zone_of(&(self.name.clone(), self.rtype))
        } else {
            &zones[self.random.usize(..zones.len())]
        };
        let spans = zone.chain();
        let count = self.random.usize(1..4);
        let chosen: Vec<Record> = (0..count)
            .filter_map(|_| self.random.choice(spans))
            .flat_map(|span| zone.denial_records(span))
            .collect();
        if self.random.u8(..3) > 0 {
            self.reply
                .authority
                .retain(|record| ![NSEC, NSEC3].contains(&record.covered()));
        }
        self.reply.authority.extend(chosen);
    }

    /// Changes type bits, and signs or not.
    fn type_bits(&mut self, sign: bool) {
        let denials: Vec<(Name, u16)> = self
            .reply
            .sets()
            .into_iter()
            .filter(|(_, rtype)| [NSEC, NSEC3].contains(rtype))
            .collect();
        let Some(set) = self.random.choice(&denials).cloned() else {
            return;
        };
        let all = [self.rtype, NS, SOA, DS, CNAME, crate::message::DNAME, A];
        let types: BTreeSet<u16> = all
            .into_iter()
            .filter(|_| self.random.u8(..3) == 0)
            .chain([RRSIG])
            .collect();
        for section in self.reply.sections() {
            for record in section.iter_mut() {
                if record.rtype != RRSIG && is_of(record, Some(&set)) {
                    let start = bitmap_start(record);
                    record.data.truncate(start);
                    record.data.extend_from_slice(&zone::bitmap(&types));
                }
            }
        }
        if sign {
            let zone = self
                .case
                .tree
                .zones
                .iter()
                .filter(|zone| set.0.ends_with(&zone.apex))
                .max_by_key(|zone| zone.apex.len());
            if let Some(zone) = zone {
                self.sign_anew(&set, zone, None, &zone.apex, zone.validity);
            }
        }
    }

    /// Changes the case of owners.
    fn owner_case(&mut self) {
        for section in self.reply.sections() {
            for record in section.iter_mut() {
                for octet in &mut record.owner {
                    if octet.is_ascii_lowercase() && self.random.bool() {
                        octet.make_ascii_uppercase();
                    }
                }
            }
        }
    }

    /// Sends records twice.
    fn duplicate(&mut self) {
        for section in self.reply.sections() {
            let again: Vec<Record> = section
                .iter()
                .filter(|_| self.random.bool())
                .cloned()
                .collect();
            section.extend(again);
        }
    }

    /// Expands a wildcard of the zone to the name, with some denials or none.
    fn expand_wildcard(&mut self) {
        let zone = self.zone_of(&(self.name.clone(), self.rtype));
        let wildcards: Vec<Name> = zone
            .sets
            .keys()
            .filter(|owner| owner.is_wildcard())
            .cloned()
            .collect();
        let Some(wildcard) = self.random.choice(&wildcards).cloned() else {
            return;
        };
        let types: Vec<u16> = zone.sets[&wildcard].keys().copied().collect();
        let rtype = *self.random.choice(&types).expect("not empty");
        let expanded = zone.signed(&wildcard, self.name, rtype);
        self.reply.rcode = NOERROR;
        self.reply.answer = expanded;
        match self.random.u8(..3) {
            0 => self.reply.authority.clear(),
            1 => self.other_denials(),
            _ => {
                let other = wildcard.parent().below(b"other");
                self.reply.authority = self.case.honest(&other, rtype).authority;
            }
        }
    }

    /// Denies the name with whatever records the zone has.
    fn forge_denial(&mut self) {
        let zone = self.zone_of(&(self.name.clone(), self.rtype));
        self.reply.rcode = if self.random.bool() {
            NXDOMAIN
        } else {
            NOERROR
        };
        self.reply.answer.clear();
        self.reply.authority = zone.signed(&zone.apex, &zone.apex, SOA);
        self.other_denials();
    }

    /// Denies the name with the denial of another.
    fn denial_of_other(&mut self) {
        let other = match self.random.u8(..4) {
            0 => self.name.parent().below(b"zz"),
            1 => self.name.below(b"zz"),
            2 => self.name.parent().below(b"zz").below(b"yy"),
            _ => {
                let names = self.case.tree.names();
                self.random.choice(&names).expect("not empty").below(b"0")
            }
        };
        let rtype = if self.random.bool() { self.rtype } else { DS };
        *self.reply = self.case.honest(&other, rtype);
        if self.random.bool() {
            self.reply.rcode = NOERROR;
        }
    }

    /// Puts the DS records of another zone in the place of these.
    fn swap_ds(&mut self) {
        let zones = &self.case.tree.zones;
        let other = &zones[self.random.usize(1..zones.len())].apex;
        let parent = self.case.tree.zone_for(other, DS);
        let mut records = parent.signed(other, other, DS);
        if self.random.bool() {
            for record in &mut records {
                record.owner = self.name.wire();
            }
        }
        if self.random.bool() {
            self.reply.answer.retain(|record| record.covered() != DS);
        }
        self.reply.answer.extend(records);
    }

    /// Changes a DNSKEY set.
    fn change_keys(&mut self) {
        let keys: Vec<Record> = self
            .reply
            .answer
            .iter()
            .filter(|record| record.rtype == DNSKEY)
            .cloned()
            .collect();
        let Some(key) = self.random.choice(&keys).cloned() else {
            return;
        };
        match self.random.u8(..4) {
            0 => self.reply.answer.retain(|record| *record != key),
            1 => {
                let data = self.case.keys.any(&mut self.random).dnskey(257);
                self.reply.answer.insert(0, Record { data, ..key });
            }
            2 => {
                for record in &mut self.reply.answer {
                    if *record == key {
                        record.data[1] ^= 1 << self.random.u8(..8);
                    }
                }
            }
            _ => {
                let zones = &self.case.tree.zones;
                let other = &zones[self.random.usize(1..zones.len())];
                self.reply.answer = other.signed(&other.apex, self.name, DNSKEY);
            }
        }
    }

    /// Moves a set to the other section.
    fn move_section(&mut self) {
        let Some(set) = self.set() else { return };
        let [answer, authority] = self.reply.sections();
        let (moved, kept): (Vec<Record>, Vec<Record>) = answer
            .drain(..)
            .partition(|record| is_of(record, Some(&set)));
        let (back, stays): (Vec<Record>, Vec<Record>) = authority
            .drain(..)
            .partition(|record| is_of(record, Some(&set)));
        *answer = kept.into_iter().chain(back).collect();
        *authority = stays.into_iter().chain(moved).collect();
    }

    /// Adds an unsigned set to a section.
    fn inject_unsigned(&mut self) {
        let owner = match self.random.u8(..3) {
            0 => self.name.parent(),
            1 => self.name.below(b"injected"),
            _ => self.name.clone(),
        };
        let record = |rtype, data| Record {
            owner: owner.wire(),
            rtype,
            ttl: 60,
            data,
        };
        let record = match self.random.u8(..3) {
            0 => record(A, vec![192, 0, 2, 99]),
            1 => record(TXT, vec![3, b'b', b'a', b'd']),
            _ => record(NS, self.name.wire()),
        };
        let first = self.random.bool();
        let section = if self.random.bool() {
            &mut self.reply.answer
        } else {
            &mut self.reply.authority
        };
        section.insert(if first { 0 } else { section.len() }, record);
    }

    /// Puts an unsigned CNAME in the place of the answer, or before it.
    fn inject_alias(&mut self) {
        let names = self.case.tree.names();
        let target = self.random.choice(&names).expect("not empty").clone();
        if self.random.bool() {
            self.reply.answer.clear();
        }
        self.reply.answer.insert(
            0,
            Record {
                owner: self.name.wire(),
                rtype: CNAME,
                ttl: 60,
                data: target.wire(),
            },
        );
        if self.random.bool() {
            let target = self.case.honest(&target, self.rtype);
            self.reply.answer.extend(target.answer);
        }
    }

    /// Puts one to three wrong signatures before or behind the others.
    fn bad_signature_beside(&mut self) {
        let Some(set) = self.set() else { return };
        let count = self.random.usize(1..4);
        let first = self.random.bool();
        for section in self.reply.sections() {
            let found = section
                .iter()
                .position(|record| record.rtype == RRSIG && is_of(record, Some(&set)));
            let Some(at) = found else { continue };
            let model = section[at].clone();
            for _ in 0..count {
                let mut wrong = model.clone();
                let start = signature_start(&wrong).unwrap_or(0);
                let octet = self.random.usize(start..wrong.data.len());
                wrong.data[octet] ^= 1 << self.random.u8(..8);
                let place = if first { at } else { section.len() };
                section.insert(place, wrong);
            }
        }
    }
}

/// Whether a record belongs to a set or is one of its signatures; every record does if there is none.
fn is_of(record: &Record, set: Option<&(Name, u16)>) -> bool {
    set.is_none_or(|(owner, rtype)| record.covered() == *rtype && record.name() == *owner)
}

/// Where the signature proper begins in a signature record.
fn signature_start(record: &Record) -> Option<usize> {
    if record.rtype != RRSIG {
        return None;
    }
    let (_, length) = Name::read(record.data.get(18..)?)?;
    Some(18 + length)
}

/// Where the type bits begin in a denial.
fn bitmap_start(record: &Record) -> usize {
    if record.rtype == NSEC {
        return Name::read(&record.data).map_or(0, |(_, length)| length);
    }
    let salt = record.data.get(4).copied().unwrap_or(0);
    let hash_at = 5 + usize::from(salt);
    let hash = record.data.get(hash_at).copied().unwrap_or(0);
    (hash_at + 1 + usize::from(hash)).min(record.data.len())
}

/// A day in seconds, to go back as well.
const DAYS: i32 = 86_400;
