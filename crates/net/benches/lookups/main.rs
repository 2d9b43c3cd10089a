//! Validated lookups a second, warm and cold, beside libunbound over the same upstream.
//!
//!     cargo bench -p byrnie-net --bench lookups                   criterion's statistics
//!     cargo bench -p byrnie-net --bench lookups -- figures RUNS   a table with ratios and memory
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench that cannot go on stops"
)]

mod figures;
mod peers;
#[path = "../../../dnssec/benches/signer/mod.rs"]
mod signer;

use std::time::Duration;

use criterion::Criterion;
use criterion::SamplingMode;
use criterion::Throughput;

use crate::peers::Bed;
use crate::peers::Side;

fn main() {
    if peers::play_part() {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [title, runs, ..] = &arguments[..]
        && title == "figures"
    {
        return figures::print(runs.parse().unwrap());
    }
    let mut criterion = Criterion::default().configure_from_args();
    let bed = Bed::new(DOMAINS, HOSTS);
    let mut sides = bed.sides();
    for concurrent in [1, 64] {
        warm(&mut criterion, &mut sides, concurrent);
        let title = format!("cold lookups, {concurrent} at a time, four of each domain");
        cold(
            &mut criterion,
            &mut sides,
            &title,
            concurrent,
            (0, bed.in_domains),
        );
        let title = format!("cold lookups, {concurrent} at a time, all in one domain");
        let hosts = (bed.in_domains, bed.in_one_zone);
        cold(&mut criterion, &mut sides, &title, concurrent, hosts);
    }
    criterion.final_summary();
}

/// Lookups whose answers are known.
fn warm(criterion: &mut Criterion, sides: &mut [Side], concurrent: usize) {
    let title = format!("warm lookups, {concurrent} at a time");
    let mut group = criterion.benchmark_group(title);
    group.throughput(Throughput::Elements(1));
    group.measurement_time(MEASUREMENT_TIME);
    for side in sides {
        side.forget();
        side.run(concurrent, 0, WARM_QUESTIONS, WARM_QUESTIONS);
        group.bench_function(side.name, |bencher| {
            bencher.iter_custom(|iterations| {
                let count = usize::try_from(iterations).unwrap();
                side.run(concurrent, 0, WARM_QUESTIONS, count).time
            });
        });
    }
    group.finish();
}

/// Lookups of which nothing is known; when the questions are used up, everything is forgotten.
fn cold(
    criterion: &mut Criterion,
    sides: &mut [Side],
    title: &str,
    concurrent: usize,
    (first, span): (usize, usize),
) {
    let mut group = criterion.benchmark_group(title);
    group.throughput(Throughput::Elements(1));
    group.measurement_time(MEASUREMENT_TIME);
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    for side in sides {
        let mut used = span;
        group.bench_function(side.name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut left = usize::try_from(iterations).unwrap();
                let mut time = Duration::ZERO;
                while left > 0 {
                    if used == span {
                        side.forget();
                        used = 0;
                    }
                    let count = left.min(span - used);
                    time += side.run(concurrent, first + used, count, count).time;
                    used += count;
                    left -= count;
                }
                time
            });
        });
    }
    group.finish();
}

/// Signed for these benches; each has four questions.
const DOMAINS: usize = 2_000;

/// Names in one zone.
const HOSTS: usize = 8_000;

/// So many questions are asked over and over.
const WARM_QUESTIONS: usize = 1_000;

/// Long enough for a steady figure on a noisy machine.
const MEASUREMENT_TIME: Duration = Duration::from_secs(5);
