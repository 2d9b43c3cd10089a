//! Why a decision is what it is: as data, and as sentences for people.

use std::fmt;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Security;
use byrnie_smtp::EnhancedStatus;
use serde::Deserialize;
use serde::Serialize;

use crate::Strength;

/// One step of the reasoning.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
#[non_exhaustive]
pub enum Reason {
    // What the DNS says about the domain.
    /// The MX question was answered.
    MxAnswered {
        /// How well the answer is proven.
        security: Security,
    },
    /// The MX question has no answer that may be used.
    MxUnknown {
        /// Why.
        error: LookupError,
    },
    /// The domain exists and has no MX records: it is its own host.
    ImplicitMx {
        /// How well that is proven.
        security: Security,
    },
    /// The next hop is an address, which has no name that could be proven.
    AddressLiteral,
    /// The next hop is one host, whose own MX records do not count.
    HostGiven,
    /// The domain says that it takes no mail.
    NullMx,
    /// The domain does not exist.
    NoSuchDomain {
        /// How well that is proven.
        security: Security,
    },
    /// What is denied is not signed, and mail to the domain goes to authenticated hosts alone.
    DenialUnsigned,
    /// The domain names more hosts than are looked up.
    HostsLeftOut {
        /// How many are left out, those of the highest preference values.
        count: usize,
    },

    // What MTA-STS says.
    /// The operator switched MTA-STS off, or there is no domain that could have it.
    StsOff,
    /// The domain does not take part.
    StsAbsent,
    /// The domain promises a policy that cannot be fetched, and none is cached.
    StsFetchFailed {
        /// Why.
        why: String,
    },
    /// Whether the domain promises a policy is unknown, in a zone that proves its answers.
    StsRecordUnknown {
        /// Why.
        error: LookupError,
    },
    /// Whether the domain promises a policy is unknown, in a zone that proves nothing.
    StsRecordUnknownInsecure {
        /// Why.
        error: LookupError,
    },
    /// The policies that were fetched earlier cannot be read.
    StsStoreUnreadable {
        /// Why.
        why: String,
    },
    /// There is a policy in mode `enforce`.
    StsEnforced {
        /// Seconds since it was last fetched.
        age_seconds: u64,
    },
    /// There is a policy in mode `testing`.
    StsTesting {
        /// Seconds since it was last fetched.
        age_seconds: u64,
    },
    /// There is a policy in mode `none`.
    StsModeNone,
    /// The policy is the cached one, as it could not be fetched again when it should have been.
    StsCachedAfterFailure {
        /// Why.
        why: String,
    },

    // What the operator and the message say.
    /// The operator demands at least this.
    OperatorAtLeast {
        /// What.
        strength: Strength,
    },
    /// The operator switched DANE off for the domain.
    OperatorIgnoresDane,
    /// The operator lets TLSA records count behind an insecure MX answer.
    OperatorTrustsInsecureMx,
    /// The MX answer is insecure, so TLSA records of the hosts do not count.
    DaneNeedsSecureMx,
    /// The message demands REQUIRETLS.
    MessageRequiresTls,
    /// The message carries `TLS-Required: No`.
    MessageLiftsTls,
    /// The message carries `TLS-Required: No`, and the operator demands authentication.
    MessageCannotLiftTls,
    /// An earlier attempt was held to at least this.
    EarlierAttempt {
        /// What.
        strength: Strength,
    },

