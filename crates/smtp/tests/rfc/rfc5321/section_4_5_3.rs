//! Sizes: what every server takes, and how it refuses what is beyond its own bounds.

use byrnie_smtp::ServerLimits;

use crate::rfc::support::Server;

#[test]
fn what_every_server_must_take_is_taken() {
    let local_part = "l".repeat(64);
    let domain = [63, 63, 63, 61].map(|octets| "d".repeat(octets)).join(".");
    let mut server = Server::greeted();
    let said = server.codes(&format!("MAIL FROM:<{local_part}@example.org>\r\n"));
    assert_eq!(said, ["250 2.1.0"]);
    for recipient in 0..100 {
        let said = server.codes(&format!("RCPT TO:<r{recipient}@example.org>\r\n"));
        assert_eq!(said, ["250 2.1.5"], "recipient {recipient}");
    }
    assert_eq!(server.codes(&format!("VRFY {domain}\r\n")), ["252 2.5.0"]);
    assert_eq!(server.codes("DATA\r\n"), ["354 go"]);
    let text_line = "t".repeat(998);
    let size = 64 * 1_024 / 1_000 + 1;
    let message = format!("{text_line}\r\n").repeat(size);
    assert_eq!(server.codes(&format!("{message}.\r\n")), ["250 2.0.0"]);
    assert_eq!(server.accepted[0].1, message.as_bytes());
}

#[test]
fn section_4_5_3_1_4_a_command_line_beyond_the_bound_is_refused_as_one() {
    for pieces in [1, 7, 4_096] {
        let mut server = Server::greeted();
        let line = format!("NOOP {}\r\n", "x".repeat(2_100));
        let mut said = String::new();
        for piece in line.as_bytes().chunks(pieces) {
            said.push_str(&server.hear(piece));
        }
        assert!(said.starts_with("500 5.5.2"), "{said}");
        assert_eq!(said.lines().count(), 1);
        assert_eq!(server.codes("NOOP\r\n"), ["250 2.0.0"]);
    }
}

#[test]
fn section_4_5_3_1_10_too_many_recipients_are_refused_and_the_others_get_the_message() {
    let mut server = Server::with_limits(ServerLimits {
        recipients: 100,
        ..ServerLimits::default()
    });
    server.hear(b"EHLO client.example\r\nMAIL FROM:<>\r\n");
    for recipient in 0..100 {
        server.hear(format!("RCPT TO:<r{recipient}@example.org>\r\n").as_bytes());
    }
    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.10
    //# If an SMTP server has an implementation limit on the number of RCPT
    //# commands and this limit is exhausted, it MUST use a response code of
    //# 452
    let said = server.codes("RCPT TO:<more@example.org>\r\nDATA\r\nx\r\n.\r\n");
    assert!(said[0].starts_with("452"), "{said:?}");
    assert_eq!(server.accepted[0].0.recipients.len(), 100);
}
