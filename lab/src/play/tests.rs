//! The judge, with a puppet in the place of the program under test: it takes mail, says in the log
//! what it is told to say, and delivers or does not, whatever it says.

use std::net::SocketAddr;

use super::*;
use crate::address::AddressPlan;
use crate::inbox::Received;
use crate::inbox::TlsSeen;
use crate::mail_host::Conduct;
use crate::mail_host::MailHost;
use crate::world::World;

const DANE: &str = r#"{"target":"byrnie::attempt","message":"attempted","queue_id":"Q","outcome":"delivered","demanded":"dane","tls":"TLS 1.3","authenticated_by":"matched TLSA 3 1 1"}"#;
const STS: &str = r#"{"target":"byrnie::attempt","message":"attempted","queue_id":"Q","outcome":"delivered","demanded":"mta-sts","tls":"TLS 1.3","authenticated_by":"certificate of a public authority for mx"}"#;
const ENCRYPTED: &str = r#"{"target":"byrnie::attempt","message":"attempted","queue_id":"Q","outcome":"delivered","demanded":"dane","tls":"TLS 1.3"}"#;
const CLEAR: &str = r#"{"target":"byrnie::attempt","message":"attempted","queue_id":"Q","outcome":"delivered","demanded":"opportunistic"}"#;
const FAILED: &str = r#"{"target":"byrnie::attempt","message":"attempted","queue_id":"Q","outcome":"deferred","demanded":"dane","reason":"no TLSA record matches"}"#;
const DECIDED: &str = r#"{"target":"byrnie::decision","message":"decided","queue_id":"Q","verdict":"dane","reasons":"Signed TLSA records stand there."}"#;
const DELIVERED: &str = r#"{"target":"byrnie::queue","message":"delivered","queue_id":"Q"}"#;
const DEFERRED: &str =
    r#"{"target":"byrnie::queue","message":"deferred","queue_id":"Q","reason":"later"}"#;
const BOUNCED: &str =
    r#"{"target":"byrnie::queue","message":"bounced","queue_id":"Q","reason":"556 5.1.10"}"#;

