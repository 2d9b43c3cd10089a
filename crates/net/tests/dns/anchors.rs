//! Trust anchors that change while the resolver works: RFC 5011 and RFC 7646.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::AnchorBook;
use byrnie_net::dns::AnchorFollower;
use byrnie_net::dns::AnchorSource;
use byrnie_net::dns::AnchorState;
use byrnie_net::dns::AnchorUpdates;
use byrnie_net::dns::KeepAnchors;
use byrnie_net::dns::KeepError;
use byrnie_net::dns::LookupReport;
use byrnie_net::dns::Mode;
use byrnie_net::dns::NegativeAnchor;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::TrustAnchors;
use bytes::Bytes;
use domain::base::Rtype;
use domain::base::iana::Rcode;
use domain::crypto::sign::GenerateParams;
use domain::crypto::sign::KeyPair;
use domain::crypto::sign::generate;
use domain::dnssec::sign::keys::SigningKey;
use domain::dnssec::sign::records::Rrset;
use domain::dnssec::sign::signatures::rrsigs::sign_rrset;
use domain::rdata::Dnskey;
use domain::rdata::ZoneRecordData;
use domain::rdata::dnssec::Timestamp;

use crate::bed::Bed;
use crate::bed::World;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::caching;
use crate::caching::TestClock;
use crate::check;
use crate::zone::Rec;
use crate::zone::Signing;
use crate::zone::Zone;
use crate::zone::name;
use crate::zones;

#[tokio::test]
async fn the_roots_key_is_rolled_while_the_resolver_works() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::start(&old).await;
    root.name(&new, "new");
    root.publish(&[&old.key], &[&old.key]);
    root.look("old valid").await;
    root.check("secure").await;

    // The new key is believed after 30 days.
    root.publish(&[&old.key, &new.key], &[&old.key]);
    root.days(1);
    root.look("old valid, new pending").await;
    root.days(29);
    root.look("old valid, new pending").await;
    root.days(1);
    root.look("old valid, new valid").await;

    // The old one is revoked.
    root.publish(&[&old.revoked, &new.key], &[&old.revoked, &new.key]);
    root.days(1);
    root.look("old revoked, new valid").await;
    root.check("secure").await;
    root.publish(&[&new.key], &[&new.key]);
    root.days(1);
    root.look("old revoked, new valid").await;
    root.check("secure").await;

    // Whoever has the old one may not come back with it, though it is what is configured: not now, nor
    // after a restart.
    root.publish(&[&old.key], &[&old.key]);
    root.days(1);
    root.look("old revoked, new valid").await;
    let failures = root.resolver.stats().snapshot().anchor_failures;
    assert_eq!(failures, 1);
    root.check("bogus").await;
    root.restart().await;
    root.check("bogus").await;
    root.publish(&[&new.key], &[&new.key]);
    root.days(1);
    root.check("secure").await;
}

#[tokio::test]
async fn what_cannot_be_stored_does_not_count() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::start(&old).await;
    root.name(&new, "new");
    root.publish(&[&old.key, &new.key], &[&old.key]);
    root.look("old valid, new pending").await;
    root.days(31);
    root.store.is_broken.store(true, Ordering::Relaxed);
    root.look("old valid, new pending").await;
    assert_eq!(root.resolver.stats().snapshot().anchors_not_kept, 1);
    // At once would be no use.
    root.store.is_broken.store(false, Ordering::Relaxed);
    root.look("old valid, new pending").await;
    root.clock.advance(61);
    root.look("old valid, new valid").await;
}

#[tokio::test]
async fn without_any_key_left_everything_is_bogus() {
    let old = Pair::new();
    let mut root = Root::start(&old).await;
    root.publish(&[&old.key], &[&old.key]);
    root.look("old valid").await;
    root.check("secure").await;
    root.publish(&[&old.revoked], &[&old.revoked]);
    root.days(1);
    root.look("old revoked").await;
    root.check("bogus").await;
    assert_eq!(root.resolver.stats().snapshot().dead_anchors, 1);
    assert_eq!(root.follower.book().dead_zones(root.clock.now()), ["."]);
    let report = root.follower.book().report(root.clock.now());
    assert!(!report.zones[0].usable);
    let failure = report.zones[0].last.clone().unwrap().failure.unwrap();
    assert!(failure.contains("no trusted key signed"), "{failure}");
}

