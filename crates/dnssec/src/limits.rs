//! The named bounds on what one validation may cost, and the count of what it has cost.

use std::fmt;
use std::time::Duration;

use crate::verdict::Failure;

/// Bounds on one validation and on what is kept of it.
///
/// The defaults leave a wide margin over what honest zones need. Whoever exceeds one of the bounds
/// on work ends as failed, so that a hostile zone harms nobody but itself.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Signatures checked in all: CVE-2023-50387. Default 128.
    pub signature_checks_max: u32,
    /// What checking signatures may cost in all. The unit is about what a check with a P-256 key, or
    /// the hashing of 4 KiB, takes: a tenth of a millisecond. Default 320.
    pub signature_cost_max: u32,
    /// Signatures that may fail over one record set before it is given up. Default 8.
    pub signature_failures_per_set_max: u32,
    /// Keys of one tag and algorithm that are tried for one signature. Default 4.
    pub keys_per_tag_max: usize,
    /// Keys in a DNSKEY set; a larger set is bogus. Default 64.
    pub keys_per_zone_max: usize,
    /// DS records that are compared with keys; those behind are ignored. Default 32.
    pub ds_per_zone_max: usize,
    /// NSEC or NSEC3 record sets looked at in one answer; those behind are ignored. Default 16.
    pub denial_sets_max: usize,
    /// Iterations of NSEC3's hash; beyond, the denial counts as insecure. Default 150.
    ///
    /// RFC 9276, Section 3.2 lets validators choose; this is what the deployed ones agreed on.
    pub nsec3_iterations_max: u16,
    /// Rounds of NSEC3's hash in all: CVE-2023-50868. Default 10,000.
    pub nsec3_rounds_max: u32,
    /// CNAME and DNAME records followed. Default 16.
    pub hops_max: usize,
    /// Questions asked in all. Default 128.
    pub questions_max: usize,
    /// Questions asked ahead of need at a time. Default 12.
    pub questions_ahead_max: usize,
    /// Zones below the trust anchor whose DS records are asked for beside the question itself,
    /// before its answer tells whether they are needed. Default 0.
    pub zones_ahead_max: usize,
    /// Zones and proofs kept for other validations. Default 100,000.
    pub cache_entries_max: usize,
    /// About how many octets these may take, and bogus zones beside them. Default 64 MiB.
    pub cache_octets_max: usize,
    /// Zones whose denial records are kept to answer other questions; 0 keeps none. Default 1,000.
    pub denial_zones_max: usize,
    /// Denial records kept for one zone; when there are more, it begins anew. Default 256.
    pub denials_per_zone_max: usize,
    /// About how many octets denial records may take, of all zones. Default 16 MiB.
    pub denial_octets_max: usize,
    /// The longest time that denial records are kept to answer other questions. Default 3 hours: what
    /// RFC 2308, Section 5 has found to work well.
    pub denial_ttl_max: Duration,
    /// Bogus zones that are remembered, so that questions about names in them end at once. Default
    /// 1,000.
    pub broken_zones_max: usize,
    /// How long a bogus zone is remembered. Default 30 seconds: RFC 9520, Section 3.2 asks for at
    /// least one second and at most five minutes, and a repaired zone is to be seen soon.
    pub broken_zone_ttl: Duration,
    /// The longest time that anything is kept. Default one day.
    pub ttl_max: Duration,
    /// The least that clocks may differ before a signature counts as expired or not yet valid.
    /// Default one hour.
    pub clock_skew_min: Duration,
    /// The most that clocks may differ; between the two it is a tenth of the time for which the
    /// signature is valid. Default one day.
    pub clock_skew_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            signature_checks_max: 128,
            signature_cost_max: 320,
            signature_failures_per_set_max: 8,
            keys_per_tag_max: 4,
            keys_per_zone_max: 64,
            ds_per_zone_max: 32,
            denial_sets_max: 16,
            nsec3_iterations_max: 150,
            nsec3_rounds_max: 10_000,
            hops_max: 16,
            questions_max: 128,
            questions_ahead_max: 12,
            zones_ahead_max: 0,
            cache_entries_max: 100_000,
            cache_octets_max: 64 * 1024 * 1024,
            denial_zones_max: 1_000,
            denials_per_zone_max: 256,
            denial_octets_max: 16 * 1024 * 1024,
            denial_ttl_max: Duration::from_secs(3 * 3_600),
            broken_zones_max: 1_000,
            broken_zone_ttl: Duration::from_secs(30),
            ttl_max: Duration::from_secs(86_400),
            clock_skew_min: Duration::from_secs(3_600),
            clock_skew_max: Duration::from_secs(86_400),
        }
    }
}

/// What a validation has cost so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Work {
    /// Signatures checked.
    pub signature_checks: u32,
    /// What that has cost, in units of [`Limits::signature_cost_max`].
    pub signature_cost: u32,
    /// Rounds of NSEC3's hash.
    pub nsec3_rounds: u32,
}

impl Work {
    /// Counts one check of a signature, by what the key and the octets that are signed cost.
    ///
    /// # Errors
    /// There have been too many, or they cost too much.
    pub(crate) fn count_signature(
        &mut self,
        key_cost: u32,
        octets: usize,
        limits: &Limits,
    ) -> Result<(), Failure> {
        if self.signature_checks >= limits.signature_checks_max {
            return Err(Failure::TooMuchWork(Bound::SignatureChecks));
        }
        let hashing = u32::try_from(octets / OCTETS_PER_COST).unwrap_or(u32::MAX);
        let cost = self
            .signature_cost
            .saturating_add(key_cost)
            .saturating_add(hashing);
        if cost > limits.signature_cost_max {
            return Err(Failure::TooMuchWork(Bound::SignatureCost));
        }
        self.signature_checks += 1;
        self.signature_cost = cost;
        Ok(())
    }

    /// Counts the hash of one name.
    ///
    /// # Errors
    /// There have been too many rounds.
    pub(crate) fn count_hash(&mut self, iterations: u16, limits: &Limits) -> Result<(), Failure> {
        let rounds = self.nsec3_rounds + u32::from(iterations) + 1;
        if rounds > limits.nsec3_rounds_max {
            return Err(Failure::TooMuchWork(Bound::Nsec3Rounds));
        }
        self.nsec3_rounds = rounds;
        Ok(())
    }
}

/// A bound that was exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Bound {
    /// [`Limits::hops_max`].
    Hops,
    /// [`Limits::nsec3_rounds_max`].
    Nsec3Rounds,
    /// [`Limits::questions_max`].
    Questions,
    /// [`Limits::signature_checks_max`].
    SignatureChecks,
    /// [`Limits::signature_cost_max`].
    SignatureCost,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hops => "too many CNAME and DNAME records in a row",
            Self::Nsec3Rounds => "too many rounds of the NSEC3 hash",
            Self::Questions => "too many questions",
            Self::SignatureChecks => "too many signatures to check",
            Self::SignatureCost => "signatures that cost too much to check",
        })
    }
}

/// Octets whose hashing costs one unit of [`Limits::signature_cost_max`].
const OCTETS_PER_COST: usize = 4_096;
