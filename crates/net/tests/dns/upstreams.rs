//! Upstreams that do not answer, answer with errors, or answer nonsense (behaviour rules 1, 2, 7).

use std::sync::Arc;
use std::time::Duration;

use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::Transport;
use domain::base::Rtype;
use domain::base::iana::Rcode;
use rcgen::CertifiedKey;
use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::bed::Bed;
use crate::bed::Fate;
use crate::bed::Reply;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::check;
use crate::check_reason;
use crate::world;

#[tokio::test]
async fn errors_are_failures_and_never_absence() {
    for (rcode, text) in [
        (Rcode::SERVFAIL, "SERVFAIL"),
        (Rcode::REFUSED, "REFUSED"),
        (Rcode::NOTIMP, "NOTIMP"),
        (Rcode::FORMERR, "FORMERR"),
        (Rcode::YXDOMAIN, "YXDOMAIN"),
    ] {
        let world = world().tamper(move |asked, reply| {
            if asked.rtype == Rtype::TLSA {
                reply.refuse(rcode);
            }
        });
        let bed = Bed::start(world).await;
        let resolver = bed.resolver();
        for zone in ["signed.example", "unsigned.example"] {
            let answer = lookup(&resolver, &format!("_25._tcp.mx.{zone}"), "TLSA").await;
            check(&answer, "failed none");
            check_reason(&answer, text);
            let answer = lookup(&resolver, &format!("mx.{zone}"), "A").await;
            assert!(answer.outcome.is_ok(), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn silence_is_a_failure() {
    check_nonsense(|reply| reply.fate = Fate::Lost, "no answer within 300ms").await;
}

#[tokio::test]
async fn octets_that_are_no_answer_are_a_failure() {
    check_nonsense(|reply| reply.octets = Some(Vec::new()), "no answer").await;
    check_nonsense(|reply| reply.octets = Some(vec![0; 12]), "no answer").await;
    check_nonsense(|reply| reply.octets = Some(vec![0xFF; 600]), "no answer").await;
}

#[tokio::test]
async fn a_broken_message_is_a_failure() {
    let world = world().tamper(|asked, reply| {
        if asked.rtype == Rtype::A {
            // A record of class IN with data that its type forbids.
            let data = domain::rdata::ZoneRecordData::Unknown(
                domain::base::UnknownRecordData::from_octets(Rtype::A, "abc".into()).unwrap(),
            );
            reply.answer[0].data = data;
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("mx.unsigned.example", "A").await;
    check(&answer, "failed none");
    check_reason(&answer, "a record breaks the format of its type");
}

/// Asks for an address that is answered so.
async fn check_nonsense(tamper: impl Fn(&mut Reply) + Send + Sync + 'static, reason: &str) {
    let world = world().tamper(move |asked, reply| {
        if asked.rtype == Rtype::A {
            tamper(reply);
        }
    });
    let bed = Bed::start(world).await;
    let mut config = bed.config();
    config.rounds = 1;
    let answer = lookup(&resolver(&config), "mx.signed.example", "A").await;
    check(&answer, "failed none");
    check_reason(&answer, reason);
}

#[tokio::test]
async fn a_chain_of_trust_that_is_not_to_be_had_is_a_failure_and_not_bogus() {
    for rtype in [Rtype::DS, Rtype::DNSKEY] {
        for rcode in [Some(Rcode::SERVFAIL), None] {
            let world = world().tamper(move |asked, reply| {
                if asked.is("signed.example", rtype) {
                    match rcode {
                        Some(rcode) => reply.refuse(rcode),
                        None => reply.fate = Fate::Lost,
                    }
                }
            });
            let bed = Bed::start(world).await;
            let answer = bed.lookup("mx.signed.example", "A").await;
            check(&answer, "failed none");
            check_reason(&answer, &format!("signed.example. {rtype}"));
        }
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure() {
    let bed = Bed::start(world()).await;
    let mut config = bed.config();
    drop(bed);
    for transport in [Transport::Udp, Transport::Tcp] {
        config.transport = transport;
        let answer = lookup(&resolver(&config), "mx.signed.example", "A").await;
        check(&answer, "failed none");
        check_reason(&answer, &config.upstreams[0].to_string());
    }
}

#[tokio::test]
async fn a_lookup_ends_in_time_however_slow_the_upstream() {
    let bed = Bed::start_gated(world()).await;
    let mut config = bed.config();
    config.attempt_timeout = Duration::from_secs(60);
    config.lookup_timeout = Duration::from_millis(200);
    let begun = SystemClock.monotonic();
    let answer = lookup(&resolver(&config), "mx.signed.example", "A").await;
    check(&answer, "failed none");
    check_reason(&answer, "not done within 200ms");
    let took = SystemClock.monotonic() - begun;
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn what_does_not_fit_into_a_datagram_is_asked_again_over_tcp() {
    let mut all = crate::zones();
    for number in 0..100 {
        all[2].add(&format!("many A 192.0.2.{number}"));
    }
    let bed = Bed::start(crate::bed::World::new(all)).await;
    let resolver = bed.resolver();
    let answer = lookup(&resolver, "many.signed.example", "A").await;
    check(&answer, "secure answer");
    let ways: Vec<bool> = bed
        .asked()
        .iter()
        .filter(|asked| asked.is("many.signed.example", Rtype::A))
        .map(|asked| asked.over_tcp)
        .collect();
    assert_eq!(ways, [false, true]);
    assert_eq!(resolver.stats().snapshot().truncated, 1);
}

#[tokio::test]
async fn tcp_alone_will_do() {
    let bed = Bed::start(world()).await;
    let mut config = bed.config();
    config.transport = Transport::Tcp;
    let resolver = resolver(&config);
    check(
        &lookup(&resolver, "mx.signed.example", "A").await,
        "secure answer",
    );
    check(
        &lookup(&resolver, "no.signed.example", "A").await,
        "secure nxdomain",
    );
    assert!(bed.asked().iter().all(|asked| asked.over_tcp));
}

#[tokio::test]
async fn connections_are_used_again_and_may_end_at_any_time() {
    for fate in [Fate::Sent, Fate::SentLast] {
        let bed = Bed::start(world().tamper(move |_, reply| reply.fate = fate)).await;
        let mut config = bed.config();
        config.transport = Transport::Tcp;
        let resolver = resolver(&config);
        for name in ["a", "b", "c", "d"] {
            let name = format!("{name}.wild.signed.example");
            check(&lookup(&resolver, &name, "A").await, "secure answer");
        }
    }
}

#[tokio::test]
async fn dns_over_tls_needs_the_right_name_and_authority() {
    let own = rcgen::generate_simple_self_signed(["dns.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["dns.test".to_owned()]).unwrap();
    for (name, trusted, expected) in [
        ("dns.test", &own, "secure answer"),
        ("other.test", &own, "failed none"),
        ("dns.test", &other, "failed none"),
    ] {
        let bed = Bed::start_tls(world(), acceptor(&own)).await;
        let mut roots = RootCertStore::empty();
        roots.add(trusted.cert.der().clone()).unwrap();
        let mut config = bed.config();
        config.attempt_timeout = Duration::from_secs(10);
        config.transport = Transport::Tls {
            server_name: name.try_into().unwrap(),
            roots: Arc::new(roots),
        };
        let answer = lookup(&resolver(&config), "mx.signed.example", "A").await;
        check(&answer, expected);
        if expected == "failed none" {
            check_reason(&answer, "certificate");
            assert!(bed.asked().is_empty());
        }
    }
}

/// Shows this certificate.
fn acceptor(own: &CertifiedKey<KeyPair>) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn another_upstream_answers_for_one_that_does_not() {
    let silent = Bed::start(world().tamper(|_, reply| reply.fate = Fate::Lost)).await;
    let good = Bed::start(world()).await;
    let mut config = good.config();
    config.upstreams = vec![silent.address, good.address];
    // The keys are those of the second world.
    let resolver = resolver(&config);
    check(
        &lookup(&resolver, "mx.signed.example", "A").await,
        "secure answer",
    );
    let asked_in_vain = silent.asked().len();
    assert!(asked_in_vain > 0);
    // From now on the first is asked after the others, which is never.
    check(
        &lookup(&resolver, "mx.signed.example", "AAAA").await,
        "secure answer",
    );
    assert_eq!(silent.asked().len(), asked_in_vain);
}

#[tokio::test]
async fn another_upstream_answers_for_one_that_refuses() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTIMP] {
        let refusing = Bed::start(world().tamper(move |_, reply| reply.refuse(rcode))).await;
        let good = Bed::start(world()).await;
        let mut config = good.config();
        config.upstreams = vec![refusing.address, good.address];
        let answer = lookup(&resolver(&config), "mx.signed.example", "A").await;
        check(&answer, "secure answer");
    }
}

#[tokio::test]
async fn questions_that_have_no_answer_are_not_asked() {
    let bed = Bed::start(world()).await;
    let answer = bed.lookup("signed.example", "ANY").await;
    check(&answer, "failed none");
    assert!(bed.asked().is_empty());
}
