//! Load, while the program under test is killed again and again: behaviour rule 42.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::LabError;
use crate::inbox::Received;
use crate::inject::Injector;
use crate::inject::Mail;
use crate::inject::Submission;
use crate::mail_host::MailHost;
use crate::play::SENDER_DOMAIN;
use crate::run::raise_home;
use crate::subject::Subject;
use crate::world::Site;
use crate::world::World;

/// What a load consists of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoadPlan {
    /// The least number of messages that must be taken; there are more if the kills last longer.
    pub messages: usize,
    /// Connections that hand them in at the same time.
    pub connections: usize,
    /// How often the program is killed while they do.
    pub kills: usize,
    /// The shortest and the longest life between two kills, in milliseconds.
    pub life_milliseconds: (u64, u64),
    /// What the moments of the kills are drawn from.
    pub seed: u64,
}

/// What came of a load.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadOutcome {
    /// Messages that the program took: it answered 250 to the end of their data.
    pub taken: usize,
    /// Marks of messages that it took and that never arrived: must be empty.
    pub lost: Vec<String>,
    /// Marks of messages that arrived twice in one life of the program: must be empty, as only a
    /// kill excuses a second copy.
    pub repeated: Vec<String>,
    /// Messages that arrived more than once, in different lives.
    pub duplicates: usize,
    /// Kills that there were.
    pub kills: usize,
}

impl LoadOutcome {
    /// Whether the rule was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.lost.is_empty() && self.repeated.is_empty()
    }
}

/// Hands messages in while the program is killed, and waits until all that it took have arrived.
///
/// # Errors
/// The lab cannot be raised, or the program does not start again after a kill.
pub async fn kill_under_load(program: &Path, plan: LoadPlan) -> Result<LoadOutcome, LabError> {
    let world = World::raise().await?;
    let _home = raise_home(&world).await?;
    let mut sink = Site::new(&world);
    sink.signed(SINK_DOMAIN)?;
    sink.mx(SINK_DOMAIN, &[(10, SINK_HOST)])?;
    sink.dane_host(SINK_HOST)?;
    sink.settle().await?;
    let subject_plan = world.subject_plan()?;
    let injector = world.injector(&subject_plan)?;
    let mut subject = Subject::start(program, subject_plan).await?;

    let progress = Arc::new(Progress::default());
    let mut clients = JoinSet::new();
    for _ in 0..plan.connections {
        let (injector, progress) = (injector.clone(), Arc::clone(&progress));
        clients.spawn(hand_in(injector, progress, plan.messages));
    }
    let mut rng = Rng::with_seed(plan.seed);
    let mut arrivals_at_kill = Vec::new();
    for _ in 0..plan.kills {
        let (shortest, longest) = plan.life_milliseconds;
        let life = Duration::from_millis(rng.u64(shortest..=longest));
        tokio::time::sleep(life).await;
        subject.kill().await?;
        // What the dead program had sent is counted to its own life, not to the next.
        drain(&sink).await;
        arrivals_at_kill.push(world.inbox.find(|_| true).len());
        subject.restart().await?;
    }
    progress.kills_over.store(true, Ordering::SeqCst);
    while clients.join_next().await.is_some() {}
    if progress.failed.load(Ordering::SeqCst) {
        return Err(LabError::Subject(String::from(
            "takes no mail, time and again",
        )));
    }
    let taken = progress.taken();
    let all_arrived = |all: &Vec<Received>| {
        let arrived: BTreeSet<_> = all
            .iter()
            .filter_map(|received| received.id.as_deref())
            .collect();
        taken.iter().all(|id| arrived.contains(id.as_str()))
    };
    world.inbox.wait(ARRIVAL_MAX, all_arrived).await;
    let arrived = world.inbox.find(|_| true);
    let marks: Vec<_> = arrived.into_iter().map(|received| received.id).collect();
    Ok(judge(&marks, &taken, &arrivals_at_kill))
}

/// What the clients have reached.
#[derive(Debug, Default)]
struct Progress {
    /// Marks of messages that the program took.
    taken: Mutex<Vec<String>>,
    /// Messages that clients have begun.
    begun: AtomicUsize,
    /// Set after the last kill.
    kills_over: AtomicBool,
    /// Set when a client gave up.
    failed: AtomicBool,
}

