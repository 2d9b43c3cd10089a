//! Datagrams that come late, forged, twice, in another order, too large or cut off (behaviour rule 2).

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Mutex;

use byrnie_net::dns::Answer;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::Resolver;

use crate::bed::Bed;
use crate::bed::Fate;
use crate::bed::World;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::check;
use crate::check_reason;
use crate::relay::Datagram;
use crate::relay::Exchange;
use crate::relay::Octets;
use crate::relay::Relay;
use crate::relay::cut;
use crate::relay::honestly;
use crate::relay::honestly_framed;
use crate::relay::with;
use crate::world;
use crate::zones;

/// Names and what becomes of them if all goes well.
const NAMES: [(&str, &str); 3] = [
    ("mx.signed.example", "secure answer"),
    ("no.hashed.example", "secure nxdomain"),
    ("mx.unsigned.example", "insecure answer"),
];

/// A resolver with the keys of a bed, over these upstreams.
fn resolver_over(bed: &Bed, upstreams: &[SocketAddr]) -> Resolver {
    let mut config = bed.config();
    config.upstreams = upstreams.to_vec();
    resolver(&config)
}

/// The addresses in an answer.
fn addresses(answer: &Answer) -> Vec<Ipv4Addr> {
    let Outcome::Records(records) = &answer.outcome.as_ref().unwrap().value else {
        panic!("{answer:?}");
    };
    let address = |record: &RecordData| {
        let RecordData::A(address) = record else {
            panic!("{record:?}");
        };
        *address
    };
    records.iter().map(address).collect()
}

/// Asserts that lookups end as if nothing had happened.
#[track_caller]
fn check_all(answers: &[Answer]) {
    for (answer, (_, expected)) in answers.iter().zip(NAMES) {
        check(answer, expected);
    }
}

/// Asks for [`NAMES`] over a relay that treats datagrams so.
async fn ask_all(
    script: impl Fn(&Exchange) -> Vec<Datagram> + Send + Sync + 'static,
) -> Vec<Answer> {
    let bed = Bed::start(world()).await;
    let relay = Relay::start(&bed, script, honestly_framed).await;
    let resolver = resolver_over(&bed, &[relay.address]);
    let mut answers = Vec::new();
    for (name, _) in NAMES {
        answers.push(lookup(&resolver, name, "A").await);
    }
    answers
}

#[tokio::test]
async fn an_answer_counts_however_late_it_comes() {
    // What was asked first is answered when it has been asked three times, and never again.
    let answers = ask_all(|exchange| match exchange.times {
        3 => honestly(exchange),
        _ => Vec::new(),
    });
    check_all(&answers.await);
}

#[tokio::test]
async fn a_slow_upstream_is_listened_to_while_another_is_asked() {
    let bed = Bed::start(world()).await;
    let silent = Bed::start(world().tamper(|_, reply| reply.fate = Fate::Lost)).await;
    let slow = Relay::start(
        &bed,
        |exchange| match exchange.times {
            2 => honestly(exchange),
            _ => Vec::new(),
        },
        honestly_framed,
    )
    .await;
    let resolver = resolver_over(&bed, &[slow.address, silent.address]);
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    check(&answer, "secure answer");
    assert!(!silent.asked().is_empty());
}

#[tokio::test]
async fn the_answer_to_another_question_is_passed_over() {
    // Each question is answered with what was to be said to the one before, and rightly when it comes
    // again.
    let held: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let bed = Bed::start(world()).await;
    let relay = Relay::start(
        &bed,
        move |exchange| {
            if exchange.times > 1 {
                return honestly(exchange);
            }
            let earlier = held.lock().unwrap().replace(exchange.answer.clone());
            earlier.into_iter().map(Datagram::Sent).collect()
        },
        honestly_framed,
    )
    .await;
    let resolver = resolver_over(&bed, &[relay.address]);
    let lookups = NAMES.map(|(name, _)| lookup(&resolver, name, "A"));
    check_all(&futures_util::future::join_all(lookups).await);
}

