//! Delivery status notifications: RFC 3464, in the frame of RFC 6522.
//!
//! A notification has three parts: a text for people, the facts for programs, and the message that it
//! is about, or just its header section. It is sent from the null path, so that no notification leads
//! to another.

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;

use crate::BodyType;
use crate::BodyWriter;
use crate::EnhancedStatus;
use crate::Envelope;
use crate::Framing;
use crate::HeaderLines;
use crate::Reply;
use crate::ReversePath;
use crate::Smtputf8;
use crate::TlsDemand;
use crate::date::Rfc5322Date;
use crate::reply::visible;

/// A delivery status notification, as data.
#[derive(Clone, Debug)]
pub struct Dsn<'a> {
    /// The name of this server.
    pub reporting_mta: &'a DomainName,
    /// Who sent the message, and gets the notification.
    pub to: &'a Mailbox,
    /// What no other notification of this server has; for the message id, letters, digits, `-` and `.`.
    pub id: &'a str,
    /// When the notification is made.
    pub now: UnixTime,
    /// When the message came.
    pub arrival: UnixTime,
    /// What became of the message, for each recipient that the notification is about; at least one.
    pub recipients: Vec<DsnRecipient>,
    /// How long the message will still be tried, where it is delayed.
    pub retried_until: Option<UnixTime>,
    /// What the message demanded of TLS: what must not travel unprotected is left out.
    pub tls_demand: TlsDemand,
    /// Whether the message came with `SMTPUTF8`.
    pub smtputf8: Smtputf8,
    /// The message, as far as it is returned.
    pub original: Original<'a>,
}

/// What became of a message for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DsnRecipient {
    /// The recipient.
    pub recipient: Mailbox,
    /// What became of the message.
    pub action: DsnAction,
    /// The status.
    pub status: EnhancedStatus,
    /// The server that was tried last.
    pub remote_mta: Option<DomainName>,
    /// Its reply, where a reply decided.
    pub diagnostic: Option<Reply>,
    /// When it was tried last.
    pub last_attempt: Option<UnixTime>,
    /// Why, in plain words, as a sentence without full stop.
    pub explanation: String,
}

/// What became of a message: RFC 3464, Section 2.3.3.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DsnAction {
    /// It cannot be delivered.
    Failed,
    /// It has not been delivered yet.
    Delayed,
}

