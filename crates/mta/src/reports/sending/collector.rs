//! Taking in what other mail servers on this machine tell of their sessions, by libtlsrpt.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use byrnie_tlsrpt::DATAGRAM_OCTETS_MAX;
use byrnie_tlsrpt::Datagram;
use byrnie_tlsrpt::DatagramError;
use tokio::net::UnixDatagram;
use tokio::time;
use tokio::time::Instant;

use super::Recorder;
use super::counts::Datagram as Counted;
use crate::Metrics;

/// Counts what comes in datagrams. It waits for nobody and answers nobody; what comes faster than it is
/// counted waits in the kernel, which then makes senders wait or turns them away.
#[derive(Debug)]
pub struct Collector {
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
    /// When something was last told of what could not be counted.
    told: Option<Instant>,
}

impl Collector {
    /// Counts with a recorder.
    #[must_use]
    pub fn new(recorder: Arc<Recorder>, metrics: Arc<Metrics>) -> Self {
        Self {
            recorder,
            metrics,
            told: None,
        }
    }

    /// Counts what comes over a socket, until `shutdown`, and then what is there already.
    pub async fn collect(mut self, socket: UnixDatagram, shutdown: impl Future<Output = ()>) {
        // One more, so that what is cut off is seen to be too long.
        let mut buffer = vec![0; DATAGRAM_OCTETS_MAX + 1];
        tokio::pin!(shutdown);
        loop {
            let received = tokio::select! {
                received = socket.recv(&mut buffer) => received,
                () = &mut shutdown => break,
            };
            match received {
                Ok(length) => self.take(buffer.get(..length).unwrap_or_default()),
                Err(error) => {
                    self.tell(&Refusal::Socket(error));
                    time::sleep(ERROR_PAUSE).await;
                }
            }
        }
        // It does not block, and ends when nothing is there.
        if let Ok(socket) = socket.into_std() {
            for _ in 0..DATAGRAMS_LEFT_MAX {
                let Ok(length) = socket.recv(&mut buffer) else {
                    break;
                };
                self.take(buffer.get(..length).unwrap_or_default());
            }
        }
    }

    /// Counts a datagram.
    fn take(&mut self, octets: &[u8]) {
        let refused = if octets.len() > DATAGRAM_OCTETS_MAX {
            Refusal::TooLong
        } else {
            match Datagram::parse(octets) {
                Ok(Datagram { domain, results }) => {
                    self.recorder.record(&domain, results);
                    return self.metrics.reports_sent.datagram(Counted::Taken);
                }
                Err(error) => Refusal::Datagram(error),
            }
        };
        self.metrics.reports_sent.datagram(Counted::Refused);
        self.tell(&refused);
    }

    /// Tells why something was not counted, now and then.
    fn tell(&mut self, why: &Refusal) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + TELL_INTERVAL) {
            return;
        }
        self.told = Some(now);
        tracing::warn!(
            target: "byrnie::tlsrpt",
            %why,
            "what another mail server told of a session is not counted; for a minute, the metric \
             byrnie_tlsrpt_datagrams alone tells of more"
        );
    }
}

/// Why something was not counted.
enum Refusal {
    Datagram(DatagramError),
    Socket(io::Error),
    TooLong,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagram(error) => error.fmt(f),
            Self::Socket(error) => write!(f, "the socket failed: {error}"),
            Self::TooLong => write!(f, "it has more than {DATAGRAM_OCTETS_MAX} octets"),
        }
    }
}

/// Datagrams that are counted at the end: more than wait in a socket.
const DATAGRAMS_LEFT_MAX: usize = 10_000;

/// How often is told of what is not counted.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// The wait after a socket has failed.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram as Sender;

    use byrnie_store::OutgoingReports;
    use byrnie_tlsrpt::Day;
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::testing::START;
    use crate::testing::TestClock;
    use crate::testing::new_store;

    #[tokio::test]
    async fn what_comes_is_counted_and_what_is_bad_stops_nobody() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tlsrpt.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        let metrics = Arc::new(Metrics::new());
        let recorder = Arc::new(Recorder::new(
            Arc::new(TestClock::new()),
            Arc::clone(&metrics),
        ));
        let collector = Collector::new(Arc::clone(&recorder), Arc::clone(&metrics));
        let (end, ended) = oneshot::channel::<()>();
        let collecting = tokio::spawn(collector.collect(socket, async {
            _ = ended.await;
        }));
        let sender = Sender::unbound().unwrap();
        let good = br#"{"dpv":"1","d":"a.example","pr":"","policies":[{"policy-type":9,"f":0}]}"#;
        for datagram in [good.as_slice(), b"", b"{", &[b'['; 5_000], b"\xff", good] {
            sender.send_to(datagram, &path).unwrap();
        }
        // What is in the socket at the end is counted as well.
        end.send(()).unwrap();
        collecting.await.unwrap();

        let (store, _directory) = new_store();
        recorder.write(store.as_ref()).await.unwrap();
        let domain = "a.example".parse().unwrap();
        let rows = store.results_of(Day::of(START), &domain).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 2);
        let shown = metrics.render();
        for line in [
            "byrnie_tlsrpt_datagrams_total{result=\"taken\"} 2",
            "byrnie_tlsrpt_datagrams_total{result=\"refused\"} 4",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
    }
}
