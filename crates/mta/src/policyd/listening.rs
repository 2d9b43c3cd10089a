//! Where other MTAs connect, and the thread on which they are answered.

use std::fmt;
use std::future::Future;
use std::io;
use std::net;
use std::os::unix;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;
use tokio::time;
use tokio::time::Instant;

use super::connection::Room;
use super::connection::Workbench;
use super::connection::attend;
use super::counts::Counts;
use super::desk::Consider;
use super::desk::Desk;
use super::protocol::Protocol;
use crate::Metrics;
use crate::PartEnded;

/// Listeners, by what is spoken there.
#[derive(Debug, Default)]
pub struct Doors {
    /// For Postfix.
    pub socketmap: Vec<Door>,
    /// For Exim.
    pub lines: Vec<Door>,
}

/// A listener.
#[derive(Debug)]
pub enum Door {
    /// At an address.
    Tcp(net::TcpListener),
    /// At a path.
    Unix(unix::net::UnixListener),
}

/// A policy daemon at work.
#[derive(Debug)]
pub struct PolicyDaemon {
    ended: oneshot::Receiver<()>,
}

/// Why the policy daemon cannot start: the system gives it no thread, or does not let it listen.
#[derive(Debug)]
pub struct StartError(io::Error);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy daemon cannot start: {}", self.0)
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl PolicyDaemon {
    /// Starts to answer, until `shutdown`. Must be called within a tokio runtime, on which lookups are made;
    /// the connections have a thread of their own, so that an answer that is known wakes nobody else.
    ///
    /// # Errors
    /// The system gives no thread, or does not let it listen.
    pub fn start<D: Consider>(
        doors: Doors,
        desk: &Arc<Desk<D>>,
        metrics: &Metrics,
        connections_max: usize,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let lookups = Handle::current();
        let limit = Arc::new(Limit {
            places: Arc::new(Semaphore::new(connections_max)),
            counts: metrics.policyd.clone(),
            told: Mutex::new(None),
        });
        let halls = [
            (Protocol::Socketmap, doors.socketmap),
            (Protocol::Lines, doors.lines),
        ];
        for (protocol, doors) in halls {
            let room = Arc::new(Room {
                protocol,
                desk: Arc::clone(desk),
                lookups: lookups.clone(),
                counts: metrics.policyd.answers(protocol.name()),
                bench: Mutex::new(Workbench::new()),
            });
            for door in doors {
                let (room, limit) = (Arc::clone(&room), Arc::clone(&limit));
                open(&runtime, door, room, limit)?;
            }
        }
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name(String::from("policyd"))
            .spawn(move || {
                runtime.block_on(shutdown);
                // Clients that are cut off ask again; a panic leaves nothing to receive.
                _ = end.send(());
            })?;
        Ok(Self { ended })
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It has ended although nobody asked for it.
    pub async fn finished(self) -> Result<(), PartEnded> {
        let ended = self.ended.await;
        ended.map_err(|_| PartEnded::Early("policy daemon"))
    }
}

/// Begins to accept connections.
fn open<D: Consider>(
    runtime: &Runtime,
    door: Door,
    room: Arc<Room<D>>,
    limit: Arc<Limit>,
) -> io::Result<()> {
    let _entered = runtime.enter();
    match door {
        Door::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            runtime.spawn(async move {
                loop {
                    let accepted = listener.accept().await;
                    let stream = accepted.and_then(|(stream, _)| {
                        // Answers that belong to several batches must not wait for one another.
                        stream.set_nodelay(true)?;
                        Ok(stream)
                    });
                    limit.admit(stream, &room).await;
                }
            });
        }
        Door::Unix(listener) => {
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            runtime.spawn(async move {
                loop {
                    let accepted = listener.accept().await;
                    limit.admit(accepted.map(|(stream, _)| stream), &room).await;
                }
            });
        }
    }
    Ok(())
}

/// How many connections there may be, over all listeners.
struct Limit {
    places: Arc<Semaphore>,
    counts: Counts,
    /// When it was last told that somebody was refused.
    told: Mutex<Option<Instant>>,
}

impl Limit {
    /// Attends to a new connection, if there is a place for it.
    async fn admit<D, S>(&self, accepted: io::Result<S>, room: &Arc<Room<D>>)
    where
        D: Consider,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                self.tell(&error.to_string());
                // No descriptors are left, or the client has gone already: hurrying helps neither.
                time::sleep(ACCEPT_PAUSE).await;
                return;
            }
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.tell("there are too many");
            self.counts.refused();
            return;
        };
        let present = Present::new(place, self.counts.clone());
        let room = Arc::clone(room);
        tokio::spawn(async move {
            if let Err(error) = attend(stream, room).await {
                tracing::debug!(target: "byrnie::policyd", %error, "a client was cut off");
            }
            drop(present);
        });
    }

    /// Says that somebody could not be heard, now and then.
    fn tell(&self, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_none_or(|told| now.duration_since(told) >= TELLING_INTERVAL) {
            *told = Some(now);
            tracing::warn!(target: "byrnie::policyd", why, "connections to the policy daemon are refused");
        }
    }
}

/// A connection that is counted as long as it is there.
struct Present {
    _place: OwnedSemaphorePermit,
    counts: Counts,
}

impl Present {
    fn new(place: OwnedSemaphorePermit, counts: Counts) -> Self {
        counts.connected();
        Self {
            _place: place,
            counts,
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.counts.disconnected();
    }
}

/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often is told that connections are refused.
const TELLING_INTERVAL: Duration = Duration::from_secs(60);
