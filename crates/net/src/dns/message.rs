//! What an answer from an upstream says, step by step.
//!
//! For the probe, and for upstreams that validate in byrnie's place; what byrnie validates itself,
//! the validator takes apart. One answer may hold a whole chain of aliases through several zones,
//! each with its own DNSSEC status, and at the end records or their denial. [`plan`] finds the steps.

use std::fmt;
use std::time::Duration;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::CanonicalOrd;
use domain::base::Message;
use domain::base::Name;
use domain::base::NameBuilder;
use domain::base::ParsedName;
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::Ttl;
use domain::base::iana::Class;
use domain::base::iana::OptRcode;
use domain::base::message::RecordSection;
use domain::base::opt::ExtendedError;
use domain::base::wire::ParseError;
use domain::rdata::AllRecordData;
use domain::rdata::Rrsig;
use domain::rdata::dnssec::Timestamp;

/// The parts of an answer that matter.
#[derive(Debug)]
pub(super) struct Sections {
    /// How the upstream answered.
    pub(super) rcode: OptRcode,
    /// The upstream's word that it validated everything in the answer (RFC 4035, Section 3.2.3).
    pub(super) authentic: Authentic,
    /// Whether the upstream understood EDNS.
    pub(super) has_edns: bool,
    /// What the upstream says about an error (RFC 8914).
    pub(super) extended_error: Option<String>,
    /// The RRsets of the answer section.
    pub(super) answer: Vec<RrSet>,
    /// The RRsets of the authority section.
    pub(super) authority: Vec<RrSet>,
}

/// The AD bit of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Authentic {
    /// Set: the upstream says it validated the answer.
    Claimed,
    /// Clear.
    NotClaimed,
}

/// Records of one owner and type, with their signatures.
#[derive(Clone, Debug)]
pub(super) struct RrSet {
    /// The owner of them all.
    pub(super) owner: Name<Bytes>,
    /// The type of them all.
    pub(super) rtype: Rtype,
    /// The records; empty if only signatures came.
    pub(super) records: Vec<WireRecord>,
    /// What is said to sign them.
    pub(super) signatures: Vec<WireSignature>,
}

/// A record of an [`RrSet`].
#[derive(Clone, Debug)]
pub(super) struct WireRecord {
    /// How long it may be kept.
    pub(super) ttl: Ttl,
    /// What it says.
    pub(super) data: AllRecordData<Bytes, ParsedName<Bytes>>,
}

/// A signature of an [`RrSet`].
#[derive(Clone, Debug)]
pub(super) struct WireSignature {
    /// How long it may be kept.
    pub(super) ttl: Ttl,
    /// What it says.
    pub(super) data: Rrsig<Bytes, Name<Bytes>>,
}

impl Sections {
    /// Takes a message apart.
    ///
    /// # Errors
    /// The message is broken, or holds more RRsets than any honest one.
    pub(super) fn parse(message: &Message<Bytes>) -> Result<Self, BrokenMessage> {
        let authentic = if message.header().ad() {
            Authentic::Claimed
        } else {
            Authentic::NotClaimed
        };
        Ok(Self {
            rcode: message.opt_rcode(),
            authentic,
            has_edns: message.opt().is_some(),
            extended_error: extended_error(message),
            answer: rrsets(message.answer()?)?,
            authority: rrsets(message.authority()?)?,
        })
    }

    /// The records at a name, if there are any.
    pub(super) fn find(&self, owner: &Name<Bytes>, rtype: Rtype) -> Option<&RrSet> {
        self.answer
            .iter()
            .find(|set| set.rtype == rtype && set.owner == *owner && !set.records.is_empty())
    }
}

impl RrSet {
    /// Whether it is a CNAME that stands for `target`.
    pub(super) fn is_alias_of(&self, target: &Name<Bytes>) -> bool {
        self.records.iter().any(|record| {
            if let AllRecordData::Cname(cname) = &record.data {
                target == cname.cname()
            } else {
                false
            }
        })
    }

