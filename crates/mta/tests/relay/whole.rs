//! The whole agent over loopback: mail goes in by SMTP and comes out at a host by SMTP.
//!
//! DNS answers are made up, and nobody here has TLS; what authenticated delivery demands is shown in
//! the lab.

use std::collections::HashMap;
use std::future::pending;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::Secured;
use byrnie_mta::Decider;
use byrnie_mta::DeciderConfig;
use byrnie_mta::Metrics;
use byrnie_mta::Mta;
use byrnie_mta::MtaConfig;
use byrnie_mta::MtaParts;
use byrnie_mta::Route;
use byrnie_mta::SmartHost;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::Answer;
use byrnie_net::dns::Explanation;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::smtp::server::IncomingMessage;
use byrnie_net::smtp::server::MailService;
use byrnie_net::smtp::server::Server;
use byrnie_net::smtp::server::ServerConfig;
use byrnie_net::smtp::server::SessionFacts;
use byrnie_net::smtp::server::serve;
use byrnie_net::tls::Roots;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_store::AttemptOutcome;
use byrnie_store::DeliveryState;
use byrnie_store::Filter;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::Receipt;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time;

#[tokio::test]
async fn mail_is_relayed_and_leaves_a_receipt() {
    let mut world = World::start().await;
    let id = world
        .submit("a@origin.example", &["b@one.example"], "hello")
        .await;
    let (envelope, text) = world.arrival().await;
    assert_eq!(envelope.reverse_path.to_string(), "a@origin.example");
    assert_eq!(envelope.recipients, [mailbox("b@one.example")]);
    assert!(text.starts_with("Received: from client.example ([127.0.0.1])\r\n\tby relay.example"));
    assert!(
        text.contains(&format!("id {id}\r\n\tfor <b@one.example>")),
        "{text}"
    );
    assert!(
        text.ends_with("Subject: test\r\n\r\nhello\r\n..dots stay\r\n"),
        "{text}"
    );

    let receipts = world.receipts_once_gone(id).await;
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].outcome, AttemptOutcome::Delivered);
    assert_eq!(receipts[0].circumstances.host, Some(name("mx.one.example")));
    assert_eq!(receipts[0].circumstances.tls, None);
    assert_eq!(receipts[0].reply.as_ref().unwrap().code, 250);
    let counted = world.metrics.render();
    for line in [
        "byrnie_messages_accepted_total{channel=\"clear\"} 1",
        "byrnie_connections_out_total{channel=\"clear\"} 1",
        "byrnie_attempts_total{requirement=\"opportunistic\",result=\"delivered\"} 1",
        "byrnie_decisions_total{verdict=\"opportunistic\"} 1",
    ] {
        assert!(counted.contains(line), "{line}\n{counted}");
    }
    world.stop().await;
}

#[tokio::test]
async fn many_recipients_of_one_domain_are_named_in_few_transactions() {
    let mut world = World::start().await;
    let recipients: Vec<String> = (0..150).map(|n| format!("r{n}@one.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let id = world.submit("a@origin.example", &recipients, "hello").await;
    let (first, _) = world.arrival().await;
    let (second, _) = world.arrival().await;
    assert_eq!((first.recipients.len(), second.recipients.len()), (100, 50));
    let receipts = world.receipts_once_gone(id).await;
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].recipients.len(), 150);
    world.stop().await;
}

