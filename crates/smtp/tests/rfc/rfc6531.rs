//! Addresses in UTF-8.

use byrnie_smtp::Smtputf8;

use super::support::Server;

#[test]
fn section_3_5_an_address_in_utf8_needs_the_parameter() {
    let mut server = Server::greeted();
    assert_eq!(server.codes("MAIL FROM:<ä@example.org>\r\n"), ["553 5.6.7"]);
    assert_eq!(server.codes("MAIL FROM:<a@example.org>\r\n"), ["250 2.1.0"]);
    assert_eq!(server.codes("RCPT TO:<ö@example.org>\r\n"), ["553 5.6.7"]);
    assert_eq!(
        server.codes("RCPT TO:<b@bücher.example>\r\n"),
        ["553 5.6.7"]
    );
}

#[test]
fn section_3_4_with_the_parameter_it_is_kept_in_the_envelope() {
    let mut server = Server::greeted();
    server.hear("MAIL FROM:<ä@example.org> SMTPUTF8\r\nRCPT TO:<b@bücher.example>\r\n".as_bytes());
    server.hear(b"DATA\r\n.\r\n");
    let envelope = &server.accepted[0].0;
    assert_eq!(envelope.smtputf8, Smtputf8::Used);
    assert_eq!(envelope.reverse_path.to_string(), "ä@example.org");
    assert_eq!(
        envelope.recipients[0].to_string(),
        "b@xn--bcher-kva.example"
    );
}