    /// How long a start of authority lets denials be kept, besides its own TTL (RFC 2308,
    /// Section 4); `None` if it is none.
    pub(super) fn soa_minimum(&self) -> Option<Duration> {
        if let AllRecordData::Soa(soa) = &self.records.first()?.data {
            Some(soa.minimum().into_duration())
        } else {
            None
        }
    }

    /// The shortest TTL of the records.
    pub(super) fn ttl(&self) -> Ttl {
        let shortest = self.records.iter().map(|record| record.ttl).min();
        shortest.unwrap_or(Ttl::ZERO)
    }
}

impl WireSignature {
    /// Whether a time lies between the signature's inception and its expiration.
    ///
    /// # Errors
    /// Says on which side it lies outside.
    pub(super) fn validity(&self, now: UnixTime) -> Result<(), NotValidNow> {
        // RFC 4034, Section 3.1.5: the numbers are compared in serial arithmetic, so that they go on
        // past 2106; the low 32 bits of the time are all that is needed.
        let now = Timestamp::from(u32::try_from(now.0 & 0xFFFF_FFFF).unwrap_or(u32::MAX));
        if now.canonical_gt(&self.data.expiration()) {
            Err(NotValidNow::Expired)
        } else if now.canonical_lt(&self.data.inception()) {
            Err(NotValidNow::NotYetValid)
        } else {
            Ok(())
        }
    }

    /// How long an RRset may be kept on the strength of this signature (RFC 4035, Section 5.3.3).
    pub(super) fn ttl(&self, now: UnixTime) -> Ttl {
        let now = u32::try_from(now.0 & 0xFFFF_FFFF).unwrap_or(u32::MAX);
        let left = self.data.expiration().into_int().wrapping_sub(now);
        self.ttl
            .min(self.data.original_ttl())
            .min(Ttl::from_secs(left))
    }
}

/// On which side of a signature's validity a time lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotValidNow {
    /// After its expiration.
    Expired,
    /// Before its inception.
    NotYetValid,
}

/// What an answer says about a question.
#[derive(Debug)]
pub(super) struct Plan {
    /// The aliases, in order.
    pub(super) hops: Vec<Hop>,
    /// The name that `end` is about.
    pub(super) name: Name<Bytes>,
    /// What stands there.
    pub(super) end: End,
}

/// An alias.
#[derive(Debug)]
pub(super) struct Hop {
    /// The alias.
    pub(super) owner: Name<Bytes>,
    /// What it stands for.
    pub(super) target: Name<Bytes>,
    /// The CNAME, or the DNAME from which it follows.
    pub(super) set: RrSet,
}

/// What stands at the end of the aliases.
#[derive(Debug)]
pub(super) enum End {
    /// Records.
    Records(RrSet),
    /// No records, or no name.
    Denial(Denial),
    /// Nothing: the upstream did not follow the last alias.
    Unfollowed,
}

/// The denial of a name or a type.
#[derive(Debug)]
pub(super) struct Denial {
    /// What is denied.
    pub(super) kind: DenialKind,
    /// The start of authority of the zone that denies; some servers leave it out.
    pub(super) soa: Option<RrSet>,
}

/// What is denied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DenialKind {
    /// Records of that type.
    NoData,
    /// The name itself.
    NxDomain,
}

/// Whether every record that the header counts is there.
pub(super) fn is_whole(message: &Message<Bytes>) -> bool {
    message.question().all(|question| question.is_ok())
        && message.iter().all(|record| record.is_ok())
}

/// Finds the way from a question to its end through an answer.
///
/// The caller has looked at the rcode: it is NOERROR or NXDOMAIN.
///
/// # Errors
/// The aliases do not end, or cannot be followed.
pub(super) fn plan(
    sections: &Sections,
    question: &Name<Bytes>,
    rtype: Rtype,
    hops_max: usize,
) -> Result<Plan, BrokenAlias> {
    let mut hops: Vec<Hop> = Vec::new();
    let mut name = question.clone();
    loop {
        if let Some(set) = sections.find(&name, rtype) {
            let end = End::Records(set.clone());
            return Ok(Plan { hops, name, end });
        }
        let Some(hop) = alias_at(sections, &name, rtype)? else {
            let end = denial(sections, &name, hops.is_empty());
            return Ok(Plan { hops, name, end });
        };
        if hop.target == *question || hops.iter().any(|earlier| earlier.owner == hop.target) {
            return Err(BrokenAlias::Loop(hop.target.to_string()));
        }
        if hops.len() >= hops_max {
            return Err(BrokenAlias::TooMany);
        }
        name = hop.target.clone();
        hops.push(hop);
    }
}

