//! A scripted world: DNS, policy hosts, a clock.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::dns::Alias;
use byrnie_net::dns::Answer;
use byrnie_net::dns::Explanation;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::gather::Gathered;
use byrnie_net::gather::Gatherer;
use byrnie_net::sts::FetchError;
use byrnie_net::sts::FetchPolicy;
use byrnie_net::sts::MemoryPolicyCache;
use byrnie_net::sts::PolicyCache;
use byrnie_net::sts::StsPolicies;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_smtp::TlsDemand;
use tokio::time::Instant;

/// How long every DNS answer is under way.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);

/// How long every policy is under way.
pub(crate) const FETCH: Duration = Duration::from_millis(100);

/// The TTL of every answer that is not scripted otherwise.
pub(crate) const TTL: Duration = Duration::from_secs(300);

/// A resolver with one answer for each question, which panics at any other question.
pub(crate) struct ScriptedDns {
    answers: Mutex<HashMap<(DomainName, RecordType), Answer>>,
    asked: Mutex<Vec<String>>,
    start: Instant,
}

impl ScriptedDns {
    /// Sets the answer to a question.
    pub(crate) fn set(&self, owner: &str, record_type: RecordType, answer: Answer) {
        let key = (name(owner), record_type);
        self.answers.lock().unwrap().insert(key, answer);
    }

    /// Gives a name one IPv4 address, and no IPv6 address.
    pub(crate) fn host(&self, owner: &str, security: Security) {
        let address = RecordData::A(Ipv4Addr::new(192, 0, 2, 1));
        self.set(owner, RecordType::A, records(security, vec![address]));
        self.set(owner, RecordType::Aaaa, nothing(security));
    }

    /// Makes a domain name these hosts.
    pub(crate) fn mx(&self, domain: &str, security: Security, hosts: &[(u16, &str)]) {
        let hosts = hosts.iter().map(|&(preference, host)| RecordData::Mx {
            preference,
            host: (host != ".").then(|| name(host)),
        });
        let answer = records(security, hosts.collect());
        self.set(domain, RecordType::Mx, answer);
    }

    /// Sets the TXT records about MTA-STS.
    pub(crate) fn txt(&self, domain: &str, texts: &[&str]) {
        let owner = format!("_mta-sts.{domain}");
        let answer = match texts {
            [] => nothing(Security::Insecure),
            texts => {
                let texts = texts
                    .iter()
                    .map(|text| RecordData::Txt(text.as_bytes().to_vec()));
                records(Security::Insecure, texts.collect())
            }
        };
        self.set(&owner, RecordType::Txt, answer);
    }

    /// Sets the TLSA records under a base domain.
    pub(crate) fn tlsa(&self, base: &str, answer: Answer) {
        self.set(&format!("_25._tcp.{base}"), RecordType::Tlsa, answer);
    }

    /// All questions so far, in order, each after the milliseconds since the start.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }
}

impl Resolve for ScriptedDns {
    async fn lookup(&self, owner: &DomainName, record_type: RecordType) -> Answer {
        let at = self.start.elapsed().as_millis();
        let question = format!("{at:3} ms {record_type:?} {owner}");
        self.asked.lock().unwrap().push(question.clone());
        let key = (owner.clone(), record_type);
        let answer = self.answers.lock().unwrap().get(&key).cloned();
        let answer = answer.unwrap_or_else(|| panic!("nobody may ask: {question}"));
        tokio::time::sleep(ROUND_TRIP).await;
        Answer {
            name: owner.clone(),
            record_type,
            ..answer
        }
    }
}

/// Policy hosts, one answer for each domain.
#[derive(Default)]
pub(crate) struct ScriptedPolicyHosts {
    policies: Mutex<HashMap<DomainName, Result<String, FetchError>>>,
    fetched: AtomicU64,
    under_way: AtomicU64,
    under_way_max: AtomicU64,
}

impl ScriptedPolicyHosts {
    /// Sets what the policy host of a domain answers from now on.
    pub(crate) fn set(&self, domain: &str, answer: Result<String, FetchError>) {
        self.policies.lock().unwrap().insert(name(domain), answer);
    }

    /// How many fetches there were.
    pub(crate) fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::SeqCst)
    }

    /// How many fetches there were at the same time, at most.
    pub(crate) fn side_by_side(&self) -> u64 {
        self.under_way_max.load(Ordering::SeqCst)
    }
}

/// [`ScriptedPolicyHosts`], shared with the policies under test.
pub(crate) struct SharedHosts(Arc<ScriptedPolicyHosts>);

impl FetchPolicy for SharedHosts {
    async fn fetch(&self, domain: &DomainName) -> Result<String, FetchError> {
        let Self(hosts) = self;
        hosts.fetched.fetch_add(1, Ordering::SeqCst);
        let under_way = 1 + hosts.under_way.fetch_add(1, Ordering::SeqCst);
        hosts.under_way_max.fetch_max(under_way, Ordering::SeqCst);
        tokio::time::sleep(FETCH).await;
        hosts.under_way.fetch_sub(1, Ordering::SeqCst);
        let policies = hosts.policies.lock().unwrap();
        let answer = policies.get(domain).cloned();
        answer.unwrap_or_else(|| panic!("nobody may fetch the policy of {domain}"))
    }
}

