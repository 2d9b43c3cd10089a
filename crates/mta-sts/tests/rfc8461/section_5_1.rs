//! Section 5.1: Policy Application Control Flow, and Section 10.2 on what an attacker may not do.

use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_mta_sts::CachedPolicy;
use byrnie_mta_sts::FETCH_FAILURE_MEMORY;
use byrnie_mta_sts::Plan;
use byrnie_mta_sts::PolicyId;
use byrnie_mta_sts::REFRESH_INTERVAL;
use byrnie_mta_sts::REFRESH_JITTER_MAX;
use byrnie_mta_sts::plan;
use proptest::option;
use proptest::prelude::Just;
use proptest::prop_oneof;
use proptest::proptest;

/// When the cached policy was fetched.
const FETCHED: UnixTime = UnixTime(1_000_000);
/// Seconds that a policy usually lives.
const WEEK: u64 = 7 * 24 * 60 * 60;

#[test]
fn a_policy_lives_for_max_age_after_its_fetch() {
    let policy = cached(WEEK);
    assert!(policy.is_alive(FETCHED));
    assert!(policy.is_alive(UnixTime(FETCHED.0 + WEEK - 1)));
    assert!(!policy.is_alive(UnixTime(FETCHED.0 + WEEK)));
    assert!(!cached(0).is_alive(FETCHED));
}

#[test]
fn a_clock_that_was_set_back_does_not_kill_a_policy() {
    assert!(cached(WEEK).is_alive(UnixTime(0)));
}

#[test]
fn a_living_policy_with_the_published_id_is_used() {
    check(Some(WEEK), Some("old"), None, 10, Plan::UseCached);
    check(Some(WEEK), Some("old"), Some(9), 10, Plan::UseCached);
}

#[test]
fn a_missing_or_bad_record_does_not_cancel_a_living_policy() {
    check(Some(WEEK), None, None, 10, Plan::UseCached);
}

#[test]
fn a_changed_id_is_fetched_at_once() {
    check(Some(WEEK), Some("new"), None, 10, Plan::FetchOrUseCached);
}

#[test]
fn a_policy_that_is_dead_or_not_there_is_fetched_if_a_record_promises_one() {
    check(None, Some("new"), None, 10, Plan::Fetch);
    check(Some(5), Some("old"), None, 10, Plan::Fetch);
    check(None, None, None, 10, Plan::NoPolicy);
    check(Some(5), None, None, 10, Plan::NoPolicy);
}

#[test]
fn a_failed_fetch_is_remembered_for_five_minutes() {
    let end = FETCH_FAILURE_MEMORY.as_secs();
    assert_eq!(end, 300);
    let changed = Some("new");
    check(None, changed, Some(0), end - 1, Plan::FailedAlready);
    check(None, changed, Some(0), end, Plan::Fetch);
    check(
        Some(WEEK),
        changed,
        Some(0),
        end - 1,
        Plan::UseCachedAfterFailure,
    );
    check(Some(WEEK), changed, Some(0), end, Plan::FetchOrUseCached);
}

#[test]
fn policies_are_refreshed_daily_and_in_time() {
    let day = REFRESH_INTERVAL.as_secs();
    due(WEEK, 0, day - 1, false);
    due(WEEK, 0, day, true);
    // A policy that lives for a day is fetched again after half of it.
    due(day, 0, day / 2 - 1, false);
    due(day, 0, day / 2, true);
    // Chance makes it earlier, and never by more than it may.
    let jitter = REFRESH_JITTER_MAX.as_secs();
    due(WEEK, jitter, day - jitter - 1, false);
    due(WEEK, jitter, day - jitter, true);
    due(WEEK, 100 * jitter, day - jitter - 1, false);
    due(80, jitter, 29, false);
    due(80, jitter, 30, true);
}

proptest! {
    #[test]
    fn while_a_policy_lives_nothing_that_fails_makes_it_vanish(
        now in 0..WEEK,
        published in option::of(prop_oneof![Just("old"), Just("new")]),
        failed_at in option::of(0..WEEK),
    ) {
        let plan = planned(Some(WEEK), published, failed_at, now);
        assert!(!matches!(plan, Plan::Fetch | Plan::FailedAlready | Plan::NoPolicy), "{plan:?}");
    }

    #[test]
    fn a_policy_is_refreshed_while_it_lives(max_age in 2..WEEK * 52, jitter in 0..WEEK) {
        let policy = cached(max_age);
        let just_before_death = UnixTime(FETCHED.0 + max_age - 1);
        assert!(policy.is_refresh_due(just_before_death, Duration::from_secs(jitter)));
    }
}

#[track_caller]
fn check(
    max_age: Option<u64>,
    published: Option<&str>,
    failed_at: Option<u64>,
    now: u64,
    expected: Plan,
) {
    assert_eq!(planned(max_age, published, failed_at, now), expected);
}

#[track_caller]
fn due(max_age: u64, jitter: u64, age: u64, expected: bool) {
    let now = UnixTime(FETCHED.0 + age);
    let found = cached(max_age).is_refresh_due(now, Duration::from_secs(jitter));
    assert_eq!(found, expected, "max_age {max_age}, age {age}");
}

/// Times are seconds after the fetch of the cached policy, whose id is `old`.
fn planned(
    max_age: Option<u64>,
    published: Option<&str>,
    failed_at: Option<u64>,
    now: u64,
) -> Plan {
    let published: Option<PolicyId> = published.map(|id| id.parse().unwrap());
    plan(
        max_age.map(cached).as_ref(),
        published.as_ref(),
        failed_at.map(|at| UnixTime(FETCHED.0 + at)),
        UnixTime(FETCHED.0 + now),
    )
}

/// A policy that lives for so many seconds.
fn cached(max_age: u64) -> CachedPolicy {
    let body = format!("version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: {max_age}\n");
    let domain = "example".parse().unwrap();
    CachedPolicy::new(domain, "old".parse().unwrap(), FETCHED, body).unwrap()
}
