//! Trust anchors over the life of the gateway, and commands beside it that judge as it does.

use std::fs;
use std::process::Command;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use byrnie_lab::LabError;
use byrnie_lab::subject::Subject;
use byrnie_lab::subject::SubjectPlan;
use byrnie_lab::world::World;
use byrnie_store::AnchorRecord;
use byrnie_store::AnchorRecords;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use serde_json::Value;

use crate::played::PROGRAM;

#[tokio::test]
async fn a_revoked_key_is_believed_by_no_part_of_the_program() {
    let world = World::raise().await.unwrap();
    let plan = world.subject_plan().unwrap();
    let mut subject = start(&plan).await;
    let log = subject.log();
    let learned = log.wait(LEARNED_MAX, |lines| {
        let mut lines = lines.iter();
        lines
            .find(|line| line.text.contains("a key is trusted"))
            .map(|_| ())
    });
    assert!(learned.await.is_some());
    let metrics = plan.metrics;
    let counted = tokio::task::spawn_blocking(move || crate::start::get(metrics, "/metrics"));
    let counted = counted.await.unwrap();
    let refreshed = "byrnie_dns_anchor_refreshes_total{result=\"done\"} 1\n";
    assert!(counted.contains(refreshed), "{counted}");
    let (shown, code) = json(&plan, &["anchors"]).await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown["zones"][0]["keys"][0]["state"], "valid", "{shown}");
    let (answer, _) = json(&plan, &["dns", "test", "SOA"]).await;
    assert_eq!(answer["status"], "secure", "{answer}");

    // As if the root had revoked its key; the configuration still names it.
    assert!(subject.terminate().await.unwrap());
    revoke(&plan).await;
    let (answer, _) = json(&plan, &["dns", "test", "SOA"]).await;
    assert_eq!(answer["status"], "bogus", "{answer}");
    let (shown, code) = json(&plan, &["anchors"]).await;
    assert_eq!(code, Some(1), "{shown}");
    assert_eq!(shown["zones"][0]["usable"], false, "{shown}");
    let Err(LabError::Subject(words)) = subject.restart().await else {
        panic!("it starts without any key to trust");
    };
    for said in [
        "every key of a trust anchor is revoked",
        "`byrnie anchors` shows",
    ] {
        assert!(words.contains(said), "{said}\n{words}");
    }
}

#[tokio::test]
async fn a_negative_anchor_makes_a_domain_insecure_and_is_named_as_the_reason() {
    let world = World::raise().await.unwrap();
    let plan = world.subject_plan().unwrap();
    let until = jiff::Timestamp::now() + Duration::from_secs(86_400);
    let text = format!(
        "{}\n[[dns.danger_negative_trust_anchor]]\ndomain = \"test\"\nuntil = \"{until:.0}\"\n\
         reason = \"they know\"\n",
        plan.configuration()
    );
    fs::write(plan.configuration_file(), text).unwrap();
    let (answer, _) = json(&plan, &["dns", "test", "SOA"]).await;
    assert_eq!(answer["status"], "insecure", "{answer}");
    assert_eq!(answer["reason"], "test. has a negative trust anchor");
    let expected = format!(
        "test has a negative trust anchor until {until:.0}: nothing below it is validated (they know)"
    );
    let (decision, _) = json(&plan, &["policy", "nobody.test"]).await;
    let reasons = decision["reasons"].as_array().unwrap();
    assert!(
        reasons.contains(&Value::from(expected.clone())),
        "{decision}"
    );
    let text = run(&plan, &["policy", "nobody.test"]).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains(&expected), "{text}");
    let (elsewhere, _) = json(&plan, &["policy", "nobody.example"]).await;
    assert!(!elsewhere.to_string().contains("negative"), "{elsewhere}");
}

/// The gateway, with the root's anchor from a file.
async fn start(plan: &SubjectPlan) -> Subject {
    Subject::start(PROGRAM.as_ref(), plan.clone())
        .await
        .unwrap()
}

/// Notes in the spool that the root's key is revoked.
async fn revoke(plan: &SubjectPlan) {
    let options = SqliteOptions::in_directory(plan.folder.join("spool"));
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let record = store.anchor_record(".").await.unwrap().unwrap();
    let state = record.state.replace("\"valid\"", "{\"revoked\":1}");
    assert_ne!(state, record.state);
    let record = AnchorRecord { state, ..record };
    store.put_anchor_record(record).await.unwrap();
}

/// What a command beside the gateway prints, and its exit code.
async fn json(plan: &SubjectPlan, arguments: &[&str]) -> (Value, Option<i32>) {
    let ran = run(plan, &[arguments, &["--json"]].concat()).await;
    let value = serde_json::from_slice(&ran.stdout);
    (
        value.unwrap_or_else(|_| panic!("{ran:?}")),
        ran.status.code(),
    )
}

/// Runs a command with the gateway's configuration.
async fn run(plan: &SubjectPlan, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .arg("--config")
        .arg(plan.configuration_file());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    running.await.unwrap()
}

/// How long the first look at the root's keys may take.
const LEARNED_MAX: Duration = Duration::from_secs(30);
