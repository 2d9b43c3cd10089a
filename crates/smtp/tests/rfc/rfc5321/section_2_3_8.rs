//! Lines end with CR LF and with nothing else.

use crate::rfc::support::Server;

//= https://www.rfc-editor.org/rfc/rfc5321#section-2.3.8
//= type=test
//# Conforming implementations MUST NOT recognize or generate any other
//# character or character sequence as a line terminator.
#[test]
fn a_command_with_another_line_end_is_not_obeyed() {
    for line in [
        "MAIL FROM:<>\n",
        "MAIL FROM:<>\rX\r\n",
        "MAIL FROM:<>\n\r\n",
    ] {
        let mut server = Server::greeted();
        assert_eq!(server.codes(line), ["500 5.5.2"], "{line:?}");
        assert!(server.closed);
    }
}

#[test]
fn a_message_with_another_line_end_is_not_accepted() {
    for message in [
        "a\nb\r\n.\r\n",
        "a\rb\r\n.\r\n",
        "a\r\n.\n",
        "a\n.\n",
        "a\n.\r\n",
        "a\r.\r\n",
    ] {
        let mut server = Server::greeted();
        server.hear(b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
        assert_eq!(server.codes(message), ["554 5.6.0"], "{message:?}");
        assert!(server.accepted.is_empty() && server.closed);
    }
}
