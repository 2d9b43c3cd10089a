//! One case: a tree, a question, damages; all from a seed and a number.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use byrnie_base::UnixTime;

use crate::answer;
use crate::answer::Truth;
use crate::damage;
use crate::damage::Damage;
use crate::key::Keys;
use crate::message::A;
use crate::message::AAAA;
use crate::message::CNAME;
use crate::message::DNSKEY;
use crate::message::DS;
use crate::message::MX;
use crate::message::NS;
use crate::message::Reply;
use crate::message::SOA;
use crate::message::Sent;
use crate::message::TLSA;
use crate::message::TXT;
use crate::name::Name;
use crate::tree::Tree;
use crate::tree::UNKNOWN_TYPE;

/// One comparison.
pub(crate) struct Case {
    pub(crate) number: u64,
    /// The number in its top-level domains.
    pub(crate) label: u64,
    pub(crate) tree: Tree,
    pub(crate) name: Name,
    pub(crate) rtype: u16,
    pub(crate) damages: Vec<Damage>,
    pub(crate) truth: Truth,
    pub(crate) keys: Arc<Keys>,
    pub(crate) now: UnixTime,
    /// Every reply is made once, so that both validators get the same octets.
    replies: Mutex<HashMap<(Name, u16), Arc<Sent>>>,
}

impl Case {
    /// Makes a case; another attempt at it has other names, so that nothing is cached.
    pub(crate) fn new(
        seed: u64,
        number: u64,
        attempt: u64,
        keys: &Arc<Keys>,
        now: UnixTime,
    ) -> Self {
        let label = number + attempt * ATTEMPT_STEP;
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(SPREAD) ^ number);
        // The first numbers of a generator with a small seed are alike.
        random = fastrand::Rng::with_seed(random.u64(..));
        let tree = Tree::random(&mut random, keys, label, now);
        let (name, rtype) = question(&mut random, &tree);
        let (_, truth) = answer::resolve(&tree, &name, rtype);
        let damages = damage::plan(&mut random, &tree, &truth, rtype);
        Self {
            number,
            label,
            tree,
            name,
            rtype,
            damages,
            truth,
            keys: Arc::clone(keys),
            now,
            replies: Mutex::default(),
        }
    }

    /// The root alone, for questions that belong to no case.
    pub(crate) fn root(keys: &Arc<Keys>, now: UnixTime) -> Self {
        let tree = Tree::root(keys, now);
        let (_, truth) = answer::resolve(&tree, &Name::root(), SOA);
        Self {
            number: 0,
            label: 0,
            tree,
            name: Name::root(),
            rtype: SOA,
            damages: Vec::new(),
            truth,
            keys: Arc::clone(keys),
            now,
            replies: Mutex::default(),
        }
    }

    /// The honest reply to a question.
    pub(crate) fn honest(&self, name: &Name, rtype: u16) -> Reply {
        answer::resolve(&self.tree, name, rtype).0
    }

    /// The reply to a question, damaged as planned.
    pub(crate) fn reply(&self, name: &Name, rtype: u16) -> Arc<Sent> {
        let key = (name.clone(), rtype);
        let mut replies = self.replies.lock().expect("no holder panics");
        if let Some(sent) = replies.get(&key) {
            return Arc::clone(sent);
        }
        let sent = Arc::new(damage::inflict(self, name, rtype));
        replies.insert(key, Arc::clone(&sent));
        sent
    }

    /// All replies that were made.
    pub(crate) fn replies(&self) -> Vec<((Name, u16), Arc<Sent>)> {
        let replies = self.replies.lock().expect("no holder panics");
        let mut all: Vec<_> = replies
            .iter()
            .map(|(key, sent)| (key.clone(), Arc::clone(sent)))
            .collect();
        all.sort_by(|(one, _), (two, _)| one.cmp(two));
        all
    }
}

/// A question about something that is there, or nearly.
fn question(random: &mut fastrand::Rng, tree: &Tree) -> (Name, u16) {
    let names = tree.names();
    let mut name = random.choice(&names).expect("there are names").clone();
    match random.u8(..10) {
        0..5 => {}
        5 => name = name.below(b"not"),
        6 => name = name.below(b"not").below(b"even"),
        7 if name.len() > 1 => name = name.parent().below(b"other"),
        8 => name = name.parent(),
        _ => {}
    }
    if name.len() == 0 {
        name = tree.zones[1].apex.clone();
    }
    if name.is_wildcard() && random.u8(..3) > 0 {
        name = name.parent().below(b"q");
    }
    let zone = tree.zone_for(&name, A);
    let here: Vec<u16> = zone
        .sets
        .get(&name)
        .map(|types| types.keys().copied().collect())
        .unwrap_or_default();
    let rtype = if !here.is_empty() && random.u8(..10) < 6 {
        *random.choice(&here).expect("not empty")
    } else {
        *random
            .choice(&[
                A,
                AAAA,
                TXT,
                MX,
                MX,
                TLSA,
                TLSA,
                SOA,
                NS,
                DS,
                DS,
                DNSKEY,
                CNAME,
                UNKNOWN_TYPE,
            ])
            .expect("not empty")
    };
    // Whether a CNAME that a DNAME makes is itself the answer to such a question, or is followed, is
    // left open by RFC 6672.
    if rtype == CNAME && answer::dname_above(zone, &name).is_some() {
        return (name, A);
    }
    (name, rtype)
}

/// Keeps the cases of neighbouring seeds apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// More than there are cases in one run.
const ATTEMPT_STEP: u64 = 1_000_000_000;
