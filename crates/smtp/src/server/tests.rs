//! A server session, played against a service that answers as it is told.

use proptest::prelude::*;

use super::*;
use crate::EnhancedStatus;

#[test]
fn a_message_goes_through_in_three_writes() {
    let mut play = Play::new();
    play.say("EHLO client.example\r\n");
    play.say("MAIL FROM:<a@example.org> SIZE=10\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    play.say("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    insta::assert_snapshot!(play.log(), @r#"
    > 220 mx.example ESMTP byrnie
    > 250-mx.example
    > 250-PIPELINING
    > 250-SIZE 1000
    > 250-8BITMIME
    > 250-SMTPUTF8
    > 250-CHUNKING
    > 250-ENHANCEDSTATUSCODES
    > 250 STARTTLS
    > 250 2.1.0 sender ok
    ask b@example.org
    > 250 2.1.5 recipient ok
    begin 1
    > 354 go ahead, end with a line that is a single dot
    commit Subject: x\r\n\r\n.dot\r\n
    > 250 2.0.0 queued
    > 221 2.0.0 mx.example closes the connection
    close
    "#);
}

#[test]
fn chunks_are_answered_one_by_one_and_the_last_commits() {
    let mut play = Play::with_hello();
    play.say("MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nBDAT 6\r\nhello\rBDAT 5 LAST\r\n\nho\r\n");
    play.say("NOOP\r\n");
    insta::assert_snapshot!(play.log(), @r#"
    > 250 2.1.0 sender ok
    ask b@example.org
    > 250 2.1.5 recipient ok
    begin 1
    > 250 2.0.0 6 octets received
    commit hello\r\nho\r\n
    > 250 2.0.0 queued
    > 250 2.0.0 ok
    "#);
}

#[test]
fn a_smuggled_end_is_refused_and_nothing_behind_it_is_obeyed() {
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r"] {
        let mut play = Play::with_envelope("DATA\r\n");
        play.say(&format!(
            "text{end}MAIL FROM:<evil@example.org>\r\nRCPT TO:<c@example.org>\r\n.\r\n"
        ));
        assert!(!play.log().contains("evil"), "{end:?}");
        assert!(!play.log().contains("commit"), "{end:?}");
        assert!(play.log().contains("abort\n"), "{end:?}");
        assert!(play.log().contains("> 554 5.6.0 line"), "{end:?}");
        assert!(play.log().ends_with("close\n"), "{end:?}");
    }
}

#[test]
fn a_bare_line_end_in_a_command_ends_the_session() {
    for line in ["NOOP\n", "NOOP\rRSET\r\n", "NO\nOP\r\n", "NOOP\r\r\n"] {
        check(
            line,
            "> 500 5.5.2 a bare CR or LF in a command: lines end with CR LF\nclose\n",
        );
    }
}

#[test]
fn commands_out_of_order_are_refused() {
    check("DATA\r\n", "> 503 5.5.1 MAIL first\n");
    check("RCPT TO:<a@example.org>\r\n", "> 503 5.5.1 MAIL first\n");
    check(
        "MAIL FROM:<>\r\nDATA\r\n",
        "> 250 2.1.0 sender ok\n> 503 5.5.1 RCPT first\n",
    );
    check(
        "MAIL FROM:<>\r\nMAIL FROM:<>\r\n",
        "> 250 2.1.0 sender ok\n> 503 5.5.1 a sender is given already: send RSET to start over\n",
    );
    check(
        "BDAT 4\r\nabcdNOOP\r\n",
        "> 503 5.5.1 MAIL first\n> 250 2.0.0 ok\n",
    );
    let mut play = Play::new();
    play.say("MAIL FROM:<>\r\n");
    assert!(play.log().contains("> 503 5.5.1 EHLO or HELO first"));
}

#[test]
fn where_all_recipients_were_refused_there_is_no_message() {
    check(
        "MAIL FROM:<>\r\nRCPT TO:<no@example.org>\r\nDATA\r\n",
        "> 250 2.1.0 sender ok\nask no@example.org\n> 550 5.1.1 no such user\n\
         > 554 5.5.1 no valid recipients\n",
    );
}

#[test]
fn each_limit_is_kept_with_its_own_reply() {
    let long = format!("NOOP {}\r\n", "x".repeat(300));
    check(
        &long,
        "> 500 5.5.2 command line is longer than 200 octets\n",
    );
    let endless = "x".repeat(10_000);
    check(
        &endless,
        "> 500 5.5.2 command line is longer than 200 octets\nclose\n",
    );
    let recipients = "RCPT TO:<b@example.org>\r\n".repeat(4);
    let mut play = Play::with_hello();
    play.say(&format!("MAIL FROM:<>\r\n{recipients}"));
    assert!(
        play.log()
            .ends_with("> 452 4.5.3 no more than 3 recipients for one message\n")
    );
    check(
        "MAIL FROM:<> SIZE=1001\r\n",
        "> 552 5.3.4 no message may have more than 1000 octets\n",
    );
    let mut play = Play::with_hello();
    play.say(&"XYZZY\r\n".repeat(10));
    assert!(
        play.log()
            .ends_with("> 421 4.7.0 mx.example too many errors in one session\nclose\n")
    );
    let mut play = Play::with_hello();
    play.say(&"NOOP\r\n".repeat(60));
    assert!(
        play.log()
            .ends_with("> 421 4.7.0 mx.example too many commands in one session\nclose\n")
    );
}

#[test]
fn a_message_beyond_the_limit_is_read_to_its_end_and_refused() {
    let mut play = Play::with_envelope("DATA\r\n");
    play.say(&format!("{}.\r\nNOOP\r\n", "0123456789\r\n".repeat(100)));
    let end = "abort\n> 552 5.3.4 no message may have more than 1000 octets\n> 250 2.0.0 ok\n";
    assert!(play.log().ends_with(end), "{}", play.log());
}

#[test]
fn a_message_without_end_ends_the_session() {
    let mut play = Play::with_envelope("DATA\r\n");
    for _ in 0..40 {
        play.say(&"0123456789\r\n".repeat(10));
    }
    let end = "> 552 5.3.4 no message may have more than 1000 octets\nclose\n";
    assert!(play.log().ends_with(end), "{}", play.log());
}

#[test]
fn a_line_of_a_message_beyond_the_limit_is_refused() {
    let mut play = Play::with_envelope("DATA\r\n");
    play.say(&format!("{}\r\n.\r\nNOOP\r\n", "x".repeat(99)));
    assert!(
        play.log()
            .contains("> 554 5.6.0 line 1 of the message is too long")
    );
    assert!(play.log().ends_with("> 250 2.0.0 ok\n"));
}

#[test]
fn a_failed_chunk_ends_the_transaction() {
    let mut play = Play::with_envelope("BDAT 3\r\na\nbBDAT 2 LAST\r\nxyNOOP\r\n");
    play.say("");
    let end = "abort\n> 554 5.6.0 line 1 of the message ends with a bare LF: lines end with CR LF within \
               their bound\n> 503 5.5.1 MAIL first\n> 250 2.0.0 ok\n";
    assert!(play.log().ends_with(end), "{}", play.log());
}

#[test]
fn rset_in_the_middle_of_chunks_has_the_message_forgotten() {
    let mut play = Play::with_envelope("BDAT 3\r\nabcRSET\r\nDATA\r\n");
    play.say("");
    let end = "> 250 2.0.0 3 octets received\n> 250 2.0.0 ok\nabort\n> 503 5.5.1 MAIL first\n";
    assert!(play.log().ends_with(end), "{}", play.log());
}

#[test]
fn a_service_that_refuses_is_quoted() {
    for (at, command) in [
        (Refuse::Begin, "DATA\r\n"),
        (Refuse::Write, "DATA\r\n"),
        (Refuse::Commit, "DATA\r\n"),
    ] {
        let mut play = Play::with_hello();
        play.refuse = at;
        play.say(&format!(
            "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n{command}"
        ));
        if at != Refuse::Begin {
            play.say("text\r\nmore\r\n.\r\n");
        }
        play.say("NOOP\r\n");
        let end = "> 452 4.3.1 disk full\n> 250 2.0.0 ok\n";
        assert!(play.log().ends_with(end), "{at:?} {}", play.log());
    }
}

#[test]
fn a_silent_client_is_told_what_was_waited_for() {
    let mut play = Play::with_hello();
    assert_eq!(play.session.wait(), ServerWait::Command(1));
    play.session.timed_out();
    play.say("NOOP\r\n");
    assert!(
        play.log()
            .ends_with("> 421 4.4.2 mx.example waited too long for a command\nclose\n")
    );
    let mut play = Play::with_envelope("DATA\r\n");
    assert_eq!(play.session.wait(), ServerWait::Message(4));
    play.session.timed_out();
    play.say("NOOP\r\n");
    assert!(
        play.log()
            .ends_with("> 421 4.4.2 mx.example waited too long for the message\nclose\n")
    );
}

#[test]
fn a_session_is_between_messages_only_when_nothing_is_lost() {
    assert!(Play::with_hello().session.is_between_messages());
    assert!(
        !Play::with_envelope("DATA\r\n")
            .session
            .is_between_messages()
    );
    assert!(
        !Play::with_envelope("BDAT 3\r\nabc")
            .session
            .is_between_messages()
    );
}

#[test]
fn octets_beyond_ascii_in_the_message_are_noticed() {
    let mut play = Play::with_envelope("DATA\r\n");
    play.say("plain\r\n");
    assert_eq!(play.session.content(), Octets::Ascii);
    play.say("gr\u{fc}n\r\n");
    assert_eq!(play.session.content(), Octets::EightBit);
}

proptest! {
    #[test]
    fn any_octets_in_any_pieces_have_the_same_outcome(
        script in script(),
        sizes in proptest::collection::vec(1_usize..40, 1..12),
    ) {
        let mut whole = Play::with_hello();
        whole.feed(&script);
        let mut pieces = Play::with_hello();
        let mut rest = script.as_slice();
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            pieces.feed(piece);
        }
        prop_assert_eq!(pieces.log(), whole.log());
    }
}

/// Octets that often look like a session; never STARTTLS, whose very point is that pieces matter.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"MAIL FROM:<a@example.org>\r\n".to_vec()),
        Just(b"RCPT TO:<b@example.org>\r\n".to_vec()),
        Just(b"RCPT TO:<no@example.org>\r\n".to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(b"BDAT 10\r\n".to_vec()),
        Just(b"BDAT 5 LAST\r\n".to_vec()),
        Just(b"RSET\r\n".to_vec()),
        Just(b"EHLO x.example\r\n".to_vec()),
        Just(b"\r\n.\r\n".to_vec()),
        Just(b".\r\n".to_vec()),
        Just(b"..text\r\n".to_vec()),
        Just(b"0123456789".to_vec()),
        Just(vec![b'x'; 250]),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// Which question the service answers with a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refuse {
    /// None, but for the recipient `no@example.org`.
    Nothing,
    /// The beginning of a message.
    Begin,
    /// Part of a message.
    Write,
    /// A complete message.
    Commit,
}

/// A session with its service, and what happened.
struct Play {
    /// The session.
    session: ServerSession,
    /// What the service refuses.
    refuse: Refuse,
    /// The message that the service holds.
    message: Vec<u8>,
    /// What happened since the client greeted.
    log: String,
    /// What was not taken yet.
    pending: Vec<u8>,
}

impl Play {
    /// A session with narrow limits.
    fn new() -> Self {
        let settings = ServerSettings {
            host: "mx.example".parse().unwrap(),
            start_tls: StartTls::Offered,
            limits: ServerLimits {
                command_line_octets: 200,
                commands: 50,
                errors: 10,
                recipients: 3,
                message_octets: 1_000,
                text_line_octets: 100,
            },
        };
        Self {
            session: ServerSession::new(Arc::new(settings)),
            refuse: Refuse::Nothing,
            message: Vec::new(),
            log: String::new(),
            pending: Vec::new(),
        }
    }

    /// A session whose client has greeted.
    fn with_hello() -> Self {
        let mut play = Self::new();
        play.say("EHLO client.example\r\n");
        play.log.clear();
        play
    }

    /// A session with a sender, a recipient and what follows.
    fn with_envelope(then: &str) -> Self {
        let mut play = Self::with_hello();
        play.say(&format!(
            "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n{then}"
        ));
        play
    }

    /// What happened, one thing a line.
    fn log(&self) -> &str {
        &self.log
    }

    /// The client sends a text.
    fn say(&mut self, text: &str) {
        self.feed(text.as_bytes());
    }

    /// The client sends octets.
    fn feed(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
        loop {
            let pending = std::mem::take(&mut self.pending);
            let (consumed, action) = self.session.advance(&pending);
            self.pending = pending[consumed..].to_vec();
            assert!(self.session.line.len() <= 200);
            self.flush();
            match self.act(action) {
                Next::Go => {}
                Next::Stop => break,
            }
        }
    }

    /// Does what an action says.
    fn act(&mut self, action: ServerAction) -> Next {
        let refused = |at| {
            if self.refuse == at {
                Err(disk_full())
            } else {
                Ok(())
            }
        };
        match action {
            ServerAction::Read => return Next::Stop,
            ServerAction::AskRecipient { recipient, .. } => {
                self.log.push_str(&format!("ask {recipient}\n"));
                let unknown = recipient.local_part.as_str() == "no";
                let status = EnhancedStatus::new(5, 1, 1);
                let refusal = unknown.then(|| Reply::new(550, status, "no such user"));
                self.session.recipient_answered(refusal.map_or(Ok(()), Err));
            }
            ServerAction::Begin(envelope) => {
                self.log
                    .push_str(&format!("begin {}\n", envelope.recipients.len()));
                self.message.clear();
                let answer = refused(Refuse::Begin);
                self.session.begun(answer);
            }
            ServerAction::Write => {
                let answer = refused(Refuse::Write);
                self.message.extend_from_slice(self.session.chunk());
                self.session.written(answer);
            }
            ServerAction::Commit => {
                self.log
                    .push_str(&format!("commit {}\n", self.message.escape_ascii()));
                let reply = Reply::new(250, EnhancedStatus::new(2, 0, 0), "queued");
                let answer = refused(Refuse::Commit).map(|()| reply);
                self.session.committed(answer);
            }
            ServerAction::Abort => self.log.push_str("abort\n"),
            ServerAction::StartTls => {
                self.log.push_str("start tls\n");
                self.session.tls_started();
                self.pending.clear();
            }
            ServerAction::Close => {
                if !self.log.ends_with("close\n") {
                    self.log.push_str("close\n");
                }
                return Next::Stop;
            }
        }
        Next::Go
    }

    /// Notes the replies.
    fn flush(&mut self) {
        let output = std::mem::take(self.session.output());
        for line in String::from_utf8(output).unwrap().lines() {
            self.log.push_str(&format!("> {line}\n"));
        }
    }
}

/// Whether a session can go on without further octets.
enum Next {
    /// It can.
    Go,
    /// It cannot.
    Stop,
}

/// A refusal.
fn disk_full() -> Reply {
    Reply::new(452, EnhancedStatus::new(4, 3, 1), "disk full")
}

/// What happens after the client's greeting.
#[track_caller]
fn check(script: &str, expected: &str) {
    let mut play = Play::with_hello();
    play.say(script);
    assert_eq!(play.log(), expected, "{script:?}");
}
