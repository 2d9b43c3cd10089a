//! An answer as data for people and programs that look at it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dnssec::Link;
use byrnie_dnssec::tree;
use serde::Serialize;

use super::Alias;
use super::Answer;
use super::Explanation;
use super::Outcome;
use super::path_security;
use super::record::RecordType;

/// What a lookup found, in plain words; `byrnie dns` prints it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LookupReport {
    /// The name asked for, without the trailing dot.
    pub name: String,
    /// The type asked for, by its mnemonic.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The status of the whole: of the weakest of the aliases and the end.
    pub status: ReportStatus,
    /// What came.
    pub kind: ReportKind,
    /// How many seconds the answer may be kept.
    pub ttl: u64,
    /// The records in presentation form.
    pub records: Vec<String>,
    /// The aliases on the way.
    pub steps: Vec<StepReport>,
    /// Why the status is not secure.
    pub reason: Option<String>,
    /// The chain of trust, from the trust anchor down.
    pub chain: Vec<Arc<Link>>,
}

/// An alias on the way.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StepReport {
    /// The alias.
    pub name: String,
    /// What it stands for.
    pub target: String,
    /// Its own status, whatever that of the others is.
    pub status: ReportStatus,
}

/// The four ways in which a lookup ends (behaviour rule 1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportStatus {
    /// Proven by a chain of signatures.
    Secure,
    /// Proven to lie where nothing is signed.
    Insecure,
    /// Refused by validation.
    Bogus,
    /// No usable answer.
    Failed,
}

/// What came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    /// Records.
    Answer,
    /// The name exists, without records of the type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Nothing that can be used.
    None,
}

/// What a report is made of: an [`Answer`], or what was found at a name that no host can have.
pub(super) struct Findings<'a> {
    /// The name asked for.
    pub(super) name: &'a dyn fmt::Display,
    /// The type asked for.
    pub(super) record_type: RecordType,
    /// The aliases on the way.
    pub(super) steps: &'a [Secured<Alias>],
    /// What stands at the end.
    pub(super) outcome: &'a Result<Secured<Outcome>, LookupError>,
    /// How long it may be kept.
    pub(super) ttl: Duration,
    /// How it was proven.
    pub(super) explanation: &'a Explanation,
}

impl From<&Answer> for LookupReport {
    fn from(answer: &Answer) -> Self {
        Self::from(Findings {
            name: &answer.name,
            record_type: answer.record_type,
            steps: &answer.steps,
            outcome: &answer.outcome,
            ttl: answer.ttl,
            explanation: &answer.explanation,
        })
    }
}

impl From<Findings<'_>> for LookupReport {
    fn from(found: Findings<'_>) -> Self {
        let (kind, records) = match found.outcome {
            Ok(secured) => match &secured.value {
                Outcome::Records(records) => {
                    let records = records.iter().map(ToString::to_string).collect();
                    (ReportKind::Answer, records)
                }
                Outcome::NoData => (ReportKind::NoData, Vec::new()),
                Outcome::NxDomain => (ReportKind::NxDomain, Vec::new()),
            },
            Err(_) => (ReportKind::None, Vec::new()),
        };
        let status = match found.outcome {
            Err(LookupError::Bogus(_)) => ReportStatus::Bogus,
            Err(LookupError::Failed(_)) => ReportStatus::Failed,
            Ok(end) => path_security(found.steps).min(end.security).into(),
        };
        let steps = found.steps.iter().map(|step| StepReport {
            name: step.value.owner.to_string(),
            target: step.value.target.to_string(),
            status: step.security.into(),
        });
        Self {
            name: found.name.to_string(),
            record_type: found.record_type.to_string(),
            status,
            kind,
            ttl: found.ttl.as_secs(),
            records,
            steps: steps.collect(),
            reason: reason(&found),
            chain: found.explanation.chain.clone(),
        }
    }
}

impl From<Security> for ReportStatus {
    fn from(security: Security) -> Self {
        match security {
            Security::Secure => Self::Secure,
            Security::Insecure => Self::Insecure,
        }
    }
}

