//! Asks the network and the decision about a next hop.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Secured;
use byrnie_net::current::Current;
use byrnie_net::dns::Resolve;
use byrnie_net::gather::Destination;
use byrnie_net::gather::Gathered;
use byrnie_net::gather::Gatherer;
use byrnie_net::sts::FetchPolicy;
use byrnie_net::sts::PolicyCache;
use byrnie_policy::Decision;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::MxRrset;
use byrnie_policy::StsEvidence;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;
use tokio::time::Instant;

use crate::Rules;
use crate::delivery::Decide;
use crate::delivery::Ruling;
use crate::delivery::Terms;
use crate::sharing::Sharing;

/// Gathers evidence and decides; what was decided is shared for seconds among those who ask under the
/// same terms.
pub(crate) struct Judge<R, C, F> {
    /// Asks.
    gatherer: Gatherer<R, C, F>,
    /// What the operator demands, and what was decided under it.
    ruled: Arc<Current<Ruled>>,
}

/// What the operator demands; whoever replaces it has everything decided anew.
pub(crate) struct Ruled {
    rules: Rules,
    /// What was decided just now, and what is being found out.
    shared: Sharing<(MailDomain, Terms), Ruling>,
    /// The same for other MTAs.
    considered: Sharing<Destination, Considered>,
}

/// What another MTA is told about a destination rests upon this.
#[derive(Clone, Debug)]
pub struct Considered {
    /// What is known.
    pub evidence: Evidence,
    /// What follows from it.
    pub decision: Decision,
    /// How long the shortest-lived answer in the evidence stays true; zero if a lookup failed.
    pub reuse: Duration,
    /// When that was found out.
    pub at: Instant,
}

impl Ruled {
    /// Nothing was decided yet under these rules.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            shared: Sharing::new(),
            considered: Sharing::new(),
        }
    }
}

impl<R: Resolve, C: PolicyCache, F: FetchPolicy> Judge<R, C, F> {
    /// A judge who goes by these rules, also when they change.
    pub(crate) fn new(gatherer: Gatherer<R, C, F>, ruled: Arc<Current<Ruled>>) -> Self {
        Self { gatherer, ruled }
    }

    /// Decides about a destination that the relay's own mail need not go to, for mail that demands nothing.
    pub(crate) async fn consider(&self, destination: &Destination) -> Arc<Considered> {
        let Ruled {
            rules, considered, ..
        } = &*self.ruled.get();
        let find = || async {
            let rule = rules.for_domain(&destination.domain);
            let gathering = self
                .gatherer
                .gather_at(destination, TlsDemand::None, rule, None);
            let Gathered { evidence, reuse } = Box::pin(gathering).await;
            let found = Considered {
                decision: decide(&evidence),
                evidence,
                reuse,
                at: Instant::now(),
            };
            (found, reuse.min(SHARED_MAX))
        };
        considered.get(destination.clone(), find).await
    }

    /// Gathers evidence, and says for how long it may be used again.
    async fn gather(&self, rules: &Rules, next_hop: &MailDomain, terms: Terms) -> Gathered {
        match next_hop {
            MailDomain::Name(domain) => {
                let mut rule = rules.for_domain(domain);
                rule.at_least = rule.at_least.max(terms.at_least);
                let gathering = self
                    .gatherer
                    .gather(domain, terms.demand, rule, terms.floor);
                Box::pin(gathering).await
            }
            MailDomain::Literal(address) => Gathered {
                evidence: literal_evidence(*address, terms),
                reuse: Duration::MAX,
            },
        }
    }
}

impl<R: Resolve, C: PolicyCache, F: FetchPolicy> Decide for Judge<R, C, F> {
    async fn decide(&self, next_hop: &MailDomain, terms: Terms) -> Arc<Ruling> {
        let Ruled { rules, shared, .. } = &*self.ruled.get();
        let find = || async {
            let Gathered { evidence, reuse } = self.gather(rules, next_hop, terms).await;
            let decision = decide(&evidence);
            (Ruling::new(evidence, decision), reuse.min(SHARED_MAX))
        };
        shared.get((next_hop.clone(), terms), find).await
    }
}

