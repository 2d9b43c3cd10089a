//! What tells one report from another, whichever way it came.

use aws_lc_rs::digest::Context;
use aws_lc_rs::digest::SHA256;

use super::super::BYTE_ORDER_MARK;

/// SHA-256 of what JSON says: without the space between its words, and before anything is put in the place
/// of what it does not say. Who reports by mail and over HTTPS may lay it out differently.
pub(super) fn of_json(octets: &[u8]) -> Vec<u8> {
    let octets = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
    let mut place = Place::Between;
    let words = octets.split(|octet| {
        let is_space = place == Place::Between && SPACE.contains(octet);
        place = place.after(*octet);
        is_space
    });
    let mut context = Context::new(&SHA256);
    for word in words {
        context.update(word);
    }
    context.finish().as_ref().to_vec()
}

/// Where in JSON an octet stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Outside of texts.
    Between,
    /// In a text.
    Text,
    /// Behind a backslash in a text.
    Escaped,
}

impl Place {
    /// Where the octet behind this one stands.
    fn after(self, octet: u8) -> Self {
        match (self, octet) {
            (Self::Between, b'"') | (Self::Escaped, _) => Self::Text,
            (Self::Text, b'\\') => Self::Escaped,
            (Self::Text, b'"') => Self::Between,
            (Self::Between | Self::Text, _) => self,
        }
    }
}

/// What may stand between words, and what senders pad with.
const SPACE: &[u8] = b" \t\r\n\0";