impl fmt::Display for ReportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Bogus => "bogus",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer => "answer",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::None => "none",
        })
    }
}

impl fmt::Display for LookupReport {
    /// Several lines, without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            record_type,
            status,
            kind,
            ttl,
            ..
        } = self;
        write!(f, "{name} {record_type}: {status} {kind}, for {ttl} s")?;
        for step in &self.steps {
            write!(
                f,
                "\n  {} is an alias of {} ({})",
                step.name, step.target, step.status
            )?;
        }
        for record in &self.records {
            write!(f, "\n  {record}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, "\n  reason: {reason}")?;
        }
        if !self.chain.is_empty() {
            write!(f, "\n  chain of trust:")?;
            for line in tree(&self.chain).lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// Why an answer is not secure.
fn reason(found: &Findings<'_>) -> Option<String> {
    let end = match found.outcome {
        Ok(end) => end,
        Err(error) => return Some(error.reason().to_owned()),
    };
    if let Some(insecure) = &found.explanation.insecure {
        return Some(insecure.to_string());
    }
    let weak_step = found.steps.iter().find(|step| !step.is_secure());
    let weak: &dyn fmt::Display = match (weak_step, found.steps.last()) {
        (Some(step), _) => &step.value.owner,
        (None, _) if end.is_secure() => return None,
        (None, Some(last)) => &last.value.target,
        (None, None) => found.name,
    };
    Some(format!(
        "no chain of signatures leads from a trust anchor to {weak}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::RecordData;
    use super::*;

    #[test]
    fn the_status_is_that_of_the_weakest_link() {
        let records = Outcome::Records(vec![RecordData::A([192, 0, 2, 1].into())]);
        let mut answer = answer(Ok(Secured::secure(records)));
        check(&answer, ReportStatus::Secure, ReportKind::Answer, None);
        answer.steps = vec![Secured::insecure(Alias {
            owner: "a.example".parse().unwrap(),
            target: "b.example".parse().unwrap(),
        })];
        let reason = "no chain of signatures leads from a trust anchor to a.example";
        check(
            &answer,
            ReportStatus::Insecure,
            ReportKind::Answer,
            Some(reason),
        );
        assert_eq!(
            LookupReport::from(&answer).to_string(),
            "a.example A: insecure answer, for 60 s\n  a.example is an alias of b.example \
             (insecure)\n  192.0.2.1\n  reason: no chain of signatures leads from a trust anchor \
             to a.example"
        );
    }

    #[test]
    fn what_has_no_value_has_a_reason() {
        let bogus = answer(Err(LookupError::Bogus("why".into())));
        check(&bogus, ReportStatus::Bogus, ReportKind::None, Some("why"));
        let failed = answer(Err(LookupError::Failed("why".into())));
        check(&failed, ReportStatus::Failed, ReportKind::None, Some("why"));
    }

    #[test]
    fn denials_have_a_kind() {
        let nodata = answer(Ok(Secured::secure(Outcome::NoData)));
        check(&nodata, ReportStatus::Secure, ReportKind::NoData, None);
        let nxdomain = answer(Ok(Secured::insecure(Outcome::NxDomain)));
        let reason = "no chain of signatures leads from a trust anchor to a.example";
        check(
            &nxdomain,
            ReportStatus::Insecure,
            ReportKind::NxDomain,
            Some(reason),
        );
    }

    fn answer(outcome: Result<Secured<Outcome>, LookupError>) -> Answer {
        Answer {
            name: "a.example".parse().unwrap(),
            record_type: RecordType::A,
            steps: Vec::new(),
            outcome,
            ttl: Duration::from_secs(60),
            explanation: Explanation::default(),
        }
    }

    #[track_caller]
    fn check(answer: &Answer, status: ReportStatus, kind: ReportKind, reason: Option<&str>) {
        let report = LookupReport::from(answer);
        assert_eq!(report.status, status);
        assert_eq!(report.kind, kind);
        assert_eq!(report.reason.as_deref(), reason);
    }
}
