//! What is trusted at present, and why: the configured anchors, what became of their keys since
//! (RFC 5011), and negative anchors until they expire (RFC 7646).

use std::fmt;
use std::future::Future;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_dnssec::AnchorTracker;
use byrnie_dnssec::HOLD_DOWN;
use byrnie_dnssec::KeyState;
use byrnie_dnssec::TrackedKey;
use byrnie_dnssec::TrustAnchors;
use bytes::Bytes;
use domain::base::Name;
use serde::Deserialize;
use serde::Serialize;

/// Keeps what is known about the keys of anchored zones over a restart.
pub trait KeepAnchors: Send + Sync + 'static {
    /// What is known about a zone, which is named with its final dot.
    fn load(
        &self,
        zone: &str,
    ) -> impl Future<Output = Result<Option<AnchorState>, KeepError>> + Send;

    /// Keeps what is known in the place of what was there. It is durable when this returns.
    fn keep(
        &self,
        zone: &str,
        state: &AnchorState,
    ) -> impl Future<Output = Result<(), KeepError>> + Send;
}

/// Why what is known about a zone cannot be had or kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeepError {
    /// It can be read no more.
    Damaged(String),
    /// It cannot be reached.
    Unavailable(String),
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) | Self::Unavailable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for KeepError {}

/// What is kept about one zone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnchorState {
    /// The anchors in the operator's file that it began with; empty for those that are built in.
    pub configured: Vec<String>,
    /// What is known of the keys.
    pub tracker: AnchorTracker,
    /// When the keys were last asked for, and what came of it.
    pub last: Option<AnchorRefresh>,
}

/// When a zone's keys were asked for, and what came of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnchorRefresh {
    /// When.
    pub at: UnixTime,
    /// Why nothing was learned; `None` if all was well.
    pub failure: Option<String>,
}

/// Where the configured anchors come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorSource {
    /// They are part of the program. A later one may have others, which does not make keys doubtful
    /// that were learned meanwhile.
    BuiltIn,
    /// The operator has named them. If he names others, those count and nothing that was learned.
    File,
}

/// Whether changes of keys are followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorUpdates {
    /// They are, by RFC 5011.
    Follow,
    /// They are not: what is configured counts, but for keys that are known to be revoked.
    Fixed,
}

/// A domain below which nothing is validated for a while: RFC 7646.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct NegativeAnchor {
    /// The domain; all below it is taken for unsigned.
    pub domain: DomainName,
    /// When that ends.
    pub until: UnixTime,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

impl NegativeAnchor {
    /// Whether it counts at present.
    #[must_use]
    pub fn is_active(&self, now: UnixTime) -> bool {
        now < self.until
    }

    /// Whether it is about a name, which is the domain or lies below it.
    #[must_use]
    pub fn covers(&self, name: &DomainName) -> bool {
        let (name, domain) = (name.as_str(), self.domain.as_str());
        name.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// All that is trusted, and why.
#[derive(Clone, Debug)]
pub struct AnchorBook {
    /// What is configured.
    configured: TrustAnchors,
    /// Where that comes from.
    source: AnchorSource,
    /// Whether changes are followed.
    updates: AnchorUpdates,
    /// The zones with anchors.
    pub(super) zones: Vec<AnchoredZone>,
    /// Where nothing is validated.
    negative: Vec<NegativeAnchor>,
}

/// A zone with anchors.
#[derive(Clone, Debug)]
pub(super) struct AnchoredZone {
    /// The zone.
    pub(super) zone: Name<Bytes>,
    /// What is known.
    pub(super) state: AnchorState,
    /// Nothing is asked before then, whatever the state says: keeping it failed a moment ago.
    pub(super) pause_until: UnixTime,
}

impl AnchoredZone {
    /// The zone with its final dot.
    pub(super) fn name(&self) -> String {
        self.zone.fmt_with_dot().to_string()
    }
}

impl AnchorBook {
    /// What is configured. Nothing is known about keys until [`load`](Self::load).
    #[must_use]
    pub fn new(
        configured: TrustAnchors,
        source: AnchorSource,
        updates: AnchorUpdates,
        negative: Vec<NegativeAnchor>,
    ) -> Self {
        let zones = configured.zones().map(|zone| AnchoredZone {
            zone: zone.clone(),
            state: AnchorState {
                configured: match source {
                    AnchorSource::BuiltIn => Vec::new(),
                    AnchorSource::File => configured.records(zone),
                },
                tracker: AnchorTracker::new(),
                last: None,
            },
            pause_until: UnixTime(0),
        });
        Self {
            zones: zones.collect(),
            configured,
            source,
            updates,
            negative,
        }
    }

    /// Reads what is known about the keys. Returns what could not be read: for those zones the
    /// configured anchors count as on the first day. That is no less careful than what was configured;
    /// but a revocation that was noted is forgotten with the rest, so somebody should be told.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn load(&mut self, store: &impl KeepAnchors) -> Result<Vec<String>, KeepError> {
        let mut damaged = Vec::new();
        for zone in &mut self.zones {
            let mut kept = match store.load(&zone.name()).await {
                Ok(Some(kept)) => kept,
                Ok(None) => continue,
                Err(KeepError::Damaged(why)) => {
                    damaged.push(why);
                    continue;
                }
                Err(error @ KeepError::Unavailable(_)) => return Err(error),
            };
            let is_same = kept.configured == zone.state.configured;
            if !is_same || self.updates == AnchorUpdates::Fixed {
                kept.tracker.begin_anew();
                kept.configured.clone_from(&zone.state.configured);
            }
            zone.state = kept;
        }
        Ok(damaged)
    }

    /// What is trusted at a certain time.
    #[must_use]
    pub fn trusted(&self, now: UnixTime) -> TrustAnchors {
        let mut anchors = self.configured.clone();
        for zone in &self.zones {
            anchors = zone.state.tracker.anchors(&zone.zone, &anchors);
        }
        for negative in self.active(now) {
            if let Ok(name) = Name::bytes_from_str(negative.domain.as_str()) {
                anchors.add_negative(name);
            }
        }
        anchors
    }

    /// What is configured.
    pub(super) fn configured(&self) -> &TrustAnchors {
        &self.configured
    }

    /// Whether changes are followed.
    #[must_use]
    pub fn updates(&self) -> AnchorUpdates {
        self.updates
    }

    /// The negative anchors that count at a certain time.
    pub fn active(&self, now: UnixTime) -> impl Iterator<Item = &NegativeAnchor> {
        self.negative
            .iter()
            .filter(move |negative| negative.is_active(now))
    }

    /// Those that count no more.
    pub fn expired(&self, now: UnixTime) -> impl Iterator<Item = &NegativeAnchor> {
        self.negative
            .iter()
            .filter(move |negative| !negative.is_active(now))
    }

    /// The zones in which every key is revoked: nothing below them can be validated.
    #[must_use]
    pub fn dead_zones(&self, now: UnixTime) -> Vec<String> {
        let trusted = self.trusted(now);
        let dead = self.zones.iter();
        let dead = dead.filter(|zone| !trusted.is_alive(&zone.zone));
        dead.map(AnchoredZone::name).collect()
    }

    /// All of it as data for people and programs.
    #[must_use]
    pub fn report(&self, now: UnixTime) -> AnchorReport {
        let trusted = self.trusted(now);
        let zones = self.zones.iter().map(|zone| ZoneReport {
            zone: zone.name(),
            source: self.source,
            updates: self.updates,
            usable: trusted.is_alive(&zone.zone),
            configured: self.configured.records(&zone.zone),
            keys: zone
                .state
                .tracker
                .keys
                .iter()
                .map(KeyReport::from)
                .collect(),
            refresh_at: match self.updates {
                AnchorUpdates::Follow => Some(zone.state.tracker.refresh_at),
                AnchorUpdates::Fixed => None,
            },
            last: zone.state.last.clone(),
        });
        let negative = self.negative.iter().map(|negative| NegativeReport {
            anchor: negative.clone(),
            active: negative.is_active(now),
        });
        AnchorReport {
            zones: zones.collect(),
            negative: negative.collect(),
        }
    }
}

/// What is trusted, for people and programs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct AnchorReport {
    /// The zones with anchors.
    pub zones: Vec<ZoneReport>,
    /// The negative anchors.
    pub negative: Vec<NegativeReport>,
}