#[tokio::test]
async fn a_failed_look_is_repeated_after_an_hour() {
    let old = Pair::new();
    let mut root = Root::start(&old).await;
    root.refuse();
    root.look("").await;
    let asked = root.bed.count("", Rtype::DNSKEY);
    assert_eq!(asked, 1);
    root.publish(&[&old.key], &[&old.key]);
    root.clock.advance(3_599);
    root.look("").await;
    root.clock.advance(1);
    root.look("old valid").await;
    let counts = root.resolver.stats().snapshot();
    assert_eq!((counts.anchor_failures, counts.anchor_refreshes), (1, 1));
}

#[tokio::test]
async fn other_configured_anchors_begin_anew_and_bring_no_revoked_key_back() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::start(&old).await;
    root.name(&new, "new");
    root.publish(&[&old.key, &new.key], &[&old.key]);
    root.look("old valid, new pending").await;
    root.days(31);
    root.look("old valid, new valid").await;
    root.publish(&[&old.revoked, &new.key], &[&old.revoked, &new.key]);
    root.days(1);
    root.look("old revoked, new valid").await;

    // The operator names the old key again, and a third one.
    let third = Pair::new();
    root.name(&third, "third");
    root.configured = format!("{}\n{}", old.anchor(), third.anchor());
    root.restart().await;
    root.publish(&[&old.key], &[&old.key]);
    root.look("old revoked").await;
    root.check("bogus").await;
    root.publish(&[&new.key], &[&new.key]);
    root.days(1);
    root.look("old revoked").await;
    root.check("bogus").await;
    root.publish(&[&third.key], &[&third.key]);
    root.days(1);
    root.look("old revoked, third valid").await;
    root.check("secure").await;

    // Nor does it help to follow no more.
    root.updates = AnchorUpdates::Fixed;
    root.publish(&[&old.key], &[&old.key]);
    root.days(1);
    root.restart().await;
    let asked = root.bed.count("", Rtype::DNSKEY);
    root.look("old revoked").await;
    assert_eq!(root.bed.count("", Rtype::DNSKEY), asked);
    root.check("bogus").await;
}

#[tokio::test]
async fn a_damaged_state_means_the_configured_anchors() {
    let (old, new) = (Pair::new(), Pair::new());
    let mut root = Root::start(&old).await;
    root.name(&new, "new");
    root.publish(&[&old.key, &new.key], &[&old.key]);
    root.look("old valid, new pending").await;
    root.store.is_damaged.store(true, Ordering::Relaxed);
    let mut book = root.book();
    let damaged = book.load(&*root.store).await;
    assert_eq!(damaged, Ok(vec![String::from("bits")]));
    let configured = TrustAnchors::parse(&root.configured).unwrap();
    assert_eq!(book.trusted(root.clock.now()), configured);
}

#[tokio::test]
async fn a_negative_anchor_counts_until_it_expires() {
    let old = Pair::new();
    let mut root = Root::start(&old).await;
    root.publish(&[&old.key], &[&old.key]);
    root.negative = vec![NegativeAnchor {
        domain: "signed.example".parse().unwrap(),
        until: root.clock.now() + Duration::from_secs(100),
        reason: None,
    }];
    root.restart().await;
    let wait = root.follower.step().await;
    assert!(wait <= Duration::from_secs(100), "{wait:?}");
    let answer = lookup(&root.resolver, "mx.signed.example", "A").await;
    check(&answer, "insecure answer");
    let report = LookupReport::from(&answer);
    assert_eq!(
        report.reason.as_deref(),
        Some("signed.example. has a negative trust anchor")
    );
    let elsewhere = lookup(&root.resolver, "mx.hashed.example", "A").await;
    check(&elsewhere, "secure answer");
    assert_eq!(root.resolver.stats().snapshot().negative_anchors, 1);

    // The answer could be kept for another 200 seconds.
    root.clock.advance(100);
    root.follower.step().await;
    let answer = lookup(&root.resolver, "mx.signed.example", "A").await;
    check(&answer, "secure answer");
    assert_eq!(root.resolver.stats().snapshot().negative_anchors, 0);
}

