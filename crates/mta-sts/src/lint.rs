//! What is wrong with a policy that is ours to publish, before senders find out.

use std::fmt;
use std::time::Duration;

use byrnie_base::DomainName;

use crate::Mode;
use crate::MxPattern;
use crate::PolicyId;
use crate::Published;
use crate::RecordError;
use crate::StsRecord;

/// What the world sees of a policy domain; `None` where that could not be found out.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The mail hosts of its MX records.
    pub hosts: Option<&'a [DomainName]>,
    /// What its TXT records at `_mta-sts` come to.
    pub record: Option<Result<Option<StsRecord>, RecordError>>,
    /// The policy file that its policy host serves, or why it serves none.
    pub served: Option<Result<&'a str, String>>,
}

/// Something that is wrong, or could be better.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// No sender that keeps to the policy sends to this mail host.
    LocksOut(DomainName),
    /// The same, once the policy is enforced.
    WouldLockOut(DomainName),
    /// The mail hosts are not known, so that nobody can say whether the policy covers them.
    HostsUnknown,
    /// A wildcard stands for no mail host.
    CoversNothing(MxPattern),
    /// A host that is no mail host.
    NotAHost(MxPattern),
    /// A pattern stands there twice.
    Twice(MxPattern),
    /// There is no TXT record, so that no sender looks for the policy.
    NoRecord,
    /// The TXT record breaks the grammar, so that no sender looks for the policy.
    BadRecord(RecordError),
    /// The TXT record announces another id: senders that know the policy before do not look for this one.
    OtherId {
        /// What it announces.
        announced: PolicyId,
        /// What it has to.
        current: PolicyId,
    },
    /// The policy host serves something else.
    OtherText,
    /// The policy host serves no policy, for this reason.
    NotServed(String),
    /// Senders forget the policy before an attacker may come.
    ShortLived(Duration),
    /// Senders keep the policy for so long that a mistake in it stays.
    LongLived(Duration),
}

impl Finding {
    /// Whether mail or protection is lost by it.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            Self::LocksOut(_)
            | Self::CoversNothing(_)
            | Self::NoRecord
            | Self::BadRecord(_)
            | Self::OtherId { .. }
            | Self::OtherText
            | Self::NotServed(_) => true,
            Self::WouldLockOut(_)
            | Self::HostsUnknown
            | Self::NotAHost(_)
            | Self::Twice(_)
            | Self::ShortLived(_)
            | Self::LongLived(_) => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocksOut(host) => write!(f, "the policy locks out the MX host {host}"),
            Self::WouldLockOut(host) => {
                write!(
                    f,
                    "the policy would lock out the MX host {host} if it were enforced"
                )
            }
            Self::HostsUnknown => {
                f.write_str("the MX records are not known, nor whether the policy covers them")
            }
            Self::CoversNothing(pattern) => write!(f, "{pattern} stands for no MX host"),
            Self::NotAHost(pattern) => write!(f, "{pattern} is no MX host at the moment"),
            Self::Twice(pattern) => write!(f, "{pattern} stands there twice"),
            Self::NoRecord => {
                f.write_str("there is no TXT record, so that no sender asks for the policy")
            }
            Self::BadRecord(why) => {
                write!(f, "the TXT record is none that senders understand: {why}")
            }
            Self::OtherId { announced, current } => write!(
                f,
                "the TXT record announces {announced}, which is another policy: senders do not fetch this one \
                 before it says id={current}"
            ),
            Self::NotServed(why) => write!(f, "senders get no policy: {why}"),
            Self::OtherText => f.write_str("the policy host serves another policy"),
            Self::ShortLived(age) => write!(
                f,
                "senders forget the policy after {} hours: an attacker need only wait",
                age.as_secs() / 3_600
            ),
            Self::LongLived(age) => write!(
                f,
                "senders keep the policy for {} days: so long a mistake in it lasts",
                age.as_secs() / 86_400
            ),
        }
    }
}

/// Looks for what is wrong with a policy, the worst first.
#[must_use]
pub fn lint(published: &Published, seen: &Seen<'_>) -> Vec<Finding> {
    let mut findings = hosts(published, seen.hosts);
    findings.extend(match &seen.record {
        None => None,
        Some(Ok(None)) => Some(Finding::NoRecord),
        Some(Err(why)) => Some(Finding::BadRecord(*why)),
        Some(Ok(Some(record))) if record.id != published.id => Some(Finding::OtherId {
            announced: record.id.clone(),
            current: published.id.clone(),
        }),
        Some(Ok(Some(_))) => None,
    });
    findings.extend(match &seen.served {
        Some(Err(why)) => Some(Finding::NotServed(why.clone())),
        Some(Ok(text)) if *text != published.policy.to_string() => Some(Finding::OtherText),
        Some(Ok(_)) | None => None,
    });
    let age = published.policy.max_age;
    match published.policy.mode {
        Mode::Enforce if age < MAX_AGE_LEAST => findings.push(Finding::ShortLived(age)),
        Mode::Enforce | Mode::Testing if age > MAX_AGE_MOST => {
            findings.push(Finding::LongLived(age));
        }
        Mode::Enforce | Mode::Testing | Mode::None => {}
    }
    findings.sort_by_key(|finding| !finding.is_fault());
    findings
}

