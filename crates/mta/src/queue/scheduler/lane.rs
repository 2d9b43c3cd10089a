//! What is known about one next hop, and how much may go there at once.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::MailDomain;

use super::Bounds;
use super::Ended;
use super::Seconds;
use super::Standing;
use super::Tried;

/// What the hosts of a next hop made of an attempt.
///
/// Where several were asked, the last of these that one of them gave.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Answer {
    /// No host was asked.
    NotAsked,
    /// No host answered.
    Silent,
    /// A host was not asked, for want of room on this machine: nobody knows whether it would answer.
    NoRoom,
    /// A host answered that it has too much to do: 421, or a temporary failure of the connection.
    Busy,
    /// A host answered, whatever it said about the message.
    Answered,
}

impl Answer {
    /// Whether it says anything about the hosts.
    pub(crate) fn is_of_hosts(self) -> bool {
        match self {
            Self::NotAsked | Self::NoRoom => false,
            Self::Silent | Self::Busy | Self::Answered => true,
        }
    }
}

/// Why a delivery waits in its lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    /// Its first attempt is due.
    Fresh,
    /// Another attempt is due.
    Retry,
    /// It has waited for so long that it is tried even if no host of its lane answers.
    Overdue,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Fresh, Self::Retry, Self::Overdue];

    /// Its place among all.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Retry => 1,
            Self::Overdue => 2,
        }
    }

    /// What it counts as among attempts in progress.
    pub(super) fn tried(self) -> Tried {
        match self {
            Self::Fresh => Tried::Never,
            Self::Retry | Self::Overdue => Tried::Before,
        }
    }
}

/// What waits in a lane in one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// How many deliveries.
    pub(super) waiting: u32,
    /// The sender whose turn was last.
    pub(super) last_sender: u32,
    /// The round in which the lane stands in line, if it does.
    pub(super) round: Option<(Standing, u64)>,
}

/// All deliveries to one next hop.
#[derive(Debug)]
pub(super) struct Lane {
    /// The next hop.
    pub(super) name: Arc<MailDomain>,
    /// Deliveries, whatever they do.
    pub(super) members: u32,
    /// Attempts in progress.
    pub(super) in_progress: u32,
    /// What waits: one for each class.
    pub(super) fresh: Line,
    /// See [`fresh`](Self::fresh).
    pub(super) retries: Line,
    /// See [`fresh`](Self::fresh).
    pub(super) overdue: Line,
    /// When to look at it again, if a time is set.
    pub(super) timer: Option<Seconds>,
    /// Whether anything may start.
    gate: Gate,
    /// How many attempts may be in progress at once.
    window: u32,
    /// What the hosts said when things went wrong last.
    trouble: Option<Box<str>>,
    /// How long attempts take, the last ones counting most.
    attempt_time: Duration,
}

/// Whether anything may start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gate {
    /// As much as the window allows; it is not known whether a host answers.
    Untried,
    /// As much as the window allows.
    Open,
    /// Nothing until then; the wait was this long, and a little.
    Closed { until: Seconds, wait: Duration },
    /// One at a time, to find out whether hosts answer again; the last wait was this long.
    Probing { wait: Duration },
}

impl Lane {
    /// A next hop that nobody has asked for long.
    pub(super) fn new(name: Arc<MailDomain>, window_max: u32) -> Self {
        Self {
            name,
            members: 0,
            in_progress: 0,
            fresh: Line::default(),
            retries: Line::default(),
            overdue: Line::default(),
            timer: None,
            gate: Gate::Untried,
            window: WINDOW_AT_FIRST.min(window_max),
            trouble: None,
            attempt_time: Duration::ZERO,
        }
    }

    /// What waits in a class.
    pub(super) fn line(&self, class: Class) -> &Line {
        match class {
            Class::Fresh => &self.fresh,
            Class::Retry => &self.retries,
            Class::Overdue => &self.overdue,
        }
    }

    /// What waits in a class, to be changed.
    pub(super) fn line_mut(&mut self, class: Class) -> &mut Line {
        match class {
            Class::Fresh => &mut self.fresh,
            Class::Retry => &mut self.retries,
            Class::Overdue => &mut self.overdue,
        }
    }

    /// Whether a delivery of a class may start as far as the lane is concerned.
    pub(super) fn may_start(&self, class: Class, window_max: u32) -> bool {
        self.line(class).waiting > 0
            && match (class, self.gate) {
                (Class::Overdue, Gate::Closed { .. } | Gate::Probing { .. }) => {
                    self.in_progress < window_max
                }
                (Class::Fresh | Class::Retry | Class::Overdue, Gate::Untried | Gate::Open) => {
                    self.in_progress < self.window
                }
                (Class::Fresh | Class::Retry, Gate::Probing { .. }) => self.in_progress == 0,
                (Class::Fresh | Class::Retry, Gate::Closed { .. }) => false,
            }
    }

