//! `byrnie queue`: the mail that waits, why it waits, and steering it.

mod show;

use std::process::ExitCode;

use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_store::Filter;
use byrnie_store::Listed;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use serde::Serialize;

use crate::cli::ConfigArgs;
use crate::cli::QueueCommand;
use crate::cli::QueueListArgs;
use crate::cli::QueueOneArgs;
use crate::cli::QueueSomeArgs;
use crate::config;
use crate::failure::Failure;
use crate::output;
use crate::runtime;

/// Runs `byrnie queue`.
pub(crate) fn run(command: &QueueCommand) -> Result<ExitCode, Failure> {
    match command {
        QueueCommand::List(args) => list(args),
        QueueCommand::Show(args) => show(args),
        QueueCommand::Retry(args) => steer(args, Steer::Retry),
        QueueCommand::Hold(args) => steer(args, Steer::Hold),
        QueueCommand::Release(args) => steer(args, Steer::Release),
        QueueCommand::Remove(args) => steer(args, Steer::Remove),
    }
}

fn list(args: &QueueListArgs) -> Result<ExitCode, Failure> {
    let store = open(&args.config)?;
    runtime::block_on(async {
        let mut filter = Filter::default();
        loop {
            let page = store
                .list(filter.clone())
                .await
                .map_err(|error| explain(&error))?;
            let Some(last) = page.last() else { break };
            filter.after = Some(last.delivery);
            for listed in &page {
                if args.json {
                    output::print_json(listed)?;
                } else {
                    output::print(list_line(listed))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// One delivery in one line, with the reason under it.
fn list_line(listed: &Listed) -> String {
    let mut line = format!(
        "{}  {:<8}  <{}> -> {}  {} left  {} octets  since {}",
        listed.queue_id,
        listed.state,
        listed.sender,
        listed.next_hop,
        listed.pending,
        listed.size,
        output::time(listed.received_at),
    );
    if let Some(next) = listed.next_attempt_at {
        line.push_str(&format!("  next {}", output::time(next)));
    }
    if let Some(reason) = &listed.last_reason {
        line.push_str(&format!("\n             {reason}"));
    }
    output::visible(&line) + "\n"
}

fn show(args: &QueueOneArgs) -> Result<ExitCode, Failure> {
    let id = parse_id(&args.id)?;
    let store = open(&args.config)?;
    runtime::block_on(async {
        let shown = store.show(id).await.map_err(|error| explain(&error))?;
        if args.json {
            output::print_json(&shown)?;
        } else {
            output::print(output::visible(&show::text(&shown)))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What to do with messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Steer {
    /// Try again now.
    Retry,
    /// Keep back.
    Hold,
    /// Let go on.
    Release,
    /// Remove for ever.
    Remove,
}

impl Steer {
    /// What has been done, for people.
    fn past(self) -> &'static str {
        match self {
            Self::Retry => "tried again now",
            Self::Hold => "held",
            Self::Release => "released",
            Self::Remove => "removed",
        }
    }
}

/// What became of a message, for machines.
#[derive(Serialize)]
struct Steered {
    /// The message; `None` for all of them.
    queue_id: Option<QueueId>,
    /// What was asked for.
    action: Steer,
    /// On how many deliveries it had an effect.
    deliveries: usize,
}

fn steer(args: &QueueSomeArgs, action: Steer) -> Result<ExitCode, Failure> {
    let ids = args.ids.iter().map(|id| parse_id(id).map(Some));
    let targets = match args.all {
        true => vec![None],
        false => ids.collect::<Result<Vec<_>, _>>()?,
    };
    let store = open_to_change(&args.config)?;
    runtime::block_on(async {
        for queue_id in targets {
            let filter = Filter {
                ids: queue_id.into_iter().collect(),
                limit: u32::MAX,
                ..Filter::default()
            };
            let now = SystemClock.now();
            let deliveries = match action {
                Steer::Retry => store.retry(filter, now).await.map(|changed| changed.len()),
                Steer::Hold => store.hold(filter).await.map(|changed| changed.len()),
                Steer::Release => store
                    .release(filter, now)
                    .await
                    .map(|changed| changed.len()),
                Steer::Remove => store.remove(filter).await.map(|changed| changed.len()),
            }
            .map_err(|error| explain(&error))?;
            let steered = Steered {
                queue_id,
                action,
                deliveries,
            };
            if args.json {
                output::print_json(&steered)?;
                continue;
            }
            let what = queue_id.map_or_else(|| String::from("queue"), |id| id.to_string());
            let noun = if deliveries == 1 {
                "delivery"
            } else {
                "deliveries"
            };
            output::print(format_args!(
                "{what}: {deliveries} {noun} {}\n",
                action.past()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The spool of the configuration, which no daemon may be working on.
fn open_to_change(args: &ConfigArgs) -> Result<SqliteStore, Failure> {
    let file = config::load(args.config.as_deref())?;
    SqliteStore::open(SqliteOptions::in_directory(&file.queue.spool))
        .map_err(|error| Failure::runtime(error.to_string()))
}

/// The spool of the configuration, beside a daemon that may be working on it.
fn open(args: &ConfigArgs) -> Result<SqliteStore, Failure> {
    let file = config::load(args.config.as_deref())?;
    SqliteStore::attach(SqliteOptions::in_directory(&file.queue.spool)).map_err(|error| {
        Failure::runtime(error.to_string()).hint(format!(
            "`queue.spool` is {}; name the gateway's configuration with `--config`, and run as its user",
            file.queue.spool.display()
        ))
    })
}

fn parse_id(text: &str) -> Result<QueueId, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("\"{text}\": {error}")).hint("`byrnie queue list` prints the ids")
    })
}

/// A failed storage call as a failure of the command.
fn explain(error: &StoreError) -> Failure {
    let failure = Failure::runtime(error.to_string());
    if matches!(error, StoreError::NoSuchMessage(_)) {
        return failure.hint("`byrnie queue list` prints the ids");
    }
    if error.is_passing() {
        return failure.hint("try again in a moment");
    }
    failure
}
