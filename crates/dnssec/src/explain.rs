//! The chain of trust as data, for people and machines to read.

use std::fmt;
use std::fmt::Write as _;

use bytes::Bytes;
use byrnie_base::UnixTime;
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
    #[serde(serialize_with = "text")]
    pub algorithm: SecurityAlgorithm,
    /// How the key is digested.
    #[serde(serialize_with = "text")]
    pub digest_type: DigestAlgorithm,
}

/// A DNSKEY record.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyEntry {
    /// Its tag.
    pub key_tag: u16,
    /// Its algorithm.
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "text")]
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
pub fn tree(chain: &[Link]) -> String {
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
    writeln!(text, "{indent}{} {}", link.zone.fmt_with_dot(), link.verdict)?;
    for ds in &link.ds {
        let DsEntry {
            key_tag,
            algorithm,
            digest_type,
        } = ds;
        writeln!(text, "{indent}   ds {key_tag} {algorithm} {digest_type}")?;
    }
    for key in &link.keys {
        let KeyEntry {
            key_tag,
            algorithm,
            flags,
            ..
        } = key;
        let role = if key.trusted { " trusted" } else { "" };
        writeln!(text, "{indent}   key {key_tag} {algorithm} {flags}{role}")?;
    }
    if let Some(signature) = &link.signature {
        let signer = signature.signer.fmt_with_dot();
        let (from, until) = (signature.inception.0, signature.expiration.0);
        let tag = signature.key_tag;
        writeln!(text, "{indent}   signed by {signer} {tag}, valid {from} to {until}")?;
    }
    Ok(())
}

/// Serializes as the text that people see.
fn text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serializes a name with its dot.
fn name<S: Serializer>(name: &Name<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&name.fmt_with_dot())
}
