//! The program under test: the binary that ships, started with a configuration file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::ChildStderr;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::LabError;
use crate::event::Event;

/// Everything that the configuration of the program under test depends upon.
#[derive(Clone, Debug)]
pub struct SubjectPlan {
    /// The name it greets with, which is also in its certificate.
    pub hostname: String,
    /// Where it takes mail in.
    pub smtp: SocketAddr,
    /// Where it is monitored.
    pub metrics: SocketAddr,
    /// Where it tells neighbours how mail must go.
    pub socketmap: SocketAddr,
    /// The lab's resolver.
    pub dns: SocketAddr,
    /// The port of the lab's mail hosts.
    pub mx_port: u16,
    /// The port of the lab's policy hosts.
    pub https_port: u16,
    /// A folder with `anchor`, `ca.pem`, `cert.pem` and `key.pem`; the spool comes in there too.
    pub folder: PathBuf,
    /// Where it sends all mail, if not to each recipient's hosts.
    pub smart_host: Option<&'static str>,
    /// The least level of what it logs.
    pub log_level: &'static str,
    /// When a message goes back to its sender.
    pub lifetime: &'static str,
    /// How many receipts it keeps.
    pub max_receipts: u32,
    /// What its environment has besides the lab's own.
    pub environment: Vec<(&'static str, OsString)>,
}

impl SubjectPlan {
    /// The configuration file. All keys that the lab knows of stand here and nowhere else.
    ///
    /// The queue tries again soon, so that a scenario sees retries, and gives up when most scenarios
    /// are over. The times of the DNS leave room for a machine that is busy with other things.
    #[must_use]
    pub fn configuration(&self) -> String {
        let Self {
            hostname,
            smtp,
            metrics,
            socketmap,
            dns,
            mx_port,
            https_port,
            folder,
            smart_host,
            log_level,
            lifetime,
            max_receipts,
            environment: _,
        } = self;
        let folder = folder.display();
        let smart_host = match smart_host {
            Some(smart_host) => format!("smart_host = \"{smart_host}\"\n"),
            None => String::new(),
        };
        format!(
            r#"version = 1
hostname = "{hostname}"

[smtp]
listen = ["{smtp}"]
trusted_networks = ["127.0.0.0/8"]
tls_certificate_file = "{folder}/cert.pem"
tls_key_file = "{folder}/key.pem"

[dns]
servers = ["{dns}"]
mode = "validate"
trust_anchor_file = "{folder}/anchor"
server_timeout = "2s"
lookup_timeout = "8s"
ttl_floor = "0s"

[tls]
ca_file = "{folder}/ca.pem"

[delivery]
{smart_host}mx_port = {mx_port}
https_port = {https_port}
addresses = "prefer-ipv4"
connect_timeout = "3s"
command_timeout = "10s"
tls_timeout = "10s"
data_timeout = "10s"

[queue]
spool = "{folder}/spool"
retry_min = "300ms"
retry_max = "1s"
retry_factor = 2.0
lifetime = "{lifetime}"
max_receipts = {max_receipts}

[log]
format = "json"
level = "{log_level}"

[metrics]
listen = "{metrics}"

[policyd]
socketmap = ["{socketmap}"]
"#
        )
    }

    /// Where the configuration file lies.
    #[must_use]
    pub fn configuration_file(&self) -> PathBuf {
        self.folder.join("byrnie.toml")
    }
}

/// The running program; killed when dropped.
#[derive(Debug)]
pub struct Subject {
    /// The binary.
    program: PathBuf,
    /// Its configuration.
    pub plan: SubjectPlan,
    /// The process.
    child: Child,
    /// Its log, over all its lives.
    log: Log,
    /// Reads the log of this life.
    reader: JoinHandle<()>,
}

impl Subject {
    /// Writes the configuration and starts the program; returns when it is ready.
    ///
    /// # Errors
    /// It cannot be started, ends by itself, or is not ready within [`READY_MAX`]; the error has the
    /// end of its log in it.
    pub async fn start(program: &Path, plan: SubjectPlan) -> Result<Self, LabError> {
        let file = plan.configuration_file();
        std::fs::write(&file, plan.configuration())
            .map_err(LabError::io(format!("write {}", file.display())))?;
        let log = Log::default();
        let (child, reader) = spawn(program, &plan, &log)?;
        let mut subject = Self {
            program: program.to_path_buf(),
            plan,
            child,
            log,
            reader,
        };
        subject.wait_until_ready().await?;
        Ok(subject)
    }

    /// Its log so far, and what comes; a cheap handle that outlives restarts.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Kills it as the kernel would, without a warning.
    ///
    /// # Errors
    /// The machine refuses.
    pub async fn kill(&mut self) -> Result<(), LabError> {
        self.child
            .kill()
            .await
            .map_err(LabError::io("kill the program under test"))
    }

    /// Starts it again on the same spool, after [`kill`](Self::kill) or
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), LabError> {
        self.begin()?;
        self.wait_until_ready().await
    }

