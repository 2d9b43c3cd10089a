//! Reports as they come, and as they should not.

use std::fmt::Write;

use serde_json::json;

use super::json::DETAILS_PER_POLICY_MAX;
use super::*;
use crate::PolicyReport;
use crate::PolicyType;
use crate::ResultType;

/// Samples, which are also where fuzzing begins.
macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../../fuzz/corpus/tlsrpt_report/", $name))
    };
}

/// 2026-04-03T00:00:00Z.
const NOW: UnixTime = UnixTime(1_775_174_400);

#[test]
fn reports_are_read_in_the_shapes_of_the_large_senders() {
    check(
        sample!("google.eml"),
        "Google Inc. google.example 2026-04-01T00:00:00Z_example.org \
         1775001600-1775087999: sts example.org 41/2 mx mx1.example.org,*.mx.example.org \
         text version: STSv1|mode: enforce|mx: mx1.example.org|mx: *.mx.example.org|max_age: 1209600 \
         certificate-host-mismatch mx1.example.org 2",
        &[],
    );
    check(
        sample!("microsoft.eml"),
        "Microsoft Corporation microsoft.example 134195712000000000+example.org \
         1775001600-1775087999: sts example.org 0/3 sts-policy-fetch-error - 3 \
         tlsa example.org 12/0 text 3 1 1 0D0BFA2B1B2D",
        &[],
    );
    check(
        sample!("yahoo.eml"),
        "Yahoo Inc. yahoo.example yahoo-1775001600-example.org \
         1775001600-1775087999: sts example.org 7/1 mx mx1.example.org \
         text version: STSv1|mode: enforce|mx: mx1.example.org|max_age: 86400 \
         starttls-not-supported mx1.example.org 1",
        &[],
    );
    check(
        sample!("mail_ru.eml"),
        "Mail.Ru mail.example 66112233445566778899@mail.example \
         1774990800-1775077200: sts example.org 19/0 mx mx1.example.org \
         text version: STSv1|mode: enforce|mx: mx1.example.org|max_age: 86400",
        &[],
    );
    check(
        sample!("comcast.eml"),
        "Comcast comcast.example c7a1d2 1775001600-1775087999: tlsa mx1.example.org 3/4 \
         mx mx1.example.org text 3 1 1 AB12|3 1 1 CD34 tlsa-invalid mx1.example.org 3 \
         quantum-failure mx1.example.org 1",
        &[Remark::NotAnAddress(String::from("relay-7"))],
    );
    check(
        sample!("postfix.json.gz"),
        "sys.example - 2026-04-01T00:00:00Z_idx1_example.org 1775001600-1775087999: \
         no-policy-found  1/0",
        &[Remark::NoPolicyDomain],
    );
}

#[test]
fn a_report_that_somebody_forwards_is_read() {
    assert_eq!(
        one(sample!("forwarded.eml")).report,
        one(sample!("google.eml")).report
    );
}

#[test]
fn an_unknown_result_type_is_kept() {
    let report = one(sample!("comcast.eml")).report;
    let details = &report.policies[0].failure_details[1];
    let unknown = ResultType::Other(String::from("quantum-failure"));
    assert_eq!(details.result_type, unknown);
    let code = details.failure_reason_code.as_deref();
    assert_eq!(code, Some("E_QUANTUM"));
}

