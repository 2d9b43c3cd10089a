//! `smtpbench socketmap`: asks a policy daemon as Postfix does, over many connections at once.
//!
//! Each connection writes a batch of requests at once and reads all answers to it before the next; a
//! batch of one is what Postfix does. Answers are netstrings, and every one of them is read.

use std::fs;
use std::net::AddrParseError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

use crate::failure::Failure;
use crate::stats::micros;
use crate::stats::per_second;
use crate::stats::percentiles;

/// Octets of an answer that Postfix reads at most.
const ANSWER_MAX: usize = 100_000;

/// Digits of a netstring's length at most.
const LENGTH_DIGITS_MAX: usize = 6;

/// Samples of how long a batch took that one connection keeps, the first ones.
const SAMPLES_MAX: usize = 100_000;

/// What to ask.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Policy daemon to ask: an address, or `unix:` and a path
    #[arg(long)]
    to: Door,
    /// A file with one key a line
    #[arg(long)]
    keys: PathBuf,
    /// Name of the map
    #[arg(long, default_value = "postfix")]
    map: String,
    /// Connections at once
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests on one connection that are asked before the first answer is read
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Goes round the keys for so long; 0: asks about each key once
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
}

/// Where a policy daemon listens.
#[derive(Clone)]
pub(crate) enum Door {
    /// At an address.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

impl FromStr for Door {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp),
        }
    }
}

/// What all connections share.
struct Plan {
    options: Options,
    requests: Vec<Vec<u8>>,
    next: AtomicUsize,
    end: Option<Instant>,
}

/// Answers by their first word.
#[derive(Default)]
struct Tally {
    ok: u64,
    not_found: u64,
    other: u64,
    batches_us: Vec<u32>,
}

/// Asks, and prints how that went.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let keys = fs::read_to_string(&options.keys)?;
    let requests: Vec<_> = keys.lines().map(|key| request(&options.map, key)).collect();
    if requests.is_empty() || options.pipeline == 0 {
        return Err(Failure::new("there is nothing to ask"));
    }
    let begun = Instant::now();
    let end = (options.seconds > 0.0).then(|| begun + Duration::from_secs_f64(options.seconds));
    let connections = options.connections;
    let plan = Arc::new(Plan {
        options,
        requests,
        next: AtomicUsize::new(0),
        end,
    });
    let asking: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(ask(Arc::clone(&plan))))
        .collect();
    let mut all = Tally::default();
    for connection in asking {
        all.add(connection.await??);
    }
    let elapsed = begun.elapsed();
    let lookups = all.ok + all.not_found + all.other;
    let row = json!({
        "lookups": lookups,
        "lookups_per_s": per_second(lookups, elapsed),
        "seconds": elapsed.as_secs_f64(),
        "ok": all.ok,
        "not_found": all.not_found,
        "other": all.other,
        "batch_ms": percentiles(&mut all.batches_us),
    });
    println!("{row}");
    Ok(())
}

/// One connection, until the plan is done.
async fn ask(plan: Arc<Plan>) -> Result<Tally, Failure> {
    match &plan.options.to {
        Door::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            ask_over(stream, &plan).await
        }
        Door::Unix(path) => ask_over(UnixStream::connect(path).await?, &plan).await,
    }
}

/// Asks and reads in turns.
async fn ask_over<S>(mut stream: S, plan: &Plan) -> Result<Tally, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut batch, mut received, mut tally) = (Vec::new(), Vec::new(), Tally::default());
    loop {
        let asked = plan.batch(&mut batch);
        if asked == 0 {
            return Ok(tally);
        }
        let begun = Instant::now();
        stream.write_all(&batch).await?;
        let mut answered = 0;
        while answered < asked {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(Failure::new("the policy daemon closed a connection"));
            }
            answered += tally.take(&mut received)?;
        }
        if answered > asked || !received.is_empty() {
            return Err(Failure::new(
                "the policy daemon said more than it was asked",
            ));
        }
        if tally.batches_us.len() < SAMPLES_MAX {
            tally.batches_us.push(micros(begun.elapsed()));
        }
    }
}

