//! The room that reports of others take.

use super::*;

#[tokio::test]
async fn reports_take_no_room_of_mail() {
    let spool = TestSpool::with(|options| options.bounds.size_max = 1 << 20);
    for n in 0..40 {
        let hosts: Vec<_> = (0..100)
            .map(|m| (format!("{:0>250}", n * 100 + m), 1))
            .collect();
        let report = report_of(&format!("Org {n}"), "1", &hosts);
        let kept = spool.store.keep_report(report, LARGE).await;
        kept.unwrap();
    }
    let pages = pages(&spool);
    assert!(pages > 2 << 20, "{pages}");
    spool.accept(&["a@one.example"]).await;
    assert_eq!(spool.store.prune(NOW).await, Ok(0));
}

/// With the names as long as they are in ordinary reports, and as long as they can be.
#[tokio::test]
async fn the_room_that_reports_take_is_counted_rightly() {
    for (name, rows) in [(20, 1), (20, 100), (250, 100)] {
        let spool = TestSpool::new();
        let before = pages(&spool);
        for n in 0..100 {
            let hosts: Vec<_> = (0..rows).map(|m| (format!("{m:0>name$}"), 1)).collect();
            let report = report_of(&format!("Org {n:0>name$}"), "1", &hosts);
            let report = later(8 * DAY, report);
            let kept = spool.store.keep_report(report, LARGE).await;
            kept.unwrap();
        }
        let taken = pages(&spool) - before;
        let counted = octets(&spool);
        assert!(
            (taken..taken * 2).contains(&counted),
            "{name} {rows}: {taken} taken, {counted} counted"
        );
    }
}

#[tokio::test]
async fn what_is_counted_is_there_and_what_goes_is_counted_no_more() {
    let spool = TestSpool::new();
    for arrival in [report("1", 1), report("2", 2), unreadable("x")] {
        keep(&spool, arrival).await.unwrap();
    }
    assert_eq!(amounts(&spool)[..2], [2, 1]);
    assert_eq!(spool.store.drop_reports(UnixTime(NOW.0 + 1)).await, Ok(3));
    assert_eq!(amounts(&spool), [0; 5]);
    for table in [
        "tlsrpt_received",
        "tlsrpt_received_texts",
        "tlsrpt_received_results",
        "tlsrpt_holders",
        "tlsrpt_failures",
        "tlsrpt_alerts",
    ] {
        assert_eq!(spool.count(table), 0, "{table}");
    }
}

#[tokio::test]
async fn past_the_bound_the_oldest_make_room() {
    let spool = TestSpool::new();
    for n in 0..10 {
        keep(&spool, report(&n.to_string(), 1)).await.unwrap();
    }
    assert_eq!(keep(&spool, report("3", 1)).await, Ok(Kept::Known(4)));
    let kept = spool.store.keep_report(report("10", 1), BOUNDS).await;
    let kept = kept.unwrap();
    assert_eq!((kept.became, kept.pushed_out), (Kept::New(11), 1));
    assert_eq!(spool.count("tlsrpt_received"), 10);
    assert_eq!(spool.store.show_report(1).await, Ok(None));

    // One that is smaller than before holds at once.
    let bounds = ReportBounds {
        reports_max: 1,
        ..BOUNDS
    };
    let kept = spool.store.keep_report(report("11", 1), bounds).await;
    assert_eq!(kept.unwrap().pushed_out, 10);
    assert_eq!(spool.count("tlsrpt_received"), 1);
}

#[tokio::test]
async fn more_reports_than_go_in_one_step_make_room_all_the_same() {
    let spool = TestSpool::new();
    for n in 0..250 {
        let kept = spool.store.keep_report(report(&n.to_string(), 1), LARGE);
        kept.await.unwrap();
    }
    let kept = spool.store.keep_report(report("x", 1), BOUNDS).await;
    assert_eq!(kept.unwrap().pushed_out, 241);
    assert_eq!(spool.count("tlsrpt_received"), 10);
}

#[tokio::test]
async fn invented_senders_push_out_one_another_and_nobody_who_is_known() {
    let spool = TestSpool::new();
    for day in 0..10 {
        let report = later(day * DAY, report(&day.to_string(), 1));
        keep(&spool, report).await.unwrap();
    }
    for n in 0..50 {
        let stranger = report_of(&format!("Org {n}"), "1", &hosts(1));
        let kept = keep(&spool, later(10 * DAY + n, stranger)).await;
        assert!(matches!(kept, Ok(Kept::New(_))), "{kept:?}");
    }
    let known = || async {
        let listed = spool.store.list_reports(UnixTime(0), 20).await.unwrap();
        assert_eq!(listed.len(), 10);
        let known = listed.iter().filter(|row| row.organization == "Org");
        let mut known: Vec<String> = known.map(|row| row.report_id.clone()).collect();
        known.sort();
        known
    };
    // Those of the first week, when nobody knew of the sender, were strangers' as well.
    assert_eq!(known().await, ["7", "8", "9"]);
    keep(&spool, later(11 * DAY, report("a", 1))).await.unwrap();
    assert_eq!(known().await, ["7", "8", "9", "a"]);
}

