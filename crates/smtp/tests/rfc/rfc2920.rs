//! Pipelining.

use super::support::Server;

#[test]
fn section_3_2_replies_to_a_group_come_in_order_and_together() {
    let mut server = Server::greeted();
    let said = server.codes(
        "RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<no@example.org>\r\n\
         RCPT TO:<c@example.org>\r\nDATA\r\n",
    );
    let expected = [
        "250 2.0.0",
        "250 2.1.0",
        "250 2.1.5",
        "550 5.1.1",
        "250 2.1.5",
        "354 go",
    ];
    assert_eq!(said, expected);
}
