//! Our client against servers that behave as a script says.

use std::time::Duration;

use byrnie_net::smtp::client::AttemptError;
use byrnie_net::smtp::client::AttemptFault;
use byrnie_net::smtp::client::ChannelSecurity;
use byrnie_net::smtp::client::ClientTimeouts;
use byrnie_net::smtp::client::Connection;
use byrnie_net::smtp::client::MessageSource;
use byrnie_net::smtp::client::RetryClass;
use byrnie_policy::RequireTls;
use byrnie_policy::TlsRequirement;
use byrnie_smtp::ClientFault;
use byrnie_smtp::ClientPhase;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::support::Line;
use super::support::Stage;
use super::support::client;
use super::support::host;
use super::support::requirement;
use super::support::transaction;

#[tokio::test]
async fn stripped_starttls_ends_an_attempt_where_tls_is_demanded() {
    let stage = Stage::with(|mut line| async move {
        greet(&mut line, "250 mx.example.org\r\n").await;
        line.hear_end().await;
    })
    .await;
    let error = connect(&stage, TlsRequirement::Encrypt).await.unwrap_err();
    assert_eq!(error.fault, AttemptFault::StartTlsNotOffered);
    assert_eq!(error.retry_class(), RetryClass::SecurityDefer);
    assert_eq!(error.result_type(), Some("starttls-not-supported"));
    stage.finish().await;
}

#[tokio::test]
async fn times_that_are_replaced_count_for_the_connections_to_come() {
    let stage = Stage::with(|mut line| async move { line.hear_end().await }).await;
    let client = client();
    let greeting = Duration::from_millis(10);
    client.timeouts().replace(ClientTimeouts {
        greeting,
        ..ClientTimeouts::default()
    });
    let requirement = requirement(TlsRequirement::Opportunistic);
    let connected = client.connect(&host(), stage.address, &requirement).await;
    assert_eq!(
        connected.unwrap_err().fault,
        AttemptFault::Timeout(greeting)
    );
    stage.finish().await;
}

#[tokio::test]
async fn replies_injected_before_tls_end_an_attempt_and_are_never_read() {
    let stage = Stage::with(|mut line| async move {
        greet(&mut line, STARTTLS).await;
        line.hear("STARTTLS").await;
        line.say("220 go\r\n250-mx.example.org\r\n250 REQUIRETLS\r\n")
            .await;
        line.hear_end().await;
    })
    .await;
    let error = connect(&stage, TlsRequirement::Encrypt).await.unwrap_err();
    assert_eq!(
        error.fault,
        AttemptFault::Server(ClientFault::InjectedBeforeTls)
    );
    assert_eq!(error.result_type(), Some("validation-failure"));
    stage.finish().await;
}

#[tokio::test]
async fn a_failed_handshake_is_followed_by_one_connection_in_clear_text_where_nothing_is_demanded()
{
    let stage = Stage::with_two(
        Some(broken_handshake),
        Some(|mut line: Line| async move {
            greet(&mut line, STARTTLS).await;
            line.hear("QUIT").await;
            line.say("221 bye\r\n").await;
        }),
    )
    .await;
    let connection = connect(&stage, TlsRequirement::Opportunistic)
        .await
        .unwrap();
    let ChannelSecurity::Clear {
        after: Some(failure),
    } = &connection.channel().security
    else {
        panic!("{connection:?}");
    };
    assert_eq!(failure.phase, ClientPhase::Handshake);
    connection.quit().await;
    stage.finish().await;
}

#[tokio::test]
async fn a_failed_handshake_is_final_where_tls_is_demanded() {
    let stage = Stage::with(broken_handshake).await;
    let error = connect(&stage, TlsRequirement::Encrypt).await.unwrap_err();
    assert!(matches!(error.fault, AttemptFault::Tls(_)), "{error}");
    assert_eq!(error.retry_class(), RetryClass::SecurityDefer);
    stage.finish().await;
}

