//! Our DNSSEC validator against unbound: random zones, random damage, the same question to both.
//!
//! ```text
//! byrnie-differential [--cases N] [--seed N] [--replay CASE] [--port N]
//! ```
//!
//! Each case is a tree of signed zones, a question, and up to three damages to the replies, all drawn
//! from the seed and the number of the case. A [`forwarder`](Forwarder) answers as a recursive
//! resolver would, damage included. unbound asks it, our validator gets the same octets, and
//! [`compare`](compare::compare) says whether they agree, by which written rule they may differ, or
//! that nothing explains it: then the program fails. What the zones truly hold is a third opinion,
//! which neither of them can outvote.
//!
//! It needs Debian's unbound and loopback addresses, no more.
#![expect(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool for developers, fed with nothing but what it makes itself"
)]

mod answer;
mod case;
mod compare;
mod damage;
mod forwarder;
mod key;
mod message;
mod name;
mod ours;
mod report;
mod rules;
mod tree;
mod unbound;
mod zone;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use byrnie_base::UnixTime;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Verdict;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::DnsConfig;
use byrnie_net::dns::Mode;
use byrnie_net::dns::Resolver;

use case::Case;
use compare::Finding;
use forwarder::Forwarder;
use key::Keys;
use report::Counts;
use unbound::Said;
use unbound::Unbound;
use unbound::Word;

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    let bench = Bench::start(&options);
    if let Some(number) = options.replay {
        return bench.replay(number);
    }
    let (next, began) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.cases {
                        break;
                    }
                    bench.run(number);
                }
            });
        }
    });
    let counts = bench.counts.lock().expect("no holder panics");
    counts.print();
    let seconds = began.elapsed().as_secs_f64();
    println!("seed {}, {seconds:.1} s", options.seed);
    if counts.unexplained() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Everything that cases share.
struct Bench {
    seed: u64,
    keys: Arc<Keys>,
    now: UnixTime,
    anchors: TrustAnchors,
    forwarder: Forwarder,
    unbound: Unbound,
    runtime: tokio::runtime::Runtime,
    resolver: Resolver,
    counts: Mutex<Counts>,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Starts the forwarder and the validators.
    fn start(options: &Options) -> Self {
        let keys = Arc::new(Keys::new());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = UnixTime(since.expect("the clock is right").as_secs());
        let root = Arc::new(Case::root(&keys, now));
        let anchor = report::anchor(&root);
        let anchors = TrustAnchors::parse(&anchor).expect("the anchor is one");
        let upstream = SocketAddr::from(([127, 0, 0, 1], options.port));
        let address = SocketAddr::from(([127, 0, 0, 1], options.port + 1));
        let forwarder = Forwarder::start(upstream, root).expect("the port is free");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let unbound = Unbound::start(folder.path(), address, upstream, &anchor)
            .expect("unbound is installed");
        unbound.wait().expect("unbound answers");
        let mode = Mode::Validate {
            anchors: anchors.clone(),
        };
        let config = DnsConfig::new(vec![upstream], mode);
        Self {
            seed: options.seed,
            keys,
            now,
            anchors,
            forwarder,
            unbound,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime can be made"),
            resolver: Resolver::new(&config, Arc::new(SystemClock))
                .expect("the configuration is right"),
            counts: Mutex::default(),
            folder,
        }
    }

    /// Runs one case and counts it.
    fn run(&self, number: u64) {
        for attempt in 0..ATTEMPTS {
            let run = self.attempt(number, attempt);
            // On a busy machine unbound may not have reached the forwarder in time. What is more than
            // that shows again.
            let out_of_reach = match (&run.said, &run.finding) {
                (Ok(said), Finding::Unexplained(_)) => said.word == Word::Bogus,
                (Ok(_), Finding::Agreed | Finding::Explained(_)) => false,
                (Err(_), _) => true,
            };
            let mut counts = self.counts.lock().expect("no holder panics");
            if out_of_reach && attempt + 1 < ATTEMPTS {
                counts.repeated += 1;
                drop(counts);
                thread::sleep(ATTEMPT_PAUSE);
                continue;
            }
            match &run.said {
                Ok(said) => counts.add(&run.case, &run.verdict, said, &run.finding),
                Err(error) => {
                    counts.add_unexplained(format!("case {number}: unbound is silent: {error}"));
                }
            }
            if let (Some(word), Ok(said)) = (run.through_net, &run.said) {
                counts.through_net += 1;
                if word != ours::word(&run.verdict) {
                    let line = report::summary(&run.case, &run.verdict, said, "net::dns differs");
                    counts.add_unexplained(format!("{line}: net::dns says {word:?}"));
                }
            }
            return;
        }
    }

    /// Asks everybody about a case.
    fn attempt(&self, number: u64, attempt: u64) -> Run {
        let case = Arc::new(Case::new(self.seed, number, attempt, &self.keys, self.now));
        self.forwarder.open(&case);
        let said = self.unbound.ask(&case.name, case.rtype);
        let verdict = ours::validate(&case, &self.anchors);
        let through_net = number
            .is_multiple_of(NET_EVERY)
            .then(|| {
                let lookup = ours::look_up(&self.resolver, &case, &verdict);
                self.runtime.block_on(lookup)
            })
            .flatten();
        self.forwarder.close(&case);
        let finding = match &said {
            Ok(said) => compare::compare(&case, &verdict, said),
            Err(_) => Finding::Unexplained("unbound is silent"),
        };
        Run {
            case,
            verdict,
            said,
            through_net,
            finding,
        }
    }

    /// Runs one case and prints all about it.
    fn replay(&self, number: u64) -> ExitCode {
        let run = self.attempt(number, 0);
        let said = run.said.expect("unbound answers");
        report::print_case(&run.case, &run.verdict, &said, &run.finding);
        let log = std::fs::read_to_string(self.folder.path().join("unbound.log"));
        println!("unbound's: {said:?}\n{}", log.unwrap_or_default());
        match run.finding {
            Finding::Agreed | Finding::Explained(_) => ExitCode::SUCCESS,
            Finding::Unexplained(_) => ExitCode::FAILURE,
        }
    }
}

/// A case with all that was said about it.
struct Run {
    case: Arc<Case>,
    verdict: Verdict,
    said: std::io::Result<Said>,
    through_net: Option<Word>,
    finding: Finding,
}

/// The command line.
struct Options {
    cases: u64,
    seed: u64,
    replay: Option<u64>,
    port: u16,
}

impl Options {
    /// Reads the command line.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            cases: 10_000,
            seed: 1,
            replay: None,
            port: 5300,
        };
        while let Some(argument) = arguments.next() {
            let value = arguments.next().and_then(|value| value.parse().ok());
            let value: u64 = value.expect("each option has a number");
            match argument.as_str() {
                "--cases" => options.cases = value,
                "--seed" => options.seed = value,
                "--replay" => options.replay = Some(value),
                "--port" => options.port = value as u16,
                _ => println!("options: --cases N --seed N --replay CASE --port N"),
            }
        }
        options
    }
}

/// Cases under way at a time; most of the time they wait.
const WORKERS: usize = 48;

/// Of so many cases one is asked through `net::dns`, too.
const NET_EVERY: u64 = 16;

/// How often a case is tried while unbound gets no answer from the forwarder.
const ATTEMPTS: u64 = 4;

/// The pause between; unbound forgets in a second that an upstream was silent.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(1500);
