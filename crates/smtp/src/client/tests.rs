//! A client session, played against servers that answer as the test says.

use proptest::prelude::*;

use super::*;
use crate::BodyType;
use crate::InvalidReply;
use crate::ReplyError;
use crate::Smtputf8;
use crate::TlsDemand;

/// A reply to `EHLO` that offers what most servers offer.
const EHLO: &str =
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n250 STARTTLS\r\n";

#[test]
fn the_envelope_goes_out_in_one_write_where_the_server_pipelines() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org", "c@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n");
    play.message("Subject: x\n\n.dot");
    play.hear("250 2.0.0 queued\r\n");
    insta::assert_snapshot!(play.log, @"
    < MAIL FROM:<a@example.org> SIZE=100
    < RCPT TO:<b@example.org>
    < RCPT TO:<c@example.org>
    < DATA
    < Subject: x
    <
    < ..dot
    < .
    b@example.org: delivered 250 2.0.0 queued
    c@example.org: failed 550 5.1.1 no
    done 250 2.0.0 queued
    ");
}

#[test]
fn no_more_is_kept_of_replies_than_is_worth_it() {
    let mut play = Play::greeted("250-mx.example\r\n250 PIPELINING\r\n");
    play.begin(&["b@example.org"]);
    play.log.clear();
    let long = format!("550-5.1.1 {}\r\n", "\u{202e}".repeat(600)).repeat(8);
    play.hear(&format!("250 ok\r\n{long}550 5.1.1 no\r\n554 no\r\n"));
    // `\u{202e}` turns text round; each takes one octet as `?`.
    let kept = format!("{} {}…", "?".repeat(600), "?".repeat(421));
    assert!(
        play.log
            .starts_with(&format!("b@example.org: failed 550 5.1.1 {kept}\n")),
        "{}",
        play.log
    );
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let mut play = Play::greeted("250 mx.example\r\n");
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n");
    play.hear("250 ok\r\n");
    play.hear("354 go\r\n");
    play.message("text\r\n");
    play.hear("250 queued\r\n");
    insta::assert_snapshot!(play.log, @"
    < MAIL FROM:<a@example.org>
    < RCPT TO:<b@example.org>
    < DATA
    < text
    < .
    b@example.org: delivered 250 queued
    done 250 queued
    ");
}

#[test]
fn chunks_are_sent_where_the_server_takes_them() {
    let mut play = Play::greeted("250-mx.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n");
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n");
    play.session.body(b".one\r");
    play.session.body(b"\ntwo");
    play.message("\nthree");
    play.hear("250 ok\r\n250 ok\r\n");
    play.hear("250 2.0.0 queued\r\n");
    insta::assert_snapshot!(play.log, @"
    < MAIL FROM:<a@example.org>
    < RCPT TO:<b@example.org>
    < BDAT 6
    < .one
    < BDAT 3
    < twoBDAT 9 LAST
    <
    < three
    b@example.org: delivered 250 2.0.0 queued
    done 250 2.0.0 queued
    ");
}

#[test]
fn a_server_without_ehlo_is_greeted_with_helo() {
    let mut play = Play::new();
    play.hear("220 old.example\r\n");
    play.hear("502 what\r\n");
    play.hear("250 old.example\r\n");
    assert_eq!(play.log, "< EHLO me.example\n< HELO me.example\nready\n");
    assert_eq!(play.session.offered(), &Capabilities::default());
}

#[test]
fn what_was_offered_in_clear_text_is_forgotten_under_tls() {
    let mut play = Play::greeted(EHLO);
    play.session.start_tls();
    play.flush();
    play.hear("220 go\r\n");
    play.session.tls_established();
    play.flush();
    assert_eq!(play.session.offered(), &Capabilities::default());
    play.hear("250 mx.example\r\n");
    assert!(
        play.log
            .ends_with("< STARTTLS\nhandshake\n< EHLO me.example\nready\n"),
        "{}",
        play.log
    );
    assert_eq!(play.session.channel(), Channel::Tls);
}

#[test]
fn replies_injected_before_tls_are_a_failure_and_never_read() {
    for injected in ["250-mx.example\r\n250 REQUIRETLS\r\n", "2", "\0"] {
        let mut play = Play::greeted(EHLO);
        play.session.start_tls();
        play.flush();
        play.fail(
            &format!("220 go\r\n{injected}"),
            ClientPhase::StartTls,
            &ClientFault::InjectedBeforeTls,
        );
    }
}

#[test]
fn a_server_may_refuse_to_begin_tls() {
    let mut play = Play::greeted(EHLO);
    play.session.start_tls();
    play.flush();
    play.hear("454 4.7.0 not now\r\n");
    assert!(play.log.ends_with("tls refused 454 4.7.0 not now\n"));
    assert!(play.session.is_reusable());
}

#[test]
fn a_refused_sender_decides_about_every_recipient() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org", "c@example.org"]);
    play.hear("550 5.7.1 not you\r\n503 mail first\r\n503 mail first\r\n503 mail first\r\n");
    let end = "b@example.org: failed 550 5.7.1 not you\nc@example.org: failed 550 5.7.1 not you\n\
               done 550 5.7.1 not you\n";
    assert!(play.log.ends_with(end), "{}", play.log);
    let mut play = Play::greeted("250 mx.example\r\n");
    play.begin(&["b@example.org"]);
    play.hear("450 later\r\n");
    assert!(
        play.log
            .ends_with("b@example.org: failed 450 later\ndone 450 later\n"),
        "{}",
        play.log
    );
}

#[test]
fn a_message_for_nobody_is_an_empty_one() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n550 no\r\n354 go\r\n");
    assert!(play.log.ends_with("< .\n"), "{}", play.log);
    play.hear("250 thanks for nothing\r\n");
    assert!(
        play.log
            .ends_with("b@example.org: failed 550 no\ndone 550 no\n"),
        "{}",
        play.log
    );
    assert!(play.session.is_reusable());
}

