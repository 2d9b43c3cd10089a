//! Which delivery is next: all that waits, in memory, without I/O, clock and tasks.
//!
//! ```text
//!   add ──► deferred ──────► waiting ──────► in progress ──────► recording ──► (gone)
//!              ▲    due time         next()             ended()      │
//!              └─────────────────────────────────────────────────────┘ recorded()
//! ```
//!
//! What waits lies in *lanes*, one for each next hop, and there in three classes: fresh, retries,
//! overdue. Whose turn it is follows from four rules, each of which bounds how long somebody can be
//! held up by others:
//!
//! 1. In a lane, senders take turns within each class.
//! 2. Lanes take turns, by `Turns`, so that a sender's lanes count as one when others wait.
//! 3. Classes take turns: most are for fresh mail, none gets nothing.
//! 4. Places for attempts are shared out by `Places`, attempts at one next hop bounded by its
//!    `Lane`, which closes when no host answers.
//!
//! No call does work that grows faster than the logarithm of what waits, but for one clock that is
//! set back, and one waiting delivery takes about 130 octets.

mod lane;
mod places;
mod slab;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::MailDomain;
use byrnie_base::UnixTime;

pub use self::lane::Answer;
use self::lane::Class;
use self::lane::Lane;
pub use self::places::Bounds;
use self::places::Kind;
use self::places::Pace;
use self::places::Places;
pub use self::places::Standing;
pub use self::places::Tried;
use self::slab::Slab;
use self::turns::Turns;

/// Knows everything that waits, and says what is next. `K` names a delivery.
#[derive(Debug)]
pub struct Scheduler<K> {
    deliveries: Slab<Entry<K>>,
    /// Where each delivery is.
    by_key: HashMap<K, u32>,
    lanes: Slab<Lane>,
    /// Where each lane is.
    by_name: HashMap<Arc<MailDomain>, u32>,
    /// What may start as soon as its lane lets it, in the order of its line; one for each class.
    waiting: [BTreeMap<InLine, u32>; Class::ALL.len()],
    /// When deferred deliveries fall due.
    due: BTreeSet<(Seconds, u32)>,
    /// When waiting deliveries become overdue.
    deadlines: BTreeSet<(Seconds, u32)>,
    /// When lanes are to be looked at.
    lane_timers: BTreeSet<(Seconds, u32)>,
    /// Lanes without deliveries, of which something is remembered.
    idle_lanes: usize,
    /// Lanes that may start something; one for each class and standing.
    turns: [Turns; Class::ALL.len() * 2],
    /// How many turns have been given.
    turns_given: usize,
    places: Places,
    /// Attempts that are not slow yet, oldest first: since when, which, and its number.
    young: VecDeque<(Instant, u32, u64)>,
    /// The last number given, to what joined a line or started.
    last_number: u64,
    /// The last time that was told.
    told: Seconds,
    /// The longest wait for an attempt; what waits longer waits because the clock was set back.
    wait_max: Duration,
}

/// A delivery that waits from now on.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a, K> {
    /// Its name.
    pub key: K,
    /// Where it goes.
    pub next_hop: &'a MailDomain,
    /// Who sends it, as a hash; senders with the same one share their turns.
    pub sender: u32,
    /// Whether it was tried before.
    pub tried: Tried,
    /// When it is due, and when it can wait no longer.
    pub times: Times,
}

/// When a delivery is to be tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// When it is due.
    pub due_at: UnixTime,
    /// When it is tried even if its lane is closed.
    pub deadline: UnixTime,
}

/// What became of a delivery whose attempt was recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// There is nothing left to do.
    Gone,
    /// It was tried, and is tried again.
    Again(Times),
    /// It was not tried after all, and is due then.
    Untouched(UnixTime),
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// What the hosts made of it.
    pub answer: Answer,
    /// What went wrong, for people.
    pub trouble: Option<&'a str>,
    /// How long it took.
    pub took: Duration,
}

impl Ended<'_> {
    /// Nothing was learned about the hosts.
    pub const NOBODY_ASKED: Self = Self {
        answer: Answer::NotAsked,
        trouble: None,
        took: Duration::ZERO,
    };
}

