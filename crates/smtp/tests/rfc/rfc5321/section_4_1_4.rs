//! The order of commands.

use crate::rfc::support::Server;

#[test]
fn commands_out_of_order_get_503_and_change_nothing() {
    let mut server = Server::new();
    assert_eq!(
        server.codes("MAIL FROM:<>\r\n"),
        ["220 mx.example", "503 5.5.1"]
    );
    assert_eq!(
        server.codes("RCPT TO:<b@example.org>\r\nDATA\r\n"),
        ["503 5.5.1", "503 5.5.1"]
    );
    server.hear(b"HELO c.example\r\n");
    let said = server.codes("MAIL FROM:<>\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n");
    assert_eq!(said, ["250 2.1.0", "503 5.5.1", "250 2.1.5"]);
}

#[test]
fn ehlo_does_what_rset_does() {
    let mut server = Server::greeted();
    server.hear(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nEHLO c.example\r\n");
    assert_eq!(server.codes("DATA\r\n"), ["503 5.5.1"]);
}

#[test]
fn noop_help_rset_and_quit_need_no_greeting() {
    let mut server = Server::new();
    server.hear(b"");
    let said = server.codes("NOOP\r\nHELP\r\nRSET\r\nVRFY x\r\nQUIT\r\n");
    assert_eq!(
        said,
        [
            "250 2.0.0",
            "214 2.0.0",
            "250 2.0.0",
            "252 2.5.0",
            "221 2.0.0"
        ]
    );
    assert!(server.closed);
}
