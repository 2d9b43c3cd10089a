//! The keys of the root over months, with key sets that anybody may have signed.

use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_dnssec::AnchorTracker;
use byrnie_dnssec::KeyState;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::TRACKED_KEYS_MAX;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use domain::base::Name;
use domain::base::iana::Rtype;

use super::script::Script;
use super::tree::KEY_SIGNING;
use super::tree::Key;
use super::tree::NOW;
use super::tree::Record;
use super::tree::Reply;
use super::tree::Signing;

/// A history of the root's keys: which are in the set, which are revoked, which of them sign, and how
/// many days pass. No key is believed that no trusted key has vouched for during 30 days.
///
/// An input that is JSON is a state as it is kept on disk, which may be damaged as well.
pub fn trust_anchor_state(input: &[u8]) {
    let root = Name::root_bytes();
    if input.starts_with(b"{") {
        if let Ok(tracker) = serde_json::from_slice::<AnchorTracker>(input) {
            let anchors = tracker.anchors(&root, &TrustAnchors::root());
            assert!(!anchors.is_empty(), "the root has lost its anchor");
        }
        return;
    }
    let mut script = Script(input);
    let keys: Vec<Key> = (0..KEYS).map(|key| Key::new(FIRST_SEED + key)).collect();
    let mut history = History {
        configured: anchor(&keys),
        tracker: AnchorTracker::new(),
        beliefs: vec![Belief::default(); keys.len()],
        keys,
        now: NOW,
    };
    for _ in 0..OBSERVATIONS_MAX {
        if script.is_over() {
            break;
        }
        history.observe(&mut script);
    }
    for place in 0..history.keys.len() {
        history.check_anchor(place);
    }
}

/// What happened so far.
struct History {
    keys: Vec<Key>,
    configured: TrustAnchors,
    tracker: AnchorTracker,
    beliefs: Vec<Belief>,
    now: UnixTime,
}

/// What should be believed of a key, at most.
#[derive(Clone, Copy, Default)]
struct Belief {
    /// Since when each believed set had the key.
    since: Option<UnixTime>,
    /// Whether it has revoked itself while it was tracked.
    revoked: bool,
}

/// One key in a key set.
#[derive(Clone, Copy)]
struct Entry {
    place: usize,
    flags: u16,
    signs: bool,
}

impl History {
    /// One key set, some days later.
    fn observe(&mut self, script: &mut Script<'_>) {
        self.now = self.now + Duration::from_secs(u64::from(script.octet()) * 86_400 / 4);
        let entries: Vec<Entry> = (0..self.keys.len())
            .map(|place| (place, script.octet()))
            .filter(|(_, choice)| choice & 1 == 1)
            .map(|(place, choice)| Entry {
                place,
                flags: match choice & 6 {
                    2 => KEY_SIGNING | REVOKED,
                    4 => KEY_SIGNING - 1,
                    _ => KEY_SIGNING,
                },
                signs: choice & 8 == 8,
            })
            .collect();
        let mut octets = self.message(&entries);
        let (place, change) = (usize::from(script.short()), script.octet());
        let length = octets.len();
        if let Some(octet) = octets.get_mut(place % length) {
            *octet ^= change;
        }
        let before = self.tracker.clone();
        let root = Name::root_bytes();
        let observed = self
            .tracker
            .observe(&root, &self.configured, &octets, self.now);
        self.check_revocations(&before, &entries);
        match observed {
            Ok(()) => self.check_observed(&before, &entries),
            Err(_) => self.check_unchanged(&before),
        }
        assert!(self.tracker.keys.len() <= TRACKED_KEYS_MAX);
        let written = serde_json::to_string(&self.tracker).unwrap_or_default();
        let read = serde_json::from_str(&written).ok();
        assert_eq!(read.as_ref(), Some(&self.tracker));
    }

    /// The keys as a message.
    fn message(&self, entries: &[Entry]) -> Vec<u8> {
        let root = Name::root_bytes();
        let keys = || {
            let keys = entries.iter();
            keys.filter_map(|entry| Some((entry, self.keys.get(entry.place)?)))
        };
        let set: Vec<Record> = keys()
            .map(|(entry, key)| Record {
                owner: root.clone(),
                rtype: Rtype::DNSKEY,
                ttl: 86_400,
                data: key.dnskey(entry.flags),
            })
            .collect();
        let mut reply = Reply::default();
        if !set.is_empty() {
            for (entry, key) in keys().filter(|(entry, _)| entry.signs) {
                let mut signing = Signing::new(key, &root);
                signing.flags = entry.flags;
                signing.until = UnixTime(self.now.0 + 1_000_000);
                signing.from = UnixTime(self.now.0 - 1_000_000);
                reply.answer.push(signing.sign(&set));
            }
            reply.answer.extend(set);
        }
        reply.message(&Question::new(root, Rtype::DNSKEY))
    }

    /// Only a key's own signature revokes it, and for ever.
    fn check_revocations(&mut self, before: &AnchorTracker, entries: &[Entry]) {
        for place in 0..self.keys.len() {
            let (was, is) = (self.state(before, place), self.state(&self.tracker, place));
            let ends = |state: Option<KeyState>| {
                matches!(state, Some(KeyState::Revoked(_) | KeyState::Removed))
            };
            if ends(was) {
                assert!(ends(is), "key {place} came back as {is:?}");
            } else if ends(is) {
                let by_itself = |entry: &&Entry| {
                    entry.place == place && entry.flags & REVOKED != 0 && entry.signs
                };
                assert!(entries.iter().any(|entry| by_itself(&entry)));
            }
            if let Some(belief) = self.beliefs.get_mut(place) {
                belief.revoked |= ends(is);
            }
        }
    }

