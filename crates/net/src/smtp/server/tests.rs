//! Clients that take their time, under a clock that does not.

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
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
async fn a_client_that_does_not_read_is_let_go() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let task = tokio::spawn(async move { conversation().run(ours, None).await });
    let begun = Instant::now();
    let noise = "HELP\r\n".repeat(1_000);
    theirs.write_all(noise.as_bytes()).await.unwrap_err();
    task.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 300);
}

/// All up to the message.
const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

/// A client says something, and then a little each second: when is it let go, and how?
async fn check(first: &str, then: &str, last_reply: &str, seconds: u64) {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let task = tokio::spawn(async move { conversation().run(ours, None).await });
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
    let host: DomainName = "mx.example".parse().unwrap();
    let config = Arc::new(ServerConfig::new(host.clone(), Arc::new(SystemClock)));
    let settings = Arc::new(ServerSettings {
        host,
        start_tls: StartTls::NotOffered,
        limits: config.limits,
    });
    let facts = SessionFacts {
        id: "1".into(),
        peer: "127.0.0.1:1".parse().unwrap(),
        hello: None,
        tls: None,
        started: UnixTime(0),
    };
    let (_, stopping) = watch::channel(Running::Yes);
    Conversation::new(config, settings, Arc::new(Sink), facts, stopping)
}

/// A service that takes all, and keeps nothing.
struct Sink;

impl MailService for Sink {
    type Incoming = Self;

    fn admit(&self, _: SocketAddr) -> Result<(), Reply> {
        Ok(())
    }

    async fn recipient(&self, _: &SessionFacts, _: &ReversePath, _: &Mailbox) -> Result<(), Reply> {
        Ok(())
    }

    async fn begin(&self, _: &SessionFacts, _: Envelope) -> Result<Self, Reply> {
        Ok(Self)
    }
}

impl IncomingMessage for Sink {
    async fn write(&mut self, _: &[u8]) -> Result<(), Reply> {
        Ok(())
    }

    async fn commit(self) -> Result<Reply, Reply> {
        Ok(Reply::plain(250, "ok"))
    }
}
