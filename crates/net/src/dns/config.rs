//! How a resolver is set up, and which set-ups are refused.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_dnssec::TrustAnchors;
use rustls::RootCertStore;
use rustls_pki_types::ServerName;

use super::cache::CacheBounds;

/// How to resolve.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// The recursive resolvers to ask, in this order; one that does not answer is passed over for
    /// [`UPSTREAM_HOLD`]. At most [`UPSTREAMS_MAX`].
    pub upstreams: Vec<SocketAddr>,
    /// How to reach them.
    pub transport: Transport,
    /// Who validates.
    pub mode: Mode,
    /// How long to wait for one upstream before the next is asked as well, or the same again; default
    /// 2 s. An answer counts even if it comes later.
    pub attempt_timeout: Duration,
    /// How many times to go through all upstreams before giving up; default 5, at least 1. An upstream
    /// may need several seconds for a slow zone.
    pub rounds: u8,
    /// How long a lookup may take in all, aliases and chain of trust included; default 12 s.
    pub lookup_timeout: Duration,
    /// What the cache of answers may hold. The validator's cache of proven zones and names may have a
    /// quarter as many entries and about as many octets on top, its denials a quarter as many octets.
    pub cache: CacheBounds,
    /// How long answers may be kept.
    pub ttl: TtlBounds,
    /// How often [`watch`](super::Resolver::watch) probes the upstreams; default 60 s.
    pub probe_interval: Duration,
}

impl DnsConfig {
    /// The defaults: UDP with TCP for what does not fit, and the bounds that the fields document.
    #[must_use]
    pub fn new(upstreams: Vec<SocketAddr>, mode: Mode) -> Self {
        Self {
            upstreams,
            transport: Transport::Udp,
            mode,
            attempt_timeout: Duration::from_secs(2),
            rounds: 5,
            lookup_timeout: Duration::from_secs(12),
            cache: CacheBounds::default(),
            ttl: TtlBounds::default(),
            probe_interval: Duration::from_secs(60),
        }
    }

    /// Refuses what cannot work or is not safe.
    ///
    /// # Errors
    /// Says what is wrong and what to do about it.
    pub fn check(&self) -> Result<(), InvalidDnsConfig> {
        if self.upstreams.is_empty() {
            return Err(InvalidDnsConfig::NoUpstream);
        }
        if self.upstreams.len() > UPSTREAMS_MAX {
            return Err(InvalidDnsConfig::TooManyUpstreams);
        }
        if self.rounds == 0 || self.attempt_timeout.is_zero() || self.lookup_timeout.is_zero() {
            return Err(InvalidDnsConfig::NoTime);
        }
        if self.ttl.floor > self.ttl.ceiling {
            return Err(InvalidDnsConfig::TtlFloorAboveCeiling);
        }
        match &self.mode {
            Mode::Validate { anchors } if anchors.is_empty() => Err(InvalidDnsConfig::NoAnchor),
            Mode::TrustAd {
                path: TrustedPath::Loopback,
                ..
            } => match self.upstreams.iter().find(|at| !at.ip().is_loopback()) {
                Some(remote) => Err(InvalidDnsConfig::TrustsRemoteAd(*remote)),
                None => Ok(()),
            },
            Mode::Validate { .. } | Mode::TrustAd { .. } => Ok(()),
        }
    }
}

/// How to reach the upstreams.
#[derive(Clone, Debug)]
pub enum Transport {
    /// UDP with EDNS; TCP for what does not fit into a datagram.
    Udp,
    /// TCP alone (RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858), usually on port [`DNS_OVER_TLS_PORT`].
    Tls {
        /// The name that the upstreams' certificates must carry.
        server_name: ServerName<'static>,
        /// The authorities that may vouch for it.
        roots: Arc<RootCertStore>,
    },
}

/// Who validates.
#[derive(Clone, Debug)]
pub enum Mode {
    /// byrnie does, in this process.
    Validate {
        /// Where the chains of trust begin.
        anchors: TrustAnchors,
    },
    /// The upstreams do, and say so with the AD bit (behaviour rule 9).
    TrustAd {
        /// Between the upstreams and byrnie: who could set the bit on the way?
        path: TrustedPath,
        /// A name with a secure SOA record, by which the probe sees that an upstream validates;
        /// `None` for the root.
        known_signed: Option<DomainName>,
    },
}

/// Why the AD bit of an upstream can be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrustedPath {
    /// Every upstream runs on this host.
    Loopback,
    /// The operator declares that nobody can tamper with the path to any of the upstreams.
    ///
    /// Anybody who can makes forged answers secure.
    DangerDeclaredByOperator,
}