#[test]
fn what_is_strange_is_remarked_on_and_the_rest_counts() {
    check(
        sample!("overlap.json"),
        "A - o 1775174400-1775260799: no-policy-found a.example 0/1 \
         certificate-expired - 1000000000 tlsa-invalid - 1000",
        &[
            Remark::AbsurdDates,
            Remark::AbsurdCount,
            Remark::CountsOverlap,
            Remark::UnknownPolicyType(String::from("dnssec")),
        ],
    );
    check(
        sample!("odd.json"),
        "List Org - 17 1775174400-1775260799: no-policy-found  0/0 true - 0",
        &[Remark::NoDates, Remark::NoPolicyDomain],
    );
    check(
        sample!("truncated.json.gz"),
        "Company-X - 5065427c-23d3-47ca-b6e0-946ea0e8c4be 1459468800-1459555199: \
         sts company-y.example 5326/303 mx *.mail.company-y.example \
         text version: STSv1|mode: testing|mx: *.mail.company-y.example|max_age: 86400 \
         certificate-expired mx1.mail.company-y.example 100 \
         starttls-not-supported mx2.mail.company-y.example 200 \
         validation-failure mx-backup.mail.company-y.example 3",
        &[Remark::DamagedBehind(String::from(
            "unexpected end of file",
        ))],
    );
    check(
        br#"{"policies":[{}]}"#,
        "- -  1775174400-1775260799: no-policy-found  0/0",
        &[
            Remark::NoOrganization,
            Remark::NoReportId,
            Remark::NoDates,
            Remark::NoPolicyDomain,
        ],
    );
}

#[test]
fn the_domain_in_the_header_stands_in_for_a_missing_policy_domain() {
    let mail = b"From: a@b.example\r\nTLS-Report-Domain: Example.ORG\r\n\r\n\
        {\"organization-name\":\"A\",\"policies\":[{\"policy\":{\"policy-type\":\"sts\"}}]}\r\n";
    let reading = one(mail);
    assert_eq!(reading.submitter.as_deref(), Some("b.example"));
    let policy = &reading.report.policies[0].policy;
    assert_eq!(policy.policy_domain, "example.org");
    assert_eq!(policy.policy_type, PolicyType::Sts);
}

#[test]
fn a_byte_order_mark_an_old_encoding_and_padding_do_not_hide_a_report() {
    let reading =
        one(b"\xef\xbb\xbf {\"organization-name\":\"M\xfcller\",\"policies\":[{}]}\0\0\r\n");
    let organization = reading.report.organization_name.unwrap();
    assert_eq!(organization, "M\u{fffd}ller");
}

#[test]
fn what_is_no_report_is_said() {
    unreadable(b"", "neither JSON nor gzip, nor a mail");
    unreadable(b"\0\xff", "neither JSON nor gzip, nor a mail");
    unreadable(
        sample!("no_report.eml"),
        "neither JSON nor gzip, nor a mail",
    );
    unreadable(
        sample!("broken_part.eml"),
        "the part is neither JSON nor gzip",
    );
    unreadable(b"{}", "the JSON has none of the members of a report");
    unreadable(b"{\"report-id\":\"1\"}", "it tells of no policy");
    unreadable(
        b"{\"report-id\":\"1\",\"policies\":[]}",
        "it tells of no policy",
    );
    unreadable(b"{\"report-id\":", "the JSON cannot be read: EOF");
    unreadable(b"\x1f\x8b\x08junk", "it does not inflate: ");
    unreadable(
        sample!("deep.json"),
        "the JSON cannot be read: recursion limit",
    );
}

#[test]
fn a_bomb_is_refused_before_it_fills_the_memory() {
    let letters = vec![b'a'; INFLATED_OCTETS_MAX + 1];
    let bomb = compress(&[b"{\"report-id\":\"", letters.as_slice(), b"\"}"].concat());
    assert!(bomb.len() < INFLATED_OCTETS_MAX / 500);
    unreadable(&bomb, "it inflates to more than 8388608 octets");
    let twice = [bomb.as_slice(), &bomb].concat();
    unreadable(&twice, "it inflates to more than 8388608 octets");
}

