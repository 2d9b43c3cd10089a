//! The chain of trust as data, for people and machines to read.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::SecurityAlgorithm;
use serde::Serialize;
use serde::Serializer;

use crate::fault::Fault;
use crate::key::Key;
use crate::signature::Verified;
use crate::verdict::InsecureProof;

/// One zone in the chain from a trust anchor down, or the place where the chain ends.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Link {
    /// The zone.
    #[serde(serialize_with = "name")]
    pub zone: Name<Bytes>,
    /// Its DS records, or the digests of its trust anchor.
    pub ds: Vec<DsEntry>,
    /// Its keys.
    pub keys: Vec<KeyEntry>,
    /// The signature over its keys that counted; in an insecure delegation, that over the proof.
    pub signature: Option<SignatureEntry>,
    /// What became of it.
    #[serde(serialize_with = "text")]
    pub verdict: LinkVerdict,
}

impl Link {
    /// The zone where the chain breaks.
    pub(crate) const fn broken(zone: Name<Bytes>, fault: Fault) -> Self {
        Self {
            zone,
            ds: Vec::new(),
            keys: Vec::new(),
            signature: None,
            verdict: LinkVerdict::Bogus(fault),
        }
    }

    /// About how much memory it takes.
    pub(crate) fn octets(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.ds)
            + size_of_val(&*self.keys)
            + self.zone.len()
            + self
                .signature
                .as_ref()
                .map_or(0, |signature| signature.signer.len())
    }
}

/// What became of one zone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkVerdict {
    /// Its keys are proven.
    Secure,
    /// The chain ends here in good order.
    Insecure(InsecureProof),
    /// The chain breaks here.
    Bogus(Fault),
}

impl fmt::Display for LinkVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure => f.write_str("secure"),
            Self::Insecure(proof) => write!(f, "insecure: {proof}"),
            Self::Bogus(fault) => write!(f, "bogus: {fault}"),
        }
    }
}

/// A DS record.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DsEntry {
    /// The tag of the key that it is for.
    pub key_tag: u16,
    /// The algorithm of that key.
    #[serde(serialize_with = "algorithm")]
    pub algorithm: SecurityAlgorithm,
    /// How the key is digested.
    #[serde(serialize_with = "digest")]
    pub digest_type: DigestAlgorithm,
}

/// A DNSKEY record.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyEntry {
    /// Its tag.
    pub key_tag: u16,
    /// Its algorithm.
    #[serde(serialize_with = "algorithm")]
    pub algorithm: SecurityAlgorithm,
    /// Its flags: 257 for a key-signing key, 256 for a zone-signing key.
    pub flags: u16,
    /// Whether a DS record or trust anchor vouches for it.
    pub trusted: bool,
}

impl KeyEntry {
    /// What to say of a key.
    pub(crate) fn new(key: &Key, trusted: bool) -> Self {
        Self {
            key_tag: key.tag,
            algorithm: key.dnskey.algorithm(),
            flags: key.dnskey.flags(),
            trusted,
        }
    }
}

/// A signature.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SignatureEntry {
    /// The zone that signed.
    #[serde(serialize_with = "name")]
    pub signer: Name<Bytes>,
    /// The tag of the key that signed.
    pub key_tag: u16,
    /// The algorithm.
    #[serde(serialize_with = "algorithm")]
    pub algorithm: SecurityAlgorithm,
    /// When it began to be valid.
    pub inception: UnixTime,
    /// When it ceases to be valid.
    pub expiration: UnixTime,
}

impl From<&Verified> for SignatureEntry {
    fn from(verified: &Verified) -> Self {
        Self {
            signer: verified.id.signer.clone(),
            key_tag: verified.id.key_tag,
            algorithm: verified.id.algorithm,
            inception: verified.inception,
            expiration: verified.expiration,
        }
    }
}

/// Draws a chain as a tree, the zone nearest to the root first.
#[must_use]
pub fn tree(chain: &[Arc<Link>]) -> String {
    let mut text = String::new();
    for (at, link) in chain.iter().enumerate() {
        let depth = chain
            .iter()
            .take(at)
            .filter(|above| link.zone.ends_with(&above.zone))
            .count();
        // Writing to a string cannot fail.
        let _ = draw(&mut text, &"   ".repeat(depth), link);
    }
    text
}