/// The alias at a name, if there is one: a CNAME, else a DNAME above it.
fn alias_at(
    sections: &Sections,
    name: &Name<Bytes>,
    rtype: Rtype,
) -> Result<Option<Hop>, BrokenAlias> {
    let dname = sections
        .answer
        .iter()
        .filter(|set| set.rtype == Rtype::DNAME && !set.records.is_empty())
        .filter(|set| name.ends_with(&set.owner) && set.owner != *name)
        .max_by_key(|set| set.owner.label_count());
    let cname = sections
        .find(name, Rtype::CNAME)
        // A CNAME that follows from a DNAME is not signed (RFC 6672, Section 5.3.1): the DNAME is.
        .filter(|set| dname.is_none() || !set.signatures.is_empty());
    if rtype == Rtype::CNAME && dname.is_none() {
        return Ok(None);
    }
    let (set, target) = match (cname, dname) {
        (Some(set), _) => (set, sole_target(set)?),
        (None, Some(set)) => (set, substitute(name, &set.owner, &sole_target(set)?)?),
        (None, None) => return Ok(None),
    };
    Ok(Some(Hop {
        owner: name.clone(),
        target,
        set: set.clone(),
    }))
}

/// The target of a CNAME or DNAME; there may be only one: RFC 1034, Section 3.6.2; RFC 6672,
/// Section 2.4.
fn sole_target(set: &RrSet) -> Result<Name<Bytes>, BrokenAlias> {
    let mut targets = set.records.iter().map(|record| &record.data);
    let target = match (targets.next(), targets.next()) {
        (Some(AllRecordData::Cname(cname)), None) => cname.cname().to_name(),
        (Some(AllRecordData::Dname(dname)), None) => dname.dname().to_name(),
        (_, _) => return Err(BrokenAlias::Several(set.owner.to_string())),
    };
    Ok(target)
}

/// RFC 6672, Section 2.2: replaces the suffix `owner` of `name` by `target`.
fn substitute(
    name: &Name<Bytes>,
    owner: &Name<Bytes>,
    target: &Name<Bytes>,
) -> Result<Name<Bytes>, BrokenAlias> {
    let too_long = || BrokenAlias::TooLong(name.to_string());
    let prefix_labels = name.label_count().saturating_sub(owner.label_count());
    let mut builder = NameBuilder::new_bytes();
    for label in name.iter().take(prefix_labels) {
        builder
            .append_label(label.as_slice())
            .map_err(|_| too_long())?;
    }
    builder.append_origin(target).map_err(|_| too_long())
}

/// What the answer says about a name of which it holds neither records nor an alias.
fn denial(sections: &Sections, name: &Name<Bytes>, asked: bool) -> End {
    let soa = sections
        .authority
        .iter()
        .filter(|set| set.rtype == Rtype::SOA && !set.records.is_empty())
        .find(|set| name.ends_with(&set.owner));
    let kind = if sections.rcode == OptRcode::NXDOMAIN {
        DenialKind::NxDomain
    } else if soa.is_some() || asked {
        DenialKind::NoData
    } else {
        return End::Unfollowed;
    };
    End::Denial(Denial {
        kind,
        soa: soa.cloned(),
    })
}

/// Sorts the records of a section into RRsets.
fn rrsets(section: RecordSection<'_, Bytes>) -> Result<Vec<RrSet>, BrokenMessage> {
    let mut sets: Vec<RrSet> = Vec::new();
    for record in section {
        let record = record?;
        if record.class() != Class::IN {
            continue;
        }
        let owner: Name<Bytes> = record.owner().to_name();
        let ttl = record.ttl();
        let data = record
            .to_any_record::<AllRecordData<Bytes, ParsedName<Bytes>>>()?
            .into_data();
        if let AllRecordData::Rrsig(signature) = data {
            let rtype = signature.type_covered();
            let signature = WireSignature {
                ttl,
                data: flat_signature(&signature)?,
            };
            set_for(&mut sets, owner, rtype)?.signatures.push(signature);
        } else {
            let set = set_for(&mut sets, owner, record.rtype())?;
            if !set.records.iter().any(|other| other.data == data) {
                set.records.push(WireRecord { ttl, data });
            }
        }
    }
    Ok(sets)
}