#[test]
fn what_remains_of_a_failed_transaction_is_reset_before_the_next() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n550 no\r\n554 nobody\r\n");
    play.log.clear();
    play.begin(&["c@example.org"]);
    assert_eq!(
        play.log,
        "< RSET\n< MAIL FROM:<a@example.org> SIZE=100\n< RCPT TO:<c@example.org>\n< DATA\n"
    );
    play.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    play.message("x");
    play.hear("250 queued\r\n");
    assert!(
        play.log
            .ends_with("c@example.org: delivered 250 queued\ndone 250 queued\n")
    );
    play.log.clear();
    play.begin(&["d@example.org"]);
    assert!(play.log.starts_with("< MAIL"));
}

#[test]
fn data_refused_decides_about_the_accepted_recipients_only() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org", "c@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n550 no\r\n451 disk full\r\n");
    let end =
        "b@example.org: failed 451 disk full\nc@example.org: failed 550 no\ndone 451 disk full\n";
    assert!(play.log.ends_with(end), "{}", play.log);
}

#[test]
fn a_refusal_in_the_middle_of_the_message_counts_and_ends_the_connection() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    play.session.body(b"part of the message\r\n");
    play.flush();
    play.hear("552 5.3.4 too big\r\n");
    assert!(
        play.log.ends_with("done 552 5.3.4 too big\n"),
        "{}",
        play.log
    );
    assert!(!play.session.is_reusable());
}

#[test]
fn an_acceptance_before_the_end_of_the_message_is_not_believed() {
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    play.session.body(b"part");
    play.flush();
    play.fail("250 queued\r\n", ClientPhase::Body, &ClientFault::OutOfTurn);
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    play.session.body(b"part");
    play.session.body_end();
    play.fail("250 queued\r\n", ClientPhase::End, &ClientFault::OutOfTurn);
}

#[test]
fn a_refused_chunk_ends_the_transaction_once_all_replies_are_in() {
    let mut play = Play::greeted("250-mx.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n");
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n");
    for _ in 0..4 {
        play.session.body(b"x\r\n");
    }
    play.flush();
    play.hear("250 ok\r\n552 full\r\n");
    assert_eq!(play.session.body_room(), BodyRoom::Closed);
    play.hear("503 no\r\n");
    assert!(
        play.log
            .ends_with("b@example.org: failed 552 full\ndone 552 full\n"),
        "{}",
        play.log
    );
    assert!(play.session.is_reusable());
}

#[test]
fn chunks_wait_for_replies() {
    for (offers, chunks) in [
        ("250 CHUNKING\r\n", 1),
        ("250-PIPELINING\r\n250 CHUNKING\r\n", 8),
    ] {
        let mut play = Play::greeted(&format!("250-mx.example\r\n{offers}"));
        play.begin(&["b@example.org"]);
        play.hear("250 ok\r\n");
        play.hear("250 ok\r\n");
        let mut handed_over = 0;
        while play.session.body_room() == BodyRoom::Open {
            play.session.body(b"x\r\n");
            play.flush();
            handed_over += 1;
        }
        assert_eq!(handed_over, chunks + 1);
        assert_eq!(play.session.body_room(), BodyRoom::Full);
        play.hear("250 ok\r\n");
        assert_eq!(play.session.body_room(), BodyRoom::Open);
    }
}

