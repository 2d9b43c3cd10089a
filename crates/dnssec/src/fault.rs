//! Why an answer is bogus: which record, which signature, which rule.

use std::fmt;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::SecurityAlgorithm;

use crate::explain::AlgorithmName;
use crate::explain::Date;
use crate::message::Question;

/// What makes an answer bogus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The record set at fault: name and type.
    pub record: Question,
    /// The signature that came nearest to being valid, if there was any.
    pub signature: Option<SignatureId>,
    /// The rule that is broken.
    pub rule: Rule,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.record)?;
        if let Some(signature) = &self.signature {
            write!(f, "signature {signature}: ")?;
        }
        write!(f, "{} ({})", self.rule, self.rule.section())
    }
}

/// What tells signatures apart for a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignatureId {
    /// The zone that it claims to be of.
    pub signer: Name<Bytes>,
    /// Its algorithm.
    pub algorithm: SecurityAlgorithm,
    /// The tag of the key that it claims to be made with.
    pub key_tag: u16,
}

impl fmt::Display for SignatureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signer = self.signer.fmt_with_dot();
        let algorithm = AlgorithmName(self.algorithm);
        write!(f, "{signer} {} {algorithm}", self.key_tag)
    }
}

/// A rule of DNSSEC that an answer breaks.
///
/// Ordered by how far a signature came, so that of several the most telling is reported.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Rule {
    /// There is no signature by the zone, though the zone is signed.
    NotSigned,
    /// The signature counts more labels than the name has.
    TooManyLabels,
    /// The signature's algorithm is not supported, and there is no other signature.
    UnsupportedAlgorithm,
    /// No zone key has the signature's tag and algorithm.
    NoSuchKey,
    /// The time for which the signature is valid has not begun.
    NotYetValid(UnixTime),
    /// The time for which the signature is valid is over.
    Expired(UnixTime),
    /// The signature does not fit the data and the key.
    WrongSignature,
    /// The record set comes from a wildcard where none may apply.
    WildcardNotAllowed,
    /// Nothing proves that there is no closer match than the wildcard.
    WildcardUnproven,
    /// Nothing proves that the records do not exist.
    DenialUnproven,
    /// The response code says something else than what is proven.
    CodeContradicted,
    /// Nothing proves that the delegation has no DS records.
    NoDsUnproven,
    /// The zone has DS records and no DNSKEY set.
    NoDnskeys,
    /// The DNSKEY set has more keys than are looked at.
    TooManyKeys,
    /// No key of the zone matches a DS record or trust anchor.
    NoKeyMatchesDs,
}

impl Rule {
    /// Where the rule stands.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        match self {
            Self::NotSigned | Self::NoDsUnproven | Self::NoDnskeys | Self::NoKeyMatchesDs => {
                "RFC 4035, section 5.2"
            }
            Self::TooManyLabels
            | Self::UnsupportedAlgorithm
            | Self::NoSuchKey
            | Self::NotYetValid(_)
            | Self::Expired(_) => "RFC 4035, section 5.3.1",
            Self::WrongSignature => "RFC 4035, section 5.3.3",
            Self::WildcardUnproven => "RFC 4035, section 5.3.4",
            Self::WildcardNotAllowed => "RFC 4592, section 4",
            Self::DenialUnproven | Self::CodeContradicted => "RFC 4035, section 5.4",
            Self::TooManyKeys => "a local bound",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned => f.write_str("it is not signed by its zone, which is signed"),
            Self::TooManyLabels => f.write_str("it counts more labels than the name has"),
            Self::UnsupportedAlgorithm => f.write_str("its algorithm is not supported"),
            Self::NoSuchKey => f.write_str("the zone has no such key"),
            Self::NotYetValid(time) => write!(f, "it is valid only from {} on", Date(*time)),
            Self::Expired(time) => write!(f, "it expired at {}", Date(*time)),
            Self::WrongSignature => f.write_str("it does not verify"),
            Self::WildcardNotAllowed => f.write_str("it comes from a wildcard"),
            Self::WildcardUnproven => {
                f.write_str("nothing proves that no closer name than the wildcard exists")
            }
            Self::DenialUnproven => f.write_str("nothing proves that it does not exist"),
            Self::CodeContradicted => f.write_str("the response code contradicts what is proven"),
            Self::NoDsUnproven => f.write_str("nothing proves that there is none"),
            Self::NoDnskeys => f.write_str("the zone has DS records and no keys"),
            Self::TooManyKeys => f.write_str("there are too many keys"),
            Self::NoKeyMatchesDs => f.write_str("no key matches a DS record or trust anchor"),
        }
    }
}
