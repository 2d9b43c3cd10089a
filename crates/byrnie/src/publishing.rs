//! Drawing up the policies that byrnie publishes: RFC 8461.

use std::fmt;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_mta_sts::Mode;
use byrnie_mta_sts::MxPattern;
use byrnie_mta_sts::Policy;
use byrnie_mta_sts::PolicyError;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_store::PublishedPolicies;
use byrnie_store::SqliteStore;

use crate::config::MtaSts;
use crate::failure::Failure;

/// The mail hosts of a domain, lowest preference first: those of its MX records, or itself if it has none.
pub(crate) async fn mail_hosts<R: Resolve>(
    resolver: &R,
    domain: &DomainName,
) -> Result<Secured<Vec<DomainName>>, LookupError> {
    let answer = resolver.lookup(domain, RecordType::Mx).await;
    let path = answer.path_security();
    let outcome = answer.outcome?.reached_over(path);
    Ok(outcome.map(|outcome| match outcome {
        Outcome::NxDomain => Vec::new(),
        Outcome::NoData => vec![domain.clone()],
        Outcome::Records(records) => {
            let mut hosts: Vec<(u16, DomainName)> = records.into_iter().filter_map(host).collect();
            hosts.sort();
            hosts.into_iter().map(|(_, host)| host).collect()
        }
    }))
}

/// The host in an MX record; none in a null MX (RFC 7505).
fn host(record: RecordData) -> Option<(u16, DomainName)> {
    match record {
        RecordData::Mx { preference, host } => host.map(|host| (preference, host)),
        RecordData::A(_)
        | RecordData::Aaaa(_)
        | RecordData::Tlsa(_)
        | RecordData::Txt(_)
        | RecordData::Other(_) => None,
    }
}

/// The policy that a rule makes for a domain with these mail hosts.
///
/// # Errors
/// The rule leaves the hosts to the MX records, and there are none, or they are not known.
pub(crate) fn draw_up(
    rule: &MtaSts,
    hosts: &Result<Secured<Vec<DomainName>>, LookupError>,
) -> Result<Policy, NoPolicy> {
    let mx = match (&rule.mx, rule.mode) {
        (Some(patterns), _) => patterns.iter().map(|pattern| pattern.0.clone()).collect(),
        (None, Mode::None) => Vec::new(),
        (None, Mode::Enforce | Mode::Testing) => {
            let hosts = hosts
                .as_ref()
                .map_err(|error| NoPolicy::Unknown(error.clone()))?;
            if hosts.value.is_empty() {
                return Err(NoPolicy::NoHost);
            }
            hosts.value.iter().cloned().map(MxPattern::Exact).collect()
        }
    };
    Policy::new(rule.mode, rule.max_age.0, mx).map_err(NoPolicy::Invalid)
}

/// Counts another edition of the policy that is published for a domain; says which it is.
///
/// # Errors
/// None was published yet, or the store refuses.
pub(crate) async fn publish_anew(store: &SqliteStore, domain: &DomainName) -> Result<u64, Failure> {
    let edition = store.renew_published_sts(domain).await;
    edition
        .map_err(|error| Failure::store(&error))?
        .ok_or_else(|| {
            Failure::runtime(format!("no policy of {domain} was published yet"))
                .hint(format!(
                    "`byrnie mta-sts lint {domain}` says what keeps it back; `byrnie serve` publishes it"
                ))
        })
}

/// Why a rule makes no policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum NoPolicy {
    /// The MX records could not be looked up.
    Unknown(LookupError),
    /// The domain takes no mail.
    NoHost,
    /// What it would say is no policy.
    Invalid(PolicyError),
}

impl fmt::Display for NoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(why) => write!(f, "its MX records are not known: {why}"),
            Self::NoHost => f.write_str("it has no mail host"),
            Self::Invalid(why) => why.fmt(f),
        }
    }
}
