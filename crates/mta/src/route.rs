//! Where mail goes next: to the hosts of each recipient's domain, or all of it to one host.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use byrnie_base::MailDomain;

/// Where mail goes next.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Route {
    /// To the mail hosts of each recipient's domain.
    #[default]
    RecipientDomains,
    /// To one host, whoever the recipient is.
    SmartHost(SmartHost),
}

impl Route {
    /// The next hop of mail to a recipient at `domain`: its MX records, DANE and MTA-STS count (behaviour
    /// rule 27).
    pub(crate) fn next_hop<'a>(&'a self, domain: &'a MailDomain) -> &'a MailDomain {
        match self {
            Self::RecipientDomains => domain,
            Self::SmartHost(host) => &host.domain,
        }
    }

    /// The port to connect to, if it is not that of mail hosts.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::RecipientDomains => None,
            Self::SmartHost(host) => host.port,
        }
    }
}

/// The one host that all mail goes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmartHost {
    /// Its domain, whose MX records count where it has some, or its address.
    pub domain: MailDomain,
    /// Where it listens; `None` for the port of mail hosts.
    pub port: Option<u16>,
}

impl FromStr for SmartHost {
    type Err = InvalidSmartHost;

    fn from_str(text: &str) -> Result<Self, InvalidSmartHost> {
        let (host, port) = match text.rsplit_once(':') {
            // A colon inside of brackets belongs to the address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (text, None),
        };
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(0) | Err(_)) => return Err(InvalidSmartHost),
            Some(Ok(port)) => Some(port),
        };
        let inside = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let domain = match inside.map(str::parse) {
            Some(Ok(address)) => MailDomain::Literal(address),
            // An address without brackets would be taken for a name that nobody has.
            None if host.parse::<IpAddr>().is_ok() => return Err(InvalidSmartHost),
            Some(Err(_)) | None => host.parse().map_err(|_| InvalidSmartHost)?,
        };
        Ok(Self { domain, port })
    }
}

impl fmt::Display for SmartHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.domain.fmt(f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The text is neither a domain nor an address in brackets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidSmartHost;

impl fmt::Display for InvalidSmartHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a domain nor an address in brackets, with or without a port")
    }
}

impl std::error::Error for InvalidSmartHost {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smart_host_is_a_domain_or_an_address_in_brackets() {
        check("relay.example.org", Some("relay.example.org"));
        check("relay.example.org:587", Some("relay.example.org:587"));
        check("[192.0.2.1]", Some("[192.0.2.1]"));
        check("[192.0.2.1]:2525", Some("[192.0.2.1]:2525"));
        check("[2001:db8::1]:25", Some("[IPv6:2001:db8::1]:25"));
        check("[IPv6:2001:db8::1]", Some("[IPv6:2001:db8::1]"));
        for bad in [
            "",
            "192.0.2.1",
            "192.0.2.1:25",
            "2001:db8::1",
            "a..b",
            "relay.example.org:",
            "relay.example.org:0",
            "relay.example.org:65536",
            "[relay.example.org]",
            "[192.0.2.1",
        ] {
            check(bad, None);
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let parsed = text.parse::<SmartHost>().ok();
        let written = parsed.as_ref().map(ToString::to_string);
        assert_eq!(written.as_deref(), expected, "{text:?}");
        assert_eq!(written.map(|text| text.parse().unwrap()), parsed);
    }
}