/// Whether a delivery is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// The time, both ways.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day.
    pub time: UnixTime,
    /// The time that only goes forward.
    pub monotonic: Instant,
}

/// A lane, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    /// The next hop.
    pub next_hop: Arc<MailDomain>,
    /// Deliveries, those in progress and deferred included.
    pub deliveries: u32,
    /// Deliveries that are due.
    pub due: u32,
    /// Attempts in progress.
    pub in_progress: u32,
    /// How many of them there may be.
    pub window: u32,
    /// Whether a host is known to answer.
    pub standing: Standing,
    /// Until when nothing is tried, because no host answers.
    pub closed_until: Option<UnixTime>,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// How long attempts take, the last ones counting most.
    pub attempt_time: Duration,
}

/// How much there is, for people.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Deliveries.
    pub deliveries: usize,
    /// Of these, those that are not due yet.
    pub deferred: usize,
    /// Of these, those that are due and wait for their turn.
    pub waiting: usize,
    /// Attempts in progress.
    pub in_progress: u32,
    /// Of these, those that take long.
    pub in_progress_slowly: u32,
    /// Next hops that something is known about.
    pub lanes: usize,
}

/// One delivery. There may be millions, so each octet counts.
#[derive(Debug)]
struct Entry<K> {
    key: K,
    /// Its number in line, or that of its attempt.
    number: u64,
    lane: u32,
    sender: u32,
    /// When it is due; while it is in progress or recorded, when it was asked to be due again.
    due_at: Seconds,
    deadline: Seconds,
    tried: Tried,
    stage: Stage,
}

/// What a delivery does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Not due yet.
    Deferred,
    /// Due.
    Waiting(Class),
    /// Tried.
    InProgress(Kind, Pace),
    /// Tried; what came of it is being recorded.
    Recording,
}

/// A place in a line: by lane, then by sender, then first come, first served.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct InLine {
    lane: u32,
    sender: u32,
    number: u64,
}

/// Seconds of the time of day, in half the room; from the year 2106 on, all are the same.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Seconds(u32);

impl Seconds {
    /// No time at all.
    const NEVER: Self = Self(u32::MAX);

    /// Later by a wait, rounded up.
    fn after(self, wait: Duration) -> Self {
        Self::from(UnixTime::from(self) + wait)
    }
}

impl From<UnixTime> for Seconds {
    fn from(time: UnixTime) -> Self {
        Self(u32::try_from(time.0).unwrap_or(u32::MAX))
    }
}

impl From<Seconds> for UnixTime {
    fn from(Seconds(seconds): Seconds) -> Self {
        Self(u64::from(seconds))
    }
}

impl<K: Copy + Eq + Hash + fmt::Debug> Scheduler<K> {
    /// Nothing waits; no wait for an attempt is longer than `wait_max`.
    #[must_use]
    pub fn new(bounds: Bounds, wait_max: Duration) -> Self {
        Self {
            deliveries: Slab::new(),
            by_key: HashMap::new(),
            lanes: Slab::new(),
            by_name: HashMap::new(),
            waiting: [(); Class::ALL.len()].map(|()| BTreeMap::new()),
            due: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            lane_timers: BTreeSet::new(),
            idle_lanes: 0,
            turns: [(); Class::ALL.len() * 2].map(|()| Turns::new()),
            turns_given: 0,
            places: Places::new(bounds),
            young: VecDeque::new(),
            last_number: 0,
            told: Seconds(0),
            wait_max,
        }
    }

    /// From now on these bounds count. What is in progress beyond them comes to its end.
    pub fn set_bounds(&mut self, bounds: Bounds, wait_max: Duration) {
        let window_max = bounds.attempts_per_lane_max;
        self.places.set_bounds(bounds);
        self.wait_max = wait_max;
        let lanes: Vec<u32> = self.by_name.values().copied().collect();
        for lane_at in lanes {
            if let Some(lane) = self.lanes.get_mut(lane_at) {
                lane.narrow(window_max);
            }
            self.line_up(lane_at);
        }
    }