/// The signature with its signer's name out of the message.
fn flat_signature(
    signature: &Rrsig<Bytes, ParsedName<Bytes>>,
) -> Result<Rrsig<Bytes, Name<Bytes>>, BrokenMessage> {
    Rrsig::new(
        signature.type_covered(),
        signature.algorithm(),
        signature.labels(),
        signature.original_ttl(),
        signature.expiration(),
        signature.inception(),
        signature.key_tag(),
        signature.signer_name().to_name(),
        signature.signature().clone(),
    )
    .map_err(|_| BrokenMessage::Unreadable)
}

/// The RRset of an owner and a type, made if it is new.
fn set_for(
    sets: &mut Vec<RrSet>,
    owner: Name<Bytes>,
    rtype: Rtype,
) -> Result<&mut RrSet, BrokenMessage> {
    let known = sets
        .iter()
        .position(|set| set.rtype == rtype && set.owner == owner);
    let index = known.unwrap_or(sets.len());
    if known.is_none() {
        sets.push(RrSet {
            owner,
            rtype,
            records: Vec::new(),
            signatures: Vec::new(),
        });
    }
    if index >= RRSETS_PER_SECTION_MAX {
        return Err(BrokenMessage::TooManyRrSets);
    }
    sets.get_mut(index).ok_or(BrokenMessage::TooManyRrSets)
}

/// What the upstream says about an error (RFC 8914).
pub(super) fn extended_error(message: &Message<Bytes>) -> Option<String> {
    let opt = message.opt()?;
    let mut errors = opt.opt().iter::<ExtendedError<Bytes>>();
    Some(extended_error_text(&errors.find_map(Result::ok)?))
}

/// The code and the text of an extended error.
fn extended_error_text(error: &ExtendedError<Bytes>) -> String {
    let code = error.code();
    match error.text() {
        Some(Ok(text)) if !text.is_empty() => {
            let text: String = text
                .chars()
                .filter(|c| !c.is_control())
                .take(EXTENDED_ERROR_CHARS_MAX)
                .collect();
            format!("{code}: {text}")
        }
        Some(_) | None => code.to_string(),
    }
}

/// Why a message cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BrokenMessage {
    /// More than [`RRSETS_PER_SECTION_MAX`] RRsets in a section.
    TooManyRrSets,
    /// The octets are no message, or a record in it is none.
    Unreadable,
}

impl From<ParseError> for BrokenMessage {
    fn from(_: ParseError) -> Self {
        Self::Unreadable
    }
}

impl fmt::Display for BrokenMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRrSets => write!(
                f,
                "the answer has a section of more than {RRSETS_PER_SECTION_MAX} record sets"
            ),
            Self::Unreadable => f.write_str("the answer is a broken message"),
        }
    }
}

/// Why the aliases in an answer cannot be followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum BrokenAlias {
    /// They come back to this name.
    Loop(String),
    /// This owner has several CNAME or DNAME records.
    Several(String),
    /// What a DNAME makes of this name is too long.
    TooLong(String),
    /// There are more of them than are followed.
    TooMany,
}

impl fmt::Display for BrokenAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(name) => write!(f, "the aliases come back to {name}"),
            Self::Several(owner) => write!(f, "{owner} is an alias of several names"),
            Self::TooLong(name) => write!(f, "what the DNAME makes of {name} is too long"),
            Self::TooMany => f.write_str("too many aliases in a row"),
        }
    }
}

/// More RRsets than this in a section, and the message is not looked at any further: an honest
/// answer with sixteen aliases and two wildcard proofs has fewer than a hundred.
const RRSETS_PER_SECTION_MAX: usize = 128;

/// How much of an upstream's explanation is kept, in characters.
const EXTENDED_ERROR_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;
