//! What `byrnie policy --json` says about the lab's domains.

use serde_json::Value;
use serde_json::json;

use crate::played::DOMAINS;
use crate::played::played;

#[test]
fn one_object_per_domain_in_the_order_asked() {
    let domains = played().policies.iter().map(|it| it["domain"].as_str());
    assert!(domains.eq(DOMAINS.iter().map(|domain| Some(*domain))));
}

#[test]
fn the_verdict_is_one_word() {
    check("dane-ee.test", "/verdict", &json!("dane"));
    check("sts-good.test", "/verdict", &json!("mta-sts"));
    check("plain.test", "/verdict", &json!("opportunistic"));
    check("null.test", "/verdict", &json!("reject"));
    check("dns-silent.test", "/verdict", &json!("wait"));
    check("does-not-exist.test", "/verdict", &json!("reject"));
}

#[test]
fn dane_hosts_carry_their_records_and_names() {
    let host = "/hosts/0";
    check(
        "dane-ee.test",
        &format!("{host}/host"),
        &json!("mx.dane-ee.test"),
    );
    check("dane-ee.test", &format!("{host}/preference"), &json!(10));
    check("dane-ee.test", &format!("{host}/verdict"), &json!("dane"));
    check(
        "dane-ee.test",
        &format!("{host}/tlsa_base"),
        &json!("mx.dane-ee.test"),
    );
    check(
        "dane-ee.test",
        &format!("{host}/reference_names"),
        &json!(["mx.dane-ee.test", "dane-ee.test"]),
    );
    let record = about("dane-ee.test").pointer("/hosts/0/tlsa/0").unwrap();
    assert!(record.as_str().unwrap().starts_with("3 1 1 "), "{record}");
    check("dane-ee.test", "/dnssec", &json!("secure"));
}

#[test]
fn policies_carry_where_they_came_from() {
    check("sts-good.test", "/mta_sts/source", &json!("cached"));
    check("sts-good.test", "/mta_sts/policy/mode", &json!("enforce"));
    check("dane-ee.test", "/mta_sts/policy", &Value::Null);
    check("dane-ee.test", "/mta_sts/source", &json!("absent"));
}

#[test]
fn a_policy_that_only_the_gateway_knows_still_counts() {
    check("sts-down.test", "/verdict", &json!("mta-sts"));
    check("sts-down.test", "/mta_sts/source", &json!("cached"));
}

#[test]
fn the_options_stand_in_for_the_configuration() {
    for (domain, verdict) in [
        ("dane-ee.test", "dane"),
        ("sts-good.test", "mta-sts"),
        ("sts-down.test", "opportunistic"),
    ] {
        let mut said = played().elsewhere.iter();
        let about = said.find(|policy| policy["domain"] == domain).unwrap();
        assert_eq!(about["verdict"], verdict, "{about}");
    }
}

#[test]
fn every_verdict_has_reasons() {
    for policy in &played().policies {
        let mut reasons = policy["reasons"].as_array().unwrap().len();
        for host in policy["hosts"].as_array().unwrap() {
            reasons += host["reasons"].as_array().unwrap().len();
        }
        assert!(reasons > 0, "{policy}");
    }
}

#[test]
fn the_metrics_count_what_happened() {
    for line in [
        "byrnie_attempts_total{requirement=\"dane\",result=\"delivered\"}",
        "byrnie_attempts_total{requirement=\"mta-sts\",result=\"delivered\"}",
        "byrnie_dns_lookups_total{status=\"secure\"}",
        "byrnie_dns_lookups_total{status=\"bogus\"}",
        "byrnie_decision_seconds_count",
        "byrnie_connections_out_total{",
        "byrnie_messages_accepted_total{",
        "# EOF",
    ] {
        assert!(
            played().metrics.contains(line),
            "{line}\n{}",
            played().metrics
        );
    }
}

#[track_caller]
fn check(domain: &str, pointer: &str, expected: &Value) {
    let policy = about(domain);
    assert_eq!(
        policy.pointer(pointer),
        Some(expected),
        "{domain}: {policy}"
    );
}

#[track_caller]
fn about(domain: &str) -> &'static Value {
    let policies = &played().policies;
    policies.iter().find(|it| it["domain"] == domain).unwrap()
}
