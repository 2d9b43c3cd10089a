//! Transparency.

use crate::rfc::support::Server;

#[test]
fn a_leading_dot_is_taken_off() {
    check("..\r\n..a\r\n.b\r\n", ".\r\n.a\r\nb\r\n");
    check("", "");
    check("\r\n", "\r\n");
    check("a..\r\n", "a..\r\n");
}

#[track_caller]
fn check(sent: &str, message: &str) {
    let mut server = Server::greeted();
    server.hear(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    server.hear(format!("{sent}.\r\n").as_bytes());
    assert_eq!(server.accepted[0].1, message.as_bytes());
}
