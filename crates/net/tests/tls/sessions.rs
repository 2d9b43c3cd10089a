//! Which sessions are resumed, and what is proven of them.

use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_policy::TlsRequirement;
use rustls::HandshakeKind;
use rustls::version::TLS12;
use rustls::version::TLS13;

use crate::tls::support::Authority;
use crate::tls::support::HOST;
use crate::tls::support::Host;
use crate::tls::support::NOW;
use crate::tls::support::dane;
use crate::tls::support::expires_after;
use crate::tls::support::host_name;
use crate::tls::support::meet_at;
use crate::tls::support::mta_sts;

/// A resumed session shows no certificate, so what was proven under one requirement must never be
/// taken for another.
#[tokio::test]
async fn a_session_is_resumed_for_exactly_the_host_and_the_requirement_that_it_was_made_for() {
    let authority = Authority::new();
    let host = authority.issue(&[HOST], |_| ());
    let requirements = [
        TlsRequirement::Opportunistic,
        TlsRequirement::Encrypt,
        mta_sts(),
        dane(&[host.tlsa("3 1 1", 0)]),
        dane(&[host.tlsa("3 0 1", 0)]),
        dane(&[host.tlsa("2 1 1", 1)]),
    ];
    let other: DomainName = "other.example.org".parse().unwrap();
    for made_for in &requirements {
        for asked_for in &requirements {
            for (mx_host, same_host) in [(host_name(), true), (other.clone(), false)] {
                let client = authority.client();
                let acceptor = Host::new(&host).acceptor(&[&TLS13]);
                let first = meet_at(&client, &acceptor, made_for, &host_name(), NOW).await;
                let second = meet_at(&client, &acceptor, asked_for, &mx_host, NOW).await;
                let expected = match same_host && made_for == asked_for {
                    true => HandshakeKind::Resumed,
                    false => HandshakeKind::Full,
                };
                let words = format!("{made_for:?}, then {asked_for:?} with {mx_host}");
                assert_eq!(second.1, Some(expected), "{words}");
                let (first, second) = (first.0.unwrap(), second.0.unwrap());
                assert!(second.clearance.is_for(asked_for), "{words}");
                if expected == HandshakeKind::Resumed {
                    assert_eq!(second.facts, first.facts, "{words}");
                }
            }
        }
    }
}

/// Their keys would be those of the server's tickets.
#[tokio::test]
async fn sessions_of_tls_1_2_are_not_resumed() {
    let authority = Authority::new();
    let host = authority.issue(&[HOST], |_| ());
    let (client, acceptor) = (authority.client(), Host::new(&host).acceptor(&[&TLS12]));
    for _ in 0..2 {
        let met = meet_at(&client, &acceptor, &mta_sts(), &host_name(), NOW).await;
        assert_eq!(met.1, Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_host_shows_its_certificate_again_after_ten_minutes() {
    let authority = Authority::new();
    let host = authority.issue(&[HOST], |_| ());
    let (client, acceptor) = (authority.client(), Host::new(&host).acceptor(&[&TLS13]));
    for (seconds, expected) in [
        (0, HandshakeKind::Full),
        (599, HandshakeKind::Resumed),
        (600, HandshakeKind::Full),
        // The clock was set back.
        (300, HandshakeKind::Full),
    ] {
        let now = NOW + Duration::from_secs(seconds);
        let met = meet_at(&client, &acceptor, &mta_sts(), &host_name(), now).await;
        assert_eq!(met.1, Some(expected), "{seconds}");
    }
}

#[tokio::test]
async fn what_was_shown_is_judged_again_when_a_session_is_resumed() {
    let authority = Authority::new();
    let host = authority.issue(&[HOST], |params| {
        expires_after(params, Duration::from_secs(60));
    });
    for requirement in [mta_sts(), dane(&[host.tlsa("2 1 1", 1)])] {
        let (client, acceptor) = (authority.client(), Host::new(&host).acceptor(&[&TLS13]));
        for (seconds, expected) in [(0, None), (30, None), (90, Some("certificate-expired"))] {
            let now = NOW + Duration::from_secs(seconds);
            let met = meet_at(&client, &acceptor, &requirement, &host_name(), now).await;
            let failure = met.0.err().map(|failure| failure.result_type());
            assert_eq!(failure, expected, "{requirement:?} after {seconds} s");
        }
        // What has failed is not resumed again: the host may have a new certificate by now.
        let now = NOW + Duration::from_secs(30);
        let met = meet_at(&client, &acceptor, &requirement, &host_name(), now).await;
        assert_eq!(met.1, Some(HandshakeKind::Full));
    }
}
