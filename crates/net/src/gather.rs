//! Everything the decision needs to know about a domain, asked side by side.
//!
//! ```text
//! MX ──────► A, AAAA of every host ──────► TLSA of every host that may have some ──► Evidence
//! TXT _mta-sts ──► (A, AAAA of the policy host ──► HTTPS) ───────────────────────────────┘
//! ```
//!
//! Each arrow is one wait; what stands in one column is asked at once. A domain whose hosts have
//! DANE is known after three round trips in sequence, one without after two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dane::TlsaRecord;
use byrnie_mta_sts::Mode;
use byrnie_policy::DaneRule;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::InsecureMx;
use byrnie_policy::Mx;
use byrnie_policy::MxRrset;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::TlsaEvidence;
use byrnie_smtp::TlsDemand;
use futures_util::future::join_all;

use crate::dns::Answer;
use crate::dns::Outcome;
use crate::dns::RecordData;
use crate::dns::RecordType;
use crate::dns::Resolve;
use crate::sts::FetchPolicy;
use crate::sts::FoundPolicy;
use crate::sts::PolicyCache;
use crate::sts::StsFetcher;
use crate::sts::StsPolicies;

/// Gathers evidence about domains.
pub struct Gatherer<R, C, F = StsFetcher<R>> {
    resolver: Arc<R>,
    policies: Arc<StsPolicies<R, C, F>>,
    /// The port that the hosts listen at.
    tlsa_port: u16,
}

/// Where mail goes next.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    /// The domain or the host.
    pub domain: DomainName,
    /// Which hosts are meant by it.
    pub hosts: DestinationHosts,
    /// The port that they listen at, under which their TLSA records stand.
    pub port: u16,
}

/// Which hosts are meant by a name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DestinationHosts {
    /// Those that its MX records name.
    OfMx,
    /// The one that is called so; its MX records are not asked for.
    Itself,
}

/// Evidence about a domain, and for how long it is worth keeping.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gathered {
    /// What is known.
    pub evidence: Evidence,
    /// How long it may be used for other messages to the same domain, with their own demand and
    /// floor put in: the shortest TTL of all answers, at most [`REUSE_MAX`], and zero if a lookup
    /// failed.
    pub reuse: Duration,
}

impl<R: Resolve, C: PolicyCache, F: FetchPolicy> Gatherer<R, C, F> {
    /// Brings the DNS and MTA-STS together.
    #[must_use]
    pub fn new(resolver: Arc<R>, policies: Arc<StsPolicies<R, C, F>>) -> Self {
        Self {
            resolver,
            policies,
            tlsa_port: RELAY_PORT,
        }
    }

    /// The same for hosts that listen at another port by agreement, under which their TLSA records
    /// stand then: RFC 7672, Section 2.2.3.
    #[must_use]
    pub fn with_tlsa_port(self, tlsa_port: u16) -> Self {
        Self { tlsa_port, ..self }
    }

    /// Gathers what is known about a next-hop domain, and adds what is demanded from elsewhere.
    ///
    /// `floor` is the weakest requirement that an earlier attempt at the same delivery was held to.
    pub async fn gather(
        &self,
        domain: &DomainName,
        demand: TlsDemand,
        rule: DomainRule,
        floor: Option<Strength>,
    ) -> Gathered {
        let destination = Destination {
            domain: domain.clone(),
            hosts: DestinationHosts::OfMx,
            port: self.tlsa_port,
        };
        self.gather_at(&destination, demand, rule, floor).await
    }

    /// The same for a destination that need not be where the relay's own mail goes.
    pub async fn gather_at(
        &self,
        destination: &Destination,
        demand: TlsDemand,
        rule: DomainRule,
        floor: Option<Strength>,
    ) -> Gathered {
        let domain = &destination.domain;
        let (hosts, mut sts) = tokio::join!(
            Box::pin(self.gather_hosts(destination, rule)),
            Box::pin(self.policies.find(domain)),
        );
        if names_no_host(&sts, &hosts.hosts)
            && let Some(again) = self.policies.find_again(domain).await
        {
            sts = again;
        }
        let reuse = hosts.validity.min(sts.ttl).min(REUSE_MAX);
        let evidence = Evidence {
            domain: domain.clone(),
            expanded_domain: hosts.expanded_domain,
            mx: hosts.mx,
            hosts: hosts.hosts,
            sts: sts.evidence,
            rule,
            message: demand,
            floor,
        };
        Gathered { evidence, reuse }
    }