/// So that nobody can use up the stack.
#[test]
fn mails_within_mails_are_looked_into_only_so_deep() {
    let report = "{\"organization-name\":\"A\",\"report-id\":\"1\",\"policies\":[{}]}";
    let wrapped = |depth: usize| {
        let header = "From: a@b.example\r\nContent-Type: message/rfc822\r\n\r\n";
        let mail = header.repeat(depth) + "From: a@b.example\r\n\r\n" + report;
        mail.into_bytes()
    };
    assert_eq!(one(&wrapped(8)).report.report_id, "1");
    unreadable(&wrapped(9), "neither JSON nor gzip, nor a mail");
    unreadable(&wrapped(100_000), "neither JSON nor gzip, nor a mail");
    let nested: String = (0..50_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    unreadable(nested.as_bytes(), "neither JSON nor gzip, nor a mail");
}

#[test]
fn a_header_without_an_end_is_not_read() {
    for line in ["a:\n", "Content-Type: multipart/mixed;\n", " a*1=b;\n"] {
        let mut mail = String::from("Subject: x\n");
        while mail.len() <= 64 << 10 {
            mail.push_str(line);
        }
        mail.push_str("\n{}");
        let [Err(why)] = &read(mail.as_bytes(), NOW)[..] else {
            panic!("{line:?} was read");
        };
        assert_eq!(*why, Unreadable::LongHeader);
    }
}

#[test]
fn parts_without_a_header_or_an_end_are_read() {
    let header = "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=\"x y\"\r\n\r\n";
    let report = "{\"organization-name\":\"A\",\"report-id\":\"1\",\"policies\":[{}]}";
    let mail = format!("{header}preamble\r\n--x y\r\n\r\n{report}\r\n--x yz\r\n");
    let said = "the JSON cannot be read: trailing characters";
    unreadable(mail.as_bytes(), said);
    let mail = format!("{header}--x y \n\n{report}\n--x y--\n{{");
    assert_eq!(one(mail.as_bytes()).report.report_id, "1");
    let mail = format!("{header}--x y\r\nX: y\r\n\r\n{report}");
    assert_eq!(one(mail.as_bytes()).report.report_id, "1");
}

#[test]
fn lists_and_texts_are_cut_and_that_is_said() {
    let details = vec![json!({"result-type": "tlsa-invalid"}); DETAILS_PER_POLICY_MAX + 5];
    let policy = json!({
        "policy": {"policy-domain": "é".repeat(2_000)},
        "summary": {},
        "failure-details": details,
    });
    let policies = vec![policy; 12];
    let report = json!({"organization-name": "A", "report-id": "1", "policies": policies});
    let reading = one(report.to_string().as_bytes());
    let policies = &reading.report.policies;
    let read: usize = policies.iter().map(|it| it.failure_details.len()).sum();
    assert_eq!(read, DETAILS_MAX);
    let domain = &policies[0].policy.policy_domain;
    assert_eq!(domain, &"é".repeat(126));
    let what = "failure details";
    let remarks = &reading.remarks;
    assert!(remarks.contains(&Remark::LongName));
    assert!(remarks.contains(&Remark::LeftOut { what, count: 5 }));
    assert!(remarks.contains(&Remark::LeftOut { what, count: 1_005 }));

    let policies = vec![json!({}); POLICIES_MAX + 1];
    let reading = one(json!({ "policies": policies }).to_string().as_bytes());
    assert_eq!(reading.report.policies.len(), POLICIES_MAX);
    let (what, count) = ("policies", 1);
    assert!(reading.remarks.contains(&Remark::LeftOut { what, count }));
}

#[test]
fn a_name_is_kept_as_long_as_one_can_be() {
    let check = |octets: usize, expected: usize, remarks: &[Remark]| {
        let name = "a".repeat(octets);
        let report = json!({"organization-name": name, "report-id": "1",
        "date-range": {"start-datetime": "2026-04-03T00:00:00Z"},
        "policies": [{
            "policy": {"policy-domain": format!("{name}."), "mx-host": [name]},
            "failure-details": [{"result-type": name, "receiving-mx-hostname": name}],
        }]});
        let reading = one(report.to_string().as_bytes());
        assert_eq!(reading.remarks, remarks);
        let PolicyReport {
            policy,
            failure_details,
            ..
        } = &reading.report.policies[0];
        let expected = "a".repeat(expected);
        assert_eq!(policy.policy_domain, expected);
        assert_eq!(policy.mx_host, [expected.as_str()]);
        assert_eq!(failure_details[0].result_type.as_str(), expected);
        let mx = failure_details[0].receiving_mx_hostname.as_deref();
        assert_eq!(mx, Some(expected.as_str()));
    };
    check(253, 253, &[]);
    check(254, 253, &[Remark::LongName]);
}

#[test]
fn a_report_is_the_same_whichever_way_and_whenever_it_comes() {
    let report =
        r#"{"organization-name": "A \" B", "report-id": "1", "policies": [{"policy": {}}]}"#;
    let digest = one(report.as_bytes()).digest;
    let laid_out = report.replace(": ", " :\r\n\t");
    let mail = "From: a@b.example\r\nTLS-Report-Domain: example.org\r\n\r\n";
    for same in [
        format!("\u{feff}{laid_out}\0\n").into_bytes(),
        compress(report.as_bytes()),
        format!("{mail}{report}\r\n").into_bytes(),
    ] {
        assert_eq!(one(&same).digest, digest);
    }
    let next_day = read(report.as_bytes(), UnixTime(NOW.0 + 86_400));
    assert_eq!(next_day[0].as_ref().unwrap().digest, digest);
    // Space in a text is said.
    for other in [report.replace("\" B", "\"B"), report.replace("\"A", "\" A")] {
        assert_ne!(one(other.as_bytes()).digest, digest);
    }
}

#[test]
fn the_original_is_kept_as_it_came() {
    let reading = one(sample!("google.eml"));
    let again = one(&reading.original);
    assert_eq!(again.report, reading.report);
    let inflated = gzip::inflate(&reading.original).unwrap();
    assert!(
        inflated
            .octets
            .starts_with(b"{\"organization-name\":\"Google")
    );
}

#[track_caller]
fn check(octets: &[u8], expected: &str, remarks: &[Remark]) {
    let reading = one(octets);
    assert_eq!(shown(&reading), expected);
    assert_eq!(reading.remarks, remarks);
}

#[track_caller]
fn one(octets: &[u8]) -> Reading {
    let mut readings = read(octets, NOW);
    assert_eq!(readings.len(), 1);
    readings.remove(0).unwrap()
}

#[track_caller]
fn unreadable(octets: &[u8], why: &str) {
    let said = match read(octets, NOW).as_slice() {
        [Err(said)] => said.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(said.starts_with(why), "{said}");
}

/// What of a report counts, in one line.
fn shown(reading: &Reading) -> String {
    let report = &reading.report;
    let mut line = format!(
        "{} {} {} {}-{}:",
        report.organization_name.as_deref().unwrap_or("-"),
        reading.submitter.as_deref().unwrap_or("-"),
        report.report_id,
        report.date_range.start_datetime.0,
        report.date_range.end_datetime.0,
    );
    for PolicyReport {
        policy,
        summary,
        failure_details,
    } in &report.policies
    {
        write!(
            line,
            " {} {} {}/{}",
            policy.policy_type.as_str(),
            policy.policy_domain,
            summary.total_successful_session_count,
            summary.total_failure_session_count,
        )
        .unwrap();
        if !policy.mx_host.is_empty() {
            write!(line, " mx {}", policy.mx_host.join(",")).unwrap();
        }
        if !policy.policy_string.is_empty() {
            write!(line, " text {}", policy.policy_string.join("|")).unwrap();
        }
        for details in failure_details {
            let (how, mx) = (&details.result_type, &details.receiving_mx_hostname);
            let (mx, count) = (mx.as_deref().unwrap_or("-"), details.failed_session_count);
            write!(line, " {how} {mx} {count}").unwrap();
        }
    }
    line
}
