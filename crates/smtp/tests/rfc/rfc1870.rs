//! The size of messages.

use byrnie_smtp::ServerLimits;

use super::support::Server;

#[test]
fn section_6_1_a_message_that_is_declared_too_big_is_refused_at_mail() {
    let mut server = limited();
    assert!(
        server
            .hear(b"EHLO c.example\r\n")
            .contains("250-SIZE 100\r\n")
    );
    assert_eq!(server.codes("MAIL FROM:<> SIZE=101\r\n"), ["552 5.3.4"]);
    assert_eq!(server.codes("MAIL FROM:<> SIZE=100\r\n"), ["250 2.1.0"]);
}

#[test]
fn section_6_3_a_message_that_grows_too_big_is_refused_at_its_end() {
    let mut server = limited();
    server.hear(b"EHLO c.example\r\nMAIL FROM:<> SIZE=10\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    assert_eq!(server.hear(&b"0123456789\r\n".repeat(10)), "");
    assert_eq!(server.codes(".\r\nNOOP\r\n"), ["552 5.3.4", "250 2.0.0"]);
    assert!(server.accepted.is_empty());
}

/// A server that takes 100 octets.
fn limited() -> Server {
    Server::with_limits(ServerLimits {
        message_octets: 100,
        ..ServerLimits::default()
    })
}
