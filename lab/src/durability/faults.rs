//! Storage fails while mail flows, in each way that storage has: nobody is promised what cannot be kept, what was promised
//! is kept, and when the fault is gone everything goes on by itself.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::bed::Bed;
use super::letters::LoadPlan;
use super::shim::Fault;
use super::shim::FaultKind;
use super::shim::Recording;
use super::shim::Shim;
use super::shim::calls;
use super::tally::Verdicts;
use crate::LabError;

/// One way in which storage fails, and what must be seen of it.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// What happens, for people.
    name: &'static str,
    /// The fault.
    fault: Fault,
    /// For how long.
    lasts: Duration,
    /// What clients must be told meanwhile.
    clients: Clients,
    /// How it ends.
    end: End,
}

/// What clients are told while storage fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Clients {
    /// To come back later; nobody gets a 250.
    ArePostponed,
    /// Either to come back later, or 250.
    AreToldEither,
}

/// How a fault ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Storage works again, and the program goes on.
    Mended,
    /// The program is killed, then storage works again, and it starts.
    Killed,
}

impl Row {
    /// All of these calls are disturbed for a while.
    fn lasting(name: &'static str, calls: u32, kind: FaultKind) -> Self {
        let fault = Fault {
            calls,
            kind,
            budget: u32::MAX,
        };
        Self {
            name,
            fault,
            lasts: LASTS,
            clients: Clients::ArePostponed,
            end: End::Mended,
        }
    }

    /// One of these calls is disturbed.
    fn once(name: &'static str, calls: u32, kind: FaultKind) -> Self {
        let row = Self::lasting(name, calls, kind);
        Self {
            fault: Fault {
                budget: 1,
                ..row.fault
            },
            lasts: match kind {
                FaultKind::Fails(_) | FaultKind::FailsThoughDone(_) => ONCE_LASTS,
                FaultKind::IsSlow { .. } => SLOW_LASTS,
            },
            clients: Clients::AreToldEither,
            ..row
        }
    }

    /// Clients may be served by what is in memory.
    fn perhaps(self) -> Self {
        Self {
            clients: Clients::AreToldEither,
            ..self
        }
    }

    /// The program does not survive it.
    fn then_killed(self) -> Self {
        Self {
            end: End::Killed,
            ..self
        }
    }
}

/// Every row, in its order.
fn table() -> Vec<Row> {
    use FaultKind::Fails;
    use FaultKind::FailsThoughDone;
    let slow = FaultKind::IsSlow {
        milliseconds: SLOW_MILLISECONDS,
    };
    let everything = calls::CHANGES | calls::READ;
    let done = "writes are done, and fail";
    vec![
        Row::lasting("writes fail", calls::WRITE, Fails(EIO)),
        Row::lasting("the disk is full", calls::WRITE, Fails(ENOSPC)),
        Row::lasting("the disk is read-only", calls::CHANGES, Fails(EROFS)),
        Row::lasting("syncs fail", calls::SYNC, Fails(EIO)),
        Row::lasting("reads fail", calls::READ, Fails(EIO)).perhaps(),
        Row::lasting("the disk is gone", everything, Fails(EIO)),
        Row::lasting(done, calls::WRITE, FailsThoughDone(EIO)),
        Row::lasting(
            "syncs are done, and fail",
            calls::SYNC,
            FailsThoughDone(EIO),
        ),
        Row::once("one write fails", calls::WRITE, Fails(EIO)),
        Row::once("one sync fails", calls::SYNC, Fails(EIO)),
        Row::once(
            "one write is done, and fails",
            calls::WRITE,
            FailsThoughDone(EIO),
        ),
        Row::once(
            "one sync is done, and fails",
            calls::SYNC,
            FailsThoughDone(EIO),
        ),
        Row::once("one write takes ten seconds", calls::WRITE, slow),
        Row::once("one sync takes ten seconds", calls::SYNC, slow),
        Row::lasting("writes fail; a kill", calls::WRITE, Fails(EIO)).then_killed(),
        Row::lasting("the disk is full; a kill", calls::WRITE, Fails(ENOSPC)).then_killed(),
        Row::lasting("syncs fail; a kill", calls::SYNC, Fails(EIO)).then_killed(),
        Row::lasting(
            "writes are done, and fail; a kill",
            calls::WRITE,
            FailsThoughDone(EIO),
        )
        .then_killed(),
        Row::lasting(
            "syncs are done, and fail; a kill",
            calls::SYNC,
            FailsThoughDone(EIO),
        )
        .then_killed(),
        Row::once("one sync fails; a kill", calls::SYNC, Fails(EIO)).then_killed(),
    ]
}

/// What came of all rows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FaultOutcome {
    /// Row by row.
    pub rows: Vec<RowOutcome>,
    /// What became of the mail.
    pub verdicts: Verdicts,
}

impl FaultOutcome {
    /// Whether everything was as it must be.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.verdicts.kept() && self.rows.iter().all(|row| row.wrong.is_empty())
    }
}

