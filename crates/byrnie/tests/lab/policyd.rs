//! Other mail servers ask the policy daemon, beside the relay and without one.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use byrnie_lab::policy_host::HttpAnswer;
use byrnie_lab::subject::Subject;
use byrnie_lab::subject::SubjectPlan;
use byrnie_lab::world::Site;
use byrnie_lab::world::World;
use serde_json::Value;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::played::PROGRAM;
use crate::start::get;

#[tokio::test(flavor = "multi_thread")]
async fn other_mail_servers_are_told_what_the_relay_does() {
    let world = World::raise().await.unwrap();
    let _site = promising(&world).await;
    let plan = world.subject_plan().unwrap();
    let mut subject = Subject::start(PROGRAM.as_ref(), plan.clone())
        .await
        .unwrap();
    assert!(subject.terminate().await.unwrap());
    fs::write(plan.configuration_file(), configuration(&plan, "")).unwrap();
    subject.restart().await.unwrap();
    told(&plan);
    assert!(subject.terminate().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_daemon_works_alone_and_takes_rules_over() {
    let world = World::raise().await.unwrap();
    let _site = promising(&world).await;
    let plan = world.subject_plan().unwrap();
    // Another subject's place, which nobody else listens at.
    let answers_at = world.subject_plan().unwrap().smtp;
    let http = format!("http = [\"{answers_at}\"]\n");
    fs::write(plan.configuration_file(), configuration(&plan, &http)).unwrap();
    let mut daemon = alone(&plan, "policyd").await;
    told(&plan);

    // Where the relay would take mail, there are decisions.
    let decision = get(answers_at, "/v1/policy/policyd-dane.test");
    let decision: Value = serde_json::from_str(&decision).unwrap();
    assert_eq!(decision["verdict"], "dane", "{decision}");
    assert_eq!(decision["postfix"], "dane-only", "{decision}");
    let counted = get(plan.metrics, "/metrics");
    let answers = "byrnie_policyd_answers_total{protocol=\"socketmap\",result=\"found\"} 4\n";
    assert!(counted.contains(answers), "{counted}");

    // A rule counts from the reload on, also for what was answered before.
    let plain = "postfix policyd-plain.test";
    assert_eq!(postfix(&plan, plain), "NOTFOUND ");
    let rule = "[[rule]]\ndomain = \"policyd-plain.test\"\nat_least = \"encrypt\"\n";
    let text = configuration(&plan, &http) + rule;
    fs::write(plan.configuration_file(), text).unwrap();
    let (said, code) = run(&plan, &["reload", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["in_force"][0].as_str(), code), (Some("rule"), 0));
    assert_eq!(postfix(&plan, plain), "OK encrypt");

    // There is no queue to steer.
    let (_, code) = run(&plan, &["queue", "retry", "--all"]).await;
    assert_ne!(code, 0);
    assert!(terminated(&mut daemon).await);
}

#[tokio::test]
async fn the_public_server_works_alone_until_it_is_told_to_end() {
    let world = World::raise().await.unwrap();
    let plan = world.subject_plan().unwrap();
    let listen = world.subject_plan().unwrap().smtp;
    let identity = Site::new(&world).public(&["mta-sts.web.test"]).unwrap();
    fs::write(plan.folder.join("web.pem"), identity.chain_pem()).unwrap();
    fs::write(plan.folder.join("web.key"), identity.key_pem()).unwrap();
    let web = format!(
        "\n[web]\nlisten = [\"{listen}\"]\n\
         [[web.certificate]]\ncertificate_file = \"web.pem\"\nkey_file = \"web.key\"\n"
    );
    fs::write(plan.configuration_file(), plan.configuration() + &web).unwrap();
    let mut server = alone(&plan, "web").await;
    timeout(ENDING_MAX, server.wait()).await.unwrap_err();
    assert!(TcpStream::connect(listen).is_ok());
    assert!(terminated(&mut server).await);
}

#[tokio::test]
async fn a_policy_daemon_that_nobody_can_ask_does_not_start() {
    let world = World::raise().await.unwrap();
    let plan = world.subject_plan().unwrap();
    let text = plan.configuration();
    let (silent, _) = text.split_once("[policyd]").unwrap();
    fs::write(plan.configuration_file(), silent).unwrap();
    let (said, code) = run(&plan, &["serve", "--only", "policyd"]).await;
    assert_eq!(code, 2, "{said}");
}

/// Domains that promise something, and one that does not.
async fn promising(world: &Arc<World>) -> Site {
    let mut site = Site::new(world);
    site.signed("policyd-dane.test").unwrap();
    site.dane_host("mx.policyd-dane.test").unwrap();
    site.mx("policyd-dane.test", &[(10, "mx.policyd-dane.test")])
        .unwrap();
    for domain in ["policyd-sts.test", "policyd-plain.test"] {
        let host = format!("mx.{domain}");
        site.unsigned(domain).unwrap();
        let identity = site.public(&[&host]).unwrap();
        let conduct = byrnie_lab::mail_host::Conduct::tls(identity.acceptor().unwrap());
        site.mail_host(&host, conduct).unwrap();
        site.mx(domain, &[(10, &host)]).unwrap();
    }
    let policy = HttpAnswer::policy("enforce", &["*.policyd-sts.test"]);
    site.sts("policyd-sts.test", "1", policy).unwrap();
    site.settle().await.unwrap();
    site
}

/// What holds for these domains, as Postfix and Exim are told.
fn told(plan: &SubjectPlan) {
    let secure = "OK secure match=mx.policyd-sts.test servername=hostname";
    for (request, answer) in [
        ("postfix policyd-dane.test", "OK dane-only"),
        ("postfix-tlsrpt policyd-dane.test", "OK dane-only"),
        ("postfix policyd-sts.test", secure),
        ("postfix policyd-plain.test", "NOTFOUND "),
        // Its own host, whose TLSA records stand at port 25.
        ("postfix [mx.policyd-dane.test]", "OK dane-only"),
        ("postfix [mx.policyd-dane.test]:587", "NOTFOUND "),
        ("postfix .test", "NOTFOUND "),
        ("postfix policyd-nowhere.test", "NOTFOUND "),
    ] {
        assert_eq!(postfix(plan, request), answer, "{request}");
    }
    for (domain, answer) in [
        ("policyd-dane.test", "level=dane-only\n"),
        (
            "policyd-sts.test",
            "level=secure match=*.policyd-sts.test\n",
        ),
        ("policyd-plain.test\n", "level=none\n"),
    ] {
        assert_eq!(exim(plan, domain), answer, "{domain}");
    }
}

/// The lab's configuration, in which Postfix is answered, with doors for others.
fn configuration(plan: &SubjectPlan, more: &str) -> String {
    let folder = plan.folder.display();
    let doors = format!("[policyd]\nexim = [\"unix:{folder}/exim.sock\"]\n{more}");
    let text = plan.configuration().replace("[policyd]\n", &doors);
    assert!(text.contains(&doors));
    text
}

/// One service without a relay, ready.
async fn alone(plan: &SubjectPlan, service: &str) -> Child {
    let child = Command::new(PROGRAM)
        .args(["serve", "--only", service, "--config"])
        .arg(plan.configuration_file())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ready = async {
        while !is_ready(plan.metrics) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(READY_MAX, ready).await.unwrap();
    child
}

/// Tells it to end; whether it says that all is well.
async fn terminated(service: &mut Child) -> bool {
    let id = service.id().unwrap();
    let mut kill = Command::new("sh");
    kill.arg("-c").arg(format!("kill -TERM {id}"));
    assert!(kill.status().await.unwrap().success());
    service.wait().await.unwrap().success()
}

/// Whether it says that it is ready.
fn is_ready(metrics: SocketAddr) -> bool {
    TcpStream::connect(metrics).is_ok() && get(metrics, "/readyz") == "ready\n"
}

/// What Postfix is answered.
fn postfix(plan: &SubjectPlan, request: &str) -> String {
    let mut stream = TcpStream::connect(plan.socketmap).unwrap();
    write!(stream, "{}:{request},", request.len()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, answer) = answer.split_once(':').unwrap();
    String::from(answer.strip_suffix(',').unwrap())
}

/// What Exim is answered.
fn exim(plan: &SubjectPlan, domain: &str) -> String {
    let mut stream = UnixStream::connect(plan.folder.join("exim.sock")).unwrap();
    stream.write_all(domain.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs a command beside the gateway: what it prints, and its exit code.
async fn run(plan: &SubjectPlan, arguments: &[&str]) -> (String, i32) {
    let ran = Command::new(PROGRAM)
        .args(arguments)
        .arg("--config")
        .arg(plan.configuration_file())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    (said, ran.status.code().unwrap())
}

/// Who has nothing to do but to end needs less.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// How long it may take to start on a machine that has much to do.
const READY_MAX: Duration = Duration::from_secs(30);
