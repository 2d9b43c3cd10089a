//! Section 4.4: JSON Report Schema.

use std::net::IpAddr;

use byrnie_base::UnixTime;
use byrnie_tlsrpt::DateRange;
use byrnie_tlsrpt::FailureDetails;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::PolicyReport;
use byrnie_tlsrpt::PolicyType;
use byrnie_tlsrpt::Report;
use byrnie_tlsrpt::ResultType;
use byrnie_tlsrpt::Summary;
use byrnie_tlsrpt::parse_timestamp;
use serde_json::json;

#[test]
fn a_report_is_written_in_the_words_of_the_standard() {
    let report = Report {
        organization_name: Some(String::from("Example Mail")),
        date_range: DateRange {
            start_datetime: UnixTime(1_775_001_600),
            end_datetime: UnixTime(1_775_087_999),
        },
        contact_info: Some(String::from("postmaster@mail.example")),
        report_id: String::from("2026-04-01_a.example"),
        policies: vec![PolicyReport {
            policy: PolicyDescription {
                policy_type: PolicyType::Sts,
                policy_string: vec![String::from("version: STSv1")],
                policy_domain: String::from("a.example"),
                mx_host: vec![String::from("*.mx.a.example")],
            },
            summary: Summary {
                total_successful_session_count: 5,
                total_failure_session_count: 3,
            },
            failure_details: vec![FailureDetails {
                result_type: ResultType::CertificateExpired,
                sending_mta_ip: Some(IpAddr::from([192, 0, 2, 1])),
                receiving_mx_hostname: Some(String::from("mx1.mx.a.example")),
                receiving_mx_helo: None,
                receiving_ip: None,
                failed_session_count: 3,
                additional_information: None,
                failure_reason_code: Some(String::from("expired")),
            }],
        }],
    };
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        json!({
            "organization-name": "Example Mail",
            "date-range": {
                "start-datetime": "2026-04-01T00:00:00Z",
                "end-datetime": "2026-04-01T23:59:59Z",
            },
            "contact-info": "postmaster@mail.example",
            "report-id": "2026-04-01_a.example",
            "policies": [{
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1"],
                    "policy-domain": "a.example",
                    "mx-host": ["*.mx.a.example"],
                },
                "summary": {
                    "total-successful-session-count": 5,
                    "total-failure-session-count": 3,
                },
                "failure-details": [{
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "192.0.2.1",
                    "receiving-mx-hostname": "mx1.mx.a.example",
                    "failed-session-count": 3,
                    "failure-reason-code": "expired",
                }],
            }],
        })
    );
}

#[test]
fn a_time_without_a_zone_is_of_utc() {
    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(parse_timestamp(text).ok(), expected.map(UnixTime), "{text}");
    }
    check("2026-04-01T00:00:00Z", Some(1_775_001_600));
    check("2026-04-01T02:00:00+02:00", Some(1_775_001_600));
    check("2026-04-01T00:00:00", Some(1_775_001_600));
    check(" 2026-04-01 00:00:00 ", Some(1_775_001_600));
    check("2026-04-01T00:00:00.5Z", Some(1_775_001_600));
    check("2026-04-01", Some(1_775_001_600));
    check("1969-12-31T23:59:59Z", None);
    check("yesterday", None);
    check("", None);
}
