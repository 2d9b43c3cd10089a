//! REQUIRETLS.

use byrnie_smtp::TlsDemand;

use super::support::Server;

#[test]
fn section_2_it_is_offered_under_tls_only() {
    assert!(
        !Server::greeted()
            .hear(b"EHLO c.example\r\n")
            .contains("REQUIRETLS")
    );
    assert!(
        Server::under_tls()
            .hear(b"EHLO c.example\r\n")
            .contains("250 REQUIRETLS\r\n")
    );
}

#[test]
fn section_2_it_is_accepted_under_tls_only() {
    assert_eq!(
        Server::greeted().codes("MAIL FROM:<> REQUIRETLS\r\n"),
        ["530 5.7.10"]
    );
    let mut server = Server::under_tls();
    server
        .hear(b"MAIL FROM:<a@example.org> REQUIRETLS\r\nRCPT TO:<b@example.org>\r\nDATA\r\n.\r\n");
    assert_eq!(server.accepted[0].0.tls_demand, TlsDemand::RequireTls);
}

#[test]
fn section_2_it_has_no_value() {
    let said = Server::under_tls().codes("MAIL FROM:<> REQUIRETLS=yes\r\n");
    assert_eq!(said, ["501 5.5.4"]);
}
