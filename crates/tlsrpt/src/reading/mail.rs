//! Mails with reports in them.
//!
//! RFC 8460, Section 5.3, wants `multipart/report` with a part of `application/tlsrpt+gzip` or
//! `application/tlsrpt+json`. Senders call the part `application/gzip`, `application/octet-stream`,
//! `text/plain` and more, so what counts is what is in it.
//!
//! The parts are found here and not by the library, which goes as deep into mails within mails as a
//! stranger likes, until the stack is used up.

use std::borrow::Cow;

use byrnie_base::UnixTime;
use mail_parser::Message;
use mail_parser::MessageParser;
use mail_parser::MimeHeaders;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::Envelope;
use super::Form;
use super::Reading;
use super::Unreadable;
use super::json;

/// Reads the reports in a mail, as many as one can have.
pub(super) fn read(octets: &[u8], received_at: UnixTime) -> Vec<Result<Reading, Unreadable>> {
    let mut walk = Walk {
        received_at,
        parts_left: PARTS_MAX,
        readings: Vec::new(),
    };
    walk.entity(octets, &Envelope::default(), DEPTH_MAX);
    if walk.readings.is_empty() {
        return vec![Err(Unreadable::NoReport)];
    }
    walk.readings
}

/// A walk through the parts of a mail.
struct Walk {
    received_at: UnixTime,
    /// How many more parts are looked at.
    parts_left: usize,
    /// What was found.
    readings: Vec<Result<Reading, Unreadable>>,
}

impl Walk {
    /// Looks at a mail or a part: a header section, an empty line and a body.
    fn entity(&mut self, octets: &[u8], outer: &Envelope, depth_left: usize) {
        if self.parts_left == 0 || self.readings.len() >= REPORTS_PER_MAIL_MAX {
            return;
        }
        self.parts_left -= 1;
        let bare = octets.strip_prefix(b"\r\n");
        let bare = bare.or_else(|| octets.strip_prefix(b"\n"));
        if let Some(body) = bare {
            return self.leaf(body, outer, "");
        }
        let end = body_start(octets);
        if end > HEADER_OCTETS_MAX {
            self.readings.push(Err(Unreadable::LongHeader));
            return;
        }
        let (section, body) = octets.split_at_checked(end).unwrap_or((octets, &[]));
        let Some(header) = MessageParser::new().parse_headers(section) else {
            return;
        };
        let envelope = envelope(&header, outer);
        let media_type = header.content_type();
        let kind = media_type.map_or("", |it| it.ctype()).to_ascii_lowercase();
        let subtype = media_type.and_then(|it| it.subtype()).unwrap_or_default();
        let boundary = media_type.and_then(|it| it.attribute("boundary"));
        if let ("multipart", Some(boundary)) = (kind.as_str(), boundary) {
            if let Some(depth_left) = depth_left.checked_sub(1) {
                for part in parts(body, boundary) {
                    self.entity(part, &envelope, depth_left);
                }
            }
            return;
        }
        let body = decoded(body, header.content_transfer_encoding().unwrap_or_default());
        match (kind.as_str(), depth_left.checked_sub(1)) {
            ("message", Some(depth_left)) => self.entity(&body, &envelope, depth_left),
            ("message", None) => {}
            _ => self.leaf(&body, &envelope, subtype),
        }
    }

    /// Looks at what is no container.
    fn leaf(&mut self, content: &[u8], envelope: &Envelope, subtype: &str) {
        let is_called_a_report = subtype.to_ascii_lowercase().starts_with("tlsrpt");
        match Form::of(content) {
            Form::Gzip | Form::Json => {
                let reading = json::read(content, self.received_at, envelope);
                self.readings.push(reading);
            }
            Form::Other if is_called_a_report => {
                self.readings.push(Err(Unreadable::UnknownForm));
            }
            Form::Other => {}
        }
    }
}

/// Where the body begins: behind the first empty line.
fn body_start(octets: &[u8]) -> usize {
    let mut start = 0;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        start += line.len();
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    start
}

/// The parts between lines of two hyphens and the boundary: RFC 2046, Section 5.1.1.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let (mut at, mut begun) = (0, None);
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let start = at;
        at += line.len();
        let delimiter = line.strip_prefix(b"--");
        let Some(rest) = delimiter.and_then(|it| it.strip_prefix(boundary.as_bytes())) else {
            continue;
        };
        let rest = rest.trim_ascii_end();
        if !rest.is_empty() && rest != b"--" {
            continue;
        }
        parts.extend(begun.and_then(|begun| body.get(begun..start)));
        begun = rest.is_empty().then_some(at);
        if begun.is_none() || parts.len() >= PARTS_MAX {
            return parts;
        }
    }
    // The last delimiter may have been cut off.
    parts.extend(begun.and_then(|begun| body.get(begun..)));
    parts
}

/// A body without its transfer encoding; one that is broken is left as it is.
fn decoded<'a>(body: &'a [u8], encoding: &str) -> Cow<'a, [u8]> {
    let decoded = match encoding.to_ascii_lowercase().as_str() {
        "base64" => base64_decode(body),
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    };
    decoded.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// What the header of a mail says about the report in it.
fn envelope(mail: &Message<'_>, outer: &Envelope) -> Envelope {
    //= https://www.rfc-editor.org/rfc/rfc8460#section-5.3
    //# The RFC 5322 message MUST include "TLS-Report-Domain" and "TLS-Report-Submitter" header fields.
    let field = |name: &'static str| {
        let text = mail.header_raw(name).map(str::trim);
        let text = text.filter(|text| !text.is_empty() && text.len() <= DOMAIN_OCTETS_MAX);
        text.map(str::to_ascii_lowercase)
    };
    let from = || {
        let address = mail.from()?.first()?.address()?;
        let (_, domain) = address.rsplit_once('@')?;
        (domain.len() <= DOMAIN_OCTETS_MAX).then(|| domain.to_ascii_lowercase())
    };
    let submitter = field("TLS-Report-Submitter").or_else(from);
    Envelope {
        submitter: submitter.or_else(|| outer.submitter.clone()),
        policy_domain: field("TLS-Report-Domain").or_else(|| outer.policy_domain.clone()),
    }
}

/// How many reports of one mail are read. RFC 8460 knows of one.
pub const REPORTS_PER_MAIL_MAX: usize = 16;

/// How many parts of a mail are looked at.
const PARTS_MAX: usize = 256;

/// The longest header section that is read: what the library takes for one grows with its square.
const HEADER_OCTETS_MAX: usize = 64 << 10;

/// How deep parts are looked for in parts: a report that was forwarded twice lies four deep.
const DEPTH_MAX: usize = 8;

/// The longest name of a domain.
const DOMAIN_OCTETS_MAX: usize = 255;
