//! Tracking a trust anchor's keys as their zone changes them: RFC 5011.
//!
//! A state machine over the days and weeks: whoever has a clock and a place to keep it hands in the
//! zone's DNSKEY answer whenever [`AnchorTracker::refresh_at`] has come, keeps the tracker, and
//! makes [`TrustAnchors`] of its keys. New keys are believed when a trusted one has vouched for them
//! during 30 days without a break; revoked ones are never believed again.

use std::time::Duration;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::rdata::Dnskey;
use serde::Deserialize;
use serde::Serialize;

use crate::algorithm::Sha1Policy;
use crate::anchor::TrustAnchors;
use crate::explain::AlgorithmName;
use crate::key::Key;
use crate::limits::Limits;
use crate::limits::Work;
use crate::message::Question;
use crate::message::Response;
use crate::signature::Unverified;
use crate::signature::Verified;
use crate::signature::Verifier;
use crate::verdict::Failure;
use crate::verdict::Status;

/// The keys of one trust anchor's zone, with what is known of each.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnchorTracker {
    /// The keys, at most [`TRACKED_KEYS_MAX`].
    pub keys: Vec<TrackedKey>,
    /// When the zone's keys should be asked for next.
    pub refresh_at: UnixTime,
}

/// One key of the zone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrackedKey {
    /// The algorithm's number.
    pub algorithm: u8,
    /// The key as in the DNSKEY record.
    pub public_key: Vec<u8>,
    /// What is known of it.
    pub state: KeyState,
}

/// The states of RFC 5011, Section 4.2; a key that is at Start is not tracked.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Seen since then, and not trusted yet.
    AddPending(UnixTime),
    /// Trusted, though not seen since then.
    Missing(UnixTime),
    /// Revoked, and gone: never trusted again.
    Removed,
    /// Revoked at that time.
    Revoked(UnixTime),
    /// Trusted.
    Valid,
}

impl KeyState {
    /// Whether a key in this state is a trust anchor.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        match self {
            Self::Valid | Self::Missing(_) => true,
            Self::AddPending(_) | Self::Removed | Self::Revoked(_) => false,
        }
    }

    /// Whether a key in this state must never be trusted again.
    const fn is_revoked(self) -> bool {
        match self {
            Self::Removed | Self::Revoked(_) => true,
            Self::AddPending(_) | Self::Missing(_) | Self::Valid => false,
        }
    }
}

