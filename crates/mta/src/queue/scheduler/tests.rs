//! What the scheduler starts, and in which order.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prop_oneof;
use proptest::proptest;

use super::*;

#[test]
fn fresh_mail_goes_in_the_order_of_its_arrival() {
    let mut world = World::new(bounds(10, 10));
    world.answer_all("one");
    for key in [3, 1, 2] {
        world.add(key, "one", 1, Tried::Never, 0);
    }
    assert_eq!(world.start(), [3, 1, 2]);
}

#[test]
fn nothing_starts_before_its_time() {
    let mut world = World::new(bounds(10, 10));
    world.add(1, "one", 1, Tried::Before, 60);
    world.add(2, "two", 1, Tried::Before, 61);
    assert_eq!(world.scheduler.due_at(), Some(START + seconds(60)));
    check_starts(&mut world, &[(59, &[]), (1, &[1]), (1, &[2])]);
}

#[test]
fn a_clock_that_is_set_back_puts_nothing_off() {
    let mut world = World::new(bounds(10, 10));
    world.add(1, "one", 1, Tried::Before, 3_600);
    world.add(2, "two", 1, Tried::Before, 60);
    world.time = UnixTime(START.0 - 3_000);
    assert!(world.start().is_empty());
    world.time = UnixTime(START.0 - 3_700);
    assert_eq!(world.start(), [1]);
}

/// A time that was reckoned before the clock was set back comes in behind it.
#[test]
fn nothing_waits_for_longer_than_any_delivery_does() {
    let mut world = World::new(bounds(10, 10));
    // Whoever reckoned may have looked at the clock a little later.
    world.add(1, "one", 1, Tried::Before, WAIT_MAX.as_secs() + 5);
    world.add(2, "two", 1, Tried::Before, WAIT_MAX.as_secs() + 600);
    assert_eq!(world.start(), [2]);
    world.end(2, Answer::Answered, Recorded::Again(world.times(86_400)));
    assert_eq!(world.start(), [2]);
}

#[test]
fn in_a_lane_senders_take_turns() {
    let mut world = World::new(bounds(10, 1));
    world.answer_all("slow");
    for key in 0..100 {
        world.add(key, "slow", 1, Tried::Never, 0);
    }
    assert_eq!(world.start(), [0]);
    for (key, sender) in [(100, 2), (101, 3), (102, 2)] {
        world.add(key, "slow", sender, Tried::Never, 0);
    }
    let started: Vec<u32> = (0..6).map(|_| world.end_and_start_one()).collect();
    assert_eq!(started, [100, 101, 1, 102, 2, 3]);
}

#[test]
fn a_mailing_to_one_slow_domain_delays_nobody_else_by_more_than_one_turn() {
    for tried in [Tried::Never, Tried::Before] {
        let mut world = World::new(bounds(10, 2));
        world.answer_all("slow");
        for key in 0..100_000 {
            world.add(key, "slow", 1, tried, 0);
        }
        assert_eq!(world.start().len(), 2, "{tried:?}");
        // Somebody else, to the same domain: after whoever is being served.
        world.add(200_000, "slow", 2, tried, 0);
        assert_eq!(world.end_and_start_one(), 200_000, "{tried:?}");
        // To any other domain: at once.
        world.add(200_001, "quick", 1, tried, 0);
        world.add(200_002, "quiet", 2, tried, 0);
        assert_eq!(world.start(), [200_001, 200_002], "{tried:?}");
    }
}

#[test]
fn a_mailing_to_many_domains_delays_nobody_else_by_more_than_one_turn() {
    let mut world = World::new(bounds(4, 2));
    for key in 0..10_000 {
        world.add(key, &format!("domain{key}"), 1, Tried::Never, 0);
    }
    assert_eq!(world.start().len(), 3);
    world.add(20_000, "other", 2, Tried::Never, 0);
    // One of the mailing's domains may be ahead in the same round.
    let next = [world.end_and_start_one(), world.end_and_start_one()];
    assert!(next.contains(&20_000), "{next:?}");
    // Also to a domain that the mailing has filled.
    world.add(20_001, "domain9999", 2, Tried::Never, 0);
    let next: Vec<u32> = (0..4).map(|_| world.end_and_start_one()).collect();
    assert!(next.contains(&20_001), "{next:?}");
}

#[test]
fn neither_fresh_mail_nor_retries_starve() {
    // (standing, of 400 starts, at least so many of fresh mail and of retries)
    check_shares(Standing::Proven, 200, 100);
    check_shares(Standing::Doubtful, 200, 100);
}

