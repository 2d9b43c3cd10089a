//! Whether the upstreams let DNSSEC through: behaviour rule 8.
//!
//! An upstream that drops signatures makes every signed zone look forged, and one that does not
//! validate makes every zone look unsigned. Neither must be taken for the truth about a domain.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use byrnie_dnssec::Failure;
use byrnie_dnssec::Status;
use bytes::Bytes;
use domain::base::Name;
use domain::base::Rtype;
use domain::base::iana::OptRcode;
use futures_util::future::join_all;

use super::message::Authentic;
use super::message::Sections;
use super::resolver::Resolver;
use super::resolver::Validation;
use super::upstream::Checking;
use super::upstream::Question;
use super::upstream::Upstream;
use super::upstream::Upstreams;
use super::validate::Validator;

/// What a probe found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbeReport {
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<(SocketAddr, UpstreamHealth)>,
}

impl ProbeReport {
    /// Whether at least one upstream is fit, so that mail can flow.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.upstreams
            .iter()
            .any(|(_, health)| *health == UpstreamHealth::Fit)
    }
}

impl fmt::Display for ProbeReport {
    /// One line for each upstream, without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, health)) in self.upstreams.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{address}: {health}")?;
        }
        Ok(())
    }
}

/// What an upstream is good for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UpstreamHealth {
    /// Signatures come through and validate, or the upstream validates them itself.
    Fit,
    /// No answer came.
    Unreachable(String),
    /// It answers with an error.
    Refuses(String),
    /// It does not understand EDNS, without which there is no DNSSEC.
    NoEdns,
    /// It leaves the signatures out.
    StripsSignatures,
    /// The signatures come through and do not lead to the trust anchor.
    AnchorMismatch(String),
    /// Its AD bit was to be trusted, and it does not set it where it must.
    DoesNotValidate(String),
}

impl UpstreamHealth {
    /// Whether signed zones look unsigned through this upstream.
    pub(super) fn hides_signatures(&self) -> bool {
        match self {
            Self::NoEdns | Self::StripsSignatures => true,
            Self::Fit
            | Self::Unreachable(_)
            | Self::Refuses(_)
            | Self::AnchorMismatch(_)
            | Self::DoesNotValidate(_) => false,
        }
    }
}

impl fmt::Display for UpstreamHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fit => f.write_str("fit for DNSSEC"),
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::Refuses(why) => write!(f, "refuses to answer: {why}"),
            Self::NoEdns => f.write_str(
                "strips DNSSEC: it does not understand EDNS; ask a resolver that supports DNSSEC",
            ),
            Self::StripsSignatures => f.write_str(
                "strips DNSSEC: it leaves the signatures out; ask a resolver that supports DNSSEC, \
                 or look for a firewall or router that answers in its place",
            ),
            Self::AnchorMismatch(why) => write!(
                f,
                "its answers do not lead to the trust anchor: {why}; are the anchor and the clock \
                 right, and does nobody answer in its place?"
            ),
            Self::DoesNotValidate(name) => write!(
                f,
                "does not validate: it does not vouch for {name}, which is signed; switch \
                 validation on there, or validate here"
            ),
        }
    }
}

impl Resolver {
    /// Looks whether the upstreams let DNSSEC through. For the start: refuse to if the report is not
    /// usable.
    ///
    /// Ends within the lookup time-out.
    pub async fn probe(&self) -> ProbeReport {
        let inner = self.inner();
        let each = inner.upstreams().all().iter().map(|upstream| async {
            let probing = probe_upstream(self, upstream);
            let limit = inner.lookup_timeout();
            let health = tokio::time::timeout(limit, probing)
                .await
                .unwrap_or_else(|_| {
                    UpstreamHealth::Unreachable(format!("the probe took longer than {limit:?}"))
                });
            inner.remember_health(upstream, &health);
            (upstream.address, health)
        });
        ProbeReport {
            upstreams: join_all(each).await,
        }
    }

    /// Probes again and again until `shutdown`, and publishes each report in
    /// [`health`](Self::health).
    pub async fn watch(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut last: Option<ProbeReport> = None;
        loop {
            let report = tokio::select! {
                () = &mut shutdown => return,
                report = self.probe() => report,
            };
            if last.as_ref() != Some(&report) {
                if report.is_usable() {
                    tracing::info!(upstreams = %report, "DNSSEC probe");
                } else {
                    tracing::error!(upstreams = %report, "no upstream is fit for DNSSEC");
                }
                last = Some(report.clone());
            }
            self.inner().publish_health(report);
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(self.inner().probe_interval()) => {}
            }
        }
    }
}

