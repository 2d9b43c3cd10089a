//! The name servers of a `resolv.conf`: resolver(5).

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;

/// The name servers that the text of a `resolv.conf` names, in its order, each with port 53.
///
/// Only numeric addresses can stand there; other lines, and lines that make no sense, are passed
/// over, as the C library does. At most [`NAMESERVERS_MAX`] are returned. A zone of a link-local
/// address (`fe80::1%2`) is understood if it is a number; by name it cannot be resolved without
/// asking the system.
#[must_use]
pub fn nameservers(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next())?
        })
        .filter_map(server_address)
        .take(NAMESERVERS_MAX)
        .collect()
}

/// How many name servers of a `resolv.conf` count: the C library's MAXNS.
pub const NAMESERVERS_MAX: usize = 3;

/// The port of DNS over UDP and TCP.
const DNS_PORT: u16 = 53;

/// An address, with a numeric zone if it is a link-local one.
fn server_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, DNS_PORT));
    }
    let (address, zone) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let scope: u32 = zone.parse().ok()?;
    Some(SocketAddrV6::new(address, DNS_PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_found_among_everything_else() {
        check("", &[]);
        check("nameserver 127.0.0.53\n", &["127.0.0.53:53"]);
        check(
            "# written by hand\nsearch example.org\n nameserver\t::1 # loopback\nnameserver 192.0.2.1\noptions edns0\n",
            &["[::1]:53", "192.0.2.1:53"],
        );
        check("nameserver fe80::1%2\n", &["[fe80::1%2]:53"]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        check(
            "nameserver\nnameserver example.org\n#nameserver 192.0.2.1\n",
            &[],
        );
        check("nameservers 192.0.2.1\nnameserver fe80::1%eth0\n", &[]);
        let four = "nameserver 192.0.2.1\n".repeat(4);
        check(&four, &["192.0.2.1:53"; 3]);
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text:?}");
    }
}
