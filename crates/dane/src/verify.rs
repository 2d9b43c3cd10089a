//! Whether what a server shows satisfies a TLSA RRset: RFC 7671, Section 5; RFC 7672, Section 3.
//!
//! | usage | what must match | what else is looked at |
//! |---|---|---|
//! | DANE-EE(3) | the server's certificate or key | nothing: no name, no date, no extension |
//! | DANE-TA(2) | an authority above the server's certificate | path, dates, constraints and name |
//!
//! Where the standards leave a choice, this is what OpenSSL does, and with it Postfix:
//!
//! - *Digest agility* (RFC 7671, Section 9): among the usable records with the same usage and
//!   selector, only the strongest digest counts, and full data always counts. A forger who can find
//!   collisions in the weaker digest gains nothing by it.
//! - *An authority is never the server's own certificate.* A record of usage 2 is not matched by the
//!   certificate at depth 0, even if that is self-signed.
//! - *The certificate of the authority must be in force* and must be that of an authority. Only
//!   where a record holds an authority's key in full (`2 1 0`), and no sent certificate has that key,
//!   is there no certificate to look at.
//!
//! One thing is stricter than OpenSSL: under usage 2 the server's certificate must be of version 3
//! and must not be that of an authority.

use std::collections::HashMap;
use std::fmt;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::CertUsage;
use crate::MatchingType;
use crate::PathFault;
use crate::ReferenceIdentifiers;
use crate::Selector;
use crate::TlsaRecord;
use crate::Unusable;
use crate::certificate;
use crate::names::NameSource;
use crate::names::PresentedNames;
use crate::path;
use crate::path::Anchor;
use crate::path::NameConstraints;

/// What a server shows of itself in the handshake.
#[derive(Clone, Debug)]
pub enum Presented<'a> {
    /// Certificates, its own first.
    Chain(Vec<CertificateDer<'a>>),
    /// A key without a certificate (RFC 7250).
    RawKey(SubjectPublicKeyInfoDer<'a>),
}

/// Checks what a server shows against a TLSA RRset: one record that matches is enough.
///
/// # Errors
/// Says of each record why it does not match.
pub fn verify(
    records: &[TlsaRecord],
    reference: &ReferenceIdentifiers,
    presented: &Presented<'_>,
    now: UnixTime,
) -> Result<Match, Mismatch> {
    let names: Vec<&DomainName> = reference.names().collect();
    verify_names(records, &names, presented, now)
}

/// As [`verify`], for any list of names.
pub(crate) fn verify_names(
    records: &[TlsaRecord],
    names: &[&DomainName],
    presented: &Presented<'_>,
    now: UnixTime,
) -> Result<Match, Mismatch> {
    let mut verifier = Verifier {
        names,
        presented,
        now,
        associations: HashMap::new(),
        paths_left: PATHS_MAX,
    };
    let strongest = pairs_with_sha512(records);
    let mut faults: Vec<(usize, RecordFault)> = Vec::new();
    // Usage 3 first: it costs a digest, usage 2 costs signatures.
    for pass in [CertUsage::DaneEe, CertUsage::DaneTa] {
        for (position, record) in records.iter().enumerate() {
            if let Some(fault) = rule_out(record, &strongest) {
                if pass == CertUsage::DaneEe {
                    faults.push((position, fault));
                }
            } else if record.usage == pass {
                match verifier.check(record) {
                    Ok(matched) => return Ok(matched),
                    Err(fault) => faults.push((position, fault)),
                }
            }
        }
    }
    faults.sort_by_key(|(position, _)| *position);
    Err(Mismatch {
        faults: records
            .iter()
            .cloned()
            .zip(faults.into_iter().map(|(_, fault)| fault))
            .collect(),
    })
}

/// The usages and selectors for which there is a usable record with the strongest digest.
fn pairs_with_sha512(records: &[TlsaRecord]) -> Vec<(CertUsage, Selector)> {
    let mut pairs: Vec<_> = records
        .iter()
        .filter(|record| record.matching_type == MatchingType::Sha512)
        .filter(|record| record.usability().is_ok())
        .map(|record| (record.usage, record.selector))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Why a record does not take part, whatever the server shows.
fn rule_out(record: &TlsaRecord, strongest: &[(CertUsage, Selector)]) -> Option<RecordFault> {
    if let Err(why) = record.usability() {
        return Some(RecordFault::Unusable(why));
    }
    let superseded = record.matching_type == MatchingType::Sha256
        && strongest.contains(&(record.usage, record.selector));
    superseded.then_some(RecordFault::Superseded)
}

/// One check of one server.
struct Verifier<'a> {
    /// The reference identifiers.
    names: &'a [&'a DomainName],
    /// What the server shows.
    presented: &'a Presented<'a>,
    /// When.
    now: UnixTime,
    /// What records would have to say, for each certificate of the chain by its depth: a digest is
    /// computed once, however many records there are.
    associations: HashMap<(usize, Selector, MatchingType), Option<Vec<u8>>>,
    /// How many more paths may be tried.
    paths_left: usize,
}

