//! Connections that are kept: for whom, for how long, and how many.

use std::net::SocketAddr;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_net::clock::SystemClock;
use byrnie_net::smtp::client::AttemptFault;
use byrnie_net::smtp::client::ConnectionPool;
use byrnie_net::smtp::client::Lease;
use byrnie_net::smtp::client::Origin;
use byrnie_net::smtp::client::PoolLimits;
use byrnie_policy::RequireTls;
use byrnie_policy::Requirement;
use byrnie_policy::StsObservation;
use byrnie_policy::TlsRequirement;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::support::Line;
use super::support::Listening;
use super::support::PATIENCE;
use super::support::Stage;
use super::support::client;
use super::support::host;
use super::support::requirement;
use super::support::transaction;

/// Invariant 6: connections are shared only between equal requirements.
#[tokio::test]
async fn a_connection_is_used_again_only_for_exactly_what_it_was_made_for() {
    let opportunistic = requirement(TlsRequirement::Opportunistic);
    let encrypt = requirement(TlsRequirement::Encrypt);
    let require_tls = Requirement {
        require_tls: RequireTls::Demanded,
        ..encrypt.clone()
    };
    let watched = Requirement {
        sts_observation: StsObservation::Watch,
        ..encrypt.clone()
    };
    let certified = requirement(TlsRequirement::MtaSts { mx_host: host() });
    let all = [opportunistic, encrypt, require_tls, watched, certified];
    for made_for in &all {
        for asked_for in &all {
            let expected = match (made_for == asked_for, &asked_for.tls) {
                // Nobody vouches for the host's certificate.
                (_, TlsRequirement::MtaSts { .. }) => None,
                (true, _) => Some(Origin::Kept),
                (false, _) => Some(Origin::New),
            };
            check(made_for, asked_for, Some(host()), expected).await;
        }
    }
    let encrypt = requirement(TlsRequirement::Encrypt);
    let other = "other.example.org".parse().unwrap();
    check(&encrypt, &encrypt, Some(other), Some(Origin::New)).await;
    check(&encrypt, &encrypt, None, Some(Origin::New)).await;
}

#[tokio::test]
async fn a_connection_to_another_address_is_another_one() {
    let demand = requirement(TlsRequirement::Opportunistic);
    let (one, other) = (Listening::plain().await, Listening::plain().await);
    let pool = pool(PoolLimits::default());
    reach(&pool, &[one.address], &demand).await.give_back();
    let lease = reach(&pool, &[other.address], &demand).await;
    assert_eq!(lease.origin(), Origin::New);
    // Whichever of a host's addresses it leads to, a kept one goes before a new one.
    let lease = reach(&pool, &[other.address, one.address], &demand).await;
    assert_eq!(
        (lease.origin(), lease.channel().address),
        (Origin::Kept, one.address)
    );
}

#[tokio::test]
async fn a_connection_is_kept_for_so_many_messages_and_so_long() {
    let with = |change: fn(&mut PoolLimits)| {
        let mut limits = PoolLimits::default();
        change(&mut limits);
        limits
    };
    for (limits, expected) in [
        (PoolLimits::default(), Origin::Kept),
        (with(|limits| limits.messages_max = 1), Origin::New),
        (with(|limits| limits.age_max = Duration::ZERO), Origin::New),
        (
            with(|limits| limits.ready_time_max = Duration::ZERO),
            Origin::New,
        ),
        (with(|limits| limits.ready_max = 0), Origin::New),
    ] {
        let listening = Listening::plain().await;
        let pool = pool(limits);
        let demand = requirement(TlsRequirement::Opportunistic);
        let mut lease = reach(&pool, &[listening.address], &demand).await;
        send(&mut lease).await;
        lease.give_back();
        let mut lease = reach(&pool, &[listening.address], &demand).await;
        assert_eq!(lease.origin(), expected, "{limits:?}");
        send(&mut lease).await;
        assert_eq!(listening.mailroom.kept().len(), 2);
    }
}