/// How long answers may be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TtlBounds {
    /// Answers are kept at least this long; default 5 s.
    pub floor: Duration,
    /// Answers are kept at most this long; default one day.
    pub ceiling: Duration,
    /// Denials are kept at most this long, and no longer than the zone's SOA record says (RFC 2308,
    /// Section 5); default one hour.
    pub negative_ceiling: Duration,
    /// Bogus answers and failures are kept this long (RFC 9520); default 5 s.
    pub failure: Duration,
}

impl Default for TtlBounds {
    fn default() -> Self {
        Self {
            floor: Duration::from_secs(5),
            ceiling: Duration::from_secs(24 * 60 * 60),
            negative_ceiling: Duration::from_secs(60 * 60),
            failure: Duration::from_secs(5),
        }
    }
}

/// The port of DNS over TLS: RFC 7858, Section 3.1.
pub const DNS_OVER_TLS_PORT: u16 = 853;

/// At most this many upstreams.
pub const UPSTREAMS_MAX: usize = 8;

/// How long an upstream that does not answer, or answers badly, is asked only after the others.
pub const UPSTREAM_HOLD: Duration = Duration::from_secs(30);

/// Why a [`DnsConfig`] is refused. All of them are the operator's to mend.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidDnsConfig {
    /// Validation without a trust anchor.
    NoAnchor,
    /// A time-out of zero, or no round at all.
    NoTime,
    /// Nobody to ask.
    NoUpstream,
    /// TLS cannot be set up with the roots that were given.
    Tls(String),
    /// More than [`UPSTREAMS_MAX`].
    TooManyUpstreams,
    /// The AD bit of this upstream would be trusted though it is not on this host.
    TrustsRemoteAd(SocketAddr),
    /// The floor of the TTLs lies above their ceiling.
    TtlFloorAboveCeiling,
}

impl fmt::Display for InvalidDnsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnchor => f.write_str(
                "validation needs a trust anchor: leave the setting out to use the root's",
            ),
            Self::NoTime => f.write_str("the time-outs and the number of rounds must not be zero"),
            Self::NoUpstream => f.write_str("no name server to ask: name one"),
            Self::Tls(why) => write!(f, "DNS over TLS cannot be set up: {why}"),
            Self::TooManyUpstreams => write!(f, "more than {UPSTREAMS_MAX} name servers"),
            Self::TrustsRemoteAd(remote) => write!(
                f,
                "the answers of {remote} would be trusted unchecked though it is not on this host: \
                 validate here, run a validating resolver on a loopback address, or declare the \
                 path to it safe with the setting whose name begins with danger"
            ),
            Self::TtlFloorAboveCeiling => {
                f.write_str("the TTL floor is higher than the TTL ceiling")
            }
        }
    }
}

impl std::error::Error for InvalidDnsConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ad_bit_is_trusted_from_this_host_only_unless_declared() {
        check_trust("127.0.0.1:53", TrustedPath::Loopback, true);
        check_trust("127.53.0.53:5300", TrustedPath::Loopback, true);
        check_trust("[::1]:53", TrustedPath::Loopback, true);
        check_trust("192.0.2.1:53", TrustedPath::Loopback, false);
        check_trust("10.0.0.1:53", TrustedPath::Loopback, false);
        check_trust("192.0.2.1:53", TrustedPath::DangerDeclaredByOperator, true);
    }

    #[test]
    fn set_ups_that_cannot_work_are_refused() {
        let good = DnsConfig::new(
            vec!["127.0.0.1:53".parse().unwrap()],
            Mode::Validate {
                anchors: TrustAnchors::root(),
            },
        );
        assert_eq!(good.check(), Ok(()));
        let mut config = good.clone();
        config.upstreams.clear();
        assert_eq!(config.check(), Err(InvalidDnsConfig::NoUpstream));
        let mut config = good.clone();
        config.upstreams = vec![good.upstreams[0]; 9];
        assert_eq!(config.check(), Err(InvalidDnsConfig::TooManyUpstreams));
        let mut config = good.clone();
        config.rounds = 0;
        assert_eq!(config.check(), Err(InvalidDnsConfig::NoTime));
        let mut config = good;
        config.ttl.floor = Duration::from_secs(100_000);
        assert_eq!(config.check(), Err(InvalidDnsConfig::TtlFloorAboveCeiling));
    }

    #[track_caller]
    fn check_trust(upstream: &str, path: TrustedPath, allowed: bool) {
        let upstream: SocketAddr = upstream.parse().unwrap();
        let mode = Mode::TrustAd {
            path,
            known_signed: None,
        };
        let config = DnsConfig::new(vec![upstream], mode);
        let expected = if allowed {
            Ok(())
        } else {
            Err(InvalidDnsConfig::TrustsRemoteAd(upstream))
        };
        assert_eq!(config.check(), expected);
    }
}
