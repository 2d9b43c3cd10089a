//! `smtpbench load`: an SMTP client that sends messages of which no two are equal.
//!
//! A message is accepted at the 250 after its final dot. A refused message or a broken connection counts
//! as an error, and the message is tried again.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use rustls::HandshakeKind;
use serde_json::json;
use tokio::time;
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::client::GO_ON;
use crate::client::YES;
use crate::failure::Failure;
use crate::message::Messages;
use crate::stats::micros;
use crate::stats::now_ns;
use crate::stats::per_second;
use crate::stats::percentiles;
use crate::tls;
use crate::tls::Sessions;

/// How often a message is tried before its session gives up.
const TRIES_MAX: u32 = 100;

/// Wait before a message is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// What to send.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Server to send to
    #[arg(long)]
    to: SocketAddr,
    /// Messages in all
    #[arg(long)]
    messages: u64,
    /// Connections at once
    #[arg(long, default_value_t = 20)]
    sessions: u64,
    /// Messages over one connection before the next; 0: all
    #[arg(long, default_value_t = 0)]
    per_connection: u64,
    /// Octets of a body
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Domain of the recipients
    #[arg(long, default_value = "bench.test")]
    domain: String,
    /// Spread the recipients over this many domains d0, d1, … below that one; 0: itself
    #[arg(long, default_value_t = 0)]
    domains: u64,
    /// Use STARTTLS, with full handshakes, and take any certificate
    #[arg(long)]
    starttls: bool,
    /// At most this many messages a second; 0: as many as go
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
}

/// What all sessions share.
struct Plan {
    options: Options,
    connector: Option<TlsConnector>,
    messages: Messages,
    start: Instant,
    next: AtomicU64,
    connections: AtomicU64,
    tls_full: AtomicU64,
    errors: AtomicU64,
}

/// Sends all messages, and prints how that went.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let connector = match options.starttls {
        true => Some(Arc::new(tls::client(tls::provider(), Sessions::Full)?).into()),
        false => None,
    };
    let sessions = options.sessions;
    let (messages, start_ns) = (Messages::new(), now_ns());
    let plan = Arc::new(Plan {
        options,
        connector,
        messages,
        start: Instant::now(),
        next: AtomicU64::new(0),
        connections: AtomicU64::new(0),
        tls_full: AtomicU64::new(0),
        errors: AtomicU64::new(0),
    });
    let sessions: Vec<_> = (0..sessions)
        .map(|_| tokio::spawn(Session::over(Arc::clone(&plan))))
        .collect();
    let mut latencies = Vec::new();
    let mut outcome = Ok(());
    for session in sessions {
        match session.await? {
            Ok(samples) => latencies.extend(samples),
            Err(failure) => outcome = Err(failure),
        }
    }
    plan.print(start_ns, &mut latencies);
    outcome
}

impl Plan {
    /// Prints the result.
    fn print(&self, start_ns: u64, latencies: &mut [u32]) {
        let (elapsed, end_ns) = (self.start.elapsed(), now_ns());
        let accepted = latencies.len() as u64;
        let row = json!({
            "accepted": accepted,
            "accepted_per_s": per_second(accepted, elapsed),
            "seconds": elapsed.as_secs_f64(),
            "start_ns": start_ns,
            "end_ns": end_ns,
            "latency_ms": percentiles(latencies),
            "connections": self.connections.load(Relaxed),
            "tls_full": self.tls_full.load(Relaxed),
            "errors": self.errors.load(Relaxed),
        });
        println!("{row}");
    }

    /// Waits until it is time for message `id`.
    async fn pace(&self, id: u64) {
        if self.options.rate > 0.0 {
            let due = self.start + Duration::from_secs_f64(id as f64 / self.options.rate);
            time::sleep_until(due.into()).await;
        }
    }

    /// Connects.
    async fn connect(&self) -> Result<Client, Failure> {
        self.connections.fetch_add(1, Relaxed);
        let client = Client::connect(self.options.to, None, self.connector.as_ref()).await?;
        if client.handshake == Some(HandshakeKind::Full) {
            self.tls_full.fetch_add(1, Relaxed);
        }
        Ok(client)
    }

    /// Writes the address that message `id` goes to.
    fn recipient(&self, id: u64, to: &mut String) {
        to.clear();
        let domain = &self.options.domain;
        // Writing into memory does not fail.
        let _ = match id.checked_rem(self.options.domains) {
            Some(label) => write!(to, "user{id}@d{label}.{domain}"),
            None => write!(to, "user{id}@{domain}"),
        };
    }
}

/// One of the connections at once, with buffers that all its messages share.
struct Session {
    plan: Arc<Plan>,
    client: Option<Client>,
    sent: u64,
    recipient: String,
    commands: String,
    wire: Vec<u8>,
}

impl Session {
    /// Sends messages until there are none left; returns how long each took, in microseconds.
    async fn over(plan: Arc<Plan>) -> Result<Vec<u32>, Failure> {
        let mut session = Self {
            plan,
            client: None,
            sent: 0,
            recipient: String::new(),
            commands: String::new(),
            wire: Vec::new(),
        };
        let mut latencies = Vec::new();
        loop {
            let id = session.plan.next.fetch_add(1, Relaxed);
            if id >= session.plan.options.messages {
                break;
            }
            session.plan.pace(id).await;
            session.prepare(id);
            latencies.push(session.deliver(id).await?);
        }
        if let Some(client) = session.client {
            client.quit().await;
        }
        Ok(latencies)
    }

    /// Writes message and commands into the buffers.
    fn prepare(&mut self, id: u64) {
        self.plan.recipient(id, &mut self.recipient);
        let (recipient, size) = (self.recipient.as_bytes(), self.plan.options.size);
        self.plan
            .messages
            .compose(id, size, recipient, &mut self.wire);
        self.commands.clear();
        let _ = write!(
            self.commands,
            "MAIL FROM:<sender@client.bench.test>\r\nRCPT TO:<{}>\r\nDATA\r\n",
            self.recipient
        );
    }

    /// Sends what is prepared until it is accepted.
    async fn deliver(&mut self, id: u64) -> Result<u32, Failure> {
        let mut tries = 0;
        loop {
            let failure = match self.attempt().await {
                Ok(latency) => return Ok(latency),
                Err(failure) => failure,
            };
            self.client = None;
            self.plan.errors.fetch_add(1, Relaxed);
            tries += 1;
            if tries == TRIES_MAX {
                return Err(failure);
            }
            if tries == 1 {
                eprintln!("smtpbench load: message {id}: {failure}");
            }
            time::sleep(RETRY_DELAY).await;
        }
    }

    /// Sends what is prepared once, over the connection that is open or a new one.
    async fn attempt(&mut self) -> Result<u32, Failure> {
        let mut client = match self.client.take() {
            Some(old) if self.sent == self.plan.options.per_connection => {
                old.quit().await;
                self.sent = 0;
                self.plan.connect().await?
            }
            Some(client) => client,
            None => {
                self.sent = 0;
                self.plan.connect().await?
            }
        };
        let begun = Instant::now();
        client.send(self.commands.as_bytes()).await?;
        client.reply(YES).await?;
        client.reply(YES).await?;
        client.reply(GO_ON).await?;
        client.send(&self.wire).await?;
        client.reply(YES).await?;
        self.sent += 1;
        self.client = Some(client);
        Ok(micros(begun.elapsed()))
    }
}
