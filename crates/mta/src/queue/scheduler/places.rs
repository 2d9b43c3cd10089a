//! How many attempts may be in progress at once.

use std::time::Duration;

/// Bounds for attempts in progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Attempts at once, slow ones not counted.
    pub attempts_max: u32,
    /// Slow attempts at once; those past it count as the others do.
    pub slow_attempts_max: u32,
    /// How long an attempt is in progress before it is slow.
    pub slow_after: Duration,
    /// Attempts at once for one next hop.
    pub attempts_per_lane_max: u32,
    /// How long a lane is closed at first when no host answers; each time for twice as long.
    pub closed_min: Duration,
    /// How long a lane is closed at most.
    pub closed_max: Duration,
}

/// Whether a delivery was tried before.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Tried {
    /// It was not: its attempt is the first.
    Never,
    /// It was.
    Before,
}

/// What is known about the hosts of a lane.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Standing {
    /// A host has answered, and none has fallen silent since.
    Proven,
    /// Nobody knows whether a host would answer.
    Doubtful,
}

/// What an attempt counts as.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Kind {
    /// Whether the delivery was tried before.
    pub(super) tried: Tried,
    /// What was known about its lane.
    pub(super) standing: Standing,
}

/// Attempts in progress, counted by kind and age.
///
/// Some places are out of reach for retries, and some for lanes of which nobody knows whether a host
/// answers: so the living never wait behind the dead, nor new mail behind old.
#[derive(Debug)]
pub(super) struct Places {
    bounds: Bounds,
    /// Those that are not slow yet.
    young: Counts,
    /// Those that are slow.
    slow: Counts,
}

/// Attempts by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    proven_firsts: u32,
    proven_retries: u32,
    doubtful_firsts: u32,
    doubtful_retries: u32,
}

impl Counts {
    /// How many there are of a kind, to be changed.
    fn of_kind(&mut self, kind: Kind) -> &mut u32 {
        match (kind.standing, kind.tried) {
            (Standing::Proven, Tried::Never) => &mut self.proven_firsts,
            (Standing::Proven, Tried::Before) => &mut self.proven_retries,
            (Standing::Doubtful, Tried::Never) => &mut self.doubtful_firsts,
            (Standing::Doubtful, Tried::Before) => &mut self.doubtful_retries,
        }
    }

    /// All.
    fn total(self) -> u32 {
        self.proven_firsts + self.retries() + self.doubtful_firsts
    }

    /// Those that are retries.
    fn retries(self) -> u32 {
        self.proven_retries + self.doubtful_retries
    }

    /// Those in lanes that nobody knows.
    fn doubtful(self) -> u32 {
        self.doubtful_firsts + self.doubtful_retries
    }
}

impl Places {
    /// None is taken.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            young: Counts::default(),
            slow: Counts::default(),
        }
    }

    /// From now on there are as many as these say.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The bounds.
    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Attempts in progress.
    pub(super) fn in_progress(&self) -> u32 {
        self.young.total() + self.slow.total()
    }

    /// Attempts in progress that are slow.
    pub(super) fn in_progress_slowly(&self) -> u32 {
        self.slow.total()
    }

    /// Whether an attempt of this kind may start.
    pub(super) fn has_room_for(&self, kind: Kind) -> bool {
        let taken = self.taken();
        let max = self.bounds.attempts_max;
        taken.total() < max
            && match kind.tried {
                Tried::Never => true,
                Tried::Before => taken.retries() < retries_max(max),
            }
            && match kind.standing {
                Standing::Proven => true,
                Standing::Doubtful => taken.doubtful() < doubtful_max(max),
            }
    }

    /// An attempt starts.
    pub(super) fn start(&mut self, kind: Kind) {
        *self.young.of_kind(kind) += 1;
    }

    /// An attempt has become slow.
    pub(super) fn slow_down(&mut self, kind: Kind) {
        self.end(kind, Pace::Quick);
        *self.slow.of_kind(kind) += 1;
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, kind: Kind, pace: Pace) {
        let counts = match pace {
            Pace::Quick => &mut self.young,
            Pace::Slow => &mut self.slow,
        };
        let count = counts.of_kind(kind);
        *count = count.saturating_sub(1);
    }

    /// What counts against the bound for attempts that are not slow: those, and the slow ones for
    /// which there is no place among the slow.
    fn taken(&self) -> Counts {
        let max = self.bounds.slow_attempts_max;
        let Counts {
            proven_firsts,
            proven_retries,
            doubtful_firsts,
            doubtful_retries,
        } = self.slow;
        let retries = doubtful_retries.min(retries_max(max));
        let firsts = doubtful_firsts.min(doubtful_max(max).saturating_sub(retries));
        let doubtful = retries + firsts;
        let known_retries = proven_retries
            .min(retries_max(max).saturating_sub(retries))
            .min(max.saturating_sub(doubtful));
        let known_firsts = proven_firsts.min(max.saturating_sub(doubtful + known_retries));
        Counts {
            proven_firsts: self.young.proven_firsts + proven_firsts - known_firsts,
            proven_retries: self.young.proven_retries + proven_retries - known_retries,
            doubtful_firsts: self.young.doubtful_firsts + doubtful_firsts - firsts,
            doubtful_retries: self.young.doubtful_retries + doubtful_retries - retries,
        }
    }
}

