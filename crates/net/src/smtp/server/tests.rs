//! Clients that take their time, under a clock that does not, and clients that ask too much.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::io::ReadBuf;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::clock::SystemClock;

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_let_go() {
    check(
        "",
        "",
        "421 4.4.2 mx.example waited too long for a command",
        300,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_octet_a_second_gains_a_client_nothing() {
    check(
        "",
        "x",
        "421 4.4.2 mx.example waited too long for a command",
        300,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_in_the_middle_of_its_message_is_let_go() {
    check(
        ENVELOPE,
        "",
        "421 4.4.2 mx.example waited too long for the message",
        300,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_message_is_cut_off() {
    check(
        ENVELOPE,
        "x\r\n",
        "421 4.4.2 mx.example waited too long for the message",
        3_600,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_message_in_chunks_is_cut_off() {
    check(
        "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n",
        "BDAT 3\r\nx\r\n",
        "421 4.4.2 mx.example waited too long for the message",
        3_600,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_let_go() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let task = tokio::spawn(async move { conversation().run(ours).await });
    let begun = Instant::now();
    let noise = "HELP\r\n".repeat(1_000);
    theirs.write_all(noise.as_bytes()).await.unwrap_err();
    task.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 300);
}

#[tokio::test]
async fn a_group_of_commands_is_answered_in_one_write() {
    let (ours, mut theirs) = tokio::io::duplex(4_096);
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Counted {
        stream: ours,
        writes: Arc::clone(&writes),
    };
    let task = tokio::spawn(async move { conversation().run(counted).await });
    for (said, last_reply) in [
        ("", "220 "),
        ("EHLO c.example\r\n", "250 ENHANCEDSTATUSCODES"),
        (
            "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n",
            "354 ",
        ),
        (
            "x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n",
            "354 ",
        ),
        ("x\r\n.\r\nQUIT\r\n", "221 "),
    ] {
        let before = writes.load(Ordering::Relaxed);
        theirs.write_all(said.as_bytes()).await.unwrap();
        let mut heard = String::new();
        while !heard.contains(last_reply) || !heard.ends_with("\r\n") {
            let mut piece = [0; 1_024];
            let read = theirs.read(&mut piece).await.unwrap();
            heard.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        assert_eq!(writes.load(Ordering::Relaxed), before + 1, "{said:?}");
    }
    drop(theirs);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_faster_than_the_service_is_slowed_down() {
    let pace = Arc::new(Semaphore::new(0));
    let server = server(Sink(Arc::clone(&pace)), |_| ());
    let mut client = begun(&server).await;
    let line = [b"x".repeat(998), b"\r\n".to_vec()].concat();
    let mut sent = 0;
    let while_it_waits = async {
        loop {
            client.write_all(&line).await.unwrap();
            sent += line.len();
        }
    };
    let patience = timeout(Duration::from_secs(60), while_it_waits);
    patience.await.unwrap_err();
    // What the session has read, and what lies in the pipe.
    assert!(sent <= 64 * 1_024 + PIPE_OCTETS, "{sent}");
    pace.add_permits(1_000);
    client.write_all(b"\r\n.\r\n").await.unwrap();
    hear(&mut client, "ok").await;
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_memory_and_are_refused_when_it_takes_too_long() {
    let server = server(Sink::quick(), |config| {
        config.message_memory_octets = 200 * 1_024;
    });
    let mut first = begun(&server).await;
    let mut second = greeted(&server).await;
    let begun_at = Instant::now();
    second.write_all(TRANSACTION.as_bytes()).await.unwrap();
    hear(&mut second, "452 4.3.1 too many messages come in").await;
    assert_eq!(begun_at.elapsed().as_secs(), 10);
    second
        .write_all(format!("RSET\r\n{TRANSACTION}").as_bytes())
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    first.write_all(b"x\r\n.\r\n").await.unwrap();
    hear(&mut first, "ok").await;
    hear(&mut second, "354 ").await;
    assert_eq!(begun_at.elapsed().as_secs(), 11);
}

#[tokio::test(start_paused = true)]
async fn each_rate_has_its_own_reply_and_errors_end_the_session() {
    let rate = |times| {
        Some(Rate {
            times,
            per: Duration::from_secs(60),
        })
    };
    let server = server(Sink::quick(), |config| {
        config.rates = ClientRates {
            connections: rate(2),
            messages: rate(1),
            errors: rate(2),
        };
    });
    let setup = server.current.get();
    let admit = || server.admit(&setup.config, "192.0.2.1:1".parse().unwrap());
    assert!(admit().is_ok());
    assert!(admit().is_ok());
    let refused = admit().unwrap_err().to_string();
    assert!(refused.contains("connects too often"), "{refused}");

    let mut client = begun(&server).await;
    client.write_all(b"x\r\n.\r\n").await.unwrap();
    hear(&mut client, "ok").await;
    client.write_all(TRANSACTION.as_bytes()).await.unwrap();
    hear(&mut client, "450 4.7.0 mx.example your address sends").await;
    client.write_all(b"EXPN a\r\nEXPN b\r\n").await.unwrap();
    hear(&mut client, "502 5.5.1").await;
    client.write_all(b"EXPN c\r\n").await.unwrap();
    hear(
        &mut client,
        "421 4.7.0 mx.example too many errors from your address",
    )
    .await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

/// What begins a message after the greeting.
const TRANSACTION: &str = "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

/// How much is on its way between a client and its session.
const PIPE_OCTETS: usize = 4_096;

/// A client that has greeted.
async fn greeted(server: &Arc<Server<Sink>>) -> DuplexStream {
    let (ours, mut theirs) = tokio::io::duplex(PIPE_OCTETS);
    let server = Arc::clone(server);
    tokio::spawn(async move { session(server).run(ours).await });
    theirs.write_all(b"EHLO c.example\r\n").await.unwrap();
    hear(&mut theirs, "250 ENHANCEDSTATUSCODES").await;
    theirs
}

/// A client that may send its message.
async fn begun(server: &Arc<Server<Sink>>) -> DuplexStream {
    let mut client = greeted(server).await;
    client.write_all(TRANSACTION.as_bytes()).await.unwrap();
    hear(&mut client, "354 ").await;
    client
}

/// Reads up to the end of the line that holds this.
async fn hear(client: &mut DuplexStream, expected: &str) {
    let mut heard = String::new();
    while !heard.contains(expected) || !heard.ends_with('\n') {
        let octet = client
            .read_u8()
            .await
            .unwrap_or_else(|_| panic!("{heard:?}"));
        heard.push(char::from(octet));
    }
}

/// A stream that counts how often it is written to.
struct Counted {
    /// The stream.
    stream: DuplexStream,
    /// How often.
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// All up to the message.
const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

/// A client says something, and then a little each second: when is it let go, and how?
async fn check(first: &str, then: &str, last_reply: &str, seconds: u64) {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let task = tokio::spawn(async move { conversation().run(ours).await });
    let (mut replies, mut commands) = tokio::io::split(theirs);
    commands.write_all(first.as_bytes()).await.unwrap();
    let then = then.to_owned();
    let begun = Instant::now();
    let talk = tokio::spawn(async move {
        // Ends when the server has closed.
        while commands.write_all(then.as_bytes()).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut said = String::new();
    replies.read_to_string(&mut said).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), seconds);
    assert_eq!(said.lines().last(), Some(last_reply));
    talk.abort();
    drop(replies);
    task.await.unwrap();
}

/// A session with a service that takes all, and keeps nothing.
fn conversation() -> Conversation<Sink> {
    session(server(Sink::quick(), |_| ()))
}

/// A session of a server.
fn session(server: Arc<Server<Sink>>) -> Conversation<Sink> {
    let facts = SessionFacts {
        id: "1".into(),
        peer: "127.0.0.1:1".parse().unwrap(),
        hello: None,
        tls: None,
        started: UnixTime(0),
    };
    let (_, stopping) = watch::channel(Running::Yes);
    let setup = server.current.get();
    Conversation::new(server, setup, facts, stopping)
}

/// A server whose configuration is changed a little.
fn server(service: Sink, change: impl FnOnce(&mut ServerConfig)) -> Arc<Server<Sink>> {
    let host: DomainName = "mx.example".parse().unwrap();
    let mut config = ServerConfig::new(host, Arc::new(SystemClock));
    change(&mut config);
    Arc::new(Server::new(config, None, service))
}

/// A service that takes as many pieces as there are permits, and keeps nothing.
#[derive(Clone)]
struct Sink(Arc<Semaphore>);

impl Sink {
    /// Takes all.
    fn quick() -> Self {
        Self(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)))
    }
}

impl MailService for Sink {
    type Incoming = Self;

    fn admit(&self, _: SocketAddr) -> Result<(), Reply> {
        Ok(())
    }

    async fn recipient(&self, _: &SessionFacts, _: &ReversePath, _: &Mailbox) -> Result<(), Reply> {
        Ok(())
    }

    async fn begin(&self, _: &SessionFacts, _: Envelope) -> Result<Self, Reply> {
        Ok(self.clone())
    }
}

impl IncomingMessage for Sink {
    async fn write(&mut self, _: &[u8]) -> Result<(), Reply> {
        self.0.acquire().await.unwrap().forget();
        Ok(())
    }

    fn held(&self) -> usize {
        0
    }

    async fn commit(self) -> Result<Reply, Reply> {
        Ok(Reply::plain(250, "ok"))
    }
}
