//! What another MTA asks about: the next hop, as Postfix writes it.
//!
//! Postfix looks up a domain, `domain:port`, `[host]` or `[host]:port`, and then each parent of the
//! domain as `.parent`: postconf(5), `smtp_tls_policy_maps`.

use std::fmt;
use std::net::IpAddr;
use std::str;

use byrnie_base::DomainName;
use byrnie_net::gather::Destination;
use byrnie_net::gather::DestinationHosts;
use byrnie_net::gather::RELAY_PORT;

/// What a key names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Key {
    /// A domain with its mail hosts, or one host.
    Destination(Destination),
    /// A parent of a domain that was asked about before. It promises nothing for names below it
    /// (behaviour rule 27), and the operator's rules for them were in the first answer.
    Parent,
    /// An address, which has no name that could promise anything.
    Literal,
    /// Nothing that has a place in the DNS, such as the path of a socket: nobody has promised anything
    /// for it.
    NotADomain,
    /// A domain or a host with a port that is none: nobody knows where its TLSA records stand.
    UnknownPort,
}

impl Key {
    /// Reads a key; every text is one.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Self {
        if octets.len() > KEY_OCTETS_MAX {
            return Self::NotADomain;
        }
        let Ok(text) = str::from_utf8(octets) else {
            return Self::NotADomain;
        };
        if let Some(parent) = text.strip_prefix('.') {
            return match parent.parse::<DomainName>() {
                Ok(_) => Self::Parent,
                Err(_) => Self::NotADomain,
            };
        }
        // An address of IPv6 without brackets has colons of its own.
        if text.parse::<IpAddr>().is_ok() {
            return Self::Literal;
        }
        match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, "")) => Self::new(host, None, DestinationHosts::Itself),
                Some((host, port)) => match port.strip_prefix(':') {
                    Some(port) => Self::new(host, Some(port), DestinationHosts::Itself),
                    None => Self::NotADomain,
                },
                None => Self::NotADomain,
            },
            None => match text.split_once(':') {
                Some((domain, port)) => Self::new(domain, Some(port), DestinationHosts::OfMx),
                None => Self::new(text, None, DestinationHosts::OfMx),
            },
        }
    }

    /// A name with its port.
    fn new(name: &str, port: Option<&str>, hosts: DestinationHosts) -> Self {
        if is_address(name) {
            return Self::Literal;
        }
        let Ok(domain) = name.parse::<DomainName>() else {
            return Self::NotADomain;
        };
        // With a dot behind it, or in digits of other scripts.
        if is_address(domain.as_str()) {
            return Self::Literal;
        }
        match port.map_or(Some(RELAY_PORT), port_number) {
            Some(port) => Self::Destination(Destination {
                domain,
                hosts,
                port,
            }),
            None => Self::UnknownPort,
        }
    }
}

impl fmt::Display for Key {
    /// What to say about a key that names no destination.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(destination) => destination.domain.fmt(f),
            Self::Parent => f.write_str("a parent domain promises nothing for names below it"),
            Self::Literal => f.write_str("an address promises nothing"),
            Self::NotADomain => f.write_str("neither a domain nor a host"),
            Self::UnknownPort => f.write_str("the port is neither a number nor a known service"),
        }
    }
}

/// Whether a name is an address, with or without the tag of RFC 5321, Section 4.1.3.
fn is_address(name: &str) -> bool {
    let tagged = |tag: &str| {
        let (front, address) = name.split_at_checked(tag.len())?;
        front.eq_ignore_ascii_case(tag).then_some(address)
    };
    tagged("IPv6:").unwrap_or(name).parse::<IpAddr>().is_ok()
}

/// The number of a port that is written as one, or as the name of a service that takes mail.
fn port_number(text: &str) -> Option<u16> {
    let service = SERVICES.iter().find(|(name, _)| *name == text);
    match service {
        Some((_, port)) => Some(*port),
        None if text.bytes().all(|octet| octet.is_ascii_digit()) => {
            text.parse().ok().filter(|&port| port != 0)
        }
        None => None,
    }
}