#[tokio::test]
async fn an_anchored_zone_under_a_negative_anchor_does_not_make_the_upstream_unfit() {
    let mut all = zones();
    all[2].validity = (-14_400, -7_200);
    let world = World::new(all);
    let configured = format!("{}\n{}", world.anchor(), world.anchor_of("signed.example"));
    let bed = Bed::start(world).await;
    let mut anchors = TrustAnchors::parse(&configured).unwrap();
    let mut config = bed.config();
    for (usable, status) in [(false, "bogus none"), (true, "insecure answer")] {
        config.mode = Mode::Validate {
            anchors: anchors.clone(),
        };
        let resolver = resolver(&config);
        assert_eq!(resolver.probe().await.is_usable(), usable);
        let answer = lookup(&resolver, "mx.signed.example", "A").await;
        check(&answer, status);
        anchors.add_negative(name("signed.example"));
    }
}

#[tokio::test]
async fn an_answer_by_old_anchors_is_neither_kept_nor_shared() {
    let bed = Bed::start_gated(World::new(zones())).await;
    let resolver = bed.resolver();
    let asking = |resolver: &Resolver| {
        let resolver = resolver.clone();
        tokio::spawn(async move { lookup(&resolver, "mx.signed.example", "A").await })
    };
    let before = asking(&resolver);
    while bed.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    resolver.replace_anchors(TrustAnchors::root());
    let after = asking(&resolver);
    bed.open_gate(1_000);
    check(&before.await.unwrap(), "secure answer");
    check(&after.await.unwrap(), "bogus none");
    let later = lookup(&resolver, "mx.signed.example", "A").await;
    check(&later, "bogus none");
}

/// A key in both its forms.
struct Pair {
    key: SigningKey<Bytes, KeyPair>,
    /// The same key with the REVOKE bit.
    revoked: SigningKey<Bytes, KeyPair>,
}

impl Pair {
    fn new() -> Self {
        let (secret, public) = generate(&GenerateParams::Ed25519, 257).unwrap();
        let with_flags = |flags| {
            let octets = public.public_key().clone();
            let public = Dnskey::new(flags, 3, public.algorithm(), octets).unwrap();
            let pair = KeyPair::from_bytes(&secret, &public).unwrap();
            SigningKey::new(name(""), flags, pair)
        };
        Self {
            key: with_flags(257),
            revoked: with_flags(257 | 128),
        }
    }

    fn anchor(&self) -> String {
        format!(". IN DNSKEY {}", self.key.dnskey())
    }
}

/// A root with keys that change, and a resolver that follows them.
struct Root {
    bed: Bed,
    /// The key set with its signatures; without any, the root refuses.
    published: Arc<Mutex<Vec<Rec>>>,
    /// Signs everything but the keys.
    zone_key: Dnskey<Bytes>,
    configured: String,
    updates: AnchorUpdates,
    negative: Vec<NegativeAnchor>,
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    resolver: Resolver,
    follower: AnchorFollower<MemoryStore>,
    /// What the keys with these tags are called.
    names: Vec<(u16, &'static str)>,
}

impl Root {
    async fn start(trusted: &Pair) -> Self {
        let mut all = zones();
        let params = GenerateParams::EcdsaP256Sha256;
        all[0] = Zone::with_flags("", Signing::Nsec, &params, 256, "");
        for zone in &mut all {
            zone.validity = (-3_600, 300 * DAY);
        }
        let zone_key = all[0].dnskey();
        let published = Arc::<Mutex<Vec<Rec>>>::default();
        let answers = Arc::clone(&published);
        let world = World::new(all).tamper(move |asked, reply| {
            if asked.is("", Rtype::DNSKEY) {
                reply.answer = answers.lock().unwrap().clone();
                if reply.answer.is_empty() {
                    reply.refuse(Rcode::REFUSED);
                }
            }
        });
        let bed = Bed::start(world).await;
        let (resolver, clock) = caching::resolver(&bed.config());
        let store = Arc::new(MemoryStore::default());
        let configured = trusted.anchor();
        let book = book_of(&configured, AnchorUpdates::Follow, &[]);
        let shared: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let kept = Arc::clone(&store);
        let mut root = Self {
            follower: AnchorFollower::new(resolver.clone(), book, kept, shared),
            bed,
            published,
            zone_key,
            configured,
            updates: AnchorUpdates::Follow,
            negative: Vec::new(),
            store,
            clock,
            resolver,
            names: Vec::new(),
        };
        root.name(trusted, "old");
        root
    }

