//! `byrnie dns`: an answer from the DNS, and how well it is proven.

use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use byrnie_net::dns::LookupReport;
use byrnie_net::dns::QueryName;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::ReportStatus;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Semaphore;

use crate::cli::DnsArgs;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::progress::Progress;
use crate::resolving;
use crate::runtime;

/// Runs `byrnie dns`.
pub(crate) fn run(args: &DnsArgs) -> Result<ExitCode, Failure> {
    let questions = match (&args.batch, &args.name, &args.record_type) {
        (Some(path), _, _) => read_batch(path)?,
        (None, Some(name), Some(record_type)) => vec![question(name, record_type)?],
        (None, _, _) => return Err(Failure::usage("a name and a type are needed")),
    };
    let json = args.json || args.batch.is_some();
    let file = resolving::settings(&args.config, &args.resolve)?;
    let progress = match args.batch {
        Some(_) => Progress::new(),
        None => Progress::silent(),
    };
    let (answered, total) = (
        AtomicU64::new(0),
        u64::try_from(questions.len()).unwrap_or(u64::MAX),
    );
    runtime::block_on(async {
        let clock = resolving::clock();
        let store = resolving::gateway_store(&file)?;
        let anchors = resolving::known_anchors(&file, store.as_ref(), clock.now()).await?;
        let resolver = resolving::resolver(&file, anchors.as_ref(), &clock)?;
        let turns = Semaphore::new(args.concurrency.get().min(Semaphore::MAX_PERMITS));
        let (resolver, turns, answered) = (&resolver, &turns, &answered);
        let answers = stream::iter(questions)
            .map(|(name, record_type)| async move {
                let _turn = turns.acquire().await;
                let report = resolver.report(&name, record_type).await;
                // It may wait for others before it is printed.
                let answered = answered.fetch_add(1, Ordering::Relaxed) + 1;
                progress.tell(answered, total, "answered");
                report
            })
            .buffered(args.concurrency.get().max(ANSWERS_AHEAD_MAX));
        let mut answers = std::pin::pin!(answers);
        while let Some(report) = answers.next().await {
            progress.make_way();
            if json {
                output::print_json(&report)?;
            } else {
                output::print(text(&report, Paint::for_stdout()))?;
            }
        }
        progress.make_way();
        Ok(ExitCode::SUCCESS)
    })
}

/// The questions of a file, or of standard input for `-`.
fn read_batch(path: &Path) -> Result<Vec<(QueryName, RecordType)>, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(BATCH_OCTETS_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(BATCH_OCTETS_MAX).read_to_string(&mut text))
    };
    let at = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
    read.map_err(|error| at(error.to_string()))?;
    let mut questions = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [name, record_type] => {
                let question = question(name, record_type).map_err(|error| {
                    error.within(&format!("{}, line {}", path.display(), number + 1))
                })?;
                questions.push(question);
            }
            _ => {
                return Err(at(format!("line {}: not `NAME TYPE`", number + 1))
                    .hint("write one question a line, such as `example.org MX`"));
            }
        }
    }
    Ok(questions)
}

/// A name and a type from text.
fn question(name: &str, record_type: &str) -> Result<(QueryName, RecordType), Failure> {
    let parsed_name = name
        .parse()
        .map_err(|error| Failure::usage(format!("\"{name}\": {error}")))?;
    let parsed_type = record_type.parse().map_err(|error| {
        Failure::usage(format!("\"{record_type}\": {error}"))
            .hint("write the type behind the name, as in `byrnie dns example.org MX`")
    })?;
    Ok((parsed_name, parsed_type))
}

/// An answer in lines, its status in colour.
fn text(report: &LookupReport, paint: Paint) -> String {
    let word = format!(": {} ", report.status);
    let coloured = match report.status {
        ReportStatus::Secure => paint.green(&word),
        ReportStatus::Insecure => paint.yellow(&word),
        ReportStatus::Bogus | ReportStatus::Failed => paint.red(&word),
    };
    let plain = output::visible(&report.to_string());
    plain.replacen(&word, &coloured, 1) + "\n"
}

/// So many answers may wait for a slow one before them, so that it does not keep others from being
/// asked for: answers are printed in the order of the questions.
const ANSWERS_AHEAD_MAX: usize = 4096;

/// Some two million questions in one batch.
const BATCH_OCTETS_MAX: u64 = 64 << 20;