/// What came of one row.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RowOutcome {
    /// What happened.
    pub name: &'static str,
    /// Calls that were disturbed.
    pub hits: u32,
    /// Messages that were answered by 250 meanwhile.
    pub taken: usize,
    /// Messages that were answered by 4yz meanwhile.
    pub postponed: usize,
    /// How long after the fault the next message was taken.
    pub recovery: Duration,
    /// What was otherwise than it must be.
    pub wrong: Vec<String>,
}

/// Plays the table under load.
///
/// # Errors
/// The lab cannot be raised, or the program does not start again after it was killed.
pub async fn storage_faults(program: &Path, load: LoadPlan) -> Result<FaultOutcome, LabError> {
    let mut shim = None;
    let mut bed = Bed::raise(program, load, |subject| {
        shim = Some(Shim::install(subject, Recording::Off)?);
        Ok(())
    })
    .await?;
    let Some(shim) = shim else {
        return Err(LabError::Unset(String::from("the storage")));
    };
    let mut rows = Vec::new();
    for row in table() {
        bed.live(CALM).await;
        let outcome = play(row, &mut bed, &shim).await?;
        let is_over = bed.subject.has_ended();
        rows.push(outcome);
        if is_over {
            let verdicts = bed.judge_now();
            return Ok(FaultOutcome { rows, verdicts });
        }
    }
    let verdicts = bed.judge(load.messages).await?;
    Ok(FaultOutcome { rows, verdicts })
}

/// Plays one row.
async fn play(row: Row, bed: &mut Bed, shim: &Shim) -> Result<RowOutcome, LabError> {
    let mut wrong = Vec::new();
    let before = bed.record.notes();
    let began = Instant::now();
    shim.disturb(row.fault)?;
    // What was durable when it began may still be answered.
    bed.live(GRACE).await;
    let early = bed.record.look(|notes| notes.taken.len());
    bed.live(row.lasts).await;
    let during = bed.record.notes();
    if row.end == End::Killed {
        bed.kill().await?;
    }
    let hits = shim.mend()?;
    bed.tally.disturbed(began, Instant::now());
    if row.end == End::Killed {
        bed.subject.restart().await?;
    }
    let mended = Instant::now();
    let (taken, ended) = (bed.record.look(|notes| notes.taken.len()), bed.tally.len());
    let goes_on =
        |bed: &Bed| bed.record.look(|notes| notes.taken.len()) > taken && bed.tally.len() > ended;
    while !goes_on(bed) && mended.elapsed() < RECOVERY_MAX && !bed.subject.has_ended() {
        bed.live(LOOK).await;
    }
    let after = bed.record.notes();
    if bed.subject.has_ended() {
        wrong.push(String::from("it ended by itself"));
    } else if !goes_on(bed) {
        wrong.push(format!("it did not go on within {RECOVERY_MAX:?}"));
    }
    if hits == 0 {
        wrong.push(String::from(
            "no call was disturbed: nothing was put to the test",
        ));
    }
    let postponed = during.postponed - before.postponed;
    if row.clients == Clients::ArePostponed {
        if postponed == 0 {
            wrong.push(String::from("no client was told to come back later"));
        }
        if during.taken.len() > early {
            wrong.push(format!(
                "{} messages were taken",
                during.taken.len() - early
            ));
        }
    }
    let code = after.last_postponed.get(..3).unwrap_or_default();
    if postponed > 0 && !POSTPONED.contains(&code) {
        wrong.push(format!("clients were told: {}", after.last_postponed));
    }
    if after.refused.len() > before.refused.len() {
        wrong.push(format!("clients were told: {:?}", after.refused.last()));
    }
    if after.silent > before.silent {
        wrong.push(String::from("clients were told nothing"));
    }
    Ok(RowOutcome {
        name: row.name,
        hits,
        taken: during.taken.len() - before.taken.len(),
        postponed,
        recovery: mended.elapsed(),
        wrong,
    })
}

impl fmt::Display for FaultOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:40} disturbed     250     4yz  goes on after", "")?;
        for row in &self.rows {
            let RowOutcome {
                name,
                hits,
                taken,
                postponed,
                recovery,
                wrong,
            } = row;
            let recovery = recovery.as_millis();
            writeln!(
                f,
                "{name:40} {hits:9} {taken:7} {postponed:7} {recovery:11} ms"
            )?;
            for wrong in wrong {
                writeln!(f, "  otherwise than it must be: {wrong}")?;
            }
        }
        self.verdicts.fmt(f)
    }
}

/// How long a slow call takes.
const SLOW_MILLISECONDS: u32 = 10_000;

/// How long a fault lasts.
const LASTS: Duration = Duration::from_millis(2500);

/// How long is looked on after a fault of one call.
const ONCE_LASTS: Duration = Duration::from_millis(500);

/// The same where that call is slow.
const SLOW_LASTS: Duration = Duration::from_secs(11);

/// How long a message that was durable before a fault may take to be answered.
const GRACE: Duration = Duration::from_millis(500);

/// How long mail flows between two faults.
const CALM: Duration = Duration::from_millis(500);

/// How long the program may take to notice that storage works again.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What clients may be told: RFC 5321, Section 4.2.3.
const POSTPONED: [&str; 3] = ["421", "451", "452"];

/// Numbers of errors as Linux has them on every machine.
const EIO: u32 = 5;
const ENOSPC: u32 = 28;
const EROFS: u32 = 30;
