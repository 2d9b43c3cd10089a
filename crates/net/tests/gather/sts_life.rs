//! Behaviour rules 22 to 29: the life of MTA-STS policies.

use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Security;
use byrnie_base::UnixTime;
use byrnie_mta_sts::CachedPolicy;
use byrnie_mta_sts::FETCH_FAILURE_MEMORY;
use byrnie_mta_sts::REFRESH_INTERVAL;
use byrnie_net::dns::RecordType;
use byrnie_net::https::HttpsError;
use byrnie_net::sts::CacheError;
use byrnie_net::sts::FetchError;
use byrnie_net::sts::PolicyCache;
use byrnie_net::sts::REFRESH_CONCURRENCY;
use byrnie_net::sts::REFRESH_RETRY;
use byrnie_net::sts::RefreshReport;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsFailure;
use byrnie_policy::StsSource;
use futures_util::future::join_all;

use crate::world::FETCH;
use crate::world::ROUND_TRIP;
use crate::world::World;
use crate::world::bogus;
use crate::world::enforce;
use crate::world::failed;
use crate::world::failure;
use crate::world::name;

/// How long the policies of these tests live.
const WEEK: Duration = Duration::from_secs(604_800);

#[tokio::test(start_paused = true)]
async fn a_domain_without_record_has_no_policy_and_nobody_fetches() {
    let world = World::new();
    assert_eq!(find(&world).await, StsEvidence::Absent);
    world.dns.txt("example.org", &["v=spf1 -all"]);
    assert_eq!(find(&world).await, StsEvidence::Absent);
}

