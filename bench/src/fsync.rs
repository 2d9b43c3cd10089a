//! `smtpbench fsync`: what small durable writes cost on the disk under a directory.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use clap::ValueEnum as _;
use serde_json::json;

use crate::failure::Failure;
use crate::stats::micros;
use crate::stats::per_second;
use crate::stats::percentiles;

/// Octets of the file that is written over and over.
const OVERWRITTEN: usize = 1 << 20;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A directory for scratch files on that disk
    #[arg(long)]
    dir: PathBuf,
    /// How many threads write at once, one measurement each
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    threads: Vec<usize>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Octets of a write
    #[arg(long, default_value_t = 2048)]
    size: usize,
}

/// A way to make a small piece of data durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// Append to a log, then fdatasync.
    Append,
    /// Write over a block that is there, then fdatasync.
    Overwrite,
    /// Create a file and fsync it.
    File,
    /// Create a file, fsync it, rename it, and fsync the directory.
    Renamed,
}

/// Measures each way with each number of threads, and prints a line for each.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let budget = Duration::from_secs_f64(options.seconds);
    for &way in Way::value_variants() {
        for &threads in &options.threads {
            let start = Instant::now();
            let mut samples = side_by_side(way, options, threads, budget)?;
            let elapsed = start.elapsed();
            let row = json!({
                "mode": format!("{way:?}").to_lowercase(),
                "threads": threads,
                "per_s": per_second(samples.len() as u64, elapsed),
                "latency_ms": percentiles(&mut samples),
            });
            println!("{row}");
        }
    }
    Ok(())
}

/// How long each write of all threads took.
fn side_by_side(
    way: Way,
    options: &Options,
    threads: usize,
    budget: Duration,
) -> Result<Vec<u32>, Failure> {
    let data = vec![b'x'; options.size];
    let outcomes: Vec<io::Result<Vec<u32>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|n| {
                let (dir, data) = (options.dir.join(format!("t{n}")), &data);
                scope.spawn(move || write(way, &dir, data, budget))
            })
            .collect();
        let gone = || Err(io::Error::other("a thread ended early"));
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| gone()))
            .collect()
    });
    let mut samples = Vec::new();
    for outcome in outcomes {
        samples.extend(outcome?);
    }
    Ok(samples)
}

/// Writes for as long as the budget lasts.
fn write(way: Way, dir: &Path, data: &[u8], budget: Duration) -> io::Result<Vec<u32>> {
    fs::create_dir_all(dir)?;
    let mut log = File::create(dir.join("log"))?;
    if way == Way::Overwrite {
        log.write_all(&vec![0; OVERWRITTEN])?;
        log.sync_all()?;
    }
    let slots = OVERWRITTEN / data.len().max(1);
    let mut samples = Vec::new();
    let start = Instant::now();
    while start.elapsed() < budget {
        let begun = Instant::now();
        let name = match way {
            Way::Append => {
                log.write_all(data)?;
                log.sync_data()?;
                None
            }
            Way::Overwrite => {
                let slot = samples.len() % slots.max(1);
                log.write_all_at(data, (slot * data.len()) as u64)?;
                log.sync_data()?;
                None
            }
            Way::File => Some(create(dir, "message", data)?),
            Way::Renamed => Some(create_and_rename(dir, data)?),
        };
        samples.push(micros(begun.elapsed()));
        if let Some(name) = name {
            fs::remove_file(name)?;
        }
    }
    drop(log);
    fs::remove_dir_all(dir)?;
    Ok(samples)
}

/// A file whose data is on the disk.
fn create(dir: &Path, name: &str, data: &[u8]) -> io::Result<PathBuf> {
    let path = dir.join(name);
    let mut file = File::create(&path)?;
    file.write_all(data)?;
    file.sync_all()?;
    Ok(path)
}

/// A file whose data is on the disk, and whose last name is.
fn create_and_rename(dir: &Path, data: &[u8]) -> io::Result<PathBuf> {
    let renamed = dir.join("queued");
    fs::rename(create(dir, "message", data)?, &renamed)?;
    File::open(dir)?.sync_all()?;
    Ok(renamed)
}