#[test]
fn a_server_that_closes_is_believed_in_every_phase() {
    let closing = || ClientFault::Closing(Reply::plain(421, "bye"));
    Play::new().fail("421 bye\r\n", ClientPhase::Greeting, &closing());
    let mut play = Play::new();
    play.hear("220 hi\r\n");
    play.fail("421 bye\r\n", ClientPhase::Hello, &closing());
    Play::greeted(EHLO).fail("421 bye\r\n", ClientPhase::Ready, &closing());
    for (replies, phase) in [
        ("", ClientPhase::Mail),
        ("250 ok\r\n", ClientPhase::Recipient),
        ("250 ok\r\n250 ok\r\n", ClientPhase::Data),
        ("250 ok\r\n250 ok\r\n354 go\r\n", ClientPhase::Body),
    ] {
        let mut play = Play::greeted(EHLO);
        play.begin(&["b@example.org"]);
        play.hear(replies);
        play.fail("421 bye\r\n", phase, &closing());
    }
}

#[test]
fn a_server_that_wants_no_session_is_quoted() {
    let rejected = ClientFault::Rejected(Reply::plain(554, "go away"));
    Play::new().fail("554 go away\r\n", ClientPhase::Greeting, &rejected);
    let mut play = Play::new();
    play.hear("220 hi\r\n");
    play.hear("554 go away\r\n");
    play.fail("554 go away\r\n", ClientPhase::Hello, &rejected);
}

#[test]
fn what_no_server_should_say_ends_the_session() {
    let garbage = |line, why| ClientFault::Garbage(ReplyError { line, why });
    let unexpected = |code, text: &str| ClientFault::Unexpected(Reply::plain(code, text));
    Play::new().fail(
        "SSH-2.0\r\n",
        ClientPhase::Greeting,
        &garbage(1, InvalidReply::NoCode),
    );
    Play::new().fail("354 x\r\n", ClientPhase::Greeting, &unexpected(354, "x"));
    Play::new().fail(
        "220 hi\r\n250 early\r\n",
        ClientPhase::Hello,
        &ClientFault::OutOfTurn,
    );
    Play::greeted(EHLO).fail("250 why\r\n", ClientPhase::Ready, &ClientFault::OutOfTurn);
    let endless = "220-x\r\n".repeat(5_000);
    Play::new().fail(
        &endless,
        ClientPhase::Greeting,
        &garbage(129, InvalidReply::TooManyLines),
    );
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.fail("354 x\r\n", ClientPhase::Mail, &unexpected(354, "x"));
    let mut play = Play::greeted(EHLO);
    play.begin(&["b@example.org"]);
    play.hear("250 ok\r\n250 ok\r\n");
    play.fail("250 x\r\n", ClientPhase::Data, &unexpected(250, "x"));
}

#[test]
fn many_recipients_are_sent_in_bounded_groups() {
    let recipients: Vec<String> = (0..250).map(|n| format!("r{n}@example.org")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let mut play = Play::greeted(EHLO);
    play.begin(&recipients);
    assert_eq!(play.log.matches("< ").count(), 100);
    play.hear(&"250 ok\r\n".repeat(100));
    play.hear(&"250 ok\r\n".repeat(100));
    play.hear(&"250 ok\r\n".repeat(51));
    assert!(play.log.ends_with("< DATA\n"));
    play.hear("354 go\r\n");
    play.message("x");
    play.hear("250 ok\r\n");
    assert_eq!(play.log.matches("delivered").count(), 250);
}

#[test]
fn leave_is_taken_whatever_the_server_says() {
    let mut play = Play::greeted(EHLO);
    play.session.quit();
    play.flush();
    play.hear("421 whatever\r\n");
    assert!(play.log.ends_with("< QUIT\nclosed\n"));
}

proptest! {
    #[test]
    fn any_replies_in_any_pieces_have_the_same_outcome(
        script in script(),
        sizes in proptest::collection::vec(1_usize..40, 1..12),
        offers in prop_oneof![
            Just("250 mx.example\r\n"),
            Just("250-mx.example\r\n250 CHUNKING\r\n"),
        ],
    ) {
        // Replies come one at a time, as the client asks one thing at a time.
        let mut whole = Play::greeted(offers);
        whole.begin(&["b@example.org", "c@example.org"]);
        let mut pieces = Play::greeted(offers);
        pieces.begin(&["b@example.org", "c@example.org"]);
        for reply in &script {
            let ended = whole.try_hear(reply);
            let mut rest = reply.as_slice();
            let mut ended_in_pieces = Ok(());
            for &size in sizes.iter().cycle() {
                if rest.is_empty() || ended_in_pieces.is_err() {
                    break;
                }
                let (piece, after) = rest.split_at(size.min(rest.len()));
                rest = after;
                ended_in_pieces = pieces.try_hear(piece);
            }
            prop_assert_eq!(&ended_in_pieces, &ended);
            prop_assert_eq!(&pieces.log, &whole.log);
            if ended.is_err() {
                break;
            }
        }
    }

    #[test]
    fn no_octets_panic_or_are_kept(
        octets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..60),
    ) {
        let mut play = Play::greeted(EHLO);
        play.begin(&["b@example.org"]);
        for piece in &octets {
            if play.try_hear(piece).is_err() {
                break;
            }
        }
    }
}

