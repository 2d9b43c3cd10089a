//! Reports reach who asks for them, once, whenever the process dies.

use std::collections::HashMap;
use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;

use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_net::dns::Answer;
use byrnie_net::dns::Explanation;
use byrnie_net::tls::Roots;
use byrnie_store::Claimed;
use byrnie_store::OutgoingState;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::SessionOutcome;
use byrnie_tlsrpt::SessionResult;
use byrnie_tlsrpt::reading;
use tempfile::TempDir;

use super::*;
use crate::QueueHandle;
use crate::Route;
use crate::queue::Inlet;
use crate::testing::TestClock;
use crate::testing::new_store;

#[tokio::test]
async fn a_day_is_reported_once_it_is_over_and_to_each_who_asks() {
    let world = World::new();
    world.dns.say("a.example", TWO_ADDRESSES);
    world.dns.say("b.example", "v=spf1 -all");
    for domain in ["a.example", "b.example", "c.example"] {
        world.count(domain).await;
    }
    world.reporter.report(false).await.unwrap();
    assert_eq!(world.steps().await, [] as [&str; 0]);

    world.clock.advance(DAY);
    world.reporter.report(false).await.unwrap();
    let expected = [
        "a.example mailto:r1@a.example sent",
        "a.example mailto:r2@a.example sent",
    ];
    assert_eq!(world.steps().await, expected);
    world.reporter.report(true).await.unwrap();
    assert_eq!(world.steps().await, expected);

    let mails = world.mails().await;
    let to: Vec<&str> = mails.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["r1@a.example", "r2@a.example"]);
    for (_, octets) in &mails {
        let [Ok(read)] = &reading::read(octets, world.clock.now())[..] else {
            panic!("{}", String::from_utf8_lossy(octets));
        };
        assert_eq!(read.remarks, []);
        assert_eq!(read.report.report_id, "2027-01-15.1.a.example@mail.example");
        let summary = read.report.policies[0].summary;
        assert_eq!(summary.total_successful_session_count, 1);
    }
}

/// RFC 8460, Section 5.5, and behaviour rule 39.
#[tokio::test]
async fn what_fails_is_tried_again_for_a_day_at_growing_distances() {
    let world = World::new();
    // Nobody answers under this name, and nobody knows who is asked.
    world
        .dns
        .say("a.example", "v=TLSRPTv1;rua=https://r.example/");
    world.dns.fail("b.example");
    world.count("a.example").await;
    world.count("b.example").await;
    world.clock.advance(DAY);
    let begun = world.clock.now();
    let mut attempts = Vec::new();
    loop {
        world.reporter.report(false).await.unwrap();
        let steps = world.store.outgoing_reports(9).await.unwrap();
        let waiting = steps.iter().find(|one| one.state == OutgoingState::Waiting);
        let Some(due_at) = waiting.map(|one| one.due_at) else {
            break;
        };
        attempts.push(due_at.since(world.clock.now()).as_secs() / 60);
        world.clock.advance(due_at.since(world.clock.now()));
    }
    assert_eq!(attempts, [10, 20, 40, 80, 160, 240, 240, 240, 240]);
    assert!(world.clock.now().since(begun) <= REPORT_LIFETIME);
    assert_eq!(
        world.steps().await,
        [
            "a.example https://r.example/ given-up",
            "b.example - given-up"
        ]
    );
    let steps = world.store.outgoing_reports(9).await.unwrap();
    assert!(
        steps
            .iter()
            .all(|one| one.attempts == 10 && one.reason.is_some())
    );
}

/// RFC 8460, Section 5.5: the day begins with the first attempt.
#[tokio::test]
async fn a_report_that_had_to_wait_for_its_first_attempt_has_a_day_all_the_same() {
    let world = World::new();
    world.dns.fail("a.example");
    world.count("a.example").await;
    world.clock.advance(DAY);
    let now = world.clock.now();
    let today = Day::of(now);
    let drawn_up = world.store.draw_up(today, vec![now], now).await;
    assert_eq!(drawn_up, Ok(1));
    // The process is down for two days.
    world.clock.advance(2 * DAY);
    world.reporter.report(false).await.unwrap();
    assert_eq!(world.steps().await, ["a.example - waiting"]);
    let one = world.store.outgoing_reports(9).await.unwrap().remove(0);
    assert_eq!(one.expires_at, world.clock.now() + REPORT_LIFETIME);
}

