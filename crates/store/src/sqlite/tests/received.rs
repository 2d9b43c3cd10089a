//! Reports of others: kept once, within bounds, and what is new in them told once.

mod news;
mod room;

use byrnie_base::UnixTime;
use byrnie_tlsrpt::FailureDetails;
use byrnie_tlsrpt::ResultType;
use byrnie_tlsrpt::reading;
use byrnie_tlsrpt::reading::Reading;
use serde_json::Value;
use serde_json::json;

use super::NOW;
use super::TestSpool;
use super::whole;
use crate::AlertChannel;
use crate::Arrival;
use crate::Kept;
use crate::NewFailure;
use crate::ReceivedReports;
use crate::ReportBounds;
use crate::ReportContent;
use crate::ReportSource;
use crate::Spool;
use crate::StoreError;

const BOUNDS: ReportBounds = ReportBounds {
    reports_max: 10,
    size_max: 1 << 30,
    unreadable_max: 2,
    failures_max: 1_000,
};

#[tokio::test]
async fn a_report_is_kept_once_however_often_it_comes() {
    let spool = TestSpool::new();
    assert_eq!(keep(&spool, report("1", 5)).await, Ok(Kept::New(1)));
    let again = Arrival {
        source: ReportSource::Https,
        received_at: UnixTime(NOW.0 + 60),
        ..report("1", 5)
    };
    assert_eq!(keep(&spool, again).await, Ok(Kept::Known(1)));
    assert_eq!(keep(&spool, report("2", 5)).await, Ok(Kept::New(2)));

    // A stranger who foresees the name of a report does not keep it away.
    assert_eq!(keep(&spool, report("1", 6)).await, Ok(Kept::New(3)));
    let remarks = shown_remarks(&spool, 3).await;
    assert_eq!(
        remarks,
        ["another report with other content has the same sender and report-id"]
    );

    let spool = spool.crash();
    assert_eq!(keep(&spool, report("1", 6)).await, Ok(Kept::Known(3)));
    let listed = spool.store.list_reports(UnixTime(0), 10).await.unwrap();
    let ids: Vec<i64> = listed.iter().map(|row| row.id).collect();
    assert_eq!(ids, [3, 2, 1]);
    let shown = spool.store.show_report(1).await.unwrap().unwrap();
    assert_eq!(shown.row.organization, "Org");
    assert_eq!((shown.row.successful, shown.row.failed), (7, 5));
    let said: Value = serde_json::from_str(&shown.report).unwrap();
    assert_eq!(said["report-id"], "1");
    assert_eq!(spool.store.show_report(9).await, Ok(None));
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_with_the_reason_and_pushes_out_only_its_like() {
    let spool = TestSpool::new();
    keep(&spool, report("1", 1)).await.unwrap();
    for (n, id) in [(1, 2), (2, 3), (3, 4)] {
        let reason = format!("bad {n}");
        let kept = keep(&spool, unreadable(&reason)).await;
        assert_eq!(kept, Ok(Kept::Unreadable(id, reason)));
    }
    // What nobody can read is not known, however often it comes.
    let kept = keep(&spool, unreadable("bad 3")).await;
    assert_eq!(kept, Ok(Kept::Unreadable(4, String::from("bad 3"))));
    let listed = spool.store.list_reports(NOW, 10).await.unwrap();
    let reasons: Vec<&str> = listed
        .iter()
        .filter_map(|row| row.unreadable.as_deref())
        .collect();
    assert_eq!(reasons, ["bad 3", "bad 2"]);
    assert_eq!(spool.count("tlsrpt_received"), 3);
}

#[tokio::test]
async fn a_failure_is_told_of_once_to_each_channel() {
    let spool = TestSpool::new();
    let kept = spool.store.keep_report(report("1", 5), BOUNDS).await;
    assert_eq!(
        names(&kept.unwrap().new_failures),
        ["a.example tlsa-invalid mx.a.example 5"]
    );
    let kept = spool.store.keep_report(report("2", 5), BOUNDS).await;
    assert_eq!(names(&kept.unwrap().new_failures), [""; 0]);

    // Neither is it lost nor told twice if the program ends between two steps.
    let spool = spool.crash();
    let pending = spool
        .store
        .pending_alerts(AlertChannel::Mail, 5)
        .await
        .unwrap();
    assert_eq!((pending.count, pending.last), (1, 1));
    assert_eq!(
        names(&pending.failures),
        ["a.example tlsa-invalid mx.a.example 5"]
    );
    let mail = whole(spool.store.next_id(NOW), &["postmaster@a.example"]);
    spool.store.mail_alerts(mail, pending.last).await.unwrap();
    let spool = spool.crash();
    assert_eq!(spool.store.depth().messages, 1);
    let pending = |channel| spool.store.pending_alerts(channel, 5);
    assert_eq!(pending(AlertChannel::Mail).await.unwrap().count, 0);
    assert_eq!(pending(AlertChannel::Webhook).await.unwrap().count, 1);
    spool
        .store
        .alerts_told(AlertChannel::Webhook, 1)
        .await
        .unwrap();
    assert_eq!(pending(AlertChannel::Webhook).await.unwrap().count, 0);
}

#[tokio::test]
async fn sessions_are_added_up_over_reports() {
    let spool = TestSpool::new();
    for arrival in [report("1", 5), report("2", 6), unreadable("x")] {
        keep(&spool, arrival).await.unwrap();
    }
    let sessions = spool
        .store
        .reported_sessions(UnixTime(0), 10)
        .await
        .unwrap();
    let lines: Vec<String> = sessions
        .iter()
        .map(|it| {
            format!(
                "{} {} {} {}|{} {}/{} in {}",
                it.organization,
                it.policy_type,
                it.policy_domain,
                it.result_type,
                it.mx,
                it.successful,
                it.failed,
                it.reports
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "Org tlsa a.example | 14/11 in 2",
            "Org tlsa a.example tlsa-invalid|mx.a.example 0/11 in 2",
        ]
    );
    let later = UnixTime(NOW.0 + 86_400);
    assert_eq!(spool.store.reported_sessions(later, 10).await, Ok(vec![]));
}

/// Seconds of a day.
const DAY: u64 = 86_400;

async fn keep(spool: &TestSpool, arrival: Arrival) -> Result<Kept, StoreError> {
    let kept = spool.store.keep_report(arrival, BOUNDS).await?;
    Ok(kept.became)
}

async fn shown_remarks(spool: &TestSpool, id: i64) -> Vec<String> {
    let shown = spool.store.show_report(id).await.unwrap();
    shown.unwrap().row.remarks
}

/// Failures in short.
fn names(failures: &[NewFailure]) -> Vec<String> {
    let names = failures.iter().map(|it| {
        let (domain, mx) = (&it.policy_domain, &it.mx);
        format!("{domain} {} {mx} {}", it.result_type, it.sessions)
    });
    names.collect()
}

/// A report under this name about the day, with so many failures.
fn report(id: &str, failed: u64) -> Arrival {
    report_of("Org", id, &[(String::from("mx.a.example"), failed)])
}

/// A report of somebody, with so many failures at each host.
fn report_of(organization: &str, id: &str, hosts: &[(String, u64)]) -> Arrival {
    let details = hosts.iter().map(|(mx, failed)| {
        json!({
            "result-type": "tlsa-invalid",
            "receiving-mx-hostname": mx,
            "failed-session-count": failed,
        })
    });
    let failed: u64 = hosts.iter().map(|(_, failed)| failed).sum();
    let report = json!({
        "organization-name": organization,
        "report-id": id,
        "policies": [{
            "policy": {"policy-type": "tlsa", "policy-domain": "a.example"},
            "summary": {
                "total-successful-session-count": 7,
                "total-failure-session-count": failed,
            },
            "failure-details": details.collect::<Value>(),
        }],
    });
    let mut read: Vec<Result<Reading, _>> = reading::read(report.to_string().as_bytes(), NOW);
    let mut reading = read.remove(0).unwrap();
    reading.remarks.clear();
    Arrival {
        received_at: NOW,
        source: ReportSource::Mail,
        content: ReportContent::Read(Box::new(reading)),
    }
}

/// What came so many seconds later.
fn later(seconds: u64, arrival: Arrival) -> Arrival {
    Arrival {
        received_at: UnixTime(arrival.received_at.0 + seconds),
        ..arrival
    }
}

/// So many hosts, each with a failure more than the one after it.
fn hosts(count: u64) -> Vec<(String, u64)> {
    let hosts = (0..count).map(|n| (format!("mx{n}.a.example"), count - n));
    hosts.collect()
}

/// What nobody can read, for this reason.
fn unreadable(reason: &str) -> Arrival {
    Arrival {
        received_at: NOW,
        source: ReportSource::Mail,
        content: ReportContent::Unreadable {
            reason: reason.to_owned(),
            original: reason.as_bytes().to_vec(),
        },
    }
}