/// Replies of which each is complete.
fn script() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let reply = prop_oneof![
        6 => Just(b"250 ok\r\n".to_vec()),
        2 => Just(b"354 go\r\n".to_vec()),
        1 => Just(b"550-5.1.1 no\r\n550 5.1.1 really\r\n".to_vec()),
        1 => Just(b"421 bye\r\n".to_vec()),
        1 => Just(b"220 hello\n".to_vec()),
        1 => Just(b"what?\r\n".to_vec()),
    ];
    proptest::collection::vec(reply, 0..12)
}

/// A session, and what happened.
struct Play {
    /// The session.
    session: ClientSession,
    /// What happened.
    log: String,
}

impl Play {
    /// A session before the greeting.
    fn new() -> Self {
        Self {
            session: ClientSession::new("me.example".parse().unwrap()),
            log: String::new(),
        }
    }

    /// A session whose server has greeted, and what it offers.
    fn greeted(ehlo: &str) -> Self {
        let mut play = Self::new();
        play.hear("220 mx.example\r\n");
        play.hear(ehlo);
        play.log.clear();
        play
    }

    /// Begins a transaction.
    fn begin(&mut self, recipients: &[&str]) {
        let transaction = Transaction {
            reverse_path: "a@example.org".parse().unwrap(),
            recipients: recipients
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            body: BodyType::SevenBit,
            smtputf8: Smtputf8::NotUsed,
            tls_demand: TlsDemand::None,
            size: 100,
        };
        self.session.begin(transaction).unwrap();
        self.flush();
    }

    /// Hands over the rest of the message.
    fn message(&mut self, text: &str) {
        assert_eq!(self.session.body_room(), BodyRoom::Open);
        self.session.body(text.as_bytes());
        self.session.body_end();
        self.flush();
    }

    /// The server says something that is in order.
    #[track_caller]
    fn hear(&mut self, text: &str) {
        self.try_hear(text.as_bytes()).unwrap();
    }

    /// The server says something that ends the session.
    #[track_caller]
    fn fail(&mut self, text: &str, phase: ClientPhase, why: &ClientFault) {
        let error = self.try_hear(text.as_bytes()).unwrap_err();
        assert_eq!((error.phase, &error.why), (phase, why));
    }

    /// The server says something.
    fn try_hear(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        let mut rest = octets;
        while !rest.is_empty() {
            let greeting = self.session.phase() == ClientPhase::Hello;
            let (consumed, action) = self.session.advance(rest)?;
            rest = &rest[consumed..];
            match action {
                ClientAction::Read | ClientAction::Body => {}
                ClientAction::Ready if greeting => self.log.push_str("ready\n"),
                ClientAction::Ready => {}
                ClientAction::Handshake => self.log.push_str("handshake\n"),
                ClientAction::TlsRefused(reply) => {
                    self.log.push_str(&format!("tls refused {reply}\n"));
                }
                ClientAction::Done(outcome) => {
                    for (recipient, answer) in outcome.recipients {
                        let line = match answer {
                            Ok(reply) => format!("{recipient}: delivered {reply}\n"),
                            Err(reply) => format!("{recipient}: failed {reply}\n"),
                        };
                        self.log.push_str(&line);
                    }
                    self.log.push_str(&format!("done {}\n", outcome.reply));
                }
                ClientAction::Closed => self.log.push_str("closed\n"),
            }
        }
        self.flush();
        Ok(())
    }

    /// Notes the commands.
    fn flush(&mut self) {
        let output = std::mem::take(self.session.output());
        for line in String::from_utf8(output).unwrap().lines() {
            let line = format!("< {line}");
            self.log.push_str(line.trim_end());
            self.log.push('\n');
        }
    }
}
