//! Our side: the resolver on one thread, driven over stdin and stdout.

use std::cell::Cell;
use std::io::BufRead as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Security;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::CacheBounds;
use byrnie_net::dns::DnsConfig;
use byrnie_net::dns::Mode;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::TrustAnchors;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Obeys the commands on stdin until there are no more.
pub(crate) fn serve(port: &str, anchors: &Path, questions: &Path) {
    let questions = read_questions(questions);
    let mut config = DnsConfig::new(
        vec![SocketAddr::new(
            [127, 0, 0, 1].into(),
            port.parse().unwrap(),
        )],
        Mode::Validate {
            anchors: TrustAnchors::parse(&std::fs::read_to_string(anchors).unwrap()).unwrap(),
        },
    );
    config.cache = CacheBounds {
        entries_max: 400_000,
        octets_max: 1 << 30,
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut resolver = Resolver::new(&config, Arc::new(SystemClock)).unwrap();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let (secure, took) = match words.next() {
            Some("fresh") => {
                resolver = Resolver::new(&config, Arc::new(SystemClock)).unwrap();
                (0, Duration::ZERO)
            }
            Some("run") => {
                let numbers: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
                let questions = questions[numbers[1]..][..numbers[2]].to_vec();
                runtime.block_on(run(&resolver, numbers[0], questions, numbers[3]))
            }
            other => panic!("no such command: {other:?}"),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{secure} {}", took.as_nanos()).unwrap();
        out.flush().unwrap();
    }
}

/// Keeps so many lookups under way until there have been enough; how many were secure, and the time.
async fn run(
    resolver: &Resolver,
    concurrent: usize,
    questions: Vec<(DomainName, RecordType)>,
    count: usize,
) -> (usize, Duration) {
    let questions = Rc::new(questions);
    let (started, secure) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let began = SystemClock.monotonic();
    let tasks = LocalSet::new();
    for _ in 0..concurrent {
        let (resolver, questions) = (resolver.clone(), Rc::clone(&questions));
        let (started, secure) = (Rc::clone(&started), Rc::clone(&secure));
        tasks.spawn_local(async move {
            while started.get() < count {
                let (name, record_type) = &questions[started.get() % questions.len()];
                started.set(started.get() + 1);
                let answer = resolver.lookup(name, *record_type).await;
                if answer.security() == Some(Security::Secure) {
                    secure.set(secure.get() + 1);
                } else {
                    eprintln!("{name} {record_type}: {:?}", answer.outcome);
                }
            }
        });
    }
    tasks.await;
    let took = SystemClock.monotonic().duration_since(began);
    (secure.get(), took)
}

/// What may be asked.
fn read_questions(path: &Path) -> Vec<(DomainName, RecordType)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let (name, number) = line.split_once(' ').unwrap();
            let number: u16 = number.parse().unwrap();
            (name.parse().unwrap(), RecordType::from(number))
        })
        .collect()
}