#[tokio::test]
async fn what_was_counted_and_tried_while_the_clock_was_ahead_is_not_kept_for_later() {
    let world = World::new();
    world.dns.fail("a.example");
    world.dns.fail("b.example");
    let ahead = 1_000 * DAY;
    world.clock.advance(ahead);
    world.count("a.example").await;
    world.clock.advance(DAY);
    world.reporter.report(false).await.unwrap();
    world.count("b.example").await;
    world.clock.set_back(ahead);
    for _ in 0..20 {
        world.reporter.report(false).await.unwrap();
        world.clock.advance(Duration::from_secs(4 * 3_600));
    }
    assert_eq!(
        world.steps().await,
        ["a.example - given-up", "b.example - given-up"]
    );
}

/// However far a run comes before the process dies, the next one brings each report to each address once.
#[tokio::test]
async fn a_crash_neither_loses_nor_doubles_a_report() {
    let mut deaths = 0;
    for polls in 0.. {
        let world = World::new();
        for domain in ["a.example", "b.example"] {
            world.dns.say(domain, TWO_ADDRESSES);
            world.count(domain).await;
        }
        world.clock.advance(DAY);
        let ended = killed_after(polls, world.reporter.report(false)).await;
        world.store.settle().await.unwrap();
        let world = world.after_crash();
        world.reporter.report(false).await.unwrap();
        let to: Vec<String> = world.mails().await.into_iter().map(|(to, _)| to).collect();
        let expected = [
            "r1@a.example",
            "r1@a.example",
            "r2@a.example",
            "r2@a.example",
        ];
        assert_eq!(to, expected, "killed after {polls} polls");
        if ended {
            break;
        }
        deaths += 1;
    }
    // It was killed between any two changes: one drew up, two addressed, four handed over.
    assert!(deaths >= 7, "{deaths}");
}

#[tokio::test]
async fn a_clock_that_jumps_loses_nothing_and_reports_nothing_twice() {
    let world = World::new();
    world
        .dns
        .say("a.example", "v=TLSRPTv1;rua=mailto:r@a.example");
    world.count("a.example").await;
    world.clock.advance(3 * DAY);
    world.reporter.report(false).await.unwrap();
    world.clock.set_back(3 * DAY);
    world.count("a.example").await;
    world.reporter.report(false).await.unwrap();
    world.clock.advance(DAY);
    world.reporter.report(false).await.unwrap();
    let mails = world.mails().await;
    let reports = mails.iter().map(|(_, octets)| {
        let read = reading::read(octets, world.clock.now()).remove(0).unwrap();
        let summary = read.report.policies[0].summary;
        (
            read.report.report_id,
            summary.total_successful_session_count,
        )
    });
    assert_eq!(
        reports.collect::<Vec<_>>(),
        [
            (String::from("2027-01-15.1.a.example@mail.example"), 1),
            (String::from("2027-01-15.2.a.example@mail.example"), 1),
        ]
    );
}

#[tokio::test]
async fn reports_are_spread() {
    let mut world = World::new();
    world.reporter.spread = Duration::from_secs(4 * 3_600);
    for number in 0..50 {
        world.count(&format!("d{number}.example")).await;
    }
    world.clock.advance(DAY);
    world.reporter.report(false).await.unwrap();
    let now = world.clock.now();
    let steps = world.store.outgoing_reports(100).await.unwrap();
    let due: Vec<u64> = steps
        .iter()
        .map(|one| one.due_at.since(now).as_secs())
        .collect();
    assert!(due.len() > 40 && due.iter().all(|due| *due <= 4 * 3_600));
    assert!(due.iter().max() > Some(&7_200) && due.iter().min() < Some(&7_200));
}