impl Plan {
    /// Writes the next requests; returns how many there are.
    fn batch(&self, batch: &mut Vec<u8>) -> usize {
        batch.clear();
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return 0;
        }
        let wanted = self.options.pipeline;
        let first = self.next.fetch_add(wanted, Relaxed);
        let last = match self.end {
            Some(_) => first + wanted,
            None => (first + wanted).min(self.requests.len()),
        };
        for n in first..last {
            batch.extend_from_slice(&self.requests[n % self.requests.len()]);
        }
        last.saturating_sub(first)
    }
}

impl Tally {
    /// Counts the whole answers in `received` and takes them away; returns how many there were.
    fn take(&mut self, received: &mut Vec<u8>) -> Result<usize, Failure> {
        let (mut answers, mut begin) = (0, 0);
        while let Some((answer, length)) = netstring(&received[begin..])? {
            match answer {
                _ if answer.starts_with(b"OK ") => self.ok += 1,
                _ if answer.starts_with(b"NOTFOUND ") => self.not_found += 1,
                _ => self.other += 1,
            }
            answers += 1;
            begin += length;
        }
        received.drain(..begin);
        Ok(answers)
    }

    /// Adds what another connection counted.
    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.not_found += other.not_found;
        self.other += other.other;
        self.batches_us.extend(other.batches_us);
    }
}

/// A request as it travels.
fn request(map: &str, key: &str) -> Vec<u8> {
    let request = format!("{map} {key}");
    format!("{}:{request},", request.len()).into_bytes()
}

/// The first netstring's content and its length with all around it; none as long as it is not complete.
fn netstring(octets: &[u8]) -> Result<Option<(&[u8], usize)>, Failure> {
    let broken = || Failure::new("an answer is no netstring");
    let Some(colon) = octets
        .iter()
        .take(LENGTH_DIGITS_MAX + 1)
        .position(|&octet| octet == b':')
    else {
        return match octets.len() > LENGTH_DIGITS_MAX {
            true => Err(broken()),
            false => Ok(None),
        };
    };
    let digits = std::str::from_utf8(&octets[..colon])?;
    let length: usize = digits.parse()?;
    if length > ANSWER_MAX {
        return Err(broken());
    }
    let (begin, end) = (colon + 1, colon + 1 + length);
    match octets.get(end) {
        None => Ok(None),
        Some(b',') => Ok(Some((&octets[begin..end], end + 1))),
        Some(_) => Err(broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(octets: &str, expected: Option<(&str, usize)>) {
        let found = netstring(octets.as_bytes()).unwrap();
        let found = found.map(|(answer, length)| (std::str::from_utf8(answer).unwrap(), length));
        assert_eq!(found, expected, "{octets}");
    }

    #[test]
    fn netstrings_are_read_when_they_are_complete() {
        check("", None);
        check("9", None);
        check("9:NOTFOUND ", None);
        check("9:NOTFOUND ,", Some(("NOTFOUND ", 12)));
        check("7:OK dane,9:NOT", Some(("OK dane", 10)));
    }

    #[test]
    fn what_is_no_netstring_is_refused() {
        for octets in ["x:", "1234567", "2:abc,", "999999:"] {
            assert!(netstring(octets.as_bytes()).is_err(), "{octets}");
        }
    }

    #[test]
    fn requests_say_map_and_key() {
        assert_eq!(request("postfix", "a.test"), b"14:postfix a.test,");
    }

    #[test]
    fn answers_are_counted_by_their_first_word() {
        let mut tally = Tally::default();
        let mut received = b"7:OK dane,9:NOTFOUND ,6:TEMP x,7:OK da".to_vec();
        assert_eq!(tally.take(&mut received).unwrap(), 3);
        assert_eq!((tally.ok, tally.not_found, tally.other), (1, 1, 1));
        assert_eq!(received, b"7:OK da");
    }
}