/// Everything that can be wrong with one upstream.
async fn probe_upstream(resolver: &Resolver, upstream: &Arc<Upstream>) -> UpstreamHealth {
    let upstreams = resolver.inner().upstreams().only(upstream);
    match resolver.inner().validation() {
        Validation::ByUpstream { known_signed } => vouches_for(&upstreams, known_signed).await,
        Validation::Here(validator) => {
            let alone = resolver
                .inner()
                .validator_over(upstreams.clone(), validator);
            for zone in validator.anchors().validated_zones() {
                let health = chain_begins(&upstreams, &alone, zone).await;
                if health != UpstreamHealth::Fit {
                    return health;
                }
            }
            UpstreamHealth::Fit
        }
    }
}

/// Whether the keys and the start of authority of an anchored zone come through and validate.
async fn chain_begins(
    upstreams: &Upstreams,
    validator: &Validator,
    zone: &Name<Bytes>,
) -> UpstreamHealth {
    let (keys, soa) = tokio::join!(
        signed_set(upstreams, zone, Rtype::DNSKEY),
        signed_set(upstreams, zone, Rtype::SOA)
    );
    for asked in [keys, soa] {
        if let Err(health) = asked {
            return health;
        }
    }
    let question = byrnie_dnssec::Question::new(zone.clone(), Rtype::SOA);
    match validator.verdict(&question).await.status {
        Status::Secure => UpstreamHealth::Fit,
        Status::Insecure(why) => UpstreamHealth::AnchorMismatch(why.to_string()),
        Status::Bogus(why) => UpstreamHealth::AnchorMismatch(why.to_string()),
        Status::Failed(Failure::UpstreamStripsDnssec(_)) => UpstreamHealth::StripsSignatures,
        Status::Failed(why) => UpstreamHealth::Unreachable(why.to_string()),
    }
}

/// Whether signatures come through from an anchored zone.
pub(super) async fn lets_signatures_through(
    upstreams: &Upstreams,
    zone: &Name<Bytes>,
) -> UpstreamHealth {
    match signed_set(upstreams, zone, Rtype::SOA).await {
        Ok(()) => UpstreamHealth::Fit,
        Err(health) => health,
    }
}

/// Whether the upstream vouches for a name that is known to be signed.
pub(super) async fn vouches_for(upstreams: &Upstreams, known: &Name<Bytes>) -> UpstreamHealth {
    let sections = match ask(upstreams, known, Rtype::SOA, Checking::ByUpstream).await {
        Ok(sections) => sections,
        Err(health) => return health,
    };
    match sections.authentic {
        Authentic::Claimed => UpstreamHealth::Fit,
        Authentic::NotClaimed => {
            UpstreamHealth::DoesNotValidate(format!("{} SOA", known.fmt_with_dot()))
        }
    }
}

/// Whether an RRset of a zone that is known to be signed comes with its signatures.
async fn signed_set(
    upstreams: &Upstreams,
    zone: &Name<Bytes>,
    rtype: Rtype,
) -> Result<(), UpstreamHealth> {
    let sections = ask(upstreams, zone, rtype, Checking::Disabled).await?;
    if !sections.has_edns {
        return Err(UpstreamHealth::NoEdns);
    }
    match sections.find(zone, rtype) {
        None => Err(UpstreamHealth::AnchorMismatch(format!(
            "there is no {rtype} record at {}",
            zone.fmt_with_dot()
        ))),
        Some(set) if set.signatures.is_empty() => Err(UpstreamHealth::StripsSignatures),
        Some(_) => Ok(()),
    }
}

/// Asks, and sorts out errors.
async fn ask(
    upstreams: &Upstreams,
    name: &Name<Bytes>,
    rtype: Rtype,
    checking: Checking,
) -> Result<Sections, UpstreamHealth> {
    let question = Question {
        name: name.clone(),
        rtype,
        checking,
    };
    let reply = upstreams
        .ask(&question)
        .await
        .map_err(UpstreamHealth::Unreachable)?;
    let sections = Sections::parse(&reply.message)
        .map_err(|broken| UpstreamHealth::Refuses(broken.to_string()))?;
    if sections.rcode == OptRcode::FORMERR && !sections.has_edns {
        // What a server that has never heard of EDNS answers: RFC 6891, Section 7.
        return Err(UpstreamHealth::NoEdns);
    }
    if sections.rcode != OptRcode::NOERROR {
        return Err(UpstreamHealth::Refuses(format!(
            "{} to {} {rtype}",
            sections.rcode,
            name.fmt_with_dot()
        )));
    }
    Ok(sections)
}
