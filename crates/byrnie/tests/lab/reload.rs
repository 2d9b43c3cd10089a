//! The configuration read again by a gateway at work: connections stay, and new settings count.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use byrnie_lab::subject::Subject;
use byrnie_lab::subject::SubjectPlan;
use byrnie_lab::world::World;
use serde_json::Value;
use serde_json::json;

use crate::played::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_counts_for_new_connections_and_breaks_none() {
    let world = World::raise().await.unwrap();
    let plan = world.subject_plan().unwrap();
    let mut subject = Subject::start(PROGRAM.as_ref(), plan.clone())
        .await
        .unwrap();
    let file = plan.configuration_file();
    let good = fs::read_to_string(&file).unwrap();
    let socket = plan.folder.join("spool/control.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut before = Client::connect(plan.smtp);
    before.hear("220 ");
    let (said, code) = reload(&plan, &good);
    assert_eq!((&said["in_force"], code), (&json!([]), 0), "{said}");

    // Nobody may connect from here any more, and the file names what cannot change meanwhile.
    let changed = good
        .replace("[\"127.0.0.0/8\"]", "[\"192.0.2.0/24\"]")
        .replace("ttl_floor = \"0s\"", "ttl_floor = \"1s\"")
        .replace("retry_factor = 2.0", "retry_factor = 3.0");
    let (said, code) = reload(&plan, &changed);
    let in_force = json!(["queue.retry_factor", "smtp.trusted_networks"]);
    assert_eq!((&said["in_force"], code), (&in_force, 0), "{said}");
    assert_eq!(said["after_restart"], json!(["dns.ttl_floor"]), "{said}");
    Client::connect(plan.smtp).hear("554 5.7.1 ");
    before.say("EHLO client.test");
    before.hear("250 ");

    // A bad file changes nothing, and is refused with its line.
    let bad = good.replace("smtp]", "smtp]\nmax_recipients = 0");
    let (said, code) = reload(&plan, &bad);
    assert_eq!((said, code), (Value::Null, 2));
    Client::connect(plan.smtp).hear("554 5.7.1 ");

    // A signal does the same as the command.
    fs::write(&file, &good).unwrap();
    signal(&subject, "HUP").await;
    let log = subject.log();
    let read_again = log.wait(PATIENCE, |lines| {
        let read = lines.iter().filter(|line| line.text.contains("read again"));
        (read.count() == 3).then_some(())
    });
    assert!(read_again.await.is_some());
    Client::connect(plan.smtp).hear("220 ");

    fs::write(&file, &bad).unwrap();
    signal(&subject, "HUP").await;
    let refused = log.wait(PATIENCE, |lines| {
        let found = lines.iter().find(|line| {
            line.text.contains("everything stays as it was") && line.text.contains(", line 5: ")
        });
        found.map(|_| ())
    });
    assert!(refused.await.is_some());

    before.say("QUIT");
    before.hear("221 ");
    assert!(subject.terminate().await.unwrap());
    assert!(!socket.exists());
    let (said, code) = reload(&plan, &good);
    assert_eq!((said, code), (Value::Null, 1));
}

/// Puts a configuration in place and asks the gateway to read it: what it says, and the exit code.
fn reload(plan: &SubjectPlan, configuration: &str) -> (Value, i32) {
    let file = plan.configuration_file();
    fs::write(&file, configuration).unwrap();
    let ran = Command::new(PROGRAM)
        .args(["reload", "--json", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = serde_json::from_slice(&ran.stdout).unwrap_or_default();
    (said, ran.status.code().unwrap())
}

/// Sends a signal to the gateway.
async fn signal(subject: &Subject, name: &str) {
    let id = subject.process_id().unwrap();
    let mut kill = tokio::process::Command::new("sh");
    kill.arg("-c").arg(format!("kill -{name} {id}"));
    assert!(kill.status().await.unwrap().success());
}

/// A client that stays connected.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, line: &str) {
        write!(self.0.get_mut(), "{line}\r\n").unwrap();
    }

    /// The last line of the next reply begins so.
    #[track_caller]
    fn hear(&mut self, start: &str) {
        let mut line = String::new();
        while line.is_empty() || line.as_bytes().get(3) == Some(&b'-') {
            line.clear();
            self.0.read_line(&mut line).unwrap();
        }
        assert!(line.starts_with(start), "{line}");
    }
}

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);