    /// As [`restart`](Self::restart), without waiting until it is ready.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(&mut self) -> Result<(), LabError> {
        (self.child, self.reader) = spawn(&self.program, &self.plan, &self.log)?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM), and waits until it has; true if it says that all went well.
    ///
    /// # Errors
    /// It does not stop within [`STOP_MAX`].
    pub async fn terminate(&mut self) -> Result<bool, LabError> {
        if let Some(id) = self.child.id() {
            // The one way to send a signal that needs neither unsafe code nor another dependency.
            Command::new("sh")
                .arg("-c")
                .arg(format!("kill -TERM {id}"))
                .status()
                .await
                .map_err(LabError::io("send SIGTERM"))?;
        }
        match tokio::time::timeout(STOP_MAX, self.child.wait()).await {
            Ok(status) => status
                .map(|status| status.success())
                .map_err(LabError::io("wait for the program under test")),
            Err(_) => Err(self.failed("does not stop after SIGTERM")),
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn wait_until_ready(&mut self) -> Result<(), LabError> {
        let mut polls = tokio::time::interval(READY_POLL);
        let deadline = tokio::time::Instant::now() + READY_MAX;
        while tokio::time::Instant::now() < deadline {
            polls.tick().await;
            if let Ok(Some(status)) = self.child.try_wait() {
                // Its last words may still be on their way.
                drop(tokio::time::timeout(LAST_WORDS_MAX, &mut self.reader).await);
                return Err(self.failed(&format!("ended by itself at start: {status}")));
            }
            if is_ready(self.plan.metrics).await {
                return Ok(());
            }
        }
        Err(self.failed("is not ready in time"))
    }

    /// An error with the end of the log.
    fn failed(&self, what: &str) -> LabError {
        let lines = self.log.lines.borrow();
        let tail: Vec<_> = lines
            .iter()
            .rev()
            .take(FAILURE_LINES)
            .map(|line| line.text.clone())
            .collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        LabError::Subject(format!("{what}; its last words:\n{}", tail.join("\n")))
    }
}

/// The log of the program under test; a cheap handle.
#[derive(Clone, Debug)]
pub struct Log {
    /// Wakes whoever waits at each line; at most [`LOG_LINES_MAX`] lines.
    lines: Arc<watch::Sender<Vec<LogLine>>>,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// As it was written.
    pub text: String,
    /// What it says, if it is about a message.
    pub event: Option<Event>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            lines: Arc::new(watch::Sender::new(Vec::new())),
        }
    }
}

impl Log {
    /// Waits until `look` finds something; `None` if it never does within `limit`. It is shown every
    /// event so far, at each new one.
    pub async fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&[LogLine]) -> Option<T>,
    ) -> Option<T> {
        let mut watcher = self.lines.subscribe();
        let mut found = None;
        let waiting = watcher.wait_for(|lines| {
            found = look(lines);
            found.is_some()
        });
        // Neither a time-out nor a closed channel changes what was found.
        drop(tokio::time::timeout(limit, waiting).await);
        found
    }

    /// What `look` makes of the log so far.
    pub fn look<T>(&self, look: impl FnOnce(&[LogLine]) -> T) -> T {
        look(&self.lines.borrow())
    }

    /// Adds a line.
    pub(crate) fn push(&self, text: String) {
        let event = Event::from_log_line(&text);
        self.lines.send_modify(|lines| {
            if lines.len() < LOG_LINES_MAX {
                lines.push(LogLine { text, event });
            }
        });
    }
}

/// Starts the process.
fn spawn(
    program: &Path,
    plan: &SubjectPlan,
    log: &Log,
) -> Result<(Child, JoinHandle<()>), LabError> {
    let mut child = Command::new(program)
        .arg("serve")
        .arg("--config")
        .arg(plan.configuration_file())
        .envs(plan.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C at a terminal is for the lab, which then ends the program in its own way.
        .process_group(0)
        .spawn()
        .map_err(LabError::io(format!("start {}", program.display())))?;
    let (stderr, log) = (child.stderr.take(), log.clone());
    let reader = tokio::spawn(async move {
        if let Some(stderr) = stderr {
            read_log(stderr, log).await;
        }
    });
    Ok((child, reader))
}

/// Reads the log until the process ends.
async fn read_log(stderr: ChildStderr, log: Log) {
    let mut lines = BufReader::new(stderr).lines();
    // A line that is no UTF-8 ends the reading, which the scenario then notices.
    while let Ok(Some(line)) = lines.next_line().await {
        log.push(line);
    }
}

/// Whether `/readyz` says 200.
async fn is_ready(metrics: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(metrics).await?;
        let request = "GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream
            .take(READY_OCTETS_MAX)
            .read_to_end(&mut response)
            .await?;
        Ok::<_, std::io::Error>(response)
    };
    ask.await
        .is_ok_and(|response| response.starts_with(b"HTTP/1.1 200"))
}

/// How long the program may take until it is ready.
pub const READY_MAX: Duration = Duration::from_secs(30);

/// How long it may take to stop after SIGTERM.
pub const STOP_MAX: Duration = Duration::from_secs(60);

/// How long the last words of a program that ended may take.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// The pause between two looks at `/readyz`.
const READY_POLL: Duration = Duration::from_millis(20);

/// Octets of the answer to `/readyz`.
const READY_OCTETS_MAX: u64 = 4096;

/// Lines of the log that are kept.
const LOG_LINES_MAX: usize = 200_000;

/// Lines of the log in an error.
const FAILURE_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn a_program_that_ends_at_start_is_reported_with_its_last_words() {
        let world = World::raise().await.unwrap();
        let plan = world.subject_plan().unwrap();
        // A shell takes `serve` for a script that does not exist, and says so.
        let started = Subject::start(Path::new("/bin/sh"), plan).await;
        let Err(LabError::Subject(words)) = started else {
            panic!("{started:?}");
        };
        assert!(words.contains("ended by itself"), "{words}");
        assert!(words.contains("serve"), "{words}");
    }
}
