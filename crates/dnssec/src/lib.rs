//! DNSSEC validation without I/O: RFC 4033 to 4035, 5155, 6840 and what followed.
//!
//! A [`Validator`] holds what lasts: trust anchors, bounds and a cache of proven keys. Each question
//! is one [`Validation`], a state machine that is fed with raw answers of an upstream resolver and
//! says either which questions it needs answered next, or its [`Verdict`]:
//!
//! ```text
//! let (mut validation, mut step) = validator.start(question, now);
//! loop {
//!     match step {
//!         Step::NeedsMore(questions) => { /* send them; wait for any answer */ }
//!         Step::Done(verdict) => break verdict,
//!     }
//!     step = validation.handle_answer(&question, &octets, now);
//! }
//! ```
//!
//! Questions must be sent with the DO and CD bits set (RFC 3225; RFC 4035, Section 3.2.2), and again
//! over TCP where an answer is truncated.
//!
//! | here | what it is |
//! |---|---|
//! | [`Status`] | secure; insecure and where the chain ended; bogus and which rule is broken; failed |
//! | [`Hop`] | one CNAME or DNAME on the way, with its own security |
//! | [`Link`] | one zone of the chain of trust, for people to read; [`tree`] draws them |
//! | [`TrustAnchors`] | where chains begin, and negative anchors where they are cut |
//! | [`Limits`] | the bounds on what a validation may cost |
//! | [`AnchorTracker`] | the root's keys as they change: RFC 5011 |
//!
//! # How a zone is proven
//!
//! From the nearest trust anchor down, label by label, the parent is asked for DS records. They lead
//! to the keys of a child zone, or there is a proof that none exist: the name is no zone cut, or an
//! unsigned delegation, or nothing at all. The walk ends at the name that the signatures on the
//! answer claim as their zone, or without signatures at the name asked about.
//!
//! Proven keys and cuts are kept for other validations; so are denials, which answer further
//! questions and prove further cuts without asking (RFC 8198). Nothing unproven is kept, but that a
//! zone was bogus is, for half a minute (RFC 9520).
//!
//! # What counts
//!
//! Algorithms 8, 10, 13, 14, 15 and 16, and 5 and 7 by [`Sha1Policy`]; digests 2 and 4, and 1 where no
//! better one is. A zone that offers only others is insecure, as is one with RSA keys under 1,024 bits.
//! One valid signature by one vouched-for key is enough, whatever stands beside it.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

mod algorithm;
mod anchor;
mod cache;
mod chain;
mod denial;
mod explain;
mod fault;
mod judge;
mod key;
mod limits;
mod message;
mod name;
mod nsec;
mod nsec3;
mod rdata;
mod rfc5011;
mod signature;
mod validation;
mod validator;
mod verdict;
mod walk;
mod wire;

pub use algorithm::Sha1Policy;
pub use anchor::ANCHORS_MAX;
pub use anchor::AnchorFault;
pub use anchor::InvalidAnchors;
pub use anchor::TrustAnchors;
pub use explain::DsEntry;
pub use explain::KeyEntry;
pub use explain::Link;
pub use explain::LinkVerdict;
pub use explain::SignatureEntry;
pub use explain::tree;
pub use fault::Fault;
pub use fault::Rule;
pub use fault::SignatureId;
pub use limits::Bound;
pub use limits::Limits;
pub use limits::Work;
pub use message::BadMessage;
pub use message::Place;
pub use message::Question;
pub use message::RecordSet;
pub use rfc5011::AnchorTracker;
pub use rfc5011::HOLD_DOWN;
pub use rfc5011::KeyState;
pub use rfc5011::REFRESH_MAX;
pub use rfc5011::RETRY_MIN;
pub use rfc5011::TRACKED_KEYS_MAX;
pub use rfc5011::TrackedKey;
pub use validation::Step;
pub use validation::Validation;
pub use validator::Validator;
pub use verdict::Failure;
pub use verdict::Hop;
pub use verdict::Insecure;
pub use verdict::InsecureProof;
pub use verdict::Kind;
pub use verdict::Status;
pub use verdict::Verdict;