impl Progress {
    fn taken(&self) -> Vec<String> {
        let taken = self.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there are enough messages, and no kill is to come.
    fn is_over(&self, messages: usize) -> bool {
        let taken = self.taken.lock();
        let taken = taken.unwrap_or_else(PoisonError::into_inner).len();
        taken >= messages && self.kills_over.load(Ordering::SeqCst)
    }
}

/// One client: hands messages in until it is over. One that was not taken, or of which that is
/// not known, is not handed in again under the same mark.
async fn hand_in(injector: Injector, progress: Arc<Progress>, messages: usize) {
    let mut failures = 0;
    while !progress.is_over(messages) && failures < FAILURES_MAX {
        let number = progress.begun.fetch_add(1, Ordering::SeqCst);
        let id = format!("load-{number}");
        let mail = Mail {
            id: id.clone(),
            from: format!("load-{number}@{SENDER_DOMAIN}"),
            to: vec![format!("user{number}@{SINK_DOMAIN}")],
            submission: Submission::Clear,
            parameters: "",
            headers: "",
            padding: 1024,
        };
        match injector.inject(&mail).await {
            Ok(_) => {
                failures = 0;
                let taken = progress.taken.lock();
                taken.unwrap_or_else(PoisonError::into_inner).push(id);
            }
            Err(_) => {
                // The program is dead at the moment; it comes back.
                failures += 1;
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
    if failures == FAILURES_MAX {
        progress.failed.store(true, Ordering::SeqCst);
    }
}

/// Waits until the sink has read everything that a dead client had sent.
async fn drain(sink: &Site) {
    let mut quiet = 0;
    while quiet < QUIET_LOOKS {
        tokio::time::sleep(QUIET_POLL).await;
        let open: usize = sink.mail_hosts().map(MailHost::sessions).sum();
        quiet = if open == 0 { quiet + 1 } else { 0 };
    }
}

/// Compares what was taken with what arrived, life by life. `arrived` has the marks in the order of
/// arrival, `arrivals_at_kill` how many of them had arrived at each kill.
fn judge(arrived: &[Option<String>], taken: &[String], arrivals_at_kill: &[usize]) -> LoadOutcome {
    // By mark: the lives in which it arrived.
    let mut lives: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, id) in arrived.iter().enumerate() {
        let life = arrivals_at_kill.iter().filter(|kill| **kill <= at).count();
        if let Some(id) = id {
            lives.entry(id.clone()).or_default().push(life);
        }
    }
    let lost = taken.iter().filter(|id| !lives.contains_key(*id));
    let twice_in_one_life = |lives: &Vec<usize>| {
        lives
            .windows(2)
            .any(|pair| matches!(pair, [one, two] if one == two))
    };
    let repeated = lives.iter().filter(|(_, lives)| twice_in_one_life(lives));
    LoadOutcome {
        taken: taken.len(),
        lost: lost.cloned().collect(),
        repeated: repeated.map(|(id, _)| id.clone()).collect(),
        duplicates: lives.values().filter(|lives| lives.len() > 1).count(),
        kills: arrivals_at_kill.len(),
    }
}

/// Where the load goes.
const SINK_DOMAIN: &str = "sink.test";

/// Who takes it.
const SINK_HOST: &str = "mx.sink.test";

/// How long the last message may take to arrive after the last kill.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// Failures in a row before a client gives up.
const FAILURES_MAX: usize = 2000;

/// The pause of a client that was not served.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// The pause between two looks at the sink's sessions.
const QUIET_POLL: Duration = Duration::from_millis(10);

/// Looks in a row that must find no session.
const QUIET_LOOKS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_must_arrive_and_only_a_kill_excuses_a_second_copy() {
        // Marks in the order of arrival; `|` is a kill.
        check("a b c", "a b c", &[], &[], 0);
        check("a | b c", "a b c", &[], &[], 0);
        check("a | a b", "a b", &[], &[], 1);
        check("a | | a", "a", &[], &[], 1);
        check("a | b", "a b c", &["c"], &[], 0);
        check("a a | b", "a b", &[], &["a"], 1);
        check("a | a a", "a", &[], &["a"], 1);
        // Not known to be taken, but arrived: no fault.
        check("a b", "a", &[], &[], 0);
        check("", "a", &["a"], &[], 0);
    }

    #[track_caller]
    fn check(arrived: &str, taken: &str, lost: &[&str], repeated: &[&str], duplicates: usize) {
        let mut marks = Vec::new();
        let mut arrivals_at_kill = Vec::new();
        for word in arrived.split_ascii_whitespace() {
            match word {
                "|" => arrivals_at_kill.push(marks.len()),
                mark => marks.push(Some(String::from(mark))),
            }
        }
        let taken: Vec<_> = taken.split_whitespace().map(String::from).collect();
        let outcome = judge(&marks, &taken, &arrivals_at_kill);
        assert_eq!(outcome.lost, lost, "{arrived}");
        assert_eq!(outcome.repeated, repeated, "{arrived}");
        assert_eq!(outcome.duplicates, duplicates, "{arrived}");
        assert_eq!(outcome.kept(), lost.is_empty() && repeated.is_empty());
    }
}