    /// Takes in a delivery; one that was known stays as it is.
    pub fn add(&mut self, delivery: Delivery<'_, K>) -> Known {
        if self.by_key.contains_key(&delivery.key) {
            return Known::Yes;
        }
        let Some(lane) = self.lane_named(delivery.next_hop) else {
            return Known::No;
        };
        let inserted = self.deliveries.insert(Entry {
            key: delivery.key,
            number: 0,
            lane,
            sender: delivery.sender,
            due_at: Seconds(0),
            deadline: Seconds(0),
            tried: delivery.tried,
            stage: Stage::Recording,
        });
        // With four thousand million deliveries in memory, one more stays on disk alone.
        let Some(place) = inserted else {
            self.set_lane_timer(lane);
            return Known::No;
        };
        self.by_key.insert(delivery.key, place);
        self.change_members(lane, |members| members + 1);
        self.schedule(place, delivery.times);
        Known::No
    }

    /// Looks at the time: what has fallen due waits for its turn from now on.
    pub fn advance(&mut self, now: Now) {
        let time = Seconds::from(now.time);
        if time < mem::replace(&mut self.told, time) {
            self.clock_was_set_back();
        }
        while let Some((at, place)) = self.due.first().copied()
            && at <= time
        {
            self.due.remove(&(at, place));
            self.fall_due(place);
        }
        while let Some((at, place)) = self.deadlines.first().copied()
            && at <= time
        {
            self.leave_line(place);
            self.join_line(place, Class::Overdue);
        }
        while let Some((at, lane)) = self.lane_timers.first().copied()
            && at <= time
        {
            self.look_at_lane(lane);
        }
        self.slow_down(now.monotonic);
    }

    /// Starts the next delivery, if one may start; to be called until it gives none.
    pub fn next(&mut self, monotonic: Instant) -> Option<K> {
        let (class, lane_at) = self.next_turn()?;
        let lane = self.lanes.get_mut(lane_at)?;
        let standing = lane.standing();
        let line = lane.line_mut(class);
        line.round = None;
        let place = next_in_line(self.waiting.get(class.index())?, lane_at, line.last_sender)?;
        self.leave_line(place);
        self.last_number += 1;
        let number = self.last_number;
        let entry = self.deliveries.get_mut(place)?;
        let kind = Kind {
            tried: entry.tried,
            standing,
        };
        entry.stage = Stage::InProgress(kind, Pace::Quick);
        entry.number = number;
        entry.due_at = Seconds::NEVER;
        let (key, sender) = (entry.key, entry.sender);
        self.places.start(kind);
        self.young.push_back((monotonic, place, number));
        let lane = self.lanes.get_mut(lane_at)?;
        lane.line_mut(class).last_sender = sender;
        lane.in_progress += 1;
        self.line_up(lane_at);
        Some(key)
    }

    /// The hosts have spoken: the next one may go to them while this one is recorded.
    ///
    /// `chance` is a random number from 0 to 1.
    pub fn ended(&mut self, key: K, ended: Ended<'_>, chance: f64) {
        let Some((_, entry)) = self.entry_mut(key) else {
            return;
        };
        let Stage::InProgress(kind, pace) = entry.stage else {
            return;
        };
        entry.stage = Stage::Recording;
        let lane_at = entry.lane;
        self.places.end(kind, pace);
        if let Some(lane) = self.lanes.get_mut(lane_at) {
            lane.in_progress = lane.in_progress.saturating_sub(1);
            lane.answered(&ended, self.told, self.places.bounds(), chance);
        }
        self.set_lane_timer(lane_at);
        self.line_up(lane_at);
    }

    /// What came of an attempt is on disk.
    pub fn recorded(&mut self, key: K, recorded: Recorded) {
        self.ended(key, Ended::NOBODY_ASKED, 0.0);
        let Some((place, entry)) = self.entry_mut(key) else {
            return;
        };
        if entry.stage != Stage::Recording {
            return;
        }
        let asked_for = entry.due_at;
        let times = match recorded {
            // It is asked for again: whether it is gone is for the disk to say.
            Recorded::Gone if asked_for != Seconds::NEVER => Times {
                due_at: asked_for.into(),
                deadline: entry.deadline.into(),
            },
            Recorded::Gone => return self.forget(place),
            Recorded::Again(times) => {
                entry.tried = Tried::Before;
                times
            }
            Recorded::Untouched(due_at) => Times {
                due_at,
                deadline: entry.deadline.into(),
            },
        };
        let due_at = times.due_at.min(asked_for.into());
        self.schedule(place, Times { due_at, ..times });
    }

