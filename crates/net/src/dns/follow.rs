//! Following trust anchors while they change: RFC 5011, driven by a clock.
//!
//! ```text
//!        refresh_at has come             observed             durable
//! sleep ────────────────────► DNSKEY? ────────────► keep it ──────────► replace the anchors ─► sleep
//!                                 │ no trusted key signed it    │ cannot
//!                                 └──────► say so, later ◄──────┘
//! ```
//!
//! What is learned counts when it is durable, and not before: after a crash the program must not know
//! less about revoked keys than it did. There is no jitter: the question goes to a resolver that the
//! operator has chosen, not to the zone, and is asked once an hour at most.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_dnssec::KeyState;
use byrnie_dnssec::REFRESH_MAX;
use byrnie_dnssec::RETRY_MIN;
use byrnie_dnssec::Status;
use byrnie_dnssec::TrackedKey;
use domain::base::Rtype;

use super::anchor_book::AnchorBook;
use super::anchor_book::AnchorRefresh;
use super::anchor_book::AnchorState;
use super::anchor_book::AnchorUpdates;
use super::anchor_book::AnchoredZone;
use super::anchor_book::KeepAnchors;
use super::resolver::Resolver;
use super::resolver::Validation;
use super::upstream::Checking;
use super::upstream::Question;
use crate::clock::Clock;

/// Keeps a resolver's trust anchors up to date.
pub struct AnchorFollower<S> {
    /// Whose anchors they are.
    resolver: Resolver,
    /// What is known.
    book: AnchorBook,
    /// Where it is kept.
    store: Arc<S>,
    /// Tells when to look again.
    clock: Arc<dyn Clock>,
}

impl<S: KeepAnchors> AnchorFollower<S> {
    /// Follows the anchors of `book`.
    #[must_use]
    pub fn new(resolver: Resolver, book: AnchorBook, store: Arc<S>, clock: Arc<dyn Clock>) -> Self {
        Self {
            resolver,
            book,
            store,
            clock,
        }
    }

    /// Follows them until `shutdown`.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let wait = tokio::select! {
                () = &mut shutdown => return,
                wait = self.step() => wait,
            };
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does everything that is due; returns how long there is nothing to do, at most
    /// [`ANCHOR_WAIT_MAX`].
    pub async fn step(&mut self) -> Duration {
        if self.book.updates() == AnchorUpdates::Follow {
            for index in 0..self.book.zones.len() {
                self.refresh_if_due(index).await;
            }
        }
        self.put_in_force();
        self.wait()
    }

    /// What is known at present.
    #[must_use]
    pub fn book(&self) -> &AnchorBook {
        &self.book
    }

    /// Looks at a zone's keys if it is time.
    async fn refresh_if_due(&mut self, index: usize) {
        let now = self.clock.now();
        let Some(zone) = self.book.zones.get(index) else {
            return;
        };
        if !is_due(zone, now) {
            return;
        }
        let (name, before) = (zone.name(), zone.state.tracker.keys.clone());
        let state = self.ask(zone, now).await;
        let stats = self.resolver.stats();
        match state.last.as_ref().and_then(|last| last.failure.as_ref()) {
            None => stats.count_anchor_refresh(),
            Some(why) => {
                stats.count_anchor_failure();
                tracing::error!(zone = %name, %why, hint = HINT_FAILED, "the keys of a trust anchor could not be refreshed");
            }
        }
        let kept = self.store.keep(&name, &state).await;
        let Some(zone) = self.book.zones.get_mut(index) else {
            return;
        };
        match kept {
            Ok(()) => {
                tell_changes(&name, &before, &state.tracker.keys);
                zone.state = state;
            }
            Err(error) => {
                self.resolver.stats().count_anchor_not_kept();
                zone.pause_until = now + KEEP_RETRY;
                tracing::error!(zone = %name, %error, hint = HINT_NOT_KEPT, "what was learned about a trust anchor cannot be stored and does not count yet");
            }
        }
    }

    /// Asks for a zone's keys, one upstream after the other until one has an answer that a trusted key
    /// signed; what is known then.
    async fn ask(&self, zone: &AnchoredZone, now: UnixTime) -> AnchorState {
        let mut state = zone.state.clone();
        let question = Question {
            name: zone.zone.clone(),
            rtype: Rtype::DNSKEY,
            checking: Checking::Disabled,
        };
        state.tracker.refresh_at = now + RETRY_MIN;
        let inner = self.resolver.inner();
        let mut faults = Vec::new();
        for upstream in inner.upstreams().all() {
            let alone = inner.upstreams().only(upstream);
            let limit = inner.lookup_timeout();
            let fault = match tokio::time::timeout(limit, alone.ask(&question)).await {
                Err(_) => format!("{}: no answer within {limit:?}", upstream.address),
                Ok(Err(why)) => why,
                Ok(Ok(reply)) => {
                    let octets = reply.message.as_slice();
                    let configured = self.book.configured();
                    let tracker = &mut state.tracker;
                    match tracker.observe(&zone.zone, configured, octets, now) {
                        Ok(()) => {
                            state.last = Some(AnchorRefresh {
                                at: now,
                                failure: None,
                            });
                            return state;
                        }
                        Err(status) => format!("{}: {}", upstream.address, explain(&status)),
                    }
                }
            };
            faults.push(fault);
        }
        state.last = Some(AnchorRefresh {
            at: now,
            failure: Some(faults.join("; ")),
        });
        state
    }

    /// Makes the resolver trust what is to be trusted now.
    fn put_in_force(&self) {
        let now = self.clock.now();
        let stats = self.resolver.stats();
        let dead = self.book.dead_zones(now);
        stats.set_anchors(dead.len(), self.book.active(now).count());
        let trusted = self.book.trusted(now);
        let Validation::Here(validator) = self.resolver.inner().validation() else {
            return;
        };
        if trusted == validator.anchors() {
            return;
        }
        for zone in dead {
            tracing::error!(%zone, hint = HINT_DEAD, "every key of a trust anchor is revoked: nothing below it can be validated, and mail there waits");
        }
        for expired in self.book.expired(now) {
            tracing::warn!(domain = %expired.domain, "a negative trust anchor has expired: the domain is validated");
        }
        self.resolver.replace_anchors(trusted);
        tracing::info!(
            "the trust anchors have changed, and what was proven by the old ones is forgotten"
        );
    }

    /// How long there is nothing to do.
    fn wait(&self) -> Duration {
        let now = self.clock.now();
        let refreshes = self.book.zones.iter().map(|zone| {
            let at = zone.state.tracker.refresh_at.max(zone.pause_until);
            at.since(now)
        });
        let refreshes = refreshes.filter(|_| self.book.updates() == AnchorUpdates::Follow);
        let expiries = self.book.active(now).map(|anchor| anchor.until.since(now));
        let next = refreshes.chain(expiries).min();
        next.unwrap_or(ANCHOR_WAIT_MAX)
            .clamp(WAIT_MIN, ANCHOR_WAIT_MAX)
    }
}