    /// A set that was believed: somebody trusted signed it, and new trust took its time.
    fn check_observed(&mut self, before: &AnchorTracker, entries: &[Entry]) {
        let trusted: Vec<bool> = (0..self.keys.len())
            .map(|place| self.is_trusted(before, place))
            .collect();
        let vouches = |entry: &&Entry| {
            entry.signs && entry.flags & REVOKED == 0 && trusted.get(entry.place) == Some(&true)
        };
        assert!(
            entries.iter().any(|entry| vouches(&entry)),
            "a set was believed that nobody trusted signed"
        );
        for (place, was_trusted) in trusted.into_iter().enumerate() {
            let present = entries
                .iter()
                .any(|entry| entry.place == place && entry.flags == KEY_SIGNING);
            let is_trusted = self.is_trusted(&self.tracker, place);
            let Some(belief) = self.beliefs.get_mut(place) else {
                continue;
            };
            if present {
                belief.since.get_or_insert(self.now);
            } else {
                belief.since = None;
            }
            if is_trusted && !was_trusted {
                let held = belief.since.map(|since| self.now.since(since));
                assert!(
                    held.is_some_and(|held| held >= HOLD_DOWN),
                    "key {place} is trusted after {held:?}"
                );
            }
        }
    }

    /// A set that was not believed has changed nothing, unless a key in it has revoked itself.
    fn check_unchanged(&self, before: &AnchorTracker) {
        for place in 0..self.keys.len() {
            let (was, is) = (self.state(before, place), self.state(&self.tracker, place));
            assert!(
                was == is || matches!(is, Some(KeyState::Revoked(_))),
                "key {place} was {was:?} and is {is:?}"
            );
        }
    }

    /// A key set that one key alone signs is believed if that key is trusted, and otherwise is neither
    /// secure nor insecure.
    fn check_anchor(&self, place: usize) {
        let entry = Entry {
            place,
            flags: KEY_SIGNING,
            signs: true,
        };
        let root = Name::root_bytes();
        let anchors = self.tracker.anchors(&root, &self.configured);
        let validator = Validator::new(anchors, Limits::default(), Sha1Policy::Validate);
        let question = Question::new(root, Rtype::DNSKEY);
        let (mut validation, mut step) = validator.start(question.clone(), self.now);
        let status = loop {
            match step {
                Step::Done(verdict) => break verdict.status,
                Step::NeedsMore(questions) if questions.contains(&question) => {
                    let octets = self.message(&[entry]);
                    step = validation.handle_answer(&question, &octets, self.now);
                }
                Step::NeedsMore(questions) => {
                    let Some(asked) = questions.first() else {
                        panic!("it waits for no answer");
                    };
                    let octets = Reply::default().message(asked);
                    step = validation.handle_answer(asked, &octets, self.now);
                }
            }
        };
        let trusted = self.is_trusted(&self.tracker, place);
        let revoked = self.beliefs.get(place).is_some_and(|belief| belief.revoked);
        assert!(!(trusted && revoked), "key {place} is trusted and revoked");
        match status {
            Status::Secure => assert!(trusted, "key {place} is believed"),
            Status::Bogus(fault) => assert!(!trusted, "key {place} is not believed: {fault}"),
            status @ (Status::Insecure(_) | Status::Failed(_)) => {
                panic!("key {place} makes the root {status}");
            }
        }
    }

    /// Whether a key is to be believed: as tracked, or at first as configured.
    fn is_trusted(&self, tracker: &AnchorTracker, place: usize) -> bool {
        let at_first = tracker.keys.is_empty() && place == 0;
        let state = self.state(tracker, place);
        state.map_or(at_first, KeyState::is_trusted)
    }

    /// What is known of a key.
    fn state(&self, tracker: &AnchorTracker, place: usize) -> Option<KeyState> {
        let dnskey = self.keys.get(place)?.dnskey(KEY_SIGNING);
        let same = |key: &&byrnie_dnssec::TrackedKey| dnskey.ends_with(&key.public_key);
        let tracked = tracker.keys.iter().find(same)?;
        Some(tracked.state)
    }
}

/// The first key as an anchor.
fn anchor(keys: &[Key]) -> TrustAnchors {
    let key = keys.first().map(|key| key.dnskey(KEY_SIGNING));
    let octets = key.unwrap_or_default();
    let public = domain::utils::base64::encode_string(octets.get(4..).unwrap_or_default());
    TrustAnchors::parse(&format!(". IN DNSKEY 257 3 15 {public}")).unwrap_or_default()
}

/// The keys that take part.
const KEYS: u8 = 4;

/// Their seeds are not those of the tree.
const FIRST_SEED: u8 = 100;

/// RFC 5011, Section 7: the REVOKE bit.
const REVOKED: u16 = 128;

/// RFC 5011, Section 2.4.1.
const HOLD_DOWN: Duration = Duration::from_secs(30 * 86_400);

/// Key sets in one history; more teach nothing.
const OBSERVATIONS_MAX: usize = 24;
