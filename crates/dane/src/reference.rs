//! The names that a certificate may carry: RFC 7672, Section 3.2.2.

use byrnie_base::DomainName;
use byrnie_base::Secured;
use byrnie_base::Security;

/// The names of which a certificate under usage 2 must present one; usage 3 needs none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReferenceIdentifiers {
    /// Where the TLSA records were found; also the name sent as SNI.
    pub tlsa_base: DomainName,
    /// The next-hop domain and its CNAME-expanded form, where the MX answer was secure.
    pub next_hop: Vec<DomainName>,
}

impl ReferenceIdentifiers {
    /// Where no record is of usage 2: the certificate need present no name (RFC 7672, Section 3.1.1), so
    /// that what is demanded of a host is the same for all domains that it serves.
    #[must_use]
    pub fn without_names(tlsa_base: DomainName) -> Self {
        Self {
            tlsa_base,
            next_hop: Vec::new(),
        }
    }

    /// The names for a host of `next_hop`.
    ///
    /// The next-hop domain counts only behind a secure MX answer, and its CNAME-expanded form only
    /// if every alias on the way is secure too: otherwise whoever forges the answer would choose
    /// the names. Without MX records the next-hop domain is itself the host, and `mx` is the
    /// security of the denial.
    #[must_use]
    pub fn new(
        tlsa_base: DomainName,
        next_hop: &DomainName,
        expanded_next_hop: Option<&Secured<DomainName>>,
        mx: Security,
    ) -> Self {
        let mut names: Vec<DomainName> = Vec::new();
        if mx == Security::Secure {
            names.push(next_hop.clone());
            names.extend(
                expanded_next_hop
                    .filter(|expanded| expanded.is_secure() && expanded.value != *next_hop)
                    .map(|expanded| expanded.value.clone()),
            );
        }
        names.retain(|name| *name != tlsa_base);
        Self {
            tlsa_base,
            next_hop: names,
        }
    }

    /// All the names, the TLSA base domain first.
    pub fn names(&self) -> impl Iterator<Item = &DomainName> {
        std::iter::once(&self.tlsa_base).chain(&self.next_hop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hop_counts_only_behind_a_secure_mx_answer() {
        let net = Secured::secure("example.net");
        check(None, Security::Secure, &["mx.example.com", "example.org"]);
        check(None, Security::Insecure, &["mx.example.com"]);
        check(Some(net), Security::Insecure, &["mx.example.com"]);
    }

    #[test]
    fn the_expanded_next_hop_counts_only_if_every_alias_is_secure() {
        check(
            Some(Secured::secure("example.net")),
            Security::Secure,
            &["mx.example.com", "example.org", "example.net"],
        );
        check(
            Some(Secured::insecure("example.net")),
            Security::Secure,
            &["mx.example.com", "example.org"],
        );
    }

    #[test]
    fn no_name_stands_twice() {
        check(
            Some(Secured::secure("mx.example.com")),
            Security::Secure,
            &["mx.example.com", "example.org"],
        );
        check(
            Some(Secured::secure("example.org")),
            Security::Secure,
            &["mx.example.com", "example.org"],
        );
    }

    #[track_caller]
    fn check(expanded: Option<Secured<&str>>, mx: Security, expected: &[&str]) {
        let name = |text: &str| text.parse::<DomainName>().unwrap();
        let expanded = expanded.map(|secured| secured.map(name));
        let reference = ReferenceIdentifiers::new(
            name("mx.example.com"),
            &name("example.org"),
            expanded.as_ref(),
            mx,
        );
        let names: Vec<&str> = reference.names().map(DomainName::as_str).collect();
        assert_eq!(names, expected);
    }
}