#[test]
fn silent_domains_leave_room_for_the_living() {
    let mut world = World::new(bounds(20, 2));
    let silent: Vec<String> = (0..1_000).map(|number| format!("silent{number}")).collect();
    for name in ["a", "b", "c"] {
        world.answer_all(name);
    }
    for (key, name) in (0..).zip(&silent) {
        world.add(key, name, 1, Tried::Never, 0);
    }
    assert_eq!(world.start().len(), 15);
    world.pass(seconds(1));
    // Who is slow makes room for others, up to a bound; of the slow, too, these are three of four.
    for started in [15, 15, 15, 15, 0] {
        assert_eq!(world.start().len(), started);
        world.pass(seconds(1));
    }
    for (key, name) in (5_000..).zip(["a", "b", "c", "a", "b"]) {
        world.add(key, name, 1, Tried::Never, 0);
    }
    assert_eq!(world.start().len(), 5);
}

#[test]
fn a_closed_lane_keeps_its_mail_and_lets_one_through_at_a_time() {
    let mut world = World::new(bounds(10, 5));
    for key in 0..4 {
        world.add(key, "silent", 1, Tried::Never, 0);
    }
    assert_eq!(world.start(), [0, 1]);
    world.end(0, Answer::Silent, Recorded::Again(world.times(300)));
    world.end(1, Answer::Silent, Recorded::Again(world.times(300)));
    let lane = world.view("silent");
    assert_eq!(lane.closed_until, Some(START + seconds(60)));
    assert_eq!((lane.deliveries, lane.due), (4, 2));
    assert_eq!(lane.trouble.as_deref(), Some("no answer"));
    check_starts(&mut world, &[(59, &[]), (1, &[2]), (1, &[])]);
    world.end(2, Answer::Silent, Recorded::Again(world.times(300)));
    check_starts(&mut world, &[(119, &[]), (1, &[3])]);
    world.end(3, Answer::Answered, Recorded::Gone);
    // The others were deferred, and are due by then.
    check_starts(&mut world, &[(200, &[0, 1])]);
}

#[test]
fn what_can_wait_no_longer_goes_through_a_closed_lane() {
    let mut world = World::new(bounds(10, 5));
    for key in 0..4 {
        world.add(key, "silent", 1, Tried::Never, 0);
    }
    world.start();
    let short = Times {
        deadline: START + seconds(30),
        ..world.times(10)
    };
    world.end(0, Answer::Silent, Recorded::Again(short));
    check_starts(&mut world, &[(29, &[]), (1, &[0]), (1, &[])]);
}

#[test]
fn operators_have_the_last_word() {
    let mut world = World::new(bounds(10, 1));
    world.add(1, "one", 1, Tried::Before, 3_600);
    world.add(2, "one", 1, Tried::Before, 0);
    world.add(3, "one", 1, Tried::Before, 0);
    assert_eq!(world.start(), [2]);
    // Held or removed: whether it waits or not.
    world.scheduler.withdraw(3);
    world.end(2, Answer::Silent, Recorded::Again(world.times(3_600)));
    assert!(world.start().is_empty());
    world.scheduler.withdraw(2);
    assert_eq!(world.scheduler.counts().deliveries, 1);
    // Retried: at once, although the lane is closed.
    assert_eq!(world.scheduler.hurry(1, world.time), Known::Yes);
    assert_eq!(world.scheduler.hurry(2, world.time), Known::No);
    assert_eq!(world.start(), [1]);
    // While it is tried: again, as soon as that has ended; even if it was held in between.
    assert_eq!(world.scheduler.hurry(1, world.time), Known::Yes);
    world.end(1, Answer::Answered, Recorded::Again(world.times(3_600)));
    assert_eq!(world.start(), [1]);
    assert_eq!(world.scheduler.hurry(1, world.time), Known::Yes);
    world.end(1, Answer::Answered, Recorded::Gone);
    assert_eq!(world.start(), [1]);
    assert_eq!(world.scheduler.hurry(1, world.time), Known::Yes);
    world.scheduler.withdraw(1);
    world.end(1, Answer::Answered, Recorded::Gone);
    assert_eq!(world.scheduler.counts().deliveries, 0);
}

