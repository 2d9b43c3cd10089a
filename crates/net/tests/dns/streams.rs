//! Connections that end early, get stuck or lie (behaviour rule 2).

use byrnie_net::dns::Answer;
use byrnie_net::dns::Transport;

use crate::bed::Bed;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::check;
use crate::check_reason;
use crate::relay::Exchange;
use crate::relay::Octets;
use crate::relay::Relay;
use crate::relay::framed;
use crate::relay::framed_as;
use crate::relay::honestly;
use crate::relay::honestly_framed;
use crate::relay::with;
use crate::world;

/// What may be wrong with an answer.
struct Damage {
    /// What is sent in its place.
    done: fn(&[u8]) -> Octets,
    /// What is said if all answers are so.
    reason: &'static str,
}

/// What may be wrong with an answer.
const DAMAGES: [Damage; 8] = [
    Damage {
        done: |_| Octets::SentLast(Vec::new()),
        reason: "closed early",
    },
    Damage {
        done: |_| Octets::SentLast(vec![0]),
        reason: "closed early",
    },
    Damage {
        done: |answer| Octets::SentLast(framed(answer)[..answer.len() / 2].to_vec()),
        reason: "closed early",
    },
    Damage {
        done: |answer| Octets::SentLast(framed_as(60_000, answer)),
        reason: "closed early",
    },
    // What is left over is no answer to the next question either.
    Damage {
        done: |answer| Octets::Sent(framed_as(20, answer)),
        reason: "no answer",
    },
    Damage {
        done: |_| Octets::Sent(framed(&[])),
        reason: "a broken message",
    },
    Damage {
        done: |answer| Octets::Sent(framed(&with(answer, 0, !answer[0]))),
        reason: "no answer to the question",
    },
    Damage {
        done: |answer| Octets::Sent(framed(&with(answer, 13, answer[13] ^ 0x03))),
        reason: "no answer to the question",
    },
];

/// Asks for a signed and an unsigned name over TCP and, where `second` says so, a second upstream.
async fn ask(
    second: Second,
    script: impl Fn(usize, &Exchange) -> Octets + Send + Sync + 'static,
) -> [Answer; 2] {
    let bed = Bed::start(world()).await;
    let relay = Relay::start(&bed, honestly, script).await;
    let mut config = bed.config();
    config.transport = Transport::Tcp;
    config.rounds = 3;
    config.upstreams = match second {
        Second::None => vec![relay.address],
        Second::Honest => vec![relay.address, bed.address],
    };
    let resolver = resolver(&config);
    [
        lookup(&resolver, "mx.signed.example", "A").await,
        lookup(&resolver, "mx.unsigned.example", "A").await,
    ]
}

/// Whether there is another upstream.
#[derive(Clone, Copy)]
enum Second {
    None,
    Honest,
}

/// Asserts that lookups end as if nothing had happened.
#[track_caller]
fn check_good([signed, unsigned]: &[Answer; 2]) {
    check(signed, "secure answer");
    check(unsigned, "insecure answer");
}

#[tokio::test]
async fn connections_that_always_go_wrong_are_a_failure() {
    for damage in DAMAGES {
        let answers = ask(Second::None, move |_, exchange| {
            (damage.done)(&exchange.answer)
        })
        .await;
        for answer in &answers {
            check(answer, "failed none");
            check_reason(answer, damage.reason);
        }
    }
}

#[tokio::test]
async fn another_upstream_answers_where_connections_go_wrong() {
    for damage in DAMAGES {
        let answers = ask(Second::Honest, move |_, exchange| {
            (damage.done)(&exchange.answer)
        })
        .await;
        check_good(&answers);
    }
}

#[tokio::test]
async fn a_connection_that_goes_wrong_once_is_made_again() {
    for damage in DAMAGES {
        let answers = ask(Second::None, move |before, exchange| match before {
            0 | 1 => (damage.done)(&exchange.answer),
            _ => honestly_framed(before, exchange),
        });
        check_good(&answers.await);
    }
}

#[tokio::test]
async fn an_answer_may_come_octet_by_octet() {
    let answers = ask(Second::None, |_, exchange| {
        Octets::Trickled(framed(&exchange.answer))
    });
    check_good(&answers.await);
}

#[tokio::test]
async fn a_connection_that_is_stuck_ends_in_time_as_a_failure() {
    let stuck = |_: usize, exchange: &Exchange| {
        let half = exchange.answer.len() / 2;
        Octets::Stuck(framed(&exchange.answer)[..half].to_vec())
    };
    for answer in &ask(Second::None, stuck).await {
        check(answer, "failed none");
        check_reason(answer, "no answer");
    }
    check_good(&ask(Second::Honest, stuck).await);
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_is_replaced() {
    // Each connection answers once; what is asked on it later is lost, and nobody says so.
    let answers = ask(Second::None, |_, exchange| match exchange.times {
        1 => Octets::Sent(framed(&exchange.answer)),
        _ => Octets::Stuck(Vec::new()),
    });
    check_good(&answers.await);
}
