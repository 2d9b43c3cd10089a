//! In which order hosts and their addresses are tried.

use std::net::IpAddr;

use byrnie_policy::HostDecision;
use byrnie_policy::Requirement;

/// Which addresses of a host are tried, and in which order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AddressOrder {
    /// IPv6, then IPv4.
    #[default]
    PreferIpv6,
    /// IPv4, then IPv6.
    PreferIpv4,
    /// IPv6 alone.
    Ipv6Only,
    /// IPv4 alone.
    Ipv4Only,
}

impl AddressOrder {
    /// The addresses to try, in order; within a family as they were given.
    pub(crate) fn sort(self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let family = |wanted: Family| {
            addresses
                .iter()
                .copied()
                .filter(move |address| address.is_ipv6() == (wanted == Family::Ipv6))
        };
        let mut sorted: Vec<IpAddr> = match self {
            Self::PreferIpv6 => family(Family::Ipv6).chain(family(Family::Ipv4)).collect(),
            Self::PreferIpv4 => family(Family::Ipv4).chain(family(Family::Ipv6)).collect(),
            Self::Ipv6Only => family(Family::Ipv6).collect(),
            Self::Ipv4Only => family(Family::Ipv4).collect(),
        };
        sorted.truncate(ADDRESSES_PER_HOST_MAX);
        sorted
    }
}

/// An address family.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Family {
    Ipv4,
    Ipv6,
}

/// The hosts to try: by preference, and in random order where that is equal.
///
//= https://www.rfc-editor.org/rfc/rfc5321#section-5.1
//# If there are multiple destinations with the same preference and there
//# is no clear reason to favor one (e.g., by recognition of an easily
//# reached address), then the sender-SMTP MUST randomize them to spread
//# the load across multiple mail exchangers for a specific organization.
pub(crate) fn hosts_to_try<'a>(
    usable: impl Iterator<Item = (&'a HostDecision, &'a Requirement)>,
    random: &mut fastrand::Rng,
) -> Vec<(&'a HostDecision, &'a Requirement)> {
    let mut hosts: Vec<_> = usable.collect();
    random.shuffle(&mut hosts);
    // Stable, so that equals stay shuffled.
    hosts.sort_by_key(|(host, _)| host.preference);
    hosts.truncate(HOSTS_PER_ATTEMPT_MAX);
    hosts
}

/// Addresses of one host that one attempt tries.
const ADDRESSES_PER_HOST_MAX: usize = 4;

/// Hosts that one attempt tries.
const HOSTS_PER_ATTEMPT_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use byrnie_policy::HostVerdict;
    use byrnie_policy::RequireTls;
    use byrnie_policy::StsObservation;
    use byrnie_policy::TlsRequirement;

    use super::*;

    #[test]
    fn families_are_tried_in_the_configured_order() {
        check(
            AddressOrder::PreferIpv6,
            "2001:db8::1 2001:db8::2 192.0.2.1",
        );
        check(
            AddressOrder::PreferIpv4,
            "192.0.2.1 2001:db8::1 2001:db8::2",
        );
        check(AddressOrder::Ipv6Only, "2001:db8::1 2001:db8::2");
        check(AddressOrder::Ipv4Only, "192.0.2.1");
    }

    #[test]
    fn equal_preferences_are_shuffled_and_others_are_not() {
        let hosts = [host("a", 20), host("b", 10), host("c", 10), host("d", 5)];
        let requirement = Requirement {
            tls: TlsRequirement::Opportunistic,
            require_tls: RequireTls::NotDemanded,
            sts_observation: StsObservation::None,
        };
        let mut orders = BTreeSet::new();
        for seed in 0..32 {
            let mut random = fastrand::Rng::with_seed(seed);
            let usable = hosts.iter().map(|host| (host, &requirement));
            let names: Vec<&str> = hosts_to_try(usable, &mut random)
                .iter()
                .map(|(host, _)| host.host.as_str())
                .collect();
            orders.insert(names.join(""));
        }
        let both = ["dbca", "dcba"].map(String::from);
        assert_eq!(orders, BTreeSet::from(both));
    }

    #[track_caller]
    fn check(order: AddressOrder, expected: &str) {
        let given = ["2001:db8::1", "192.0.2.1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let sorted: Vec<String> = order.sort(&given).iter().map(ToString::to_string).collect();
        assert_eq!(sorted.join(" "), expected);
    }

    fn host(name: &str, preference: u16) -> HostDecision {
        HostDecision {
            host: name.parse().unwrap(),
            preference,
            addresses: vec![],
            verdict: HostVerdict::Skip,
            reasons: vec![],
        }
    }
}
