//! `byrnie queue list` and `count`: what waits, line by line or in all.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::process::ExitCode;

use byrnie_base::UnixTime;
use byrnie_store::DeliveryId;
use byrnie_store::DeliveryState;
use byrnie_store::Filter;
use byrnie_store::Listed;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::SqliteStore;
use serde::Serialize;

use crate::cli::QueueListArgs;
use crate::commands::spool::Spool;
use crate::failure::Failure;
use crate::output;
use crate::resolving;
use crate::runtime;
use crate::selection::Selection;

/// Runs `byrnie queue list`.
pub(super) fn list(args: &QueueListArgs) -> Result<ExitCode, Failure> {
    let selection = Selection::new(&args.filter, resolving::clock().now())?;
    let spool = Spool::look(&args.config)?;
    let active = active(&spool)?;
    runtime::block_on(async {
        for_each(&spool.store, selection.filter(), |listed| {
            let tried_for = active.get(&listed.delivery).copied();
            if args.json {
                output::print_json(&Line { listed, tried_for })
            } else {
                output::print(line(listed, tried_for))
            }
        })
        .await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs `byrnie queue count`.
pub(super) fn count(args: &QueueListArgs) -> Result<ExitCode, Failure> {
    let selection = Selection::new(&args.filter, resolving::clock().now())?;
    let spool = Spool::look(&args.config)?;
    runtime::block_on(async {
        let mut summary = Summary::default();
        for_each(&spool.store, selection.filter(), |listed| {
            summary.add(listed);
            Ok(())
        })
        .await?;
        if args.json {
            output::print_json(&summary.counted())?;
        } else {
            output::print(output::visible(&summary.text()))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Looks at every delivery that passes a filter, page by page.
pub(super) async fn for_each(
    store: &SqliteStore,
    mut filter: Filter,
    mut look: impl FnMut(&Listed) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut left = filter.limit;
    while left > 0 {
        filter.limit = left.min(PAGE);
        let page = store.list(filter.clone()).await;
        let page = page.map_err(|error| Failure::store(&error))?;
        for listed in &page {
            look(listed)?;
        }
        let found = u32::try_from(page.len()).unwrap_or(u32::MAX);
        left -= found.min(left);
        match page.last() {
            Some(last) if found == filter.limit => filter.after = Some(last.delivery),
            Some(_) | None => break,
        }
    }
    Ok(())
}

/// The deliveries in progress, and since how many seconds; of many, those that take longest.
fn active(spool: &Spool) -> Result<HashMap<DeliveryId, u64>, Failure> {
    let glance = spool.glance(Vec::new())?;
    let active = glance.into_iter().flat_map(|glance| glance.active);
    Ok(active
        .map(|active| (active.delivery, active.milliseconds / 1_000))
        .collect())
}

/// A delivery, for machines.
#[derive(Serialize)]
struct Line<'a> {
    /// What is on disk.
    #[serde(flatten)]
    listed: &'a Listed,
    /// Since how many seconds it is being tried; `None` if it is not.
    tried_for: Option<u64>,
}

/// One delivery in one line, with the reason under it.
pub(super) fn line(listed: &Listed, tried_for: Option<u64>) -> String {
    let mut line = format!(
        "{}  {:<8}  <{}> -> {}  {} left  {} octets  since {}",
        listed.queue_id,
        match tried_for {
            Some(_) => "active",
            None => listed.state.as_str(),
        },
        listed.sender,
        listed.next_hop,
        listed.pending,
        listed.size,
        output::time(listed.received_at),
    );
    match (tried_for, listed.next_attempt_at) {
        (Some(seconds), _) => line.push_str(&format!("  tried for {seconds} s")),
        (None, Some(next)) => line.push_str(&format!("  next {}", output::time(next))),
        (None, None) => {}
    }
    if let Some(reason) = &listed.last_reason {
        line.push_str(&format!("\n             {reason}"));
    }
    output::visible(&line) + "\n"
}

/// How much there is, of what.
#[derive(Debug, Default)]
pub(super) struct Summary {
    messages: u64,
    deliveries: u64,
    octets: u64,
    oldest: Option<(UnixTime, QueueId)>,
    states: BTreeMap<DeliveryState, u64>,
    domains: HashMap<String, u64>,
    reasons: HashMap<String, u64>,
    /// The message that was looked at last.
    last: Option<QueueId>,
}

/// How much there is, for machines.
#[derive(Serialize)]
pub(super) struct Counted<'a> {
    messages: u64,
    deliveries: u64,
    /// Of the messages.
    octets: u64,
    /// The message that came first.
    oldest: Option<QueueId>,
    states: &'a BTreeMap<DeliveryState, u64>,
    /// Those with the most deliveries, the most first.
    domains: Vec<(&'a str, u64)>,
    /// Those that are named most, the most first.
    reasons: Vec<(&'a str, u64)>,
}

impl Summary {
    /// One more. Deliveries of one message follow one another.
    pub(super) fn add(&mut self, listed: &Listed) {
        self.deliveries += 1;
        if self.last != Some(listed.queue_id) {
            self.messages += 1;
            self.octets = self.octets.saturating_add(listed.size);
            self.last = Some(listed.queue_id);
        }
        let arrived = (listed.received_at, listed.queue_id);
        self.oldest = Some(self.oldest.map_or(arrived, |oldest| oldest.min(arrived)));
        *self.states.entry(listed.state).or_default() += 1;
        *self.domains.entry(listed.next_hop.clone()).or_default() += 1;
        if let Some(reason) = &listed.last_reason
            && (self.reasons.len() < REASONS_MAX || self.reasons.contains_key(reason))
        {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
    }

    /// How many deliveries.
    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// How many are in a state.
    pub(super) fn in_state(&self, state: DeliveryState) -> u64 {
        self.states.get(&state).copied().unwrap_or_default()
    }

    /// The message that came first.
    pub(super) fn oldest(&self) -> Option<(UnixTime, QueueId)> {
        self.oldest
    }

    /// The reasons that are named most, the most first.
    pub(super) fn reasons(&self) -> Vec<(&str, u64)> {
        most(&self.reasons)
    }

    /// For machines.
    pub(super) fn counted(&self) -> Counted<'_> {
        Counted {
            messages: self.messages,
            deliveries: self.deliveries,
            octets: self.octets,
            oldest: self.oldest.map(|(_, id)| id),
            states: &self.states,
            domains: most(&self.domains),
            reasons: most(&self.reasons),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} of {}, {} octets\n",
            deliveries(self.deliveries),
            messages(self.messages),
            self.octets
        );
        if let Some((at, id)) = self.oldest {
            text.push_str(&format!("the oldest: {id}, since {}\n", output::time(at)));
        }
        for (state, count) in &self.states {
            text.push_str(&format!("{count:>10}  {state}\n"));
        }
        for (title, counts) in [
            ("to", most(&self.domains)),
            ("because", most(&self.reasons)),
        ] {
            for (what, count) in counts {
                text.push_str(&format!("{count:>10}  {title} {what}\n"));
            }
        }
        text
    }
}

/// Those that are counted most, the most first.
fn most(counts: &HashMap<String, u64>) -> Vec<(&str, u64)> {
    let mut counts: Vec<(&str, u64)> = counts
        .iter()
        .map(|(what, count)| (what.as_str(), *count))
        .collect();
    counts.sort_unstable_by(|(one, ones), (other, others)| others.cmp(ones).then(one.cmp(other)));
    counts.truncate(MOST_SHOWN);
    counts
}

/// So many deliveries, in words.
pub(super) fn deliveries(count: u64) -> String {
    plural(count, "delivery", "deliveries")
}

/// So many messages, in words.
pub(super) fn messages(count: u64) -> String {
    plural(count, "message", "messages")
}

/// So many of something.
fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Lines that are read at once.
const PAGE: u32 = 1_000;

/// Lines of what is counted most.
const MOST_SHOWN: usize = 10;

/// Reasons that are told apart; hosts put numbers into their replies.
const REASONS_MAX: usize = 10_000;
