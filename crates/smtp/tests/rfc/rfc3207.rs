//! STARTTLS.

use super::support::Server;

#[test]
fn section_4_starttls_takes_no_parameter() {
    let mut server = Server::greeted();
    assert_eq!(server.codes("STARTTLS now\r\n"), ["501 5.5.4"]);
    assert!(!server.handshake);
}

#[test]
fn section_4_2_what_was_said_before_the_handshake_is_forgotten() {
    let mut server = Server::greeted();
    server.hear(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nSTARTTLS\r\n");
    assert!(server.handshake);
    server.session.tls_started();
    assert_eq!(server.session.hello(), None);
    assert_eq!(server.codes("DATA\r\n"), ["503 5.5.1"]);
    assert_eq!(server.codes("MAIL FROM:<>\r\n"), ["503 5.5.1"]);
}

#[test]
fn section_4_2_starttls_is_not_offered_under_tls() {
    let mut server = Server::under_tls();
    assert!(!server.hear(b"EHLO c.example\r\n").contains("STARTTLS"));
    assert_eq!(server.codes("STARTTLS\r\n"), ["503 5.5.1"]);
}

#[test]
fn commands_behind_starttls_end_the_session_without_a_handshake() {
    for behind in ["MAIL FROM:<>\r\n", "x", "\n"] {
        let mut server = Server::greeted();
        assert_eq!(
            server.codes(&format!("STARTTLS\r\n{behind}")),
            ["503 5.5.1"]
        );
        assert!(server.closed && !server.handshake);
    }
}
