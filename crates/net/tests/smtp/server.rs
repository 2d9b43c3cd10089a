//! Our server against clients that behave as a script says.

use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Reply;

use super::support::Line;
use super::support::Listening;
use super::support::Mailroom;
use super::support::PATIENCE;
use super::support::acceptor;
use super::support::config;

#[tokio::test]
async fn pipelined_commands_are_answered() {
    let listening = Listening::plain().await;
    let mut line = greeted(&listening).await;
    line.say("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<no@example.org>\r\nDATA\r\n")
        .await;
    for start in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354 "] {
        line.hear(start).await;
    }
    line.say("x\r\n.\r\nQUIT\r\n").await;
    line.hear("250 2.0.0 kept").await;
    line.hear("221 ").await;
    line.hear_end().await;
    assert_eq!(listening.mailroom.kept().len(), 1);
}

#[tokio::test]
async fn what_was_said_before_tls_is_not_obeyed_under_tls() {
    let listening = Listening::with_tls().await;
    let mut line = greeted(&listening).await;
    line.say("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
        .await;
    line.hear("503 5.5.1 nothing may follow STARTTLS").await;
    line.hear_end().await;
}

#[tokio::test]
async fn a_smuggled_message_is_refused_and_the_connection_ends() {
    let listening = Listening::plain().await;
    let mut line = under_way(&listening).await;
    line.say(
        "x\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\ny\r\n.\r\n",
    )
    .await;
    line.hear("554 5.6.0 line 1 of the message ends with a bare LF")
        .await;
    line.hear_end().await;
    assert_eq!(listening.mailroom.kept().len(), 0);
    assert_eq!(listening.mailroom.forgotten(), 1);
}

#[tokio::test]
async fn a_message_whose_client_goes_away_is_forgotten() {
    let listening = Listening::plain().await;
    let mut line = under_way(&listening).await;
    line.say("part of the message\r\n").await;
    drop(line);
    let mailroom = std::sync::Arc::clone(&listening.mailroom);
    tokio::time::timeout(PATIENCE, listening.stop())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(mailroom.kept().len(), 0);
    assert_eq!(mailroom.forgotten(), 1);
}

#[tokio::test]
async fn a_server_that_stops_says_so_to_clients_that_wait() {
    let listening = Listening::plain().await;
    let mut waiting = greeted(&listening).await;
    let stopped = listening.stop();
    waiting
        .hear("421 4.3.2 mx.example.org is shutting down")
        .await;
    waiting.hear_end().await;
    drop(waiting);
    tokio::time::timeout(PATIENCE, stopped)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_server_that_stops_still_takes_the_message_under_way() {
    let listening = Listening::plain().await;
    let mailroom = std::sync::Arc::clone(&listening.mailroom);
    let mut line = under_way(&listening).await;
    line.say("first\r\n").await;
    let stopped = listening.stop();
    line.say("last\r\n.\r\n").await;
    line.hear("250 2.0.0 kept").await;
    line.hear("421 4.3.2").await;
    drop(line);
    tokio::time::timeout(PATIENCE, stopped)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(mailroom.kept()[0].octets, b"first\r\nlast\r\n");
}

#[tokio::test]
async fn a_server_that_stops_cuts_off_what_takes_too_long() {
    let mut config = config();
    config.timeouts.drain = std::time::Duration::from_millis(10);
    let listening = Listening::new(config, None, Mailroom::default()).await;
    let mailroom = std::sync::Arc::clone(&listening.mailroom);
    let line = under_way(&listening).await;
    tokio::time::timeout(PATIENCE, listening.stop())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((mailroom.kept().len(), mailroom.forgotten()), (0, 1));
    drop(line);
}

#[tokio::test]
async fn connections_are_bounded_for_each_client_and_in_all() {
    let mut for_each = config();
    for_each.connections.per_client = 2;
    check_bound(
        for_each,
        "421 4.7.0 mx.example.org too many connections from your address",
    )
    .await;
    let mut for_network = config();
    for_network.connections.per_network = 2;
    check_bound(
        for_network,
        "421 4.7.0 mx.example.org too many connections from your network",
    )
    .await;
    let mut in_all = config();
    in_all.connections.in_all = 2;
    check_bound(in_all, "421 4.3.2 mx.example.org too many connections").await;
}

#[tokio::test]
async fn a_client_that_is_not_admitted_is_told_why() {
    let refusal = Reply::new(554, EnhancedStatus::new(5, 7, 1), "not you");
    let mailroom = Mailroom::closed(refusal);
    let listening = Listening::new(config(), None, mailroom).await;
    let mut line = listening.connect().await;
    line.hear("554 5.7.1 not you").await;
    line.hear_end().await;
}

#[tokio::test]
async fn a_client_that_never_makes_the_handshake_is_let_go() {
    let mut config = config();
    config.timeouts.handshake = std::time::Duration::from_millis(10);
    let listening = Listening::new(config, Some(acceptor()), Mailroom::default()).await;
    let mut line = greeted(&listening).await;
    line.say("STARTTLS\r\n").await;
    line.hear("220 2.0.0").await;
    line.hear_end().await;
}

#[tokio::test]
async fn what_changes_counts_for_the_sessions_that_begin_then() {
    let listening = Listening::plain().await;
    let mut before = greeted(&listening).await;
    listening.control.reconfigure(config(), Some(acceptor()));
    let mut after = greeted(&listening).await;
    after.say("STARTTLS\r\n").await;
    after.hear("220 2.0.0").await;
    before.say("STARTTLS\r\n").await;
    before.hear("502 5.5.1").await;
    assert_eq!(listening.control.connections(), 2);
    let mut narrow = config();
    narrow.connections.in_all = 2;
    listening.control.reconfigure(narrow, None);
    let mut refused = listening.connect().await;
    refused.hear("421 4.3.2").await;
    before.say("NOOP\r\n").await;
    before.hear("250").await;
}

/// Two clients get in, and a third when one of them has left.
async fn check_bound(config: byrnie_net::smtp::server::ServerConfig, refusal: &str) {
    let listening = Listening::new(config, None, Mailroom::default()).await;
    let mut first = greeted(&listening).await;
    let second = greeted(&listening).await;
    let mut third = listening.connect().await;
    third.hear(refusal).await;
    third.hear_end().await;
    first.say("QUIT\r\n").await;
    first.hear("221").await;
    first.hear_end().await;
    drop(first);
    // The place is free a moment after the connection has ended.
    loop {
        let mut fourth = listening.connect().await;
        if fourth.hear("").await.starts_with("220") {
            break;
        }
    }
    drop(second);
}

/// A client that has greeted.
async fn greeted(listening: &Listening) -> Line {
    let mut line = listening.connect().await;
    line.hear("220 mx.example.org").await;
    line.say("EHLO client.example\r\n").await;
    line.hear_all("250").await;
    line
}

/// A client that may send its message.
async fn under_way(listening: &Listening) -> Line {
    let mut line = greeted(listening).await;
    line.say("MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        .await;
    line.hear("250").await;
    line.hear("250").await;
    line.hear("354").await;
    line
}