    // What is known about one host.
    /// One family of addresses could not be looked up and is not used.
    FamilyUnknown {
        /// Which.
        family: AddressFamily,
        /// Why.
        error: LookupError,
    },
    /// No address is known, and at least one family could not be looked up.
    AddressesUnknown,
    /// The host has no address.
    NoAddress,
    /// The addresses are insecure, so TLSA records were not asked for.
    AddressesInsecure,
    /// TLSA records should have been asked for and were not.
    TlsaMissed,
    /// The host has no TLSA records.
    TlsaAbsent {
        /// How well that is proven.
        security: Security,
    },
    /// Whether the host has TLSA records could not be found out.
    TlsaUnknown {
        /// Why.
        error: LookupError,
    },
    /// The host has TLSA records that can be used.
    TlsaUsable {
        /// The name under which they stand.
        base: DomainName,
        /// The records in presentation form.
        records: Vec<String>,
    },
    /// A TLSA record cannot be used for mail.
    TlsaRecordUnusable {
        /// The record in presentation form, cut short if it is long.
        record: String,
        /// Why.
        why: String,
    },
    /// None of the TLSA records can be used: encryption is demanded all the same.
    TlsaAllUnusable {
        /// The name under which they stand.
        base: DomainName,
    },
    /// The MTA-STS policy names the host.
    StsNamesHost,
    /// The MTA-STS policy does not name the host, which is therefore not used.
    StsExcludesHost,
    /// The MTA-STS policy in testing mode does not name the host.
    StsTestingDoesNotNameHost,
    /// The requirement was raised to what the operator demands.
    RaisedForOperator {
        /// To this.
        strength: Strength,
    },
    /// The host's name comes from an answer that anybody could have forged.
    HostNameUnproven,
    /// What the operator demands cannot be had from this host.
    OperatorDemandUnmet {
        /// What is demanded.
        demanded: Strength,
        /// What the domain promises.
        promised: Strength,
    },
    /// The requirement was raised to an authenticated one for REQUIRETLS.
    RaisedForRequireTls,
    /// The host cannot be authenticated, which REQUIRETLS demands.
    NotForRequireTls,
    /// What is promised now is weaker than what an earlier attempt was held to.
    WeakerThanEarlier {
        /// What the earlier attempt was held to.
        earlier: Strength,
        /// What is promised now.
        now: Strength,
    },

