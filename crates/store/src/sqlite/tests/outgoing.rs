//! Outgoing TLS reports: counted once, drawn up once, sent once, whenever the process dies.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_tlsrpt::Counted;
use byrnie_tlsrpt::Day;
use byrnie_tlsrpt::Entry;
use byrnie_tlsrpt::FailureDetails;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::ResultType;
use byrnie_tlsrpt::SessionOutcome;

use super::BODY;
use super::NOW;
use super::TestSpool;
use super::envelope;
use crate::NewDelivery;
use crate::NewMessage;
use crate::OutgoingEnd;
use crate::OutgoingReport;
use crate::OutgoingReports;
use crate::OutgoingState;
use crate::REPORT_LIFETIME;
use crate::RESULTS_MAX;
use crate::ReportNumber;
use crate::ResultBatch;
use crate::SessionResults;
use crate::Spool;
use crate::SpoolBounds;
use crate::StoreError;

#[tokio::test]
async fn a_batch_is_added_once() {
    let spool = TestSpool::new();
    assert_eq!(spool.store.last_batch().await, Ok(0));
    for _ in 0..3 {
        add(&spool, 1, &[entry(5, "a.example", 0)]).await;
    }
    let spool = spool.crash();
    assert_eq!(spool.store.last_batch().await, Ok(1));
    add(&spool, 1, &[entry(5, "a.example", 0)]).await;
    add(
        &spool,
        2,
        &[entry(5, "a.example", 0), failure(5, "a.example", 0)],
    )
    .await;
    assert_eq!(
        sums(&spool, 5, "a.example").await,
        [("failure", 7), ("sessions", 14)]
    );
    assert_eq!(sums(&spool, 6, "a.example").await, []);
    assert_eq!(sums(&spool, 5, "b.example").await, []);
}

#[tokio::test]
async fn past_the_bound_only_what_is_known_goes_on_being_counted() {
    let spool = TestSpool::new();
    add(&spool, 1, &[entry(5, "a.example", 0)]).await;
    let filled = format!("UPDATE tlsrpt_counting SET results = {RESULTS_MAX}");
    spool.connection().execute(&filled, []).unwrap();
    let batch = ResultBatch {
        number: 2,
        entries: vec![(entry(5, "a.example", 0), 1), (entry(5, "b.example", 0), 3)],
    };
    assert_eq!(spool.store.add_results(batch).await, Ok(3));
    assert_eq!(sums(&spool, 5, "a.example").await, [("sessions", 8)]);
    assert_eq!(sums(&spool, 5, "b.example").await, []);
}

#[tokio::test]
async fn a_policy_stands_once_however_much_is_counted_under_it() {
    let spool = TestSpool::new();
    let long = long_policy();
    let octets = serde_json::to_string(&long).unwrap().len();
    add(&spool, 1, &under(&long, 0..500)).await;
    add(&spool, 2, &under(&long, 500..1_000)).await;
    assert_eq!(spool.count("tlsrpt_policies"), 1);
    let kept = octets_kept(&spool);
    assert!((octets..octets + 500_000).contains(&kept), "{kept}");
    let domain = "a.example".parse().unwrap();
    let rows = spool.store.results_of(Day(5), &domain).await.unwrap();
    assert_eq!(rows.len(), 1_000);
    assert!(
        rows.iter()
            .all(|row| Arc::ptr_eq(&row.policy, &rows[0].policy))
    );
    assert_eq!(*rows[0].policy, *long);

    // With the report it goes.
    let drawn_up = spool.store.draw_up(Day(6), vec![NOW], NOW).await;
    assert_eq!(drawn_up, Ok(1));
    let address = spool.store.address(ReportNumber(1), Vec::new(), NOW);
    address.await.unwrap();
    assert_eq!(spool.count("tlsrpt_policies"), 0);
    assert_eq!((results_kept(&spool), octets_kept(&spool)), (0, 0));
}