#[tokio::test]
async fn who_is_refused_comes_back_and_the_others_arrive() {
    let mut world = World::start().await;
    let recipients = ["b@one.example", "nobody@one.example"];
    let id = world.submit("a@origin.example", &recipients, "hello").await;
    let (envelope, _) = world.arrival().await;
    assert_eq!(envelope.recipients, [mailbox("b@one.example")]);

    let (bounce, text) = world.arrival().await;
    assert_eq!(bounce.reverse_path, ReversePath::Null);
    assert_eq!(bounce.recipients, [mailbox("a@origin.example")]);
    assert!(
        text.contains("Final-Recipient: rfc822; nobody@one.example"),
        "{text}"
    );
    assert!(text.contains("Status: 5.1.1"), "{text}");
    assert!(
        text.contains("Diagnostic-Code: smtp; 550 5.1.1 no such user"),
        "{text}"
    );
    assert!(
        text.contains("Subject: test") && !text.contains("hello"),
        "{text}"
    );
    assert_eq!(world.receipts_once_gone(id).await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_domain_that_takes_no_mail_is_told_at_once() {
    let mut world = World::start().await;
    for (recipient, status) in [("b@null.example", "5.1.10"), ("b@nowhere.example", "5.1.2")] {
        world
            .submit("a@origin.example", &[recipient], "hello")
            .await;
        let (_, text) = world.arrival().await;
        assert!(text.contains(&format!("Status: {status}\r\n")), "{text}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_address_literal_is_a_next_hop() {
    let mut world = World::start().await;
    let id = world
        .submit("a@origin.example", &["b@[127.0.0.1]"], "hello")
        .await;
    let (envelope, _) = world.arrival().await;
    assert_eq!(envelope.recipients, [mailbox("b@[127.0.0.1]")]);
    let receipts = world.receipts_once_gone(id).await;
    assert_eq!(receipts[0].circumstances.host, None);
    world.stop().await;
}

#[tokio::test]
async fn all_mail_goes_to_the_smart_host_in_one_delivery() {
    let mut world = World::start().await;
    let smart_host = SmartHost {
        domain: "[127.0.0.1]".parse().unwrap(),
        port: Some(world.host.address.port()),
    };
    world.config.route = Route::SmartHost(smart_host);
    world.config.mx_port = 1;
    let mut world = world.restart().await;
    let recipients = ["b@one.example", "c@nowhere.example"];
    let id = world.submit("a@origin.example", &recipients, "hello").await;
    let (envelope, _) = world.arrival().await;
    assert_eq!(envelope.recipients, recipients.map(mailbox));
    assert_eq!(world.receipts_once_gone(id).await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn mail_to_one_host_shares_a_connection() {
    let mut world = World::start().await;
    for number in 0..3 {
        let recipient = format!("b{number}@one.example");
        let id = world
            .submit("a@origin.example", &[&recipient], "hello")
            .await;
        world.arrival().await;
        world.receipts_once_gone(id).await;
    }
    let counted = world.metrics.render();
    for line in [
        "byrnie_connections_out_total{channel=\"clear\"} 1",
        "byrnie_connections_reused_total{channel=\"clear\"} 2",
    ] {
        assert!(counted.contains(line), "{line}\n{counted}");
    }
    world.stop().await;
}

/// A host may close whenever it likes; that is no failure of the next delivery.
#[tokio::test]
async fn a_kept_connection_that_the_host_closes_delays_nothing() {
    let mut world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.config.mx_port = listener.local_addr().unwrap().port();
    let world = world.restart().await;
    let host = tokio::spawn(async move {
        let mut client = Client::accept(&listener).await;
        client.takes_a_message().await;
        client.reads("MAIL").await;
        drop(client);
        Client::accept(&listener).await.takes_a_message().await;
    });
    for text in ["first", "second"] {
        let id = world
            .submit("a@origin.example", &["b@one.example"], text)
            .await;
        let receipts = world.receipts_once_gone(id).await;
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts[0].outcome, AttemptOutcome::Delivered);
    }
    host.await.unwrap();
    let counted = world.metrics.render();
    assert!(
        counted.contains("byrnie_connections_replaced_total 1"),
        "{counted}"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_host_that_was_down_gets_its_mail_when_it_is_up_again() {
    let mut world = World::start().await;
    world.host_down().await;
    let id = world
        .submit("a@origin.example", &["b@one.example"], "hello")
        .await;
    let waiting = |lines: &[byrnie_store::Listed]| {
        lines
            .iter()
            .any(|line| line.state == DeliveryState::Deferred)
    };
    world.until(waiting).await;
    world.host_up().await;
    let (envelope, _) = world.arrival().await;
    assert_eq!(envelope.recipients, [mailbox("b@one.example")]);
    let receipts = world.receipts_once_gone(id).await;
    assert_eq!(receipts.first().unwrap().outcome, AttemptOutcome::Deferred);
    assert_eq!(receipts.last().unwrap().outcome, AttemptOutcome::Delivered);
    world.stop().await;
}

#[tokio::test]
async fn what_was_accepted_outlives_the_agent() {
    let mut world = World::start().await;
    world.host_down().await;
    world
        .submit("a@origin.example", &["b@one.example"], "hello")
        .await;
    let mut world = world.restart().await;
    world.host_up().await;
    let (envelope, _) = world.arrival().await;
    assert_eq!(envelope.recipients, [mailbox("b@one.example")]);
    world.stop().await;
}

/// An agent, and the one host of all domains.
struct World {
    mta: Mta,
    config: MtaConfig,
    stop: oneshot::Sender<()>,
    address: SocketAddr,
    store: Arc<SqliteStore>,
    metrics: Arc<Metrics>,
    host: Host,
    directory: TempDir,
}

/// The host.
struct Host {
    address: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<(Envelope, String)>,
    sender: mpsc::UnboundedSender<(Envelope, String)>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, arrivals) = mpsc::unbounded_channel();
        let host = Host {
            address: listener.local_addr().unwrap(),
            arrivals,
            sender: sender.clone(),
            task: tokio::spawn(take_mail(listener, sender)),
        };
        let mut config = MtaConfig::new(name("relay.example"));
        config.mx_port = host.address.port();
        config.queue.retry.wait_min = Duration::from_secs(1);
        config.queue.retry.wait_max = Duration::from_secs(1);
        config.queue.poll_interval = Duration::from_millis(50);
        Self::start_agent(config, host, TempDir::new().unwrap()).await
    }

    async fn start_agent(config: MtaConfig, host: Host, directory: TempDir) -> Self {
        let store = SqliteStore::open(SqliteOptions::in_directory(directory.path())).unwrap();
        let (store, metrics) = (Arc::new(store), Arc::new(Metrics::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (resolver, roots) = (Arc::new(TestResolver::new()), Roots::public());
        let deciding = DeciderConfig {
            route: config.route.clone(),
            ..DeciderConfig::default()
        };
        let decider = Decider::new(deciding, resolver, Arc::clone(&store), &roots, clock);
        let parts = MtaParts {
            listeners: vec![listener],
            server_tls: None,
            store: Arc::clone(&store),
            decider: Arc::new(decider.unwrap()),
            roots,
            clock: Arc::new(SystemClock),
            metrics: Arc::clone(&metrics),
            reports: None,
            recorder: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            _ = stopped.await;
        };
        Self {
            mta: Mta::start(&config, parts, shutdown).unwrap(),
            config,
            stop,
            address,
            store,
            metrics,
            host,
            directory,
        }
    }

    /// Hands a message over; gives the id in the reply.
    async fn submit(&self, sender: &str, recipients: &[&str], body: &str) -> QueueId {
        let mut client = Client::connect(self.address).await;
        client.says("EHLO client.example", 250).await;
        client.says(&format!("MAIL FROM:<{sender}>"), 250).await;
        for recipient in recipients {
            client.says(&format!("RCPT TO:<{recipient}>"), 250).await;
        }
        client.says("DATA", 354).await;
        let message = format!("Subject: test\r\n\r\n{body}\r\n...dots stay\r\n.");
        let reply = client.says(&message, 250).await;
        client.says("QUIT", 221).await;
        reply.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The next message that arrives at the host.
    async fn arrival(&mut self) -> (Envelope, String) {
        let next = time::timeout(PATIENCE, self.host.arrivals.recv()).await;
        next.expect("no mail arrives").unwrap()
    }

    async fn until(&self, wanted: impl Fn(&[byrnie_store::Listed]) -> bool) {
        let looking = async {
            while !wanted(&self.store.list(Filter::default()).await.unwrap()) {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = time::timeout(PATIENCE, looking).await;
        found.expect("the queue never looked as it should");
    }

    async fn receipts_once_gone(&self, id: QueueId) -> Vec<Receipt> {
        self.until(|lines| lines.iter().all(|line| line.queue_id != id))
            .await;
        self.store.show(id).await.unwrap().receipts
    }

    async fn host_down(&mut self) {
        self.host.task.abort();
        _ = (&mut self.host.task).await;
    }

    async fn host_up(&mut self) {
        let listener = TcpListener::bind(self.host.address).await.unwrap();
        self.host.task = tokio::spawn(take_mail(listener, self.host.sender.clone()));
    }

    async fn stop(self) -> (Host, TempDir) {
        _ = self.stop.send(());
        let finished = time::timeout(PATIENCE, self.mta.finished()).await;
        finished.expect("the agent does not end").unwrap();
        (self.host, self.directory)
    }

    async fn restart(self) -> Self {
        let config = self.config.clone();
        let (host, directory) = self.stop().await;
        Self::start_agent(config, host, directory).await
    }
}

/// A client that says one thing at a time.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Self(BufReader::new(stream));
        client.hears(220).await;
        client
    }

    async fn says(&mut self, line: &str, code: u16) -> String {
        let line = format!("{line}\r\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
        self.hears(code).await
    }

    /// The other end, greeted.
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = Self(BufReader::new(stream));
        client.writes("220 mx.one.example").await;
        client.reads("EHLO").await;
        client.writes("250 mx.one.example").await;
        client
    }

    /// Takes a message, as a host does.
    async fn takes_a_message(&mut self) {
        for (command, reply) in [("MAIL", 250), ("RCPT", 250), ("DATA", 354)] {
            self.reads(command).await;
            self.writes(&format!("{reply} go on")).await;
        }
        while self.reads("").await != ".\r\n" {}
        self.writes("250 taken").await;
    }

    async fn writes(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    async fn reads(&mut self, start: &str) -> String {
        let mut line = String::new();
        let reading = self.0.read_line(&mut line);
        time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(line.starts_with(start), "{line}");
        line
    }

    /// The last line of a reply, which has this code.
    async fn hears(&mut self, code: u16) -> String {
        loop {
            let mut line = String::new();
            let reading = self.0.read_line(&mut line);
            time::timeout(PATIENCE, reading).await.unwrap().unwrap();
            assert!(line.starts_with(&code.to_string()), "{line}");
            if line.as_bytes()[3] == b' ' {
                return line.trim_end().to_owned();
            }
        }
    }
}

/// Takes mail for everybody but nobody.
async fn take_mail(listener: TcpListener, arrivals: mpsc::UnboundedSender<(Envelope, String)>) {
    let config = ServerConfig::new(name("mx.one.example"), Arc::new(SystemClock));
    let server = Arc::new(Server::new(config, None, TestHost(arrivals)));
    serve(listener, server, pending()).await;
}

struct TestHost(mpsc::UnboundedSender<(Envelope, String)>);

impl MailService for TestHost {
    type Incoming = TestIncoming;

    fn admit(&self, _: SocketAddr) -> Result<(), Reply> {
        Ok(())
    }

    async fn recipient(
        &self,
        _: &SessionFacts,
        _: &ReversePath,
        recipient: &Mailbox,
    ) -> Result<(), Reply> {
        match recipient.local_part.as_str() {
            "nobody" => {
                let status = EnhancedStatus::new(5, 1, 1);
                Err(Reply::new(550, status, "no such user"))
            }
            _ => Ok(()),
        }
    }

    async fn begin(&self, _: &SessionFacts, envelope: Envelope) -> Result<TestIncoming, Reply> {
        Ok(TestIncoming {
            envelope,
            octets: Vec::new(),
            arrivals: self.0.clone(),
        })
    }
}

struct TestIncoming {
    envelope: Envelope,
    octets: Vec<u8>,
    arrivals: mpsc::UnboundedSender<(Envelope, String)>,
}

impl IncomingMessage for TestIncoming {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Reply> {
        self.octets.extend_from_slice(chunk);
        Ok(())
    }

    fn held(&self) -> usize {
        self.octets.len()
    }

    async fn commit(self) -> Result<Reply, Reply> {
        let text = String::from_utf8(self.octets).unwrap();
        _ = self.arrivals.send((self.envelope, text));
        Ok(Reply::new(250, EnhancedStatus::new(2, 0, 0), "taken"))
    }
}

/// Knows the domains of these tests, and that there is nothing else.
struct TestResolver(HashMap<(DomainName, RecordType), Outcome>);

impl TestResolver {
    fn new() -> Self {
        let mut answers = HashMap::new();
        for domain in ["one.example", "origin.example"] {
            let host = name(&format!("mx.{domain}"));
            let mx = RecordData::Mx {
                preference: 10,
                host: Some(host.clone()),
            };
            let address = RecordData::A(Ipv4Addr::LOCALHOST);
            answers.insert((name(domain), RecordType::Mx), Outcome::Records(vec![mx]));
            answers.insert(
                (host.clone(), RecordType::A),
                Outcome::Records(vec![address]),
            );
            answers.insert((host, RecordType::Aaaa), Outcome::NoData);
        }
        let null = RecordData::Mx {
            preference: 0,
            host: None,
        };
        let null = Outcome::Records(vec![null]);
        answers.insert((name("null.example"), RecordType::Mx), null);
        Self(answers)
    }
}

impl Resolve for TestResolver {
    async fn lookup(&self, name: &DomainName, record_type: RecordType) -> Answer {
        let found = self.0.get(&(name.clone(), record_type)).cloned();
        Answer {
            name: name.clone(),
            record_type,
            steps: vec![],
            outcome: Ok(Secured::insecure(found.unwrap_or(Outcome::NxDomain))),
            ttl: Duration::from_secs(60),
            explanation: Explanation::default(),
        }
    }
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