impl Verifier<'_> {
    /// Checks one usable record.
    fn check(&mut self, record: &TlsaRecord) -> Result<Match, RecordFault> {
        match record.usage {
            CertUsage::DaneEe => self.check_end_entity(record),
            CertUsage::DaneTa => self.check_trust_anchor(record),
            CertUsage::PkixTa | CertUsage::PkixEe => {
                Err(RecordFault::Unusable(Unusable::PublicAuthorityUsage))
            }
            CertUsage::Unassigned(_) => Err(RecordFault::Unusable(Unusable::UnknownUsage)),
        }
    }

    /// Usage 3: the record is about the server's certificate or key, and about nothing else.
    fn check_end_entity(&mut self, record: &TlsaRecord) -> Result<Match, RecordFault> {
        match self.presented {
            Presented::Chain(chain) if chain.is_empty() => return Err(RecordFault::NothingShown),
            Presented::RawKey(_) if record.selector != Selector::Spki => {
                return Err(RecordFault::NeedsCertificate);
            }
            Presented::Chain(_) | Presented::RawKey(_) => {}
        }
        let shown = self.associate(record, 0).ok_or(RecordFault::Malformed)?;
        if shown == record.data {
            return Ok(Match {
                record: record.clone(),
                depth: 0,
                name: None,
            });
        }
        Err(RecordFault::Differs {
            shown: TlsaRecord {
                data: shown,
                ..record.clone()
            },
        })
    }

    /// Usage 2: the record is about an authority above the server's certificate.
    fn check_trust_anchor(&mut self, record: &TlsaRecord) -> Result<Match, RecordFault> {
        let chain = match self.presented {
            Presented::Chain(chain) => chain,
            Presented::RawKey(_) => return Err(RecordFault::NeedsCertificate),
        };
        let chain = chain.get(..CHAIN_CERTIFICATES_MAX).unwrap_or(chain);
        if chain.is_empty() {
            return Err(RecordFault::NothingShown);
        }

        let mut fault = None;
        for (depth, authority) in chain.iter().enumerate().skip(1) {
            if self.associate(record, depth).as_ref() != Some(&record.data) {
                continue;
            }
            let anchor = Anchor::certificate(authority, self.now);
            match self.check_path(record, chain, anchor) {
                Ok(matched) => return Ok(matched),
                Err(why) => fault = Some(why),
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        match (record.matching_type, record.selector) {
            (MatchingType::Full, Selector::Cert) => {
                let authority = CertificateDer::from(record.data.as_slice());
                let anchor = Anchor::certificate(&authority, self.now);
                self.check_path(record, chain, anchor)
            }
            (MatchingType::Full, Selector::Spki) => {
                self.check_path(record, chain, Anchor::key(&record.data, chain))
            }
            (_, _) if self.associate(record, 0).as_ref() == Some(&record.data) => {
                Err(RecordFault::AnchorIsLeaf)
            }
            (_, _) => Err(RecordFault::AnchorNotSent),
        }
    }

    /// The data that `record` would need to match what the server shows at `depth`.
    fn associate(&mut self, record: &TlsaRecord, depth: usize) -> Option<Vec<u8>> {
        let (selector, matching_type) = (record.selector, record.matching_type);
        let presented = self.presented;
        self.associations
            .entry((depth, selector, matching_type))
            .or_insert_with(|| match presented {
                Presented::Chain(chain) => {
                    certificate::associate(selector, matching_type, chain.get(depth)?)
                        .ok()
                        .flatten()
                }
                Presented::RawKey(key) => certificate::association(matching_type, key),
            })
            .clone()
    }

    /// Checks the path to one anchor, and the name of the server's certificate.
    fn check_path(
        &mut self,
        record: &TlsaRecord,
        chain: &[CertificateDer<'_>],
        anchor: Result<Anchor<'_>, PathFault>,
    ) -> Result<Match, RecordFault> {
        self.paths_left = self
            .paths_left
            .checked_sub(1)
            .ok_or(RecordFault::TooManyPaths)?;
        let path = anchor
            .and_then(|anchor| path::verify(chain, &anchor, self.now))
            .map_err(RecordFault::Path)?;
        let presented = chain.first().and_then(PresentedNames::of);
        let presented = presented.ok_or(RecordFault::Malformed)?;
        // Name constraints are checked against subjectAltName alone, so a common name may not
        // escape them.
        let may_count = presented.source == NameSource::SubjectAltName
            || path.name_constraints == NameConstraints::Absent;
        match presented.matched(self.names) {
            Some(name) if may_count => Ok(Match {
                record: record.clone(),
                depth: path.depth,
                name: Some(name.clone()),
            }),
            Some(_) | None => Err(RecordFault::OtherName {
                presented: presented.names,
            }),
        }
    }
}

/// The record that a server satisfies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Match {
    /// The record.
    pub record: TlsaRecord,
    /// Where in the chain: 0 is the server's own certificate or key.
    pub depth: usize,
    /// Under usage 2, the reference identifier that the server's certificate carries.
    pub name: Option<DomainName>,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "matched TLSA {}", self.record.abbreviated())?;
        match &self.name {
            Some(name) => write!(f, " at depth {} for {name}", self.depth),
            None => Ok(()),
        }
    }
}