#[test]
fn what_was_not_tried_after_all_is_as_it_was() {
    let mut world = World::new(bounds(10, 5));
    world.add(1, "one", 1, Tried::Never, 0);
    assert_eq!(world.start(), [1]);
    world.in_progress.clear();
    world
        .scheduler
        .recorded(1, Recorded::Untouched(START + seconds(1)));
    assert_eq!(world.scheduler.counts().in_progress, 0);
    check_starts(&mut world, &[(0, &[]), (1, &[1])]);
    assert_eq!(world.view("one").window, 2);
}

#[test]
fn lanes_without_mail_are_forgotten_after_a_while() {
    let mut world = World::new(bounds(10, 5));
    world.answer_all("one");
    assert_eq!(world.view("one").standing, Standing::Proven);
    world.pass(IDLE_LANE_KEPT);
    world.start();
    assert_eq!(world.scheduler.lane(&name("one")), None);
    for number in 0..IDLE_LANES_MAX + 10 {
        world.answer_all(&format!("domain{number}"));
    }
    assert_eq!(world.scheduler.counts().lanes, IDLE_LANES_MAX);
}

/// What happens to a scheduler.
#[derive(Clone, Debug)]
enum Event {
    Add {
        lane: u8,
        sender: u32,
        tried: Tried,
        due_in: u64,
        deadline_in: u64,
    },
    Start,
    End {
        which: usize,
        answer: Answer,
    },
    Record {
        which: usize,
        recorded: u8,
        due_in: u64,
    },
    Hurry {
        which: usize,
    },
    Withdraw {
        which: usize,
    },
    Pass {
        seconds: u64,
    },
    SetBack {
        seconds: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let answer = prop_oneof![
        3 => Just(Answer::Answered),
        1 => Just(Answer::Busy),
        2 => Just(Answer::Silent),
        1 => Just(Answer::NotAsked),
        1 => Just(Answer::NoRoom),
    ];
    let tried = prop_oneof![Just(Tried::Never), Just(Tried::Before)];
    prop_oneof![
        6 => (0..6_u8, 0..4_u32, tried, 0..400_u64, 0..2_000_u64).prop_map(
            |(lane, sender, tried, due_in, deadline_in)| Event::Add {
                lane,
                sender,
                tried,
                due_in: due_in.saturating_sub(200),
                deadline_in,
            }
        ),
        6 => Just(Event::Start),
        5 => (0..100_usize, answer).prop_map(|(which, answer)| Event::End { which, answer }),
        5 => (0..100_usize, 0..4_u8, 0..400_u64).prop_map(
            |(which, recorded, due_in)| Event::Record { which, recorded, due_in }
        ),
        1 => (0..100_usize).prop_map(|which| Event::Hurry { which }),
        1 => (0..100_usize).prop_map(|which| Event::Withdraw { which }),
        3 => (0..600_u64).prop_map(|seconds| Event::Pass { seconds }),
        1 => (0..9_000_u64).prop_map(|seconds| Event::SetBack { seconds }),
    ]
}

proptest! {
    /// Whatever happens, no delivery is lost or started twice, never more is in progress than the
    /// bounds allow, and whatever may start does; in the end, everything comes to its turn.
    #[test]
    fn the_laws_hold(events in vec(event(), 1..300)) {
        let mut world = World::new(bounds(6, 3));
        let mut added = 0;
        for event in events {
            world.happen(&event, &mut added);
            world.assert_laws();
        }
        world.drain();
    }
}

/// A scheduler, its clock, and what is known about its deliveries.
struct World {
    scheduler: Scheduler<u32>,
    time: UnixTime,
    monotonic: Instant,
    in_progress: Vec<u32>,
    recording: Vec<u32>,
    /// Deliveries that exist, in no matter which state.
    known: BTreeSet<u32>,
    bounds: Bounds,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(bounds, WAIT_MAX),
            time: START,
            monotonic: some_instant(),
            in_progress: Vec::new(),
            recording: Vec::new(),
            known: BTreeSet::new(),
            bounds,
        };
        world.scheduler.advance(world.now());
        world
    }

    fn now(&self) -> Now {
        Now {
            time: self.time,
            monotonic: self.monotonic,
        }
    }

    fn times(&self, due_in: u64) -> Times {
        Times {
            due_at: self.time + seconds(due_in),
            deadline: self.time + seconds(100_000),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.time = self.time + time;
        self.monotonic += time;
    }

    fn add(&mut self, key: u32, lane: &str, sender: u32, tried: Tried, due_in: u64) {
        let times = self.times(due_in);
        self.add_with(key, lane, sender, tried, times);
    }

    fn add_with(&mut self, key: u32, lane: &str, sender: u32, tried: Tried, times: Times) {
        self.known.insert(key);
        self.scheduler.add(Delivery {
            key,
            next_hop: &name(lane),
            sender,
            tried,
            times,
        });
    }

    /// Lets a host of the lane answer, so that its window is as wide as can be.
    fn answer_all(&mut self, lane: &str) {
        for key in 1_000_000..1_000_000 + self.bounds.attempts_per_lane_max {
            self.add(key, lane, 99, Tried::Never, 0);
            assert_eq!(self.start(), [key]);
            self.end(key, Answer::Answered, Recorded::Gone);
        }
    }

    /// Starts everything that may start.
    fn start(&mut self) -> Vec<u32> {
        self.scheduler.advance(self.now());
        let mut started = Vec::new();
        while let Some(key) = self.scheduler.next(self.monotonic) {
            assert!(self.known.contains(&key), "{key} does not exist");
            assert!(
                !self.in_progress.contains(&key),
                "{key} has been started twice"
            );
            self.in_progress.push(key);
            started.push(key);
        }
        started
    }

    fn end(&mut self, key: u32, answer: Answer, recorded: Recorded) {
        self.finish(key, answer);
        self.record(key, recorded);
    }

    fn finish(&mut self, key: u32, answer: Answer) {
        self.in_progress.retain(|other| *other != key);
        self.recording.push(key);
        let trouble = (answer == Answer::Silent).then_some("no answer");
        let took = seconds(1);
        self.scheduler.ended(
            key,
            Ended {
                answer,
                trouble,
                took,
            },
            0.0,
        );
    }

    fn record(&mut self, key: u32, recorded: Recorded) {
        self.recording.retain(|other| *other != key);
        self.scheduler.recorded(key, recorded);
        if !self.scheduler.by_key.contains_key(&key) {
            self.known.remove(&key);
        }
    }

    /// Ends the attempt that began first, and starts the one delivery that may then start.
    #[track_caller]
    fn end_and_start_one(&mut self) -> u32 {
        let first = self.in_progress[0];
        self.end(first, Answer::Answered, Recorded::Gone);
        let started = self.start();
        assert_eq!(started.len(), 1, "{started:?}");
        started[0]
    }

    fn view(&self, lane: &str) -> LaneView {
        self.scheduler.lane(&name(lane)).unwrap()
    }

    fn happen(&mut self, event: &Event, added: &mut u32) {
        match *event {
            Event::Add {
                lane,
                sender,
                tried,
                due_in,
                deadline_in,
            } => {
                *added += 1;
                let times = Times {
                    deadline: self.time + seconds(deadline_in),
                    ..self.times(due_in)
                };
                self.add_with(*added, &format!("lane{lane}"), sender, tried, times);
            }
            Event::Start => drop(self.start()),
            Event::End { which, answer } => {
                if let Some(key) = pick(&self.in_progress, which) {
                    self.finish(key, answer);
                }
            }
            Event::Record {
                which,
                recorded,
                due_in,
            } => {
                if let Some(key) = pick(&self.recording, which) {
                    let times = self.times(due_in);
                    let recorded = match recorded {
                        0 | 1 => Recorded::Gone,
                        2 => Recorded::Again(times),
                        _ => Recorded::Untouched(times.due_at),
                    };
                    self.record(key, recorded);
                }
            }
            Event::Hurry { which } => {
                let known: Vec<u32> = self.known.iter().copied().collect();
                if let Some(key) = pick(&known, which) {
                    assert_eq!(self.scheduler.hurry(key, self.time), Known::Yes);
                }
            }
            Event::Withdraw { which } => {
                let known: Vec<u32> = self.known.iter().copied().collect();
                if let Some(key) = pick(&known, which) {
                    self.scheduler.withdraw(key);
                    if !self.in_progress.contains(&key) && !self.recording.contains(&key) {
                        self.known.remove(&key);
                    }
                }
            }
            Event::Pass { seconds: passed } => self.pass(seconds(passed)),
            Event::SetBack { seconds } => self.time = UnixTime(self.time.0 - seconds),
        }
    }

    /// What is true at any time.
    fn assert_laws(&self) {
        let scheduler = &self.scheduler;
        let keys: BTreeSet<u32> = scheduler.deliveries.iter().map(|entry| entry.key).collect();
        assert_eq!(keys, self.known, "a delivery is lost, or came from nowhere");
        assert_eq!(scheduler.by_key.len(), keys.len());

        let counts = scheduler.counts();
        assert_eq!(
            usize::try_from(counts.in_progress).unwrap(),
            self.in_progress.len()
        );
        let max = self.bounds.attempts_max + self.bounds.slow_attempts_max;
        assert!(counts.in_progress <= max);
        let busy = self.in_progress.len() + self.recording.len();
        assert_eq!(counts.deliveries, counts.deferred + counts.waiting + busy);

        let mut by_lane: BTreeMap<u32, u32> = BTreeMap::new();
        for entry in scheduler.deliveries.iter() {
            if matches!(entry.stage, Stage::InProgress(..)) {
                *by_lane.entry(entry.lane).or_default() += 1;
            }
        }
        for lane in by_lane.keys() {
            let lane_in_progress = scheduler.lanes.get(*lane).unwrap().in_progress;
            assert_eq!(by_lane.get(lane), Some(&lane_in_progress));
            assert!(lane_in_progress <= self.bounds.attempts_per_lane_max);
        }
        let at_deadlines = counts.waiting - scheduler.waiting[Class::Overdue.index()].len();
        assert_eq!(scheduler.deadlines.len(), at_deadlines);
    }

    /// Nothing that may start is left waiting.
    fn assert_all_started(&self) {
        let max = self.bounds.attempts_per_lane_max;
        for lane in self.scheduler.lanes.iter() {
            for class in Class::ALL {
                let (tried, standing) = (class.tried(), lane.standing());
                let has_room = self.scheduler.places.has_room_for(Kind { tried, standing });
                let may_start = lane.may_start(class, max) && has_room;
                assert!(!may_start, "{lane:?} was passed over");
            }
        }
    }

    /// Lets everything come to its end.
    fn drain(&mut self) {
        for _ in 0..2_000 {
            if self.scheduler.counts() == Counts::default() {
                return;
            }
            self.start();
            self.assert_laws();
            self.assert_all_started();
            for key in self.recording.clone() {
                self.record(key, Recorded::Gone);
            }
            for key in self.in_progress.clone() {
                self.end(key, Answer::Answered, Recorded::Gone);
            }
            self.pass(seconds(60));
        }
        panic!(
            "something never came to its turn: {:?}",
            self.scheduler.counts()
        );
    }
}

