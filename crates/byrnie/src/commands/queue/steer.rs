//! `byrnie queue retry`, `hold`, `release` and `remove`: for one message or for many.

use std::process::ExitCode;

use byrnie_store::Listed;
use byrnie_store::QueueCommands;
use serde::Serialize;

use super::list::Counted;
use super::list::Summary;
use super::list::deliveries;
use super::list::for_each;
use super::list::line;
use crate::cli::QueueSomeArgs;
use crate::commands::spool::Spool;
use crate::control;
use crate::control::Action;
use crate::control::Request;
use crate::control::Steered;
use crate::failure::Failure;
use crate::output;
use crate::resolving;
use crate::runtime;
use crate::selection::Selection;

/// Runs one of them.
pub(super) fn run(args: &QueueSomeArgs, action: Action) -> Result<ExitCode, Failure> {
    let now = resolving::clock().now();
    let selection = Selection::new(&args.filter, now)?;
    if selection.is_everything() && !args.all {
        return Err(Failure::usage("it is not said which messages").hint(
            "name queue ids, or what they have in common, such as `--domain`; `--all` means all",
        ));
    }
    let spool = Spool::look(&args.config)?;
    if args.dry_run {
        return dry_run(&spool, &selection, args.json, action);
    }
    let request = Request::Steer {
        action,
        selection: Box::new(selection.clone()),
    };
    let steered = match control::ask(spool.path(), &request)? {
        Some(steered) => steered,
        None => alone(&spool, &selection, action)?,
    };
    if args.json {
        output::print_json(&Done {
            action,
            deliveries: steered.deliveries,
        })?;
    } else {
        let done = deliveries(steered.deliveries);
        output::print(format_args!("{done} {}\n", action.past()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done, for machines.
#[derive(Serialize)]
struct Done {
    /// What was asked for.
    action: Action,
    /// On how many deliveries it had an effect.
    deliveries: u64,
}

/// Does it where no gateway runs; what becomes due is tried when one does.
fn alone(spool: &Spool, selection: &Selection, action: Action) -> Result<Steered, Failure> {
    let store = spool.alone()?;
    let (filter, now) = (selection.filter(), resolving::clock().now());
    runtime::block_on(async {
        let changed = match action {
            Action::Retry => store.retry(filter, now, |_| {}).await,
            Action::Release => store.release(filter, now, |_| {}).await,
            Action::Hold => store.hold(filter, |_| {}).await,
            Action::Remove => store.remove(filter, |_| {}).await,
        };
        let deliveries = changed.map_err(|error| Failure::store(&error))?;
        Ok(Steered { deliveries })
    })
}

/// What would be done, for machines.
#[derive(Serialize)]
struct WouldBeDone<'a> {
    action: Action,
    dry_run: bool,
    /// On what it would have an effect.
    #[serde(flatten)]
    counted: Counted<'a>,
    /// The first of them.
    first: &'a [Listed],
}

/// Says what would be done, and does nothing.
fn dry_run(
    spool: &Spool,
    selection: &Selection,
    json: bool,
    action: Action,
) -> Result<ExitCode, Failure> {
    let (mut summary, mut first) = (Summary::default(), Vec::new());
    runtime::block_on(for_each(&spool.store, selection.filter(), |listed| {
        if action.affects(listed.state) {
            summary.add(listed);
            if first.len() < FIRST_SHOWN {
                first.push(listed.clone());
            }
        }
        Ok(())
    }))?;
    if json {
        output::print_json(&WouldBeDone {
            action,
            dry_run: true,
            counted: summary.counted(),
            first: &first,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "would be {}, but this is a dry run:\n{}",
        action.past(),
        output::visible(&summary.text())
    );
    for listed in &first {
        text.push_str(&line(listed, None));
    }
    let shown = u64::try_from(first.len()).unwrap_or(u64::MAX);
    if summary.deliveries() > shown {
        let more = summary.deliveries() - shown;
        text.push_str(&format!("and {more} more\n"));
    }
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Deliveries that a dry run names.
const FIRST_SHOWN: usize = 5;
