//! How many round trips stand in sequence.

use std::time::Duration;

use byrnie_base::Security;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use tokio::time::Instant;

use crate::world::FETCH;
use crate::world::ROUND_TRIP;
use crate::world::World;
use crate::world::enforce;
use crate::world::failed;
use crate::world::nothing;
use crate::world::over;
use crate::world::records;
use crate::world::tlsa;

#[tokio::test(start_paused = true)]
async fn a_domain_with_dane_takes_three_round_trips() {
    let world = World::new();
    world
        .dns
        .mx("example.org", Security::Secure, &[(10, "mx.example.org")]);
    world.dns.host("mx.example.org", Security::Secure);
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    check(&world, 3 * ROUND_TRIP).await;
    assert_eq!(
        world.dns.asked(),
        [
            "  0 ms Mx example.org",
            "  0 ms Txt _mta-sts.example.org",
            " 20 ms A mx.example.org",
            " 20 ms Aaaa mx.example.org",
            " 40 ms Tlsa _25._tcp.mx.example.org",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_domain_without_dnssec_takes_two_round_trips() {
    let world = World::new();
    world
        .dns
        .mx("example.org", Security::Insecure, &[(10, "mx.example.org")]);
    world.dns.host("mx.example.org", Security::Insecure);
    check(&world, 2 * ROUND_TRIP).await;
}

#[tokio::test(start_paused = true)]
async fn many_hosts_take_no_longer_than_one() {
    let world = World::new();
    let hosts: Vec<String> = (0..20).map(|n| format!("mx{n}.example.org")).collect();
    let named: Vec<(u16, &str)> = hosts.iter().map(|host| (10, host.as_str())).collect();
    world.dns.mx("example.org", Security::Secure, &named);
    for host in &hosts {
        world.dns.host(host, Security::Secure);
        world.dns.tlsa(host, tlsa(Security::Secure));
    }
    check(&world, 3 * ROUND_TRIP).await;
}

#[tokio::test(start_paused = true)]
async fn the_candidates_of_an_alias_are_asked_for_together() {
    let world = World::new();
    world
        .dns
        .mx("example.org", Security::Secure, &[(10, "mx.example.org")]);
    world.dns.host("mx.example.org", Security::Secure);
    let steps = [(Security::Secure, "mx.example.org", "host.example.net")];
    let address = RecordData::A([192, 0, 2, 9].into());
    let ipv4 = over(records(Security::Secure, vec![address]), &steps);
    let ipv6 = over(nothing(Security::Secure), &steps);
    world.dns.set("mx.example.org", RecordType::A, ipv4);
    world.dns.set("mx.example.org", RecordType::Aaaa, ipv6);
    world
        .dns
        .tlsa("host.example.net", nothing(Security::Secure));
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    check(&world, 3 * ROUND_TRIP).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_fetched_beside_the_lookups_of_the_hosts() {
    let world = World::new();
    world
        .dns
        .mx("example.org", Security::Insecure, &[(10, "mx.example.org")]);
    world.dns.host("mx.example.org", Security::Insecure);
    world.dns.txt("example.org", &["v=STSv1; id=1"]);
    world
        .hosts
        .set("example.org", Ok(enforce("mx.example.org")));
    // The record, then the policy; the hosts are known long before.
    check(&world, ROUND_TRIP + FETCH).await;
    // The second time, the policy is in the cache.
    check(&world, 2 * ROUND_TRIP).await;
    assert_eq!(world.hosts.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_cannot_be_looked_up_takes_one_round_trip() {
    let world = World::new();
    world.dns.set("example.org", RecordType::Mx, failed());
    check(&world, ROUND_TRIP).await;
}

/// Gathers, and compares the time that passed with what it must be.
async fn check(world: &World, expected: Duration) {
    let start = Instant::now();
    world.gather().await;
    let elapsed = start.elapsed();
    // The paused clock moves in steps of a millisecond.
    let tolerance = Duration::from_millis(5);
    assert!(
        elapsed >= expected && elapsed < expected + tolerance,
        "{elapsed:?} instead of {expected:?}: {:#?}",
        world.dns.asked()
    );
}
