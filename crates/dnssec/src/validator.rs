//! What lasts longer than one validation.

use std::sync::Arc;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;

use crate::algorithm::Sha1Policy;
use crate::anchor::TrustAnchors;
use crate::cache::Bounds;
use crate::cache::BrokenZone;
use crate::cache::Cache;
use crate::cache::KnownDenials;
use crate::chain::KnownCut;
use crate::limits::Limits;
use crate::message::Question;
use crate::validation::Step;
use crate::validation::Validation;

/// Trust anchors, bounds, and proven keys, shared by all validations.
///
/// Cheap to clone; the clones share one cache.
#[derive(Clone, Debug)]
pub struct Validator(Arc<Shared>);

/// What the clones of a validator share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where chains begin and are cut.
    pub(crate) anchors: TrustAnchors,
    /// The bounds.
    pub(crate) limits: Limits,
    /// What SHA-1 is worth.
    pub(crate) sha1: Sha1Policy,
    /// Proofs about zone cuts.
    pub(crate) cuts: Cache<KnownCut>,
    /// Denial records by zone.
    pub(crate) denials: Cache<KnownDenials>,
    /// Zones that were bogus just now.
    pub(crate) broken: Cache<BrokenZone>,
}

impl Validator {
    /// A validator with an empty cache.
    ///
    /// Without any anchor everything is insecure; whoever configures it should refuse that.
    #[must_use]
    pub fn new(anchors: TrustAnchors, limits: Limits, sha1: Sha1Policy) -> Self {
        Self(Arc::new(Shared {
            anchors,
            cuts: Cache::new(Bounds {
                entries_max: limits.cache_entries_max,
                octets_max: limits.cache_octets_max,
            }),
            denials: Cache::new(Bounds {
                entries_max: limits.denial_zones_max,
                octets_max: limits.denial_octets_max,
            }),
            broken: Cache::new(Bounds {
                entries_max: limits.broken_zones_max,
                octets_max: limits.cache_octets_max,
            }),
            limits,
            sha1,
        }))
    }

    /// Starts to validate the answer to a question.
    ///
    /// It may end at once, where kept denials prove that there is none.
    #[must_use]
    pub fn start(&self, question: Question, now: UnixTime) -> (Validation, Step) {
        Validation::start(Arc::clone(&self.0), question, now)
    }

    /// Forgets every proof, so that all is asked and checked again.
    pub fn forget(&self) {
        self.0.cuts.clear();
        self.0.denials.clear();
        self.0.broken.clear();
    }

    /// Forgets the proofs that a name rests on: something in them may have changed.
    pub fn forget_above(&self, name: &Name<Bytes>) {
        for zone in name.iter_suffixes() {
            self.0.cuts.remove(&zone);
            self.0.denials.remove(&zone);
            self.0.broken.remove(&zone);
        }
    }

    /// The trust anchors.
    #[must_use]
    pub fn anchors(&self) -> &TrustAnchors {
        &self.0.anchors
    }

    /// The number of proofs about zone cuts kept, at most [`Limits::cache_entries_max`].
    #[must_use]
    pub fn cached_proofs(&self) -> usize {
        self.0.cuts.len()
    }
}