#[tokio::test]
async fn what_stands_ready_for_too_long_or_at_the_end_takes_its_leave() {
    for ready_time_max in [Duration::ZERO, Duration::from_secs(3_600)] {
        let stage = Stage::with(|mut line: Line| async move {
            greet(&mut line).await;
            line.hear("QUIT").await;
            line.say("221 bye\r\n").await;
        })
        .await;
        let pool = pool(PoolLimits {
            ready_time_max,
            ..PoolLimits::default()
        });
        let demand = requirement(TlsRequirement::Opportunistic);
        reach(&pool, &[stage.address], &demand).await.give_back();
        match ready_time_max {
            Duration::ZERO => pool.tidy(),
            _ => pool.close().await,
        }
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_connection_that_the_host_has_closed_is_not_given_out() {
    let demand = requirement(TlsRequirement::Opportunistic);
    let scene = |mut line: Line| async move {
        greet(&mut line).await;
        take_message(&mut line).await;
        line.say("421 4.4.2 idle for too long\r\n").await;
    };
    let second = |mut line: Line| async move { greet(&mut line).await };
    let stage = Stage::with_two(Some(scene), Some(second)).await;
    let pool = pool(PoolLimits::default());
    let mut lease = reach(&pool, &[stage.address], &demand).await;
    send(&mut lease).await;
    lease.give_back();
    let seen = async {
        // Until the news has come, nobody can know.
        loop {
            let lease = reach(&pool, &[stage.address], &demand).await;
            match lease.origin() {
                Origin::Kept => lease.give_back(),
                Origin::New => break,
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn a_kept_connection_that_turns_out_to_be_closed_is_replaced() {
    let demand = requirement(TlsRequirement::Opportunistic);
    for last_words in ["", "421 4.4.2 idle for too long\r\n"] {
        let first = move |mut line: Line| async move {
            greet(&mut line).await;
            take_message(&mut line).await;
            line.hear("MAIL").await;
            line.say(last_words).await;
        };
        let second = |mut line: Line| async move {
            greet(&mut line).await;
            take_message(&mut line).await;
        };
        let stage = Stage::with_two(Some(first), Some(second)).await;
        let pool = pool(PoolLimits::default());
        let mut lease = reach(&pool, &[stage.address], &demand).await;
        send(&mut lease).await;
        lease.give_back();
        let mut lease = reach(&pool, &[stage.address], &demand).await;
        let message = transaction(&["b@example.org"]);
        let failure = lease.send(message, &b"x"[..]).await.unwrap_err();
        assert!(lease.was_closed_before(&failure), "{failure}");
        let reached = pool.reach_anew(lease, Some(&host()), &demand).await;
        let mut lease = reached.lease.unwrap();
        assert_eq!(lease.origin(), Origin::New);
        send(&mut lease).await;
        stage.finish().await;
    }
}

/// A message that was begun may have arrived, and a new host that closes is one that is not well.
#[tokio::test]
async fn no_other_failure_is_taken_for_a_connection_that_was_closed_before() {
    let demand = requirement(TlsRequirement::Opportunistic);
    for (messages, said) in [
        (0, &[][..]),
        (1, &["250 ok\r\n"][..]),
        (1, &["250 ok\r\n", "250 ok\r\n"][..]),
        (1, &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"][..]),
        (1, &["nonsense\r\n"][..]),
    ] {
        let stage = Stage::with(move |mut line: Line| async move {
            greet(&mut line).await;
            for _ in 0..messages {
                take_message(&mut line).await;
            }
            for reply in said {
                line.hear("").await;
                line.say(reply).await;
            }
            line.hear("").await;
        })
        .await;
        let pool = pool(PoolLimits::default());
        let mut lease = reach(&pool, &[stage.address], &demand).await;
        for _ in 0..messages {
            send(&mut lease).await;
            lease.give_back();
            lease = reach(&pool, &[stage.address], &demand).await;
            assert_eq!(lease.origin(), Origin::Kept);
        }
        let message = transaction(&["b@example.org"]);
        let failure = lease.send(message, &b"x"[..]).await.unwrap_err();
        assert!(!lease.was_closed_before(&failure), "{said:?}: {failure}");
        drop(lease);
        stage.finish().await;
    }
}

/// Else whoever disturbs one handshake gets the mail of minutes in clear text.
#[tokio::test]
async fn a_connection_in_clear_text_after_a_failure_of_tls_is_not_kept() {
    let first = |mut line: Line| async move {
        hear_starttls(&mut line).await;
        line.say("220 go\r\n").await;
    };
    let second = |mut line: Line| async move {
        greet(&mut line).await;
        line.hear("QUIT").await;
        line.say("221 bye\r\n").await;
    };
    let stage = Stage::with_two(Some(first), Some(second)).await;
    let pool = pool(PoolLimits::default());
    let demand = requirement(TlsRequirement::Opportunistic);
    reach(&pool, &[stage.address], &demand).await.give_back();
    stage.finish().await;
}

#[tokio::test]
async fn a_connection_on_which_tls_was_refused_is_not_kept() {
    let play = |mut line: Line| async move {
        hear_starttls(&mut line).await;
        line.say("454 4.7.0 not now\r\n").await;
        line.hear("QUIT").await;
        line.say("221 bye\r\n").await;
    };
    let stage = Stage::with(play).await;
    let pool = pool(PoolLimits::default());
    let demand = requirement(TlsRequirement::Opportunistic);
    let lease = reach(&pool, &[stage.address], &demand).await;
    let security = lease.channel().security.to_string();
    assert!(security.starts_with("clear text after"), "{security}");
    lease.give_back();
    stage.finish().await;
}

/// Offers TLS, and is asked to begin it.
async fn hear_starttls(line: &mut Line) {
    line.say("220 mx.example.org\r\n").await;
    line.hear("EHLO").await;
    line.say("250-mx.example.org\r\n250 STARTTLS\r\n").await;
    line.hear("STARTTLS").await;
}

#[tokio::test]
async fn an_address_and_a_network_have_only_so_many_connections() {
    let demand = requirement(TlsRequirement::Opportunistic);
    let one_each = PoolLimits {
        per_address_max: 1,
        wait_max: Duration::from_millis(50),
        ..PoolLimits::default()
    };
    let one_in_all = PoolLimits {
        per_network_max: 1,
        ..one_each
    };
    for (limits, other_has_room) in [(one_each, true), (one_in_all, false)] {
        let one = Listening::plain().await;
        let other = listening_at("127.0.0.2:0").await;
        let pool = pool(limits);
        let held = reach(&pool, &[one.address], &demand).await;
        let reached = pool.reach(Some(&host()), &[one.address], &demand).await;
        assert_eq!(reached.failed[0].error.fault, AttemptFault::Crowded);
        let reached = pool.reach(Some(&host()), &[other], &demand).await;
        assert_eq!(reached.lease.is_some(), other_has_room);
        drop(held);
        reach(&pool, &[one.address], &demand).await;
    }
}

#[tokio::test]
async fn limits_can_be_exchanged_at_work() {
    let demand = requirement(TlsRequirement::Opportunistic);
    let one_each = PoolLimits {
        per_address_max: 1,
        wait_max: Duration::from_millis(50),
        ..PoolLimits::default()
    };
    let listening = Listening::plain().await;
    let pool = pool(one_each);
    let _held = reach(&pool, &[listening.address], &demand).await;
    let two_each = PoolLimits {
        per_address_max: 2,
        ..one_each
    };
    for (limits, has_room) in [(one_each, false), (two_each, true), (one_each, false)] {
        pool.limits().replace(limits);
        let reached = pool
            .reach(Some(&host()), &[listening.address], &demand)
            .await;
        assert_eq!(reached.lease.is_some(), has_room);
    }
}

#[tokio::test]
async fn whoever_waits_gets_what_is_given_back_or_its_place() {
    let limits = PoolLimits {
        per_address_max: 1,
        ..PoolLimits::default()
    };
    for (asked_for, expected) in [
        (TlsRequirement::Opportunistic, Origin::Kept),
        (TlsRequirement::Encrypt, Origin::New),
    ] {
        let listening = Listening::with_tls().await;
        let pool = pool(limits);
        let opportunistic = requirement(TlsRequirement::Opportunistic);
        let held = reach(&pool, &[listening.address], &opportunistic).await;
        let (asked_for, addresses) = (requirement(asked_for), [listening.address]);
        let (lease, ()) = tokio::join!(reach(&pool, &addresses, &asked_for), async {
            tokio::task::yield_now().await;
            held.give_back();
        });
        assert_eq!(lease.origin(), expected);
    }
}

/// RFC 8305, Section 5.
#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let demand = requirement(TlsRequirement::Opportunistic);
    let listening = Listening::plain().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = nobody.local_addr().unwrap();
    drop(nobody);
    let pool = pool(PoolLimits::default());
    let addresses = [refusing, listening.address];
    let reached = pool.reach(Some(&host()), &addresses, &demand).await;
    assert_eq!(reached.failed.len(), 1);
    assert_eq!(reached.failed[0].address, refusing);
    assert_eq!(reached.lease.unwrap().channel().address, listening.address);

    // An address that says nothing costs no more than its head start.
    let (silent, _full) = silent_address().await;
    let other = Listening::plain().await;
    let begun = Instant::now();
    let lease = reach(&pool, &[silent, other.address], &demand).await;
    assert_eq!(lease.channel().address, other.address);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(250), "{took:?}");
}

/// A connection was made for one requirement and host and given back: what does another get?
async fn check(
    made_for: &Requirement,
    asked_for: &Requirement,
    asked_host: Option<DomainName>,
    expected: Option<Origin>,
) {
    let listening = Listening::with_tls().await;
    let pool = pool(PoolLimits::default());
    let addresses = [listening.address];
    let first = pool.reach(Some(&host()), &addresses, made_for).await;
    if let Some(lease) = first.lease {
        lease.give_back();
    }
    let second = pool.reach(asked_host.as_ref(), &addresses, asked_for).await;
    let origin = second.lease.map(|lease| lease.origin());
    assert_eq!(origin, expected, "{made_for:?}, {asked_for:?}");
}

fn pool(limits: PoolLimits) -> ConnectionPool<SystemClock> {
    ConnectionPool::new(client(), limits)
}

/// A connection, which there must be.
async fn reach(
    pool: &ConnectionPool<SystemClock>,
    addresses: &[SocketAddr],
    demand: &Requirement,
) -> Lease {
    let host = host();
    let reached = pool.reach(Some(&host), addresses, demand);
    let reached = timeout(PATIENCE, reached).await.unwrap();
    reached
        .lease
        .unwrap_or_else(|| panic!("{:?}", reached.failed))
}

/// Sends a message, which must arrive.
async fn send(lease: &mut Lease) {
    let message = transaction(&["b@example.org"]);
    let outcome = lease.send(message, &b"x"[..]).await.unwrap();
    assert!(outcome.reply.is_success(), "{}", outcome.reply);
}

/// Greets a client, and replies to its greeting.
async fn greet(line: &mut Line) {
    line.say("220 mx.example.org\r\n").await;
    line.hear("EHLO").await;
    line.say("250 mx.example.org\r\n").await;
}

/// Takes one message.
async fn take_message(line: &mut Line) {
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        line.hear("").await;
        line.say(reply).await;
    }
    while line.hear("").await != ".\r\n" {}
    line.say("250 ok\r\n").await;
}

/// A host at this address that greets everybody.
async fn listening_at(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut line = Line::new(stream);
                greet(&mut line).await;
                line.hear_end().await;
            });
        }
    });
    address
}

/// An address at which connections are neither made nor refused: nobody accepts them, and there is no
/// room for more. Stays so while what comes with it lives.
async fn silent_address() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(made) = timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
        waiting.push(made.unwrap());
    }
    (address, (listener, waiting))
}