    /// Somebody wants a delivery to be due at a time, and its lane to let one through.
    pub fn hurry(&mut self, key: K, due_at: UnixTime) -> Known {
        let Some((place, entry)) = self.entry_mut(key) else {
            return Known::No;
        };
        let (lane_at, stage) = (entry.lane, entry.stage);
        let deadline = entry.deadline.into();
        match stage {
            Stage::Deferred => self.schedule(place, Times { due_at, deadline }),
            Stage::Waiting(_) => {}
            Stage::InProgress(..) | Stage::Recording => entry.due_at = due_at.into(),
        }
        if let Some(lane) = self.lanes.get_mut(lane_at) {
            lane.reopen_at_once();
        }
        self.set_lane_timer(lane_at);
        self.line_up(lane_at);
        Known::Yes
    }

    /// Somebody wants a delivery not to be tried. One that is in progress goes on; what was recorded
    /// then says what becomes of it.
    pub fn withdraw(&mut self, key: K) -> Known {
        let Some((place, entry)) = self.entry_mut(key) else {
            return Known::No;
        };
        match entry.stage {
            Stage::Deferred | Stage::Waiting(_) => self.forget(place),
            Stage::InProgress(..) | Stage::Recording => entry.due_at = Seconds::NEVER,
        }
        Known::Yes
    }

    /// When the next delivery or lane is due.
    #[must_use]
    pub fn due_at(&self) -> Option<UnixTime> {
        [
            self.due.first(),
            self.deadlines.first(),
            self.lane_timers.first(),
        ]
        .into_iter()
        .flatten()
        .map(|(at, _)| UnixTime::from(*at))
        .min()
    }

    /// When an attempt becomes slow next.
    #[must_use]
    pub fn slow_at(&self) -> Option<Instant> {
        let (since, _, _) = self.young.front()?;
        since.checked_add(self.places.bounds().slow_after)
    }

    /// Whether deliveries are due that only wait for a place.
    #[must_use]
    pub fn is_short_of_places(&self) -> bool {
        self.turns.iter().any(|turns| !turns.is_empty())
    }

    /// Where a delivery goes.
    #[must_use]
    pub fn next_hop(&self, key: K) -> Option<&Arc<MailDomain>> {
        self.lane_of(key).map(|lane| &lane.name)
    }