    // What follows for the domain when no host may be used.
    /// The MTA-STS policy names no host that could be used.
    NoHostNamed,
    /// No host has an address.
    NoHostHasAddress,
    /// No host can be authenticated, which REQUIRETLS demands.
    NoHostForRequireTls,
    /// No host that was looked up may be used, and not all were looked up.
    NoHostLookedUp,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFamily {
    /// Addresses from A records.
    Ipv4,
    /// Addresses from AAAA records.
    Ipv6,
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl fmt::Display for Reason {
    /// One sentence for a postmaster.
    #[expect(
        clippy::too_many_lines,
        reason = "every sentence stands here, so that they are read and worded together"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MxAnswered { security } => {
                write!(f, "The MX records are {}.", Proven(*security))
            }
            Self::MxUnknown { error } => {
                write!(f, "The MX records could not be looked up: {}.", Why(error))
            }
            Self::ImplicitMx { security } => write!(
                f,
                "The domain has no MX records, so it is its own mail host; that is {}.",
                Proven(*security)
            ),
            Self::AddressLiteral => f.write_str(
                "The recipient's domain is an address, which has no name that a certificate could \
                 prove.",
            ),
            Self::HostGiven => {
                f.write_str("The next hop is this host itself; its MX records do not count.")
            }
            Self::NullMx => f.write_str("The domain says that it takes no mail (null MX)."),
            Self::NoSuchDomain { security } => write!(
                f,
                "The domain does not exist; that is {}.",
                Proven(*security)
            ),
            Self::HostsLeftOut { count } => write!(
                f,
                "The domain names too many mail hosts; the worst {count} were not looked up."
            ),
            Self::StsOff => f.write_str("MTA-STS is off for this domain."),
            Self::StsAbsent => f.write_str("The domain has no MTA-STS policy."),
            Self::StsFetchFailed { why } => write!(
                f,
                "The domain announces an MTA-STS policy that cannot be fetched ({why}), and none \
                 is known from before."
            ),
            Self::StsRecordUnknown { error } => write!(
                f,
                "Whether the domain has an MTA-STS policy could not be looked up: {}.",
                Why(error)
            ),
            Self::StsRecordUnknownInsecure { error } => write!(
                f,
                "The MTA-STS record could not be looked up ({error}); as the zone is unsigned, \
                 that counts as none."
            ),
            Self::StsStoreUnreadable { why } => {
                write!(f, "Stored MTA-STS policies cannot be read here: {why}.")
            }
            Self::StsEnforced { age_seconds } => write!(
                f,
                "The domain enforces an MTA-STS policy, fetched {}.",
                Ago(*age_seconds)
            ),
            Self::StsTesting { age_seconds } => write!(
                f,
                "The domain only tests its MTA-STS policy, fetched {}: failures are reported and \
                 stop no mail.",
                Ago(*age_seconds)
            ),
            Self::StsModeNone => f.write_str("The domain has switched its MTA-STS policy off."),
            Self::StsCachedAfterFailure { why } => write!(
                f,
                "The MTA-STS policy could not be fetched again ({why}); the known one stays in \
                 force."
            ),
            Self::OperatorAtLeast { strength } => {
                write!(f, "A local rule demands at least {}.", Level(*strength))
            }
            Self::OperatorIgnoresDane => {
                f.write_str("A local rule switches DANE off for this domain (danger).")
            }
            Self::OperatorTrustsInsecureMx => f.write_str(
                "A local rule lets TLSA records count although the MX records are unsigned.",
            ),
            Self::DaneNeedsSecureMx => {
                f.write_str("DANE does not apply, as the MX records are unsigned.")
            }
            Self::MessageRequiresTls => {
                f.write_str("The message demands authenticated TLS on its whole way (REQUIRETLS).")
            }
            Self::MessageLiftsTls => f.write_str(
                "The message says TLS-Required: No, which lifts DANE and MTA-STS for it.",
            ),
            Self::MessageCannotLiftTls => f.write_str(
                "The message says TLS-Required: No, but a local rule demands authentication.",
            ),
            Self::EarlierAttempt { strength } => write!(
                f,
                "An earlier attempt was held to {}; no later one may be weaker.",
                Level(*strength)
            ),
            Self::FamilyUnknown { family, error } => write!(
                f,
                "Its {family} addresses could not be looked up and are not used: {}.",
                Why(error)
            ),
            Self::AddressesUnknown => f.write_str("No address of it could be looked up."),
            Self::NoAddress => f.write_str("It has no address."),
            Self::AddressesInsecure => {
                f.write_str("DANE does not apply to it, as its addresses are unsigned.")
            }
            Self::TlsaMissed => {
                f.write_str("Its TLSA records were not looked up although they would count.")
            }
            Self::TlsaAbsent { security } => {
                write!(f, "It has no TLSA records; that is {}.", Proven(*security))
            }
            Self::TlsaUnknown { error } => write!(
                f,
                "Whether it has TLSA records could not be looked up: {}.",
                Why(error)
            ),
            Self::TlsaUsable { base, records } => write!(
                f,
                "Signed TLSA records stand at {base}: {}.",
                records.join(", ")
            ),
            Self::TlsaRecordUnusable { record, why } => {
                write!(f, "TLSA record {record} is of no use for mail: {why}.")
            }
            Self::TlsaAllUnusable { base } => write!(
                f,
                "None of the signed TLSA records at {base} is of use, which still demands \
                 encryption."
            ),
            Self::StsNamesHost => f.write_str("The MTA-STS policy names it."),
            Self::StsExcludesHost => {
                f.write_str("The MTA-STS policy does not name it, so it gets no mail.")
            }
            Self::StsTestingDoesNotNameHost => {
                f.write_str("The MTA-STS policy does not name it, which is only reported.")
            }
            Self::RaisedForOperator { strength } => write!(
                f,
                "The local rule raises the requirement to {}.",
                Level(*strength)
            ),
            Self::HostNameUnproven => f.write_str(
                "Its name comes from unsigned MX records and lies outside the domain, so a \
                 certificate with that name proves nothing.",
            ),
            Self::OperatorDemandUnmet { demanded, promised } => write!(
                f,
                "The local rule demands {}, but what the domain publishes gives {}.",
                Level(*demanded),
                Level(*promised)
            ),
            Self::RaisedForRequireTls => f.write_str(
                "REQUIRETLS raises the requirement to a certificate from a public authority.",
            ),
            Self::NotForRequireTls => f.write_str(
                "It cannot be authenticated by DANE, nor by a host name that DNSSEC or MTA-STS \
                 proves; REQUIRETLS demands that.",
            ),
            Self::WeakerThanEarlier { earlier, now } => write!(
                f,
                "An earlier attempt was held to {}; now only {} would hold, so the mail waits.",
                Level(*earlier),
                Level(*now)
            ),
            Self::DenialUnsigned => f.write_str(
                "That is not signed, and mail to the domain goes to authenticated hosts alone, so it \
                 waits.",
            ),
            Self::NoHostNamed => {
                f.write_str("The MTA-STS policy names none of the mail hosts that could be used.")
            }
            Self::NoHostHasAddress => f.write_str("None of the mail hosts has an address."),
            Self::NoHostForRequireTls => {
                f.write_str("No mail host can be authenticated, which REQUIRETLS demands.")
            }
            Self::NoHostLookedUp => f.write_str("No usable mail host has been looked up."),
        }
    }
}

