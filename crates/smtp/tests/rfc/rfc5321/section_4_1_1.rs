//! The commands.

use crate::rfc::support::Server;

#[test]
fn postmaster_needs_no_domain() {
    for recipient in ["Postmaster", "POSTMASTER", "postmaster"] {
        let mut server = Server::greeted();
        let said = server.codes(&format!("MAIL FROM:<>\r\nRCPT TO:<{recipient}>\r\n"));
        assert_eq!(said, ["250 2.1.0", "250 2.1.5"]);
        server.hear(b"DATA\r\n.\r\n");
        assert_eq!(
            server.accepted[0].0.recipients[0].to_string(),
            "postmaster@mx.example"
        );
    }
}

#[test]
fn a_source_route_is_accepted_and_ignored() {
    let mut server = Server::greeted();
    server.hear(b"MAIL FROM:<@r.example:a@example.org>\r\nRCPT TO:<@r.example,@s.example:b@example.org>\r\n");
    server.hear(b"DATA\r\n.\r\n");
    let envelope = &server.accepted[0].0;
    assert_eq!(envelope.reverse_path.to_string(), "a@example.org");
    assert_eq!(envelope.recipients[0].to_string(), "b@example.org");
}

#[test]
fn noop_and_help_change_nothing() {
    let mut server = Server::greeted();
    let said =
        server.codes("MAIL FROM:<>\r\nNOOP\r\nHELP\r\nVRFY x\r\nRCPT TO:<b@example.org>\r\n");
    assert_eq!(said.last().map(String::as_str), Some("250 2.1.5"));
}
