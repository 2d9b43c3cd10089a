//! Enhanced status codes.

use super::support::Server;

#[test]
fn section_4_all_replies_of_classes_2_4_and_5_carry_a_status_of_their_class() {
    let mut server = Server::greeted();
    let script = "NOOP\r\nXYZZY\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nRCPT TO:<no@example.org>\r\nDATA\r\n\
                  RCPT TO:<b@example.org>\r\nRSET\r\nVRFY x\r\nEXPN x\r\nHELP\r\nMAIL FROM:<a b>\r\nQUIT\r\n";
    let codes = server.codes(script);
    assert_eq!(codes.len(), 13);
    for code in codes {
        let (code, status) = code.split_once(' ').unwrap();
        assert_eq!(status.split('.').count(), 3, "{code} {status}");
        assert_eq!(
            code.chars().next(),
            status.chars().next(),
            "{code} {status}"
        );
    }
}

#[test]
fn section_4_greetings_and_replies_to_ehlo_carry_none() {
    let said = Server::new().hear(b"EHLO c.example\r\n");
    assert!(said.starts_with("220 mx.example "), "{said}");
    assert!(
        said.contains("\r\n250-mx.example\r\n250-PIPELINING\r\n"),
        "{said}"
    );
}
