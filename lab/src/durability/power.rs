//! The power goes at any moment under load, again and again: whatever was not synced may be gone, or half there.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::bed::Bed;
use super::bed::Moment;
use super::disk::Disk;
use super::disk::Image;
use super::journal;
use super::letters::LoadPlan;
use super::shim::Recording;
use super::shim::Shim;
use super::tally::Verdicts;
use crate::LabError;

/// How the power goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PowerPlan {
    /// The mail meanwhile.
    pub load: LoadPlan,
    /// How often.
    pub cuts: usize,
    /// What the disk does with a sync.
    pub disk: Syncs,
}

/// What a disk does with a sync.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Syncs {
    /// It makes last what was written.
    Honest,
    /// Nothing. No program can keep mail on such a disk; it shows that the proof can fail.
    Lying,
}

/// What came of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PowerOutcome {
    /// How often the power went.
    pub cuts: usize,
    /// How often of these before the program was ready.
    pub at_start: usize,
    /// How often something was not on the disk that the program had written.
    pub with_loss: usize,
    /// The longest time from a start until it was ready.
    pub longest_start: Duration,
    /// What the program said when it did not start any more: must be nothing.
    pub not_started: Option<String>,
    /// What became of the mail.
    pub verdicts: Verdicts,
}

impl PowerOutcome {
    /// Whether nothing was lost.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.not_started.is_none() && self.verdicts.kept()
    }
}

/// Hands messages in while the power goes, and waits until all that were taken have come to their end.
///
/// # Errors
/// The lab cannot be raised, or the program uses its storage in a way that the lab cannot judge.
pub async fn cut_under_load(program: &Path, plan: PowerPlan) -> Result<PowerOutcome, LabError> {
    let mut shim = None;
    let bed = Bed::raise(program, plan.load, |subject| {
        let installed = Shim::install(subject, Recording::On)?;
        if plan.disk == Syncs::Lying {
            installed.lie()?;
        }
        shim = Some(installed);
        Ok(())
    })
    .await?;
    let Some(shim) = shim else {
        return Err(LabError::Unset(String::from("the storage")));
    };
    let mut cutter = Cutter {
        bed,
        shim,
        before: Image::default(),
        rng: Rng::with_seed(plan.load.seed),
        outcome: PowerOutcome::default(),
    };
    for _ in 0..plan.cuts {
        if let Moment::Starting(life) = cutter.bed.pass(&mut cutter.rng).await {
            cutter.cut().await?;
            cutter.bed.subject.begin()?;
            tokio::time::sleep(life).await;
            cutter.outcome.at_start += 1;
        }
        cutter.cut().await?;
        let started = Instant::now();
        if let Err(error) = cutter.bed.subject.restart().await {
            return Ok(PowerOutcome {
                not_started: Some(error.to_string()),
                verdicts: cutter.bed.judge_now(),
                ..cutter.outcome
            });
        }
        let longest = cutter.outcome.longest_start;
        cutter.outcome.longest_start = longest.max(started.elapsed());
    }
    Ok(PowerOutcome {
        verdicts: cutter.bed.judge(plan.load.messages).await?,
        ..cutter.outcome
    })
}

/// Cuts the power off.
struct Cutter {
    /// The program under load.
    bed: Bed,
    /// What records its changes.
    shim: Shim,
    /// What was on the disk when the program started.
    before: Image,
    /// Chance.
    rng: Rng,
    /// What came of it so far.
    outcome: PowerOutcome,
}

impl Cutter {
    /// One cut: the program is gone, and the disk holds what chance leaves.
    async fn cut(&mut self) -> Result<(), LabError> {
        self.bed.kill().await?;
        let now = Image::read(&self.shim.spool)?;
        let records = match self.shim.journal.exists() {
            true => journal::read(&self.shim.journal)?,
            // It was killed before it could open one.
            false => Vec::new(),
        };
        let disk = Disk::replay(&self.before, &records, &now)?;
        let after = disk.cut(&mut self.rng, &now);
        after.write(&self.shim.spool, &now)?;
        if self.shim.journal.exists() {
            let removed = fs::remove_file(&self.shim.journal);
            removed.map_err(LabError::io("remove the record of the storage"))?;
        }
        self.outcome.cuts += 1;
        self.outcome.with_loss += usize::from(disk.has_lost(&after));
        self.before = after;
        Ok(())
    }
}

impl fmt::Display for PowerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "power cuts                {:8}", self.cuts)?;
        writeln!(f, "  at a start              {:8}", self.at_start)?;
        writeln!(f, "  that cost written data  {:8}", self.with_loss)?;
        let longest = self.longest_start.as_millis();
        writeln!(f, "longest start             {longest:8} ms")?;
        if let Some(said) = &self.not_started {
            writeln!(f, "it did not start any more: {said}")?;
        }
        self.verdicts.fmt(f)
    }
}
