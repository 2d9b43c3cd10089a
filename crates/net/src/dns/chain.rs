//! The DS and DNSKEY records between a trust anchor and an answer.
//!
//! The validator asks for them one after the other. Here they are kept, asked for once however many
//! wait for them, and those that will surely be needed are asked for ahead of time, all at once, so
//! that a cold lookup takes the time of two round trips and not of one for every zone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use domain::base::Message;
use domain::base::Name;
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::iana::OptRcode;
use domain::base::iana::Rcode;
use domain::net::client::request::ComposeRequest;
use domain::net::client::request::Error;
use domain::net::client::request::GetResponse;
use domain::net::client::request::RequestMessage;
use domain::net::client::request::SendRequest;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::future::Shared;
use futures_util::future::join_all;

use super::cache::Cache;
use super::cache::CacheBounds;
use super::config::TtlBounds;
use super::flight::Flights;
use super::message::Sections;
use super::message::compose;
use super::upstream::Checking;
use super::upstream::Question;
use super::upstream::Upstreams;
use crate::clock::Clock;

/// Where the validator gets DS and DNSKEY records from. Cheap to clone.
#[derive(Clone)]
pub(super) struct ChainSource {
    /// What all clones share.
    shared: Arc<ChainShared>,
}

/// What the clones of a [`ChainSource`] share.
struct ChainShared {
    /// Whom to ask.
    upstreams: Upstreams,
    /// For expiry.
    clock: Arc<dyn Clock>,
    /// How long answers and failures are kept.
    ttl: TtlBounds,
    /// Answers and failures.
    cache: Mutex<Cache<ChainKey, Link>>,
    /// Questions under way, with the generation that they were asked in.
    flights: Flights<(ChainKey, u64), Link>,
    /// How often everything was forgotten. What was asked for before that is not remembered after.
    generation: AtomicU64,
}

/// A zone, and whether its DS or its DNSKEY records are meant.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct ChainKey {
    /// The zone.
    name: Name<Bytes>,
    /// DS or DNSKEY.
    rtype: Rtype,
}

/// What came of asking for a link of the chain.
#[derive(Clone, Debug)]
enum Link {
    /// An answer.
    Answer(Arc<Sections>),
    /// None, and why.
    Failed(Arc<str>),
}

impl ChainSource {
    /// Knows nothing yet.
    pub(super) fn new(
        upstreams: Upstreams,
        clock: Arc<dyn Clock>,
        ttl: TtlBounds,
        bounds: CacheBounds,
    ) -> Self {
        Self {
            shared: Arc::new(ChainShared {
                upstreams,
                clock,
                ttl,
                cache: Mutex::new(Cache::new(bounds)),
                flights: Flights::new(),
                generation: AtomicU64::new(0),
            }),
        }
    }

    /// Asks for what validating an answer about `name` will need, and then waits for ever.
    ///
    /// To be run beside the lookup and dropped when that ends.
    pub(super) async fn prefetch(&self, name: &Name<Bytes>) {
        let mut zones: Vec<Name<Bytes>> = name.iter_suffixes().collect();
        zones.reverse();
        let asked = zones
            .into_iter()
            // Underscore names belong to a host and are hardly ever a zone of their own.
            .take_while(|zone| !zone.first().as_slice().starts_with(b"_"))
            .take(PREFETCH_ZONES_MAX)
            .map(|zone| self.prefetch_zone(zone));
        join_all(asked).await;
        std::future::pending::<()>().await;
    }

    /// Asks for the DS records of a zone, and if there are any, for its keys.
    async fn prefetch_zone(&self, zone: Name<Bytes>) {
        if !zone.is_root() {
            let ds = self.link(zone.clone(), Rtype::DS).await;
            let signed = match &ds {
                Link::Answer(sections) => sections.find(&zone, Rtype::DS).is_some(),
                Link::Failed(_) => false,
            };
            if !signed {
                return;
            }
        }
        self.link(zone, Rtype::DNSKEY).await;
    }

    /// Why a link of the chain to `name` could not be had, if one could not of late.
    pub(super) fn failure_above(&self, name: &Name<Bytes>) -> Option<String> {
        let now = self.shared.clock.monotonic();
        let mut cache = self.cache();
        for zone in name.iter_suffixes() {
            for rtype in [Rtype::DS, Rtype::DNSKEY] {
                let key = ChainKey {
                    name: zone.clone(),
                    rtype,
                };
                if let Some((Link::Failed(why), _)) = cache.get(&key, now) {
                    return Some(format!("{rtype} of {}: {why}", zone.fmt_with_dot()));
                }
            }
        }
        None
    }

    /// Forgets the chain to `name`: something in it was wrong.
    pub(super) fn forget_above(&self, name: &Name<Bytes>) {
        let mut cache = self.cache();
        for zone in name.iter_suffixes() {
            for rtype in [Rtype::DS, Rtype::DNSKEY] {
                let name = zone.clone();
                cache.expire(&ChainKey { name, rtype });
            }
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        let mut cache = self.cache();
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
        cache.clear();
    }

    /// A link from the cache, or a question for it.
    fn link(&self, name: Name<Bytes>, rtype: Rtype) -> Shared<BoxFuture<'static, Link>> {
        let key = ChainKey { name, rtype };
        let now = self.shared.clock.monotonic();
        if let Some((link, _)) = self.cache().get(&key, now) {
            return std::future::ready(link).boxed().shared();
        }
        let shared = Arc::clone(&self.shared);
        let generation = shared.generation.load(Ordering::Relaxed);
        let asked = key.clone();
        self.shared.flights.join((key, generation), move || {
            async move { shared.ask(asked, generation).await }.boxed()
        })
    }