    /// Allows no more than so many attempts at once; a wider window grows with success, as ever.
    pub(super) fn narrow(&mut self, window_max: u32) {
        self.window = self.window.min(window_max);
    }

    /// What is known about its hosts.
    pub(super) fn standing(&self) -> Standing {
        match self.gate {
            Gate::Open => Standing::Proven,
            Gate::Untried | Gate::Closed { .. } | Gate::Probing { .. } => Standing::Doubtful,
        }
    }

    /// How many attempts may be in progress at once.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// Until when nothing is started.
    pub(super) fn closed_until(&self) -> Option<Seconds> {
        match self.gate {
            Gate::Closed { until, .. } => Some(until),
            Gate::Untried | Gate::Open | Gate::Probing { .. } => None,
        }
    }

    /// What the hosts said when things went wrong last; `None` once they have answered again.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// How long attempts take, the last ones counting most.
    pub(super) fn attempt_time(&self) -> Duration {
        self.attempt_time
    }

    /// Takes in what came of an attempt; `chance` is a random number from 0 to 1.
    pub(super) fn answered(
        &mut self,
        ended: &Ended<'_>,
        now: Seconds,
        bounds: &Bounds,
        chance: f64,
    ) {
        if !ended.answer.is_of_hosts() {
            return;
        }
        self.attempt_time = match self.attempt_time {
            Duration::ZERO => ended.took,
            so_far => (so_far * 7 + ended.took) / 8,
        };
        self.trouble = ended.trouble.map(shortened);
        match ended.answer {
            Answer::NotAsked | Answer::NoRoom => {}
            Answer::Answered => {
                self.gate = Gate::Open;
                self.window = self
                    .window
                    .saturating_add(1)
                    .min(bounds.attempts_per_lane_max);
            }
            Answer::Busy if self.window > 1 => {
                self.gate = Gate::Open;
                self.window /= 2;
            }
            // It may have been chance; the next one that is silent closes the lane.
            Answer::Silent if self.gate == Gate::Open => {
                self.gate = Gate::Untried;
                self.window = (self.window / 2).max(1);
            }
            Answer::Busy | Answer::Silent => self.close(now, bounds, chance),
        }
    }

    /// Lets nothing through for a time that doubles.
    fn close(&mut self, now: Seconds, bounds: &Bounds, chance: f64) {
        self.window = 1;
        let wait = match self.gate {
            Gate::Untried | Gate::Open => bounds.closed_min.min(bounds.closed_max),
            Gate::Probing { wait } => (wait * 2).min(bounds.closed_max),
            // The attempt began before the lane was closed, and says nothing new.
            Gate::Closed { .. } => return,
        };
        let spread = 1.0 + CLOSED_SPREAD * chance.clamp(0.0, 1.0);
        let until = now.after(wait.mul_f64(spread));
        self.gate = Gate::Closed { until, wait };
    }

    /// Lets one attempt through if the lane was closed for long enough, or is for longer than it should
    /// be, as happens when the clock was set back.
    pub(super) fn reopen(&mut self, now: Seconds) {
        if let Gate::Closed { until, wait } = self.gate
            && (until <= now || until > now.after(wait.mul_f64(1.0 + CLOSED_SPREAD)))
        {
            self.gate = Gate::Probing { wait };
        }
    }

    /// Lets one attempt through whatever is known.
    pub(super) fn reopen_at_once(&mut self) {
        if let Gate::Closed { wait, .. } = self.gate {
            self.gate = Gate::Probing { wait };
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.members == 0
    }
}

/// The beginning of a text, so that what hosts say does not fill the memory of a hundred thousand lanes.
fn shortened(text: &str) -> Box<str> {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= TROUBLE_OCTETS_MAX).last();
    text.get(..end.unwrap_or_default())
        .unwrap_or_default()
        .into()
}

/// How many octets are kept of what went wrong last. The whole of it is kept with the delivery.
const TROUBLE_OCTETS_MAX: usize = 200;

/// The window of a lane that nobody knows. A second attempt means that one large message to a slow
/// host does not hold up everything else.
const WINDOW_AT_FIRST: u32 = 2;

