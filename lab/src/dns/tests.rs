//! The zones as a validating client sees them.
//!
//! The validator here is that of the `domain` crate, with which the lab's signer shares nothing.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use domain::base::Message;
use domain::base::MessageBuilder;
use domain::base::iana::Rcode;
use domain::dnssec::validator::anchor::TrustAnchors;
use domain::dnssec::validator::context::ValidationContext;
use domain::dnssec::validator::context::ValidationState;
use domain::net::client::dgram_stream;
use domain::net::client::protocol::TcpConnect;
use domain::net::client::protocol::UdpConnect;
use domain::net::client::request::ComposeRequest;
use domain::net::client::request::RequestMessage;
use domain::net::client::request::SendRequest;

use super::*;
use crate::address::AddressPlan;

const NSEC3: Signing = Signing::Signed(Denial::Nsec3 {
    iterations: 0,
    opt_out: OptOut::No,
});
const OPT_OUT: Signing = Signing::Signed(Denial::Nsec3 {
    iterations: 0,
    opt_out: OptOut::Yes,
});

#[tokio::test]
async fn what_signed_zones_say_validates_under_every_way_of_proving_absence() {
    let bench = Bench::start().await;
    for top in ["nsec", "nsec3", "optout"] {
        for domain in ["a", "b"] {
            let domain = format!("{domain}.{top}");
            for (name, rtype, rcode) in [
                (domain.clone(), Rtype::MX, Rcode::NOERROR),
                (domain.clone(), Rtype::TXT, Rcode::NOERROR),
                (domain.clone(), Rtype::DS, Rcode::NOERROR),
                (domain.clone(), Rtype::DNSKEY, Rcode::NOERROR),
                (format!("mx.{domain}"), Rtype::A, Rcode::NOERROR),
                (format!("mx.{domain}"), Rtype::AAAA, Rcode::NOERROR),
                // An empty non-terminal.
                (format!("_tcp.mx.{domain}"), Rtype::TLSA, Rcode::NOERROR),
                (format!("_25._tcp.mx.{domain}"), Rtype::TLSA, Rcode::NOERROR),
                (
                    format!("_26._tcp.mx.{domain}"),
                    Rtype::TLSA,
                    Rcode::NXDOMAIN,
                ),
                (format!("none.{domain}"), Rtype::A, Rcode::NXDOMAIN),
                (format!("a.b.c.{domain}"), Rtype::A, Rcode::NXDOMAIN),
                // Wildcards: RFC 4592.
                (format!("x.wild.{domain}"), Rtype::A, Rcode::NOERROR),
                (format!("x.y.wild.{domain}"), Rtype::A, Rcode::NOERROR),
                (format!("x.wild.{domain}"), Rtype::AAAA, Rcode::NOERROR),
                (format!("x.hosts.{domain}"), Rtype::A, Rcode::NOERROR),
                // An alias into another zone.
                (format!("alias.{domain}"), Rtype::A, Rcode::NOERROR),
                (format!("alias.{domain}"), Rtype::AAAA, Rcode::NOERROR),
            ] {
                bench.check(&name, rtype, rcode, "secure").await;
            }
        }
    }
}

#[tokio::test]
async fn an_unsigned_zone_is_provably_unsigned_under_every_way_of_proving_absence() {
    let bench = Bench::start().await;
    for top in ["nsec", "nsec3", "optout"] {
        let expected = "insecure";
        for (name, rtype, rcode) in [
            (format!("u.{top}"), Rtype::MX, Rcode::NOERROR),
            (format!("mx.u.{top}"), Rtype::AAAA, Rcode::NOERROR),
            (format!("none.u.{top}"), Rtype::A, Rcode::NXDOMAIN),
        ] {
            bench.check(&name, rtype, rcode, expected).await;
        }
    }
    bench
        .check("u.nsec", Rtype::DS, Rcode::NOERROR, "secure")
        .await;
    bench
        .check("u.nsec3", Rtype::DS, Rcode::NOERROR, "secure")
        .await;
}

#[tokio::test]
async fn a_fault_in_a_signature_is_bogus_and_ends_when_it_is_cleared() {
    let bench = Bench::start().await;
    for fault in [
        DnsFault::BogusSignature,
        DnsFault::ExpiredSignature,
        DnsFault::FutureSignature,
        DnsFault::StrippedSignature,
        DnsFault::Forged(vec![Ipv4Addr::LOCALHOST.octets().to_vec()]),
    ] {
        for (name, rtype) in [
            ("mx.a.nsec", Rtype::A),
            ("mx.a.nsec", Rtype::AAAA),
            ("none.b.nsec3", Rtype::A),
        ] {
            if matches!(fault, DnsFault::Forged(_)) && rtype != Rtype::A {
                continue;
            }
            bench
                .zones
                .set_fault(name, Some(rtype), fault.clone())
                .unwrap();
            assert_eq!(
                bench.status(name, rtype).await.1,
                "bogus",
                "{fault:?} {name}"
            );
            bench.zones.clear_faults(name).unwrap();
            assert_eq!(bench.status(name, rtype).await.1, "secure", "{name}");
        }
    }
}