    /// The cache.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache<ChainKey, Link>> {
        self.shared.cache()
    }
}

impl ChainShared {
    /// Asks the upstreams for a link and remembers what came of it.
    async fn ask(&self, key: ChainKey, generation: u64) -> Link {
        let question = Question {
            name: key.name.clone(),
            rtype: key.rtype,
            checking: Checking::Disabled,
        };
        let (link, ttl, weight) = match self.upstreams.ask(&question).await {
            Ok(reply) => match Sections::parse(&reply.message) {
                Ok(sections) if is_answer(sections.rcode) => {
                    let ttl = self.ttl_of(&sections, &key);
                    let weight = reply.message.as_slice().len() * PARSED_WEIGHT;
                    (Link::Answer(Arc::new(sections)), ttl, weight)
                }
                Ok(sections) => {
                    let why = format!("the upstream answers {}", sections.rcode);
                    (Link::Failed(why.into()), self.ttl.failure, 0)
                }
                Err(broken) => (Link::Failed(broken.to_string().into()), self.ttl.failure, 0),
            },
            Err(why) => (Link::Failed(why.into()), self.ttl.failure, 0),
        };
        if let Some(expires) = self.clock.monotonic().checked_add(ttl) {
            let weight = weight + key.name.len() + ENTRY_OCTETS;
            let mut cache = self.cache();
            if self.generation.load(Ordering::Relaxed) == generation {
                cache.put(key, link.clone(), weight, expires);
            }
        }
        link
    }

    /// How long an answer may be kept.
    fn ttl_of(&self, sections: &Sections, key: &ChainKey) -> Duration {
        if let Some(set) = sections.find(&key.name, key.rtype) {
            let ttl = set.ttl().into_duration();
            return ttl.clamp(self.ttl.floor, self.ttl.ceiling);
        }
        let minimum = sections
            .authority
            .iter()
            .find_map(|set| Some(set.soa_minimum()?.min(set.ttl().into_duration())));
        let ttl = minimum.unwrap_or(self.ttl.floor);
        ttl.clamp(
            self.ttl.floor,
            self.ttl.negative_ceiling.max(self.ttl.floor),
        )
    }

    /// The cache.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache<ChainKey, Link>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SendRequest<RequestMessage<Vec<u8>>> for ChainSource {
    fn send_request(&self, request: RequestMessage<Vec<u8>>) -> Box<dyn GetResponse + Send + Sync> {
        let question = request.to_message().ok().and_then(|message| {
            message.first_question().map(|question| {
                let name: Name<Bytes> = question.qname().to_name();
                (name, question.qtype())
            })
        });
        let link = question.map(|(name, rtype)| {
            let key = ChainKey {
                name: name.clone(),
                rtype,
            };
            (key, self.link(name, rtype))
        });
        Box::new(LinkRequest {
            link,
            clock: Arc::clone(&self.shared.clock),
        })
    }
}

/// A question of the validator.
struct LinkRequest {
    /// What it asks for, and the answer to come; `None` if it cannot be understood.
    link: Option<(ChainKey, Shared<BoxFuture<'static, Link>>)>,
    /// For leaving out signatures that are not valid now.
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for LinkRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.as_ref().map(|(key, _)| key).fmt(f)
    }
}

impl GetResponse for LinkRequest {
    fn get_response(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Message<Bytes>, Error>> + Send + Sync + '_>> {
        Box::pin(async {
            let (key, link) = self.link.clone().ok_or(Error::FormError)?;
            let Link::Answer(sections) = link.await else {
                return Err(Error::NoTransportAvailable);
            };
            let rcode = if sections.rcode == OptRcode::NXDOMAIN {
                Rcode::NXDOMAIN
            } else {
                Rcode::NOERROR
            };
            let now = self.clock.now();
            compose(
                (&key.name, key.rtype),
                rcode,
                &sections.answer,
                &sections.authority,
                // The validator remembers signatures that it verified, and does not look at their
                // dates again.
                |_, signature| signature.validity(now).is_ok(),
            )
            .ok_or(Error::MessageBuilderPushError)
        })
    }
}

/// Whether the rcode is one of an answer.
fn is_answer(rcode: OptRcode) -> bool {
    rcode == OptRcode::NOERROR || rcode == OptRcode::NXDOMAIN
}

/// How many zones from the root down are asked about ahead of time: the root, a top-level domain
/// and a domain below it. Deeper names are seldom zones of their own.
const PREFETCH_ZONES_MAX: usize = 3;

/// A message taken apart takes about this many times the octets of the message.
const PARSED_WEIGHT: usize = 4;

/// About how many octets an entry of the cache takes besides its content.
const ENTRY_OCTETS: usize = 200;