#[tokio::test]
async fn what_an_operator_brings_is_nobody_elses() {
    let spool = TestSpool::new();
    for n in 0..3 {
        let import = Arrival {
            source: ReportSource::Import,
            ..report(&n.to_string(), 1)
        };
        keep(&spool, import).await.unwrap();
    }
    for n in 0..50 {
        let stranger = report_of(&format!("Org {n}"), "1", &hosts(1));
        keep(&spool, stranger).await.unwrap();
    }
    for id in 1..=3 {
        let shown = spool.store.show_report(id).await.unwrap();
        assert!(shown.is_some(), "{id}");
    }
}

#[tokio::test]
async fn reports_have_a_size_together_and_none_is_larger() {
    let spool = TestSpool::new();
    let bounds = ReportBounds {
        reports_max: 1_000,
        size_max: 200_000,
        ..BOUNDS
    };
    for n in 0..30_i64 {
        let large = report_of("Org", &n.to_string(), &hosts(100));
        let kept = spool.store.keep_report(large, bounds).await.unwrap();
        assert_eq!(kept.became, Kept::New(n + 1));
        let octets = octets(&spool);
        assert!(octets <= 200_000, "{octets}");
    }
    let left = spool.count("tlsrpt_received");
    assert!((2..30).contains(&left), "{left}");

    let too_large = report_of("Org", "too large", &hosts(1_000));
    let refused = spool.store.keep_report(too_large, bounds).await;
    assert_eq!(refused, Err(StoreError::Full));
    assert_eq!(spool.count("tlsrpt_received"), left);
}

#[tokio::test]
async fn a_disk_without_room_takes_no_reports() {
    let spool = TestSpool::with(|options| options.free_min = u64::MAX);
    assert_eq!(keep(&spool, report("1", 1)).await, Err(StoreError::Full));
}

#[tokio::test]
async fn of_very_many_numbers_the_largest_are_kept_and_the_rest_added_up() {
    let spool = TestSpool::new();
    assert_eq!(
        keep(&spool, report_of("Org", "1", &hosts(1_000))).await,
        Ok(Kept::New(1))
    );
    assert_eq!(spool.count("tlsrpt_received_results"), 1_001);
    assert_eq!(shown_remarks(&spool, 1).await, [""; 0]);

    let Arrival {
        content: ReportContent::Read(mut reading),
        ..
    } = report_of("Org", "2", &[])
    else {
        panic!("it cannot be read")
    };
    let policy = &mut reading.report.policies[0];
    policy.failure_details = (0..1_010_u64)
        .map(|n| FailureDetails {
            result_type: match n % 2 {
                0 => ResultType::TlsaInvalid,
                _ => ResultType::Other(format!("type {n}")),
            },
            sending_mta_ip: None,
            receiving_mx_hostname: Some(format!("mx{n}")),
            receiving_mx_helo: None,
            receiving_ip: None,
            failed_session_count: 2_000 - n,
            additional_information: None,
            failure_reason_code: None,
        })
        .collect();
    let many = Arrival {
        content: ReportContent::Read(reading),
        ..report("2", 1)
    };
    assert_eq!(keep(&spool, many).await, Ok(Kept::New(2)));
    assert_eq!(spool.count("tlsrpt_received_results"), 1_001 + 1_003);
    assert_eq!(
        shown_remarks(&spool, 2).await,
        ["of the many ways in which sessions failed, some are counted together"]
    );
    let connection = spool.connection();
    let mut statement = connection
        .prepare(
            "SELECT result_type || ' ' || failed FROM tlsrpt_received_results
             WHERE report = 2 AND mx = '' AND result_type <> '' ORDER BY 1",
        )
        .unwrap();
    let summed: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // Each five of the last ten.
    assert_eq!(summed, ["other 4975", "tlsa-invalid 4980"]);
}

/// Octets of the database.
fn pages(spool: &TestSpool) -> u64 {
    let connection = spool.connection();
    let pragma = |name: &str| -> i64 {
        let found = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
        found.unwrap()
    };
    u64::try_from(pragma("page_count") * pragma("page_size")).unwrap()
}

/// How much is counted: reports, what could not be read, octets, failures, alerts.
fn amounts(spool: &TestSpool) -> [i64; 5] {
    let sql = "SELECT reports, unreadable, octets, failures, alerts FROM tlsrpt_kept";
    let amounts = spool.connection().query_row(sql, [], |row| {
        Ok([
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        ])
    });
    amounts.unwrap()
}

/// How many octets are counted.
fn octets(spool: &TestSpool) -> u64 {
    u64::try_from(amounts(spool)[2]).unwrap()
}

/// More than there is.
const LARGE: ReportBounds = ReportBounds {
    reports_max: 1_000,
    ..BOUNDS
};
