//! What is known about a recipient domain before anything is sent to it.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dane::TlsaRecord;
use byrnie_mta_sts::Policy;
use byrnie_smtp::TlsDemand;

use crate::Strength;

/// Everything that [`decide`](crate::decide) looks at, and nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// The next-hop domain: the recipient's domain, or the smart host's.
    pub domain: DomainName,
    /// The CNAME-expanded form of `domain`, if its MX lookup went over aliases.
    pub expanded_domain: Option<Secured<DomainName>>,
    /// The answer to the MX question; its security covers every alias on the way.
    pub mx: Result<Secured<MxRrset>, LookupError>,
    /// One for each host that `mx` names, in any order; empty if `mx` names none.
    pub hosts: Vec<HostEvidence>,
    /// What MTA-STS says.
    pub sts: StsEvidence,
    /// What the operator says about this domain.
    pub rule: DomainRule,
    /// What the message itself demands.
    pub message: TlsDemand,
    /// The weakest requirement that an earlier attempt at the same delivery was held to.
    pub floor: Option<Strength>,
}

/// The answer to an MX question that had one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MxRrset {
    /// At least one MX record that names a host.
    Hosts(Vec<Mx>),
    /// NOERROR without MX records: the domain itself is the host (RFC 5321, Section 5.1).
    Implicit,
    /// A single `0 .`: the domain takes no mail (RFC 7505).
    Null,
    /// NXDOMAIN.
    NoSuchDomain,
    /// Nobody asked: the next hop is an address, and its host has a name for want of a better one.
    Literal,
    /// Nobody asked: the next hop is one host, named so that its own MX records do not count.
    Host,
}

/// One MX record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host.
    pub host: DomainName,
}

/// What the DNS says about one MX host. Each lookup keeps its own status (behaviour rule 4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostEvidence {
    /// The name in the MX record.
    pub host: DomainName,
    /// The lowest preference under which the MX RRset names it; 0 for an implicit MX.
    pub preference: u16,
    /// Where aliases lead, if `host` is one; secure only if every hop is.
    pub expanded: Option<Secured<DomainName>>,
    /// How well the first alias is proven, the one that stands at `host` itself, if there is one.
    pub alias: Option<Security>,
    /// The A records; an empty list is a proven absence.
    pub ipv4: Result<Secured<Vec<Ipv4Addr>>, LookupError>,
    /// The AAAA records; an empty list is a proven absence.
    pub ipv6: Result<Secured<Vec<Ipv6Addr>>, LookupError>,
    /// The TLSA records.
    pub tlsa: TlsaEvidence,
}

impl HostEvidence {
    /// The names under which TLSA records count for this host, in the order of their rank.
    ///
    /// Empty if the zones on the way are not signed: then nobody may even ask, as the servers of
    /// unsigned zones answer such questions with errors (behaviour rule 2).
    #[must_use]
    pub fn tlsa_candidates(&self) -> Vec<DomainName> {
        let addresses = if self.has_secure_addresses() {
            Security::Secure
        } else {
            Security::Insecure
        };
        match (&self.expanded, self.alias) {
            (None, _) if addresses == Security::Secure => vec![self.host.clone()],
            (None, _) => Vec::new(),
            // RFC 7672, Section 2.2.2: the expanded name first, then the original one.
            (Some(expanded), _) if expanded.security.min(addresses) == Security::Secure => {
                vec![expanded.value.clone(), self.host.clone()]
            }
            // The alias is signed, what it leads to is not: whoever signed the alias may also have
            // signed TLSA records next to it.
            (Some(_), Some(Security::Secure)) => vec![self.host.clone()],
            (Some(_), Some(Security::Insecure) | None) => Vec::new(),
        }
    }

    /// Whether at least one family has addresses and proves them.
    ///
    /// The other family may be unproven or unknown (behaviour rule 4): the requirement that
    /// follows holds for whatever address is connected to.
    fn has_secure_addresses(&self) -> bool {
        let ipv4 = self
            .ipv4
            .as_ref()
            .is_ok_and(|v4| v4.is_secure() && !v4.value.is_empty());
        let ipv6 = self
            .ipv6
            .as_ref()
            .is_ok_and(|v6| v6.is_secure() && !v6.value.is_empty());
        ipv4 || ipv6
    }
}

/// What the DNS says about TLSA records of one MX host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TlsaEvidence {
    /// No question was asked, since neither the addresses nor the alias that leads to them are
    /// secure (behaviour rule 2), or DANE is off for the domain.
    NotAsked,
    /// Every candidate base domain was asked, and each denial has this security at least.
    Absent(Security),
    /// A secure RRset, usable or not.
    Found {
        /// The TLSA base domain under which it stands.
        base: DomainName,
        /// Its records; never empty.
        records: Vec<TlsaRecord>,
    },
    /// A candidate could not be looked up, or an alias on the way is not secure enough to tell.
    Failed(LookupError),
}

/// What MTA-STS says about the domain: RFC 8461.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StsEvidence {
    /// MTA-STS is off for the domain, by the operator's rule or for an address literal.
    NotAsked,
    /// The domain has no policy: no TXT record and nothing in the cache.
    Absent,
    /// The domain promises a policy, none is cached, and it could not be fetched (behaviour rule 25).
    FetchFailed(StsFailure),
    /// Nothing is cached, and whether the domain promises a policy could not be found out.
    RecordUnknown(LookupError),
    /// The policy store could not be read (behaviour rule 29).
    StoreUnreadable(String),
    /// A policy that is alive.
    Policy {
        /// The policy.
        policy: Policy,
        /// Where it came from.
        source: StsSource,
        /// Time since it was last fetched or confirmed.
        age: Duration,
    },
}

/// Why a promised policy could not be had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StsFailure {
    /// In words.
    pub why: String,
    /// The result type for reports: RFC 8460, Section 4.3.2.2.
    pub result_type: &'static str,
}

/// Where a living policy came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StsSource {
    /// Fetched for this decision.
    Fetched,
    /// Out of the cache, and there was no reason to fetch it again.
    Cached,
    /// Out of the cache although it should have been fetched again, which failed for this reason.
    CachedAfterFailure(StsFailure),
}

/// What the operator says about a recipient domain. The default adds nothing.
///
/// A rule can only strengthen, unless its name says `danger`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DomainRule {
    /// The weakest requirement that mail to this domain may have.
    pub at_least: Strength,
    /// Whether DANE applies.
    pub dane: DaneRule,
    /// Whether TLSA records count behind an insecure MX answer (behaviour rule 3).
    pub insecure_mx: InsecureMx,
}

/// Whether DANE applies to a domain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DaneRule {
    /// As RFC 7672 says.
    #[default]
    Apply,
    /// The operator switched DANE off for the domain; weakens, hence the name.
    DangerIgnore,
}

/// Whether TLSA records count behind an insecure MX answer: RFC 7672, Section 2.2.1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InsecureMx {
    /// They do not: whoever forges the MX answer chooses the hosts.
    #[default]
    NoDane,
    /// They do: a forged MX answer is not noticed, a tapped connection to the named hosts is.
    UseTlsa,
}