#[track_caller]
fn check_starts(world: &mut World, rows: &[(u64, &[u32])]) {
    for (passed, started) in rows {
        world.pass(seconds(*passed));
        assert_eq!(world.start(), *started, "after {passed} more seconds");
    }
}

/// Mail without end of both kinds, to lanes of one standing.
#[track_caller]
fn check_shares(standing: Standing, firsts_min: usize, retries_min: usize) {
    let mut world = World::new(bounds(4, 4));
    let (firsts, retries) = (0..1_000, 1_000..2_000);
    for key in firsts.clone().chain(retries) {
        let lane = match standing {
            Standing::Proven => format!("domain{}", key % 10),
            Standing::Doubtful => format!("domain{key}"),
        };
        let tried = if firsts.contains(&key) {
            Tried::Never
        } else {
            Tried::Before
        };
        world.add(key, &lane, 1, tried, 0);
    }
    let mut started = Vec::new();
    while started.len() < 400 {
        started.extend(world.start());
        let first = world.in_progress[0];
        world.end(first, Answer::Answered, Recorded::Gone);
    }
    let count = started.iter().filter(|key| firsts.contains(key)).count();
    assert!(count >= firsts_min, "{standing:?}: {count} firsts");
    assert!(
        started.len() - count >= retries_min,
        "{standing:?}: {count} firsts"
    );
}

fn pick(keys: &[u32], which: usize) -> Option<u32> {
    keys.get(which % keys.len().max(1)).copied()
}

fn bounds(attempts_max: u32, attempts_per_lane_max: u32) -> Bounds {
    Bounds {
        attempts_max,
        slow_attempts_max: attempts_max * 4,
        slow_after: seconds(1),
        attempts_per_lane_max,
        closed_min: seconds(60),
        closed_max: seconds(1_800),
    }
}

fn name(label: &str) -> MailDomain {
    format!("{label}.example").parse().unwrap()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn some_instant() -> Instant {
    use byrnie_net::clock::Clock;
    byrnie_net::clock::SystemClock.monotonic()
}

const START: UnixTime = UnixTime(1_800_000_000);

const WAIT_MAX: Duration = Duration::from_secs(7_200);
