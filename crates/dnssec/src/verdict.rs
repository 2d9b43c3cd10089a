//! What a validation ends in.

use std::fmt;
use std::sync::Arc;

use byrnie_base::LookupError;
use byrnie_base::Security;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rcode;
use domain::base::iana::Rtype;
use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeStruct as _;

use crate::explain::Link;
use crate::fault::Fault;
use crate::limits::Bound;
use crate::limits::Work;
use crate::message::BadMessage;
use crate::message::Question;
use crate::message::RecordSet;

/// The end of a validation.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What was asked.
    pub question: Question,
    /// How far the answer can be believed.
    pub status: Status,
    /// What the answer says, if it may be believed at all.
    pub kind: Kind,
    /// Seconds for which the verdict may be kept: as long as the records of all steps and what is
    /// left of their signatures. The chain above them may expire earlier, as in any cache.
    pub ttl: u32,
    /// The records at the end of the steps, for [`Kind::Answer`].
    pub answer: Option<RecordSet>,
    /// Why what stands at the end of the steps is insecure, whatever they are themselves; `None` if
    /// it is secure, or is nothing that may be used.
    pub end: Option<Insecure>,
    /// The CNAME and DNAME records on the way, each with its own security.
    pub steps: Vec<Hop>,
    /// The zones that the verdict rests on, from the root down.
    pub chain: Vec<Arc<Link>>,
    /// What it cost.
    pub work: Work,
}

impl Verdict {
    /// The security of an answer that may be used.
    ///
    /// # Errors
    /// The answer is bogus, or there is none.
    pub fn security(&self) -> Result<Security, LookupError> {
        match &self.status {
            Status::Secure => Ok(Security::Secure),
            Status::Insecure(_) => Ok(Security::Insecure),
            Status::Bogus(fault) => Err(LookupError::Bogus(fault.to_string())),
            Status::Failed(failure) => Err(LookupError::Failed(failure.to_string())),
        }
    }
}

impl Serialize for Verdict {
    /// One object with `name`, `type`, `status`, `kind`, `ttl`, `records` in presentation form, `steps`,
    /// `reason` and `chain`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.answer.as_ref().map(RecordSet::presentation);
        let mut object = serializer.serialize_struct("Verdict", 9)?;
        object.serialize_field("name", &self.question.name.fmt_with_dot().to_string())?;
        object.serialize_field("type", &self.question.rtype.to_string())?;
        object.serialize_field("status", self.status.word())?;
        object.serialize_field("kind", self.kind.word())?;
        object.serialize_field("ttl", &self.ttl)?;
        object.serialize_field("records", &records.unwrap_or_default())?;
        object.serialize_field("steps", &self.steps)?;
        object.serialize_field("reason", &self.status.to_string())?;
        object.serialize_field("chain", &self.chain)?;
        object.end()
    }
}

/// How far an answer can be believed: RFC 4035, Section 4.3.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Status {
    /// Every step has a chain of signatures from a trust anchor.
    Secure,
    /// The chain ends on the way, provably.
    Insecure(Insecure),
    /// Something that must be signed is not, or its signature is wrong.
    Bogus(Fault),
    /// There is no answer to judge.
    Failed(Failure),
}

impl Status {
    /// The word that machines read.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Insecure(_) => "insecure",
            Self::Bogus(_) => "bogus",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure => f.write_str("secure: signed all the way from the trust anchor"),
            Self::Insecure(why) => write!(f, "insecure: {why}"),
            Self::Bogus(fault) => write!(f, "bogus: {fault}"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// There are records.
    Answer,
    /// The name exists, or may exist, without such records.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Nothing that may be used.
    None,
}

impl Kind {
    /// The word that machines read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::None => "none",
        }
    }
}

/// A CNAME or DNAME record that was followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The name that was asked about.
    pub name: Name<Bytes>,
    /// The name of the record: `name` itself for a CNAME, an ancestor of it for a DNAME.
    pub owner: Name<Bytes>,
    /// CNAME or DNAME.
    pub rtype: Rtype,
    /// The name to go on with.
    pub target: Name<Bytes>,
    /// Why the record is insecure; `None` if it is secure.
    pub insecure: Option<Insecure>,
}

impl Hop {
    /// How well this step is proven.
    #[must_use]
    pub const fn security(&self) -> Security {
        match self.insecure {
            None => Security::Secure,
            Some(_) => Security::Insecure,
        }
    }
}

