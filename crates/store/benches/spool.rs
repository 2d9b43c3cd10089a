//! What a message costs in the spool, from its acceptance to its end: clock and processor.
//!
//! Each writer accepts a message, has it delivered, and takes the next. `cargo bench -p byrnie-store`;
//! the line before each of Criterion's reports says messages a second and processor seconds per 1,000
//! messages, user and system, of the whole process.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark stops when something fails, reads the clock, and prints rounded figures"
)]

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::AttemptEnd;
use byrnie_store::AttemptOutcome;
use byrnie_store::Circumstances;
use byrnie_store::Claim;
use byrnie_store::Incoming;
use byrnie_store::NewDelivery;
use byrnie_store::Receipt;
use byrnie_store::RecipientEnd;
use byrnie_store::RecipientState;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use rustix::time::ClockId;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Messages of two sizes, by one writer and by many at once.
fn spool(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("insert and finish");
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(10));
    for (size_name, octets) in [("1 KiB", 1 << 10), ("75 KiB", 75 << 10)] {
        for writers in [1, 20, 50] {
            let directory = tempfile::tempdir().expect("a directory");
            let options = SqliteOptions::in_directory(directory.path());
            let store = Arc::new(SqliteStore::open(options).expect("a store"));
            let mut spent = Spent::default();
            group.bench_function(format!("{size_name}, {writers} writers"), |bencher| {
                bencher.iter_custom(|messages| {
                    let spent_now = load(&runtime, &store, messages, writers, octets);
                    spent.add(&spent_now);
                    spent_now.clock
                });
            });
            spent.report(size_name, writers);
        }
    }
    group.finish();
}

/// Time spent.
#[derive(Default)]
struct Spent {
    /// For so many messages.
    messages: u64,
    /// By the clock.
    clock: Duration,
    /// By the processors.
    processor: Duration,
}

impl Spent {
    /// Adds up.
    fn add(&mut self, more: &Self) {
        self.messages += more.messages;
        self.clock += more.clock;
        self.processor += more.processor;
    }

    /// Says what it comes to.
    fn report(&self, size: &str, writers: u64) {
        if self.messages == 0 {
            // Left out on the command line.
            return;
        }
        let messages = self.messages as f64;
        println!(
            "{size}, {writers} writers: {:.0} messages a second, {:.4} processor seconds per 1,000",
            messages / self.clock.as_secs_f64(),
            self.processor.as_secs_f64() * 1000.0 / messages,
        );
    }
}

/// Has messages accepted and delivered.
fn load(
    runtime: &Runtime,
    store: &Arc<SqliteStore>,
    messages: u64,
    writers: u64,
    octets: usize,
) -> Spent {
    let body: Arc<[u8]> = vec![b'x'; octets].into();
    let circumstances = Arc::new(circumstances());
    let (clock, processor) = (Instant::now(), processor_time());
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let mine = messages / writers + u64::from(writer < messages % writers);
            let (store, body) = (Arc::clone(store), Arc::clone(&body));
            let circumstances = Arc::clone(&circumstances);
            tasks.spawn(async move {
                for _ in 0..mine {
                    accept_and_deliver(&store, &body, &circumstances).await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task panics");
        }
    });
    Spent {
        messages,
        clock: clock.elapsed(),
        processor: processor_time().saturating_sub(processor),
    }
}

/// One message, from its acceptance to its end.
async fn accept_and_deliver(
    store: &Arc<SqliteStore>,
    body: &[u8],
    circumstances: &Arc<Circumstances>,
) {
    let mut incoming = Incoming::begin(Arc::clone(store), NOW);
    incoming.write(body).await.expect("room");
    let (envelope, deliveries) = (envelope(), deliveries());
    let accepted = incoming.commit(envelope, NOW, deliveries).await;
    for claim in accepted.expect("accepted").claims {
        let end = delivered(&claim, Arc::clone(circumstances));
        store.finish(end).await.expect("recorded");
    }
}

/// An ordinary envelope.
fn envelope() -> Envelope {
    Envelope {
        reverse_path: ReversePath::Mailbox("sender@origin.example".parse().expect("a mailbox")),
        recipients: vec!["recipient@destination.example".parse().expect("a mailbox")],
        body: BodyType::EightBitMime,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
    }
}

/// To one next hop.
fn deliveries() -> Vec<NewDelivery> {
    vec![NewDelivery {
        next_hop: "destination.example".parse().expect("a domain"),
        recipients: vec!["recipient@destination.example".parse().expect("a mailbox")],
        due_at: NOW,
        expires_at: UnixTime(NOW.0 + 432_000),
    }]
}

/// The ordinary end: taken by the first host.
fn delivered(claim: &Claim, circumstances: Arc<Circumstances>) -> AttemptEnd {
    let reply = Reply {
        code: 250,
        enhanced: None,
        lines: vec![String::from("queued as 4FzQ3x2Yb7z9")],
    };
    AttemptEnd {
        delivery: claim.delivery,
        queue_id: claim.queue_id,
        attempt: claim.attempt,
        ended: claim
            .recipients
            .iter()
            .map(|recipient| RecipientEnd {
                position: recipient.position,
                state: RecipientState::Delivered,
                reply: Some(reply.clone()),
            })
            .collect(),
        next_attempt_at: NOW,
        floor: None,
        reason: None,
        receipts: vec![Receipt {
            queue_id: claim.queue_id,
            next_hop: claim.next_hop.clone(),
            attempt: claim.attempt,
            at: NOW,
            outcome: AttemptOutcome::Delivered,
            recipients: claim
                .recipients
                .iter()
                .map(|recipient| recipient.mailbox.clone())
                .collect(),
            circumstances,
            reply: Some(reply),
            reason: None,
        }],
        bounce: None,
        delay_warning: None,
    }
}

/// As long as those of a host with DANE.
fn circumstances() -> Circumstances {
    Circumstances {
        reasons: vec![
            String::from("the MX records of destination.example are secure"),
            String::from("the TLSA records of mx.destination.example are secure and usable"),
            String::from("no MTA-STS policy was found"),
        ],
        host: "mx.destination.example".parse::<DomainName>().ok(),
        address: "192.0.2.1:25".parse().ok(),
        ..Circumstances::default()
    }
}

/// Processor time of this process so far, user and system.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a time that is not negative")
}

/// A time.
const NOW: UnixTime = UnixTime(1_800_000_000);

criterion_group!(benches, spool);
criterion_main!(benches);
