//! The same load on three ways to keep messages on disk.
//!
//! A message is written by one of several writers, is durable, and is done with: durable again. Whatever
//! is waiting shares one flush. `raw` appends to a file and knows nothing else: it is the limit of the
//! machine. `fjall` keeps bodies and envelopes in an LSM tree, large values apart from the keys. `byrnie`
//! is the spool, which also keeps recipients, due times and receipts, and checksums over all of it.
//!
//! `cargo run --release -- [DIRECTORY]`; prints the median of three rounds, in which the engines take
//! turns.

use std::env;
use std::error::Error;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::UnixTime;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::ReversePath;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::AttemptEnd;
use byrnie_store::AttemptOutcome;
use byrnie_store::Circumstances;
use byrnie_store::NewDelivery;
use byrnie_store::NewMessage;
use byrnie_store::Receipt;
use byrnie_store::RecipientEnd;
use byrnie_store::RecipientState;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use fjall::Database;
use fjall::Keyspace;
use fjall::KeyspaceCreateOptions;
use fjall::KvSeparationOptions;
use fjall::PersistMode;
use rustix::time::ClockId;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What can go wrong anywhere.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.unwrap_or_else(env::temp_dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    println!("octets\twriters\tengine\tmessages/s\tprocessor s/1,000\toctets on disk");
    for (octets, messages) in [(1 << 10, 20_000), (75 << 10, 2_000)] {
        for writers in [1, 20, 50] {
            let messages = if writers == 1 { messages / 5 } else { messages };
            let mut rounds: Vec<(&str, Spent)> = Vec::new();
            for _ in 0..ROUNDS {
                for name in ["raw", "fjall", "byrnie"] {
                    let place = tempfile::tempdir_in(&directory)?;
                    let engine = Engine::open(name, place.path())?;
                    let load = load(engine, messages, writers, octets);
                    let mut spent = runtime.block_on(load)?;
                    spent.on_disk = size_of(place.path())?;
                    rounds.push((name, spent));
                }
            }
            for name in ["raw", "fjall", "byrnie"] {
                let mut of_one: Vec<&Spent> = Vec::new();
                of_one.extend(
                    rounds
                        .iter()
                        .filter(|(one, _)| *one == name)
                        .map(|(_, s)| s),
                );
                report(name, &mut of_one, messages, writers, octets);
            }
        }
    }
    Ok(())
}

/// What one round cost.
struct Spent {
    clock: Duration,
    processor: Duration,
    on_disk: u64,
}

/// Prints the medians.
fn report(name: &str, rounds: &mut [&Spent], messages: u64, writers: u64, octets: usize) {
    let messages = messages as f64;
    let middle = ROUNDS / 2;
    rounds.sort_by_key(|spent| spent.clock);
    let rate = messages / rounds[middle].clock.as_secs_f64();
    rounds.sort_by_key(|spent| spent.processor);
    let processor = rounds[middle].processor.as_secs_f64() * 1000.0 / messages;
    let on_disk = rounds[middle].on_disk;
    println!("{octets}\t{writers}\t{name}\t{rate:.0}\t{processor:.4}\t{on_disk}");
}

/// A way to keep messages.
#[derive(Clone)]
enum Engine {
    /// A writing thread that shares flushes.
    Shared(mpsc::Sender<Change>),
    /// The spool.
    Byrnie(Arc<SqliteStore>),
}

/// Something to make durable, and whom to tell.
struct Change {
    what: What,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// What is to be made durable.
enum What {
    /// A message.
    Insert(u64, Arc<[u8]>),
    /// That it is done with.
    Finish(u64),
}

impl Engine {
    fn open(name: &str, place: &Path) -> Result<Self, Failure> {
        if name == "byrnie" {
            let store = SqliteStore::open(SqliteOptions::in_directory(place))?;
            return Ok(Self::Byrnie(Arc::new(store)));
        }
        let (to_writer, changes) = mpsc::channel(1024);
        if name == "raw" {
            let path = place.join("log");
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            thread::spawn(move || write_all(changes, |batch| append(&file, batch)));
        } else {
            let database = Database::builder(place.join("fjall")).open()?;
            let apart = KeyspaceCreateOptions::default()
                .with_kv_separation(Some(KvSeparationOptions::default()));
            let messages = database.keyspace("messages", || apart)?;
            thread::spawn(move || {
                write_all(changes, |batch| write_to_tree(&database, &messages, batch));
            });
        }
        Ok(Self::Shared(to_writer))
    }