/// A zone with anchors.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ZoneReport {
    /// The zone with its final dot.
    pub zone: String,
    /// Where the configured anchors come from.
    pub source: AnchorSource,
    /// Whether changes of keys are followed.
    pub updates: AnchorUpdates,
    /// Whether any key can be trusted at all.
    pub usable: bool,
    /// The configured anchors in presentation form.
    pub configured: Vec<String>,
    /// The keys that were seen.
    pub keys: Vec<KeyReport>,
    /// When the keys are asked for next; long ago means at once, `None` never.
    pub refresh_at: Option<UnixTime>,
    /// What came of the last time.
    pub last: Option<AnchorRefresh>,
}

/// A key that was seen.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyReport {
    /// Its tag, as long as it is not revoked.
    pub key_tag: u16,
    /// The name of its algorithm.
    pub algorithm: String,
    /// `valid`, `missing`, `pending`, `revoked` or `removed`.
    pub state: &'static str,
    /// Whether it is trusted.
    pub trusted: bool,
    /// Since when it is in this state, where that matters.
    pub since: Option<UnixTime>,
    /// When a pending key will be trusted, if it stays.
    pub trusted_from: Option<UnixTime>,
}

impl From<&TrackedKey> for KeyReport {
    fn from(key: &TrackedKey) -> Self {
        let (state, since) = match key.state {
            KeyState::AddPending(since) => ("pending", Some(since)),
            KeyState::Missing(since) => ("missing", Some(since)),
            KeyState::Removed => ("removed", None),
            KeyState::Revoked(since) => ("revoked", Some(since)),
            KeyState::Valid => ("valid", None),
        };
        let trusted_from = match key.state {
            KeyState::AddPending(since) => Some(since + HOLD_DOWN),
            KeyState::Missing(_) | KeyState::Removed | KeyState::Revoked(_) | KeyState::Valid => {
                None
            }
        };
        Self {
            key_tag: key.key_tag().unwrap_or_default(),
            algorithm: key.algorithm_name(),
            state,
            trusted: key.state.is_trusted(),
            since,
            trusted_from,
        }
    }
}

/// A negative anchor, and whether it counts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct NegativeReport {
    /// The anchor.
    #[serde(flatten)]
    pub anchor: NegativeAnchor,
    /// Whether it counts at present.
    pub active: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_anchor_covers_its_domain_and_what_is_below() {
        check("example.org", "example.org", true);
        check("example.org", "mx.example.org", true);
        check("example.org", "badexample.org", false);
        check("example.org", "org", false);
        check("a.example.org", "example.org", false);
    }

    #[track_caller]
    fn check(domain: &str, name: &str, expected: bool) {
        let anchor = NegativeAnchor {
            domain: domain.parse().unwrap(),
            until: UnixTime(0),
            reason: None,
        };
        assert_eq!(anchor.covers(&name.parse().unwrap()), expected);
    }
}