#[tokio::test(start_paused = true)]
async fn rule_22_a_bad_record_does_not_cancel_a_cached_policy() {
    let world = with_policy().await;
    for bad in [
        &[][..],
        &["v=STSv1; id=not an id"],
        &["v=STSv1; id=1", "v=STSv1; id=2"],
    ] {
        world.dns.txt("example.org", bad);
        assert_eq!(source(&find(&world).await), &StsSource::Cached);
    }
    for answer in [failed(), bogus()] {
        let owner = "_mta-sts.example.org";
        world.dns.set(owner, RecordType::Txt, answer);
        assert_eq!(source(&find(&world).await), &StsSource::Cached);
    }
    assert_eq!(world.hosts.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_22_a_bad_record_without_a_cached_policy_is_none_and_says_why() {
    let world = World::new();
    world
        .dns
        .txt("example.org", &["v=STSv1; id=1", "v=STSv1; id=2"]);
    let why = "its TXT record cannot be used: 2 records begin with v=STSv1;";
    let expected = fetch_failed(why, "sts-policy-invalid");
    assert_eq!(find(&world).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_looked_up_is_unknown() {
    let world = World::new();
    let owner = "_mta-sts.example.org";
    world.dns.set(owner, RecordType::Txt, failed());
    let found = world.policies.find(&name("example.org")).await;
    assert_eq!(found.evidence, StsEvidence::RecordUnknown(failure()));
    assert_eq!(found.ttl, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn rule_24_a_policy_is_kept_and_its_age_is_told() {
    let world = with_policy().await;
    world.clock.advance(Duration::from_secs(90));
    match find(&world).await {
        StsEvidence::Policy {
            source,
            age,
            policy,
        } => {
            assert_eq!(source, StsSource::Cached);
            assert_eq!(age, Duration::from_secs(90));
            assert!(policy.permits(&name("mx.example.org")));
        }
        other @ (StsEvidence::NotAsked
        | StsEvidence::Absent
        | StsEvidence::FetchFailed(_)
        | StsEvidence::RecordUnknown(_)
        | StsEvidence::StoreUnreadable(_)) => panic!("{other:?}"),
    }
    assert_eq!(world.hosts.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_24_a_changed_id_is_fetched_at_once() {
    let world = with_policy().await;
    world.dns.txt("example.org", &["v=STSv1; id=2"]);
    world
        .hosts
        .set("example.org", Ok(enforce("new.example.org")));
    let evidence = find(&world).await;
    assert_eq!(source(&evidence), &StsSource::Fetched);
    // It replaced the old one.
    assert_eq!(source(&find(&world).await), &StsSource::Cached);
    let cached = world
        .cache
        .get(&name("example.org"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cached.id.as_str(), "2");
    assert!(cached.policy().permits(&name("new.example.org")));
}

#[tokio::test(start_paused = true)]
async fn rule_24_while_a_policy_lives_a_failed_fetch_leaves_it_in_force() {
    let world = with_policy().await;
    world.dns.txt("example.org", &["v=STSv1; id=2"]);
    world.hosts.set("example.org", Err(FetchError::Status(503)));
    let still = StsSource::CachedAfterFailure(StsFailure {
        why: String::from("the policy host answers with status 503"),
        result_type: "sts-policy-fetch-error",
    });
    assert_eq!(source(&find(&world).await), &still);
    // Within five minutes nobody tries again, and the reason stays.
    assert_eq!(source(&find(&world).await), &still);
    assert_eq!(world.hosts.fetched(), 2);
    world.clock.advance(FETCH_FAILURE_MEMORY);
    assert_eq!(source(&find(&world).await), &still);
    assert_eq!(world.hosts.fetched(), 3);
    // Until the policy dies.
    world.clock.advance(WEEK);
    assert!(matches!(find(&world).await, StsEvidence::FetchFailed(_)));
}

#[tokio::test(start_paused = true)]
async fn rule_25_without_a_cached_policy_a_failed_fetch_is_remembered_for_five_minutes() {
    let world = World::new();
    world.dns.txt("example.org", &["v=STSv1; id=1"]);
    world.hosts.set("example.org", Err(FetchError::Status(404)));
    let none = fetch_failed(
        &FetchError::Status(404).to_string(),
        "sts-policy-fetch-error",
    );
    for _ in 0..3 {
        assert_eq!(find(&world).await, none);
    }
    assert_eq!(world.hosts.fetched(), 1);
    world
        .hosts
        .set("example.org", Ok(enforce("mx.example.org")));
    world
        .clock
        .advance(FETCH_FAILURE_MEMORY - Duration::from_secs(1));
    assert_eq!(find(&world).await, none);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(source(&find(&world).await), &StsSource::Fetched);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_policy_is_a_failed_fetch() {
    let world = World::new();
    world.dns.txt("example.org", &["v=STSv1; id=1"]);
    world
        .hosts
        .set("example.org", Ok(String::from("mode: enforce\n")));
    let why = "the policy file is refused: the field version is missing";
    assert_eq!(find(&world).await, fetch_failed(why, "sts-policy-invalid"));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_cause_one_fetch() {
    for answer in [
        Ok(enforce("mx.example.org")),
        Err(FetchError::Https(HttpsError::TimedOut)),
    ] {
        let world = World::new();
        world.dns.txt("example.org", &["v=STSv1; id=1"]);
        world.hosts.set("example.org", answer.clone());
        let found = join_all((0..50).map(|_| find(&world))).await;
        assert_eq!(world.hosts.fetched(), 1);
        for evidence in found {
            assert_eq!(
                matches!(evidence, StsEvidence::Policy { .. }),
                answer.is_ok()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_26_a_cached_policy_that_names_no_host_is_fetched_once_more() {
    let world = with_policy().await;
    world.dns.mx(
        "example.org",
        Security::Insecure,
        &[(10, "new.example.org")],
    );
    world.dns.host("new.example.org", Security::Insecure);
    world
        .hosts
        .set("example.org", Ok(enforce("new.example.org")));
    // It was fetched a moment ago: not again.
    assert_eq!(source(&world.gather().await.sts), &StsSource::Cached);
    assert_eq!(world.hosts.fetched(), 1);

    world.clock.advance(FETCH_FAILURE_MEMORY);
    assert_eq!(source(&world.gather().await.sts), &StsSource::Fetched);
    assert_eq!(world.hosts.fetched(), 2);

    // A policy that names a host is left alone.
    world.clock.advance(FETCH_FAILURE_MEMORY);
    assert_eq!(source(&world.gather().await.sts), &StsSource::Cached);
    assert_eq!(world.hosts.fetched(), 2);
}

#[tokio::test(start_paused = true)]
async fn rule_26_fetching_once_more_is_rate_limited_even_if_it_fails() {
    let world = with_policy().await;
    world.dns.mx(
        "example.org",
        Security::Insecure,
        &[(10, "new.example.org")],
    );
    world.dns.host("new.example.org", Security::Insecure);
    world
        .hosts
        .set("example.org", Err(FetchError::Https(HttpsError::TimedOut)));
    world.clock.advance(FETCH_FAILURE_MEMORY);
    let still = StsSource::CachedAfterFailure(StsFailure {
        why: FetchError::Https(HttpsError::TimedOut).to_string(),
        result_type: "sts-policy-fetch-error",
    });
    assert_eq!(source(&world.gather().await.sts), &still);
    assert_eq!(source(&world.gather().await.sts), &StsSource::Cached);
    assert_eq!(world.hosts.fetched(), 2);
}

#[tokio::test(start_paused = true)]
async fn rule_29_a_cache_that_cannot_be_read_is_not_an_empty_one() {
    let world = World::with_cache(BrokenCache);
    for texts in [&[][..], &["v=STSv1; id=1"]] {
        world.dns.txt("example.org", texts);
        let found = world.policies.find(&name("example.org")).await;
        let why = String::from("disk I/O error");
        assert_eq!(found.evidence, StsEvidence::StoreUnreadable(why));
        assert_eq!(found.ttl, Duration::ZERO);
    }
    assert!(world.policies.refresh_due().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_fetched_policy_that_cannot_be_kept_holds_all_the_same() {
    let world = World::with_cache(FullCache);
    world.dns.txt("example.org", &["v=STSv1; id=1"]);
    world
        .hosts
        .set("example.org", Ok(enforce("mx.example.org")));
    let found = world.policies.find(&name("example.org")).await;
    assert_eq!(source(&found.evidence), &StsSource::Fetched);
}

#[tokio::test(start_paused = true)]
async fn rule_24_policies_are_refreshed_ahead_whatever_their_id() {
    let world = with_policy().await;
    assert_eq!(refresh(&world).await, RefreshReport::default());
    world.clock.advance(REFRESH_INTERVAL);
    // Even a record that has vanished does not keep a policy from being renewed.
    for texts in [&["v=STSv1; id=1"][..], &[]] {
        world.dns.txt("example.org", texts);
        let report = RefreshReport {
            refreshed: 1,
            ..RefreshReport::default()
        };
        assert_eq!(refresh(&world).await, report);
        assert_eq!(refresh(&world).await, RefreshReport::default());
        world.clock.advance(REFRESH_INTERVAL);
    }
    let cached = world
        .cache
        .get(&name("example.org"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cached.id.as_str(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_refreshed_is_left_alone_for_an_hour_and_forgotten_when_dead() {
    let world = with_policy().await;
    world.clock.advance(REFRESH_INTERVAL);
    world
        .hosts
        .set("example.org", Err(FetchError::Https(HttpsError::TimedOut)));
    let failed = RefreshReport {
        failed: 1,
        ..RefreshReport::default()
    };
    assert_eq!(refresh(&world).await, failed);
    assert_eq!(refresh(&world).await, RefreshReport::default());
    world.clock.advance(REFRESH_RETRY);
    assert_eq!(refresh(&world).await, failed);
    world.clock.advance(WEEK);
    let forgotten = RefreshReport {
        forgotten: 1,
        ..RefreshReport::default()
    };
    assert_eq!(refresh(&world).await, forgotten);
    assert_eq!(world.cache.get(&name("example.org")).await, Ok(None));
}

/// A round of refreshing may take hours; a policy that has expired at its start may be alive again
/// when its turn comes, and whoever blocks the policy host then must not take it away.
#[tokio::test(start_paused = true)]
async fn rule_24_a_policy_that_came_back_during_a_round_is_not_forgotten() {
    let world = with_policy().await;
    world.clock.advance(WEEK);
    let mail = async {
        let found = find(&world).await;
        assert_eq!(source(&found), &StsSource::Fetched);
        world
            .hosts
            .set("example.org", Err(FetchError::Https(HttpsError::TimedOut)));
    };
    // The mail holds the domain's place when the round comes to it.
    let ((), report) = tokio::join!(mail, async {
        tokio::time::sleep(ROUND_TRIP + FETCH / 2).await;
        refresh(&world).await
    });
    assert_eq!(report, RefreshReport::default());
    assert_eq!(source(&find(&world).await), &StsSource::Cached);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_policies_are_refreshed_side_by_side() {
    let world = World::new();
    for number in 0..3 * REFRESH_CONCURRENCY {
        let domain = format!("d{number}.example");
        world.dns.txt(&domain, &["v=STSv1; id=1"]);
        world.hosts.set(&domain, Ok(enforce("mx.example.org")));
        let cached = CachedPolicy::new(
            name(&domain),
            "1".parse().unwrap(),
            UnixTime(1_800_000_000),
            enforce("mx.example.org"),
        );
        world.cache.put(cached.unwrap()).await.unwrap();
    }
    world.clock.advance(REFRESH_INTERVAL);
    let report = refresh(&world).await;
    assert_eq!(
        report.refreshed,
        3 * u32::try_from(REFRESH_CONCURRENCY).unwrap()
    );
    let side_by_side = usize::try_from(world.hosts.side_by_side()).unwrap();
    assert_eq!(side_by_side, REFRESH_CONCURRENCY);
}

/// A world in which `example.org` has a policy with id 1, just fetched.
async fn with_policy() -> World {
    let world = World::new();
    world.dns.txt("example.org", &["v=STSv1; id=1"]);
    world
        .hosts
        .set("example.org", Ok(enforce("mx.example.org")));
    assert_eq!(source(&find(&world).await), &StsSource::Fetched);
    world
}

/// What is known about the policy of `example.org`.
async fn find(world: &World) -> StsEvidence {
    world.policies.find(&name("example.org")).await.evidence
}

/// One round of refreshing.
async fn refresh(world: &World) -> RefreshReport {
    world.policies.refresh_due().await.unwrap()
}

/// Where a policy came from.
#[track_caller]
fn source(evidence: &StsEvidence) -> &StsSource {
    match evidence {
        StsEvidence::Policy { source, .. } => source,
        StsEvidence::NotAsked
        | StsEvidence::Absent
        | StsEvidence::FetchFailed(_)
        | StsEvidence::RecordUnknown(_)
        | StsEvidence::StoreUnreadable(_) => panic!("{evidence:?}"),
    }
}

/// A cache that cannot be read.
struct BrokenCache;

/// A cache that is empty and takes nothing.
struct FullCache;

/// The error of a cache that is out of order.
fn broken() -> CacheError {
    CacheError {
        why: String::from("disk I/O error"),
    }
}

impl PolicyCache for BrokenCache {
    async fn get(&self, _: &DomainName) -> Result<Option<CachedPolicy>, CacheError> {
        Err(broken())
    }

    async fn put(&self, _: CachedPolicy) -> Result<(), CacheError> {
        Err(broken())
    }

    async fn remove(&self, _: &DomainName) -> Result<(), CacheError> {
        Err(broken())
    }

    async fn stale(&self, _: UnixTime, _: u32) -> Result<Vec<CachedPolicy>, CacheError> {
        Err(broken())
    }
}

impl PolicyCache for FullCache {
    async fn get(&self, _: &DomainName) -> Result<Option<CachedPolicy>, CacheError> {
        Ok(None)
    }

    async fn put(&self, _: CachedPolicy) -> Result<(), CacheError> {
        Err(broken())
    }

    async fn remove(&self, _: &DomainName) -> Result<(), CacheError> {
        Ok(())
    }

    async fn stale(&self, _: UnixTime, _: u32) -> Result<Vec<CachedPolicy>, CacheError> {
        Ok(Vec::new())
    }
}

/// A promised policy that could not be had.
fn fetch_failed(why: &str, result_type: &'static str) -> StsEvidence {
    StsEvidence::FetchFailed(StsFailure {
        why: why.to_owned(),
        result_type,
    })
}