/// A clock that stands still until it is moved.
pub(crate) struct ScriptedClock(AtomicU64);

impl ScriptedClock {
    /// Moves the time on.
    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ScriptedClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// Everything under test with everything scripted around it.
pub(crate) struct World<C = MemoryPolicyCache> {
    pub(crate) dns: Arc<ScriptedDns>,
    pub(crate) hosts: Arc<ScriptedPolicyHosts>,
    pub(crate) clock: Arc<ScriptedClock>,
    pub(crate) cache: Arc<C>,
    pub(crate) policies: Arc<StsPolicies<ScriptedDns, C, SharedHosts>>,
    pub(crate) gatherer: Gatherer<ScriptedDns, C, SharedHosts>,
}

impl World {
    /// A world in which nothing is known and `example.org` has no policy.
    pub(crate) fn new() -> Self {
        let world = Self::with_cache(MemoryPolicyCache::default());
        world.dns.txt("example.org", &[]);
        world
    }
}

impl<C: PolicyCache> World<C> {
    /// A world in which nothing is known but what a cache holds.
    pub(crate) fn with_cache(cache: C) -> Self {
        let dns = Arc::new(ScriptedDns {
            answers: Mutex::default(),
            asked: Mutex::default(),
            start: Instant::now(),
        });
        let hosts = Arc::new(ScriptedPolicyHosts::default());
        let clock = Arc::new(ScriptedClock(AtomicU64::new(1_800_000_000)));
        let cache = Arc::new(cache);
        let policies = Arc::new(StsPolicies::new(
            Arc::clone(&dns),
            Arc::clone(&cache),
            SharedHosts(Arc::clone(&hosts)),
            Arc::clone(&clock) as Arc<dyn Clock>,
        ));
        let gatherer = Gatherer::new(Arc::clone(&dns), Arc::clone(&policies));
        Self {
            dns,
            hosts,
            clock,
            cache,
            policies,
            gatherer,
        }
    }

    /// Gathers evidence about `example.org`.
    pub(crate) async fn gather_under(&self, rule: DomainRule) -> Gathered {
        let domain = name("example.org");
        self.gatherer
            .gather(&domain, TlsDemand::None, rule, None)
            .await
    }

    /// Gathers evidence about `example.org`, without any local rule.
    pub(crate) async fn gather(&self) -> Evidence {
        self.gather_under(DomainRule::default()).await.evidence
    }
}

/// An answer with records.
pub(crate) fn records(security: Security, records: Vec<RecordData>) -> Answer {
    answer(Ok(Secured {
        security,
        value: Outcome::Records(records),
    }))
}

/// NODATA.
pub(crate) fn nothing(security: Security) -> Answer {
    answer(Ok(Secured {
        security,
        value: Outcome::NoData,
    }))
}

/// NXDOMAIN.
pub(crate) fn nowhere(security: Security) -> Answer {
    answer(Ok(Secured {
        security,
        value: Outcome::NxDomain,
    }))
}

/// A time-out.
pub(crate) fn failed() -> Answer {
    answer(Err(failure()))
}

/// An answer that fails validation.
pub(crate) fn bogus() -> Answer {
    answer(Err(LookupError::Bogus(String::from("expired"))))
}

/// The error in [`failed`].
pub(crate) fn failure() -> LookupError {
    LookupError::Failed(String::from("time-out"))
}

/// An IPv6 address.
pub(crate) fn ipv6() -> RecordData {
    RecordData::Aaaa(Ipv6Addr::LOCALHOST)
}

/// A TLSA RRset that is usable.
pub(crate) fn tlsa(security: Security) -> Answer {
    let text = format!("3 1 1 {}", "ab".repeat(32));
    records(security, vec![RecordData::Tlsa(text.parse().unwrap())])
}

/// The same answer behind aliases, each from its owner with its security.
pub(crate) fn over(mut answer: Answer, steps: &[(Security, &str, &str)]) -> Answer {
    answer.steps = steps
        .iter()
        .map(|&(security, owner, target)| Secured {
            security,
            value: Alias {
                owner: owner.parse().unwrap(),
                target: name(target),
            },
        })
        .collect();
    answer
}

/// An answer with this outcome; its name and type are filled in when it is given.
fn answer(outcome: Result<Secured<Outcome>, LookupError>) -> Answer {
    Answer {
        name: name("example"),
        record_type: RecordType::A,
        steps: Vec::new(),
        outcome,
        ttl: TTL,
        explanation: Explanation::default(),
    }
}

/// A policy file in mode `enforce`.
pub(crate) fn enforce(mx: &str) -> String {
    format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 604800\n")
}

/// A domain name.
pub(crate) fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}
