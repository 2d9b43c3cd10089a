//! What is remembered, and for how long.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::DnsConfig;
use byrnie_net::dns::Resolver;
use domain::base::Rtype;

use crate::bed::Bed;
use crate::bed::World;
use crate::bed::lookup;
use crate::check;
use crate::world;
use crate::zones;

#[tokio::test]
async fn an_answer_is_kept_for_its_ttl() {
    let bed = Bed::start(world()).await;
    let (resolver, clock) = resolver(&bed.config());
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    assert_eq!(answer.ttl, Duration::from_secs(300));
    clock.advance(299);
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    assert_eq!(answer.ttl, Duration::from_secs(1));
    assert_eq!(bed.count("mx.signed.example", Rtype::A), 1);
    clock.advance(1);
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    assert_eq!(answer.ttl, Duration::from_secs(300));
    assert_eq!(bed.count("mx.signed.example", Rtype::A), 2);
    let counts = resolver.stats().snapshot();
    assert_eq!((counts.secure, counts.cache_hits), (3, 1));
}

#[tokio::test]
async fn ttls_stay_between_floor_and_ceiling() {
    let mut all = zones();
    all[2].add("short 0 A 192.0.2.9\nlong 604800 A 192.0.2.9");
    let bed = Bed::start(World::new(all)).await;
    let mut config = bed.config();
    config.ttl.floor = Duration::from_secs(7);
    config.ttl.ceiling = Duration::from_secs(3600);
    let (resolver, _) = resolver(&config);
    for (name, ttl) in [
        ("short.signed.example", 7),
        ("mx.signed.example", 300),
        ("long.signed.example", 3600),
    ] {
        let answer = lookup(&resolver, name, "A").await;
        assert_eq!(answer.ttl, Duration::from_secs(ttl), "{name}");
    }
}

#[tokio::test]
async fn no_answer_outlives_its_signature() {
    let mut all = zones();
    all[2].validity = (-3600, 100);
    let bed = Bed::start(World::new(all)).await;
    let (resolver, clock) = resolver(&bed.config());
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    check(&answer, "secure answer");
    assert!(answer.ttl <= Duration::from_secs(100), "{:?}", answer.ttl);
    assert!(answer.ttl >= Duration::from_secs(80), "{:?}", answer.ttl);
    // The bed signs anew for each answer, with the real time: what it signs is out of date by now,
    // by more than clocks may differ.
    clock.advance(4000);
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    check(&answer, "bogus none");
}

#[tokio::test]
async fn denials_are_kept_as_long_as_their_zone_says() {
    let bed = Bed::start(world()).await;
    let mut config = bed.config();
    for (ceiling, expected) in [(3600, 60), (10, 10)] {
        config.ttl.negative_ceiling = Duration::from_secs(ceiling);
        let (resolver, clock) = resolver(&config);
        let before = bed.count("no.signed.example", Rtype::A);
        for name in ["no.signed.example", "no.unsigned.example"] {
            let answer = lookup(&resolver, name, "A").await;
            assert_eq!(answer.ttl, Duration::from_secs(expected), "{name}");
        }
        clock.advance(expected - 1);
        lookup(&resolver, "no.signed.example", "A").await;
        assert_eq!(bed.count("no.signed.example", Rtype::A), before + 1);
        clock.advance(1);
        lookup(&resolver, "no.signed.example", "A").await;
        assert_eq!(bed.count("no.signed.example", Rtype::A), before + 2);
    }
}

#[tokio::test]
async fn failures_are_kept_for_seconds() {
    let bed = Bed::start(world().tamper(|asked, reply| {
        if asked.rtype == Rtype::A {
            reply.refuse(domain::base::iana::Rcode::SERVFAIL);
        }
    }))
    .await;
    let (resolver, clock) = resolver(&bed.config());
    for (advance, asked) in [(0, 1), (4, 1), (1, 2)] {
        clock.advance(advance);
        let answer = lookup(&resolver, "mx.unsigned.example", "A").await;
        check(&answer, "failed none");
        assert_eq!(bed.count("mx.unsigned.example", Rtype::A), asked);
    }
    assert_eq!(resolver.stats().snapshot().failed, 3);
}

