//! SIGKILL at any moment under load, again and again: behaviour rule 42.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::bed::Bed;
use super::bed::Moment;
use super::letters::LoadPlan;
use super::tally::Verdicts;
use crate::LabError;

/// How the program is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KillPlan {
    /// The mail meanwhile.
    pub load: LoadPlan,
    /// How often.
    pub kills: usize,
}

/// What came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KillOutcome {
    /// How often the program was killed.
    pub kills: usize,
    /// How often of these before it was ready.
    pub at_start: usize,
    /// The longest time from a start until it was ready.
    pub longest_start: Duration,
    /// What became of the mail.
    pub verdicts: Verdicts,
}

/// Hands messages in while the program is killed, and waits until all that it took have come to their end.
///
/// # Errors
/// The lab cannot be raised, or the program does not start again after a kill.
pub async fn kill_under_load(program: &Path, plan: KillPlan) -> Result<KillOutcome, LabError> {
    let mut bed = Bed::raise(program, plan.load, |_| Ok(())).await?;
    let mut rng = Rng::with_seed(plan.load.seed);
    let mut at_start = 0;
    let mut longest_start = Duration::ZERO;
    for _ in 0..plan.kills {
        if let Moment::Starting(life) = bed.pass(&mut rng).await {
            bed.kill().await?;
            bed.subject.begin()?;
            tokio::time::sleep(life).await;
            at_start += 1;
        }
        bed.kill().await?;
        let started = Instant::now();
        bed.subject.restart().await?;
        longest_start = longest_start.max(started.elapsed());
    }
    Ok(KillOutcome {
        kills: plan.kills + at_start,
        at_start,
        longest_start,
        verdicts: bed.judge(plan.load.messages).await?,
    })
}

impl fmt::Display for KillOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "killed                    {:8}", self.kills)?;
        writeln!(f, "  at its start            {:8}", self.at_start)?;
        let longest = self.longest_start.as_millis();
        writeln!(f, "longest start             {longest:8} ms")?;
        self.verdicts.fmt(f)
    }
}