/// Draws one zone with its lines.
fn draw(text: &mut String, indent: &str, link: &Link) -> fmt::Result {
    writeln!(
        text,
        "{indent}{} {}",
        link.zone.fmt_with_dot(),
        link.verdict
    )?;
    for ds in &link.ds {
        let (algorithm, digest) = (AlgorithmName(ds.algorithm), DigestName(ds.digest_type));
        writeln!(text, "{indent}   ds {} {algorithm} {digest}", ds.key_tag)?;
    }
    for key in &link.keys {
        let algorithm = AlgorithmName(key.algorithm);
        let role = if key.trusted { " trusted" } else { "" };
        writeln!(
            text,
            "{indent}   key {} {algorithm} {}{role}",
            key.key_tag, key.flags
        )?;
    }
    if let Some(signature) = &link.signature {
        let signer = signature.signer.fmt_with_dot();
        let (from, until) = (Date(signature.inception), Date(signature.expiration));
        let tag = signature.key_tag;
        writeln!(
            text,
            "{indent}   signed by {signer} {tag}, {from} to {until}"
        )?;
    }
    Ok(())
}

/// A point in time as people read it: `2026-11-22 17:30:00Z`.
pub(crate) struct Date(pub(crate) UnixTime);

impl fmt::Display for Date {
    /// Counts years from 1 March, so that the leap day is the last day of a year, in eras of 400
    /// years, which all have the same number of days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0.0 / DAY_SECONDS, self.0.0 % DAY_SECONDS);
        let since_march_0000 = days + DAYS_FROM_0000_03_01_TO_1970;
        let (era, day_of_era) = (since_march_0000 / ERA_DAYS, since_march_0000 % ERA_DAYS);
        let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// The name of an algorithm, or its number.
pub(crate) struct AlgorithmName(pub(crate) SecurityAlgorithm);

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_mnemonic_str() {
            Some(name) => f.write_str(name),
            None => write!(f, "algorithm {}", self.0),
        }
    }
}

/// The name of a digest, or its number.
struct DigestName(DigestAlgorithm);

impl fmt::Display for DigestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_mnemonic_str() {
            Some(name) => f.write_str(name),
            None => write!(f, "digest {}", self.0),
        }
    }
}

/// Serializes as the text that people see.
fn text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serializes an algorithm by name.
fn algorithm<S: Serializer>(
    algorithm: &SecurityAlgorithm,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&AlgorithmName(*algorithm))
}

/// Serializes a digest by name.
fn digest<S: Serializer>(digest: &DigestAlgorithm, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&DigestName(*digest))
}

/// Serializes a name with its dot.
fn name<S: Serializer>(name: &Name<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&name.fmt_with_dot())
}

/// Seconds in a day of UTC, as Unix counts.
const DAY_SECONDS: u64 = 86_400;

/// Days in 400 years of the Gregorian calendar.
const ERA_DAYS: u64 = 146_097;

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_FROM_0000_03_01_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_704_067_200, "2024-01-01 00:00:00Z"),
            (2_366_841_600, "2045-01-01 00:00:00Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(Date(UnixTime(seconds)).to_string(), text);
        }
    }

    #[test]
    fn a_chain_is_drawn_from_the_root_down() {
        let link = |zone: &str, verdict| {
            Arc::new(Link {
                zone: Name::bytes_from_str(zone).unwrap(),
                ds: Vec::new(),
                keys: Vec::new(),
                signature: None,
                verdict,
            })
        };
        let chain = [
            link(".", LinkVerdict::Secure),
            link("org.", LinkVerdict::Secure),
            link("a.org.", LinkVerdict::Insecure(InsecureProof::NoDs)),
            link("b.org.", LinkVerdict::Secure),
        ];
        let expected = "\
. secure
   org. secure
      a.org. insecure: is delegated without a DS record, as its parent proves
      b.org. secure
";
        assert_eq!(tree(&chain), expected);
    }
}