#[tokio::test]
async fn a_fault_at_the_end_of_an_alias_makes_the_whole_answer_bogus() {
    let bench = Bench::start().await;
    let fault = DnsFault::BogusSignature;
    bench
        .zones
        .set_fault("mx.a.nsec", Some(Rtype::A), fault)
        .unwrap();
    bench
        .check("alias.b.nsec3", Rtype::A, Rcode::NOERROR, "bogus")
        .await;
    bench
        .check("alias.b.nsec3", Rtype::AAAA, Rcode::NOERROR, "secure")
        .await;
}

#[tokio::test]
async fn codes_are_served_and_silence_is_silence() {
    let bench = Bench::start().await;
    for rcode in [Rcode::SERVFAIL, Rcode::NOTIMP, Rcode::REFUSED] {
        let fault = DnsFault::Code(rcode);
        bench.zones.set_fault("mx.a.nsec", None, fault).unwrap();
        let answer = bench
            .ask("mx.a.nsec", Rtype::A, Asked::Plain)
            .await
            .unwrap();
        assert_eq!(answer.header().rcode(), rcode);
    }
    bench
        .zones
        .set_fault("mx.a.nsec", Some(Rtype::A), DnsFault::Silent)
        .unwrap();
    let asking = bench.ask("mx.a.nsec", Rtype::A, Asked::Plain);
    let silence = tokio::time::timeout(Duration::from_millis(200), asking).await;
    assert!(silence.is_err());
    let queries = bench.server.queries();
    assert_eq!(queries.len(), 4, "the log counts what was not answered too");
}

#[tokio::test]
async fn a_truncated_answer_comes_whole_over_tcp() {
    let bench = Bench::start().await;
    bench
        .zones
        .set_fault("mx.a.nsec", Some(Rtype::A), DnsFault::Truncated)
        .unwrap();
    bench
        .check("mx.a.nsec", Rtype::A, Rcode::NOERROR, "secure")
        .await;
    let over_tcp = |query: &Query| query.transport == Transport::Tcp && query.rtype == Rtype::A;
    assert!(bench.server.queries().iter().any(over_tcp));
}

#[tokio::test]
async fn a_long_answer_is_cut_to_what_the_client_takes() {
    let bench = Bench::start().await;
    let set = RecordSet::txt(1, &"x".repeat(3000));
    bench.zones.set("long.a.nsec", set).unwrap();
    let cut = bench
        .ask("long.a.nsec", Rtype::TXT, Asked::Dnssec)
        .await
        .unwrap();
    assert!(cut.header().tc());
    assert!(cut.as_slice().len() <= 1232);
    bench
        .check("long.a.nsec", Rtype::TXT, Rcode::NOERROR, "secure")
        .await;
}

#[tokio::test]
async fn without_the_do_bit_there_are_no_signatures_and_no_proofs() {
    let bench = Bench::start().await;
    for (name, answers, authorities) in [("mx.a.nsec", 1, 0), ("none.a.nsec3", 0, 1)] {
        let answer = bench.ask(name, Rtype::A, Asked::Plain).await.unwrap();
        let counts = answer.header_counts();
        assert_eq!(
            (counts.ancount(), counts.nscount()),
            (answers, authorities),
            "{name}"
        );
        assert!(answer.header().ra());
    }
}

#[tokio::test]
async fn answers_are_as_late_as_the_simulated_round_trip() {
    let bench = Bench::start().await;
    let delay = Duration::from_millis(60);
    bench.server.set_delay(delay);
    let before = tokio::time::Instant::now();
    bench
        .ask("mx.a.nsec", Rtype::A, Asked::Plain)
        .await
        .unwrap();
    assert!(before.elapsed() >= delay);
    let one = bench.ask("mx.a.nsec", Rtype::A, Asked::Plain);
    let other = bench.ask("mx.b.nsec", Rtype::A, Asked::Plain);
    tokio::join!(one, other);
    assert_eq!(bench.server.round_trips(Duration::ZERO, delay), 2);
    assert_eq!(bench.server.queries().len(), 3);
}

#[tokio::test]
async fn records_change_while_they_are_served() {
    let bench = Bench::start().await;
    let count = async |bench: &Bench| {
        let answer = bench
            .ask("new.a.nsec3", Rtype::A, Asked::Plain)
            .await
            .unwrap();
        answer.header_counts().ancount()
    };
    assert_eq!(count(&bench).await, 0);
    bench
        .zones
        .set_address("new.a.nsec3", Ipv4Addr::LOCALHOST)
        .unwrap();
    assert_eq!(count(&bench).await, 1);
    bench.zones.remove("new.a.nsec3", Rtype::A).unwrap();
    assert_eq!(count(&bench).await, 0);
}