    /// Looks up a destination's mail hosts and all that the DNS says about them.
    async fn gather_hosts(&self, destination: &Destination, rule: DomainRule) -> GatheredHosts {
        let Destination {
            domain,
            hosts,
            port,
        } = destination;
        let (expanded_domain, mx, mut validity) = match hosts {
            DestinationHosts::OfMx => {
                let answer = self.resolver.lookup(domain, RecordType::Mx).await;
                let validity = validity_of(&answer);
                (expansion(&answer), mx_in(answer), validity)
            }
            // Whoever named the host has proven it.
            DestinationHosts::Itself => (None, Ok(Secured::secure(MxRrset::Host)), Duration::MAX),
        };
        let tlsa_port = are_tlsa_records_asked_for(&mx, rule).then_some(*port);
        let hosts = match &mx {
            Ok(mx) => hosts_to_look_up(domain, &mx.value),
            Err(_) => Vec::new(),
        };
        let hosts = join_all(
            hosts
                .into_iter()
                .map(|(host, preference)| self.gather_host(host, preference, tlsa_port)),
        );
        let hosts = hosts
            .await
            .into_iter()
            .map(|(host, host_validity)| {
                validity = validity.min(host_validity);
                host
            })
            .collect();
        GatheredHosts {
            expanded_domain,
            mx,
            hosts,
            validity,
        }
    }

    /// Looks up one mail host.
    async fn gather_host(
        &self,
        host: DomainName,
        preference: u16,
        tlsa_port: Option<u16>,
    ) -> (HostEvidence, Duration) {
        let (ipv4, ipv6) = tokio::join!(
            self.resolver.lookup(&host, RecordType::A),
            self.resolver.lookup(&host, RecordType::Aaaa),
        );
        let mut validity = validity_of(&ipv4).min(validity_of(&ipv6));
        let path = leading_answer(&ipv4, &ipv6);
        let mut evidence = HostEvidence {
            host,
            preference,
            expanded: path.and_then(expansion),
            alias: path.and_then(|answer| answer.steps.first().map(|step| step.security)),
            ipv4: records_in(ipv4, |record| match record {
                RecordData::A(address) => Some(address),
                RecordData::Aaaa(_)
                | RecordData::Mx { .. }
                | RecordData::Tlsa(_)
                | RecordData::Txt(_)
                | RecordData::Other(_) => None,
            }),
            ipv6: records_in(ipv6, |record| match record {
                RecordData::Aaaa(address) => Some(address),
                RecordData::A(_)
                | RecordData::Mx { .. }
                | RecordData::Tlsa(_)
                | RecordData::Txt(_)
                | RecordData::Other(_) => None,
            }),
            tlsa: TlsaEvidence::NotAsked,
        };
        if let Some(port) = tlsa_port {
            let candidates = evidence.tlsa_candidates();
            let (tlsa, tlsa_validity) = self.gather_tlsa(&candidates, port).await;
            evidence.tlsa = tlsa;
            validity = validity.min(tlsa_validity);
        }
        (evidence, validity)
    }

    /// Looks up TLSA records under all candidates at once, and takes those of the first that has
    /// some.
    async fn gather_tlsa(&self, candidates: &[DomainName], port: u16) -> (TlsaEvidence, Duration) {
        let mut validity = Duration::MAX;
        // A name that has no room for the prefix has no TLSA records either.
        let prefix = format!("_{port}._tcp");
        let owners = candidates
            .iter()
            .filter_map(|base| base.prefixed(&prefix).ok().map(|owner| (base, owner)));
        let answers = join_all(owners.map(|(base, owner)| async move {
            (base, self.resolver.lookup(&owner, RecordType::Tlsa).await)
        }))
        .await;

        let mut denied = Security::Secure;
        for (base, answer) in answers {
            validity = validity.min(validity_of(&answer));
            match tlsa_in(answer) {
                Ok(Secured { security, value }) if !value.is_empty() => {
                    if security == Security::Secure {
                        let base = base.clone();
                        let found = TlsaEvidence::Found {
                            base,
                            records: value,
                        };
                        return (found, validity);
                    }
                    // Whoever could have written them could as well have denied them.
                    denied = Security::Insecure;
                }
                Ok(absent) => denied = denied.min(absent.security),
                // The next candidate counts only if this one is denied.
                Err(error) => return (TlsaEvidence::Failed(error), validity),
            }
        }
        match candidates.is_empty() {
            true => (TlsaEvidence::NotAsked, validity),
            false => (TlsaEvidence::Absent(denied), validity),
        }
    }
}

/// What the DNS says about a domain's hosts.
struct GatheredHosts {
    expanded_domain: Option<Secured<DomainName>>,
    mx: Result<Secured<MxRrset>, LookupError>,
    hosts: Vec<HostEvidence>,
    /// How long all of it stays true.
    validity: Duration,
}

/// Whether TLSA records of the hosts in an MX answer would count at all (behaviour rule 3).
fn are_tlsa_records_asked_for(
    mx: &Result<Secured<MxRrset>, LookupError>,
    rule: DomainRule,
) -> bool {
    let mx_counts = match rule.insecure_mx {
        InsecureMx::UseTlsa => true,
        InsecureMx::NoDane => mx.as_ref().is_ok_and(Secured::is_secure),
    };
    match rule.dane {
        DaneRule::Apply => mx_counts,
        DaneRule::DangerIgnore => false,
    }
}

/// What an answer to the MX question says.
fn mx_in(answer: Answer) -> Result<Secured<MxRrset>, LookupError> {
    let path = answer.path_security();
    let outcome = answer.outcome?.reached_over(path);
    Ok(outcome.map(|outcome| match outcome {
        Outcome::NxDomain => MxRrset::NoSuchDomain,
        Outcome::NoData => MxRrset::Implicit,
        Outcome::Records(records) => mx_rrset(records),
    }))
}