    /// What is known about the hosts that a delivery goes to.
    #[must_use]
    pub fn standing(&self, key: K) -> Option<Standing> {
        self.lane_of(key).map(Lane::standing)
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            deliveries: self.deliveries.len(),
            deferred: self.due.len(),
            waiting: self.waiting.iter().map(BTreeMap::len).sum(),
            in_progress: self.places.in_progress(),
            in_progress_slowly: self.places.in_progress_slowly(),
            lanes: self.lanes.len(),
        }
    }

    /// One lane, if anything is known about it.
    #[must_use]
    pub fn lane(&self, next_hop: &MailDomain) -> Option<LaneView> {
        let lane = self.by_name.get(next_hop)?;
        self.lanes.get(*lane).map(LaneView::of)
    }

    /// The lanes with the most deliveries, at most so many.
    #[must_use]
    pub fn longest_lanes(&self, lanes_max: usize) -> Vec<LaneView> {
        // Who only counts asks often, and there may be a hundred thousand.
        if lanes_max == 0 {
            return Vec::new();
        }
        let mut longest: BTreeSet<(u32, &Arc<MailDomain>)> = BTreeSet::new();
        for lane in self.lanes.iter() {
            longest.insert((lane.members, &lane.name));
            if longest.len() > lanes_max {
                longest.pop_first();
            }
        }
        let longest = longest.into_iter().rev();
        longest.filter_map(|(_, name)| self.lane(name)).collect()
    }

    /// Puts a delivery that does nothing where it belongs. What would wait for longer than any delivery
    /// does was put off by a clock that ran ahead, and is due.
    fn schedule(&mut self, place: u32, times: Times) {
        self.leave(place);
        let latest = self.latest();
        let Some(entry) = self.deliveries.get_mut(place) else {
            return;
        };
        entry.due_at = times.due_at.into();
        entry.deadline = times.deadline.into();
        entry.stage = Stage::Deferred;
        if entry.due_at > self.told && entry.due_at <= latest {
            self.due.insert((entry.due_at, place));
        } else {
            self.fall_due(place);
        }
    }

    /// Lets a delivery wait for its turn, as its time has come.
    fn fall_due(&mut self, place: u32) {
        let Some(entry) = self.deliveries.get(place) else {
            return;
        };
        let class = match entry.tried {
            _ if entry.deadline <= self.told => Class::Overdue,
            Tried::Never => Class::Fresh,
            Tried::Before => Class::Retry,
        };
        self.join_line(place, class);
    }

    /// Puts a delivery at the end of its line.
    fn join_line(&mut self, place: u32, class: Class) {
        let Some(entry) = self.deliveries.get_mut(place) else {
            return;
        };
        self.last_number += 1;
        entry.number = self.last_number;
        entry.stage = Stage::Waiting(class);
        if let Some(waiting) = self.waiting.get_mut(class.index()) {
            waiting.insert(entry.in_line(), place);
        }
        if class != Class::Overdue {
            self.deadlines.insert((entry.deadline, place));
        }
        let (lane_at, sender) = (entry.lane, entry.sender);
        if let Some(lane) = self.lanes.get_mut(lane_at) {
            let line = lane.line_mut(class);
            line.waiting += 1;
            // Who comes to a lane that stands far behind, for somebody else, does not wait for that.
            if let Some((standing, round)) = &mut line.round
                && let Some(turns) = self.turns.get_mut(turns_at(class, *standing))
            {
                *round = turns.advance(lane_at, *round, sender);
            }
        }
        self.line_up(lane_at);
    }

    /// Takes a delivery out of its line, if it stands in one.
    fn leave_line(&mut self, place: u32) {
        let Some(entry) = self.deliveries.get(place) else {
            return;
        };
        let Stage::Waiting(class) = entry.stage else {
            return;
        };
        if let Some(waiting) = self.waiting.get_mut(class.index()) {
            waiting.remove(&entry.in_line());
        }
        self.deadlines.remove(&(entry.deadline, place));
        let lane_at = entry.lane;
        if let Some(lane) = self.lanes.get_mut(lane_at) {
            let line = lane.line_mut(class);
            line.waiting = line.waiting.saturating_sub(1);
        }
    }

    /// Takes a delivery out of wherever it waits.
    fn leave(&mut self, place: u32) {
        self.leave_line(place);
        if let Some(entry) = self.deliveries.get(place) {
            self.due.remove(&(entry.due_at, place));
            let lane_at = entry.lane;
            self.line_up(lane_at);
        }
    }

    /// Takes a delivery out for good.
    fn forget(&mut self, place: u32) {
        self.leave(place);
        if let Some(entry) = self.deliveries.remove(place) {
            self.by_key.remove(&entry.key);
            self.change_members(entry.lane, |members| members.saturating_sub(1));
        }
    }

    /// The delivery of this name, to be changed.
    fn entry_mut(&mut self, key: K) -> Option<(u32, &mut Entry<K>)> {
        let place = *self.by_key.get(&key)?;
        Some((place, self.deliveries.get_mut(place)?))
    }

    /// Corrects what was put off by a clock that ran ahead.
    fn clock_was_set_back(&mut self) {
        let latest = self.latest();
        while let Some((at, place)) = self.due.last().copied()
            && at > latest
        {
            self.due.remove(&(at, place));
            self.fall_due(place);
        }
        let timers: Vec<(Seconds, u32)> = self.lane_timers.iter().copied().collect();
        for (_, lane) in timers {
            self.look_at_lane(lane);
        }
    }

    /// The latest time to which anything may have been put off.
    fn latest(&self) -> Seconds {
        self.told.after(self.wait_max.saturating_add(CLOCK_STEP))
    }

    /// Counts attempts as slow that have been in progress for long.
    fn slow_down(&mut self, now: Instant) {
        let slow_after = self.places.bounds().slow_after;
        while let Some((since, place, number)) = self.young.front().copied()
            && now.saturating_duration_since(since) >= slow_after
        {
            self.young.pop_front();
            if let Some(entry) = self.deliveries.get_mut(place)
                && entry.number == number
                && let Stage::InProgress(kind, Pace::Quick) = entry.stage
            {
                entry.stage = Stage::InProgress(kind, Pace::Slow);
                self.places.slow_down(kind);
            }
        }
    }

    /// The class and the lane whose turn it is among those for which there is room.
    fn next_turn(&mut self) -> Option<(Class, u32)> {
        for ahead in 0..ROTA.len() {
            let turn = self.turns_given.wrapping_add(ahead);
            let kinds = ROTA.get(turn % ROTA.len())?;
            for skipped in 0..kinds.len() {
                let at = (turn / ROTA.len() + skipped) % kinds.len();
                let (class, standing) = *kinds.get(at)?;
                let tried = class.tried();
                if !self.places.has_room_for(Kind { tried, standing }) {
                    continue;
                }
                if let Some(lane) = self.turns.get_mut(turns_at(class, standing))?.next() {
                    self.turns_given = turn.wrapping_add(1);
                    return Some((class, lane));
                }
            }
        }
        None
    }

    /// Lets a lane stand in line for each class of which it may start something, and for no other.
    fn line_up(&mut self, lane_at: u32) {
        let window_max = self.places.bounds().attempts_per_lane_max;
        let Some(lane) = self.lanes.get_mut(lane_at) else {
            return;
        };
        for class in Class::ALL {
            let wanted = lane.may_start(class, window_max).then(|| lane.standing());
            let line = lane.line_mut(class);
            if line.round.map(|(standing, _)| standing) == wanted {
                continue;
            }
            if let Some((standing, round)) = line.round.take()
                && let Some(turns) = self.turns.get_mut(turns_at(class, standing))
            {
                turns.leave(lane_at, round);
            }
            if let Some(standing) = wanted
                && let Some(waiting) = self.waiting.get(class.index())
                && let Some(next) = next_in_line(waiting, lane_at, line.last_sender)
                && let Some(next) = self.deliveries.get(next)
                && let Some(turns) = self.turns.get_mut(turns_at(class, standing))
            {
                line.round = Some((standing, turns.join(lane_at, next.sender)));
            }
        }
    }

    /// The lane of a delivery.
    fn lane_of(&self, key: K) -> Option<&Lane> {
        let entry = self.deliveries.get(*self.by_key.get(&key)?)?;
        self.lanes.get(entry.lane)
    }

    /// The lane of this name, made if there is none.
    fn lane_named(&mut self, name: &MailDomain) -> Option<u32> {
        if let Some(lane) = self.by_name.get(name) {
            return Some(*lane);
        }
        let name = Arc::new(name.clone());
        let window_max = self.places.bounds().attempts_per_lane_max;
        let lane = self
            .lanes
            .insert(Lane::new(Arc::clone(&name), window_max))?;
        self.by_name.insert(name, lane);
        self.idle_lanes += 1;
        Some(lane)
    }

    /// Takes note that deliveries have come to a lane or left it.
    fn change_members(&mut self, lane_at: u32, change: impl FnOnce(u32) -> u32) {
        let Some(lane) = self.lanes.get_mut(lane_at) else {
            return;
        };
        let was_idle = lane.is_idle();
        lane.members = change(lane.members);
        match (was_idle, lane.is_idle()) {
            (true, false) => self.idle_lanes -= 1,
            (false, true) => {
                self.idle_lanes += 1;
                if self.idle_lanes > IDLE_LANES_MAX {
                    return self.forget_lane(lane_at);
                }
            }
            (true, true) | (false, false) => return,
        }
        self.set_lane_timer(lane_at);
    }

    /// Sets the time at which a lane is to be looked at.
    fn set_lane_timer(&mut self, lane_at: u32) {
        let Some(lane) = self.lanes.get_mut(lane_at) else {
            return;
        };
        let idle = lane.is_idle().then(|| self.told.after(IDLE_LANE_KEPT));
        let timer = lane.closed_until().or(idle);
        if lane.timer == timer {
            return;
        }
        if let Some(at) = mem::replace(&mut lane.timer, timer) {
            self.lane_timers.remove(&(at, lane_at));
        }
        if let Some(at) = timer {
            self.lane_timers.insert((at, lane_at));
        }
    }

    /// Opens a lane that was closed for long enough, and forgets one that was idle for long enough.
    fn look_at_lane(&mut self, lane_at: u32) {
        let Some(lane) = self.lanes.get_mut(lane_at) else {
            return;
        };
        let was_closed = lane.closed_until().is_some();
        lane.reopen(self.told);
        if lane.is_idle() && !was_closed {
            return self.forget_lane(lane_at);
        }
        self.set_lane_timer(lane_at);
        self.line_up(lane_at);
    }

    /// Forgets a lane without deliveries.
    fn forget_lane(&mut self, lane_at: u32) {
        if let Some(lane) = self.lanes.remove(lane_at) {
            self.by_name.remove(&lane.name);
            self.idle_lanes -= 1;
            if let Some(at) = lane.timer {
                self.lane_timers.remove(&(at, lane_at));
            }
        }
    }
}

