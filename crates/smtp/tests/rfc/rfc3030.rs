//! Chunks.

use super::support::Server;

#[test]
fn section_2_chunks_make_up_the_message_octet_by_octet() {
    let mut server = envelope();
    let said = server.codes("BDAT 10\r\n.\r\n..\r\nabcBDAT 2\r\n\r\nBDAT 0 LAST\r\n");
    assert_eq!(said, ["250 2.0.0", "250 2.0.0", "250 2.0.0"]);
    assert_eq!(server.accepted[0].1, b".\r\n..\r\nabc\r\n");
}

#[test]
fn section_2_a_whole_transaction_may_come_at_once() {
    let mut server = Server::greeted();
    let said = server.codes(
        "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nBDAT 6\r\nQUIT\r\nBDAT 4 LAST\r\nab\r\nQUIT\r\n",
    );
    assert_eq!(
        said,
        [
            "250 2.1.0",
            "250 2.1.5",
            "250 2.0.0",
            "250 2.0.0",
            "221 2.0.0"
        ]
    );
    assert_eq!(server.accepted[0].1, b"QUIT\r\nab\r\n");
}

#[test]
fn section_2_the_octets_of_a_refused_chunk_are_no_commands() {
    let mut server = Server::greeted();
    let said = server.codes("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    assert_eq!(said, ["503 5.5.1", "250 2.0.0"]);
    assert!(!server.closed);
}

#[test]
fn section_2_data_cannot_follow_a_chunk() {
    let mut server = envelope();
    assert_eq!(server.codes("BDAT 3\r\nabc"), ["250 2.0.0"]);
    assert_eq!(server.codes("DATA\r\n"), ["503 5.5.1"]);
    assert_eq!(server.codes("MAIL FROM:<>\r\n"), ["503 5.5.1"]);
    assert_eq!(server.codes("RCPT TO:<c@example.org>\r\n"), ["503 5.5.1"]);
    assert_eq!(server.codes("BDAT 2 LAST\r\n\r\n"), ["250 2.0.0"]);
    assert_eq!(server.accepted[0].1, b"abc\r\n");
}

#[test]
fn a_bare_line_end_may_not_hide_between_chunks() {
    let mut server = envelope();
    let said = server.codes("BDAT 2\r\na\rBDAT 0 LAST\r\n");
    assert_eq!(said, ["250 2.0.0", "554 5.6.0"]);
    let mut server = envelope();
    let said = server.codes("BDAT 2\r\na\rBDAT 1 LAST\r\nb");
    assert_eq!(said, ["250 2.0.0", "554 5.6.0"]);
    assert!(server.accepted.is_empty());
}

/// A server that has a sender and a recipient.
fn envelope() -> Server {
    let mut server = Server::greeted();
    server.hear(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n");
    server
}
