//! Counting sessions, and drawing up reports from what was counted.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use jiff::SignedDuration;
use jiff::civil::Date;

use crate::DateRange;
use crate::FailureDetails;
use crate::PolicyDescription;
use crate::PolicyReport;
use crate::Summary;

/// A day of UTC, which is what a report is about.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Day(
    /// Days since 1970-01-01.
    pub u32,
);

impl Day {
    /// The day in which a moment lies.
    #[must_use]
    pub fn of(at: UnixTime) -> Self {
        Self(u32::try_from(at.0 / SECONDS_PER_DAY).unwrap_or(u32::MAX))
    }

    /// Its first second.
    #[must_use]
    pub fn start(self) -> UnixTime {
        UnixTime(u64::from(self.0) * SECONDS_PER_DAY)
    }

    /// From its first second to its last.
    #[must_use]
    pub fn range(self) -> DateRange {
        let start = self.start();
        DateRange {
            start_datetime: start,
            end_datetime: UnixTime(start.0 + SECONDS_PER_DAY - 1),
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = SignedDuration::from_hours(i64::from(self.0) * 24);
        match EPOCH.checked_add(since) {
            Ok(date) => date.fmt(f),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let date: Date = text.parse().map_err(|_| InvalidDay)?;
        let hours = date.duration_since(EPOCH).as_hours();
        u32::try_from(hours / 24).map(Self).map_err(|_| InvalidDay)
    }
}

/// A text is no day since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidDay;

impl fmt::Display for InvalidDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a day such as 2026-04-01")
    }
}

impl std::error::Error for InvalidDay {}

/// What became of a session under one policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionResult {
    /// The policy.
    pub policy: Arc<PolicyDescription>,
    /// Whether it was kept to in the end.
    pub outcome: SessionOutcome,
    /// What went wrong, also where it was kept to in the end.
    pub failures: Vec<FailureDetails>,
}

/// Whether a session kept to a policy.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SessionOutcome {
    /// It did.
    Succeeded,
    /// It did not.
    Failed,
}

/// What is counted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// On which day.
    pub day: Day,
    /// Whom it is reported to.
    pub domain: DomainName,
    /// Under which policy.
    pub policy: Arc<PolicyDescription>,
    /// What.
    pub counted: Counted,
}

/// What is counted under one policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Counted {
    /// Sessions that ended in this way.
    Sessions(SessionOutcome),
    /// Sessions in which this went wrong; its own count says nothing.
    Failures(Box<FailureDetails>),
}

/// Sessions, counted: within a bound, and so that neither their order nor in which of several they were
/// counted makes a difference.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    entries: HashMap<Entry, u64>,
    /// The policies in them, each once: one may be long, and stand in thousands of entries.
    policies: HashSet<Arc<PolicyDescription>>,
    /// What found no place.
    dropped: u64,
}

impl Counts {
    /// Counts a session that ended on a day.
    pub fn count(&mut self, day: Day, domain: &DomainName, result: SessionResult) {
        let SessionResult {
            policy,
            outcome,
            failures,
        } = result;
        let entry = |counted| Entry {
            day,
            domain: domain.clone(),
            policy: Arc::clone(&policy),
            counted,
        };
        self.add(entry(Counted::Sessions(outcome)), 1);
        for failure in failures {
            let failure = FailureDetails {
                failed_session_count: 0,
                ..failure
            };
            self.add(entry(Counted::Failures(Box::new(failure))), 1);
        }
    }

    /// Adds to an entry.
    pub fn add(&mut self, entry: Entry, count: u64) {
        let full = self.entries.len() >= ENTRIES_MAX;
        match self.entries.get_mut(&entry) {
            Some(known) => *known = known.saturating_add(count),
            None if full => self.dropped = self.dropped.saturating_add(count),
            None => {
                let policy = self.shared(&entry.policy);
                self.entries.insert(Entry { policy, ..entry }, count);
            }
        }
    }