impl<K> Entry<K> {
    /// Its place in line.
    fn in_line(&self) -> InLine {
        InLine {
            lane: self.lane,
            sender: self.sender,
            number: self.number,
        }
    }
}

impl LaneView {
    /// What can be seen of a lane.
    fn of(lane: &Lane) -> Self {
        Self {
            next_hop: Arc::clone(&lane.name),
            deliveries: lane.members,
            due: Class::ALL
                .map(|class| lane.line(class).waiting)
                .iter()
                .sum(),
            in_progress: lane.in_progress,
            window: lane.window(),
            standing: lane.standing(),
            closed_until: lane.closed_until().map(UnixTime::from),
            trouble: lane.trouble().map(str::to_owned),
            attempt_time: lane.attempt_time(),
        }
    }
}

/// The first delivery in the line of a lane, of the sender behind the one whose turn was last.
fn next_in_line(waiting: &BTreeMap<InLine, u32>, lane: u32, last_sender: u32) -> Option<u32> {
    let from = |sender, number| InLine {
        lane,
        sender,
        number,
    };
    let end = from(u32::MAX, u64::MAX);
    let behind = waiting.range(from(last_sender, u64::MAX)..=end).next();
    let next = behind.or_else(|| waiting.range(from(0, 0)..=end).next())?;
    Some(*next.1)
}