/// How an attempt gets on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pace {
    /// It has only begun.
    Quick,
    /// It takes long, mostly because a host does not answer; it costs little.
    Slow,
}

/// The places that retries may take: half.
fn retries_max(max: u32) -> u32 {
    max.div_ceil(2)
}

/// The places that lanes may take of which nobody knows whether a host answers: three of four.
fn doubtful_max(max: u32) -> u32 {
    max - max / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Kind = Kind {
        tried: Tried::Never,
        standing: Standing::Proven,
    };
    const RETRY: Kind = Kind {
        tried: Tried::Before,
        standing: Standing::Proven,
    };
    const DOUBTFUL_FIRST: Kind = Kind {
        tried: Tried::Never,
        standing: Standing::Doubtful,
    };
    const DOUBTFUL_RETRY: Kind = Kind {
        tried: Tried::Before,
        standing: Standing::Doubtful,
    };

    #[test]
    fn each_kind_has_places_that_others_cannot_take() {
        // (quick and slow bound, what starts as far as it can, how many of each have started)
        check(8, 0, &[FIRST, RETRY], &[8, 0]);
        check(8, 0, &[RETRY, FIRST], &[4, 4]);
        check(8, 0, &[DOUBTFUL_FIRST, FIRST], &[6, 2]);
        check(8, 0, &[DOUBTFUL_RETRY, DOUBTFUL_FIRST, FIRST], &[4, 2, 2]);
        check(8, 0, &[DOUBTFUL_RETRY, RETRY, FIRST], &[4, 0, 4]);
        check(1, 0, &[DOUBTFUL_RETRY, FIRST], &[1, 0]);
        check(3, 0, &[DOUBTFUL_FIRST, FIRST], &[3, 0]);
        check(0, 9, &[FIRST, RETRY, DOUBTFUL_FIRST], &[0, 0, 0]);
    }

    #[test]
    fn slow_ones_have_places_of_their_own() {
        check_slow(2, 8, FIRST, 10);
        check_slow(2, 8, RETRY, 5);
        check_slow(2, 8, DOUBTFUL_FIRST, 8);
        check_slow(2, 8, DOUBTFUL_RETRY, 5);
        check_slow(2, 3, DOUBTFUL_FIRST, 5);
        check_slow(100, 4_000, DOUBTFUL_FIRST, 3_075);
    }

    #[test]
    fn slow_doubtful_ones_leave_places_to_slow_proven_ones() {
        let mut places = filled(2, 8, DOUBTFUL_FIRST);
        assert!(!places.has_room_for(FIRST));
        places.end(DOUBTFUL_FIRST, Pace::Slow);
        let mut started = 0;
        while places.has_room_for(FIRST) {
            places.start(FIRST);
            places.slow_down(FIRST);
            started += 1;
        }
        assert_eq!(started, 3);
    }

    #[track_caller]
    fn check(attempts_max: u32, slow_attempts_max: u32, kinds: &[Kind], expected: &[u32]) {
        let mut places = Places::new(bounds(attempts_max, slow_attempts_max));
        let started: Vec<u32> = kinds
            .iter()
            .map(|kind| {
                let mut started = 0;
                while places.has_room_for(*kind) {
                    places.start(*kind);
                    started += 1;
                }
                started
            })
            .collect();
        assert_eq!(started, expected, "{kinds:?}");
    }

    #[track_caller]
    fn check_slow(attempts_max: u32, slow_attempts_max: u32, kind: Kind, expected: u32) {
        let places = filled(attempts_max, slow_attempts_max, kind);
        assert_eq!(places.in_progress(), expected, "{kind:?}");
    }

    fn filled(attempts_max: u32, slow_attempts_max: u32, kind: Kind) -> Places {
        let mut places = Places::new(bounds(attempts_max, slow_attempts_max));
        while places.has_room_for(kind) {
            places.start(kind);
            places.slow_down(kind);
        }
        places
    }

    fn bounds(attempts_max: u32, slow_attempts_max: u32) -> Bounds {
        Bounds {
            attempts_max,
            slow_attempts_max,
            slow_after: Duration::ZERO,
            attempts_per_lane_max: 1,
            closed_min: Duration::ZERO,
            closed_max: Duration::ZERO,
        }
    }
}
