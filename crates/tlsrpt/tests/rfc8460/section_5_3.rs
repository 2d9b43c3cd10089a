//! Section 5.3: Email Transport.

use byrnie_base::UnixTime;
use byrnie_tlsrpt::DateRange;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::PolicyReport;
use byrnie_tlsrpt::Report;
use byrnie_tlsrpt::ReportMail;
use byrnie_tlsrpt::Summary;
use byrnie_tlsrpt::reading;

#[test]
fn a_mail_has_the_parts_and_fields_of_the_standard() {
    let report = Report {
        organization_name: Some(String::from("Example Mail")),
        date_range: DateRange {
            start_datetime: UnixTime(1_775_001_600),
            end_datetime: UnixTime(1_775_087_999),
        },
        contact_info: Some(String::from("postmaster@mail.example")),
        report_id: String::from("2026-04-01.7@mail.example"),
        policies: vec![PolicyReport {
            policy: PolicyDescription {
                policy_domain: String::from("a.example"),
                ..PolicyDescription::default()
            },
            summary: Summary {
                total_successful_session_count: 5,
                total_failure_session_count: 0,
            },
            failure_details: Vec::new(),
        }],
    };
    let octets = reading::compress(&serde_json::to_vec(&report).unwrap());
    let (from, to) = (
        "r@mail.example".parse().unwrap(),
        "t@a.example".parse().unwrap(),
    );
    let (domain, submitter) = (
        "a.example".parse().unwrap(),
        "mail.example".parse().unwrap(),
    );
    let mail = ReportMail {
        from: &from,
        to: &to,
        submitter: &submitter,
        domain: &domain,
        report: &report,
        octets: &octets,
        date: "Thu, 02 Apr 2026 01:00:00 +0000",
    };
    let text = String::from_utf8(mail.render()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    for line in [
        "Subject: Report Domain: a.example\r\n\tSubmitter: mail.example\r\n\tReport-ID: \
         <2026-04-01.7.mail.example@mail.example>",
        "TLS-Report-Domain: a.example",
        "TLS-Report-Submitter: mail.example",
        "TLS-Required: No",
        "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"=_",
    ] {
        assert!(head.contains(line), "{line}\n{head}");
    }
    assert!(
        body.contains("\r\nContent-Type: application/tlsrpt+gzip\r\n"),
        "{body}"
    );
    let name = "\tfilename=\"mail.example!a.example!1775001600!1775087999!2026-04-01.7.mail.example.json.gz\"";
    assert!(body.contains(name), "{body}");
    for line in text.split("\r\n") {
        assert!(
            !line.contains(['\r', '\n']) && line.len() <= 998,
            "{line:?}"
        );
    }
    // Who reads reports of others reads ours.
    let [Ok(read)] = &reading::read(text.as_bytes(), UnixTime(1_775_100_000))[..] else {
        panic!("{text}");
    };
    assert_eq!(read.report, report);
    assert_eq!(read.submitter.as_deref(), Some("mail.example"));
    assert_eq!(read.remarks, []);
}