/// Where the lanes of a class and a standing stand in line.
fn turns_at(class: Class, standing: Standing) -> usize {
    let row = match standing {
        Standing::Proven => 0,
        Standing::Doubtful => Class::ALL.len(),
    };
    row + class.index()
}

/// Who starts, in turns; of those that share a turn, another one comes first each time.
///
/// Fresh mail for hosts that answer has most turns, and one of four is for what was tried before.
/// Whoever has nothing to start leaves the turn to the next.
const ROTA: [&[(Class, Standing)]; 4] = [
    &[(Class::Fresh, Standing::Proven)],
    &[(Class::Fresh, Standing::Doubtful)],
    &[(Class::Fresh, Standing::Proven)],
    &[
        (Class::Retry, Standing::Proven),
        (Class::Retry, Standing::Doubtful),
        (Class::Overdue, Standing::Proven),
        (Class::Overdue, Standing::Doubtful),
    ],
];

/// How far the clock may be from what was told last: whoever puts off a delivery looks at it himself.
const CLOCK_STEP: Duration = Duration::from_secs(60);

/// How long a lane without mail is remembered: with its window it needs no slow start for the next.
const IDLE_LANE_KEPT: Duration = Duration::from_secs(10 * 60);

/// How many lanes without mail are remembered; some 300 octets each.
const IDLE_LANES_MAX: usize = 20_000;