/// What of the message is returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Original<'a> {
    /// The header section; what lies beyond [`HEADER_RETURNED_OCTETS_MAX`] is cut off at a line.
    Header(&'a [u8]),
    /// The whole message, with CR LF for line ends; just its header section where it has more than
    /// [`MESSAGE_RETURNED_OCTETS_MAX`] octets.
    Message(&'a [u8]),
}

impl Dsn<'_> {
    /// The notification, ready to be queued.
    #[must_use]
    pub fn build(&self) -> DsnMessage {
        let returned = self.returned();
        let eight_bit = !returned.octets.is_ascii() || self.is_utf8();
        DsnMessage {
            envelope: Envelope {
                reverse_path: ReversePath::Null,
                recipients: vec![self.to.clone()],
                body: if eight_bit {
                    BodyType::EightBitMime
                } else {
                    BodyType::SevenBit
                },
                smtputf8: if self.is_utf8() {
                    Smtputf8::Used
                } else {
                    Smtputf8::NotUsed
                },
                // Redacted, it needs no protection, and so is not lost where the way back has none.
                tls_demand: TlsDemand::None,
            },
            octets: self.render(&returned),
        }
    }

    /// The notification as a message, with CR LF for line ends.
    fn render(&self, returned: &Returned) -> Vec<u8> {
        let mut boundary = format!("=_{}", self.token());
        // What is returned must not be able to end its part.
        while contains(&returned.octets, boundary.as_bytes()) {
            boundary.push('x');
        }
        let encoding = if self.is_utf8() { "8bit" } else { "7bit" };
        let mut message = Vec::new();
        let mut lines = |lines: &[String]| {
            for line in lines {
                message.extend_from_slice(line.as_bytes());
                message.extend_from_slice(b"\r\n");
            }
        };
        let part = |description: &str, content_type: &str, encoding: &str| {
            vec![
                String::new(),
                format!("--{boundary}"),
                format!("Content-Description: {description}"),
                format!("Content-Type: {content_type}"),
                format!("Content-Transfer-Encoding: {encoding}"),
                String::new(),
            ]
        };
        lines(&self.header(&boundary));
        lines(&part("Notification", "text/plain; charset=utf-8", encoding));
        lines(&self.words());
        let report = format!("message/{}", self.report_type());
        lines(&part("Delivery report", &report, encoding));
        lines(&self.facts());
        let encoding = if returned.octets.is_ascii() {
            "7bit"
        } else {
            "8bit"
        };
        lines(&part(
            "Undelivered message",
            returned.content_type,
            encoding,
        ));
        let mut writer = BodyWriter::new(Framing::Counted);
        writer.write(&returned.octets, &mut message);
        writer.finish(&mut message);
        message.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        message
    }

    /// The header section, without the empty line.
    fn header(&self, boundary: &str) -> Vec<String> {
        let host = self.reporting_mta;
        let subject = match self.action() {
            DsnAction::Failed => "Undelivered: your message could not be delivered",
            DsnAction::Delayed => "Delayed: your message has not been delivered yet",
        };
        vec![
            format!("Date: {}", Rfc5322Date(self.now)),
            format!("From: Mail delivery <postmaster@{host}>"),
            format!("To: <{}>", self.to),
            format!("Subject: {subject}"),
            format!("Message-ID: <{}@{host}>", self.token()),
            "Auto-Submitted: auto-replied".to_owned(),
            "MIME-Version: 1.0".to_owned(),
            format!(
                "Content-Type: multipart/report; report-type={};",
                self.report_type()
            ),
            format!("\tboundary=\"{boundary}\""),
        ]
    }

    /// The text for people.
    fn words(&self) -> Vec<String> {
        let mut lines = vec![
            format!("This is the mail server {}.", self.reporting_mta),
            String::new(),
            match self.action() {
                DsnAction::Failed => "Your message could not be delivered to:".to_owned(),
                DsnAction::Delayed => "Your message has not been delivered yet to:".to_owned(),
            },
        ];
        for recipient in &self.recipients {
            lines.push(String::new());
            lines.push(format!("  {}", recipient.recipient));
            lines.push(format!("    {}.", self.text(&recipient.explanation)));
            if let Some(reply) = &recipient.diagnostic {
                let server = recipient.remote_mta.as_ref().map(DomainName::as_str);
                let reply = self.text(&reply.to_string());
                lines.push(format!(
                    "    {} said: {reply}",
                    server.unwrap_or("The server")
                ));
            }
        }
        if let Some(until) = self.retried_until {
            lines.push(String::new());
            lines.push(format!(
                "It will be tried again until {}.",
                Rfc5322Date(until)
            ));
            lines.push("You need not send it again.".to_owned());
        }
        if self.is_redacted() {
            lines.push(String::new());
            lines.push("The message demanded protection on its whole way (REQUIRETLS).".to_owned());
            lines.push("Therefore only what names it is returned here.".to_owned());
        }
        lines
    }

    /// The facts for programs: RFC 3464, Sections 2.2 and 2.3.
    fn facts(&self) -> Vec<String> {
        let mut lines = vec![
            format!("Reporting-MTA: dns; {}", self.reporting_mta),
            format!("Arrival-Date: {}", Rfc5322Date(self.arrival)),
        ];
        for recipient in &self.recipients {
            let action = match recipient.action {
                DsnAction::Failed => "failed",
                DsnAction::Delayed => "delayed",
            };
            lines.push(String::new());
            lines.push(format!(
                "Final-Recipient: {}",
                self.address(&recipient.recipient)
            ));
            lines.push(format!("Action: {action}"));
            lines.push(format!("Status: {}", recipient.status));
            if let Some(server) = &recipient.remote_mta {
                lines.push(format!("Remote-MTA: dns; {server}"));
            }
            if let Some(reply) = &recipient.diagnostic {
                let reply = self.text(&reply.to_string());
                lines.push(format!("Diagnostic-Code: smtp; {reply}"));
            }
            if let Some(time) = recipient.last_attempt {
                lines.push(format!("Last-Attempt-Date: {}", Rfc5322Date(time)));
            }
            if let (DsnAction::Delayed, Some(until)) = (recipient.action, self.retried_until) {
                lines.push(format!("Will-Retry-Until: {}", Rfc5322Date(until)));
            }
        }
        lines
    }

    /// An address with its type: RFC 3464, Section 2.1.2; RFC 6533, Section 3 for UTF-8.
    fn address(&self, mailbox: &Mailbox) -> String {
        let text = mailbox.to_string();
        if text.is_ascii() {
            return format!("rfc822; {text}");
        }
        if self.is_utf8() {
            return format!("utf-8; {text}");
        }
        let encoded: String = text.chars().map(encoded_char).collect();
        format!("utf-8; {encoded}")
    }

    /// What became of the message, in one word: failed, if it failed for anyone.
    fn action(&self) -> DsnAction {
        let mut actions = self.recipients.iter().map(|recipient| recipient.action);
        if actions.any(|action| action == DsnAction::Failed) {
            DsnAction::Failed
        } else {
            DsnAction::Delayed
        }
    }

    /// Whether the notification may hold UTF-8, which the way to its recipient must then take.
    fn is_utf8(&self) -> bool {
        self.smtputf8 == Smtputf8::Used || self.to.needs_smtputf8()
    }

    /// The type of the facts: RFC 3464, Section 2; RFC 6533, Section 4.
    fn report_type(&self) -> &'static str {
        if self.is_utf8() {
            "global-delivery-status"
        } else {
            "delivery-status"
        }
    }

    /// Text from elsewhere, as one line that fits.
    fn text(&self, text: &str) -> String {
        let utf8 = self.is_utf8();
        text.chars()
            .map(|c| {
                if c.is_ascii() || utf8 {
                    visible(c)
                } else {
                    '?'
                }
            })
            .take(TEXT_CHARS_MAX)
            .collect()
    }

    /// The id, of which nothing can leave its place.
    fn token(&self) -> String {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        self.id
            .chars()
            .filter(allowed)
            .take(TOKEN_CHARS_MAX)
            .collect()
    }

    /// Whether the message demanded what nobody can promise for the way back.
    fn is_redacted(&self) -> bool {
        match self.tls_demand {
            TlsDemand::RequireTls => true,
            TlsDemand::None | TlsDemand::TlsNotRequired => false,
        }
    }

    /// What of the message is returned.
    ///
    /// RFC 8689 lets the notification of a message with `REQUIRETLS` travel without protection where
    /// it is redacted; a header section tells nearly as much as the message.
    fn returned(&self) -> Returned {
        let whole = match self.original {
            Original::Message(octets) if octets.len() <= MESSAGE_RETURNED_OCTETS_MAX => {
                Some(octets)
            }
            Original::Message(_) | Original::Header(_) => None,
        };
        if let (Some(octets), false) = (whole, self.is_redacted()) {
            return Returned {
                octets: octets.to_vec(),
                content_type: if self.is_utf8() {
                    "message/global"
                } else {
                    "message/rfc822"
                },
            };
        }
        let (Original::Header(octets) | Original::Message(octets)) = self.original;
        let mut header = HeaderLines::default();
        header.read(octets);
        let mut octets = if self.is_redacted() {
            naming_fields(&header)
        } else {
            first_lines(header.octets())
        };
        if !self.is_utf8() {
            for octet in octets.iter_mut().filter(|octet| !octet.is_ascii()) {
                *octet = b'?';
            }
        }
        Returned {
            octets,
            content_type: if self.is_utf8() {
                "message/global-headers"
            } else {
                "text/rfc822-headers"
            },
        }
    }
}

