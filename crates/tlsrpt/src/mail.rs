//! The mail that carries a report: RFC 8460, Section 5.3.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;

use crate::Day;
use crate::Report;

/// The media type of a compressed report: RFC 8460, Section 6.5.
pub const REPORT_MEDIA_TYPE: &str = "application/tlsrpt+gzip";

/// A mail that carries a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportMail<'a> {
    /// Who sends it.
    pub from: &'a Mailbox,
    /// Who gets it.
    pub to: &'a Mailbox,
    /// Who reports.
    pub submitter: &'a DomainName,
    /// Whom it is about.
    pub domain: &'a DomainName,
    /// What it carries.
    pub report: &'a Report,
    /// The same as JSON, compressed with gzip.
    pub octets: &'a [u8],
    /// When it is written, as header fields have it.
    pub date: &'a str,
}

impl ReportMail<'_> {
    /// The mail, with CR LF for line ends.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let (domain, submitter) = (self.domain, self.submitter);
        let id = token(&self.report.report_id);
        // A report may go to several addresses, in a mail each.
        let to = token(&self.to.to_string());
        let boundary = format!("=_{id}");
        let name = file_name(submitter, domain, self.report, &id);
        let organization = self.report.organization_name.as_deref().unwrap_or_default();
        let day = self.report.date_range.start_datetime;
        let mut lines = vec![
            format!("Date: {}", self.date),
            format!("From: <{}>", self.from),
            format!("To: <{}>", self.to),
            //= https://www.rfc-editor.org/rfc/rfc8460#section-5.3
            //# tlsrpt-subject = "Report" FWS "Domain:" FWS domain-name FWS
            // Folded where white space may be.
            format!("Subject: Report Domain: {domain}"),
            format!("\tSubmitter: {submitter}"),
            format!("\tReport-ID: <{id}@{submitter}>"),
            format!("Message-ID: <{id}.{to}@{submitter}>"),
            format!("TLS-Report-Domain: {domain}"),
            format!("TLS-Report-Submitter: {submitter}"),
            // Behaviour rule 39; RFC 8460, Section 3: who cannot be reached safely must hear of it.
            String::from("TLS-Required: No"),
            String::from("Auto-Submitted: auto-generated"),
            String::from("MIME-Version: 1.0"),
            String::from("Content-Type: multipart/report; report-type=\"tlsrpt\";"),
            format!("\tboundary=\"{boundary}\""),
            String::new(),
            format!("--{boundary}"),
            String::from("Content-Type: text/plain; charset=utf-8"),
            format!("Content-Transfer-Encoding: {}", encoding(organization)),
            String::new(),
            format!("This is an aggregate TLS report about {domain}"),
            format!("from {submitter} ({organization})."),
            format!("It tells of {}, a day of UTC.", Day::of(day)),
            String::new(),
            format!("--{boundary}"),
            format!("Content-Type: {REPORT_MEDIA_TYPE}"),
            String::from("Content-Transfer-Encoding: base64"),
            String::from("Content-Disposition: attachment;"),
            format!("\tfilename=\"{name}\""),
            String::new(),
        ];
        let encoded = BASE64_STANDARD.encode(self.octets);
        let mut rest = encoded.as_str();
        while let Some((line, behind)) = rest.split_at_checked(BASE64_LINE_OCTETS) {
            lines.push(String::from(line));
            rest = behind;
        }
        lines.push(String::from(rest));
        lines.push(format!("--{boundary}--"));
        (lines.join("\r\n") + "\r\n").into_bytes()
    }
}

/// The name of the file: RFC 8460, Section 5.1.
fn file_name(submitter: &DomainName, domain: &DomainName, report: &Report, id: &str) -> String {
    let UnixTime(from) = report.date_range.start_datetime;
    let UnixTime(to) = report.date_range.end_datetime;
    format!("{submitter}!{domain}!{from}!{to}!{id}.json.gz")
}

/// A text of which only what may stand in an identifier is left.
fn token(text: &str) -> String {
    let kept = |c: &char| c.is_ascii_alphanumeric() || "-.".contains(*c);
    let replaced = text.chars().map(|c| if c == '@' { '.' } else { c });
    replaced.filter(kept).take(TOKEN_CHARS_MAX).collect()
}

/// How a text travels.
fn encoding(text: &str) -> &'static str {
    match text.is_ascii() {
        true => "7bit",
        false => "8bit",
    }
}

/// How long an identifier may be; a boundary has 70 characters at most (RFC 2046, Section 5.1.1).
const TOKEN_CHARS_MAX: usize = 60;

/// Octets of a line of base64: RFC 2045, Section 6.8.
const BASE64_LINE_OCTETS: usize = 76;