impl AnchorTracker {
    /// A tracker that knows no key yet and should look at once.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: Vec::new(),
            refresh_at: UnixTime(0),
        }
    }

    /// The configured anchors, with the keys of `zone` that came to be trusted, and without those that
    /// were revoked.
    ///
    /// A key that is configured counts as long as it is not revoked, seen or not: it may be one that
    /// its zone has yet to introduce.
    #[must_use]
    pub fn anchors(&self, zone: &Name<Bytes>, configured: &TrustAnchors) -> TrustAnchors {
        let mut anchors = configured.clone();
        let revoked = self.keys.iter().filter(|key| key.state.is_revoked());
        let revoked = revoked.flat_map(TrackedKey::forms).map(Key::new);
        anchors.revoke(zone, &revoked.collect::<Vec<_>>());
        let trusted = self.keys.iter().filter(|key| key.state.is_trusted());
        for key in trusted.filter_map(TrackedKey::dnskey) {
            anchors.trust(zone, key);
        }
        anchors
    }

    /// Forgets everything but which keys are revoked, and should look at once: other anchors were
    /// configured.
    pub fn begin_anew(&mut self) {
        self.keys.retain(|key| key.state.is_revoked());
        self.refresh_at = UnixTime(0);
    }

    /// Takes the zone's DNSKEY answer and moves each key on.
    ///
    /// `configured` says what to trust at first, before any key is tracked.
    ///
    /// # Errors
    /// The answer is not usable: no trusted key signed it. Only `refresh_at` is changed then, and keys
    /// that have revoked themselves are noted.
    pub fn observe(
        &mut self,
        zone: &Name<Bytes>,
        configured: &TrustAnchors,
        octets: &[u8],
        now: UnixTime,
    ) -> Result<(), Status> {
        self.refresh_at = now + RETRY_MIN;
        let question = Question::new(zone.clone(), Rtype::DNSKEY);
        let response = Response::read(&question, octets)
            .map_err(|why| Status::Failed(Failure::BadMessage(question.clone(), why)))?;
        let Some(signed) = response.answer.find(zone, Rtype::DNSKEY) else {
            let failure = Failure::Rcode(question, response.rcode);
            return Err(Status::Failed(failure));
        };
        let limits = Limits::default();
        let keys = signed.set.parsed::<Dnskey<Bytes>>();
        let keys: Vec<Key> = keys.take(limits.keys_per_zone_max).map(Key::new).collect();
        let verifier = |keys| Verifier {
            zone,
            keys,
            limits: &limits,
            sha1: Sha1Policy::Validate,
            now,
        };
        // A revocation needs no other signature than the revoked key's own: Section 2.1.
        for key in keys.iter().filter(|key| key.dnskey.is_revoked()) {
            if verifier(&[]).is_signed_by(signed, key) {
                self.revoke(key, zone, configured, now);
            }
        }

        let anchors = self.anchors(zone, configured);
        let is_trusted = |key: &Key| {
            key.is_zone_key()
                && anchors
                    .closest(zone)
                    .is_some_and(|anchor| anchor.is_for(key))
        };
        let (trusted, others): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(is_trusted);
        let mut work = Work::default();
        let verified = verifier(&trusted)
            .verify(signed, &mut work)
            .map_err(|unverified| match unverified {
                Unverified::Fault(fault) => Status::Bogus(fault),
                Unverified::Failure(failure) => Status::Failed(failure),
            })?;
        let ttl = Duration::from_secs(u64::from(signed.set.ttl));
        for key in &trusted {
            self.see(key, KeyState::Valid);
        }
        for key in others.iter().filter(|key| is_candidate(key)) {
            self.see_candidate(key, ttl, now);
        }
        let present: Vec<&Key> = trusted.iter().chain(&others).collect();
        self.keys
            .retain_mut(|tracked| tracked.miss_unless(&present, now));
        self.refresh_at = now + refresh_interval(ttl, &verified, now);
        Ok(())
    }

    /// Notes a trusted key that was seen.
    fn see(&mut self, key: &Key, state: KeyState) {
        if let Some(tracked) = self.find(key) {
            tracked.state = state;
        } else if self.keys.len() < TRACKED_KEYS_MAX {
            self.keys.push(TrackedKey {
                algorithm: key.dnskey.algorithm().to_int(),
                public_key: key.dnskey.public_key().to_vec(),
                state,
            });
        }
    }

    /// Notes a key that is not trusted and was seen in a set that a trusted key signed.
    fn see_candidate(&mut self, key: &Key, ttl: Duration, now: UnixTime) {
        match self.find(key).map(|tracked| tracked.state) {
            None => self.see(key, KeyState::AddPending(now)),
            Some(KeyState::AddPending(since)) if now.since(since) >= HOLD_DOWN.max(ttl) => {
                self.see(key, KeyState::Valid);
            }
            Some(
                KeyState::AddPending(_)
                | KeyState::Missing(_)
                | KeyState::Removed
                | KeyState::Revoked(_)
                | KeyState::Valid,
            ) => {}
        }
    }

    /// Notes a revocation, also of a key that is configured and was never seen before.
    fn revoke(&mut self, key: &Key, zone: &Name<Bytes>, configured: &TrustAnchors, now: UnixTime) {
        if let Some(tracked) = self.find(key) {
            tracked.state = match tracked.state {
                state @ (KeyState::Revoked(_) | KeyState::Removed) => state,
                KeyState::AddPending(_) | KeyState::Missing(_) | KeyState::Valid => {
                    KeyState::Revoked(now)
                }
            };
            return;
        }
        let revoked = TrackedKey {
            algorithm: key.dnskey.algorithm().to_int(),
            public_key: key.dnskey.public_key().to_vec(),
            state: KeyState::Revoked(now),
        };
        let is_configured = configured.closest(zone).is_some_and(|anchor| {
            let mut forms = revoked.forms().map(Key::new);
            forms.any(|form| anchor.is_for(&form))
        });
        // No more of these than are configured, whatever else is tracked.
        if is_configured {
            self.keys.push(revoked);
        }
    }

    /// The tracked key with the same material; the flags, and so the tag, may differ.
    fn find(&mut self, key: &Key) -> Option<&mut TrackedKey> {
        self.keys.iter_mut().find(|tracked| tracked.is(key))
    }
}

