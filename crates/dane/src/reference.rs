//! The names that a certificate may carry: RFC 7672, Section 3.2.2.

use byrnie_base::DomainName;

/// The names of which a certificate under usage 2 must present one; usage 3 needs none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReferenceIdentifiers {
    /// Where the TLSA records were found; also the name sent as SNI.
    pub tlsa_base: DomainName,
    /// The next-hop domain and its CNAME-expanded form, where the MX answer was secure.
    pub next_hop: Vec<DomainName>,
}
