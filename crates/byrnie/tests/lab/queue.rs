//! `byrnie queue` beside a gateway at work: what it says, and that the gateway obeys.

use std::process::Command;
use std::time::Duration;

use byrnie_lab::Lab;
use byrnie_lab::Options;
use byrnie_lab::inject::Mail;
use byrnie_lab::inject::Submission;
use byrnie_lab::subject::Log;
use serde_json::Value;

use crate::played::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn waiting_mail_explains_itself_and_obeys() {
    let options = Options {
        scenarios: vec![String::from("starttls-stripped")],
        ..Options::default()
    };
    let mut lab = Lab::raise(PROGRAM.as_ref(), &options).await.unwrap();
    let queue = Queue(lab.subject.plan.configuration_file().display().to_string());
    let log = lab.subject.log();
    let taken = lab.injector.inject(&mail()).await.unwrap();
    let id = taken.rsplit(' ').next().unwrap().trim().to_owned();
    deferred(&log, 1).await;

    let why = queue.run(&["why", &id], 0);
    for words in [
        "  It waits because: ",
        "    Demanded was dane, because:\n",
        "    There was no TLS.\n",
        "  No later attempt may demand less than dane.\n",
        "  If nothing works by then, it is given up in ",
        &format!("  byrnie queue hold {id} "),
    ] {
        assert!(why.contains(words), "{words}\n{why}");
    }
    assert!(!why.contains("No gateway runs"), "{why}");
    let why = queue.run(&["why", DOMAIN], 0);
    for words in [
        &format!("1 delivery in the queue for {DOMAIN}.\n"),
        "Why the last attempts came to nothing:\n       1 times: ",
    ] {
        assert!(why.contains(words), "{words}\n{why}");
    }
    let why = queue.json(&["why", DOMAIN]);
    assert_eq!(why["destination"]["domain"], DOMAIN, "{why}");
    assert_eq!(why["destination"]["deliveries"], 1, "{why}");

    let glance = lab_top(&lab, &["--once", "--json"]);
    let glance: Value = serde_json::from_str(&glance).unwrap();
    assert_eq!(glance["destinations"][0]["domain"], DOMAIN, "{glance}");
    assert_eq!(glance["done"]["accepted_clear"], 1, "{glance}");
    let drawn = lab_top(&lab, &["--once"]);
    assert!(drawn.contains(&format!("\n{DOMAIN} ")), "{drawn}");
    assert!(!drawn.contains('\u{1b}'), "{drawn}");

    // What is held is not tried, whatever was under way.
    assert_eq!(
        queue.run(&["hold", "--domain", DOMAIN], 0),
        "1 delivery held\n"
    );
    let listed = queue.json(&["list", "--state", "hold"]);
    assert_eq!(listed["queue_id"], id, "{listed}");
    queue.wait_until_idle(&id);
    let tried = deferrals(&log);
    assert_eq!(
        queue.run(&["retry", "--all"], 0),
        "0 deliveries tried again now\n"
    );
    tokio::time::sleep(LONGER_THAN_ITS_SCHEDULE).await;
    assert_eq!(deferrals(&log), tried);

    // What is released is tried again at once, by the daemon that was told.
    assert_eq!(queue.run(&["release", &id], 0), "1 delivery released\n");
    deferred(&log, tried + 1).await;

    let folder = lab.subject.plan.folder.join("copy").display().to_string();
    assert_eq!(queue.json(&["backup", &folder])["messages"], 1);
    assert_eq!(queue.json(&["verify"])["damaged_total"], 0);

    assert_eq!(
        queue.run(&["remove", "--reason", "starttls"], 0),
        "1 delivery removed\n"
    );
    assert_eq!(queue.run(&["list"], 0), "");

    // Without a gateway, the command does it.
    lab.injector.inject(&mail()).await.unwrap();
    lab.subject.kill().await.unwrap();
    assert_eq!(queue.run(&["remove", "--all"], 0), "1 delivery removed\n");
    assert_eq!(queue.run(&["list"], 0), "");
}

/// The domain whose mail waits: an attacker takes STARTTLS out of what its host says.
const DOMAIN: &str = "dane-stripped.test";

/// The lab lets a second pass at most between two attempts.
const LONGER_THAN_ITS_SCHEDULE: Duration = Duration::from_millis(2_500);

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message that will wait.
fn mail() -> Mail {
    Mail {
        id: String::from("waiting"),
        from: String::from("a@home.test"),
        to: vec![format!("b@{DOMAIN}")],
        submission: Submission::Clear,
        parameters: "",
        headers: "",
        padding: 0,
    }
}

/// What `byrnie top` prints.
fn lab_top(lab: &Lab, arguments: &[&str]) -> String {
    let ran = Command::new(PROGRAM)
        .arg("top")
        .args(arguments)
        .arg("--config")
        .arg(lab.subject.plan.configuration_file())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

/// Waits until mail was put off so often.
async fn deferred(log: &Log, times: usize) {
    let seen = log.wait(PATIENCE, |lines| {
        let deferred = lines.iter().filter(|line| is_deferral(&line.text));
        (deferred.count() >= times).then_some(())
    });
    assert!(seen.await.is_some());
}

/// How often mail was put off.
fn deferrals(log: &Log) -> usize {
    log.look(|lines| lines.iter().filter(|line| is_deferral(&line.text)).count())
}

/// Whether a line says that mail was put off.
fn is_deferral(line: &str) -> bool {
    line.contains("next_attempt_in")
}

/// The commands, with the configuration of the gateway.
struct Queue(String);

impl Queue {
    /// What a command prints.
    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> String {
        let ran = Command::new(PROGRAM)
            .arg("queue")
            .args(arguments)
            .args(["--config", &self.0])
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The object that a command prints.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.run(&[arguments, &["--json"]].concat(), 0);
        serde_json::from_str(&printed).unwrap()
    }

    /// Waits until no attempt at a message is in progress.
    fn wait_until_idle(&self, id: &str) {
        while self.json(&["list", id])["tried_for"] != Value::Null {}
    }
}
