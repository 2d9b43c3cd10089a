//! The table of figures: byrnie beside libunbound in one run, with ratios.
//!
//! The two take turns, so that what else the machine does meets both, and medians are shown. The
//! processor time counts all threads of a side, without the upstream's.

use std::time::Duration;

use crate::peers::Bed;
use crate::peers::QUESTIONS_PER_DOMAIN;
use crate::peers::Side;
use crate::peers::Took;

/// Measures and prints.
pub(crate) fn print(runs: usize) {
    let bed = Bed::new(DOMAINS, HOSTS);
    let mut sides = bed.sides();
    println!("medians of {runs} runs; lookups a second, and seconds of processor time per 100,000");
    for kind in KINDS {
        for concurrent in [1, 64] {
            compare(kind, concurrent, &bed, &mut sides, runs);
        }
    }
    println!("memory per 100,000 cached names, in MiB");
    remember("names in as many zones as four go into", 0, &bed);
    remember("names in one zone", bed.in_domains, &bed);
    println!(
        "the upstream took {:.1} s",
        bed.upstream_cpu().as_secs_f64()
    );
}

/// A kind of lookups.
#[derive(Clone, Copy)]
enum Kind {
    /// The answers are known.
    Warm,
    /// Nothing is known of any domain; four questions about each.
    ColdDomains,
    /// Nothing is known; all names lie in one domain.
    ColdHosts,
}

/// One row of the table.
fn compare(kind: Kind, concurrent: usize, bed: &Bed, sides: &mut [Side], runs: usize) {
    let mut taken: Vec<Vec<Took>> = vec![Vec::new(); sides.len()];
    for _ in 0..runs {
        for (side, taken) in sides.iter_mut().zip(&mut taken) {
            taken.push(measure(kind, concurrent, bed, side));
        }
    }
    let count = match kind {
        Kind::Warm => WARM_LOOKUPS,
        Kind::ColdDomains | Kind::ColdHosts => COLD_LOOKUPS,
    };
    let title = match kind {
        Kind::Warm => "warm",
        Kind::ColdDomains => "cold, four of each domain",
        Kind::ColdHosts => "cold, all in one domain",
    };
    println!("  {title}, {concurrent} at a time");
    let mut baseline = None;
    for (side, taken) in sides.iter().zip(&taken) {
        let time = median(taken.iter().map(|took| took.time));
        let cpu = median(taken.iter().map(|took| took.cpu));
        let (rate, cpu) = (per_second(count, time), cpu / u32::try_from(count).unwrap());
        let cpu = cpu.as_secs_f64() * 100_000.0;
        print!("    {:<11} {rate:>9.0}/s {cpu:>8.2} s", side.name);
        match baseline {
            None => println!(),
            Some((our_rate, our_cpu)) => println!(
                "   byrnie: {:.1} times the rate, {:.1} times less processor time",
                our_rate / rate,
                cpu / our_cpu
            ),
        }
        baseline.get_or_insert((rate, cpu));
    }
}

/// One run of one side.
fn measure(kind: Kind, concurrent: usize, bed: &Bed, side: &mut Side) -> Took {
    side.forget();
    match kind {
        Kind::Warm => {
            side.run(64, 0, WARM_QUESTIONS, WARM_QUESTIONS);
            side.run(concurrent, 0, WARM_QUESTIONS, WARM_LOOKUPS)
        }
        Kind::ColdDomains => side.run(concurrent, 0, COLD_LOOKUPS, COLD_LOOKUPS),
        Kind::ColdHosts => side.run(concurrent, bed.in_domains, COLD_LOOKUPS, COLD_LOOKUPS),
    }
}

/// How much memory 100,000 names take, in processes that have just begun.
fn remember(title: &str, first: usize, bed: &Bed) {
    println!("  {title}");
    let mut baseline = None;
    for mut side in bed.sides() {
        // What is needed once whatever is cached.
        side.run(64, first, WARM_QUESTIONS, WARM_QUESTIONS);
        let before = side.memory();
        side.run(64, first + WARM_QUESTIONS, NAMES, NAMES);
        let grown = side.memory().saturating_sub(before);
        let grown = mebibytes(grown * 100_000 / NAMES);
        print!("    {:<11} {grown:>7.1}", side.name);
        match baseline {
            None => println!(),
            Some(ours) => println!("   byrnie: {:.2} times as much", ours / grown),
        }
        baseline.get_or_insert(grown);
    }
}

/// The one in the middle.
fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// So many in so much time.
fn per_second(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / time.as_secs_f64()
}

/// Octets as people read them.
fn mebibytes(octets: usize) -> f64 {
    f64::from(u32::try_from(octets / 1024).unwrap()) / 1024.0
}

/// The rows of the table.
const KINDS: [Kind; 3] = [Kind::Warm, Kind::ColdDomains, Kind::ColdHosts];

/// So many names are remembered for the figure of 100,000.
const NAMES: usize = 40_000;

/// Domains that are signed: enough for the memory.
const DOMAINS: usize = (NAMES + WARM_QUESTIONS) / QUESTIONS_PER_DOMAIN;

/// Names in one zone: as many.
const HOSTS: usize = NAMES + WARM_QUESTIONS;

/// So many questions are asked over and over.
const WARM_QUESTIONS: usize = 1_000;

/// Warm lookups in one run.
const WARM_LOOKUPS: usize = 20_000;

/// Cold lookups in one run.
const COLD_LOOKUPS: usize = 4_000;