/// What a set of MX records says: RFC 5321, Section 5.1; RFC 7505, Section 3.
fn mx_rrset(records: Vec<RecordData>) -> MxRrset {
    let count = records.len();
    let mut nowhere = 0;
    let hosts: Vec<Mx> = records
        .into_iter()
        .filter_map(|record| match record {
            RecordData::Mx {
                preference,
                host: Some(host),
            } => Some(Mx { preference, host }),
            RecordData::Mx { host: None, .. } => {
                nowhere += 1;
                None
            }
            RecordData::A(_)
            | RecordData::Aaaa(_)
            | RecordData::Tlsa(_)
            | RecordData::Txt(_)
            | RecordData::Other(_) => None,
        })
        .collect();
    // Beside other records the root says nothing, and nobody can be connected to under it.
    match nowhere == count {
        true => MxRrset::Null,
        false => MxRrset::Hosts(hosts),
    }
}

/// The hosts that are looked up, those of the lowest preference first, each once.
fn hosts_to_look_up(domain: &DomainName, rrset: &MxRrset) -> Vec<(DomainName, u16)> {
    let records = match rrset {
        MxRrset::Null | MxRrset::NoSuchDomain | MxRrset::Literal => return Vec::new(),
        MxRrset::Implicit | MxRrset::Host => return vec![(domain.clone(), 0)],
        MxRrset::Hosts(records) => records,
    };
    let mut lowest = BTreeMap::new();
    for Mx { preference, host } in records {
        let known = lowest.entry(host).or_insert(*preference);
        *known = (*known).min(*preference);
    }
    let mut hosts: Vec<(&DomainName, u16)> = lowest.into_iter().collect();
    hosts.sort_by_key(|&(host, preference)| (preference, host));
    hosts
        .into_iter()
        .take(MX_HOSTS_MAX)
        .map(|(host, preference)| (host.clone(), preference))
        .collect()
}

/// Whether an enforced policy excludes every host, so that it may be out of date.
fn names_no_host(sts: &FoundPolicy, hosts: &[HostEvidence]) -> bool {
    match &sts.evidence {
        StsEvidence::Policy { policy, .. } => {
            policy.mode == Mode::Enforce
                && !hosts.is_empty()
                && !hosts.iter().any(|host| policy.permits(&host.host))
        }
        StsEvidence::NotAsked
        | StsEvidence::Absent
        | StsEvidence::FetchFailed(_)
        | StsEvidence::RecordUnknown(_)
        | StsEvidence::StoreUnreadable(_) => false,
    }
}

/// Where the aliases of an answer lead, secure only if every one is.
fn expansion(answer: &Answer) -> Option<Secured<DomainName>> {
    (!answer.steps.is_empty()).then(|| Secured {
        security: answer.path_security(),
        value: answer.final_name().clone(),
    })
}

/// The answer whose aliases count for a host: of those that came, one with addresses if there is.
fn leading_answer<'a>(ipv4: &'a Answer, ipv6: &'a Answer) -> Option<&'a Answer> {
    let has_records = |answer: &&Answer| {
        let outcome = answer.outcome.as_ref();
        outcome.is_ok_and(|outcome| matches!(outcome.value, Outcome::Records(_)))
    };
    let both = [ipv4, ipv6];
    both.into_iter()
        .find(has_records)
        .or_else(|| both.into_iter().find(|answer| answer.outcome.is_ok()))
}

/// The records of one kind in an answer, no better proven than the aliases that lead there.
fn records_in<T>(
    answer: Answer,
    pick: impl FnMut(RecordData) -> Option<T>,
) -> Result<Secured<Vec<T>>, LookupError> {
    let path = answer.path_security();
    let outcome = answer.outcome?.reached_over(path);
    Ok(outcome.map(|outcome| match outcome {
        Outcome::Records(records) => records.into_iter().filter_map(pick).collect(),
        Outcome::NoData | Outcome::NxDomain => Vec::new(),
    }))
}

/// The TLSA records in an answer.
fn tlsa_in(answer: Answer) -> Result<Secured<Vec<TlsaRecord>>, LookupError> {
    records_in(answer, |record| match record {
        RecordData::Tlsa(record) => Some(record),
        RecordData::A(_)
        | RecordData::Aaaa(_)
        | RecordData::Mx { .. }
        | RecordData::Txt(_)
        | RecordData::Other(_) => None,
    })
}

/// For how long an answer stays true; a failure is asked about again at once.
fn validity_of(answer: &Answer) -> Duration {
    match answer.outcome {
        Ok(_) => answer.ttl,
        Err(_) => Duration::ZERO,
    }
}

/// How many mail hosts of one domain are looked up, those of the lowest preference.
pub const MX_HOSTS_MAX: usize = 32;

/// How long evidence is used again at most, however long its TTLs are.
pub const REUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// The port of SMTP relay by its standard, which counts wherever a configuration lets mail hosts
/// listen.
pub const RELAY_PORT: u16 = 25;