    /// The policy as other entries have it.
    fn shared(&mut self, policy: &Arc<PolicyDescription>) -> Arc<PolicyDescription> {
        if let Some(known) = self.policies.get(policy) {
            return Arc::clone(known);
        }
        self.policies.insert(Arc::clone(policy));
        Arc::clone(policy)
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        for (entry, count) in other.entries {
            self.add(entry, count);
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each entry with its count.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Entry, u64)> {
        self.entries.iter().map(|(entry, count)| (entry, *count))
    }

    /// How much found no place since it was asked last.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// What a report says about each policy, in an order that depends on nothing but what was counted.
///
/// Failures beyond [`FAILURES_REPORTED_MAX`] of one policy, the rarest, are told by their type alone.
#[must_use]
pub fn policy_reports(
    counts: impl IntoIterator<Item = (Arc<PolicyDescription>, Counted, u64)>,
) -> Vec<PolicyReport> {
    let mut policies: BTreeMap<Arc<PolicyDescription>, (Summary, Failures)> = BTreeMap::new();
    for (policy, counted, count) in counts {
        let (summary, failures) = policies.entry(policy).or_default();
        match counted {
            Counted::Sessions(SessionOutcome::Succeeded) => {
                summary.total_successful_session_count += count;
            }
            Counted::Sessions(SessionOutcome::Failed) => {
                summary.total_failure_session_count += count;
            }
            Counted::Failures(failure) => {
                let failure = FailureDetails {
                    failed_session_count: 0,
                    ..*failure
                };
                *failures.0.entry(failure).or_default() += count;
            }
        }
    }
    let reports = policies.into_iter();
    let reports = reports.map(|(policy, (summary, failures))| PolicyReport {
        policy: Arc::unwrap_or_clone(policy),
        summary,
        failure_details: failures.told(),
    });
    reports.collect()
}

/// What went wrong, counted.
#[derive(Default)]
struct Failures(BTreeMap<FailureDetails, u64>);

impl Failures {
    /// The most frequent first, and the rest by type.
    fn told(self) -> Vec<FailureDetails> {
        let mut sorted: Vec<(FailureDetails, u64)> = self.0.into_iter().collect();
        sorted.sort_by(|(one, often), (other, how_often)| {
            how_often.cmp(often).then_with(|| one.cmp(other))
        });
        let rest = sorted.split_off(sorted.len().min(FAILURES_REPORTED_MAX));
        let mut by_type = BTreeMap::new();
        for (failure, count) in rest {
            *by_type.entry(failure.result_type).or_default() += count;
        }
        let by_type = by_type
            .into_iter()
            .map(|(result_type, count)| (FailureDetails::of_type(result_type), count));
        let all = sorted.into_iter().chain(by_type);
        all.map(|(failure, failed_session_count)| FailureDetails {
            failed_session_count,
            ..failure
        })
        .collect()
    }
}

/// Entries in memory, until they are written away: a busy relay makes some hundred new connections per
/// second, most of which share an entry with others.
pub const ENTRIES_MAX: usize = 100_000;

/// Failures of one policy that a report tells in full.
pub const FAILURES_REPORTED_MAX: usize = 1_000;

/// Unix time knows no leap seconds.
const SECONDS_PER_DAY: u64 = 86_400;

/// Day 0.
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PolicyType;
    use crate::ResultType;

    #[test]
    fn a_session_with_a_failure_may_succeed_in_the_end() {
        let mut counts = Counts::default();
        let met = FailureDetails::of_type(ResultType::ValidationFailure);
        for outcome in [SessionOutcome::Succeeded, SessionOutcome::Failed] {
            let result = SessionResult {
                policy: policy(0),
                outcome,
                failures: vec![met.clone()],
            };
            counts.count(Day(1), &domain(0), result);
        }
        let [report] = &reports(&counts)[..] else {
            panic!("{counts:?}");
        };
        assert_eq!(report.summary.total_successful_session_count, 1);
        assert_eq!(report.summary.total_failure_session_count, 1);
        let [failure] = &report.failure_details[..] else {
            panic!("{report:?}");
        };
        assert_eq!(failure.failed_session_count, 2);
    }

    #[test]
    fn what_finds_no_place_is_counted_as_dropped() {
        let mut counts = Counts::default();
        for number in 0..=ENTRIES_MAX {
            let entry = Entry {
                day: Day(u32::try_from(number).unwrap()),
                domain: domain(0),
                policy: policy(0),
                counted: Counted::Sessions(SessionOutcome::Succeeded),
            };
            counts.add(entry.clone(), 2);
            if number == 0 {
                counts.add(entry, 5);
            }
        }
        assert_eq!(counts.entries().len(), ENTRIES_MAX);
        assert_eq!(counts.take_dropped(), 2);
        assert_eq!(counts.take_dropped(), 0);
    }

    #[test]
    fn the_rarest_failures_are_told_by_type() {
        let failure = |number: usize| FailureDetails {
            receiving_mx_hostname: Some(format!("mx{number}.example")),
            ..FailureDetails::of_type(ResultType::CertificateExpired)
        };
        let often = FAILURES_REPORTED_MAX;
        let counts = (0..often + 7).map(|number| {
            let count = if number < often { 2 } else { 1 };
            (
                policy(0),
                Counted::Failures(Box::new(failure(number))),
                count,
            )
        });
        let reports = policy_reports(counts);
        let details = &reports[0].failure_details;
        assert_eq!(details.len(), often + 1);
        assert_eq!(
            details[often],
            FailureDetails {
                failed_session_count: 7,
                ..FailureDetails::of_type(ResultType::CertificateExpired)
            }
        );
    }

    proptest! {
        /// However sessions are spread over several counts, and in whatever order they come, the reports
        /// are the same; and nothing is lost or counted twice.
        #[test]
        fn order_and_place_make_no_difference(
            sessions in prop::collection::vec(session(), 0..60),
            places in prop::collection::vec(0..4_usize, 60),
            order in any::<prop::sample::Index>(),
        ) {
            let mut whole = Counts::default();
            for (day, result) in &sessions {
                whole.count(*day, &domain(0), result.clone());
            }
            let mut parts = vec![Counts::default(); 4];
            for ((day, result), place) in sessions.iter().rev().zip(&places) {
                parts[*place].count(*day, &domain(0), result.clone());
            }
            parts.rotate_left(order.index(4));
            let mut merged = Counts::default();
            for part in parts {
                merged.merge(part);
            }
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(reports(&merged), reports(&whole));

            let told = reports(&whole);
            let count = |of: fn(&Summary) -> u64| told.iter().map(|one| of(&one.summary)).sum::<u64>();
            let expected = |outcome| {
                let ended = sessions.iter().filter(|(_, result)| result.outcome == outcome);
                u64::try_from(ended.count()).unwrap()
            };
            prop_assert_eq!(
                count(|summary| summary.total_successful_session_count),
                expected(SessionOutcome::Succeeded)
            );
            prop_assert_eq!(
                count(|summary| summary.total_failure_session_count),
                expected(SessionOutcome::Failed)
            );
            let failures = told.iter().flat_map(|one| &one.failure_details);
            let met: usize = sessions.iter().map(|(_, result)| result.failures.len()).sum();
            prop_assert_eq!(
                failures.map(|one| one.failed_session_count).sum::<u64>(),
                u64::try_from(met).unwrap()
            );
        }
    }

    fn session() -> impl Strategy<Value = (Day, SessionResult)> {
        let failures = prop::collection::vec(0..4_usize, 0..3);
        (0..2_u32, 0..3_usize, any::<bool>(), failures).prop_map(|(day, number, kept, failures)| {
            let failures = failures.into_iter().map(|number| FailureDetails {
                receiving_mx_hostname: Some(format!("mx{}.example", number % 2)),
                ..FailureDetails::of_type(match number / 2 {
                    0 => ResultType::CertificateExpired,
                    _ => ResultType::StarttlsNotSupported,
                })
            });
            let result = SessionResult {
                policy: policy(number),
                outcome: match kept {
                    true => SessionOutcome::Succeeded,
                    false => SessionOutcome::Failed,
                },
                failures: failures.collect(),
            };
            (Day(day), result)
        })
    }

    fn reports(counts: &Counts) -> Vec<PolicyReport> {
        policy_reports(
            counts
                .entries()
                .map(|(entry, count)| (Arc::clone(&entry.policy), entry.counted.clone(), count)),
        )
    }

    fn policy(number: usize) -> Arc<PolicyDescription> {
        Arc::new(PolicyDescription {
            policy_type: PolicyType::Tlsa,
            policy_domain: format!("mx{number}.example"),
            ..PolicyDescription::default()
        })
    }

    fn domain(number: usize) -> DomainName {
        format!("d{number}.example").parse().unwrap()
    }
}
