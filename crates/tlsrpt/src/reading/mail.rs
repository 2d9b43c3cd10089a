//! Mails with reports in them.
//!
//! RFC 8460, Section 5.3, wants `multipart/report` with a part of `application/tlsrpt+gzip` or
//! `application/tlsrpt+json`. Senders call the part `application/gzip`, `application/octet-stream`,
//! `text/plain` and more, so what counts is what is in it.

use byrnie_base::UnixTime;
use mail_parser::Message;
use mail_parser::MessageParser;
use mail_parser::MessagePart;
use mail_parser::MimeHeaders;
use mail_parser::PartType;

use super::Envelope;
use super::Form;
use super::Reading;
use super::Unreadable;
use super::json;

/// Reads the reports in a mail, as many as one can have.
pub(super) fn read(octets: &[u8], received_at: UnixTime) -> Vec<Result<Reading, Unreadable>> {
    let mail = MessageParser::new().parse(octets);
    let mut readings = Vec::new();
    if let Some(mail) = mail {
        collect(&mail, received_at, &Envelope::default(), &mut readings);
    }
    if readings.is_empty() {
        return vec![Err(Unreadable::NoReport)];
    }
    readings
}

/// Reads the reports in a mail and in those that it forwards. How deep that goes is bounded by the parser.
fn collect(
    mail: &Message<'_>,
    received_at: UnixTime,
    outer: &Envelope,
    readings: &mut Vec<Result<Reading, Unreadable>>,
) {
    let envelope = envelope(mail, outer);
    for part in &mail.parts {
        if readings.len() >= REPORTS_PER_MAIL_MAX {
            return;
        }
        if let PartType::Message(forwarded) = &part.body {
            collect(forwarded, received_at, &envelope, readings);
            continue;
        }
        let content = match &part.body {
            PartType::Text(text) => text.as_bytes(),
            PartType::Binary(octets) | PartType::InlineBinary(octets) => octets,
            PartType::Html(_) | PartType::Message(_) | PartType::Multipart(_) => continue,
        };
        match Form::of(content) {
            Form::Gzip | Form::Json => readings.push(json::read(content, received_at, &envelope)),
            Form::Other if is_called_a_report(part) => {
                readings.push(Err(Unreadable::UnknownForm));
            }
            Form::Other => {}
        }
    }
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

/// Whether a part claims to be a report.
fn is_called_a_report(part: &MessagePart<'_>) -> bool {
    part.content_type()
        .and_then(|media_type| media_type.subtype())
        .is_some_and(|subtype| subtype.to_ascii_lowercase().starts_with("tlsrpt"))
}

/// How many reports of one mail are read. RFC 8460 knows of one.
pub const REPORTS_PER_MAIL_MAX: usize = 16;

/// The longest name of a domain.
const DOMAIN_OCTETS_MAX: usize = 255;
