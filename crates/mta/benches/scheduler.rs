//! What the scheduler costs with a million deliveries in 100,000 lanes, 30 % of which are dead.

use std::collections::VecDeque;
use std::fs;
use std::hint::black_box;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_mta::scheduler::Answer;
use byrnie_mta::scheduler::Bounds;
use byrnie_mta::scheduler::Delivery;
use byrnie_mta::scheduler::Ended;
use byrnie_mta::scheduler::Now;
use byrnie_mta::scheduler::Recorded;
use byrnie_mta::scheduler::Scheduler;
use byrnie_mta::scheduler::Times;
use byrnie_mta::scheduler::Tried;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;

/// Starts and ends attempts, and keeps as much waiting as there was.
#[expect(
    clippy::print_stdout,
    reason = "the figure is what the benchmark is for"
)]
fn starts_and_ends(criterion: &mut Criterion) {
    let before = resident_octets();
    let mut yard = Yard::filled();
    let octets = resident_octets().saturating_sub(before) / DELIVERIES;
    println!("{octets} octets for each of {DELIVERIES} waiting deliveries in {LANES} lanes");

    let mut group = criterion.benchmark_group("scheduler");
    group.throughput(Throughput::Elements(ROUND));
    group.bench_function("start, end and add 1,000 of a million", |bencher| {
        bencher.iter(|| yard.round());
    });
    group.finish();
}

/// A scheduler and the attempts that it has started.
struct Yard {
    scheduler: Scheduler<u64>,
    next_hops: Vec<MailDomain>,
    monotonic: Instant,
    /// The time of day, in steps of milliseconds.
    passed: Duration,
    next_key: u64,
    /// Attempts at hosts that answer.
    quick: VecDeque<u64>,
    /// Attempts at hosts that do not, and when their patience ends.
    silent: VecDeque<(Duration, u64)>,
}

impl Yard {
    /// A million deliveries.
    fn filled() -> Self {
        let name = |lane: u64| format!("domain{lane}.example").parse().ok();
        let mut yard = Self {
            scheduler: Scheduler::new(BOUNDS, Duration::from_secs(14_400)),
            next_hops: (0..LANES).filter_map(name).collect(),
            monotonic: SystemClock.monotonic(),
            passed: Duration::ZERO,
            next_key: 0,
            quick: VecDeque::new(),
            silent: VecDeque::new(),
        };
        for _ in 0..DELIVERIES {
            yard.add();
        }
        yard
    }

    /// One more delivery, to the next lane.
    fn add(&mut self) {
        let key = self.next_key;
        self.next_key += 1;
        let lane = usize::try_from(key % LANES).unwrap_or_default();
        let Some(next_hop) = self.next_hops.get(lane) else {
            return;
        };
        self.scheduler.add(Delivery {
            key,
            next_hop,
            sender: u32::try_from(key % SENDERS).unwrap_or_default(),
            tried: Tried::Never,
            times: self.times(Duration::ZERO),
        });
    }

    /// Starts a thousand attempts, ends as many, and adds as many.
    fn round(&mut self) {
        let mut started = 0;
        while started < ROUND {
            self.passed += Duration::from_millis(1);
            let now = Now {
                time: START + self.passed,
                monotonic: self.monotonic + self.passed,
            };
            self.scheduler.advance(now);
            while let Some(key) = self.scheduler.next(now.monotonic) {
                started += 1;
                match is_dead(key) {
                    true => self.silent.push_back((self.passed + CONNECT_TIME_MAX, key)),
                    false => self.quick.push_back(key),
                }
            }
            while let Some(key) = self.quick.pop_front() {
                self.end(key, Answer::Answered, Recorded::Gone);
                self.add();
            }
            while let Some((until, key)) = self.silent.front().copied()
                && until <= self.passed
            {
                self.silent.pop_front();
                let times = self.times(Duration::from_secs(300));
                self.end(key, Answer::Silent, Recorded::Again(times));
            }
        }
        black_box(self.scheduler.counts());
    }

    fn end(&mut self, key: u64, answer: Answer, recorded: Recorded) {
        let ended = Ended {
            answer,
            trouble: None,
            took: Duration::from_millis(20),
        };
        self.scheduler.ended(key, ended, 0.5);
        self.scheduler.recorded(key, recorded);
    }

    fn times(&self, wait: Duration) -> Times {
        Times {
            due_at: START + self.passed + wait,
            deadline: START + self.passed + Duration::from_secs(432_000),
        }
    }
}

/// Whether the hosts of a delivery say nothing.
fn is_dead(key: u64) -> bool {
    key % LANES % 10 < 3
}

/// Memory of this process.
fn resident_octets() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}

const START: UnixTime = UnixTime(1_800_000_000);
const DELIVERIES: u64 = 1_000_000;
const LANES: u64 = 100_000;
const SENDERS: u64 = 1_000;
const ROUND: u64 = 1_000;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds {
    attempts_max: 200,
    slow_attempts_max: 4_000,
    slow_after: Duration::from_secs(1),
    attempts_per_lane_max: 20,
    closed_min: Duration::from_secs(60),
    closed_max: Duration::from_secs(1_800),
};

criterion_group!(benches, starts_and_ends);
criterion_main!(benches);
