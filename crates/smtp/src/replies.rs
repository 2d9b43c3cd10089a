//! The replies that the server gives by itself.
//!
//! Each limit has a reply of its own, so that a log line of the client names the limit.

use byrnie_base::DomainName;

use crate::BodyFault;
use crate::EnhancedStatus;
use crate::Reply;

/// 220: the server is ready for its client.
#[must_use]
pub fn greeting(host: &DomainName) -> Reply {
    Reply::plain(220, format!("{host} ESMTP byrnie"))
}

/// 250 to `HELO`.
#[must_use]
pub fn helo(host: &DomainName) -> Reply {
    Reply::plain(250, host.to_string())
}

/// 250 to `EHLO`, with one line for each extension.
#[must_use]
pub fn ehlo(host: &DomainName, extensions: Vec<String>) -> Reply {
    let mut lines = vec![host.to_string()];
    lines.extend(extensions);
    Reply {
        code: 250,
        enhanced: None,
        lines,
    }
}

/// 250 to `MAIL`.
#[must_use]
pub fn sender_ok() -> Reply {
    Reply::new(250, EnhancedStatus::new(2, 1, 0), "sender ok")
}

/// 250 to `RCPT`.
#[must_use]
pub fn recipient_ok() -> Reply {
    Reply::new(250, EnhancedStatus::new(2, 1, 5), "recipient ok")
}

/// 354 to `DATA`.
#[must_use]
pub fn go_ahead() -> Reply {
    Reply::plain(354, "go ahead, end with a line that is a single dot")
}

/// 250 to a `BDAT` that is not the last.
#[must_use]
pub fn chunk_ok(octets: u64) -> Reply {
    let text = format!("{octets} octets received");
    Reply::new(250, EnhancedStatus::new(2, 0, 0), text)
}

/// 250 to `NOOP` and `RSET`.
#[must_use]
pub fn ok() -> Reply {
    Reply::new(250, EnhancedStatus::new(2, 0, 0), "ok")
}

/// 221 to `QUIT`.
#[must_use]
pub fn bye(host: &DomainName) -> Reply {
    let text = format!("{host} closes the connection");
    Reply::new(221, EnhancedStatus::new(2, 0, 0), text)
}

/// 214 to `HELP`.
#[must_use]
pub fn help() -> Reply {
    let text = "see RFC 5321; for people: ask the postmaster";
    Reply::new(214, EnhancedStatus::new(2, 0, 0), text)
}

/// 252 to `VRFY`.
#[must_use]
pub fn cannot_verify() -> Reply {
    let text = "addresses are not verified; send mail and see";
    Reply::new(252, EnhancedStatus::new(2, 5, 0), text)
}

/// 502 to `EXPN`.
#[must_use]
pub fn not_implemented() -> Reply {
    Reply::new(502, EnhancedStatus::new(5, 5, 1), "lists are not expanded")
}

/// 220 to `STARTTLS`.
#[must_use]
pub fn start_tls() -> Reply {
    Reply::new(220, EnhancedStatus::new(2, 0, 0), "ready for TLS")
}

/// 502 to `STARTTLS` where there is no certificate.
#[must_use]
pub fn tls_not_offered() -> Reply {
    Reply::new(502, EnhancedStatus::new(5, 5, 1), "TLS is not offered")
}

/// 503 to `STARTTLS` under TLS.
#[must_use]
pub fn tls_already() -> Reply {
    Reply::new(503, EnhancedStatus::new(5, 5, 1), "TLS is in use already")
}

/// 503 to `STARTTLS` with anything behind it in clear text: RFC 3207, Section 4.2.
#[must_use]
pub fn tls_injection() -> Reply {
    let text = "nothing may follow STARTTLS before the handshake";
    Reply::new(503, EnhancedStatus::new(5, 5, 1), text)
}

/// 530 to `MAIL` with `REQUIRETLS` on a clear session: RFC 8689, Section 4.1.
#[must_use]
pub fn require_tls_needs_tls() -> Reply {
    let text = "REQUIRETLS needs a session under TLS: send STARTTLS first";
    Reply::new(530, EnhancedStatus::new(5, 7, 10), text)
}

/// 503 to a command that came before another that it needs.
#[must_use]
pub fn bad_sequence(needed: &str) -> Reply {
    Reply::new(503, EnhancedStatus::new(5, 5, 1), format!("{needed} first"))
}

/// 503 to a second `MAIL`.
#[must_use]
pub fn nested_mail() -> Reply {
    let text = "a sender is given already: send RSET to start over";
    Reply::new(503, EnhancedStatus::new(5, 5, 1), text)
}

/// 503 to any command of the transaction but `BDAT` while chunks are under way: RFC 3030, Section 2.
#[must_use]
pub fn chunks_under_way() -> Reply {
    let text = "chunks are under way: send BDAT or RSET";
    Reply::new(503, EnhancedStatus::new(5, 5, 1), text)
}

/// 554 to `DATA` and `BDAT` where all recipients were refused.
#[must_use]
pub fn no_valid_recipients() -> Reply {
    Reply::new(554, EnhancedStatus::new(5, 5, 1), "no valid recipients")
}

/// 553 to `RCPT` with UTF-8 where `MAIL` was sent without `SMTPUTF8`: RFC 6531, Section 3.5.
#[must_use]
pub fn needs_smtputf8() -> Reply {
    let text = "an address in UTF-8 needs the parameter SMTPUTF8 in MAIL FROM";
    Reply::new(553, EnhancedStatus::new(5, 6, 7), text)
}