impl Reason {
    /// The reply code and status for mail that this reason holds up; `None` if it holds up none.
    ///
    /// Codes of RFC 5321, Section 4.2; statuses of RFC 3463, RFC 7505 (5.1.10) and RFC 8689 (5.7.30).
    pub(crate) fn status(&self) -> Option<(u16, EnhancedStatus)> {
        match self {
            Self::NullMx => status(556, 5, 1, 10),
            Self::NoSuchDomain { .. } => status(550, 5, 1, 2),
            Self::NoHostHasAddress => status(550, 5, 4, 4),
            Self::NoHostForRequireTls => status(550, 5, 7, 30),
            Self::MxUnknown { error }
            | Self::StsRecordUnknown { error }
            | Self::TlsaUnknown { error } => match error {
                LookupError::Bogus(_) => status(451, 4, 7, 5),
                LookupError::Failed(_) => status(451, 4, 4, 3),
            },
            Self::AddressesUnknown | Self::TlsaMissed | Self::NoHostLookedUp => {
                status(451, 4, 4, 3)
            }
            Self::StsStoreUnreadable { .. } => status(451, 4, 3, 0),
            Self::DenialUnsigned
            | Self::NoHostNamed
            | Self::OperatorDemandUnmet { .. }
            | Self::WeakerThanEarlier { .. } => status(451, 4, 7, 5),
            Self::MxAnswered { .. }
            | Self::ImplicitMx { .. }
            | Self::AddressLiteral
            | Self::HostGiven
            | Self::HostsLeftOut { .. }
            | Self::StsOff
            | Self::StsAbsent
            | Self::StsFetchFailed { .. }
            | Self::StsRecordUnknownInsecure { .. }
            | Self::StsEnforced { .. }
            | Self::StsTesting { .. }
            | Self::StsModeNone
            | Self::StsCachedAfterFailure { .. }
            | Self::OperatorAtLeast { .. }
            | Self::OperatorIgnoresDane
            | Self::OperatorTrustsInsecureMx
            | Self::DaneNeedsSecureMx
            | Self::MessageRequiresTls
            | Self::MessageLiftsTls
            | Self::MessageCannotLiftTls
            | Self::EarlierAttempt { .. }
            | Self::FamilyUnknown { .. }
            | Self::NoAddress
            | Self::AddressesInsecure
            | Self::TlsaAbsent { .. }
            | Self::TlsaUsable { .. }
            | Self::TlsaRecordUnusable { .. }
            | Self::TlsaAllUnusable { .. }
            | Self::StsNamesHost
            | Self::StsExcludesHost
            | Self::StsTestingDoesNotNameHost
            | Self::RaisedForOperator { .. }
            | Self::HostNameUnproven
            | Self::RaisedForRequireTls
            | Self::NotForRequireTls => None,
        }
    }
}

/// A reply code and an enhanced status.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the table above reads better without `Some` in each row"
)]
fn status(code: u16, class: u8, subject: u16, detail: u16) -> Option<(u16, EnhancedStatus)> {
    let enhanced = EnhancedStatus {
        class,
        subject,
        detail,
    };
    Some((code, enhanced))
}

/// How well something is proven, within a sentence.
struct Proven(Security);

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Security::Secure => "proven by DNSSEC",
            Security::Insecure => "not signed",
        })
    }
}

/// Why a lookup came to nothing, within a sentence.
struct Why<'a>(&'a LookupError);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LookupError::Bogus(why) => write!(f, "the answer is forged or broken ({why})"),
            LookupError::Failed(why) => f.write_str(why),
        }
    }
}

/// What a strength demands, within a sentence.
pub(crate) struct Level(pub(crate) Strength);

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Strength::Opportunistic => "opportunistic TLS",
            Strength::Encrypt => "encryption without authentication",
            Strength::MtaSts => "a certificate from a public authority",
            Strength::Dane => "DANE",
        })
    }
}

/// A time span in its largest unit.
struct Ago(u64);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self.0;
        let (count, unit) = match age {
            0..60 => return f.write_str("just now"),
            60..3_600 => (age / 60, "minute"),
            3_600..86_400 => (age / 3_600, "hour"),
            86_400.. => (age / 86_400, "day"),
        };
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} {unit}{plural} ago")
    }
}
