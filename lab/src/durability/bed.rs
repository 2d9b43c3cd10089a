//! The world around the program under load: where the letters go, and where they come back to.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clients::Record;
use super::clients::hand_in;
use super::letters::DESTINATIONS;
use super::letters::Letters;
use super::letters::LoadPlan;
use super::tally::FLIGHT_MAX;
use super::tally::Tally;
use super::tally::Verdicts;
use crate::LabError;
use crate::mail_host::MailHost;
use crate::play::SENDER_DOMAIN;
use crate::run::raise_home;
use crate::subject::LogLine;
use crate::subject::Subject;
use crate::subject::SubjectPlan;
use crate::world::Site;
use crate::world::World;

/// The program, under load, and everything around it.
pub(crate) struct Bed {
    /// The world.
    pub(crate) world: Arc<World>,
    /// The program.
    pub(crate) subject: Subject,
    /// What the clients were told.
    pub(crate) record: Arc<Record>,
    /// What arrived.
    pub(crate) tally: Tally,
    /// The clients.
    clients: JoinSet<()>,
    /// Every host that takes letters, or their returns.
    hosts: [Site; 2],
}

impl Bed {
    /// Raises the world, starts the program with what `prepare` makes of its plan, and lets the clients begin.
    pub(crate) async fn raise(
        program: &Path,
        load: LoadPlan,
        prepare: impl FnOnce(&mut SubjectPlan) -> Result<(), LabError>,
    ) -> Result<Self, LabError> {
        let letters = Letters { seed: load.seed };
        let world = World::raise().await?;
        let home = raise_home(&world).await?;
        let mut sinks = Site::new(&world);
        for destination in DESTINATIONS {
            let (domain, host) = (destination.domain, format!("mx.{}", destination.domain));
            sinks.signed(domain)?;
            sinks.mx(domain, &[(10, &host)])?;
            match destination.manner.in_clear() {
                Some(conduct) => sinks.mail_host(&host, conduct)?,
                None => sinks.dane_host(&host)?,
            }
        }
        sinks.settle().await?;
        let mut plan = world.subject_plan()?;
        // Nothing may go back for its age alone, and nothing make the spool large that is not mail.
        plan.log_level = "info";
        plan.lifetime = "1h";
        plan.max_receipts = 1_000;
        prepare(&mut plan)?;
        let address = plan.smtp;
        let subject = Subject::start(program, plan).await?;
        let record = Arc::new(Record::new(letters));
        let mut clients = JoinSet::new();
        for _ in 0..load.connections {
            clients.spawn(hand_in(address, Arc::clone(&record)));
        }
        Ok(Self {
            world,
            subject,
            record,
            tally: Tally::new(letters),
            clients,
            hosts: [home, sinks],
        })
    }