/// Whether it is time to look at a zone's keys; also where a clock that ran ahead has put that off.
fn is_due(zone: &AnchoredZone, now: UnixTime) -> bool {
    let at = zone.state.tracker.refresh_at;
    let is_time = now >= at || at.since(now) > REFRESH_MAX;
    let is_paused = now < zone.pause_until && zone.pause_until.since(now) <= KEEP_RETRY;
    is_time && !is_paused
}

/// What a failed refresh means.
fn explain(status: &Status) -> String {
    match status {
        Status::Bogus(fault) => format!("no trusted key signed the keys: {fault}"),
        Status::Secure | Status::Insecure(_) | Status::Failed(_) => status.to_string(),
    }
}

/// Tells what became of each key.
fn tell_changes(zone: &str, before: &[TrackedKey], after: &[TrackedKey]) {
    let state_in = |keys: &[TrackedKey], key: &TrackedKey| {
        let mut keys = keys.iter();
        let same = keys.find(|other| other.public_key == key.public_key);
        same.map(|same| same.state)
    };
    for key in after {
        let was = state_in(before, key);
        if was == Some(key.state) {
            continue;
        }
        let key_tag = key.key_tag().unwrap_or_default();
        match key.state {
            KeyState::AddPending(_) => {
                tracing::info!(%zone, key_tag, "a new key: it is trusted if it stays for 30 days");
            }
            KeyState::Valid => tracing::info!(%zone, key_tag, "a key is trusted"),
            KeyState::Missing(_) => {
                tracing::warn!(%zone, key_tag, "a trusted key is missing, though it was not revoked");
            }
            KeyState::Revoked(_) => {
                tracing::warn!(%zone, key_tag, "a key is revoked and never trusted again");
            }
            KeyState::Removed => tracing::info!(%zone, key_tag, "a revoked key is gone"),
        }
    }
    for key in before {
        if state_in(after, key).is_none() {
            let key_tag = key.key_tag().unwrap_or_default();
            tracing::warn!(%zone, key_tag, "a key that was not trusted yet has gone; it begins anew if it comes back");
        }
    }
}

/// The clock is looked at this often, in case it is set.
pub const ANCHOR_WAIT_MAX: Duration = Duration::from_secs(60);

/// Never busier than this.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The pause after what was learned could not be kept.
const KEEP_RETRY: Duration = Duration::from_secs(60);

/// For a refresh that failed.
const HINT_FAILED: &str = "tried again within the hour; if no trusted key signed the keys for long, \
    this machine may have slept over a change of keys, or its clock is wrong, or somebody answers in \
    the resolver's place: compare `byrnie anchors` with what the zone publishes elsewhere (for the \
    root, https://data.iana.org/root-anchors/), name the right anchors in `dns.trust_anchor_file` and \
    restart";

/// For a state that cannot be kept.
const HINT_NOT_KEPT: &str = "tried again in a minute; is the disk full, or the spool not writable?";

/// For a zone without a key to trust.
pub const HINT_DEAD: &str = "name the zone's new anchors in `dns.trust_anchor_file` (the root's are \
    at https://data.iana.org/root-anchors/) and restart";
