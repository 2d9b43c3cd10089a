//! The `Received` header field that a server adds, and what it tells about loops: RFC 5321,
//! Sections 4.4 and 6.3.

use std::net::IpAddr;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;

use crate::EnhancedStatus;
use crate::HeaderLines;
use crate::Reply;
use crate::Smtputf8;
use crate::date::Rfc5322Date;
use crate::reply::visible;

/// What a `Received` header field says.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// What the client called itself.
    pub client_name: &'a MailDomain,
    /// Where it connected from.
    pub client_address: IpAddr,
    /// The name of this server.
    pub server: &'a DomainName,
    /// How the message came.
    pub protocol: Protocol,
    /// Version and cipher suite, such as `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
    pub tls: Option<&'a str>,
    /// The name under which this server knows the message; letters, digits, `-`, `_` and `.`.
    pub queue_id: &'a str,
    /// The recipient, where there is just one, so that no recipient learns of another.
    pub only_recipient: Option<&'a Mailbox>,
    /// When it came.
    pub time: UnixTime,
}

impl Received<'_> {
    /// The header field, folded, with its line end.
    #[must_use]
    pub fn render(&self) -> String {
        let address = match self.client_address {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let tls = self
            .tls
            .map(|facts| format!("\r\n\t(using {})", comment_text(facts)))
            .unwrap_or_default();
        let recipient = self
            .only_recipient
            .map(|mailbox| format!("\r\n\tfor <{mailbox}>"))
            .unwrap_or_default();
        format!(
            "Received: from {} ({address})\r\n\tby {} with {}{tls}\r\n\tid {}{recipient};\r\n\t{}\r\n",
            self.client_name,
            self.server,
            self.protocol.keyword(),
            comment_text(self.queue_id),
            Rfc5322Date(self.time),
        )
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Protocol {
    /// How the client greeted.
    pub hello: HelloKind,
    /// Whether the session was under TLS.
    pub channel: Channel,
    /// Whether the message came with `SMTPUTF8`.
    pub smtputf8: Smtputf8,
}

impl Protocol {
    /// The keyword of RFC 3848, and of RFC 6531, Section 4.3.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match (self.hello, self.channel, self.smtputf8) {
            (HelloKind::Helo, Channel::Clear, _) => "SMTP",
            (HelloKind::Ehlo, Channel::Clear, Smtputf8::NotUsed) => "ESMTP",
            (_, Channel::Tls, Smtputf8::NotUsed) | (HelloKind::Helo, Channel::Tls, _) => "ESMTPS",
            (HelloKind::Ehlo, Channel::Clear, Smtputf8::Used) => "UTF8SMTP",
            (HelloKind::Ehlo, Channel::Tls, Smtputf8::Used) => "UTF8SMTPS",
        }
    }
}

/// How a client greeted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HelloKind {
    /// `HELO`: no extensions.
    Helo,
    /// `EHLO`.
    Ehlo,
}

/// What the octets of a session travel in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Channel {
    /// Nothing: anyone on the way reads and writes them.
    Clear,
    /// TLS.
    Tls,
}

/// Refuses a message that has passed through too many servers, which must be a loop.
///
/// # Errors
/// Gives the reply, 5.4.6, where the header section holds [`HOPS_MAX`] `Received` fields or more.
pub fn refuse_loop(header: &HeaderLines) -> Result<(), Reply> {
    if header.count("Received") < HOPS_MAX {
        return Ok(());
    }
    let text = format!("mail loop: the message has passed through {HOPS_MAX} servers");
    Err(Reply::new(554, EnhancedStatus::new(5, 4, 6), text))
}

/// How many `Received` fields make a loop: RFC 5321, Section 6.3 wants at least 100.
pub const HOPS_MAX: usize = 100;

/// Text that cannot end the comment or the line that it stands in.
fn comment_text(text: &str) -> String {
    text.chars()
        .map(|c| match visible(c) {
            '(' | ')' | '\\' | ';' => '?',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_names_client_server_protocol_and_time() {
        let client_name = "client.example".parse().unwrap();
        let recipient = "b@example.org".parse().unwrap();
        let received = Received {
            client_name: &client_name,
            client_address: "2001:db8::1".parse().unwrap(),
            server: &"mx.example".parse().unwrap(),
            protocol: Protocol {
                hello: HelloKind::Ehlo,
                channel: Channel::Tls,
                smtputf8: Smtputf8::NotUsed,
            },
            tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384"),
            queue_id: "01H-7",
            only_recipient: Some(&recipient),
            time: UnixTime(1_700_000_000),
        };
        insta::assert_snapshot!(received.render().replace("\r\n", "\n").replace('\t', "    "), @"
        Received: from client.example ([IPv6:2001:db8::1])
            by mx.example with ESMTPS
            (using TLSv1.3 TLS13_AES_256_GCM_SHA384)
            id 01H-7
            for <b@example.org>;
            Tue, 14 Nov 2023 22:13:20 +0000
        ");
    }

    #[test]
    fn no_text_can_leave_its_comment() {
        assert_eq!(comment_text("a)\r\nX: (b"), "a???X: ?b");
    }

    #[test]
    fn keywords_are_those_of_the_registry() {
        let check = |hello, channel, smtputf8, keyword| {
            let protocol = Protocol {
                hello,
                channel,
                smtputf8,
            };
            assert_eq!(protocol.keyword(), keyword);
        };
        check(HelloKind::Helo, Channel::Clear, Smtputf8::NotUsed, "SMTP");
        check(HelloKind::Ehlo, Channel::Clear, Smtputf8::NotUsed, "ESMTP");
        check(HelloKind::Ehlo, Channel::Tls, Smtputf8::NotUsed, "ESMTPS");
        check(HelloKind::Ehlo, Channel::Clear, Smtputf8::Used, "UTF8SMTP");
        check(HelloKind::Ehlo, Channel::Tls, Smtputf8::Used, "UTF8SMTPS");
    }

    #[test]
    fn a_hundred_hops_are_a_loop() {
        let header = |hops| {
            let mut header = HeaderLines::default();
            header.read("Received: x\r\n\ty\r\n".repeat(hops).as_bytes());
            header.read(b"\r\nReceived: body\r\n");
            header
        };
        assert_eq!(refuse_loop(&header(99)), Ok(()));
        let reply = refuse_loop(&header(100)).unwrap_err();
        assert_eq!(reply.status(), EnhancedStatus::new(5, 4, 6));
    }
}
