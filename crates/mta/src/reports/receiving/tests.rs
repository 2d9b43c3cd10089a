//! From the octets of a report to a mail about what is new in it.

use std::future::pending;
use std::task::Poll;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Mailbox;
use byrnie_net::dns::Answer;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::https::HttpsClient;
use byrnie_net::tls::Roots;
use byrnie_store::AlertChannel;
use byrnie_store::Spool;
use byrnie_store::SqliteStore;
use tempfile::TempDir;

use super::*;
use crate::Outbox;
use crate::QueueHandle;
use crate::Route;
use crate::queue::Inlet;
use crate::testing::START;
use crate::testing::TestClock;
use crate::testing::new_store;

/// A report with a new failure in it.
const REPORT: &str = r#"{"organization-name": "Org\u001b[31m", "report-id": "1",
    "date-range": {"start-datetime": "2027-01-14T00:00:00Z", "end-datetime": "2027-01-14T23:59:59Z"},
    "policies": [{"policy": {"policy-type": "sts", "policy-domain": "ours.example"},
    "summary": {"total-failure-session-count": 3},
    "failure-details": [{"result-type": "certificate-expired",
        "receiving-mx-hostname": "mx.ours.example", "failed-session-count": 3}]}]}"#;

#[tokio::test]
async fn a_report_is_kept_once_and_counted() {
    let world = World::new();
    let report = Collected::whole(REPORT.as_bytes());
    let take = |source| world.receiver.take(report.clone(), source);
    assert_eq!(take(ReportSource::Mail).await, Ok(vec![Kept::New(1)]));
    assert_eq!(take(ReportSource::Https).await, Ok(vec![Kept::Known(1)]));
    let numbers = world.metrics.render();
    for line in [
        "byrnie_tlsrpt_reports_received_total{source=\"mail\",result=\"new\"} 1",
        "byrnie_tlsrpt_reports_received_total{source=\"https\",result=\"known\"} 1",
        "byrnie_tlsrpt_new_failures_total{result_type=\"certificate-expired\"} 1",
    ] {
        assert!(numbers.contains(line), "{numbers}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_kept_in_part_and_said() {
    let world = World::new();
    let mut mail = Collected::default();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..40 {
        mail.push(&piece);
    }
    assert_eq!(mail.held(), UNREADABLE_OCTETS_MAX);
    let kept = world.receiver.take(mail, ReportSource::Mail).await.unwrap();
    let reason = String::from("it is too large; the first 65536 octets were kept");
    assert_eq!(kept, [Kept::Unreadable(1, reason)]);
}

#[test]
fn who_goes_away_leaves_no_place_to_others_before_reading_has_ended() {
    // One thread for what blocks, which is held up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (go_on, held_up) = std::sync::mpsc::channel::<()>();
        let blocking = task::spawn_blocking(move || held_up.recv());
        let world = World::new();
        let report = Collected::whole(REPORT.as_bytes());
        let mut taking = world.receiver.take(report, ReportSource::Https);
        let begun = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut taking).poll(cx)));
        assert!(begun.await.is_pending());
        drop(taking);
        let places = &world.receiver.places;
        assert_eq!(places.available_permits(), READING_MAX - 1);
        drop(go_on);
        blocking.await.unwrap().unwrap_err();
        let all = places.acquire_many(u32::try_from(READING_MAX).unwrap());
        drop(all.await.unwrap());
    });
}

#[tokio::test]
async fn old_reports_are_dropped() {
    let world = World::new();
    let report = Collected::whole(REPORT.as_bytes());
    world
        .receiver
        .take(report, ReportSource::Mail)
        .await
        .unwrap();
    for (days, left) in [(364, 1), (366, 0)] {
        world.clock.advance(Duration::from_secs(86_400 * days));
        let receiver = Arc::clone(&world.receiver);
        let housekeeping = receiver.keep_house(world.settled());
        housekeeping.await;
        let listed = world.store.list_reports(UnixTime(0), 9).await.unwrap();
        assert_eq!(listed.len(), left, "{days}");
        world.clock.set_back(Duration::from_secs(86_400 * days));
    }
}