/// Services that mail is handed to, by their names at IANA.
const SERVICES: [(&str, u16); 5] = [
    ("smtp", 25),
    ("lmtp", 24),
    ("submission", 587),
    ("submissions", 465),
    ("smtps", 465),
];

/// A name of 253 octets may have almost a thousand in U-labels, and brackets and a port around them.
const KEY_OCTETS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_asked_about_with_its_mail_hosts() {
        check("example.org", "example.org mx 25");
        check("EXAMPLE.org.", "example.org mx 25");
        check("bücher.example", "xn--bcher-kva.example mx 25");
        check("xn--bcher-kva.example", "xn--bcher-kva.example mx 25");
        check("_dmarc.example.org", "_dmarc.example.org mx 25");
        check("example.org:587", "example.org mx 587");
        check("example.org:submission", "example.org mx 587");
        check("localhost", "localhost mx 25");
    }

    #[test]
    fn what_stands_in_brackets_is_the_host_itself() {
        check("[mx.example.org]", "mx.example.org itself 25");
        check("[MX.example.org.]", "mx.example.org itself 25");
        check("[mx.example.org]:465", "mx.example.org itself 465");
        check("[mx.example.org]:smtp", "mx.example.org itself 25");
        check("[bücher.example]:2525", "xn--bcher-kva.example itself 2525");
    }

    #[test]
    fn a_parent_is_no_destination() {
        check(".example.org", "parent");
        check(".org", "parent");
        check(".EXAMPLE.org.", "parent");
        check("..org", "not a domain");
        check(".", "not a domain");
    }

    #[test]
    fn an_address_is_no_destination() {
        for text in [
            "[192.0.2.1]",
            "[192.0.2.1]:25",
            "[192.0.2.1]:nonsense",
            "[IPv6:2001:db8::1]",
            "[ipv6:2001:db8::1]:25",
            "[2001:db8::1]",
            "[2001:db8::1]:25",
            "192.0.2.1",
            "192.0.2.1:25",
            "2001:db8::1",
            "::1",
            "192.0.2.1.",
            "[192.0.2.1.]:25",
            "１９２.0.2.1",
        ] {
            check(text, "literal");
        }
    }

    #[test]
    fn what_is_no_name_is_no_destination() {
        let long = format!("{}.example", ["a"; 200].join("."));
        let longer = "ü".repeat(10_000);
        for text in [
            "",
            " ",
            "example.org ",
            "user@example.org",
            "a..b",
            "/var/run/lmtp",
            "unix:/var/run/lmtp",
            "[",
            "[]",
            "[mx.example.org",
            "[mx.example.org]x",
            "mx.example.org]",
            "[mx.example.org]]",
            "a b.example",
            "a\0b.example",
            "ü\u{202e}.example",
            long.as_str(),
            longer.as_str(),
        ] {
            // The socket's scheme could be a host, were its port one.
            let expected = match text.starts_with("unix:") {
                true => "unknown port",
                false => "not a domain",
            };
            check(text, expected);
        }
        assert_eq!(Key::parse(b"ex\xffmple.org"), Key::NotADomain);
    }

    #[test]
    fn a_port_is_a_number_or_a_service_that_takes_mail() {
        for text in [
            "example.org:",
            "example.org:0",
            "example.org:65536",
            "example.org:+25",
            "example.org:25:25",
            "example.org:gopher",
            "[mx.example.org]:",
            "[mx.example.org]:-1",
        ] {
            check(text, "unknown port");
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let read = match Key::parse(text.as_bytes()) {
            Key::Destination(destination) => {
                let hosts = match destination.hosts {
                    DestinationHosts::OfMx => "mx",
                    DestinationHosts::Itself => "itself",
                };
                format!("{} {hosts} {}", destination.domain, destination.port)
            }
            Key::Parent => String::from("parent"),
            Key::Literal => String::from("literal"),
            Key::NotADomain => String::from("not a domain"),
            Key::UnknownPort => String::from("unknown port"),
        };
        assert_eq!(read, expected, "{text:?}");
    }
}