    /// Writes a message and finishes it.
    async fn message(&self, number: u64, body: &Arc<[u8]>, shared: &Shared) -> Result<(), Failure> {
        match self {
            Self::Shared(writer) => {
                let whats = [What::Insert(number, Arc::clone(body)), What::Finish(number)];
                for what in whats {
                    let (done, told) = oneshot::channel();
                    writer.send(Change { what, done }).await?;
                    told.await??;
                }
            }
            Self::Byrnie(store) => {
                let message = shared.message(&**store, body);
                for claim in store.insert(message).await?.claims {
                    store.finish(shared.end(&claim)).await?;
                }
            }
        }
        Ok(())
    }
}

/// Makes durable whatever waits, in one go.
fn write_all(
    mut changes: mpsc::Receiver<Change>,
    write: impl Fn(&[Change]) -> Result<(), Failure>,
) {
    let mut batch = Vec::new();
    while changes.blocking_recv_many(&mut batch, 256) > 0 {
        let written = write(&batch).map_err(|error| error.to_string());
        for change in batch.drain(..) {
            // Who went away need not know.
            _ = change.done.send(written.clone().map_err(Failure::from));
        }
    }
}

/// Appends to a file.
fn append(mut file: &File, batch: &[Change]) -> Result<(), Failure> {
    let mut octets = Vec::new();
    for change in batch {
        match &change.what {
            What::Insert(number, body) => {
                octets.extend_from_slice(&number.to_le_bytes());
                octets.extend_from_slice(body);
            }
            What::Finish(number) => octets.extend_from_slice(&number.to_le_bytes()),
        }
    }
    file.write_all(&octets)?;
    Ok(file.sync_data()?)
}

/// Writes into the tree.
fn write_to_tree(
    database: &Database,
    messages: &Keyspace,
    batch: &[Change],
) -> Result<(), Failure> {
    let mut together = database.batch().durability(Some(PersistMode::SyncData));
    for change in batch {
        match &change.what {
            What::Insert(number, body) => {
                together.insert(messages, number.to_be_bytes(), &**body);
            }
            What::Finish(number) => together.remove(messages, number.to_be_bytes()),
        }
    }
    Ok(together.commit()?)
}

/// Has messages written and finished.
async fn load(
    engine: Engine,
    messages: u64,
    writers: u64,
    octets: usize,
) -> Result<Spent, Failure> {
    let body: Arc<[u8]> = vec![b'x'; octets].into();
    let shared = Arc::new(Shared::new()?);
    let (clock, processor) = (Instant::now(), processor_time()?);
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (engine, body, shared) = (engine.clone(), Arc::clone(&body), Arc::clone(&shared));
        tasks.spawn(async move {
            for number in (writer..messages).step_by(writers as usize) {
                engine.message(number, &body, &shared).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(Spent {
        clock: clock.elapsed(),
        processor: processor_time()?.saturating_sub(processor),
        on_disk: 0,
    })
}

/// What all messages of the spool have in common.
struct Shared {
    envelope: Envelope,
    delivery: NewDelivery,
    circumstances: Arc<Circumstances>,
}

impl Shared {
    fn new() -> Result<Self, Failure> {
        let recipient: byrnie_base::Mailbox = "recipient@destination.example".parse()?;
        Ok(Self {
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox("sender@origin.example".parse()?),
                recipients: vec![recipient.clone()],
                body: BodyType::EightBitMime,
                smtputf8: Smtputf8::NotUsed,
                tls_demand: TlsDemand::None,
            },
            delivery: NewDelivery {
                next_hop: "destination.example".parse()?,
                recipients: vec![recipient],
                due_at: NOW,
                expires_at: UnixTime(NOW.0 + 432_000),
            },
            circumstances: Arc::new(Circumstances {
                reasons: vec!["the TLSA records of mx.destination.example are secure".to_owned()],
                ..Circumstances::default()
            }),
        })
    }

    /// A message.
    fn message(&self, store: &SqliteStore, body: &[u8]) -> NewMessage {
        let (envelope, deliveries) = (self.envelope.clone(), vec![self.delivery.clone()]);
        NewMessage::whole(store.next_id(NOW), envelope, NOW, body, deliveries)
    }

    /// The end of its attempt.
    fn end(&self, claim: &byrnie_store::Claim) -> AttemptEnd {
        AttemptEnd {
            delivery: claim.delivery,
            queue_id: claim.queue_id,
            attempt: claim.attempt,
            ended: vec![RecipientEnd {
                position: 0,
                state: RecipientState::Delivered,
                reply: None,
            }],
            next_attempt_at: NOW,
            floor: None,
            reason: None,
            receipts: vec![Receipt {
                queue_id: claim.queue_id,
                next_hop: claim.next_hop.clone(),
                attempt: claim.attempt,
                at: NOW,
                outcome: AttemptOutcome::Delivered,
                recipients: self.envelope.recipients.clone(),
                circumstances: Arc::clone(&self.circumstances),
                reply: None,
                reason: None,
            }],
            bounce: None,
            delay_warning: None,
        }
    }
}

/// Octets of the files below a directory.
fn size_of(directory: &Path) -> Result<u64, Failure> {
    let mut octets = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        octets += if entry.file_type()?.is_dir() {
            size_of(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(octets)
}

/// Processor time of this process so far, user and system.
fn processor_time() -> Result<Duration, Failure> {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::try_from(time)?)
}

/// A time.
const NOW: UnixTime = UnixTime(1_800_000_000);

/// How often each engine has its turn.
const ROUNDS: usize = 3;