#[tokio::test]
async fn what_is_no_answer_to_the_question_is_passed_over() {
    let forged = |exchange: &Exchange| {
        let mut octets = exchange.answer.clone();
        // The last octet of an honest address in an unsigned zone, among others.
        if let Some(place) = octets.windows(4).position(|part| part == [192, 0, 2, 1]) {
            octets[place] = 203;
        }
        octets
    };
    let scripts: [fn(&[u8]) -> Datagram; 5] = [
        // Another number.
        |forged| Datagram::Sent(with(forged, 1, !forged[1])),
        // A question and no response.
        |forged| Datagram::Sent(with(forged, 2, forged[2] & 0x7F)),
        // Another question.
        |forged| Datagram::Sent(with(forged, 13, forged[13] ^ 0x03)),
        // No octets of a message at all.
        |forged| Datagram::Sent(forged[..7].to_vec()),
        // Somebody else.
        |forged| Datagram::FromElsewhere(forged.to_vec()),
    ];
    for script in scripts {
        let answers = ask_all(move |exchange| {
            let mut datagrams = vec![script(&forged(exchange))];
            datagrams.extend(honestly(exchange));
            datagrams
        });
        let answers = answers.await;
        check_all(&answers);
        let mut addresses = addresses(&answers[2]);
        addresses.sort();
        assert_eq!(
            addresses,
            [[192, 0, 2, 1], [192, 0, 2, 2]].map(Ipv4Addr::from)
        );
    }
}

#[tokio::test]
async fn somebody_who_guesses_moves_the_question_to_tcp() {
    let bed = Bed::start(world()).await;
    let guessing = |exchange: &Exchange| {
        let guess = |number: u8| Datagram::Sent(with(&exchange.answer, 1, number));
        let right = exchange.answer[1];
        (0..=255)
            .filter(|number| *number != right)
            .map(guess)
            .collect()
    };
    let relay = Relay::start(&bed, guessing, honestly_framed).await;
    let resolver = resolver_over(&bed, &[relay.address]);
    let answer = lookup(&resolver, "mx.unsigned.example", "A").await;
    check(&answer, "insecure answer");
    assert!(relay.connections() > 0);
}

#[tokio::test]
async fn an_answer_that_comes_again_and_again_does_no_harm() {
    let answers = ask_all(|exchange| {
        let again = |_| Datagram::Sent(exchange.answer.clone());
        (0..5).map(again).collect()
    });
    check_all(&answers.await);
}

#[tokio::test]
async fn the_case_of_the_question_means_nothing() {
    for change in [u8::to_ascii_uppercase, u8::to_ascii_lowercase] {
        let answers = ask_all(move |exchange| {
            let mut answer = exchange.answer.clone();
            // The name in the question, to which the owners of the records point.
            for octet in answer[12..].iter_mut().take_while(|octet| **octet != 0) {
                *octet = change(octet);
            }
            vec![Datagram::Sent(answer)]
        });
        check_all(&answers.await);
    }
}

/// A world in which one name has more addresses than a datagram shall carry.
fn crowded() -> World {
    let mut all = zones();
    for zone in [2, 6] {
        for number in 0..100 {
            all[zone].add(&format!("many A 198.51.100.{number}"));
        }
    }
    World::new(all)
}

#[tokio::test]
async fn an_answer_larger_than_was_asked_for_is_taken() {
    let bed = Bed::start(crowded()).await;
    let relay = Relay::start(&bed, honestly, honestly_framed).await;
    let resolver = resolver_over(&bed, &[relay.address]);
    let answer = lookup(&resolver, "many.signed.example", "A").await;
    check(&answer, "secure answer");
    assert_eq!(relay.connections(), 0);
}

#[tokio::test]
async fn what_a_truncated_answer_holds_is_not_believed() {
    let bed = Bed::start(crowded()).await;
    let cut_and_forged = |exchange: &Exchange| {
        let mut octets = cut(&exchange.answer);
        if let Some(place) = octets.windows(3).position(|part| part == [198, 51, 100]) {
            octets[place] = 203;
        }
        vec![Datagram::Sent(octets)]
    };
    let relay = Relay::start(&bed, cut_and_forged, honestly_framed).await;
    let resolver = resolver_over(&bed, &[relay.address]);
    for (name, expected) in [
        ("many.signed.example", "secure answer"),
        ("many.unsigned.example", "insecure answer"),
    ] {
        let answer = lookup(&resolver, name, "A").await;
        check(&answer, expected);
        let addresses = addresses(&answer);
        assert_eq!(addresses.len(), 100);
        assert!(addresses.iter().all(|address| address.octets()[0] == 198));
    }
}

#[tokio::test]
async fn a_truncated_answer_without_tcp_is_a_failure() {
    let bed = Bed::start(world()).await;
    let relay = Relay::start(
        &bed,
        |exchange| vec![Datagram::Sent(cut(&exchange.answer))],
        |_, _| Octets::SentLast(Vec::new()),
    )
    .await;
    let resolver = resolver_over(&bed, &[relay.address]);
    for (name, _) in NAMES {
        let answer = lookup(&resolver, name, "A").await;
        check(&answer, "failed none");
        check_reason(&answer, "the connection was closed early");
    }
    // Somebody else who has TCP is asked.
    let resolver = resolver_over(&bed, &[relay.address, bed.address]);
    for (name, expected) in NAMES {
        check(&lookup(&resolver, name, "A").await, expected);
    }
}
