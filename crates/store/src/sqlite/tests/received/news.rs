//! What is new in reports of others.

use super::*;

#[tokio::test]
async fn an_old_report_neither_alerts_nor_silences() {
    let spool = TestSpool::new();
    let old = later(8 * DAY, report("1", 5));
    assert_eq!(new_in(&spool, old).await, (vec![], 0));
    let line = "a.example tlsa-invalid mx.a.example 1";
    let (new, more) = new_in(&spool, report("2", 1)).await;
    assert_eq!((names(&new), more), (vec![line.to_owned()], 0));

    // Nor does it keep alive what is known.
    let old = later(8 * DAY, report("3", 2));
    assert_eq!(new_in(&spool, old).await, (vec![], 0));
    spool.store.drop_reports(UnixTime(NOW.0 + 1)).await.unwrap();
    assert_eq!(spool.count("tlsrpt_failures"), 0);
}

#[tokio::test]
async fn of_very_many_new_failures_the_worst_are_told_and_the_rest_only_counted() {
    let spool = TestSpool::new();
    let many = || report_of("Org", "1", &hosts(130));
    let (new, more) = new_in(&spool, many()).await;
    assert_eq!((new.len(), more), (100, 30));
    assert_eq!(names(&new)[99], "a.example tlsa-invalid mx99.a.example 31");
    let pending = spool.store.pending_alerts(AlertChannel::Mail, 50).await;
    let pending = pending.unwrap();
    assert_eq!((pending.count, pending.more()), (130, 80));

    // What nobody was told of by name is still new.
    let again = report_of("Org", "2", &hosts(130));
    let (new, more) = new_in(&spool, again).await;
    assert_eq!((new.len(), more), (30, 0));
    assert_eq!(names(&new)[0], "a.example tlsa-invalid mx100.a.example 30");
}

#[tokio::test]
async fn what_people_were_not_told_of_for_want_of_room_is_still_new() {
    let spool = TestSpool::new();
    for n in 0..10 {
        let hosts: Vec<_> = (0..100)
            .map(|m| (format!("mx{n}-{m}.example"), 1))
            .collect();
        let (new, more) = new_in(&spool, report_of("Org", &format!("{n}"), &hosts)).await;
        assert_eq!((new.len(), more), (100, 0), "{n}");
    }
    assert_eq!(new_in(&spool, report("a", 1)).await, (vec![], 1));
    for channel in [AlertChannel::Mail, AlertChannel::Webhook] {
        let pending = spool.store.pending_alerts(channel, 5).await.unwrap();
        assert_eq!(pending.count, 1_001);
        let told = spool.store.alerts_told(channel, pending.last).await;
        told.unwrap();
    }
    assert_eq!(spool.count("tlsrpt_alerts"), 0);
    let (new, more) = new_in(&spool, report("b", 1)).await;
    assert_eq!((new.len(), more), (1, 0));
    // Whoever was told of a number never meets it again.
    assert_eq!(new[0].id, 1_001);
}

#[tokio::test]
async fn only_so_many_failures_are_known_and_the_oldest_go() {
    let spool = TestSpool::new();
    let bounds = ReportBounds {
        failures_max: 3,
        ..BOUNDS
    };
    let one = |n: u64| {
        let hosts = [(format!("mx{}.a.example", n % 5), 1)];
        later(n, report_of("Org", &n.to_string(), &hosts))
    };
    for n in [0, 1, 2, 5, 3, 4] {
        let kept = spool.store.keep_report(one(n), bounds).await;
        assert_eq!(kept.unwrap().new_failures.len(), usize::from(n != 5), "{n}");
        assert!(spool.count("tlsrpt_failures") <= 3, "{n}");
    }
    // The fifth told of the first again: the second and third have gone.
    let known: Vec<String> = {
        let connection = spool.connection();
        let mut statement = connection
            .prepare("SELECT mx FROM tlsrpt_failures ORDER BY last_at")
            .unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    };
    assert_eq!(known, ["mx3.a.example", "mx4.a.example", "mx0.a.example"]);
}

#[tokio::test]
async fn only_what_is_old_is_given_up() {
    let spool = TestSpool::new();
    let channel = AlertChannel::Webhook;
    keep(&spool, report("1", 1)).await.unwrap();
    let other = report_of("Org", "2", &[(String::from("mx2.a.example"), 1)]);
    keep(&spool, later(DAY, other)).await.unwrap();
    let before = UnixTime(NOW.0 + 1);
    assert_eq!(spool.store.give_up_alerts(channel, before).await, Ok(1));
    let pending = spool.store.pending_alerts(channel, 5).await.unwrap();
    assert_eq!(
        names(&pending.failures),
        ["a.example tlsa-invalid mx2.a.example 1"]
    );
    let mail = spool.store.pending_alerts(AlertChannel::Mail, 5).await;
    assert_eq!(mail.unwrap().count, 2);
}

/// What is new in a report, and how much more there is.
async fn new_in(spool: &TestSpool, arrival: Arrival) -> (Vec<NewFailure>, u64) {
    let kept = spool.store.keep_report(arrival, BOUNDS).await.unwrap();
    (kept.new_failures, kept.more_failures)
}
