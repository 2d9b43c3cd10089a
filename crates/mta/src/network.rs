//! Whose mail is relayed, by address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that share a prefix: `192.0.2.0/24`, `2001:db8::/32`, or one address alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// An address in the network.
    address: IpAddr,
    /// Invariant: at most 32 for IPv4, at most 128 for IPv6.
    prefix_length: u8,
}

impl Network {
    /// Whether `address` lies in the network; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let unlike = network.to_bits() ^ address.to_bits();
                unlike.leading_zeros() >= u32::from(self.prefix_length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let unlike = network.to_bits() ^ address.to_bits();
                unlike.leading_zeros() >= u32::from(self.prefix_length)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length = match length {
            Some(length) => length.parse().map_err(|_| InvalidNetwork)?,
            None => bits,
        };
        if prefix_length > bits {
            return Err(InvalidNetwork);
        }
        Ok(Self {
            address,
            prefix_length,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// The text is neither an address nor an address with a prefix length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidNetwork;

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address, or an address with a prefix length")
    }
}

impl std::error::Error for InvalidNetwork {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("192.0.2.0/24", "::ffff:192.0.2.7", true);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:ffff::", true);
        check("2001:db8::/32", "2001:db9::", false);
        check("::1", "::1", true);
        check("192.0.2.7", "192.0.2.6", false);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "192.0.2.0/33",
            "::/129",
            "192.0.2/24",
            "a/8",
            "1.2.3.4/",
            "1.2.3.4/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text:?}");
        }
    }

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network: Network = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), inside);
        assert_eq!(network.to_string().parse(), Ok(network));
    }
}
