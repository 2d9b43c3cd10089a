//! Section 3.3: HTTPS Policy Fetching, as far as it needs no network.

use byrnie_base::DomainName;
use byrnie_mta_sts::POLICY_PATH;
use byrnie_mta_sts::policy_host;
use byrnie_mta_sts::record_owner;

#[test]
fn policy_host_and_record_stand_right_below_the_policy_domain() {
    let domain: DomainName = "mail.example.com".parse().unwrap();
    assert_eq!(
        policy_host(&domain).unwrap().as_str(),
        "mta-sts.mail.example.com"
    );
    assert_eq!(
        record_owner(&domain).unwrap().as_str(),
        "_mta-sts.mail.example.com"
    );
    assert_eq!(POLICY_PATH, "/.well-known/mta-sts.txt");
}

#[test]
fn a_domain_without_room_for_a_policy_host_is_refused() {
    let domain: DomainName = "a.".repeat(125).parse().unwrap();
    assert!(policy_host(&domain).is_err());
    assert!(record_owner(&domain).is_err());
}
