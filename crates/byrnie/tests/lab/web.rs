//! A policy of our own, from the configuration to a sender that keeps to it.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use byrnie_lab::mail_host::Conduct;
use byrnie_lab::subject::Subject;
use byrnie_lab::subject::SubjectPlan;
use byrnie_lab::world::Site;
use byrnie_lab::world::World;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::time::timeout;

use crate::played::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_published_kept_to_and_never_changed_to_lock_out_a_live_host() {
    let world = World::raise().await.unwrap();
    let site = site(&world).await;
    let (plan, served_at) = (plan(&world), plan(&world).smtp.ip());
    world
        .zones
        .set_address("mta-sts.web.test", v4(served_at))
        .unwrap();
    let mut subject = Subject::start(PROGRAM.as_ref(), plan.clone())
        .await
        .unwrap();
    assert!(subject.terminate().await.unwrap());
    let file = plan.configuration_file();
    let before = fs::read_to_string(&file).unwrap();
    let listen = SocketAddr::new(served_at, plan.https_port);
    let configuration = |mx: &str| before.clone() + &publishing(&listen, &plan, mx);
    fs::write(&file, configuration("")).unwrap();
    subject.restart().await.unwrap();
    published(&subject, 1).await;

    // Without the record no sender looks for it.
    let (said, code) = run(&plan, &["mta-sts", "show", "web.test"]);
    assert_eq!(
        (findings(&said), code),
        (vec!["no TXT record", UNREPORTED], 1),
        "{said}"
    );
    assert_eq!(
        said["policy"],
        "version: STSv1\nmode: enforce\nmx: mx.web.test\nmax_age: 1209600\n"
    );
    site.sts_id("web.test", id(&said)).unwrap();
    let (said, code) = run(&plan, &["mta-sts", "lint", "web.test"]);
    assert_eq!((findings(&said), code), (vec![UNREPORTED], 0), "{said}");
    let (said, code) = run(&plan, &["policy", "web.test"]);
    assert_eq!(
        (&said["verdict"], code),
        (&Value::from("mta-sts"), 0),
        "{said}"
    );

    // The policy before goes on, and the linter says why.
    fs::write(&file, configuration("mx = [\"mx.elsewhere.test\"]")).unwrap();
    let (_, code) = run(&plan, &["reload"]);
    assert_eq!(code, 0);
    said_so(&subject, "would lock out live mail hosts").await;
    let (said, code) = run(&plan, &["mta-sts", "lint", "web.test"]);
    assert_eq!(code, 1);
    let expected = vec![
        "locks out",
        "announces",
        "serves another",
        "is no MX host",
        UNREPORTED,
    ];
    assert_eq!(findings(&said), expected, "{said}");
    let (said, _) = run(&plan, &["policy", "web.test"]);
    assert_eq!(said["verdict"], "mta-sts", "{said}");

    // Another id of the same text.
    fs::write(&file, configuration("")).unwrap();
    let (_, code) = run(&plan, &["reload"]);
    assert_eq!(code, 0);
    let (said, code) = run(&plan, &["mta-sts", "bump", "web.test"]);
    assert_eq!((&said["edition"], code), (&Value::from(1), 0), "{said}");
    let (said, code) = run(&plan, &["mta-sts", "lint", "web.test"]);
    assert_eq!(
        (findings(&said), code),
        (vec!["announces", UNREPORTED], 1),
        "{said}"
    );

    // Strangers are not in the configuration, and get no certificate.
    let (_, code) = run(&plan, &["mta-sts", "show", "stranger.test"]);
    assert_eq!(code, 2);
    assert!(subject.terminate().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_is_asked_where_public_pages_are_served_alone() {
    let world = World::raise().await.unwrap();
    let _site = site(&world).await;
    let (plan, served_at) = (plan(&world), plan(&world).smtp.ip());
    let folder = plan.folder.display();
    let configuration = format!(
        "{}\n[web]\nlisten = [\"{}\"]\n\
         [[web.certificate]]\ncertificate_file = \"{folder}/web.pem\"\nkey_file = \"{folder}/web.key\"\n\
         [tlsrpt.receive]\nhttps = true\n\
         [alerts]\nwebhook = \"https://nowhere.web.test/\"\nmail = \"postmaster@web.test\"\n",
        plan.configuration(),
        SocketAddr::new(served_at, plan.https_port),
    );
    fs::write(plan.configuration_file(), configuration).unwrap();
    serve_until(&plan, &["\"ready\""]).await;

    // The spool is there now; what is new comes into it while nobody serves.
    let report = plan.folder.join("report.json");
    let text = r#"{"organization-name": "Org", "report-id": "1", "policies": [{
        "policy": {"policy-type": "sts", "policy-domain": "web.test"},
        "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 1}]}]}"#;
    fs::write(&report, text).unwrap();
    let (said, code) = run(&plan, &["report", "import", report.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let expected = ["nobody is told of new failures by mail", "nowhere.web.test"];
    serve_until(&plan, &expected).await;
}

/// Serves public pages alone until the log has said all of this, in this order.
async fn serve_until(plan: &SubjectPlan, expected: &[&str]) {
    let mut serving = tokio::process::Command::new(PROGRAM)
        .args(["serve", "--only", "web", "--config"])
        .arg(plan.configuration_file())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(serving.stderr.take().unwrap()).lines();
    for text in expected {
        let said = async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("{text}: it has ended");
        };
        timeout(PATIENCE, said).await.unwrap();
    }
    serving.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_names_a_certificate_that_cannot_be_used() {
    let world = World::raise().await.unwrap();
    let _site = site(&world).await;
    let plan = plan(&world);
    let listen = SocketAddr::new(world.subject_plan().unwrap().smtp.ip(), plan.https_port);
    let start = Subject::start(PROGRAM.as_ref(), plan.clone());
    let mut subject = start.await.unwrap();
    assert!(subject.terminate().await.unwrap());
    let text = plan.configuration() + &publishing(&listen, &plan, "");
    fs::write(plan.configuration_file(), text).unwrap();
    subject.restart().await.unwrap();
    fs::write(world.folder().join("web.pem"), "no certificate").unwrap();
    let (said, code) = run(&plan, &["reload"]);
    let warnings = said["warnings"].to_string();
    assert!(
        warnings.contains("`web.certificate.certificate_file`"),
        "{said}"
    );
    assert_eq!(code, 0);
    assert!(subject.terminate().await.unwrap());
}

/// The part of the configuration that publishes a policy.
fn publishing(listen: &SocketAddr, plan: &SubjectPlan, mx: &str) -> String {
    let folder = plan.folder.display();
    format!(
        "\n[web]\nlisten = [\"{listen}\"]\n\
         [[web.certificate]]\ncertificate_file = \"{folder}/web.pem\"\nkey_file = \"{folder}/web.key\"\n\
         [[mta_sts]]\ndomains = [\"web.test\"]\nmode = \"enforce\"\n{mx}\n"
    )
}

/// A domain with a mail host that satisfies MTA-STS, and a certificate for its policy host.
async fn site(world: &Arc<World>) -> Site {
    let mut site = Site::new(world);
    site.signed("web.test").unwrap();
    let identity = site.public(&["mx.web.test"]).unwrap();
    let conduct = Conduct::tls(identity.acceptor().unwrap());
    site.mail_host("mx.web.test", conduct).unwrap();
    site.mx("web.test", &[(10, "mx.web.test")]).unwrap();
    site.settle().await.unwrap();
    let identity = site.public(&["mta-sts.web.test"]).unwrap();
    let folder = world.folder();
    fs::write(folder.join("web.pem"), identity.chain_pem()).unwrap();
    fs::write(folder.join("web.key"), identity.key_pem()).unwrap();
    site
}

fn plan(world: &World) -> SubjectPlan {
    world.subject_plan().unwrap()
}

fn v4(address: std::net::IpAddr) -> std::net::Ipv4Addr {
    let std::net::IpAddr::V4(address) = address else {
        panic!("the lab has IPv4 addresses");
    };
    address
}

/// Runs a command with `--json`: what it prints, and its exit code.
fn run(plan: &SubjectPlan, arguments: &[&str]) -> (Value, i32) {
    let ran = Command::new(PROGRAM)
        .args(arguments)
        .args(["--json", "--config"])
        .arg(plan.configuration_file())
        .output()
        .unwrap();
    let said = serde_json::from_slice(&ran.stdout).unwrap_or_default();
    (said, ran.status.code().unwrap())
}

/// The id that the record must announce.
fn id(said: &Value) -> &str {
    let text = said["records"][0]["text"].as_str().unwrap();
    let (_, id) = text.split_once("id=").unwrap();
    id.trim_end_matches(';')
}

/// That nobody is told where reports go.
const UNREPORTED: &str = "no record at _smtp._tls";

/// The findings, by a part of each that tells them apart.
fn findings(said: &Value) -> Vec<&'static str> {
    let known = [
        "no TXT record",
        "locks out",
        "announces",
        "serves another",
        "is no MX host",
        "get no policy",
        UNREPORTED,
    ];
    let findings = said["findings"].as_array().unwrap().iter();
    let texts = findings.map(|finding| finding["text"].as_str().unwrap());
    texts
        .map(|text| *known.iter().find(|known| text.contains(**known)).unwrap())
        .collect()
}

/// Waits until so many policies were newly published.
async fn published(subject: &Subject, count: usize) {
    let log = subject.log();
    let found = log.wait(PATIENCE, |lines| {
        let new = lines
            .iter()
            .filter(|line| line.text.contains("a new policy is published"));
        (new.count() == count).then_some(())
    });
    assert!(found.await.is_some());
}

/// Waits for a line of the log.
async fn said_so(subject: &Subject, text: &str) {
    let log = subject.log();
    let found = log.wait(PATIENCE, |lines| {
        lines
            .iter()
            .any(|line| line.text.contains(text))
            .then_some(())
    });
    assert!(found.await.is_some(), "{text}");
}

/// How long is waited for a line of the log.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