impl Serialize for Hop {
    /// One object with `name`, `type`, `owner`, `target`, `status` and, if it is insecure, `reason`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reason = self.insecure.as_ref().map(Insecure::to_string);
        let mut object = serializer.serialize_struct("Hop", 6)?;
        object.serialize_field("name", &self.name.fmt_with_dot().to_string())?;
        object.serialize_field("type", &self.rtype.to_string())?;
        object.serialize_field("owner", &self.owner.fmt_with_dot().to_string())?;
        object.serialize_field("target", &self.target.fmt_with_dot().to_string())?;
        object.serialize_field("status", &self.security())?;
        object.serialize_field("reason", &reason)?;
        object.end()
    }
}

/// Why something is insecure: where the chain of signatures ends, and by which proof.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Insecure {
    /// Where the chain ends.
    pub at: Name<Bytes>,
    /// Which proof ends it.
    pub proof: InsecureProof,
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at.fmt_with_dot(), self.proof)
    }
}

/// What ends a chain of signatures in good order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InsecureProof {
    /// An operator's negative trust anchor: RFC 7646.
    NegativeAnchor,
    /// No trust anchor is at or above the name.
    NoAnchor,
    /// The parent zone proves by NSEC or NSEC3 that there is no DS: RFC 4035, Section 5.2.
    NoDs,
    /// The name lies in an opt-out span, where unsigned delegations have no proof: RFC 5155, Section 6.
    OptOut,
    /// The NSEC3 records ask for more iterations than are done: RFC 9276, Section 3.2.
    TooManyIterations(u16),
    /// All DS records have algorithms or digests that are not supported: RFC 4035, Section 5.2.
    UnsupportedDs,
    /// The keys that DS records point to are of a size or form that is not supported.
    UnsupportedKeys,
}

impl fmt::Display for InsecureProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NegativeAnchor => f.write_str("has a negative trust anchor"),
            Self::NoAnchor => f.write_str("is below no trust anchor"),
            Self::NoDs => f.write_str("is delegated without a DS record, as its parent proves"),
            Self::OptOut => f.write_str("lies in an NSEC3 opt-out span"),
            Self::TooManyIterations(count) => {
                write!(f, "is denied by NSEC3 records with {count} iterations")
            }
            Self::UnsupportedDs => {
                f.write_str("has DS records of unsupported algorithms or digests only")
            }
            Self::UnsupportedKeys => {
                f.write_str("has DS records for keys of an unsupported size or form only")
            }
        }
    }
}

/// Why there is no answer to judge.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// A question got bytes that are no answer.
    BadMessage(Question, BadMessage),
    /// A CNAME or DNAME leads back to a name that was already followed.
    CnameLoop(Name<Bytes>),
    /// A DNAME makes a name that is too long: RFC 6672, Section 2.2.
    NameTooLong(Name<Bytes>),
    /// A question got a response code that is no answer.
    Rcode(Question, u16),
    /// Several CNAME or DNAME records at one name lead to different names: RFC 2181, Section 10.1.
    SeveralTargets(Question),
    /// A question got no answer: the transport says why.
    Transport(Question, String),
    /// A bound was exceeded.
    TooMuchWork(Bound),
    /// The type asked for is not one that can be signed.
    UnsignableType(Rtype),
    /// The upstream drops signatures: even a trust anchor's own zone comes without them.
    UpstreamStripsDnssec(Question),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMessage(question, why) => write!(f, "{question}: {why}"),
            Self::CnameLoop(name) => {
                write!(f, "a CNAME loop comes back to {}", name.fmt_with_dot())
            }
            Self::NameTooLong(name) => {
                write!(
                    f,
                    "the DNAME at {} makes a name too long",
                    name.fmt_with_dot()
                )
            }
            Self::Rcode(question, code) => match u8::try_from(*code) {
                Ok(low) if low < 16 => {
                    write!(
                        f,
                        "{question}: the upstream answers {}",
                        Rcode::masked_from_int(low)
                    )
                }
                Ok(_) | Err(_) => write!(f, "{question}: the upstream answers with code {code}"),
            },
            Self::SeveralTargets(alias) => {
                write!(f, "{alias}: several records lead to different names")
            }
            Self::Transport(question, why) => write!(f, "{question}: {why}"),
            Self::TooMuchWork(bound) => bound.fmt(f),
            Self::UnsignableType(rtype) => write!(f, "{rtype} records cannot be validated"),
            Self::UpstreamStripsDnssec(question) => write!(
                f,
                "the upstream strips DNSSEC: its answer to {question} has no signatures"
            ),
        }
    }
}