    /// Lets the load go on for a while, and counts what arrives.
    pub(crate) async fn live(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.count();
            let pause = COUNT_POLL.min(end - Instant::now());
            tokio::time::sleep(pause).await;
        }
    }

    /// Lets the load go on until the next death; says which comes.
    pub(crate) async fn pass(&mut self, rng: &mut Rng) -> Moment {
        let moment = Moment::draw(rng);
        if let Moment::Ready(life) = moment {
            self.live(life).await;
        }
        moment
    }

    /// Kills the program, and counts what it had sent to its own life.
    pub(crate) async fn kill(&mut self) -> Result<(), LabError> {
        self.subject.kill().await?;
        let death = Instant::now();
        self.drain().await?;
        self.count();
        self.tally.died(death);
        Ok(())
    }

    /// Ends the load after at least so many messages, waits until all that were taken have come to their end, and
    /// looks whether more comes; then judges.
    pub(crate) async fn judge(&mut self, messages: usize) -> Result<Verdicts, LabError> {
        let deadline = Instant::now() + END_MAX;
        while self.record.look(|notes| notes.taken.len()) < messages && Instant::now() < deadline {
            self.live(COUNT_POLL).await;
        }
        self.record.end();
        while self.clients.join_next().await.is_some() {}
        let taken = self.record.notes().taken;
        let mut arrived = (self.tally.len(), Instant::now());
        // As long as anything still arrives, there is hope.
        while arrived.1.elapsed() < SILENCE_MAX {
            self.live(COUNT_POLL).await;
            if self.tally.len() > arrived.0 {
                arrived = (self.tally.len(), Instant::now());
            }
            if self.tally.has_all(&taken) {
                self.live(AFTERMATH).await;
                break;
            }
        }
        self.count();
        if !self.subject.terminate().await? {
            let said = "reported a failure when it was stopped";
            return Err(LabError::Subject(String::from(said)));
        }
        Ok(self.judge_now())
    }

    /// Judges as it stands, where the program is not to be had any more.
    pub(crate) fn judge_now(&mut self) -> Verdicts {
        self.record.end();
        self.count();
        let mut verdicts = self.tally.judge(&self.record.notes().taken);
        let suspects = verdicts.lost.iter().chain(&verdicts.repeated);
        verdicts.log = suspects
            .take(EXPLAINED_MAX)
            .flat_map(|letter| self.logged_of(letter))
            .collect();
        verdicts
    }

    /// What the program logged of a letter, which is named by a recipient.
    fn logged_of(&self, letter: &str) -> Vec<String> {
        let (local, _) = letter.split_once('@').unwrap_or_default();
        let mark = format!("{local}@{SENDER_DOMAIN}");
        self.subject.log().look(|lines| {
            let named = |line: &&LogLine| line.text.contains(&mark);
            let events = lines
                .iter()
                .filter(named)
                .filter_map(|line| line.event.as_ref());
            let queue_ids: BTreeSet<&str> = events.map(|event| event.about().0).collect();
            let about = |line: &&LogLine| queue_ids.iter().any(|id| line.text.contains(id));
            lines
                .iter()
                .filter(about)
                .map(|line| line.text.clone())
                .collect()
        })
    }

    /// Counts what has arrived, and keeps the clients from handing in more than is delivered.
    fn count(&mut self) {
        self.tally.count(self.world.inbox.take());
        let owed = self.record.look(|notes| notes.taken.len());
        self.record.pause(owed > self.tally.len() + BACKLOG_MAX);
    }

    /// Waits until the hosts have read everything that a dead program had sent.
    async fn drain(&self) -> Result<(), LabError> {
        let deadline = Instant::now() + DRAIN_MAX;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            if Instant::now() > deadline {
                let said = "is dead, and its connections live on";
                return Err(LabError::Subject(String::from(said)));
            }
            tokio::time::sleep(QUIET_POLL).await;
            let hosts = self.hosts.iter().flat_map(Site::mail_hosts);
            let open: usize = hosts.map(MailHost::sessions).sum();
            quiet = if open == 0 { quiet + 1 } else { 0 };
        }
        Ok(())
    }
}

/// When the next death comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// So long after the program was ready.
    Ready(Duration),
    /// After a death now, so long after the next start, when it is perhaps not even ready.
    Starting(Duration),
}

impl Moment {
    fn draw(rng: &mut Rng) -> Self {
        match rng.u8(..100) {
            0..15 => Self::Starting(Duration::from_millis(rng.u64(..150))),
            // So long that not all that arrived is excused.
            15..17 => Self::Ready(2 * FLIGHT_MAX),
            _ => Self::Ready(Duration::from_millis(rng.u64(20..600))),
        }
    }
}

/// Letters of which a report says what was logged.
const EXPLAINED_MAX: usize = 5;

/// The pause between two counts.
const COUNT_POLL: Duration = Duration::from_millis(50);

/// Messages that may be on their way before the clients wait.
const BACKLOG_MAX: usize = 2_000;

/// How long the clients may take to hand the rest in.
const END_MAX: Duration = Duration::from_secs(60);

/// How long nothing may arrive before what is missing counts as lost: longer than the longest wait between attempts,
/// and than all time limits of an attempt.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How long is waited for copies that should not come after everything has arrived.
const AFTERMATH: Duration = Duration::from_secs(2);

/// How long hosts may take to see that a client is dead.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The pause between two looks at the open sessions.
const QUIET_POLL: Duration = Duration::from_millis(5);

/// Looks in a row that must find no session.
const QUIET_LOOKS: u32 = 3;
