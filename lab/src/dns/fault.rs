//! What can be wrong with the answer to one question.

use domain::base::iana::Rcode;

/// A fault, set for a name and perhaps a type.
///
/// A fault meets the answer to the question it is set for as a whole, proofs of absence included.
/// One that concerns signatures also meets its record set in the answers to other questions, such as
/// at the end of an alias.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DnsFault {
    /// A bit of each signature is flipped.
    BogusSignature,
    /// The signatures ended yesterday.
    ExpiredSignature,
    /// The signatures begin tomorrow.
    FutureSignature,
    /// The signatures are missing, as if somebody on the path had cut them out.
    StrippedSignature,
    /// Other data stands in the answer, unsigned: what an attacker on the path writes.
    Forged(Vec<Vec<u8>>),
    /// Nothing but a code: SERVFAIL, NOTIMP, REFUSED.
    Code(Rcode),
    /// No answer at all.
    Silent,
    /// Over UDP, nothing but the TC bit; TCP answers.
    Truncated,
}

impl DnsFault {
    /// Whether it changes signatures and nothing else.
    pub(super) fn concerns_signatures(&self) -> bool {
        match self {
            Self::BogusSignature
            | Self::ExpiredSignature
            | Self::FutureSignature
            | Self::StrippedSignature => true,
            Self::Forged(_) | Self::Code(_) | Self::Silent | Self::Truncated => false,
        }
    }
}