#[tokio::test]
async fn a_new_failure_is_mailed_at_once_and_once() {
    let world = World::new();
    let alerting = tokio::spawn(world.alerter(None).run(pending()));
    let report = Collected::whole(REPORT.as_bytes());
    world
        .receiver
        .take(report, ReportSource::Mail)
        .await
        .unwrap();
    let text = world.only_mail().await;
    alerting.abort();
    assert!(
        text.contains("\r\nTo: <postmaster@ours.example>\r\n"),
        "{text}"
    );
    assert!(text.contains("\r\nSubject: New TLS failures with our mail hosts: 1\r\n"));
    assert!(
        text.contains(
            "\r\ncertificate-expired at mx.ours.example: 3 sessions, policy sts of ours.example, \
             says Org[31m (report 1)\r\n"
        ),
        "{text}"
    );

    // After a new start there is nothing left to tell.
    let alerter = world.alerter(None);
    for channel in [AlertChannel::Mail, AlertChannel::Webhook] {
        let told = alerter.tell_pending(channel).await.unwrap();
        assert_eq!(told, alerts::Told::Nothing);
    }
    assert_eq!(world.store.depth().messages, 1);
}

#[tokio::test]
async fn what_is_new_is_tried_on_when_what_is_old_is_given_up() {
    let world = World::new();
    let take = |report: String| {
        let report = Collected::whole(report.as_bytes());
        world.receiver.take(report, ReportSource::Mail)
    };
    take(REPORT.to_owned()).await.unwrap();
    world.clock.advance(Duration::from_secs(86_401));
    take(REPORT.replace("mx.ours", "mx2.ours")).await.unwrap();
    let alerter = world.alerter(Some("https://hook.example/alert"));
    let channel = AlertChannel::Webhook;
    alerter.tell_pending(channel).await.unwrap_err();
    let pending = world.store.pending_alerts(channel, 9).await.unwrap();
    let left: Vec<&str> = pending.failures.iter().map(|it| it.mx.as_str()).collect();
    assert_eq!(left, ["mx2.ours.example"]);
    let numbers = world.metrics.render();
    let line = "byrnie_tlsrpt_alerts_total{channel=\"webhook\",result=\"given-up\"} 1";
    assert!(numbers.contains(line), "{numbers}");
}

#[tokio::test]
async fn where_no_mail_is_relayed_mails_wait_and_the_webhook_is_asked() {
    let world = World::new();
    let report = Collected::whole(REPORT.as_bytes());
    world
        .receiver
        .take(report, ReportSource::Https)
        .await
        .unwrap();
    let mut alerter = world.alerter(Some("https://hook.example/alert"));
    alerter.outbox = None;
    let told = alerter.tell_pending(AlertChannel::Mail).await;
    assert_eq!(told, Ok(alerts::Told::Nothing));
    let asked = alerter.tell_pending(AlertChannel::Webhook).await;
    assert!(
        asked
            .unwrap_err()
            .to_string()
            .starts_with("https://hook.example")
    );
    assert_eq!(world.store.depth().messages, 0);

    // A gateway that relays sends it.
    let told = world.alerter(None).tell_pending(AlertChannel::Mail).await;
    assert_eq!(told, Ok(alerts::Told::All));
    assert_eq!(world.store.depth().messages, 1);
}

#[tokio::test]
async fn reports_of_one_mail_are_kept_each_by_itself() {
    let world = World::new();
    world.receiver.reconfigure(ReceivingConfig {
        size_max: 50_000,
        ..ReceivingConfig::default()
    });
    let names = (0..256).map(|n| format!("\"{n:0>250}\""));
    let hosts = names.collect::<Vec<_>>().join(",");
    let too_large = REPORT.replace(
        "\"policy-type\"",
        &format!("\"mx-host\": [{hosts}], \"policy-type\""),
    );
    let parts = [REPORT, &too_large].map(|it| format!("--b\r\n\r\n{it}\r\n"));
    let mail = format!(
        "From: a@org.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        parts.concat()
    );
    let mail = || Collected::whole(mail.as_bytes());
    let take = || world.receiver.take(mail(), ReportSource::Mail);
    assert_eq!(take().await, Err(StoreError::Full));
    let listed = world.store.list_reports(UnixTime(0), 9).await.unwrap();
    assert_eq!(listed.len(), 1);
    // What is new in the first is told of all the same.
    let line = "byrnie_tlsrpt_new_failures_total{result_type=\"certificate-expired\"} 1";
    assert!(world.metrics.render().contains(line));
    world.receiver.reconfigure(ReceivingConfig::default());
    assert_eq!(take().await, Ok(vec![Kept::Known(1), Kept::New(2)]));
}

