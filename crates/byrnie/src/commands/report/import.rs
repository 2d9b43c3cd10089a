//! `byrnie report import`: reports from files.

mod source;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use byrnie_mta::Collected;
use byrnie_mta::Metrics;
use byrnie_mta::ReportReceiver;
use byrnie_mta::TakeReports;
use byrnie_net::clock::SystemClock;
use byrnie_store::Kept;
use byrnie_store::ReportSource;
use byrnie_store::SqliteStore;
use serde::Serialize;

use self::source::Item;
use crate::cli::ReportImportArgs;
use crate::commands::spool::Spool;
use crate::control;
use crate::control::Request;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::runtime;

/// Runs `byrnie report import`.
pub(super) fn run(args: &ReportImportArgs) -> Result<ExitCode, Failure> {
    let sources = source::all(&args.from)?;
    let spool = Spool::look(&args.config)?;
    let progress = Progress::new();
    let mut import = Import {
        keeper: Keeper::Gateway(&spool),
        counts: Counts::default(),
        progress,
        json: args.json,
    };
    let total = u64::try_from(sources.len()).unwrap_or(u64::MAX);
    for (done, source) in (0_u64..).zip(&sources) {
        progress.tell(done, total, "files");
        source.for_each(|item| import.item(item))?;
    }
    progress.make_way();
    let counts = import.counts;
    if !args.json {
        output::print(format_args!(
            "{} new, {} known already, {} unreadable, {} not kept\n",
            counts.new, counts.known, counts.unreadable, counts.failed
        ))?;
    }
    Ok(match counts.unreadable + counts.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    })
}

/// An import under way.
struct Import<'a> {
    /// Who keeps reports.
    keeper: Keeper<'a>,
    /// What came of them so far.
    counts: Counts,
    /// How far it is.
    progress: Progress,
    /// Whether a machine reads.
    json: bool,
}

/// What came of items.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    new: u64,
    known: u64,
    unreadable: u64,
    failed: u64,
}

/// What came of an item, for machines.
#[derive(Serialize)]
struct Line<'a> {
    /// Where it is from.
    item: &'a str,
    /// What came of each report in it.
    kept: &'a [Kept],
    /// Why none was kept.
    error: Option<&'a str>,
}

impl Import<'_> {
    /// Takes in an item, and says what came of it.
    fn item(&mut self, item: Item<'_>) -> Result<(), Failure> {
        let (kept, error) = match item.octets {
            Ok(octets) => match self.keeper.take(octets) {
                Ok(kept) => (kept, None),
                Err(failure) if self.counts.is_untouched() => return Err(failure),
                Err(failure) => (Vec::new(), Some(String::from(failure.message()))),
            },
            Err(why) => (Vec::new(), Some(why)),
        };
        self.progress.make_way();
        if self.json {
            output::print_json(&Line {
                item: item.name,
                kept: &kept,
                error: error.as_deref(),
            })?;
        }
        let mut text = String::new();
        for kept in &kept {
            text.push_str(&match kept {
                Kept::New(number) => {
                    self.counts.new += 1;
                    format!("{}: new, kept as {number}\n", item.name)
                }
                Kept::Known(number) => {
                    self.counts.known += 1;
                    format!("{}: known already as {number}\n", item.name)
                }
                Kept::Unreadable(number, reason) => {
                    self.counts.unreadable += 1;
                    format!("{}: unreadable, kept as {number}: {reason}\n", item.name)
                }
            });
        }
        if let Some(error) = &error {
            self.counts.failed += 1;
            text.push_str(&format!("{}: not kept: {error}\n", item.name));
        }
        match self.json {
            true => Ok(()),
            false => output::print(output::visible(&text)),
        }
    }
}

impl Counts {
    /// Whether nothing came of anything so far.
    fn is_untouched(self) -> bool {
        self.new + self.known + self.unreadable + self.failed == 0
    }
}

/// Who keeps reports: the gateway, or where none runs the command itself.
enum Keeper<'a> {
    /// The gateway of this spool, as far as is known.
    Gateway(&'a Spool),
    /// The command.
    Itself(ReportReceiver<SqliteStore, SystemClock>),
}

impl Keeper<'_> {
    /// Has octets kept.
    fn take(&mut self, octets: &[u8]) -> Result<Vec<Kept>, Failure> {
        if let Self::Gateway(spool) = self {
            let request = Request::TakeReport {
                octets: STANDARD.encode(octets),
            };
            if let Some(kept) = control::ask(spool.path(), &request)? {
                return Ok(kept);
            }
            let receiver = ReportReceiver::new(
                Arc::new(spool.alone()?),
                Arc::new(SystemClock),
                Arc::new(Metrics::new()),
                spool.file.tlsrpt.receive.config(),
            );
            *self = Self::Itself(receiver);
        }
        match self {
            Self::Itself(receiver) => runtime::block_on(async {
                let octets = Collected::whole(octets);
                let kept = receiver.take(octets, ReportSource::Import).await;
                kept.map_err(|error| Failure::store(&error))
            }),
            Self::Gateway(spool) => Err(control::nobody_there(spool.path())),
        }
    }
}

/// How a path is named to people.
fn shown(path: &Path) -> String {
    match path == Path::new(source::STANDARD_INPUT) {
        true => String::from("standard input"),
        false => path.display().to_string(),
    }
}
