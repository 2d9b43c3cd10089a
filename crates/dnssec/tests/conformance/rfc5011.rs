//! The root's keys over the months.

use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_dnssec::AnchorTracker;
use byrnie_dnssec::KeyState;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Step;
use byrnie_dnssec::TRACKED_KEYS_MAX;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use bytes::Bytes;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::crypto::sign::GenerateParams;
use domain::crypto::sign::KeyPair;
use domain::crypto::sign::generate;
use domain::dnssec::sign::keys::SigningKey;
use domain::rdata::Dnskey;
use domain::rdata::ZoneRecordData;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::Record;
use crate::world::Reply;
use crate::world::Zone;
use crate::world::dnskey;
use crate::world::name;
use crate::world::parse_question;
use crate::world::record;

#[test]
fn a_new_key_is_trusted_after_thirty_days() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(0, &[&old.key], &[&old.key]).unwrap();
    root.check(&[(&old, KeyState::Valid)]);
    root.see(1, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.check(&[
        (&old, KeyState::Valid),
        (&new, KeyState::AddPending(day(1))),
    ]);
    root.see(30, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.check(&[
        (&old, KeyState::Valid),
        (&new, KeyState::AddPending(day(1))),
    ]);
    root.see(31, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.check(&[(&old, KeyState::Valid), (&new, KeyState::Valid)]);
    // And vouches for the set alone.
    root.see(32, &[&new.key], &[&new.key]).unwrap();
    root.check(&[(&old, KeyState::Missing(day(32))), (&new, KeyState::Valid)]);
    root.see(33, &[&old.key, &new.key], &[&new.key]).unwrap();
    root.check(&[(&old, KeyState::Valid), (&new, KeyState::Valid)]);
}

#[test]
fn a_new_key_that_is_missing_once_begins_anew() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(1, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.see(20, &[&old.key], &[&old.key]).unwrap();
    root.check(&[(&old, KeyState::Valid)]);
    root.see(31, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.check(&[
        (&old, KeyState::Valid),
        (&new, KeyState::AddPending(day(31))),
    ]);
}

#[test]
fn a_new_key_that_loses_its_sep_bit_for_a_while_begins_anew() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(1, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.see(20, &[&old.key, &new.zone_signing], &[&old.key])
        .unwrap();
    root.check(&[(&old, KeyState::Valid)]);
    root.see(31, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.check(&[
        (&old, KeyState::Valid),
        (&new, KeyState::AddPending(day(31))),
    ]);
}

#[test]
fn a_key_set_that_no_trusted_key_signed_changes_nothing() {
    let (old, attacker) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(0, &[&old.key], &[&old.key]).unwrap();
    assert!(
        root.see(1, &[&old.key, &attacker.key], &[&attacker.key])
            .is_err()
    );
    root.check(&[(&old, KeyState::Valid)]);
    assert_eq!(root.tracker.refresh_at, day(1) + Duration::from_secs(3_600));
}

#[test]
fn a_revoked_key_is_never_trusted_again() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(0, &[&old.key, &new.key], &[&old.key]).unwrap();
    root.see(31, &[&old.key, &new.key], &[&old.key]).unwrap();
    // Not by somebody else's word.
    root.see(32, &[&old.revoked, &new.key], &[&new.key])
        .unwrap();
    root.check(&[(&old, KeyState::Valid), (&new, KeyState::Valid)]);
    root.see(33, &[&old.revoked, &new.key], &[&old.revoked, &new.key])
        .unwrap();
    root.check(&[(&old, KeyState::Revoked(day(33))), (&new, KeyState::Valid)]);
    assert!(root.see(34, &[&old.key], &[&old.key]).is_err());
    root.see(63, &[&new.key], &[&new.key]).unwrap();
    root.check(&[(&old, KeyState::Removed), (&new, KeyState::Valid)]);
    root.see(64, &[&old.key, &new.key], &[&new.key]).unwrap();
    root.see(200, &[&old.key, &new.key], &[&new.key]).unwrap();
    root.check(&[(&old, KeyState::Removed), (&new, KeyState::Valid)]);
}

#[test]
fn the_last_key_when_revoked_leaves_nothing_to_trust() {
    let (old, other) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(0, &[&old.key], &[&old.key]).unwrap();
    root.see(1, &[&old.revoked], &[&old.revoked]).unwrap_err();
    root.check(&[(&old, KeyState::Revoked(day(1)))]);
    for signer in [&old.key, &old.revoked, &other.key] {
        root.see(2, &[signer], &[signer]).unwrap_err();
        root.check(&[(&old, KeyState::Revoked(day(1)))]);
        // Nor may anybody make the root insecure.
        let anchors = root.tracker.anchors(&name("."), &root.configured);
        let validator = Validator::new(anchors, Limits::default(), Sha1Policy::Validate);
        let (mut validation, _) = validator.start(parse_question(". DNSKEY"), day(2));
        let octets = Root::message(2, &[dnskey(signer)], &[signer]);
        let step = validation.handle_answer(&parse_question(". DNSKEY"), &octets, day(2));
        let Step::Done(verdict) = step else {
            panic!("{step:?}");
        };
        assert_eq!(verdict.status.word(), "bogus", "{}", verdict.status);
    }
}

/// Nor does it make a zone look alive when its last useful key is revoked.
#[test]
fn a_key_that_verifies_nothing_is_never_trusted() {
    let old = Pair::new();
    let rsa = SecurityAlgorithm::RSASHA256;
    for (algorithm, octets) in [
        (SecurityAlgorithm::from_int(200), vec![1; 32]),
        (rsa, [&[3, 1, 0, 1][..], &[0xab; 64]].concat()), // 512 bits
    ] {
        let useless = Dnskey::new(257, 3, algorithm, octets.into()).unwrap();
        let mut root = Root::trusting(&old);
        for on in [0, 31] {
            let keys = [dnskey(&old.key), useless.clone()];
            root.see_records(on, &keys, &[&old.key]).unwrap();
            root.check(&[(&old, KeyState::Valid)]);
        }
        let keys = [dnskey(&old.revoked), useless];
        let last = root.see_records(32, &keys, &[&old.revoked]);
        last.unwrap_err();
        let anchors = root.tracker.anchors(&name("."), &root.configured);
        assert!(!anchors.is_alive(&name(".")));
    }
}

/// Such an anchor alone makes everything insecure, as long as nobody has revoked a better one.
#[test]
fn an_anchor_that_is_not_supported_does_not_replace_a_revoked_one() {
    let old = Pair::new();
    let unknown = format!(". DS 1 200 2 {}", "00".repeat(32));
    let unknown = TrustAnchors::parse(&unknown).unwrap();
    let mut root = Root::trusting(&old);
    root.configured.extend(unknown.clone());
    root.see(0, &[&old.key], &[&old.key]).unwrap();
    root.see(1, &[&old.revoked], &[&old.revoked]).unwrap_err();
    let anchors = root.tracker.anchors(&name("."), &root.configured);
    assert!(!anchors.is_alive(&name(".")));
    let octets = Root::message(2, &[dnskey(&old.revoked)], &[&old.revoked]);
    for (anchors, word) in [(anchors, "bogus"), (unknown, "insecure")] {
        let validator = Validator::new(anchors, Limits::default(), Sha1Policy::Validate);
        let (mut validation, _) = validator.start(parse_question(". DNSKEY"), day(2));
        let step = validation.handle_answer(&parse_question(". DNSKEY"), &octets, day(2));
        let Step::Done(verdict) = step else {
            panic!("{step:?}");
        };
        assert_eq!(verdict.status.word(), word);
    }
}

#[test]
fn another_configured_key_counts_when_one_is_revoked() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    let text = format!(". IN DNSKEY {}", dnskey(&new.key));
    root.configured.extend(TrustAnchors::parse(&text).unwrap());
    root.see(0, &[&old.key], &[&old.key]).unwrap();
    root.see(1, &[&old.revoked, &new.key], &[&old.revoked, &new.key])
        .unwrap();
    root.check(&[(&old, KeyState::Revoked(day(1))), (&new, KeyState::Valid)]);
}

#[test]
fn a_configured_key_that_is_first_seen_revoked_is_never_trusted() {
    let (old, new) = (Pair::new(), Pair::new());
    for configured in [&old.key, &old.zone_signing] {
        let mut root = Root::trusting(&old);
        let text = format!(". IN DNSKEY {}", dnskey(configured));
        root.configured = TrustAnchors::parse(&text).unwrap();
        let error = root.see(0, &[&old.revoked, &new.key], &[&old.revoked, &new.key]);
        error.unwrap_err();
        root.check(&[(&old, KeyState::Revoked(day(0)))]);
        let anchors = root.tracker.anchors(&name("."), &root.configured);
        assert!(!anchors.is_alive(&name(".")));
        root.see(1, &[configured], &[configured]).unwrap_err();
        // Nor under other anchors that bring it back.
        root.tracker.begin_anew();
        root.see(2, &[configured], &[configured]).unwrap_err();
        root.check(&[(&old, KeyState::Revoked(day(0)))]);
    }
    // Somebody else's revoked key is nothing to remember.
    let mut root = Root::trusting(&old);
    root.see(0, &[&old.key, &new.revoked], &[&old.key, &new.revoked])
        .unwrap();
    root.check(&[(&old, KeyState::Valid)]);
}

#[test]
fn a_configured_key_counts_before_its_zone_introduces_it_and_without_a_sep_bit() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    let text = format!(". IN DNSKEY {}", dnskey(&new.zone_signing));
    root.configured.extend(TrustAnchors::parse(&text).unwrap());
    root.see(0, &[&old.key], &[&old.key]).unwrap();
    root.see(1, &[&new.zone_signing], &[&new.zone_signing])
        .unwrap();
    root.check(&[(&old, KeyState::Missing(day(1))), (&new, KeyState::Valid)]);
    root.see(2, &[&new.zone_signing], &[&new.zone_signing])
        .unwrap();
}

#[test]
fn the_number_of_keys_is_bounded() {
    let old = Pair::new();
    let many: Vec<Pair> = (0..20).map(|_| Pair::new()).collect();
    let mut root = Root::trusting(&old);
    let all: Vec<_> = [&old]
        .into_iter()
        .chain(&many)
        .map(|pair| &pair.key)
        .collect();
    root.see(0, &all, &[&old.key]).unwrap();
    assert_eq!(root.tracker.keys.len(), TRACKED_KEYS_MAX);
}

#[test]
fn a_tracker_survives_being_stored() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::trusting(&old);
    root.see(0, &[&old.key, &new.key], &[&old.key]).unwrap();
    let stored = serde_json::to_string(&root.tracker).unwrap();
    assert_eq!(
        serde_json::from_str::<AnchorTracker>(&stored).unwrap(),
        root.tracker
    );
}

