//! The gateway's side of the control socket.

use std::fs;
use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio::time::timeout;
use tracing::debug;
use tracing::warn;

use crate::control::Call;
use crate::control::LINE_OCTETS_MAX;
use crate::control::Request;
use crate::control::Said;
use crate::control::VERSION;
use crate::control::socket_path;
use crate::failure::Failure;

/// Does what commands ask for.
pub(super) trait Obey: Send + Sync + 'static {
    /// Does it, and says what came of it.
    ///
    /// # Errors
    /// It was not done.
    fn obey(&self, request: Request) -> impl Future<Output = Result<Value, Failure>> + Send;
}

/// The control socket, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens the socket in the folder of a spool. Whoever calls it holds the spool's lock: a socket that
    /// is there already was left behind.
    ///
    /// # Errors
    /// The folder cannot be written to, or its path is too long for a socket.
    pub(super) fn open(spool: &Path) -> Result<Self, Failure> {
        let path = socket_path(spool);
        let failed = |error: io::Error| {
            Failure::runtime(format!("{}: {error}", path.display()))
                .hint("`queue.spool` names a folder that byrnie's user may write to, in less than 90 octets")
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        // Until here, the mode of the folder keeps others out.
        fs::set_permissions(&path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Obeys until `shutdown` ends. Who comes when there are too many waits to be heard.
    pub(super) async fn attend(self, obey: Arc<impl Obey>, shutdown: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tokio::pin!(shutdown);
        loop {
            let accept = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                () = &mut shutdown => return,
                accepted = accept => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(target: "byrnie::control", %error, "no connection could be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let obey = Arc::clone(&obey);
            tokio::spawn(async move {
                // A command that was broken off is its user's business.
                if let Err(error) = converse(stream, obey.as_ref()).await {
                    debug!(target: "byrnie::control", %error, "a command went away");
                }
                drop(slot);
            });
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(target: "byrnie::control", %error, "the control socket was gone already");
        }
    }
}

/// Hears one request, and answers it.
async fn converse(mut stream: UnixStream, obey: &impl Obey) -> io::Result<()> {
    let mut line = Vec::new();
    let reading = async {
        let mut reader = BufReader::new(&mut stream).take(LINE_OCTETS_MAX);
        reader.read_until(b'\n', &mut line).await
    };
    timeout(REQUEST_TIMEOUT, reading).await??;
    let done = match understand(&line) {
        Ok(request) => obey.obey(request).await,
        Err(failure) => Err(failure),
    };
    let said = match done {
        Ok(answer) => Said::Done(answer),
        Err(failure) => Said::Refused(failure.into()),
    };
    say(stream, &said).await
}

/// What a line asks for.
fn understand(line: &[u8]) -> Result<Request, Failure> {
    let garbled = |error: serde_json::Error| {
        Failure::usage(format!("the request makes no sense: {error}"))
            .hint("use the `byrnie` that belongs to the gateway")
    };
    let call: Call = serde_json::from_slice(line).map_err(garbled)?;
    if call.version != VERSION {
        return Err(Failure::usage(format!(
            "the gateway speaks version {VERSION} of the control protocol, the command version {}",
            call.version
        ))
        .hint("use the `byrnie` that belongs to the gateway, or restart it after an upgrade"));
    }
    serde_json::from_value(call.request).map_err(garbled)
}

/// Sends an answer.
async fn say(mut stream: UnixStream, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    timeout(ANSWER_TIMEOUT, stream.write_all(&line)).await?
}

/// For its owner alone.
const SOCKET_MODE: u32 = 0o600;

/// Some people at work, and a script of each.
const CONNECTIONS_MAX: usize = 32;

/// How long a command may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a command may take to hear the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::control::ask;

    #[test]
    fn a_request_of_another_version_is_refused_with_what_to_do() {
        check(
            r#"{"version":99,"request":{"do":"fly"}}"#,
            "the gateway speaks version 1 of the control protocol, the command version 99",
        );
        check(
            r#"{"version":1,"request":{"do":"fly"}}"#,
            "the request makes no sense: unknown variant `fly`",
        );
        check("", "the request makes no sense: EOF");
        check("\u{0}{}", "the request makes no sense: expected value");
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_ours_is_taken_away() {
        let folder = TempDir::new().unwrap();
        let path = socket_path(folder.path());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let door = Door::open(folder.path()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let (stop, stopped) = oneshot::channel::<()>();
        let attending = tokio::spawn(door.attend(Arc::new(Willing), async move {
            stopped.await.unwrap();
        }));
        let spool = folder.path().to_path_buf();
        let asked = tokio::task::spawn_blocking(move || ask::<u8>(&spool, &Request::Reload));
        assert_eq!(asked.await.unwrap().unwrap(), Some(7));
        stop.send(()).unwrap();
        attending.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_says_nothing_keeps_others_waiting_for_seconds_only() {
        let folder = TempDir::new().unwrap();
        let door = Door::open(folder.path()).unwrap();
        let path = socket_path(folder.path());
        tokio::spawn(door.attend(Arc::new(Willing), std::future::pending()));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let line = b"{\"version\":1,\"request\":{\"do\":\"reload\"}}\n";
        stream.write_all(line).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "{\"done\":7}\n");
    }

    /// Takes every request for a reload.
    struct Willing;

    impl Obey for Willing {
        async fn obey(&self, _: Request) -> Result<Value, Failure> {
            Ok(7.into())
        }
    }

    #[track_caller]
    fn check(line: &str, message: &str) {
        let failure = understand(line.as_bytes()).unwrap_err();
        assert!(failure.message().starts_with(message), "{failure:?}");
    }
}
