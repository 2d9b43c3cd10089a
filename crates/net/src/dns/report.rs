//! An answer as data for people and programs that look at it.

use std::fmt;

use byrnie_base::LookupError;
use byrnie_base::Security;
use serde::Serialize;

use super::Answer;
use super::Outcome;

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

impl From<&Answer> for LookupReport {
    fn from(answer: &Answer) -> Self {
        let (kind, records) = match &answer.outcome {
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
        let status = match (&answer.outcome, answer.security()) {
            (Err(LookupError::Bogus(_)), _) => ReportStatus::Bogus,
            (Err(LookupError::Failed(_)), _) => ReportStatus::Failed,
            (Ok(_), Some(security)) => security.into(),
            (Ok(_), None) => ReportStatus::Insecure,
        };
        let steps = answer.steps.iter().map(|step| StepReport {
            name: step.value.owner.to_string(),
            target: step.value.target.to_string(),
            status: step.security.into(),
        });
        Self {
            name: answer.name.to_string(),
            record_type: answer.record_type.to_string(),
            status,
            kind,
            ttl: answer.ttl.as_secs(),
            records,
            steps: steps.collect(),
            reason: reason(answer),
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
        Ok(())
    }
}

/// Why an answer is not secure.
fn reason(answer: &Answer) -> Option<String> {
    let end = match &answer.outcome {
        Ok(end) => end,
        Err(error) => return Some(error.reason().to_owned()),
    };
    let weak_step = answer.steps.iter().find(|step| !step.is_secure());
    let weak = match weak_step {
        Some(step) => &step.value.owner,
        None if !end.is_secure() => answer.final_name(),
        None => return None,
    };
    Some(format!(
        "no chain of signatures leads from a trust anchor to {weak}"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use byrnie_base::Secured;

    use super::super::Alias;
    use super::super::RecordData;
    use super::super::RecordType;
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