/// A key in all its forms.
struct Pair {
    key: SigningKey<Bytes, KeyPair>,
    /// The same key with the REVOKE bit.
    revoked: SigningKey<Bytes, KeyPair>,
    /// The same key without the SEP bit.
    zone_signing: SigningKey<Bytes, KeyPair>,
}

impl Pair {
    fn new() -> Self {
        let (secret, public) = generate(&GenerateParams::Ed25519, 257).unwrap();
        let with_flags = |flags| {
            let octets = public.public_key().clone();
            let public = Dnskey::new(flags, 3, public.algorithm(), octets).unwrap();
            let pair = KeyPair::from_bytes(&secret, &public).unwrap();
            SigningKey::new(name("."), flags, pair)
        };
        Self {
            key: with_flags(257),
            revoked: with_flags(257 | 128),
            zone_signing: with_flags(256),
        }
    }
}

/// The root as a tracker sees it.
struct Root {
    configured: TrustAnchors,
    tracker: AnchorTracker,
}

impl Root {
    fn trusting(key: &Pair) -> Self {
        let text = format!(". IN DNSKEY {}", dnskey(&key.key));
        let configured = TrustAnchors::parse(&text).unwrap();
        Self {
            configured,
            tracker: AnchorTracker::new(),
        }
    }