/// What is wrong with the patterns.
fn hosts(published: &Published, hosts: Option<&[DomainName]>) -> Vec<Finding> {
    let patterns = published.policy.mx();
    let mut findings = Vec::new();
    for (at, pattern) in patterns.iter().enumerate() {
        if patterns.iter().take(at).any(|earlier| earlier == pattern) {
            findings.push(Finding::Twice(pattern.clone()));
        }
    }
    let enforced = match published.policy.mode {
        Mode::Enforce => true,
        Mode::Testing => false,
        Mode::None => return findings,
    };
    let Some(hosts) = hosts else {
        findings.push(Finding::HostsUnknown);
        return findings;
    };
    for host in hosts.iter().filter(|host| !published.policy.permits(host)) {
        findings.push(match enforced {
            true => Finding::LocksOut(host.clone()),
            false => Finding::WouldLockOut(host.clone()),
        });
    }
    for pattern in patterns {
        if !hosts.iter().any(|host| pattern.matches(host)) {
            findings.push(match pattern {
                MxPattern::OneLabelUnder(_) => Finding::CoversNothing(pattern.clone()),
                MxPattern::Exact(_) => Finding::NotAHost(pattern.clone()),
            });
        }
    }
    findings
}

/// Senders should know an enforced policy for at least so long: RFC 8461, Section 3.2 speaks of weeks.
const MAX_AGE_LEAST: Duration = Duration::from_secs(7 * 86_400);

/// And for no longer than this, unless somebody wants to repent at leisure.
const MAX_AGE_MOST: Duration = Duration::from_secs(180 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[test]
    fn a_policy_that_fits_its_mail_hosts_is_good() {
        check(
            Mode::Enforce,
            &["mx.a.example", "*.mx.example"],
            14,
            &["mx.a.example", "1.mx.example"],
            &[],
        );
        check(Mode::Testing, &["mx.a.example"], 1, &["mx.a.example"], &[]);
        check(Mode::None, &[], 1, &["mx.a.example"], &[]);
    }

    #[test]
    fn a_live_mail_host_must_not_be_locked_out() {
        let hosts = &["mx.a.example", "mx2.a.example"];
        let said = "the policy locks out the MX host mx2.a.example";
        check(Mode::Enforce, &["mx.a.example"], 14, hosts, &[said]);
        let said = "the policy would lock out the MX host mx2.a.example if it were enforced";
        check(Mode::Testing, &["mx.a.example"], 14, hosts, &[said]);
    }

    #[test]
    fn a_pattern_stands_for_some_mail_host_and_once() {
        check(
            Mode::Enforce,
            &[
                "mx.a.example",
                "*.a.example",
                "*.b.example",
                "mx.b.example",
                "mx.a.example",
            ],
            14,
            &["mx.a.example"],
            &[
                "*.b.example stands for no MX host",
                "mx.a.example stands there twice",
                "mx.b.example is no MX host at the moment",
            ],
        );
    }

    #[test]
    fn senders_keep_a_policy_for_weeks() {
        let host = &["mx.a.example"];
        let short = "senders forget the policy after 24 hours: an attacker need only wait";
        check(Mode::Enforce, host, 1, host, &[short]);
        let long = "senders keep the policy for 365 days: so long a mistake in it lasts";
        check(Mode::Enforce, host, 365, host, &[long]);
        check(Mode::None, &[], 365, host, &[]);
    }

    #[test]
    fn what_the_world_sees_must_be_what_is_published() {
        let policy = published(Mode::None, &[], 14);
        let other = published(Mode::Testing, &["mx.a.example"], 14);
        let text = policy.policy.to_string();
        for (record, served, expected) in [
            (None, None, None),
            (
                Some(Ok(Some(policy.record()))),
                Some(Ok(text.as_str())),
                None,
            ),
            (Some(Ok(None)), None, Some(Finding::NoRecord)),
            (
                Some(Err(RecordError::NoId)),
                None,
                Some(Finding::BadRecord(RecordError::NoId)),
            ),
            (
                Some(Ok(Some(other.record()))),
                None,
                Some(Finding::OtherId {
                    announced: other.id,
                    current: policy.id.clone(),
                }),
            ),
            (None, Some(Ok("version: STSv1\n")), Some(Finding::OtherText)),
        ] {
            let seen = Seen {
                hosts: None,
                record,
                served,
            };
            let findings = lint(&policy, &seen);
            assert!(findings.iter().all(Finding::is_fault));
            assert_eq!(findings.into_iter().next(), expected);
        }
    }

    #[test]
    fn mail_hosts_that_are_not_known_are_said_to_be() {
        let policy = published(Mode::Enforce, &["mx.a.example"], 14);
        assert_eq!(lint(&policy, &Seen::default()), [Finding::HostsUnknown]);
    }

    #[track_caller]
    fn check(mode: Mode, mx: &[&str], days: u64, hosts: &[&str], expected: &[&str]) {
        let hosts: Vec<DomainName> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let seen = Seen {
            hosts: Some(&hosts),
            ..Seen::default()
        };
        let findings = lint(&published(mode, mx, days), &seen);
        let said: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(said, expected);
    }

    fn published(mode: Mode, mx: &[&str], days: u64) -> Published {
        let mx = mx.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let policy = Policy::new(mode, Duration::from_secs(days * 86_400), mx).unwrap();
        Published::new("a.example".parse().unwrap(), policy, 0)
    }
}