#[tokio::test]
async fn past_a_domain_s_bound_failures_are_told_by_their_type() {
    let spool = TestSpool::new();
    let policy = Arc::new(PolicyDescription::default());
    for batch in 0..5_u64 {
        let first = u32::try_from(batch).unwrap() * 500;
        let failures = under(&policy, first..first + 500);
        let add = spool.store.add_results(ResultBatch {
            number: batch + 1,
            entries: failures.into_iter().map(|entry| (entry, 1)).collect(),
        });
        assert_eq!(add.await, Ok(0));
    }
    // 2,000 in full, and one row for the rest.
    assert_eq!(results_kept(&spool), 2_001);
    let domain = "a.example".parse().unwrap();
    let rows = spool.store.results_of(Day(5), &domain).await.unwrap();
    let sum: u64 = rows.iter().map(|row| row.count).sum();
    assert_eq!(sum, 2_500);
    let short = FailureDetails::of_type(ResultType::CertificateExpired);
    let short = Counted::Failures(Box::new(short));
    let of_type = rows.iter().find(|row| row.counted == short).unwrap();
    assert_eq!(of_type.count, 500);
    // Another domain has a bound of its own.
    add(&spool, 9, &[failure(5, "b.example", 0)]).await;
    assert_eq!(results_kept(&spool), 2_002);
}

