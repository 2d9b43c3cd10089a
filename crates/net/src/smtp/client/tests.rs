//! Servers that take their time, under a clock that does not.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Context;
use std::task::Poll;

use byrnie_policy::StsObservation;
use byrnie_smtp::BodyType;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_smtp::Transaction;
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufWriter;
use tokio::io::DuplexStream;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio::time::sleep;

use super::*;
use crate::clock::SystemClock;
use crate::tls::Roots;

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_the_time_of_the_phase() {
    check(&[], ClientPhase::Greeting, 300).await;
    check(&["220 hi\r\n"], ClientPhase::Hello, 300).await;
    let ready = &["220 hi\r\n", "250 hi\r\n"];
    check(ready, ClientPhase::Mail, 300).await;
    check(
        &[ready, &["250 ok\r\n"][..]].concat(),
        ClientPhase::Recipient,
        300,
    )
    .await;
    check(
        &[ready, &["250 ok\r\n"; 2][..]].concat(),
        ClientPhase::Data,
        120,
    )
    .await;
    let body = [ready, &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"][..]].concat();
    check(&body, ClientPhase::End, 600).await;
}

#[tokio::test(start_paused = true)]
async fn an_octet_a_second_gains_a_server_nothing() {
    let (ours, mut theirs) = tokio::io::duplex(1_024);
    tokio::spawn(async move {
        while theirs.write_all(b"2").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let begun = Instant::now();
    let error = connect(ours).await.unwrap_err();
    assert_eq!(error.phase, ClientPhase::Greeting);
    assert_eq!(error.fault, AttemptFault::Timeout(Duration::from_secs(300)));
    assert_eq!(begun.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_reply_line_now_and_then_gains_a_server_nothing() {
    let (ours, mut theirs) = tokio::io::duplex(1_024);
    tokio::spawn(async move {
        while theirs.write_all(b"220-wait\r\n").await.is_ok() {
            sleep(Duration::from_secs(10)).await;
        }
    });
    let begun = Instant::now();
    let error = connect(ours).await.unwrap_err();
    assert_eq!(error.fault, AttemptFault::Timeout(Duration::from_secs(300)));
    assert_eq!(begun.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn using_up_the_time_of_each_recipient_gains_a_server_nothing() {
    let (ours, mut theirs) = tokio::io::duplex(16 * 1_024);
    tokio::spawn(async move {
        theirs.write_all(b"220 hi\r\n").await.unwrap();
        let mut ehlo = [0; 64];
        assert_ne!(theirs.read(&mut ehlo).await.unwrap(), 0);
        theirs.write_all(b"250 hi\r\n").await.unwrap();
        loop {
            sleep(Duration::from_secs(299)).await;
            theirs.write_all(b"250 ok\r\n").await.unwrap();
        }
    });
    let mut connection = connect(ours).await.unwrap();
    let begun = Instant::now();
    let recipients = vec!["b@example.org".parse().unwrap(); 100];
    let transaction = Transaction {
        recipients,
        // Ten seconds' worth.
        size: 10 * MESSAGE_OCTETS_PER_SECOND_MIN,
        ..transaction()
    };
    let error = connection.send(transaction, &b"x"[..]).await.unwrap_err();
    assert_eq!(error.phase, ClientPhase::Recipient);
    assert_eq!(error.fault, AttemptFault::Timeout(Duration::from_secs(610)));
    assert_eq!(begun.elapsed().as_secs(), 610);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_the_message_is_given_up() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let replies = [
        "220 hi\r\n",
        "250 hi\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
    ];
    tokio::spawn(play(
        theirs,
        replies.map(str::to_owned).to_vec(),
        AfterScript::Nothing,
    ));
    let mut connection = connect(ours).await.unwrap();
    let begun = Instant::now();
    let message = vec![b'x'; 1_000_000];
    let error = connection
        .send(transaction(), &message[..])
        .await
        .unwrap_err();
    assert_eq!(error.phase, ClientPhase::Body);
    assert_eq!(error.fault, AttemptFault::Timeout(Duration::from_secs(180)));
    assert_eq!(begun.elapsed().as_secs(), 180);
    assert!(!connection.is_reusable());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_an_octet_of_the_message_now_and_then_is_given_up() {
    let (ours, mut theirs) = tokio::io::duplex(1_024);
    tokio::spawn(async move {
        wait_for_message(&mut theirs).await;
        while theirs.read_u8().await.is_ok() {
            sleep(Duration::from_secs(10)).await;
        }
    });
    let mut connection = connect(ours).await.unwrap();
    let begun = Instant::now();
    let message = vec![b'x'; 1_000_000];
    let sent = connection.send(transaction(), &message[..]).await;
    let error = sent.unwrap_err();
    assert_eq!(error.fault, AttemptFault::Timeout(Duration::from_secs(180)));
    assert_eq!(begun.elapsed().as_secs(), 180);
}

#[tokio::test(start_paused = true)]
async fn room_on_this_machine_is_waited_for_as_long_as_for_a_host() {
    use Errno as E;
    let exhausted = |shortage| Err(AttemptFault::Exhausted(shortage));
    let refused = AttemptFault::Network(io::ErrorKind::ConnectionRefused);
    let late = AttemptFault::Timeout(Duration::from_secs(30));
    // How the first tries fail, whether the ones after them come to no end or succeed, what comes of
    // it, and after how many seconds.
    check_dialling(&[E::MFILE; 3], Then::Connected, Ok(()), 3).await;
    check_dialling(
        &[E::MFILE; 99],
        Then::Connected,
        exhausted(Shortage::Files),
        30,
    )
    .await;
    check_dialling(&[E::NOBUFS; 3], Then::Silence, Err(late), 30).await;
    check_dialling(
        &[E::NFILE, E::CONNREFUSED],
        Then::Connected,
        Err(refused),
        1,
    )
    .await;
    let no_address = exhausted(Shortage::Addresses);
    check_dialling(&[E::ADDRNOTAVAIL], Then::Connected, no_address, 0).await;
}

/// A server that reads on when it is too late finds a part of the message and no end of it, which would
/// make it whole.
#[tokio::test(start_paused = true)]
async fn whoever_leaves_in_the_middle_of_a_message_writes_nothing_more() {
    // How much a layer below holds back, what the server says, and after how many seconds it reads on.
    for (held_back, said, reads_after) in [
        (0, "", 181),
        (100_000, "", 181),
        (0, "421 4.3.2 closing\r\n", 2),
        (0, "552 5.3.4 enough\r\n", 2),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let server = tokio::spawn(async move {
            wait_for_message(&mut theirs).await;
            sleep(Duration::from_secs(1)).await;
            theirs.write_all(said.as_bytes()).await.unwrap();
            sleep(Duration::from_secs(reads_after)).await;
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            read
        });
        let stream = BufWriter::with_capacity(held_back, ours);
        let mut connection = connect(stream).await.unwrap();
        let message = vec![b'x'; 10_000];
        let sent = connection.send(transaction(), &message[..]).await;
        assert!(!connection.is_reusable(), "{sent:?}");
        connection.quit().await;
        let read = server.await.unwrap();
        assert!(!read.is_empty() && read.len() < message.len(), "{sent:?}");
        assert!(message.starts_with(&read), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn leave_is_taken_without_waiting_for_long() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let replies = ["220 hi\r\n", "250 hi\r\n"].map(str::to_owned).to_vec();
    tokio::spawn(play(theirs, replies, AfterScript::Read));
    let connection = connect(ours).await.unwrap();
    let begun = Instant::now();
    connection.quit().await;
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_small_message_is_two_writes() {
    let envelope = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n";
    for (offered, replies, expected) in [
        (
            "250-hi\r\n250 PIPELINING\r\n",
            "250 ok\r\n250 ok\r\n354 go\r\n",
            [format!("{envelope}DATA\r\n"), "x\r\n.\r\n".to_owned()],
        ),
        (
            "250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
            "250 ok\r\n250 ok\r\n",
            [envelope.to_owned(), "BDAT 3 LAST\r\nx\r\n".to_owned()],
        ),
    ] {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let writes = Arc::default();
        let noted = Noted {
            stream: ours,
            writes: Arc::clone(&writes),
        };
        let said = ["220 hi\r\n", offered, replies, "250 taken\r\n"];
        tokio::spawn(async move {
            let (mut stream, mut read) = (theirs, [0; 1_024]);
            for said in said {
                stream.write_all(said.as_bytes()).await.unwrap();
                if stream.read(&mut read).await.unwrap() == 0 {
                    break;
                }
            }
        });
        let mut connection = connect(noted).await.unwrap();
        connection.send(transaction(), &b"x"[..]).await.unwrap();
        let writes: Vec<String> = writes.lock().unwrap().clone();
        assert_eq!(writes[1..], expected);
    }
}

/// A stream that notes each write.
struct Noted {
    stream: DuplexStream,
    writes: Arc<Mutex<Vec<String>>>,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, space)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let text = String::from_utf8(octets.to_vec()).unwrap();
        self.writes.lock().unwrap().push(text);
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What comes of a try behind those that fail.
#[derive(Clone, Copy, Debug)]
enum Then {
    Connected,
    Silence,
}

async fn check_dialling(
    failures: &[Errno],
    then: Then,
    expected: Result<(), AttemptFault>,
    seconds: u64,
) {
    let tries = Cell::new(0);
    let begun = Instant::now();
    let dialled = dial_patiently(Duration::from_secs(30), || {
        let failure = failures.get(tries.replace(tries.get() + 1)).copied();
        async move {
            match (failure, then) {
                (Some(failure), _) => Err(failure.into()),
                (None, Then::Connected) => Ok(()),
                (None, Then::Silence) => pending().await,
            }
        }
    });
    assert_eq!(dialled.await, expected, "{failures:?}");
    assert_eq!(begun.elapsed().as_secs(), seconds, "{failures:?}");
}

/// Answers the envelope, and wants the message.
async fn wait_for_message(stream: &mut DuplexStream) {
    for reply in ["220", "250", "250", "250", "354"] {
        let line = format!("{reply} hi\r\n");
        stream.write_all(line.as_bytes()).await.unwrap();
        if reply != "354" {
            while stream.read_u8().await.unwrap() != b'\n' {}
        }
    }
}

/// What a server does when it has said all that it had to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AfterScript {
    /// It reads on.
    Read,
    /// It does not even read.
    Nothing,
}

/// Says the first reply, and one more for each line that it reads; then nothing, for ever.
async fn play(mut stream: DuplexStream, replies: Vec<String>, after: AfterScript) {
    for (index, reply) in replies.iter().enumerate() {
        while index > 0 && stream.read_u8().await.unwrap() != b'\n' {}
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
    if after == AfterScript::Read {
        tokio::io::copy(&mut stream, &mut tokio::io::sink())
            .await
            .unwrap();
    }
    pending::<()>().await;
}

/// The server says so much and then nothing: in which phase, and after how many seconds, is it given
/// up?
async fn check(replies: &[&str], phase: ClientPhase, seconds: u64) {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let replies = replies.iter().map(|&reply| reply.to_owned()).collect();
    tokio::spawn(play(theirs, replies, AfterScript::Read));
    let begun = Instant::now();
    let attempt = async {
        let mut connection = connect(ours).await?;
        connection.send(transaction(), &b"x"[..]).await
    };
    let error = attempt.await.unwrap_err();
    assert_eq!(error.phase, phase);
    assert_eq!(
        error.fault,
        AttemptFault::Timeout(Duration::from_secs(seconds))
    );
    assert_eq!(begun.elapsed().as_secs(), seconds);
}

/// Makes a stream ready for mail, with nothing demanded.
async fn connect<S>(stream: S) -> Result<Connection, AttemptError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tls = TlsClient::new(&Roots::public()).unwrap();
    let config = ClientConfig::new("relay.example".parse().unwrap());
    let client = SmtpClient::new(config, tls, Arc::new(SystemClock));
    let requirement = Requirement {
        tls: TlsRequirement::Opportunistic,
        require_tls: RequireTls::NotDemanded,
        sts_observation: StsObservation::None,
    };
    let target = Target {
        host: None,
        address: "127.0.0.1:25".parse().unwrap(),
        requirement: &requirement,
    };
    client
        .attempt_over(stream, &target, Plan::Certificate)
        .await
}

/// A message for one recipient.
fn transaction() -> Transaction {
    Transaction {
        reverse_path: "a@example.org".parse().unwrap(),
        recipients: vec!["b@example.org".parse().unwrap()],
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
        size: 1,
    }
}
