//! What is answered where mail may not go.

use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::MxRrset;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsSource;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;

use crate::support::answered;
use crate::support::bogus;
use crate::support::domain;
use crate::support::failed;
use crate::support::host;
use crate::support::policy;

#[test]
fn mail_that_may_go_gets_no_reply() {
    assert_eq!(decide(&plain()).reply(), None);
}

#[test]
fn what_will_never_do_is_refused_for_good() {
    let null = answered(Ok(Secured::insecure(MxRrset::Null)));
    check(
        &null,
        "556 5.1.10 example.org: The domain says that it takes no mail (null MX).",
    );
    let gone = answered(Ok(Secured::insecure(MxRrset::NoSuchDomain)));
    check(
        &gone,
        "550 5.1.2 example.org: The domain does not exist; that is not signed.",
    );
    let mut empty = plain();
    empty.hosts[0].ipv4 = Ok(Secured::insecure(Vec::new()));
    check(
        &empty,
        "550 5.4.4 example.org: None of the mail hosts has an address.",
    );
    let mut demanding = plain();
    demanding.message = TlsDemand::RequireTls;
    check(
        &demanding,
        "550 5.7.30 example.org: No mail host can be authenticated, which REQUIRETLS demands.",
    );
}

#[test]
fn what_may_change_is_put_off() {
    check(
        &answered(Err(failed())),
        "451 4.4.3 example.org: The MX records could not be looked up: no answer within 5 s.",
    );
    check(
        &answered(Err(bogus())),
        "451 4.7.5 example.org: The MX records could not be looked up: the answer is forged or \
         broken (the signature has expired).",
    );
    let tlsa = HostEvidence {
        tlsa: TlsaEvidence::Failed(failed()),
        ..host(10, "mx.example.org", Security::Secure)
    };
    check(
        &domain(Security::Secure, vec![tlsa]),
        "451 4.4.3 example.org, host mx.example.org: Whether it has TLSA records could not be \
         looked up: no answer within 5 s.",
    );
    let mut unreadable = plain();
    unreadable.sts = StsEvidence::StoreUnreadable(String::from("disk I/O error"));
    check(
        &unreadable,
        "451 4.3.0 example.org: Stored MTA-STS policies cannot be read here: disk I/O error.",
    );
    let mut unnamed = plain();
    unnamed.sts = policy("enforce", &["mx9.example.org"], StsSource::Cached);
    check(
        &unnamed,
        "451 4.7.5 example.org: The MTA-STS policy names none of the mail hosts that could be \
         used.",
    );
    let mut floored = plain();
    floored.floor = Some(Strength::Dane);
    check(
        &floored,
        "451 4.7.5 example.org, host mx.example.org: An earlier attempt was held to DANE; now \
         only opportunistic TLS would hold, so the mail waits.",
    );
}

#[test]
fn a_reply_is_one_printable_line_whatever_a_reason_holds() {
    let why = format!("é\r\n250 fine {}", "x".repeat(1_000));
    let reply = decide(&answered(Err(LookupError::Failed(why))))
        .reply()
        .unwrap();
    let line = &reply.lines[0];
    assert!(line.len() <= 480, "{}", line.len());
    assert!(line.contains("???250 fine xxx"), "{line}");
    assert_eq!(reply.lines.len(), 1);
}

/// A domain in an unsigned zone with one host.
fn plain() -> Evidence {
    domain(
        Security::Insecure,
        vec![host(10, "mx.example.org", Security::Insecure)],
    )
}

#[track_caller]
fn check(evidence: &Evidence, expected: &str) {
    let reply = decide(evidence).reply().unwrap();
    let enhanced = reply.enhanced.unwrap();
    let text = reply.lines.join("/");
    assert_eq!(format!("{} {enhanced} {text}", reply.code), expected);
}
