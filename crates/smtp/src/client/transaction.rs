//! One message on its way to one server.

use std::fmt;

use byrnie_base::Mailbox;

use super::command;
use crate::BodyType;
use crate::Capabilities;
use crate::Channel;
use crate::EnhancedStatus;
use crate::Reply;
use crate::ReversePath;
use crate::SizeOffer;
use crate::Smtputf8;
use crate::TlsDemand;

/// What a server is to be told about a message before it gets the message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transaction {
    /// Where bounces go.
    pub reverse_path: ReversePath,
    /// Who is to get the message, in this order.
    pub recipients: Vec<Mailbox>,
    /// What octets the message has.
    pub body: BodyType,
    /// Whether addresses or header may hold UTF-8.
    pub smtputf8: Smtputf8,
    /// What the message demands of TLS.
    pub tls_demand: TlsDemand,
    /// How many octets the message has.
    pub size: u64,
}

impl Transaction {
    /// Whether a server can take the message at all.
    ///
    /// # Errors
    /// Says what the server would have to offer.
    pub fn check(&self, offered: &Capabilities, channel: Channel) -> Result<(), Unsupported> {
        if self.demands_require_tls() && !(offered.require_tls && channel == Channel::Tls) {
            return Err(Unsupported::RequireTls);
        }
        if self.needs_smtputf8() && !offered.smtputf8 {
            return Err(Unsupported::Smtputf8);
        }
        if self.body == BodyType::EightBitMime && !offered.eight_bit_mime {
            return Err(Unsupported::EightBitMime);
        }
        match offered.size {
            SizeOffer::Limit(limit) if limit < self.size => Err(Unsupported::Size {
                limit,
                size: self.size,
            }),
            SizeOffer::Limit(_) | SizeOffer::NoLimit | SizeOffer::NotOffered => Ok(()),
        }
    }

    /// Writes the command `MAIL`, with the parameters that the server offers.
    pub(super) fn mail(&self, offered: &Capabilities, output: &mut Vec<u8>) {
        command(output, format_args!("MAIL FROM:<{}>", self.reverse_path));
        if offered.size != SizeOffer::NotOffered {
            command(output, format_args!(" SIZE={}", self.size));
        }
        if self.body == BodyType::EightBitMime {
            output.extend_from_slice(b" BODY=8BITMIME");
        }
        if self.needs_smtputf8() {
            output.extend_from_slice(b" SMTPUTF8");
        }
        if self.demands_require_tls() {
            output.extend_from_slice(b" REQUIRETLS");
        }
        output.extend_from_slice(b"\r\n");
    }

    /// Whether every server on the way must offer `REQUIRETLS`.
    fn demands_require_tls(&self) -> bool {
        match self.tls_demand {
            TlsDemand::RequireTls => true,
            TlsDemand::None | TlsDemand::TlsNotRequired => false,
        }
    }

    /// Whether the server must offer `SMTPUTF8`.
    fn needs_smtputf8(&self) -> bool {
        let by_sender = match &self.reverse_path {
            ReversePath::Null => false,
            ReversePath::Mailbox(mailbox) => mailbox.needs_smtputf8(),
        };
        self.smtputf8 == Smtputf8::Used
            || by_sender
            || self.recipients.iter().any(Mailbox::needs_smtputf8)
    }
}

/// What a server would have to offer so that it can take a message; it was sent nothing of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Unsupported {
    /// The message has octets beyond ASCII, and `8BITMIME` is not offered.
    EightBitMime,
    /// The message demands `REQUIRETLS`, and it is not offered under TLS.
    RequireTls,
    /// The message is bigger than the server takes.
    Size {
        /// What the server takes, in octets.
        limit: u64,
        /// What the message has, in octets.
        size: u64,
    },
    /// Addresses or header may hold UTF-8, and `SMTPUTF8` is not offered.
    Smtputf8,
}

impl Unsupported {
    /// The status to report to the sender.
    #[must_use]
    pub fn status(self) -> EnhancedStatus {
        match self {
            Self::EightBitMime => EnhancedStatus::new(5, 6, 3),
            Self::RequireTls => EnhancedStatus::new(5, 7, 30),
            Self::Size { .. } => EnhancedStatus::new(5, 3, 4),
            Self::Smtputf8 => EnhancedStatus::new(5, 6, 7),
        }
    }

