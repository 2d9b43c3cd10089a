//! Every scenario of the lab, each as a test of its own.

use std::collections::BTreeSet;

use byrnie_lab::report::Verdict;
use byrnie_lab::scenario;

use crate::played::played;

/// A test for each scenario, and one that none is left out.
macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                comes_out_as_it_must($name);
            }
        )*

        #[test]
        fn every_scenario_is_a_test() {
            let tested = BTreeSet::from([$($name),*]);
            let known: BTreeSet<&str> = scenario::all().iter().map(|it| it.name).collect();
            assert_eq!(tested, known);
        }
    };
}

scenarios! {
    dane_ee: "dane-ee",
    dane_ee_nsec3: "dane-ee-nsec3",
    dane_ta: "dane-ta",
    dane_ta_wrong_name: "dane-ta-wrong-name",
    dane_ee_expired: "dane-ee-expired",
    dane_mismatch: "dane-mismatch",
    dane_alternatives: "dane-alternatives",
    dane_second_host: "dane-second-host",
    dane_cname: "dane-cname",
    dane_wildcard: "dane-wildcard",
    dane_no_mx: "dane-no-mx",
    dane_usage_0_1: "dane-usage-0-1",
    dane_usage_0_1_clear: "dane-usage-0-1-clear",
    smart_host: "smart-host",
    starttls_stripped: "starttls-stripped",
    starttls_refused: "starttls-refused",
    certificate_replaced: "certificate-replaced",
    replies_injected: "replies-injected",
    mx_poisoned: "mx-poisoned",
    address_poisoned: "address-poisoned",
    bogus_signature: "bogus-signature",
    expired_signature: "expired-signature",
    stripped_signature: "stripped-signature",
    tlsa_servfail: "tlsa-servfail",
    tlsa_refused: "tlsa-refused",
    tlsa_silence: "tlsa-silence",
    tlsa_truncated: "tlsa-truncated",
    aaaa_bogus: "aaaa-bogus",
    insecure_notimp: "insecure-notimp",
    insecure_opt_out: "insecure-opt-out",
    sts_enforce: "sts-enforce",
    sts_wrong_mx: "sts-wrong-mx",
    sts_self_signed: "sts-self-signed",
    sts_expired: "sts-expired",
    sts_wrong_name: "sts-wrong-name",
    sts_no_starttls: "sts-no-starttls",
    sts_testing: "sts-testing",
    sts_host_down: "sts-host-down",
    sts_id_changed: "sts-id-changed",
    sts_shared_host: "sts-shared-host",
    sts_redirect: "sts-redirect",
    sts_not_found: "sts-not-found",
    sts_media_type: "sts-media-type",
    sts_policy_host_certificate: "sts-policy-host-certificate",
    dane_before_sts: "dane-before-sts",
    opportunistic: "opportunistic",
    opportunistic_signed: "opportunistic-signed",
    opportunistic_clear: "opportunistic-clear",
    null_mx: "null-mx",
    host_down_then_up: "host-down-then-up",
    greeting_421: "greeting-421",
    recipient_450: "recipient-450",
    recipient_550: "recipient-550",
    message_554: "message-554",
    dropped_connection: "dropped-connection",
    endless_reply: "endless-reply",
    slow_host: "slow-host",
    no_chunking: "no-chunking",
    silent_host: "silent-host",
    dripping_host: "dripping-host",
    endless_host: "endless-host",
    reply_lost: "reply-lost",
    reset_in_data: "reset-in-data",
    busy_for_ever: "busy-for-ever",
    closes_when_idle: "closes-when-idle",
    one_message: "one-message",
    requiretls: "requiretls",
    requiretls_unsupported: "requiretls-unsupported",
    requiretls_in_clear: "requiretls-in-clear",
    tls_required_no: "tls-required-no",
    submission_starttls: "submission-starttls",
    commands_injected: "commands-injected",
}

#[track_caller]
fn comes_out_as_it_must(name: &str) {
    let scenarios = &played().outcome.scenarios;
    let result = scenarios.iter().find(|it| it.name == name).unwrap();
    let story: Vec<&str> = result.story.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(
        result.verdict(),
        Verdict::AsItMust,
        "{}\n{:#?}\n{}",
        result.title,
        result.checks,
        story.join("\n")
    );
}