#[tokio::test]
async fn a_server_that_refuses_tls_is_spoken_to_in_clear_text_only_where_nothing_is_demanded() {
    let scene = |mut line: Line| async move {
        greet(&mut line, STARTTLS).await;
        line.hear("STARTTLS").await;
        line.say("454 4.7.0 not now\r\n").await;
        let mut rest = String::new();
        let _ = line.into_stream().read_to_string(&mut rest).await;
    };
    let stage = Stage::with(scene).await;
    let connection = connect(&stage, TlsRequirement::Opportunistic)
        .await
        .unwrap();
    let ChannelSecurity::Clear { after: Some(why) } = &connection.channel().security else {
        panic!("{:?}", connection.channel());
    };
    assert!(
        matches!(why.fault, AttemptFault::StartTlsRefused(_)),
        "{why}"
    );
    drop(connection);
    stage.finish().await;
    let stage = Stage::with(scene).await;
    let error = connect(&stage, TlsRequirement::Encrypt).await.unwrap_err();
    assert!(
        matches!(error.fault, AttemptFault::StartTlsRefused(_)),
        "{error}"
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_demand_for_requiretls_is_not_met_in_clear_text() {
    let stage = Stage::with(|mut line| async move {
        greet(&mut line, "250-mx.example.org\r\n250 REQUIRETLS\r\n").await;
        line.hear("QUIT").await;
        line.say("221 bye\r\n").await;
    })
    .await;
    let mut demand = requirement(TlsRequirement::Opportunistic);
    demand.require_tls = RequireTls::Demanded;
    let error = client()
        .connect(&host(), stage.address, &demand)
        .await
        .unwrap_err();
    assert_eq!(error.status().to_string(), "5.7.30");
    assert_eq!(error.retry_class(), RetryClass::NextHost);
    stage.finish().await;
}

#[tokio::test]
async fn an_endless_reply_is_cut_off() {
    let stage = Stage::with(|line| async move {
        let mut stream = line.into_stream();
        while stream
            .write_all(&b"220-more\r\n".repeat(1_000))
            .await
            .is_ok()
        {}
    })
    .await;
    let error = connect(&stage, TlsRequirement::Opportunistic)
        .await
        .unwrap_err();
    assert!(
        matches!(error.fault, AttemptFault::Server(ClientFault::Garbage(_))),
        "{error}"
    );
    assert_eq!(error.retry_class(), RetryClass::NextHost);
    stage.finish().await;
}

#[tokio::test]
async fn nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let demand = requirement(TlsRequirement::Opportunistic);
    let error = client()
        .connect(&host(), address, &demand)
        .await
        .unwrap_err();
    assert_eq!(error.phase, ClientPhase::Connect);
    assert_eq!(error.status().to_string(), "4.4.1");
}

#[tokio::test]
async fn a_server_that_closes_is_quoted_in_every_phase() {
    for (said, phase) in [
        (&[][..], ClientPhase::Mail),
        (&["250 ok\r\n"][..], ClientPhase::Recipient),
        (&["250 ok\r\n", "250 ok\r\n"][..], ClientPhase::Data),
    ] {
        let stage = Stage::with(move |mut line| async move {
            greet(&mut line, "250 mx.example.org\r\n").await;
            for reply in said {
                line.hear("").await;
                line.say(reply).await;
            }
            line.hear("").await;
            line.say("421 4.3.2 closing\r\n").await;
        })
        .await;
        let error = send(&stage, &b"x"[..]).await.unwrap_err();
        assert_eq!(error.phase, phase);
        assert_eq!(error.reply().unwrap().to_string(), "421 4.3.2 closing");
        assert_eq!(error.retry_class(), RetryClass::Defer);
        stage.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_closes_after_the_message_has_not_accepted_it() {
    let stage = Stage::with(|mut line| async move {
        envelope(&mut line).await;
        while line.hear("").await != ".\r\n" {}
        line.say("421 4.3.2 closing\r\n").await;
    })
    .await;
    let error = send(&stage, &b"x"[..]).await.unwrap_err();
    assert_eq!(error.phase, ClientPhase::End);
    assert_eq!(error.retry_class(), RetryClass::Defer);
    stage.finish().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_the_message_is_not_used_on() {
    let stage = Stage::with(|mut line| async move {
        envelope(&mut line).await;
        line.hear("xxxx").await;
        let stream = line.into_stream();
        stream.set_zero_linger().unwrap();
    })
    .await;
    let demand = requirement(TlsRequirement::Opportunistic);
    let mut connection = client()
        .connect(&host(), stage.address, &demand)
        .await
        .unwrap();
    let message = b"xxxx\r\n".repeat(5_000_000);
    let error = connection
        .send(transaction(&["b@example.org"]), &message[..])
        .await
        .unwrap_err();
    assert!(matches!(error.fault, AttemptFault::Network(_)), "{error}");
    assert_eq!(error.retry_class(), RetryClass::Defer);
    assert!(!connection.is_reusable());
    stage.finish().await;
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_message_is_heard() {
    let stage = Stage::with(|mut line| async move {
        envelope(&mut line).await;
        line.hear("xxxx").await;
        line.say("552 5.3.4 enough\r\n").await;
        // The server reads nothing more; the client must not wait for that.
        std::future::pending::<()>().await;
    })
    .await;
    let message = b"xxxx\r\n".repeat(5_000_000);
    let outcome = send(&stage, &message[..]).await.unwrap();
    assert_eq!(outcome, Err("552 5.3.4 enough".to_owned()));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_our_fault_and_never_sent_in_part() {
    let stage = Stage::with(|mut line| async move {
        envelope(&mut line).await;
        line.hear_end().await;
    })
    .await;
    let error = send(&stage, Unreadable).await.unwrap_err();
    assert!(matches!(error.fault, AttemptFault::Message(_)), "{error}");
    stage.finish().await;
}

/// An offer of TLS.
const STARTTLS: &str = "250-mx.example.org\r\n250 STARTTLS\r\n";

/// A message that cannot be read.
struct Unreadable;

impl MessageSource for Unreadable {
    async fn piece(&mut self) -> std::io::Result<&[u8]> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// Greets a client, and replies to its greeting.
async fn greet(line: &mut Line, ehlo: &str) {
    line.say("220 mx.example.org\r\n").await;
    line.hear("EHLO relay.example").await;
    line.say(ehlo).await;
}

/// Accepts all up to the message.
async fn envelope(line: &mut Line) {
    greet(line, "250 mx.example.org\r\n").await;
    for (command, reply) in [
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
    ] {
        line.hear(command).await;
        line.say(reply).await;
    }
}

/// Begins TLS, and does not understand the handshake.
async fn broken_handshake(mut line: Line) {
    greet(&mut line, STARTTLS).await;
    line.hear("STARTTLS").await;
    line.say("220 go\r\n").await;
    let mut stream = line.into_stream();
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    stream.write_all(b"500 what is this\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// Connects under a requirement on TLS.
async fn connect(stage: &Stage, tls: TlsRequirement) -> Result<Connection, AttemptError> {
    client()
        .connect(&host(), stage.address, &requirement(tls))
        .await
}

/// Sends a message to one recipient; gives what was said about it.
async fn send(
    stage: &Stage,
    message: impl MessageSource,
) -> Result<Result<String, String>, AttemptError> {
    let mut connection = connect(stage, TlsRequirement::Opportunistic).await?;
    let outcome = connection
        .send(transaction(&["b@example.org"]), message)
        .await?;
    let (_, answer) = outcome.recipients.into_iter().next().unwrap();
    Ok(answer
        .map(|reply| reply.to_string())
        .map_err(|reply| reply.to_string()))
}