    /// Shows the tracker a key set on some day.
    fn see(
        &mut self,
        on: u64,
        keys: &[&SigningKey<Bytes, KeyPair>],
        signers: &[&SigningKey<Bytes, KeyPair>],
    ) -> Result<(), String> {
        let keys: Vec<_> = keys.iter().copied().map(dnskey).collect();
        self.see_records(on, &keys, signers)
    }

    /// Shows the tracker a set of any records.
    fn see_records(
        &mut self,
        on: u64,
        keys: &[Dnskey<Bytes>],
        signers: &[&SigningKey<Bytes, KeyPair>],
    ) -> Result<(), String> {
        let octets = Self::message(on, keys, signers);
        self.tracker
            .observe(&name("."), &self.configured, &octets, day(on))
            .map_err(|status| status.to_string())
    }

    /// A key set of some day.
    fn message(
        on: u64,
        keys: &[Dnskey<Bytes>],
        signers: &[&SigningKey<Bytes, KeyPair>],
    ) -> Vec<u8> {
        let apex = name(".");
        let set: Vec<Record> = keys
            .iter()
            .map(|key| record(&apex, 3600, ZoneRecordData::Dnskey(key.clone())))
            .collect();
        let mut signer = Zone::new(".", Denial::Nsec, "");
        let offset = i64::try_from(on * 86_400).unwrap();
        signer.validity = (offset - 1_000, offset + 100_000);
        let mut reply = Reply::default();
        reply.answer.extend(set.iter().cloned());
        reply
            .answer
            .extend(signers.iter().map(|key| signer.signature(key, &set)));
        let question = parse_question(". DNSKEY");
        assert_eq!(question.rtype, Rtype::DNSKEY);
        reply.message(&question)
    }

    #[track_caller]
    fn check(&self, expected: &[(&Pair, KeyState)]) {
        let states: Vec<_> = self
            .tracker
            .keys
            .iter()
            .map(|key| (key.public_key.clone(), key.state))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(pair, state)| (pair.key.dnskey().public_key().clone(), *state))
            .collect();
        assert_eq!(states, expected);
    }
}

/// So many days from now.
fn day(number: u64) -> UnixTime {
    UnixTime(NOW.0 + number * 86_400)
}