#[tokio::test]
async fn a_domain_cannot_fill_the_disk_with_policies() {
    let spool = TestSpool::new();
    let mut number = 0;
    let dropped = loop {
        number += 1;
        let mut policy = PolicyDescription::clone(&long_policy());
        policy.policy_domain = format!("{number}.example");
        let entry = Entry {
            policy: Arc::new(policy),
            ..entry(5, "a.example", 0)
        };
        let batch = ResultBatch {
            number,
            entries: vec![(entry, 1)],
        };
        match spool.store.add_results(batch).await.unwrap() {
            0 => {}
            dropped => break dropped,
        }
    };
    assert_eq!(dropped, 1);
    let kept = octets_kept(&spool);
    assert!((4 << 20..5 << 20).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_damaged_result_is_left_out() {
    let spool = TestSpool::new();
    add(
        &spool,
        1,
        &[entry(5, "a.example", 0), failure(5, "a.example", 0)],
    )
    .await;
    let damage =
        "UPDATE tlsrpt_results SET failure = replace(failure, 'expired', 'x') WHERE outcome = 2";
    spool.connection().execute(damage, []).unwrap();
    assert_eq!(sums(&spool, 5, "a.example").await, [("sessions", 7)]);
    let damage = "UPDATE tlsrpt_policies SET text = replace(text, 'mx0', 'mx9')";
    spool.connection().execute(damage, []).unwrap();
    assert_eq!(sums(&spool, 5, "a.example").await, []);
}

#[tokio::test]
async fn each_domain_and_day_gets_one_report_and_late_results_another() {
    let spool = TestSpool::new();
    let days = [
        (5, "a.example"),
        (5, "b.example"),
        (6, "a.example"),
        (7, "a.example"),
    ];
    for (number, (day, domain)) in (1..).zip(days) {
        add(
            &spool,
            number,
            &[entry(day, domain, 0), entry(day, domain, 1)],
        )
        .await;
    }
    let due = |count: usize| vec![UnixTime(NOW.0 + 60); count];
    assert_eq!(spool.store.draw_up(Day(7), due(2), NOW).await, Ok(2));
    assert_eq!(spool.store.draw_up(Day(7), due(2), NOW).await, Ok(1));
    let spool = spool.crash();
    assert_eq!(spool.store.draw_up(Day(7), due(2), NOW).await, Ok(0));
    assert_eq!(
        lines(&spool).await,
        [
            "1 5 a.example - waiting",
            "2 5 b.example - waiting",
            "3 6 a.example - waiting",
        ]
    );
    // The clock was set back to a day whose report is on its way.
    add(&spool, 9, &[entry(5, "a.example", 0)]).await;
    assert_eq!(spool.store.draw_up(Day(7), due(2), NOW).await, Ok(1));
    assert_eq!(report_sum(&spool, 1).await, 14);
    assert_eq!(report_sum(&spool, 4).await, 7);
    assert_eq!(
        sums(&spool, 5, "a.example").await,
        [("sessions", 14), ("sessions", 7)]
    );
}

#[tokio::test]
async fn what_is_due_comes_in_its_order_and_also_if_the_clock_was_wrong() {
    let spool = TestSpool::new();
    for (number, domain) in (1..).zip(["a.example", "b.example", "c.example"]) {
        add(&spool, number, &[entry(5, domain, 0)]).await;
    }
    let due = [50, 20, 1_000_000].map(|later| UnixTime(NOW.0 + later));
    spool
        .store
        .draw_up(Day(6), due.to_vec(), NOW)
        .await
        .unwrap();
    let found = async |later: u64| {
        let now = UnixTime(NOW.0 + later);
        let latest = now + Duration::from_secs(100_000);
        let due = spool.store.due_reports(now, latest, 10).await.unwrap();
        due.iter()
            .map(|one| one.domain.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(0).await, ["c.example"]);
    assert_eq!(found(30).await, ["b.example", "c.example"]);
    assert_eq!(found(60).await, ["b.example", "a.example", "c.example"]);
    assert_eq!(found(999_999).await, ["b.example", "a.example"]);
    assert_eq!(spool.store.waiting_reports().await, Ok(3));
}

#[tokio::test]
async fn a_report_goes_to_each_destination_or_is_wanted_by_nobody() {
    let spool = TestSpool::new();
    add(&spool, 1, &[entry(5, "a.example", 0)]).await;
    add(&spool, 2, &[entry(5, "b.example", 0)]).await;
    spool
        .store
        .draw_up(Day(6), vec![NOW; 5], NOW)
        .await
        .unwrap();
    let uris = ["mailto:r@a.example", "https://a.example/r"].map(String::from);
    for _ in 0..2 {
        spool
            .store
            .address(ReportNumber(1), uris.to_vec(), NOW)
            .await
            .unwrap();
        spool
            .store
            .address(ReportNumber(2), Vec::new(), NOW)
            .await
            .unwrap();
    }
    let spool = spool.crash();
    assert_eq!(
        lines(&spool).await,
        [
            "1 5 a.example https://a.example/r waiting",
            "1 5 a.example mailto:r@a.example waiting",
        ]
    );
    assert_eq!(report_sum(&spool, 1).await, 7);
    assert_eq!(sums(&spool, 5, "b.example").await, []);
    assert_eq!(results_kept(&spool), 1);
    // The number of the one that is gone may be used again, and nothing of it is left.
    assert_eq!(report_sum(&spool, 2).await, 0);
}

/// Handed over and sent are one step: whenever the process dies, the mail is in the queue if and only if
/// the report is sent.
#[tokio::test]
async fn a_mail_is_handed_over_once() {
    let spool = TestSpool::new();
    let outgoing = addressed(&spool).await;
    let first = message(&spool);
    // It may have reached the disk although its caller was not told.
    let accepted = spool
        .store
        .hand_over(&outgoing, first.clone(), NOW)
        .await
        .unwrap();
    let again = spool
        .store
        .hand_over(&outgoing, first.clone(), NOW)
        .await
        .unwrap();
    assert_eq!(accepted.unwrap().queue_id, first.id());
    assert_eq!(again.unwrap().queue_id, first.id());
    let spool = spool.crash();
    assert_eq!(
        lines(&spool).await,
        ["1 5 a.example mailto:r@a.example sent"]
    );
    assert_eq!(spool.count("messages"), 1);
    assert_eq!(spool.octets(first.id()).await, BODY);
    let kept = spool.store.outgoing_reports(9).await.unwrap();
    assert_eq!((kept[0].queue_id, kept[0].attempts), (Some(first.id()), 1));

    let other = message(&spool);
    assert!(
        spool
            .store
            .hand_over(&outgoing, other, NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(spool.count("messages"), 1);
}

#[tokio::test]
async fn what_the_spool_has_no_room_for_is_not_sent() {
    let spool = TestSpool::new();
    let outgoing = addressed(&spool).await;
    let bounds = SpoolBounds {
        size_max: 1,
        ..SpoolBounds::default()
    };
    spool.store.set_bounds(bounds);
    let refused = spool.store.hand_over(&outgoing, message(&spool), NOW).await;
    assert_eq!(refused.map(|_| ()), Err(StoreError::Full));
    assert_eq!(
        lines(&spool).await,
        ["1 5 a.example mailto:r@a.example waiting"]
    );
    assert_eq!(spool.count("messages"), 0);
}

#[tokio::test]
async fn an_attempt_is_recorded_while_it_waits() {
    let spool = TestSpool::new();
    let outgoing = addressed(&spool).await;
    let later = OutgoingEnd::Later {
        due_at: UnixTime(NOW.0 + 300),
        expires_at: UnixTime(NOW.0 + 900),
        reason: String::from("503"),
    };
    spool.store.attempted(&outgoing, later, NOW).await.unwrap();
    let spool = spool.crash();
    let one = spool.store.outgoing_reports(9).await.unwrap().remove(0);
    assert_eq!((one.attempts, one.due_at), (1, UnixTime(NOW.0 + 300)));
    assert_eq!(one.reason.as_deref(), Some("503"));
    assert_eq!(one.state, OutgoingState::Waiting);
    assert_eq!(one.expires_at, UnixTime(NOW.0 + 900));

    spool
        .store
        .attempted(&one, OutgoingEnd::Sent, NOW)
        .await
        .unwrap();
    let late = OutgoingEnd::GivenUp {
        reason: String::from("too late"),
    };
    spool.store.attempted(&one, late, NOW).await.unwrap();
    assert_eq!(
        lines(&spool).await,
        ["1 5 a.example mailto:r@a.example sent"]
    );
}

#[tokio::test]
async fn what_is_done_is_kept_for_a_while() {
    let spool = TestSpool::new();
    let outgoing = addressed(&spool).await;
    let ends_at = UnixTime(NOW.0 + 50);
    let forget = async |at: u64| spool.store.forget_reports(UnixTime(NOW.0 + at), 10).await;
    assert_eq!(forget(10).await, Ok(0));
    spool
        .store
        .attempted(&outgoing, OutgoingEnd::Sent, ends_at)
        .await
        .unwrap();
    assert_eq!(forget(50).await, Ok(0));
    assert_eq!(report_sum(&spool, 1).await, 7);
    assert_eq!(forget(51).await, Ok(1));
    assert_eq!(report_sum(&spool, 1).await, 0);
    assert_eq!(results_kept(&spool), 0);
}

/// A report that waits to be brought to its only destination.
async fn addressed(spool: &TestSpool) -> OutgoingReport {
    add(spool, 1, &[entry(5, "a.example", 0)]).await;
    spool.store.draw_up(Day(6), vec![NOW], NOW).await.unwrap();
    let uris = vec![String::from("mailto:r@a.example")];
    spool
        .store
        .address(ReportNumber(1), uris, NOW)
        .await
        .unwrap();
    spool.store.outgoing_reports(9).await.unwrap().remove(0)
}

/// Adds 7 to each entry.
async fn add(spool: &TestSpool, number: u64, entries: &[Entry]) {
    let entries = entries.iter().map(|entry| (entry.clone(), 7)).collect();
    let batch = ResultBatch { number, entries };
    assert_eq!(spool.store.add_results(batch).await, Ok(0));
}

fn entry(day: u32, domain: &str, policy: u8) -> Entry {
    Entry {
        day: Day(day),
        domain: domain.parse().unwrap(),
        policy: Arc::new(PolicyDescription {
            policy_domain: format!("mx{policy}.example"),
            ..PolicyDescription::default()
        }),
        counted: Counted::Sessions(SessionOutcome::Succeeded),
    }
}

fn failure(day: u32, domain: &str, policy: u8) -> Entry {
    let details = FailureDetails::of_type(ResultType::CertificateExpired);
    Entry {
        counted: Counted::Failures(Box::new(details)),
        ..entry(day, domain, policy)
    }
}

/// A policy with as many hosts as there may be.
fn long_policy() -> Arc<PolicyDescription> {
    let hosts = (0..1_000).map(|number| format!("mx{number}.{}.example", "a".repeat(40)));
    Arc::new(PolicyDescription {
        policy_domain: String::from("a.example"),
        mx_host: hosts.collect(),
        ..PolicyDescription::default()
    })
}

/// Failures at hosts with these numbers.
fn under(policy: &Arc<PolicyDescription>, hosts: std::ops::Range<u32>) -> Vec<Entry> {
    let failures = hosts.map(|number| {
        let details = FailureDetails {
            receiving_mx_hostname: Some(format!("mx{number}.example")),
            ..FailureDetails::of_type(ResultType::CertificateExpired)
        };
        Entry {
            policy: Arc::clone(policy),
            counted: Counted::Failures(Box::new(details)),
            ..entry(5, "a.example", 0)
        }
    });
    failures.collect()
}

/// How many octets are counted as kept.
fn octets_kept(spool: &TestSpool) -> usize {
    let kept: i64 = spool
        .connection()
        .query_row("SELECT octets FROM tlsrpt_counting", [], |row| row.get(0))
        .unwrap();
    usize::try_from(kept).unwrap()
}

/// What is known about a day of a domain, in short.
async fn sums(spool: &TestSpool, day: u32, domain: &str) -> Vec<(&'static str, u64)> {
    let domain: DomainName = domain.parse().unwrap();
    let rows = spool.store.results_of(Day(day), &domain).await.unwrap();
    let sums = rows.iter().map(|row| match row.counted {
        Counted::Sessions(_) => ("sessions", row.count),
        Counted::Failures(_) => ("failure", row.count),
    });
    let mut sums: Vec<_> = sums.collect();
    sums.sort_unstable_by_key(|(what, count)| (*what, u64::MAX - count));
    sums
}

async fn report_sum(spool: &TestSpool, number: u64) -> u64 {
    let rows = spool.store.report_results(ReportNumber(number)).await;
    rows.unwrap().iter().map(|row| row.count).sum()
}

/// How many results are counted as kept, which must be how many there are.
fn results_kept(spool: &TestSpool) -> usize {
    let kept: i64 = spool
        .connection()
        .query_row("SELECT results FROM tlsrpt_counting", [], |row| row.get(0))
        .unwrap();
    let kept = usize::try_from(kept).unwrap();
    assert_eq!(kept, spool.count("tlsrpt_results"));
    kept
}

async fn lines(spool: &TestSpool) -> Vec<String> {
    let mut kept = spool.store.outgoing_reports(100).await.unwrap();
    kept.sort_by(|a, b| (a.report, &a.destination).cmp(&(b.report, &b.destination)));
    let lines = kept.iter().map(|one| {
        let destination = one.destination.as_deref().unwrap_or("-");
        let (report, day) = (one.report.0, one.day.0);
        format!(
            "{report} {day} {} {destination} {}",
            one.domain,
            one.state.as_str()
        )
    });
    lines.collect()
}

fn message(spool: &TestSpool) -> NewMessage {
    let to = ["r@a.example"];
    let delivery = NewDelivery {
        next_hop: "a.example".parse().unwrap(),
        recipients: vec![to[0].parse().unwrap()],
        due_at: NOW,
        expires_at: NOW + REPORT_LIFETIME,
    };
    NewMessage::whole(
        spool.store.next_id(NOW),
        envelope(&to),
        NOW,
        BODY,
        vec![delivery],
    )
}