/// A notification, ready to be queued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DsnMessage {
    /// Its envelope, from the null path.
    pub envelope: Envelope,
    /// Its header section and body, with CR LF for line ends.
    pub octets: Vec<u8>,
}

/// What of a message is returned.
#[derive(Debug)]
struct Returned {
    /// The octets.
    octets: Vec<u8>,
    /// What they are.
    content_type: &'static str,
}

/// The fields by which a sender knows a message again.
fn naming_fields(header: &HeaderLines) -> Vec<u8> {
    let mut octets = Vec::new();
    for name in ["Date", "Message-ID"] {
        if let Some(value) = header.values(name).next() {
            octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    octets
}

/// As many whole lines as may be returned.
fn first_lines(header: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for line in header.split_inclusive(|&octet| octet == b'\n') {
        if octets.len() + line.len() > HEADER_RETURNED_OCTETS_MAX {
            break;
        }
        octets.extend_from_slice(line);
    }
    octets
}

/// Whether the octets hold the others.
fn contains(octets: &[u8], part: &[u8]) -> bool {
    octets
        .windows(part.len().max(1))
        .any(|window| window == part)
}

/// A character as it stands in an address of type `utf-8` where only ASCII may: RFC 6533, Section 3.
fn encoded_char(c: char) -> String {
    if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
        c.to_string()
    } else {
        format!("\\x{{{:X}}}", u32::from(c))
    }
}

/// How much of a header section is returned.
pub const HEADER_RETURNED_OCTETS_MAX: usize = 64 * 1_024;

/// How big a message may be that is returned as a whole.
pub const MESSAGE_RETURNED_OCTETS_MAX: usize = 64 * 1_024;

/// How much text from elsewhere is quoted; lines stay within RFC 5322, Section 2.1.1.
const TEXT_CHARS_MAX: usize = 200;

/// How long the id may be.
const TOKEN_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_failure_is_told_to_people_and_programs() {
        let host = "relay.example".parse().unwrap();
        let to = "a@example.org".parse().unwrap();
        let mut dsn = dsn(&host, &to);
        dsn.recipients.push(DsnRecipient {
            recipient: "c@example.com".parse().unwrap(),
            action: DsnAction::Failed,
            status: EnhancedStatus::new(5, 4, 6),
            remote_mta: None,
            diagnostic: None,
            last_attempt: None,
            explanation: "the message went round in circles".into(),
        });
        insta::assert_snapshot!(text(&dsn), @r#"
    Date: Tue, 14 Nov 2023 22:13:20 +0000
    From: Mail delivery <postmaster@relay.example>
    To: <a@example.org>
    Subject: Undelivered: your message could not be delivered
    Message-ID: <D-1@relay.example>
    Auto-Submitted: auto-replied
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=delivery-status;
        boundary="=_D-1"

    --=_D-1
    Content-Description: Notification
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: 7bit

    This is the mail server relay.example.

    Your message could not be delivered to:

      b@example.com
        the server refused the recipient.
        mx.example.com said: 550 5.1.1 no such user

      c@example.com
        the message went round in circles.

    --=_D-1
    Content-Description: Delivery report
    Content-Type: message/delivery-status
    Content-Transfer-Encoding: 7bit

    Reporting-MTA: dns; relay.example
    Arrival-Date: Tue, 14 Nov 2023 19:26:40 +0000

    Final-Recipient: rfc822; b@example.com
    Action: failed
    Status: 5.1.1
    Remote-MTA: dns; mx.example.com
    Diagnostic-Code: smtp; 550 5.1.1 no such user
    Last-Attempt-Date: Tue, 14 Nov 2023 21:56:40 +0000

    Final-Recipient: rfc822; c@example.com
    Action: failed
    Status: 5.4.6

    --=_D-1
    Content-Description: Undelivered message
    Content-Type: message/rfc822
    Content-Transfer-Encoding: 7bit

    Subject: x

    hello

    --=_D-1--
    "#);
    }

    #[test]
    fn a_delay_says_until_when() {
        let host = "relay.example".parse().unwrap();
        let to = "a@example.org".parse().unwrap();
        let mut dsn = dsn(&host, &to);
        dsn.retried_until = Some(UnixTime(1_700_400_000));
        dsn.original = Original::Header(b"Subject: x\r\n");
        for recipient in &mut dsn.recipients {
            recipient.action = DsnAction::Delayed;
            recipient.status = EnhancedStatus::new(4, 7, 10);
            recipient.diagnostic = None;
            recipient.explanation =
                "the server does not offer TLS, which its domain promises".into();
        }
        insta::assert_snapshot!(text(&dsn), @r#"
    Date: Tue, 14 Nov 2023 22:13:20 +0000
    From: Mail delivery <postmaster@relay.example>
    To: <a@example.org>
    Subject: Delayed: your message has not been delivered yet
    Message-ID: <D-1@relay.example>
    Auto-Submitted: auto-replied
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=delivery-status;
        boundary="=_D-1"

    --=_D-1
    Content-Description: Notification
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: 7bit

    This is the mail server relay.example.

    Your message has not been delivered yet to:

      b@example.com
        the server does not offer TLS, which its domain promises.

    It will be tried again until Sun, 19 Nov 2023 13:20:00 +0000.
    You need not send it again.

    --=_D-1
    Content-Description: Delivery report
    Content-Type: message/delivery-status
    Content-Transfer-Encoding: 7bit

    Reporting-MTA: dns; relay.example
    Arrival-Date: Tue, 14 Nov 2023 19:26:40 +0000

    Final-Recipient: rfc822; b@example.com
    Action: delayed
    Status: 4.7.10
    Remote-MTA: dns; mx.example.com
    Last-Attempt-Date: Tue, 14 Nov 2023 21:56:40 +0000
    Will-Retry-Until: Sun, 19 Nov 2023 13:20:00 +0000

    --=_D-1
    Content-Description: Undelivered message
    Content-Type: text/rfc822-headers
    Content-Transfer-Encoding: 7bit

    Subject: x

    --=_D-1--
    "#);
    }

    #[test]
    fn a_message_that_demanded_tls_is_named_but_not_returned() {
        let host = "relay.example".parse().unwrap();
        let to = "a@example.org".parse().unwrap();
        let mut dsn = dsn(&host, &to);
        dsn.tls_demand = TlsDemand::RequireTls;
        dsn.original = Original::Message(
            b"Subject: secret\r\nMessage-ID:\r\n <1@example.org>\r\nTo: secret\r\n\r\nsecret\r\n",
        );
        let message = text(&dsn);
        assert!(!message.contains("secret"), "{message}");
        assert!(
            message.contains("\nMessage-ID: <1@example.org>\n"),
            "{message}"
        );
        assert_eq!(dsn.build().envelope.tls_demand, TlsDemand::None);
    }

    #[test]
    fn an_address_in_utf8_makes_the_notification_a_global_one() {
        let host = "relay.example".parse().unwrap();
        let to = "a@example.org".parse().unwrap();
        let mut dsn = dsn(&host, &to);
        dsn.recipients[0].recipient = "grüße@example.com".parse().unwrap();
        assert!(text(&dsn).contains("Final-Recipient: utf-8; gr\\x{FC}\\x{DF}e@example.com\n"));
        dsn.smtputf8 = Smtputf8::Used;
        let message = text(&dsn);
        assert!(
            message.contains("Final-Recipient: utf-8; grüße@example.com\n"),
            "{message}"
        );
        assert!(
            message.contains("report-type=global-delivery-status"),
            "{message}"
        );
        assert!(
            message.contains("Content-Type: message/global\n"),
            "{message}"
        );
        let envelope = dsn.build().envelope;
        assert_eq!(
            (envelope.smtputf8, envelope.body),
            (Smtputf8::Used, BodyType::EightBitMime)
        );
    }

    #[test]
    fn what_is_too_big_is_not_returned_as_a_whole() {
        let host = "relay.example".parse().unwrap();
        let to = "a@example.org".parse().unwrap();
        let mut dsn = dsn(&host, &to);
        let big = [b"Subject: x\r\n".repeat(8_000), b"\r\nbody".to_vec()].concat();
        dsn.original = Original::Message(&big);
        let message = text(&dsn);
        assert!(message.contains("Content-Type: text/rfc822-headers\n"));
        assert!(message.len() < HEADER_RETURNED_OCTETS_MAX + 4_096);
        assert!(!message.contains("body"));
    }

    #[test]
    fn a_returned_message_cannot_end_its_part() {
        let host = "relay.example".parse().unwrap();
        let to = "a@example.org".parse().unwrap();
        let mut dsn = dsn(&host, &to);
        dsn.original = Original::Message(b"\r\n--=_D-1--\r\nforged\r\n--=_D-1x\r\n");
        let message = text(&dsn);
        assert!(message.contains("boundary=\"=_D-1xx\""), "{message}");
    }

    proptest! {
        #[test]
        fn no_text_adds_a_line_or_an_octet_beyond_ascii(
            reply in "[ -~é\r\n\u{1b}]{0,400}",
            explanation in "[ -~é\r\n\u{1b}]{0,400}",
        ) {
            let host = "relay.example".parse().unwrap();
            let to = "a@example.org".parse().unwrap();
            let mut dsn = dsn(&host, &to);
            let lines = text(&dsn).lines().count();
            dsn.recipients[0].diagnostic = Some(Reply::plain(550, reply));
            dsn.recipients[0].explanation = explanation;
            let message = dsn.build().octets;
            prop_assert!(message.is_ascii());
            let message = String::from_utf8(message).unwrap();
            prop_assert_eq!(message.lines().count(), lines);
            prop_assert!(message.split("\r\n").all(|line| line.len() < 998));
        }
    }

    /// The notification as text, with LF for line ends.
    fn text(dsn: &Dsn<'_>) -> String {
        let message = String::from_utf8(dsn.build().octets).unwrap();
        assert_eq!(
            message.matches('\n').count(),
            message.matches("\r\n").count()
        );
        message.replace("\r\n", "\n").replace('\t', "    ")
    }

    /// One failed recipient.
    fn dsn<'a>(host: &'a DomainName, to: &'a Mailbox) -> Dsn<'a> {
        Dsn {
            reporting_mta: host,
            to,
            id: "D-1",
            now: UnixTime(1_700_000_000),
            arrival: UnixTime(1_699_990_000),
            recipients: vec![DsnRecipient {
                recipient: "b@example.com".parse().unwrap(),
                action: DsnAction::Failed,
                status: EnhancedStatus::new(5, 1, 1),
                remote_mta: Some("mx.example.com".parse().unwrap()),
                diagnostic: Some(Reply::new(
                    550,
                    EnhancedStatus::new(5, 1, 1),
                    "no such user",
                )),
                last_attempt: Some(UnixTime(1_699_999_000)),
                explanation: "the server refused the recipient".into(),
            }],
            retried_until: None,
            tls_demand: TlsDemand::None,
            smtputf8: Smtputf8::NotUsed,
            original: Original::Message(b"Subject: x\r\n\r\nhello\r\n"),
        }
    }
}
