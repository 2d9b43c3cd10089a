//! A mail transfer agent next door, which asks the program under test how mail must go.
//!
//! It asks as Postfix does: over socketmap, one netstring each way (`man 5 socketmap_table`).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::LabError;

/// Asks the program under test.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// Where it answers.
    address: SocketAddr,
}

impl Neighbour {
    /// A neighbour of the program that answers there.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// The answer about a next hop.
    ///
    /// # Errors
    /// There is none in time, or it is no netstring.
    pub async fn ask(&self, next_hop: &str) -> Result<String, LabError> {
        match timeout(ANSWER_MAX, self.exchange(next_hop)).await {
            Ok(answer) => answer,
            Err(_) => Err(LabError::Subject(format!(
                "says nothing about {next_hop} in time"
            ))),
        }
    }

    /// One question and its answer, without a limit of time.
    async fn exchange(&self, next_hop: &str) -> Result<String, LabError> {
        let failed = || LabError::io("ask the program under test about a next hop");
        let mut stream = TcpStream::connect(self.address).await.map_err(failed())?;
        let question = format!("postfix {next_hop}");
        let question = format!("{}:{question},", question.len());
        stream
            .write_all(question.as_bytes())
            .await
            .map_err(failed())?;
        let mut received = Vec::new();
        loop {
            if let Some(answer) = whole_netstring(&received) {
                return Ok(answer);
            }
            if stream.read_buf(&mut received).await.map_err(failed())? == 0 {
                let received = String::from_utf8_lossy(&received);
                let text = format!("answers {received:?} about {next_hop}, which is no netstring");
                return Err(LabError::Subject(text));
            }
        }
    }
}

/// The text of a netstring, if all of it is there and nothing else.
fn whole_netstring(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    let (length, rest) = text.split_once(':')?;
    let answer = rest.strip_suffix(',')?;
    (length.parse() == Ok(answer.len())).then(|| String::from(answer))
}

/// How long an answer may take: a whole decision, with every look-up that it needs.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netstring_is_whole_or_none() {
        for (octets, expected) in [
            ("10:NOTFOUND ,", None),
            ("9:NOTFOUND,", None),
            ("8:NOTFOUND,", Some("NOTFOUND")),
            ("8:NOTFOUND", None),
            ("0:,", Some("")),
            ("x:,", None),
            ("", None),
        ] {
            let found = whole_netstring(octets.as_bytes());
            assert_eq!(found.as_deref(), expected, "{octets}");
        }
    }
}