#[tokio::test]
async fn identical_questions_are_asked_once() {
    let bed = Bed::start_gated(world()).await;
    let mut config = bed.config();
    config.attempt_timeout = Duration::from_secs(60);
    let (resolver, _) = resolver(&config);
    let asks = (0..50).map(|_| lookup(&resolver, "mx.signed.example", "A"));
    let all = futures_util::future::join_all(asks);
    let opening = async {
        while bed.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        bed.open_gate(1000);
    };
    let (answers, ()) = tokio::join!(all, opening);
    for answer in &answers {
        check(answer, "secure answer");
    }
    let mut asked: Vec<String> = bed
        .asked()
        .iter()
        .map(|asked| format!("{} {}", asked.name.fmt_with_dot(), asked.rtype))
        .collect();
    asked.sort();
    assert_eq!(
        asked,
        [
            ". DNSKEY",
            "example. DNSKEY",
            "example. DS",
            "mx.signed.example. A",
            "signed.example. DNSKEY",
            "signed.example. DS",
        ]
    );
    assert_eq!(resolver.stats().snapshot().upstream_queries, 6);
}

#[tokio::test]
async fn a_cold_lookup_takes_two_round_trips() {
    let bed = Bed::start_gated(world()).await;
    let mut config = bed.config();
    config.attempt_timeout = Duration::from_secs(60);
    let (resolver, _) = resolver(&config);
    let ask = lookup(&resolver, "mx.signed.example", "A");
    let opening = async {
        // Four questions are on their way before any is answered, two more before any of the second
        // batch is.
        for (batch, in_all) in [(4, 4), (2, 6)] {
            while bed.asked().len() < in_all {
                tokio::task::yield_now().await;
            }
            bed.open_gate(batch);
        }
    };
    let (answer, ()) = tokio::join!(ask, opening);
    check(&answer, "secure answer");
}

#[tokio::test]
async fn a_lookup_that_nobody_waits_for_is_dropped() {
    let bed = Bed::start_gated(world()).await;
    let mut config = bed.config();
    config.attempt_timeout = Duration::from_secs(60);
    let (resolver, _) = resolver(&config);
    let under_way = async {
        while bed.count("mx.signed.example", Rtype::A) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = lookup(&resolver, "mx.signed.example", "A") => panic!("{answer:?}"),
        () = under_way => {}
    }
    bed.open_gate(1000);
    check(
        &lookup(&resolver, "mx.signed.example", "A").await,
        "secure answer",
    );
    assert_eq!(bed.count("mx.signed.example", Rtype::A), 2);
}

#[tokio::test]
async fn a_full_cache_forgets() {
    let bed = Bed::start(world()).await;
    let mut config = bed.config();
    config.cache.entries_max = 4;
    let (resolver, _) = resolver(&config);
    for name in ["a", "b", "c", "d", "e"] {
        lookup(&resolver, &format!("{name}.wild.signed.example"), "A").await;
    }
    lookup(&resolver, "e.wild.signed.example", "A").await;
    assert_eq!(bed.count("e.wild.signed.example", Rtype::A), 1);
    lookup(&resolver, "a.wild.signed.example", "A").await;
    assert_eq!(bed.count("a.wild.signed.example", Rtype::A), 2);
}

/// A clock that is told how much later it is.
pub(crate) struct TestClock {
    later: Mutex<Duration>,
}

impl TestClock {
    pub(crate) fn advance(&self, seconds: u64) {
        *self.later.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        SystemClock.now() + *self.later.lock().unwrap()
    }

    fn monotonic(&self) -> Instant {
        // It stands still but for `advance`, so that remaining times can be compared.
        *START + *self.later.lock().unwrap()
    }
}

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(|| SystemClock.monotonic());

pub(crate) fn resolver(config: &DnsConfig) -> (Resolver, Arc<TestClock>) {
    let clock = Arc::new(TestClock {
        later: Mutex::new(Duration::ZERO),
    });
    let shared: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    (Resolver::new(config, shared).unwrap(), clock)
}