/// How long a decision is shared, where each answer that it rests on lives that long: seconds, so that
/// a mailing does not ask for each of its messages, and what a domain changes counts at once.
const SHARED_MAX: Duration = Duration::from_secs(3);

/// What there is to know about an address literal: nothing that is signed, and no policy.
fn literal_evidence(address: IpAddr, terms: Terms) -> Evidence {
    let rule = DomainRule {
        at_least: terms.at_least,
        ..DomainRule::default()
    };
    let name = reverse_name(address);
    let mut ipv4 = Vec::new();
    let mut ipv6 = Vec::new();
    match address {
        IpAddr::V4(address) => ipv4.push(address),
        IpAddr::V6(address) => ipv6.push(address),
    }
    Evidence {
        hosts: vec![HostEvidence {
            host: name.clone(),
            preference: 0,
            expanded: None,
            alias: None,
            ipv4: Ok(Secured::insecure(ipv4)),
            ipv6: Ok(Secured::insecure(ipv6)),
            tlsa: TlsaEvidence::NotAsked,
        }],
        domain: name,
        expanded_domain: None,
        mx: Ok(Secured::insecure(MxRrset::Literal)),
        sts: StsEvidence::NotAsked,
        rule,
        message: terms.demand,
        floor: terms.floor,
    }
}

/// The name under which the DNS would know an address: RFC 1035, Section 3.5; RFC 3596, Section 2.5.
///
/// It stands for the address in decisions alone, and is neither looked up nor sent.
#[expect(
    clippy::expect_used,
    reason = "numbers and nibbles with dots between them are a domain name of at most 72 octets"
)]
fn reverse_name(address: IpAddr) -> DomainName {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles: Vec<String> = address
                .octets()
                .iter()
                .rev()
                .flat_map(|octet| [format!("{:x}", octet & 15), format!("{:x}", octet >> 4)])
                .collect();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    };
    DomainName::from_ascii(&text).expect("a reverse name is a domain name")
}

#[cfg(test)]
mod tests {
    use byrnie_policy::Strength;
    use byrnie_policy::Verdict;
    use byrnie_smtp::TlsDemand;

    use super::*;

    #[test]
    fn a_literal_is_one_address_without_promises() {
        let decision = decide(&literal_evidence(address("192.0.2.7"), Terms::default()));
        assert_eq!(decision.verdict, Verdict::Opportunistic);
        assert_eq!(decision.domain.as_str(), "7.2.0.192.in-addr.arpa");
        assert_eq!(decision.hosts[0].addresses, [address("192.0.2.7")]);
        let decision = decide(&literal_evidence(address("2001:db8::1"), Terms::default()));
        assert_eq!(decision.hosts[0].addresses, [address("2001:db8::1")]);
        assert!(decision.domain.as_str().starts_with("1.0.0.0."));
        assert!(
            decision
                .domain
                .as_str()
                .ends_with(".8.b.d.0.1.0.0.2.ip6.arpa")
        );
    }

    /// Behaviour rules 34 and 35: no certificate proves an address, whoever has one for its reverse
    /// name; so mail that demands one is refused.
    #[test]
    fn a_literal_is_never_authenticated() {
        let literal = address("192.0.2.7");
        for (terms, verdict) in [
            (
                Terms {
                    demand: TlsDemand::RequireTls,
                    ..Terms::default()
                },
                Verdict::Reject,
            ),
            (
                Terms {
                    at_least: Strength::MtaSts,
                    ..Terms::default()
                },
                Verdict::Wait,
            ),
            (
                Terms {
                    at_least: Strength::Dane,
                    ..Terms::default()
                },
                Verdict::Wait,
            ),
            (
                Terms {
                    floor: Some(Strength::Dane),
                    ..Terms::default()
                },
                Verdict::Wait,
            ),
        ] {
            let decision = decide(&literal_evidence(literal, terms));
            assert_eq!(decision.verdict, verdict, "{terms:?}");
        }
        let terms = Terms {
            at_least: Strength::Encrypt,
            ..Terms::default()
        };
        let decision = decide(&literal_evidence(literal, terms));
        assert_eq!(decision.verdict, Verdict::Encrypt);
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