    /// The reply that the server would have given.
    #[must_use]
    pub fn reply(self) -> Reply {
        let code = match self {
            Self::Size { .. } => 552,
            Self::EightBitMime | Self::RequireTls | Self::Smtputf8 => 550,
        };
        Reply::new(code, self.status(), self.to_string())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EightBitMime => {
                f.write_str("the message has 8-bit octets, and the server does not offer 8BITMIME")
            }
            Self::RequireTls => {
                f.write_str("the message demands REQUIRETLS, and the server does not offer it")
            }
            Self::Size { limit, size } => write!(
                f,
                "the message has {size} octets, and the server takes no more than {limit}"
            ),
            Self::Smtputf8 => {
                f.write_str("the message needs SMTPUTF8, and the server does not offer it")
            }
        }
    }
}

impl std::error::Error for Unsupported {}

/// What a server said about a message and each of its recipients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TransactionOutcome {
    /// Each recipient, in the order of the transaction, with the reply that decided about it.
    pub recipients: Vec<(Mailbox, Result<Reply, Reply>)>,
    /// The reply that ended the transaction.
    pub reply: Reply,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_refused_before_it_is_sent_where_the_server_lacks_an_extension() {
        let plain = transaction("a@example.org");
        check(&plain, &Capabilities::default(), Ok(()));
        let mut eight_bit = plain.clone();
        eight_bit.body = BodyType::EightBitMime;
        check(&eight_bit, &Capabilities::default(), Err("550 5.6.3"));
        let mut utf8_header = plain.clone();
        utf8_header.smtputf8 = Smtputf8::Used;
        check(&utf8_header, &Capabilities::default(), Err("550 5.6.7"));
        check(
            &transaction("grüße@example.org"),
            &Capabilities::default(),
            Err("550 5.6.7"),
        );
        let mut strict = plain.clone();
        strict.tls_demand = TlsDemand::RequireTls;
        check(&strict, &Capabilities::default(), Err("550 5.7.30"));
        let offered = Capabilities {
            size: SizeOffer::Limit(999),
            ..Capabilities::default()
        };
        check(&plain, &offered, Err("552 5.3.4"));
    }

    #[test]
    fn an_offer_of_requiretls_in_clear_text_is_worth_nothing() {
        let offered = Capabilities {
            require_tls: true,
            ..Capabilities::default()
        };
        let mut strict = transaction("a@example.org");
        strict.tls_demand = TlsDemand::RequireTls;
        assert_eq!(strict.check(&offered, Channel::Tls), Ok(()));
        assert_eq!(
            strict.check(&offered, Channel::Clear),
            Err(Unsupported::RequireTls)
        );
    }

    #[test]
    fn mail_carries_the_parameters_that_are_needed_and_offered() {
        let offered = Capabilities {
            size: SizeOffer::NoLimit,
            ..Capabilities::default()
        };
        let mut message = transaction("a@example.org");
        check_mail(
            &message,
            &Capabilities::default(),
            "MAIL FROM:<a@example.org>\r\n",
        );
        let expected = "MAIL FROM:<a@example.org> SIZE=1000\r\n";
        check_mail(&message, &offered, expected);
        message.reverse_path = ReversePath::Null;
        message.body = BodyType::EightBitMime;
        message.smtputf8 = Smtputf8::Used;
        message.tls_demand = TlsDemand::RequireTls;
        let expected = "MAIL FROM:<> SIZE=1000 BODY=8BITMIME SMTPUTF8 REQUIRETLS\r\n";
        check_mail(&message, &offered, expected);
    }

    /// A plain message of 1,000 octets.
    fn transaction(sender: &str) -> Transaction {
        Transaction {
            reverse_path: sender.parse().unwrap(),
            recipients: vec!["b@example.org".parse().unwrap()],
            body: BodyType::SevenBit,
            smtputf8: Smtputf8::NotUsed,
            tls_demand: TlsDemand::None,
            size: 1_000,
        }
    }

    #[track_caller]
    fn check_mail(message: &Transaction, offered: &Capabilities, expected: &str) {
        let mut output = Vec::new();
        message.mail(offered, &mut output);
        assert_eq!(output, expected.as_bytes());
    }

    #[track_caller]
    fn check(message: &Transaction, offered: &Capabilities, expected: Result<(), &str>) {
        let refusal = message
            .check(offered, Channel::Tls)
            .map_err(Unsupported::reply);
        match (refusal, expected) {
            (Ok(()), Ok(())) => {}
            (Err(reply), Err(start)) => assert!(reply.to_string().starts_with(start), "{reply}"),
            (refusal, _) => panic!("{refusal:?} {expected:?}"),
        }
    }
}
