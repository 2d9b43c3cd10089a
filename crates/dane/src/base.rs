//! Where TLSA records are looked up: RFC 7671, Sections 3 and 7; RFC 7672, Section 2.2.3.

use byrnie_base::DomainName;
use byrnie_base::InvalidDomainName;
use byrnie_base::Secured;
use byrnie_base::Security;

/// The TLSA base domains to try for an MX host, in this order; the first that has records counts.
///
/// `own` is the security of the RRset that stands at `host` itself: its addresses, or its CNAME.
/// `expanded` is where aliases lead, if `host` is one; it is secure only if every hop and the
/// addresses at its end are (behaviour rule 17).
///
/// An empty list means that TLSA must not be asked at all: nothing that leads to the address is
/// signed, and servers of unsigned zones are known to fail on such questions (behaviour rule 2).
#[must_use]
pub fn tlsa_base_candidates(
    host: &DomainName,
    own: Security,
    expanded: Option<&Secured<DomainName>>,
) -> Vec<DomainName> {
    if own == Security::Insecure {
        return Vec::new();
    }
    let expanded = expanded
        .filter(|expanded| expanded.is_secure() && expanded.value != *host)
        .map(|expanded| expanded.value.clone());
    expanded.into_iter().chain([host.clone()]).collect()
}

/// The owner name of TLSA records: `_25._tcp.<base>` for port 25.
///
/// # Errors
/// The name would be too long, so that no such records can exist.
pub fn tlsa_owner(base: &DomainName, port: u16) -> Result<DomainName, InvalidDomainName> {
    base.prefixed(&format!("_{port}._tcp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_no_alias_is_its_own_base() {
        check(Security::Secure, None, &["mx.example.org"]);
        check(
            Security::Secure,
            Some(Secured::secure("mx.example.org")),
            &["mx.example.org"],
        );
    }

    #[test]
    fn a_secure_alias_is_tried_at_its_target_first() {
        check(
            Security::Secure,
            Some(Secured::secure("mx.example.net")),
            &["mx.example.net", "mx.example.org"],
        );
    }

    #[test]
    fn a_secure_alias_into_an_unsigned_zone_is_tried_at_its_own_name_only() {
        check(
            Security::Secure,
            Some(Secured::insecure("mx.example.net")),
            &["mx.example.org"],
        );
    }

    #[test]
    fn an_insecure_host_is_not_asked_for_tlsa() {
        check(Security::Insecure, None, &[]);
        check(
            Security::Insecure,
            Some(Secured::secure("mx.example.net")),
            &[],
        );
    }

    #[test]
    fn the_owner_name_has_port_and_transport() {
        let base: DomainName = "mx.example.org".parse().unwrap();
        let owner = |port| tlsa_owner(&base, port).unwrap().to_string();
        assert_eq!(owner(25), "_25._tcp.mx.example.org");
        assert_eq!(owner(10_025), "_10025._tcp.mx.example.org");
        let longest: DomainName = "a.".repeat(126).parse().unwrap();
        assert_eq!(tlsa_owner(&longest, 25), Err(InvalidDomainName::TooLong));
    }

    #[track_caller]
    fn check(own: Security, expanded: Option<Secured<&str>>, expected: &[&str]) {
        let host = "mx.example.org".parse().unwrap();
        let expanded = expanded.map(|name| name.map(|name| name.parse().unwrap()));
        let candidates = tlsa_base_candidates(&host, own, expanded.as_ref());
        let candidates: Vec<&str> = candidates.iter().map(DomainName::as_str).collect();
        assert_eq!(candidates, expected);
    }
}