/// A reporter with what is around it.
struct World {
    reporter: Reporter<SqliteStore, TestDns>,
    store: Arc<SqliteStore>,
    dns: Arc<TestDns>,
    clock: Arc<TestClock>,
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let (store, directory) = new_store();
        Self::around(store, directory, Arc::default(), Arc::new(TestClock::new()))
    }

    fn around(
        store: Arc<SqliteStore>,
        directory: TempDir,
        dns: Arc<TestDns>,
        clock: Arc<TestClock>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let telling: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let recorder = Arc::new(Recorder::new(Arc::clone(&telling), Arc::clone(&metrics)));
        let (inlet, _outlet) = Inlet::new(1 << 20);
        let route = Route::RecipientDomains;
        let outbox = Outbox::new(Arc::clone(&store), QueueHandle::new(inlet), route, None);
        let tls = Roots::public().https_client_config().unwrap();
        let reporter = Reporter {
            submitter: Submitter {
                organization: String::from("Example Mail"),
                contact: String::from("postmaster@mail.example"),
                from: "tls@mail.example".parse().unwrap(),
                domain: "mail.example".parse().unwrap(),
            },
            spread: Duration::ZERO,
            store: Arc::clone(&store),
            recorder,
            resolver: Arc::clone(&dns),
            https: HttpsClient::new(Arc::clone(&dns), tls),
            outbox,
            clock: telling,
            metrics,
        };
        Self {
            reporter,
            store,
            dns,
            clock,
            directory,
        }
    }

    /// The same on what is on the disk.
    fn after_crash(self) -> Self {
        let directory = TempDir::new().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        let store = SqliteStore::open(SqliteOptions::in_directory(directory.path())).unwrap();
        Self::around(Arc::new(store), directory, self.dns, self.clock)
    }

    /// A session with a host of a domain succeeds.
    async fn count(&self, domain: &str) {
        let result = SessionResult {
            policy: Arc::new(PolicyDescription {
                policy_domain: domain.to_owned(),
                ..PolicyDescription::default()
            }),
            outcome: SessionOutcome::Succeeded,
            failures: Vec::new(),
        };
        let recorder = &self.reporter.recorder;
        recorder.record(&domain.parse().unwrap(), vec![result]);
        recorder.write(self.store.as_ref()).await.unwrap();
    }

    /// What became of each report at each destination, sorted.
    async fn steps(&self) -> Vec<String> {
        let steps = self.store.outgoing_reports(100).await.unwrap();
        let lines = steps.iter().map(|step| {
            let destination = step.destination.as_deref().unwrap_or("-");
            format!("{} {destination} {}", step.domain, step.state.as_str())
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines
    }

    /// The mails in the queue, with their recipients, sorted by them.
    async fn mails(&self) -> Vec<(String, Vec<u8>)> {
        let mut mails = Vec::new();
        for one in self.store.waiting(None, 100).await.unwrap().waiting {
            let Claimed::Ready(claim, _) = self.store.claim(one.delivery).await.unwrap() else {
                panic!("{one:?}");
            };
            assert_eq!(claim.envelope.tls_demand, TlsDemand::TlsNotRequired);
            let octets = self.store.piece(one.queue_id, 0).await.unwrap().unwrap();
            mails.push((claim.recipients[0].mailbox.to_string(), octets));
        }
        mails.sort_by(|(one, _), (other, _)| one.cmp(other));
        mails
    }
}

/// Works until it is done, or has been polled so often; says whether it was done.
async fn killed_after(polls: usize, work: impl Future) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// Answers with the TXT records it was told.
#[derive(Default)]
struct TestDns(Mutex<HashMap<String, Option<String>>>);

impl TestDns {
    /// Where a domain wants its reports.
    fn say(&self, domain: &str, record: &str) {
        let record = Some(record.to_owned());
        self.0
            .lock()
            .unwrap()
            .insert(format!("_smtp._tls.{domain}"), record);
    }

    /// That cannot be found out.
    fn fail(&self, domain: &str) {
        self.0
            .lock()
            .unwrap()
            .insert(format!("_smtp._tls.{domain}"), None);
    }
}

impl Resolve for TestDns {
    async fn lookup(&self, name: &DomainName, record_type: RecordType) -> Answer {
        let known = self.0.lock().unwrap().get(name.as_str()).cloned();
        let outcome = match known {
            Some(Some(text)) if record_type == RecordType::Txt => {
                Ok(Outcome::Records(vec![RecordData::Txt(text.into_bytes())]))
            }
            Some(None) => Err(LookupError::Failed(String::from("SERVFAIL"))),
            Some(Some(_)) | None => Ok(Outcome::NoData),
        };
        Answer {
            name: name.clone(),
            record_type,
            steps: Vec::new(),
            outcome: outcome.map(Secured::insecure),
            ttl: Duration::ZERO,
            explanation: Explanation::default(),
        }
    }
}

const TWO_ADDRESSES: &str = "v=TLSRPTv1; rua=mailto:r1@a.example,mailto:r2@a.example";

const DAY: Duration = Duration::from_secs(86_400);