impl Default for AnchorTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl TrackedKey {
    /// Its key tag, as long as it is not revoked: RFC 4034, Appendix B. `None` for what is no key.
    #[must_use]
    pub fn key_tag(&self) -> Option<u16> {
        self.dnskey().map(|key| key.key_tag())
    }

    /// The name of its algorithm, or its number.
    #[must_use]
    pub fn algorithm_name(&self) -> String {
        AlgorithmName(SecurityAlgorithm::from_int(self.algorithm)).to_string()
    }

    /// The key as a record.
    fn dnskey(&self) -> Option<Dnskey<Bytes>> {
        self.with_flags(FLAGS_KEY_SIGNING)
    }

    /// The records that may hold the key: with the SEP bit, and as an operator may have configured it.
    fn forms(&self) -> impl Iterator<Item = Dnskey<Bytes>> {
        let flags = [FLAGS_KEY_SIGNING, FLAGS_ZONE_SIGNING].into_iter();
        flags.filter_map(|flags| self.with_flags(flags))
    }

    /// The key as a record with certain flags.
    fn with_flags(&self, flags: u16) -> Option<Dnskey<Bytes>> {
        let algorithm = SecurityAlgorithm::from_int(self.algorithm);
        let public_key = Bytes::copy_from_slice(&self.public_key);
        Dnskey::new(flags, PROTOCOL, algorithm, public_key).ok()
    }

    /// Whether it is the same key.
    fn is(&self, key: &Key) -> bool {
        self.algorithm == key.dnskey.algorithm().to_int()
            && self.public_key == key.dnskey.public_key().as_ref()
    }

    /// Moves on a key that is not among those present; whether it is to be kept.
    fn miss_unless(&mut self, present: &[&Key], now: UnixTime) -> bool {
        let is_present = |key: &&&Key| match self.state {
            // In another role it is not the key that is waited for.
            KeyState::AddPending(_) => self.is(key) && is_candidate(key),
            KeyState::Missing(_) | KeyState::Removed | KeyState::Revoked(_) | KeyState::Valid => {
                self.is(key)
            }
        };
        if present.iter().any(|key| is_present(&key)) {
            return true;
        }
        match self.state {
            // Back to Start: its time begins anew when it is seen again.
            KeyState::AddPending(_) => return false,
            KeyState::Valid => self.state = KeyState::Missing(now),
            KeyState::Revoked(since) if now.since(since) >= HOLD_DOWN => {
                self.state = KeyState::Removed;
            }
            KeyState::Missing(_) | KeyState::Removed | KeyState::Revoked(_) => {}
        }
        true
    }
}

/// Whether a key may become a trust anchor: it has the SEP bit, is not revoked, and can verify
/// something: with nothing but others, a zone would be dead and look alive.
fn is_candidate(key: &Key) -> bool {
    key.is_zone_key() && key.dnskey.is_secure_entry_point() && key.is_usable()
}

/// RFC 5011, Section 2.3: half of the TTL and of the signature's time, within bounds.
fn refresh_interval(ttl: Duration, verified: &Verified, now: UnixTime) -> Duration {
    let left = verified.expiration.since(now);
    REFRESH_MIN.max(REFRESH_MAX.min(ttl / 2).min(left / 2))
}

/// The keys tracked for one zone; further ones are ignored. The root has had three at a time.
pub const TRACKED_KEYS_MAX: usize = 16;

/// How long a new key must be seen before it is trusted: RFC 5011, Section 2.4.1 and 2.4.2.
pub const HOLD_DOWN: Duration = Duration::from_secs(30 * 86_400);

/// RFC 5011, Section 2.3.
const REFRESH_MIN: Duration = Duration::from_secs(3_600);

/// The longest time between two looks at a zone's keys: RFC 5011, Section 2.3.
pub const REFRESH_MAX: Duration = Duration::from_secs(15 * 86_400);

/// The time after which to look again if that failed: RFC 5011, Section 2.3 allows no shorter one.
pub const RETRY_MIN: Duration = Duration::from_secs(3_600);

/// A zone key with the SEP bit: RFC 4034, Section 2.1.1.
const FLAGS_KEY_SIGNING: u16 = 257;

/// A zone key without it.
const FLAGS_ZONE_SIGNING: u16 = 256;

/// RFC 4034, Section 2.1.2.
const PROTOCOL: u8 = 3;