    /// Calls a key by a name when it is looked at.
    fn name(&mut self, pair: &Pair, called: &'static str) {
        self.names.push((pair.key.dnskey().key_tag(), called));
    }

    /// From now on, the root has these keys.
    fn publish(
        &mut self,
        keys: &[&SigningKey<Bytes, KeyPair>],
        signers: &[&SigningKey<Bytes, KeyPair>],
    ) {
        let keys = keys.iter().map(|key| key.dnskey().convert());
        let keys = keys.chain([self.zone_key.clone()]);
        let mut set: Vec<Rec> = keys
            .map(|key| Rec {
                owner: name(""),
                ttl: 300,
                data: ZoneRecordData::Dnskey(key),
            })
            .collect();
        let records: Vec<_> = set.iter().map(Rec::record).collect();
        let now = i64::try_from(SystemClock.now().0).unwrap();
        let at = |offset| Timestamp::from(u32::try_from(now + offset).unwrap());
        for signer in signers {
            let all = Rrset::new_from_owned(&records).unwrap();
            let signature = sign_rrset(*signer, &all, at(-3_600), at(300 * DAY)).unwrap();
            set.push(Rec {
                owner: name(""),
                ttl: 300,
                data: ZoneRecordData::Rrsig(signature.data().clone()),
            });
        }
        *self.published.lock().unwrap() = set;
    }

    /// From now on, the root has none.
    fn refuse(&mut self) {
        self.published.lock().unwrap().clear();
    }

    fn days(&self, number: u64) {
        self.clock.advance(number * 86_400);
    }

    fn book(&self) -> AnchorBook {
        book_of(&self.configured, self.updates, &self.negative)
    }

    /// Another process on the same store.
    async fn restart(&mut self) {
        let mut book = self.book();
        assert_eq!(book.load(&*self.store).await, Ok(vec![]));
        let mut config = self.bed.config();
        let anchors = book.trusted(self.clock.now());
        config.mode = Mode::Validate { anchors };
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        self.resolver = Resolver::new(&config, Arc::clone(&clock)).unwrap();
        let store = Arc::clone(&self.store);
        self.follower = AnchorFollower::new(self.resolver.clone(), book, store, clock);
    }

    /// Lets the follower do what is due, and asserts what it knows of the keys.
    async fn look(&mut self, expected: &str) {
        self.follower.step().await;
        let report = self.follower.book().report(self.clock.now());
        let called = |tag| {
            let mut names = self.names.iter();
            let found = names.find(|(known, _)| *known == tag);
            found.map_or("another", |(_, called)| called)
        };
        let keys = report.zones[0].keys.iter();
        let states: Vec<String> = keys
            .map(|key| format!("{} {}", called(key.key_tag), key.state))
            .collect();
        assert_eq!(states.join(", "), expected);
    }

    /// Asserts the status of a name that nothing is kept about.
    async fn check(&self, status: &str) {
        // What is bogus is asked for once more after a pause.
        self.clock.advance(1_000);
        let answer = lookup(&self.resolver, "mx.signed.example", "A").await;
        let found = LookupReport::from(&answer).status.to_string();
        assert_eq!(found, status, "{answer:?}");
    }
}

fn book_of(configured: &str, updates: AnchorUpdates, negative: &[NegativeAnchor]) -> AnchorBook {
    let configured = TrustAnchors::parse(configured).unwrap();
    AnchorBook::new(configured, AnchorSource::File, updates, negative.to_vec())
}

/// Keeps states as long as the test runs, or does not.
#[derive(Default)]
struct MemoryStore {
    states: Mutex<HashMap<String, AnchorState>>,
    is_broken: AtomicBool,
    is_damaged: AtomicBool,
}

impl KeepAnchors for MemoryStore {
    async fn load(&self, zone: &str) -> Result<Option<AnchorState>, KeepError> {
        if self.is_damaged.load(Ordering::Relaxed) {
            return Err(KeepError::Damaged(String::from("bits")));
        }
        Ok(self.states.lock().unwrap().get(zone).cloned())
    }

    async fn keep(&self, zone: &str, state: &AnchorState) -> Result<(), KeepError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(KeepError::Unavailable(String::from("no room")));
        }
        let mut states = self.states.lock().unwrap();
        states.insert(zone.to_owned(), state.clone());
        Ok(())
    }
}

/// In seconds.
const DAY: i64 = 86_400;