/// By what share a lane stays closed for longer than it must, at most, so that lanes that were closed
/// together do not open together.
const CLOSED_SPREAD: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 8;

    const BOUNDS: Bounds = Bounds {
        attempts_max: 100,
        slow_attempts_max: 100,
        slow_after: Duration::from_secs(1),
        attempts_per_lane_max: MAX,
        closed_min: Duration::from_secs(60),
        closed_max: Duration::from_secs(1_800),
    };

    #[test]
    fn of_what_went_wrong_only_the_beginning_is_kept() {
        for (text, kept) in [
            ("451 no".to_owned(), "451 no".to_owned()),
            ("é".repeat(100), "é".repeat(100)),
            (
                "x".to_owned() + &"é".repeat(100),
                "x".to_owned() + &"é".repeat(99),
            ),
        ] {
            assert_eq!(*shortened(&text), *kept);
        }
    }

    #[test]
    fn the_window_follows_the_answers() {
        use Answer::Answered;
        use Answer::Busy;
        use Answer::NoRoom;
        use Answer::NotAsked;
        use Answer::Silent;
        check(&[], &[]);
        check(&[Answered; 8], &[3, 4, 5, 6, 7, 8, 8, 8]);
        check(&[Answered, Busy, Busy, Answered], &[3, 1, 1, 2]);
        check(&[Answered, Answered, Busy, NotAsked], &[3, 4, 2, 2]);
        check(&[Answered, NoRoom, NoRoom, Answered], &[3, 3, 3, 4]);
        check(&[Silent, Answered], &[1, 2]);
        check(&[Answered, Answered, Silent, Answered], &[3, 4, 2, 3]);
        check(
            &[Answered, Answered, Silent, Silent, Answered],
            &[3, 4, 2, 1, 2],
        );
    }

    #[test]
    fn a_silent_lane_is_closed_for_twice_as_long_each_time_up_to_half_an_hour() {
        let mut lane = waiting_lane();
        let mut now = Seconds(1_000);
        for minutes in [1, 2, 4, 8, 16, 30, 30] {
            end(&mut lane, Answer::Silent, Some("no route"), now, 0.0);
            assert_eq!(lane.standing(), Standing::Doubtful);
            assert_eq!(lane.trouble(), Some("no route"));
            let until = Seconds(now.0 + minutes * 60);
            assert_eq!(lane.closed_until(), Some(until));
            // What began earlier says nothing new.
            end(&mut lane, Answer::Silent, None, now, 0.0);
            assert_eq!(lane.closed_until(), Some(until));
            lane.reopen(Seconds(until.0 - 1));
            assert!(!lane.may_start(Class::Retry, MAX));
            lane.reopen(until);
            assert!(lane.may_start(Class::Retry, MAX));
            now = until;
        }
        lane.in_progress = 1;
        assert!(!lane.may_start(Class::Retry, MAX));
        end(&mut lane, Answer::Answered, None, now, 0.0);
        assert!(lane.may_start(Class::Retry, MAX));
        assert_eq!((lane.standing(), lane.trouble()), (Standing::Proven, None));
    }

    #[test]
    fn hosts_that_have_answered_are_believed_to_be_gone_when_two_attempts_say_so() {
        let mut lane = waiting_lane();
        for closed in [false, true] {
            end(&mut lane, Answer::Answered, None, Seconds(0), 0.0);
            end(&mut lane, Answer::Silent, None, Seconds(0), 0.0);
            assert_eq!(lane.closed_until(), None);
            assert_eq!(lane.standing(), Standing::Doubtful);
            if closed {
                end(&mut lane, Answer::Silent, None, Seconds(0), 0.0);
                assert!(lane.closed_until().is_some());
            }
        }
    }

    #[test]
    fn a_host_that_is_busy_with_one_at_a_time_is_left_alone() {
        let mut lane = waiting_lane();
        for closed in [false, true] {
            end(&mut lane, Answer::Busy, None, Seconds(0), 0.0);
            assert_eq!(lane.closed_until().is_some(), closed);
        }
    }

    #[test]
    fn what_is_overdue_goes_through_a_closed_lane() {
        let mut lane = waiting_lane();
        end(&mut lane, Answer::Silent, None, Seconds(0), 1.0);
        assert_eq!(lane.closed_until(), Some(Seconds(66)));
        assert!(!lane.may_start(Class::Overdue, MAX));
        lane.overdue.waiting = 1;
        assert!(lane.may_start(Class::Overdue, MAX));
        lane.in_progress = MAX;
        assert!(!lane.may_start(Class::Overdue, MAX));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_lane_closed() {
        let mut lane = waiting_lane();
        end(&mut lane, Answer::Silent, None, Seconds(100_000), 0.0);
        lane.reopen(Seconds(99_999));
        assert!(lane.closed_until().is_some());
        lane.reopen(Seconds(5));
        assert_eq!(lane.closed_until(), None);
    }

    #[track_caller]
    fn check(answers: &[Answer], windows: &[u32]) {
        let mut lane = waiting_lane();
        assert_eq!(lane.window(), 2);
        let seen: Vec<u32> = answers
            .iter()
            .map(|answer| {
                end(&mut lane, *answer, None, Seconds(0), 0.0);
                lane.window()
            })
            .collect();
        assert_eq!(seen, windows, "{answers:?}");
    }

    fn end(lane: &mut Lane, answer: Answer, trouble: Option<&str>, now: Seconds, chance: f64) {
        let ended = Ended {
            answer,
            trouble,
            took: Duration::from_secs(1),
        };
        lane.answered(&ended, now, &BOUNDS, chance);
    }

    fn waiting_lane() -> Lane {
        let name = Arc::new("one.example".parse().unwrap());
        let mut lane = Lane::new(name, MAX);
        lane.retries.waiting = 1;
        lane
    }
}
