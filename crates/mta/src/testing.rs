//! Stand-ins for the parts around the queue.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::Secured;
use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::MxRrset;
use byrnie_policy::StsEvidence;
use byrnie_smtp::BodyType;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::Accepted;
use byrnie_store::AttemptEnd;
use byrnie_store::Body;
use byrnie_store::Claim;
use byrnie_store::Claimed;
use byrnie_store::DeliveryId;
use byrnie_store::Depth;
use byrnie_store::Finished;
use byrnie_store::Incoming;
use byrnie_store::NewMessage;
use byrnie_store::QueueId;
use byrnie_store::Recovered;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use byrnie_store::WaitingPage;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time;

use crate::Route;
use crate::acceptance::by_next_hop;
use crate::delivery::Deliver;
use crate::delivery::Report;

/// When tests begin.
pub(crate) const START: UnixTime = UnixTime(1_800_000_000);

/// How long a message may wait in tests.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5 * 86_400);

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What is known about a domain of which nothing is.
pub(crate) fn no_evidence(domain: &DomainName) -> Evidence {
    Evidence {
        domain: domain.clone(),
        expanded_domain: None,
        mx: Ok(Secured::insecure(MxRrset::Implicit)),
        hosts: Vec::new(),
        sts: StsEvidence::Absent,
        rule: DomainRule::default(),
        message: TlsDemand::None,
        floor: None,
    }
}

/// A clock that the test moves.
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    /// A clock that stands at the start.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(START.0))
    }

    /// Sets the clock back.
    pub(crate) fn set_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_secs(), Ordering::SeqCst);
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

/// An attempt that waits for the test to say how it ends.
pub(crate) struct Job {
    /// What is to be delivered.
    pub(crate) claim: Claim,
    /// The message, if it was in memory.
    pub(crate) body: Option<Body>,
    end: oneshot::Sender<Report>,
}

impl Job {
    /// Ends the attempt; does not mind if nobody waits for it any more.
    pub(crate) fn end(self, report: Report) {
        _ = self.end.send(report);
    }

    /// Lets the attempt panic.
    pub(crate) fn panic(self) {
        drop(self.end);
    }
}

/// Hands attempts to the test.
pub(crate) struct TestDeliver(mpsc::UnboundedSender<Job>);

impl TestDeliver {
    /// The two ends.
    pub(crate) fn new() -> (Self, Jobs) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Jobs(receiver))
    }
}

impl Deliver for TestDeliver {
    async fn deliver(&self, claim: &Claim, body: Option<&Body>) -> Report {
        let (end, ended) = oneshot::channel();
        let (claim, body) = (claim.clone(), body.cloned());
        _ = self.0.send(Job { claim, body, end });
        ended.await.expect("the test let this attempt panic")
    }
}

/// Attempts as they begin.
pub(crate) struct Jobs(mpsc::UnboundedReceiver<Job>);

impl Jobs {
    /// The next attempt.
    pub(crate) async fn next(&mut self) -> Job {
        let next = time::timeout(PATIENCE, self.0.recv()).await;
        next.expect("no attempt begins").expect("the queue is gone")
    }

    /// Whether an attempt has begun that nobody has looked at.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }
}

/// How a call to the store goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Nothing happens, for this reason.
    Is(StoreError),
    /// Nothing happens.
    Fails,
    /// It happens, and is reported as failed.
    FailsButPersists,
}

/// A store that fails when it is told to.
pub(crate) struct FaultySpool {
    store: Arc<SqliteStore>,
    /// What goes wrong with the next calls to `finish`.
    pub(crate) finish: Mutex<Vec<Fault>>,
    /// What goes wrong with the next calls to `insert`.
    pub(crate) insert: Mutex<Vec<StoreError>>,
    /// What goes wrong with the next calls to `claim`.
    pub(crate) claim: Mutex<Vec<StoreError>>,
    /// What goes wrong with the next calls to `mark_corrupt`.
    pub(crate) mark_corrupt: Mutex<Vec<StoreError>>,
    /// What goes wrong with the next calls to `waiting`.
    pub(crate) waiting: Mutex<Vec<StoreError>>,
    /// The piece of messages that cannot be read, and why.
    pub(crate) piece: Mutex<Option<(u32, StoreError)>>,
    /// Lets the store end.
    pub(crate) end: Notify,
}

impl FaultySpool {
    /// A store that does not fail yet.
    pub(crate) fn new(store: Arc<SqliteStore>) -> Self {
        Self {
            store,
            finish: Mutex::default(),
            insert: Mutex::default(),
            claim: Mutex::default(),
            mark_corrupt: Mutex::default(),
            waiting: Mutex::default(),
            piece: Mutex::default(),
            end: Notify::new(),
        }
    }
}