/// What really happens to the message.
#[derive(Clone, Copy, Debug)]
enum Really {
    /// It stays where it is.
    Nothing,
    /// It arrives over TLS.
    OverTls,
    /// It arrives in clear text.
    InClear,
    /// It arrives twice.
    Twice,
    /// It arrives with another body.
    Changed,
    /// It arrives at another host than the one it must.
    Elsewhere,
    /// A report comes back to the sender with this status.
    Returned(&'static str),
}

#[tokio::test]
async fn a_delivery_counts_only_as_the_receiving_host_saw_it() {
    let dane = Expected::Delivered(Protection::Dane);
    check(dane, &[DANE, DELIVERED], Really::OverTls, Verdict::AsItMust).await;
    for really in [
        Really::Nothing,
        Really::InClear,
        Really::Twice,
        Really::Changed,
        Really::Elsewhere,
    ] {
        check(dane, &[DANE, DELIVERED], really, Verdict::Otherwise).await;
    }
    // The witness of the program must be as good as the one of the host.
    check(
        dane,
        &[ENCRYPTED, DELIVERED],
        Really::OverTls,
        Verdict::Otherwise,
    )
    .await;
    check(dane, &[STS, DELIVERED], Really::OverTls, Verdict::Otherwise).await;
    check(dane, &[DELIVERED], Really::OverTls, Verdict::Otherwise).await;
    check(
        dane,
        &[FAILED, DEFERRED],
        Really::Nothing,
        Verdict::Otherwise,
    )
    .await;
}

#[tokio::test]
async fn every_kind_of_protection_is_told_from_the_others() {
    let all = [
        (Protection::Dane, DANE, Really::OverTls),
        (Protection::MtaSts, STS, Really::OverTls),
        (Protection::Encrypted, ENCRYPTED, Really::OverTls),
        (Protection::Clear, CLEAR, Really::InClear),
    ];
    for (expected, ..) in all {
        for (protection, attempt, really) in all {
            let verdict = match expected == protection {
                true => Verdict::AsItMust,
                false => Verdict::Otherwise,
            };
            check(
                Expected::Delivered(expected),
                &[attempt, DELIVERED],
                really,
                verdict,
            )
            .await;
        }
    }
}

#[tokio::test]
async fn withheld_is_proven_by_a_deferral_and_by_absence() {
    let waits = Expected::Waits("tlsa record");
    check(
        waits,
        &[FAILED, DEFERRED],
        Really::Nothing,
        Verdict::AsItMust,
    )
    .await;
    check(
        waits,
        &[FAILED, DEFERRED],
        Really::InClear,
        Verdict::Otherwise,
    )
    .await;
    check(waits, &[DEFERRED], Really::Nothing, Verdict::Otherwise).await;
    // That the decision speaks of TLSA records is not why the message waits.
    let script = [DECIDED, DEFERRED];
    check(waits, &script, Really::Nothing, Verdict::Otherwise).await;
    check(
        waits,
        &[FAILED, BOUNCED],
        Really::Nothing,
        Verdict::Otherwise,
    )
    .await;
    check(
        waits,
        &[DANE, DELIVERED],
        Really::OverTls,
        Verdict::Otherwise,
    )
    .await;
}

#[tokio::test]
async fn a_return_counts_only_when_the_sender_has_it() {
    let bounced = Expected::Bounced("5.1.10");
    let returned = Really::Returned("5.1.10");
    check(bounced, &[BOUNCED], returned, Verdict::AsItMust).await;
    check(bounced, &[DEFERRED], returned, Verdict::Otherwise).await;
    check(bounced, &[BOUNCED], Really::InClear, Verdict::Otherwise).await;
}

#[tokio::test]
async fn the_reasons_of_the_decision_are_looked_at() {
    let case = Case::new("user@puppet.test", Expected::Delivered(Protection::Dane));
    let good = case.clone().because(&["signed tlsa"]);
    let bad = case.because(&["a policy"]);
    let script = [DECIDED, DANE, DELIVERED];
    for (case, verdict) in [(good, Verdict::AsItMust), (bad, Verdict::Otherwise)] {
        assert_eq!(play_one(case, &script, Really::OverTls).await, verdict);
    }
}

#[tokio::test]
async fn copies_count_against_attempts_and_time_against_the_limit() {
    let case = Case::new("user@puppet.test", Expected::Delivered(Protection::Dane));
    let copies = Case {
        copies: Copies::OneForEachAttempt,
        ..case.clone()
    };
    for (script, verdict) in [
        (&[DANE, DANE, DELIVERED] as &[&str], Verdict::AsItMust),
        (&[DANE, DELIVERED], Verdict::Otherwise),
    ] {
        let got = play_one(copies.clone(), script, Really::Twice).await;
        assert_eq!(got, verdict, "{script:?}");
    }
    for (within, verdict) in [
        (Duration::from_secs(10), Verdict::AsItMust),
        (Duration::ZERO, Verdict::Otherwise),
    ] {
        let prompt = Case {
            within: Some(within),
            ..case.clone()
        };
        let got = play_one(prompt, &[DANE, DELIVERED], Really::OverTls).await;
        assert_eq!(got, verdict, "{within:?}");
    }
}

async fn check(expected: Expected, script: &[&str], really: Really, verdict: Verdict) {
    let case = Case {
        host: Some("mx.puppet.test"),
        ..Case::new("user@puppet.test", expected)
    };
    let got = play_one(case, script, really).await;
    assert_eq!(got, verdict, "{expected}: {script:?}, really {really:?}");
}

/// Plays one message with the puppet.
async fn play_one(case: Case, script: &[&str], really: Really) -> Verdict {
    let world = World::raise().await.unwrap();
    let mut addresses = AddressPlan::draw().unwrap();
    let address = SocketAddr::from((addresses.draw_address().unwrap(), addresses.mx_port));
    let taken = Inbox::default();
    let mut puppet = MailHost::new("puppet", address, Conduct::clear(), taken.clone());
    puppet.up().await.unwrap();
    let plan = world.subject_plan().unwrap();
    let mut injector = world.injector(&plan).unwrap();
    injector.address = address;
    let log = Log::default();
    let mut site = Site::new(&world);
    let script: Vec<String> = script.iter().copied().map(String::from).collect();
    let acting = tokio::spawn(act(taken, world.inbox.clone(), log.clone(), script, really));
    let mut player = Player {
        name: "puppet",
        inbox: world.inbox.clone(),
        injector: &injector,
        neighbour: None,
        log: &log,
        story: Vec::new(),
        checks: Vec::new(),
        sent: HashMap::new(),
        withheld: Vec::new(),
        arrived: 0,
        limits: Limits {
            settle: Duration::from_secs(10),
            returned: Duration::from_millis(50),
        },
    };
    player
        .step(Step::Send(vec![case]), &mut site)
        .await
        .unwrap();
    player.still_withheld();
    acting.await.unwrap();
    let all_good = |check: &Check| check.verdict == Verdict::AsItMust;
    match player.checks.iter().all(all_good) {
        true => Verdict::AsItMust,
        false => Verdict::Otherwise,
    }
}

/// What the puppet does with the one message that it takes.
async fn act(taken: Inbox, inbox: Inbox, log: Log, script: Vec<String>, really: Really) {
    let arrived = taken.wait(Duration::from_secs(10), |all| !all.is_empty());
    assert!(arrived.await);
    let message = taken.find(|_| true).remove(0);
    let delivered = Received {
        host: String::from("mx.puppet.test"),
        tls: Some(TlsSeen {
            version: String::from("TLSv1_3"),
            sni: None,
        }),
        ..message.clone()
    };
    match really {
        Really::Nothing => {}
        Really::OverTls => inbox.add(delivered),
        Really::InClear => inbox.add(Received {
            tls: None,
            ..delivered
        }),
        Really::Twice => {
            inbox.add(delivered.clone());
            inbox.add(delivered);
        }
        Really::Changed => inbox.add(Received {
            message: b"X".to_vec(),
            ..delivered
        }),
        Really::Elsewhere => inbox.add(Received {
            host: String::from("mx.elsewhere.test"),
            ..delivered
        }),
        Really::Returned(status) => inbox.add(Received {
            recipients: vec![message.reverse_path.clone()],
            reverse_path: String::from("<>"),
            message: format!("Status: {status}\r\n").into_bytes(),
            id: None,
            ..delivered
        }),
    }
    let from = &message.reverse_path;
    log.push(format!(
        r#"{{"target":"byrnie::queue","message":"accepted","queue_id":"Q","from":"{from}"}}"#
    ));
    for line in script {
        log.push(line);
    }
}
