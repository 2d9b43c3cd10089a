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

#[test]
fn section_3_1_a_further_message_may_follow_the_end_of_the_last() {
    let mut server = Server::greeted();
    server.codes("MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    let said = server.codes(
        "first\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<no@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n",
    );
    assert_eq!(
        said,
        ["250 2.0.0", "250 2.1.0", "550 5.1.1", "250 2.1.5", "354 go"]
    );
    assert_eq!(
        server.codes("second\r\n.\r\nQUIT\r\n"),
        ["250 2.0.0", "221 2.0.0"]
    );
    assert_eq!(server.accepted.len(), 2);
}

#[test]
fn section_3_1_data_after_nothing_but_refused_recipients_begins_no_message() {
    let mut server = Server::greeted();
    let said = server.codes("MAIL FROM:<>\r\nRCPT TO:<no@example.org>\r\nDATA\r\nRSET\r\n");
    assert_eq!(said, ["250 2.1.0", "550 5.1.1", "554 5.5.1", "250 2.0.0"]);
}