/// What goes wrong with the next call.
fn next(faults: &Mutex<Vec<StoreError>>) -> Result<(), StoreError> {
    let fault = faults.lock().unwrap().pop();
    fault.map_or(Ok(()), Err)
}

impl Spool for FaultySpool {
    fn next_id(&self, now: UnixTime) -> QueueId {
        self.store.next_id(now)
    }

    async fn stage(&self, id: QueueId, first: u32, pieces: Body) -> Result<(), StoreError> {
        self.store.stage(id, first, pieces).await
    }

    fn abandon(&self, id: QueueId) {
        self.store.abandon(id);
    }

    async fn insert(&self, message: NewMessage) -> Result<Accepted, StoreError> {
        next(&self.insert)?;
        self.store.insert(message).await
    }

    async fn recover(&self, now: UnixTime) -> Result<Recovered, StoreError> {
        self.store.recover(now).await
    }

    async fn waiting(
        &self,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<WaitingPage, StoreError> {
        next(&self.waiting)?;
        self.store.waiting(after, limit).await
    }

    async fn claim(&self, delivery: DeliveryId) -> Result<Claimed, StoreError> {
        next(&self.claim)?;
        self.store.claim(delivery).await
    }

    async fn finish(&self, end: AttemptEnd) -> Result<Finished, StoreError> {
        let fault = self.finish.lock().unwrap().pop();
        let broken = || StoreError::Io(String::from("broken"));
        match fault {
            None => self.store.finish(end).await,
            Some(Fault::Fails) => Err(broken()),
            Some(Fault::Is(error)) => Err(error),
            Some(Fault::FailsButPersists) => {
                self.store.finish(end).await?;
                Err(broken())
            }
        }
    }

    async fn mark_corrupt(&self, id: QueueId, what: String) -> Result<(), StoreError> {
        next(&self.mark_corrupt)?;
        self.store.mark_corrupt(id, what).await
    }

    async fn piece(&self, id: QueueId, place: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let fault = self.piece.lock().unwrap().clone();
        match fault {
            Some((broken, error)) if broken == place => Err(error),
            Some(_) | None => self.store.piece(id, place).await,
        }
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.store.ended() => {}
            () = self.end.notified() => {}
        }
    }

    fn last_delivery(&self) -> DeliveryId {
        self.store.last_delivery()
    }

    fn depth(&self) -> Depth {
        self.store.depth()
    }

    async fn prune(&self, now: UnixTime) -> Result<u64, StoreError> {
        self.store.prune(now).await
    }
}

/// A store in a directory of its own.
pub(crate) fn new_store() -> (Arc<SqliteStore>, TempDir) {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(SqliteOptions::in_directory(directory.path())).unwrap();
    (Arc::new(store), directory)
}

/// Puts a message into a store, as if it had just been accepted.
pub(crate) async fn accept(
    store: &Arc<SqliteStore>,
    envelope: Envelope,
    now: UnixTime,
) -> Accepted {
    accept_octets(store, MESSAGE, envelope, now).await
}

/// The same with other octets.
pub(crate) async fn accept_octets(
    store: &Arc<SqliteStore>,
    octets: &[u8],
    envelope: Envelope,
    now: UnixTime,
) -> Accepted {
    let mut incoming = Incoming::begin(Arc::clone(store), now);
    incoming.write(octets).await.unwrap();
    let (route, expires_at) = (Route::default(), now + LIFETIME);
    let deliveries = by_next_hop(&route, &envelope.recipients, now, expires_at);
    incoming.commit(envelope, now, deliveries).await.unwrap()
}

/// A claim as the store would give it.
pub(crate) async fn claim_of(store: &Arc<SqliteStore>, envelope: Envelope) -> Claim {
    accept(store, envelope, START).await.claims.remove(0)
}

/// An envelope; an empty sender is the null path.
pub(crate) fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope {
        reverse_path: sender.parse().unwrap(),
        recipients: recipients.iter().map(|text| mailbox(text)).collect(),
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
    }
}

/// A mailbox.
pub(crate) fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

/// A next hop.
pub(crate) fn next_hop(text: &str) -> MailDomain {
    text.parse().unwrap()
}

/// A reply, written as `450 4.2.0 text`.
pub(crate) fn reply(text: &str) -> Reply {
    let (code, rest) = text.split_once(' ').unwrap();
    let code: u16 = code.parse().unwrap();
    let class = u8::try_from(code / 100).unwrap();
    let (status, text) = EnhancedStatus::split_from(rest, class).unwrap();
    Reply::new(code, status, text)
}

/// What [`accept`] puts into the store.
pub(crate) const MESSAGE: &[u8] =
    b"Message-ID: <m1@origin.example>\r\nSubject: secret plans\r\n\r\nbody\r\n";
