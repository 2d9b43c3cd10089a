//! How the daemon bears what clients send.

use std::collections::HashMap;
use std::io;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_net::gather::Destination;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::MxRrset;
use byrnie_policy::StsEvidence;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::io::duplex;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::Metrics;
use crate::judge::Considered;
use crate::policyd::Consider;
use crate::policyd::Desk;
use crate::policyd::Door;
use crate::policyd::Doors;
use crate::policyd::PolicyDaemon;
use crate::policyd::connection::Room;
use crate::policyd::connection::Workbench;
use crate::policyd::connection::attend;
use crate::policyd::protocol::Protocol;

#[tokio::test]
async fn postfix_is_answered_over_tcp_and_over_a_socket() {
    let world = World::start(9).await;
    let mut client = world.postfix().await;
    client.ask("postfix waits.example").await;
    client
        .hears("TEMP waits.example: The MX records could not be looked up: nobody answers.")
        .await;
    client.ask("postfix null.example").await;
    client.hears("NOTFOUND ").await;
    let mut client = Client(world.postfix_socket().await);
    client.ask("postfix-tlsrpt null.example").await;
    client.hears("NOTFOUND ").await;
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order() {
    let world = World::start(9).await;
    let mut client = world.postfix().await;
    client.ask("postfix known.null.example").await;
    client.hears("NOTFOUND ").await;
    let mut together = Vec::new();
    for number in 0..200 {
        // Known, to be looked up, and no destination at all.
        together.extend(netstring("postfix known.null.example"));
        together.extend(netstring(&format!("postfix {number}.waits.example")));
        together.extend(netstring("postfix .example"));
    }
    client.0.write_all(&together).await.unwrap();
    for number in 0..200 {
        client.hears("NOTFOUND ").await;
        let why = format!(
            "TEMP {number}.waits.example: The MX records could not be looked up: nobody answers."
        );
        client.hears(&why).await;
        client.hears("NOTFOUND ").await;
    }
}

#[tokio::test]
async fn a_request_may_come_octet_by_octet() {
    let world = World::start(9).await;
    let mut client = world.postfix().await;
    for _ in 0..2 {
        for octet in netstring("postfix null.example") {
            client.0.write_all(&[octet]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.hears("NOTFOUND ").await;
    }
}

#[tokio::test]
async fn what_is_asked_again_is_not_looked_up_again_until_the_rules_change() {
    let world = World::start(9).await;
    let mut client = world.postfix().await;
    for _ in 0..3 {
        client.ask("postfix null.example").await;
        client.hears("NOTFOUND ").await;
    }
    assert_eq!(world.decider.asked("null.example"), 1);
    world.decider.edition.fetch_add(1, Ordering::SeqCst);
    client.ask("postfix null.example").await;
    client.hears("NOTFOUND ").await;
    assert_eq!(world.decider.asked("null.example"), 2);
}

#[tokio::test]
async fn a_slow_lookup_holds_up_nobody_else() {
    let world = World::start(9).await;
    let mut slow = world.postfix().await;
    slow.ask("postfix slow.null.example").await;
    let mut other = world.postfix().await;
    other.ask("postfix null.example").await;
    other.hears("NOTFOUND ").await;
    // What is known already need not wait for what comes behind it.
    other.ask("postfix null.example").await;
    other.ask("postfix slow.null.example").await;
    other.hears("NOTFOUND ").await;
    world.decider.go.send_replace(true);
    slow.hears("NOTFOUND ").await;
    other.hears("NOTFOUND ").await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_ends_the_connection() {
    let world = World::start(9).await;
    for (octets, why) in [
        (
            "5:abc,",
            "PERM the request does not end where its length says",
        ),
        ("1048576:", "PERM the request is longer than 12000 octets"),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "PERM the request does not begin with its length",
        ),
    ] {
        let mut client = world.postfix().await;
        client.0.write_all(octets.as_bytes()).await.unwrap();
        client.0.write_all(b"     ").await.unwrap();
        client.hears(why).await;
        client.is_cut_off().await;
    }
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_and_the_next_one_answered() {
    let world = World::start(9).await;
    let mut client = world.postfix().await;
    let long = format!("postfix {}", "a".repeat(11_000));
    for (request, answer) in [
        (
            "exim null.example",
            "PERM the map is called neither postfix nor postfix-tlsrpt",
        ),
        (
            "",
            "PERM the map is called neither postfix nor postfix-tlsrpt",
        ),
        ("postfix", "PERM there is no key behind the name of the map"),
        (
            "postfix null.example:gopher",
            "PERM the port is neither a number nor a known service",
        ),
        ("postfix ", "NOTFOUND "),
        ("postfix [192.0.2.1]:25", "NOTFOUND "),
        ("postfix .example", "NOTFOUND "),
        (long.as_str(), "NOTFOUND "),
        ("postfix null.example", "NOTFOUND "),
    ] {
        client.ask(request).await;
        client.hears(answer).await;
    }
}

#[tokio::test]
async fn exim_is_answered_line_by_line_and_at_the_end() {
    let world = World::start(9).await;
    let mut client = Client(world.exim().await);
    client
        .0
        .write_all(b"null.example\r\n.example\nwaits.example")
        .await
        .unwrap();
    client.0.shutdown().await.unwrap();
    let mut answers = String::new();
    client.0.read_to_string(&mut answers).await.unwrap();
    assert_eq!(
        answers,
        "level=none\nlevel=none\nlevel=defer reason=\"waits.example: The MX records could not be looked up: nobody answers.\"\n"
    );
    let mut client = Client(world.exim().await);
    let endless = "a".repeat(5_000);
    client.0.write_all(endless.as_bytes()).await.unwrap();
    let mut answers = String::new();
    client.0.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers, "level=defer reason=\"the line is too long\"\n");
}

#[tokio::test]
async fn the_newest_is_refused_when_there_are_too_many() {
    let world = World::start(2).await;
    let mut first = world.postfix().await;
    first.ask("postfix null.example").await;
    first.hears("NOTFOUND ").await;
    let mut second = world.postfix().await;
    second.ask("postfix null.example").await;
    second.hears("NOTFOUND ").await;
    let mut third = world.postfix().await;
    third.is_cut_off().await;
    first.ask("postfix null.example").await;
    first.hears("NOTFOUND ").await;
    let counted = world.metrics.render();
    assert!(
        counted.contains("byrnie_policyd_refused_connections_total 1\n"),
        "{counted}"
    );
    assert!(
        counted.contains("byrnie_policyd_connections 2\n"),
        "{counted}"
    );
    assert!(
        counted.contains("byrnie_policyd_lookups_total 1\n"),
        "{counted}"
    );
    let answers = "byrnie_policyd_answers_total{protocol=\"socketmap\",result=\"not-found\"} 3\n";
    assert!(counted.contains(answers), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answers_is_cut_off() {
    let (mut client, attended) = attended();
    let requests = netstring("postfix .example").repeat(10_000);
    // It writes all that the daemon reads, which is not all, as the daemon has to wait for the client.
    client.write_all(&requests).await.unwrap_err();
    let cut_off = attended.await.unwrap().unwrap_err();
    assert_eq!(cut_off.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_to_come_to_its_end() {
    let (mut client, attended) = attended();
    let begun = Instant::now();
    for _ in 0..4 {
        // However slowly: the next octet does not prolong it.
        client.write_all(b"1").await.unwrap();
        sleep(Duration::from_secs(2)).await;
    }
    attended.await.unwrap().unwrap();
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_borne_for_a_while_after_each_request() {
    let (mut client, attended) = attended();
    let begun = Instant::now();
    sleep(Duration::from_secs(500)).await;
    client
        .write_all(&netstring("postfix .example"))
        .await
        .unwrap();
    attended.await.unwrap().unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1_100);
}

#[tokio::test]
async fn the_daemon_ends_when_it_is_told_to() {
    let world = World::start(9).await;
    let mut client = world.postfix().await;
    world.stop.send(()).unwrap();
    world.daemon.finished().await.unwrap();
    client.is_cut_off().await;
}

/// Ten thousand of them wait most of the time.
#[tokio::test]
async fn an_idle_connection_is_small() {
    let (_client, stream) = duplex(1_024);
    let task = attend(stream, room());
    assert!(size_of_val(&task) <= 640, "{}", size_of_val(&task));
}

/// A client that is attended to.
fn attended() -> (DuplexStream, JoinHandle<io::Result<()>>) {
    let (client, stream) = duplex(1_024);
    (client, tokio::spawn(attend(stream, room())))
}

/// What connections share.
fn room() -> Arc<Room<Scripted>> {
    Arc::new(Room {
        protocol: Protocol::Socketmap,
        desk: Arc::new(Desk::new(Arc::new(Scripted::new()), &Metrics::new())),
        lookups: Handle::current(),
        counts: Metrics::new().policyd.answers("socketmap"),
        bench: Mutex::new(Workbench::new()),
    })
}

/// A daemon over a decider that knows domains by their names.
struct World {
    decider: Arc<Scripted>,
    metrics: Arc<Metrics>,
    daemon: PolicyDaemon,
    stop: oneshot::Sender<()>,
    postfix: SocketAddr,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(connections_max: usize) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let postfix = tcp.local_addr().unwrap();
        let at = |name| std::os::unix::net::UnixListener::bind(folder.path().join(name)).unwrap();
        let doors = Doors {
            socketmap: vec![
                Door::Tcp(tcp.into_std().unwrap()),
                Door::Unix(at("postfix")),
            ],
            lines: vec![Door::Unix(at("exim"))],
        };
        let decider = Arc::new(Scripted::new());
        let metrics = Arc::new(Metrics::new());
        let (stop, stopped) = oneshot::channel();
        let desk = Arc::new(Desk::new(Arc::clone(&decider), &metrics));
        let until = async {
            _ = stopped.await;
        };
        Self {
            daemon: PolicyDaemon::start(doors, &desk, &metrics, connections_max, until).unwrap(),
            decider,
            metrics,
            stop,
            postfix,
            folder,
        }
    }

    async fn postfix(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.postfix).await.unwrap())
    }

    async fn postfix_socket(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("postfix"))
            .await
            .unwrap()
    }

    async fn exim(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("exim"))
            .await
            .unwrap()
    }
}

/// Says of `null` domains that they take no mail, and of others that nothing is known.
struct Scripted {
    asked: Mutex<HashMap<DomainName, u32>>,
    edition: AtomicU64,
    /// Whether lookups of `slow` domains come to an end.
    go: watch::Sender<bool>,
}

impl Scripted {
    fn new() -> Self {
        Self {
            asked: Mutex::default(),
            edition: AtomicU64::new(0),
            go: watch::Sender::new(false),
        }
    }

    fn asked(&self, domain: &str) -> u32 {
        self.asked.lock().unwrap()[&domain.parse().unwrap()]
    }
}

impl Consider for Scripted {
    async fn consider(&self, destination: &Destination) -> Arc<Considered> {
        let domain = &destination.domain;
        *self
            .asked
            .lock()
            .unwrap()
            .entry(domain.clone())
            .or_default() += 1;
        if domain.as_str().contains("slow") {
            self.go.subscribe().wait_for(|go| *go).await.unwrap();
        }
        let mx = match domain.as_str().contains("null") {
            true => Ok(Secured::secure(MxRrset::Null)),
            false => Err(LookupError::Failed(String::from("nobody answers"))),
        };
        let evidence = Evidence {
            domain: domain.clone(),
            expanded_domain: None,
            mx,
            hosts: Vec::new(),
            sts: StsEvidence::Absent,
            rule: DomainRule::default(),
            message: TlsDemand::None,
            floor: None,
        };
        Arc::new(Considered {
            decision: decide(&evidence),
            evidence,
            reuse: Duration::from_secs(60),
            at: Instant::now(),
        })
    }

    fn edition(&self) -> u64 {
        self.edition.load(Ordering::SeqCst)
    }
}

/// Somebody who asks.
struct Client<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn ask(&mut self, request: &str) {
        self.0.write_all(&netstring(request)).await.unwrap();
    }

    async fn hears(&mut self, answer: &str) {
        let expected = netstring(answer);
        let mut octets = vec![0; expected.len()];
        self.0.read_exact(&mut octets).await.unwrap();
        assert_eq!(
            String::from_utf8(octets).unwrap(),
            String::from_utf8(expected).unwrap()
        );
    }

    async fn is_cut_off(&mut self) {
        let mut rest = Vec::new();
        // What was not read may make the system say that the connection was reset.
        _ = self.0.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
}

fn netstring(text: &str) -> Vec<u8> {
    format!("{}:{text},", text.len()).into_bytes()
}