/// Why a server satisfies no record of an RRset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// Each record, in the order of the RRset, with the reason.
    pub faults: Vec<(TlsaRecord, RecordFault)>,
}

impl Mismatch {
    /// The kind of the failure: that of the record that came nearest to a match.
    #[must_use]
    pub fn kind(&self) -> MismatchKind {
        self.faults
            .iter()
            .map(|(_, fault)| fault.kind())
            .max()
            .unwrap_or(MismatchKind::NoRecordMatches)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no TLSA record matches")?;
        for (position, (record, fault)) in self.faults.iter().take(FAULTS_SHOWN_MAX).enumerate() {
            f.write_str(if position == 0 { ": " } else { "; " })?;
            write!(f, "{} ({fault})", record.abbreviated())?;
        }
        match self.faults.len().checked_sub(FAULTS_SHOWN_MAX) {
            Some(more) if more > 0 => write!(f, "; and {more} more"),
            Some(_) | None => Ok(()),
        }
    }
}

impl std::error::Error for Mismatch {}

/// Kinds of mismatch, from the farthest from a match to the nearest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MismatchKind {
    /// No usable record names anything that the server shows.
    NoRecordMatches,
    /// A record names an authority to which no valid path leads.
    NotTrusted,
    /// A record names an authority, and something on the way to it has expired.
    Expired,
    /// The path holds and the certificate is another host's.
    OtherName,
}

/// Why one record does not match.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordFault {
    /// The record is matched by the server's own certificate, which is no authority above it.
    AnchorIsLeaf,
    /// The record is the digest of an authority that the server does not send.
    AnchorNotSent,
    /// The server shows another certificate or key.
    Differs {
        /// The record that would match what it shows.
        shown: TlsaRecord,
    },
    /// What the server shows cannot be parsed as far as the record needs it.
    Malformed,
    /// The server shows a bare key (RFC 7250), the record is about a certificate.
    NeedsCertificate,
    /// The server shows nothing at all.
    NothingShown,
    /// The path holds, and the server's certificate carries none of the reference identifiers.
    OtherName {
        /// The names that it does carry.
        presented: Vec<String>,
    },
    /// The record names an authority to which no valid path leads.
    Path(PathFault),
    /// A stronger digest stands beside it (RFC 7671, Section 9).
    Superseded,
    /// So many records name authorities that the rest is not tried.
    TooManyPaths,
    /// No sender of mail can use the record.
    Unusable(Unusable),
}

impl RecordFault {
    /// How near the record came to a match.
    fn kind(&self) -> MismatchKind {
        match self {
            Self::Path(why) if why.is_expiry() => MismatchKind::Expired,
            Self::Path(_) | Self::TooManyPaths => MismatchKind::NotTrusted,
            Self::OtherName { .. } => MismatchKind::OtherName,
            Self::AnchorIsLeaf
            | Self::AnchorNotSent
            | Self::Differs { .. }
            | Self::Malformed
            | Self::NeedsCertificate
            | Self::NothingShown
            | Self::Superseded
            | Self::Unusable(_) => MismatchKind::NoRecordMatches,
        }
    }
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnchorIsLeaf => {
                f.write_str("it names the server's own certificate, not an authority above it")
            }
            Self::AnchorNotSent => {
                f.write_str("the server sends no certificate of the authority it names")
            }
            Self::Differs { shown } => write!(f, "the server shows {}", shown.abbreviated()),
            Self::Malformed => f.write_str("the server's certificate is malformed"),
            Self::NeedsCertificate => f.write_str("the server shows a bare key and no certificate"),
            Self::NothingShown => f.write_str("the server shows no certificate"),
            Self::OtherName { presented } => write_other_name(f, presented),
            Self::Path(why) => why.fmt(f),
            Self::Superseded => f.write_str("a record with a stronger digest stands beside it"),
            Self::TooManyPaths => f.write_str("too many records name authorities"),
            Self::Unusable(why) => why.fmt(f),
        }
    }
}

/// Lists the names that a certificate carries instead of the right one.
fn write_other_name(f: &mut fmt::Formatter<'_>, presented: &[String]) -> fmt::Result {
    if presented.is_empty() {
        return f.write_str("the server's certificate carries no name");
    }
    f.write_str("the server's certificate is for ")?;
    for (position, name) in presented.iter().take(NAMES_SHOWN_MAX).enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        write!(f, "{separator}{}", name.escape_debug())?;
    }
    match presented.len().checked_sub(NAMES_SHOWN_MAX) {
        Some(more) if more > 0 => write!(f, " and {more} more names"),
        Some(_) | None => Ok(()),
    }
}

/// Certificates of a chain that are looked at; real chains have two to four.
pub(crate) const CHAIN_CERTIFICATES_MAX: usize = 32;

/// Paths that are tried for one server; each may cost a hundred signatures.
const PATHS_MAX: usize = 16;

/// Records that a mismatch explains in text.
const FAULTS_SHOWN_MAX: usize = 8;

/// Names of a certificate that a mismatch shows.
const NAMES_SHOWN_MAX: usize = 5;
