//! Section 3.2: MTA-STS Policies.

use std::time::Duration;

use byrnie_base::InvalidDomainName;
use byrnie_mta_sts::Field;
use byrnie_mta_sts::MX_PATTERNS_MAX;
use byrnie_mta_sts::Mode;
use byrnie_mta_sts::POLICY_OCTETS_MAX;
use byrnie_mta_sts::Policy;
use byrnie_mta_sts::PolicyError;

/// The example of the RFC.
const GOOD: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n\
    mx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";

#[test]
fn the_example_of_the_rfc_is_read() {
    let policy: Policy = GOOD.parse().unwrap();
    assert_eq!(policy.mode, Mode::Enforce);
    assert_eq!(policy.max_age, Duration::from_secs(604_800));
    assert_eq!(policy.mx().len(), 3);
    for (host, permitted) in [
        ("mail.example.com", true),
        ("MAIL.EXAMPLE.COM.", true),
        ("a.example.net", true),
        ("a.b.example.net", false),
        ("example.net", false),
        ("example.com", false),
    ] {
        assert_eq!(policy.permits(&host.parse().unwrap()), permitted, "{host}");
    }
}

#[test]
fn lines_end_in_lf_or_crlf_and_the_last_may_have_no_end() {
    let good: Policy = GOOD.parse().unwrap();
    accept(&GOOD.replace("\r\n", "\n"), &good);
    accept(&GOOD.replacen("\r\n", "\n", 2), &good);
    accept(GOOD.trim_end(), &good);
    accept(&GOOD.replace("\r\n", " \t\r\n"), &good);
    accept(&GOOD.replace(": ", ":"), &good);
    accept(&GOOD.replace(": ", ": \t "), &good);
    accept(&GOOD.replace("\r\n", "\r\n\r\n"), &good);
}

#[test]
fn required_fields_have_no_defaults() {
    for (key, field) in [
        ("version", Field::Version),
        ("mode", Field::Mode),
        ("mx", Field::Mx),
        ("max_age", Field::MaxAge),
    ] {
        let body = GOOD.replace(&format!("{key}: "), "other: ");
        refuse(&body, PolicyError::Missing(field));
    }
    refuse("", PolicyError::Missing(Field::Version));
}

#[test]
fn malformed_required_fields_refuse_the_policy() {
    refuse(
        &GOOD.replace("STSv1", "STSv2"),
        PolicyError::UnknownVersion { line: 1 },
    );
    refuse(
        &GOOD.replace("STSv1", "stsv1"),
        PolicyError::UnknownVersion { line: 1 },
    );
    for mode in ["Enforce", "strict", "", "enforce x"] {
        refuse(
            &GOOD.replace("enforce", mode),
            PolicyError::UnknownMode { line: 2 },
        );
    }
    for max_age in ["", "-1", "+1", "1.5", "12345678901", "1d", "١"] {
        refuse(
            &GOOD.replace("604800", max_age),
            PolicyError::BadMaxAge { line: 6 },
        );
    }
}

#[test]
fn a_malformed_mx_refuses_the_policy_with_its_line() {
    for (mx, why) in [
        ("*.*.example.net", InvalidDomainName::BadCharacter('*')),
        ("", InvalidDomainName::Empty),
        ("a..b", InvalidDomainName::EmptyLabel),
        ("[192.0.2.1]", InvalidDomainName::BadCharacter('[')),
        ("a.example b.example", InvalidDomainName::BadCharacter(' ')),
        ("a\r.example", InvalidDomainName::BadCharacter('\r')),
    ] {
        refuse(
            &GOOD.replace("*.example.net", mx),
            PolicyError::BadMx { line: 4, why },
        );
    }
}

#[test]
fn what_is_not_key_and_value_is_refused_with_its_line() {
    refuse(
        &GOOD.replace("mode: enforce", "mode enforce"),
        PolicyError::NotKeyValue { line: 2 },
    );
    refuse("<html>\n", PolicyError::NotKeyValue { line: 1 });
    for key in [
        " mode",
        "mode ",
        "",
        "_mode",
        "mo de",
        "\u{feff}mode",
        &"k".repeat(33),
    ] {
        let body = GOOD.replace("mode:", &format!("{key}:"));
        refuse(&body, PolicyError::BadKey { line: 2 });
    }
}

#[test]
fn first_of_duplicate_fields_counts_except_for_mx() {
    let body = format!("{GOOD}mode: none\r\nversion: x\r\nmax_age: x\r\nmx: last.example\r\n");
    let policy: Policy = body.parse().unwrap();
    assert_eq!(policy.mode, Mode::Enforce);
    assert_eq!(policy.max_age, Duration::from_secs(604_800));
    assert!(policy.permits(&"last.example".parse().unwrap()));
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    let good: Policy = GOOD.parse().unwrap();
    accept(
        &format!("a.b-c_d: x: y\r\n{GOOD}Mode: none\r\nempty:\r\n"),
        &good,
    );
}

#[test]
fn mode_none_needs_no_mx() {
    let policy: Policy = "version: STSv1\nmode: none\nmax_age: 0\n".parse().unwrap();
    assert_eq!(policy.mode, Mode::None);
    assert_eq!(policy.mx(), []);
    refuse(
        "version: STSv1\nmode: testing\nmax_age: 1\n",
        PolicyError::Missing(Field::Mx),
    );
}

#[test]
fn max_age_is_capped_at_a_year() {
    for (text, seconds) in [
        ("0", 0),
        ("0000000001", 1),
        ("31557600", 31_557_600),
        ("31557601", 31_557_600),
        ("9999999999", 31_557_600),
    ] {
        let policy: Policy = GOOD.replace("604800", text).parse().unwrap();
        assert_eq!(policy.max_age, Duration::from_secs(seconds), "{text}");
    }
}

#[test]
fn the_size_of_a_policy_is_bounded() {
    let padding = POLICY_OCTETS_MAX - GOOD.len() - "x: \r\n".len();
    let good: Policy = GOOD.parse().unwrap();
    accept(&format!("{GOOD}x: {}\r\n", "y".repeat(padding)), &good);
    refuse(
        &format!("{GOOD}x: {}\r\n", "y".repeat(padding + 1)),
        PolicyError::TooLong,
    );

    let lines = |count: usize| {
        format!(
            "version:STSv1\nmode:enforce\nmax_age:1\n{}",
            "mx:a.b\n".repeat(count)
        )
    };
    let policy: Policy = lines(MX_PATTERNS_MAX).parse().unwrap();
    assert_eq!(policy.mx().len(), MX_PATTERNS_MAX);
    refuse(
        &lines(MX_PATTERNS_MAX + 1),
        PolicyError::TooManyMx {
            line: MX_PATTERNS_MAX + 4,
        },
    );
}

#[test]
fn octets_that_are_no_text_are_refused_with_their_line() {
    let body = [GOOD.as_bytes(), b"x: \xff\r\n"].concat();
    assert_eq!(Policy::parse(&body), Err(PolicyError::NotUtf8 { line: 7 }));
}

#[track_caller]
fn accept(body: &str, expected: &Policy) {
    assert_eq!(body.parse::<Policy>().as_ref(), Ok(expected), "{body:?}");
}

#[track_caller]
fn refuse(body: &str, why: PolicyError) {
    assert_eq!(body.parse::<Policy>(), Err(why), "{body:?}");
}
