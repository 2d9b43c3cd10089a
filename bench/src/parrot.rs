//! `smtpbench parrot`: a policy daemon that says the same to everybody, without a look at what was asked.
//!
//! What it takes is what reading requests and writing answers costs by itself, one read and one write
//! for what came together: no daemon that works so can be faster.

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::UnixListener;

use crate::failure::Failure;
use crate::socketmap::Door;

/// The shortest answer that holds Postfix to something.
const ANSWER: &[u8] = b"12:OK dane-only,";

/// Octets that are read at once: more than a client of the bench asks at once.
const READ_MAX: usize = 4 << 10;

/// Octets of the shortest request, as `1:m,`.
const REQUEST_MIN: usize = 4;

/// Where to listen.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// An address, or `unix:` and a path
    #[arg(long)]
    listen: Door,
}

/// Answers until it is ended.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    match options.listen {
        Door::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::spawn(answer(stream));
            }
        }
        Door::Unix(path) => {
            let listener = UnixListener::bind(path)?;
            loop {
                tokio::spawn(answer(listener.accept().await?.0));
            }
        }
    }
}

/// Answers one client until it goes.
async fn answer<S>(mut stream: S) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = [0; READ_MAX];
    let answers = ANSWER.repeat(READ_MAX / REQUEST_MIN);
    loop {
        let read = stream.read(&mut input).await?;
        if read == 0 {
            return Ok(());
        }
        let said = requests(&input[..read]) * ANSWER.len();
        stream.write_all(&answers[..said]).await?;
    }
}

/// How many requests end here: no key of the bench has a comma in it.
fn requests(octets: &[u8]) -> usize {
    octets.iter().filter(|&&octet| octet == b',').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_request_that_ends_gets_an_answer() {
        let (mut client, server) = tokio::io::duplex(READ_MAX);
        let answering = tokio::spawn(answer(server));
        client
            .write_all(b"14:postfix a.test,14:postfix b.test,14:pos")
            .await
            .unwrap();
        let mut said = vec![0; 2 * ANSWER.len()];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(said, [ANSWER, ANSWER].concat());
        drop(client);
        answering.await.unwrap().unwrap();
    }
}