/// The limit of the length of a command line.
#[must_use]
pub fn command_too_long(octets_max: usize) -> Reply {
    let text = format!("command line is longer than {octets_max} octets");
    Reply::new(500, EnhancedStatus::new(5, 5, 2), text)
}

/// A CR or an LF that stands alone in a command; the session ends.
#[must_use]
pub fn bare_line_end() -> Reply {
    let text = "a bare CR or LF in a command: lines end with CR LF";
    Reply::new(500, EnhancedStatus::new(5, 5, 2), text)
}

/// The limit of recipients of one message: RFC 5321, Section 4.5.3.1.10.
#[must_use]
pub fn too_many_recipients(recipients_max: usize) -> Reply {
    let text = format!("no more than {recipients_max} recipients for one message");
    Reply::new(452, EnhancedStatus::new(4, 5, 3), text)
}

/// The limit of the size of a message: RFC 1870, Section 6.
#[must_use]
pub fn message_too_big(octets_max: u64) -> Reply {
    let text = format!("no message may have more than {octets_max} octets");
    Reply::new(552, EnhancedStatus::new(5, 3, 4), text)
}

/// What is wrong with the octets of a message.
#[must_use]
pub fn bad_body(fault: BodyFault) -> Reply {
    let text = format!("{fault}: lines end with CR LF within their bound");
    Reply::new(554, EnhancedStatus::new(5, 6, 0), text)
}

/// The limit of commands in one session; the session ends.
#[must_use]
pub fn too_many_commands(host: &DomainName) -> Reply {
    let text = format!("{host} too many commands in one session");
    Reply::new(421, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of errors in one session; the session ends.
#[must_use]
pub fn too_many_errors(host: &DomainName) -> Reply {
    let text = format!("{host} too many errors in one session");
    Reply::new(421, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of the time for a command; the session ends.
#[must_use]
pub fn command_too_slow(host: &DomainName) -> Reply {
    let text = format!("{host} waited too long for a command");
    Reply::new(421, EnhancedStatus::new(4, 4, 2), text)
}

/// The limit of the time for a message; the session ends.
#[must_use]
pub fn message_too_slow(host: &DomainName) -> Reply {
    let text = format!("{host} waited too long for the message");
    Reply::new(421, EnhancedStatus::new(4, 4, 2), text)
}

/// The limit of connections of all clients; the session does not begin.
#[must_use]
pub fn too_many_connections(host: &DomainName) -> Reply {
    let text = format!("{host} too many connections, try again later");
    Reply::new(421, EnhancedStatus::new(4, 3, 2), text)
}

/// The limit of connections of one client; the session does not begin.
#[must_use]
pub fn too_many_connections_from_you(host: &DomainName) -> Reply {
    let text = format!("{host} too many connections from your address");
    Reply::new(421, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of connections of one network; the session does not begin.
#[must_use]
pub fn too_many_connections_from_your_network(host: &DomainName) -> Reply {
    let text = format!("{host} too many connections from your network");
    Reply::new(421, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of connections of one client in a time; the session does not begin.
#[must_use]
pub fn too_many_connections_of_late(host: &DomainName) -> Reply {
    let text = format!("{host} your address connects too often, wait a little");
    Reply::new(421, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of messages of one client in a time; the session goes on.
#[must_use]
pub fn too_many_messages_of_late(host: &DomainName) -> Reply {
    let text = format!("{host} your address sends messages too fast, wait a little");
    Reply::new(450, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of errors of one client in a time; the session ends, or does not begin.
#[must_use]
pub fn too_many_errors_of_late(host: &DomainName) -> Reply {
    let text = format!("{host} too many errors from your address, wait a little");
    Reply::new(421, EnhancedStatus::new(4, 7, 0), text)
}

/// The limit of memory for messages that come in; the session goes on.
#[must_use]
pub fn no_room() -> Reply {
    let text = "too many messages come in at the moment, try again later";
    Reply::new(452, EnhancedStatus::new(4, 3, 1), text)
}

/// The service holds nothing of a message that should be complete.
#[must_use]
pub fn message_lost() -> Reply {
    Reply::new(
        451,
        EnhancedStatus::new(4, 3, 0),
        "the message was lost, send it again",
    )
}

/// The server is told to stop; the session ends.
#[must_use]
pub fn shutting_down(host: &DomainName) -> Reply {
    let text = format!("{host} is shutting down, try again later");
    Reply::new(421, EnhancedStatus::new(4, 3, 2), text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_limit_has_a_reply_of_its_own() {
        let host: DomainName = "mx.example".parse().unwrap();
        let replies = [
            command_too_long(2_048),
            bare_line_end(),
            too_many_recipients(100),
            message_too_big(1_000),
            bad_body(BodyFault::LineTooLong { line: 3 }),
            bad_body(BodyFault::BareLf { line: 3 }),
            too_many_commands(&host),
            too_many_errors(&host),
            command_too_slow(&host),
            message_too_slow(&host),
            too_many_connections(&host),
            too_many_connections_from_you(&host),
            too_many_connections_from_your_network(&host),
            too_many_connections_of_late(&host),
            too_many_messages_of_late(&host),
            too_many_errors_of_late(&host),
            no_room(),
            shutting_down(&host),
        ];
        let texts: HashSet<String> = replies.iter().map(Reply::to_string).collect();
        assert_eq!(texts.len(), replies.len());
        for reply in &replies {
            let status = reply.status();
            assert_eq!(u16::from(status.class), reply.code / 100, "{reply}");
        }
    }
}
