//! What a server offers in its reply to `EHLO`: RFC 5321, Section 4.1.1.1.

use crate::Reply;

/// What a server offers in its reply to `EHLO`; unknown keywords are ignored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one keyword that a server does or does not send"
)]
pub struct Capabilities {
    /// `8BITMIME`: RFC 6152.
    pub eight_bit_mime: bool,
    /// `CHUNKING`: RFC 3030.
    pub chunking: bool,
    /// `ENHANCEDSTATUSCODES`: RFC 2034.
    pub enhanced_status_codes: bool,
    /// `PIPELINING`: RFC 2920.
    pub pipelining: bool,
    /// `REQUIRETLS`: RFC 8689.
    pub require_tls: bool,
    /// `SIZE`: RFC 1870.
    pub size: SizeOffer,
    /// `SMTPUTF8`: RFC 6531.
    pub smtputf8: bool,
    /// `STARTTLS`: RFC 3207.
    pub starttls: bool,
}

impl Capabilities {
    /// Reads the reply to a successful `EHLO`; its first line is the server's name.
    #[must_use]
    pub fn from_reply(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "8BITMIME" => offered.eight_bit_mime = true,
                "CHUNKING" => offered.chunking = true,
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                "PIPELINING" => offered.pipelining = true,
                "REQUIRETLS" => offered.require_tls = true,
                "SIZE" => offered.size = SizeOffer::from_parameter(words.next()),
                "SMTPUTF8" => offered.smtputf8 = true,
                "STARTTLS" => offered.starttls = true,
                _ => {}
            }
        }
        offered
    }
}

/// What a server says about the size of messages: RFC 1870, Section 4.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SizeOffer {
    /// `SIZE` is not offered.
    #[default]
    NotOffered,
    /// `SIZE` without a number, with one that cannot be read, or with 0: no fixed limit is in force.
    NoLimit,
    /// No message may have more octets than this.
    Limit(u64),
}

impl SizeOffer {
    /// Reads what follows `SIZE`.
    fn from_parameter(parameter: Option<&str>) -> Self {
        match parameter.and_then(|number| number.parse().ok()) {
            None | Some(0) => Self::NoLimit,
            Some(limit) => Self::Limit(limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keywords_are_read_without_case_and_unknown_ones_ignored() {
        let offered = Capabilities {
            pipelining: true,
            size: SizeOffer::Limit(1_000),
            starttls: true,
            smtputf8: true,
            ..Capabilities::default()
        };
        check(
            &[
                "mx.example",
                "pipelining",
                "SIZE 1000",
                "X-ODD 1",
                "StartTLS",
                "SMTPUTF8",
            ],
            &offered,
        );
    }

    #[test]
    fn the_first_line_is_a_name_and_not_an_offer() {
        check(&["STARTTLS"], &Capabilities::default());
        check(&[], &Capabilities::default());
    }

    #[test]
    fn a_size_without_a_usable_number_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999"] {
            let offered = Capabilities {
                size: SizeOffer::NoLimit,
                ..Capabilities::default()
            };
            check(&["mx.example", line], &offered);
        }
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &Capabilities) {
        let reply = Reply {
            code: 250,
            enhanced: None,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(&Capabilities::from_reply(&reply), expected);
    }
}