#[test]
fn a_key_tag_agrees_with_the_one_that_is_computed_elsewhere() {
    for _ in 0..20 {
        let key = ZoneKey::generate().unwrap();
        let rdata = key.dnskey();
        let theirs = domain::rdata::Dnskey::new(
            u16::from_be_bytes([rdata[0], rdata[1]]),
            rdata[2],
            domain::base::iana::SecurityAlgorithm::from_int(rdata[3]),
            rdata[4..].to_vec(),
        );
        assert_eq!(key.tag(), theirs.unwrap().key_tag());
    }
}

/// How a question is asked.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Asked {
    /// Without EDNS.
    Plain,
    /// With the DO bit.
    Dnssec,
}

/// A server with zones of every kind.
struct Bench {
    zones: Zones,
    server: DnsServer,
    address: SocketAddr,
}

impl Bench {
    async fn start() -> Self {
        let zones = Zones::new().unwrap();
        for (top, signing) in [
            ("nsec", Signing::Signed(Denial::Nsec)),
            ("nsec3", NSEC3),
            ("optout", OPT_OUT),
        ] {
            zones.add_zone(top, signing).unwrap();
            for (label, signing) in [
                ("a", Signing::Signed(Denial::Nsec)),
                ("b", NSEC3),
                ("u", Signing::Unsigned),
            ] {
                fill(&zones, &format!("{label}.{top}"), signing);
            }
        }
        let mut plan = AddressPlan::draw().unwrap();
        let address = SocketAddr::from((IpAddr::from(plan.draw_address().unwrap()), plan.dns_port));
        let server = DnsServer::start(address, zones.clone()).await.unwrap();
        Self {
            zones,
            server,
            address,
        }
    }

    /// One datagram there and one back.
    async fn ask(&self, name: &str, rtype: Rtype, asked: Asked) -> Option<Message<Vec<u8>>> {
        let mut query = MessageBuilder::new_vec().question();
        query.push((dns_name(name).unwrap(), rtype)).unwrap();
        let mut query = query.additional();
        if asked == Asked::Dnssec {
            query
                .opt(|opt| {
                    opt.set_udp_payload_size(1232);
                    opt.set_dnssec_ok(true);
                    Ok(())
                })
                .unwrap();
        }
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket
            .send_to(query.as_slice(), self.address)
            .await
            .unwrap();
        let mut buffer = vec![0; 65_535];
        let length = socket.recv(&mut buffer).await.unwrap();
        buffer.truncate(length);
        Message::from_octets(buffer).ok()
    }

    /// What a validator makes of the answer.
    async fn status(&self, name: &str, rtype: Rtype) -> (Rcode, &'static str) {
        let (connection, transport) = dgram_stream::Connection::<_, RequestMessage<Vec<u8>>>::new(
            UdpConnect::new(self.address),
            TcpConnect::new(self.address),
        );
        tokio::spawn(transport.run());
        let mut query = MessageBuilder::new_vec();
        query.header_mut().set_rd(true);
        let mut query = query.question();
        query.push((dns_name(name).unwrap(), rtype)).unwrap();
        let mut request = RequestMessage::new(query).unwrap();
        request.set_dnssec_ok(true);
        request.set_udp_payload_size(1232);
        let mut reply = connection
            .send_request(request)
            .get_response()
            .await
            .unwrap();
        let anchors = TrustAnchors::from_u8(self.zones.trust_anchor().unwrap().as_bytes()).unwrap();
        let context = ValidationContext::new(anchors, connection);
        let (state, _) = context
            .validate_msg::<_, Vec<u8>>(&mut reply)
            .await
            .unwrap();
        let word = match state {
            ValidationState::Secure => "secure",
            ValidationState::Insecure => "insecure",
            ValidationState::Bogus => "bogus",
            ValidationState::Indeterminate => "indeterminate",
        };
        (reply.header().rcode(), word)
    }

    async fn check(&self, name: &str, rtype: Rtype, rcode: Rcode, expected: &str) {
        let (got_rcode, got) = self.status(name, rtype).await;
        assert_eq!((got_rcode, got), (rcode, expected), "{name} {rtype}");
    }
}

fn fill(zones: &Zones, domain: &str, signing: Signing) {
    zones.add_zone(domain, signing).unwrap();
    let mx = RecordSet::mx(60, &[(10, &format!("mx.{domain}"))]).unwrap();
    zones.set(domain, mx).unwrap();
    let address = Ipv4Addr::new(127, 0, 0, 9);
    zones.set_address(&format!("mx.{domain}"), address).unwrap();
    zones
        .set_address(&format!("*.wild.{domain}"), address)
        .unwrap();
    let alias = RecordSet::cname(60, &format!("mx.{domain}")).unwrap();
    zones.set(&format!("*.hosts.{domain}"), alias).unwrap();
    let alias = RecordSet::cname(60, "mx.a.nsec").unwrap();
    zones.set(&format!("alias.{domain}"), alias).unwrap();
    let tlsa = TlsaData {
        usage: 3,
        selector: 1,
        matching_type: 1,
        data: vec![1; 32],
    };
    let owner = format!("_25._tcp.mx.{domain}");
    zones.set(&owner, RecordSet::tlsa(60, &[tlsa])).unwrap();
}