#[tokio::test]
async fn reports_that_make_room_are_counted() {
    let world = World::new();
    world.receiver.reconfigure(ReceivingConfig {
        reports_max: 2,
        ..ReceivingConfig::default()
    });
    for n in 0..5 {
        let report = REPORT.replace("\"1\"", &format!("\"{n}\""));
        let report = Collected::whole(report.as_bytes());
        let kept = world.receiver.take(report, ReportSource::Mail).await;
        assert_eq!(kept, Ok(vec![Kept::New(n + 1)]));
    }
    let line = "byrnie_tlsrpt_reports_pushed_out_total 3";
    assert!(world.metrics.render().contains(line));
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_is_tried_for_a_day() {
    let world = World::new();
    let report = Collected::whole(REPORT.as_bytes());
    world
        .receiver
        .take(report, ReportSource::Mail)
        .await
        .unwrap();
    let alerter = world.alerter(Some("https://hook.example/alert"));
    let channel = AlertChannel::Webhook;
    let pending = || world.store.pending_alerts(channel, 9);
    let error = alerter.tell_pending(channel).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("https://hook.example/alert: "),
        "{error}"
    );
    assert_eq!(pending().await.unwrap().count, 1);
    world.clock.advance(Duration::from_secs(86_401));
    let given_up = alerter.tell_pending(channel).await;
    assert_eq!(given_up, Ok(alerts::Told::Nothing));
    assert_eq!(pending().await.unwrap().count, 0);
}

/// A store with what fills it.
struct World {
    store: Arc<SqliteStore>,
    clock: Arc<TestClock>,
    metrics: Arc<Metrics>,
    receiver: Arc<ReportReceiver<SqliteStore, TestClock>>,
    _directory: TempDir,
}

impl World {
    fn new() -> Self {
        let (store, directory) = new_store();
        let clock = Arc::new(TestClock::new());
        let metrics = Arc::new(Metrics::new());
        let receiver = ReportReceiver::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            ReceivingConfig::default(),
        );
        assert_eq!(clock.now(), START);
        Self {
            store,
            clock,
            metrics,
            receiver: Arc::new(receiver),
            _directory: directory,
        }
    }

    /// Tells the postmaster, and a webhook if there is one.
    fn alerter(&self, webhook: Option<&str>) -> Alerter<SqliteStore, Nowhere, TestClock> {
        let mailbox = |text: &str| -> Mailbox { text.parse().unwrap() };
        let config = AlertConfig {
            webhook: webhook.map(|url| url.parse().unwrap()),
            mail: Some(mailbox("postmaster@ours.example")),
            from: mailbox("byrnie@ours.example"),
            interval: Duration::from_secs(300),
        };
        let queue = QueueHandle::new(Inlet::new(1 << 20).0);
        let store = Arc::clone(&self.store);
        let tls = Roots::public().https_client_config().unwrap();
        Alerter::new(
            &self.receiver,
            Arc::new(Current::new(config)),
            Some(Outbox::new(store, queue, Route::RecipientDomains, None)),
            HttpsClient::new(Arc::new(Nowhere), tls),
            "relay.ours.example".parse().unwrap(),
        )
    }

    /// Waits until the store has done what it was asked for.
    async fn settled(&self) {
        // The housekeeping asks first, and the store answers in turn.
        task::yield_now().await;
        self.store.settle().await.unwrap();
        self.store.settle().await.unwrap();
    }

    /// The mail that comes into the queue.
    async fn only_mail(&self) -> String {
        loop {
            let waiting = self.store.waiting(None, 9).await.unwrap().waiting;
            match waiting.as_slice() {
                [] => task::yield_now().await,
                [one] => {
                    let octets = self.store.piece(one.queue_id, 0).await.unwrap();
                    return String::from_utf8(octets.unwrap()).unwrap();
                }
                others => panic!("{others:?}"),
            }
        }
    }
}

/// Knows no host.
struct Nowhere;

impl Resolve for Nowhere {
    async fn lookup(&self, name: &DomainName, record_type: RecordType) -> Answer {
        Answer {
            name: name.clone(),
            record_type,
            steps: Vec::new(),
            outcome: Err(LookupError::Failed(String::from("time-out"))),
            ttl: Duration::ZERO,
            explanation: byrnie_net::dns::Explanation::default(),
        }
    }
}
