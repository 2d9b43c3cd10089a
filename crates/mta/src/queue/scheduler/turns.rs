//! Whose turn it is among lanes, such that a sender with many of them gets no more than one with few.

use std::collections::BTreeSet;
use std::collections::HashMap;

/// Lanes that may start a delivery, in the order in which they may.
///
/// This is start-time fair queueing: each lane stands in a round, and rounds are served one after the
/// other. A sender's lanes stand in rounds of their own, one behind the other, so that whoever has
/// mail for one lane stands in the round that is served next, however many lanes others have filled.
#[derive(Debug)]
pub(super) struct Turns {
    /// Round and lane.
    order: BTreeSet<(u64, u32)>,
    /// The round that is being served.
    round: u64,
    /// The last round in which a sender stands, of those that still count.
    last_rounds: HashMap<u32, u64>,
    /// How many rounds of senders are kept before those that have been served are dropped.
    sweep_at: usize,
}

impl Turns {
    /// Nobody.
    pub(super) fn new() -> Self {
        Self {
            order: BTreeSet::new(),
            round: 0,
            last_rounds: HashMap::new(),
            sweep_at: SWEEP_AT_MIN,
        }
    }

    /// Lets a lane stand in line on behalf of a sender; gives the round.
    pub(super) fn join(&mut self, lane: u32, sender: u32) -> u64 {
        let round = self.round_for(sender);
        self.last_rounds.insert(sender, round);
        self.order.insert((round, lane));
        if self.last_rounds.len() >= self.sweep_at {
            let served = self.round;
            self.last_rounds.retain(|_, last| *last > served);
            self.sweep_at = SWEEP_AT_MIN.max(self.last_rounds.len() * 2);
        }
        round
    }

    /// Moves a lane forward if it would stand there on behalf of this sender; gives the round.
    pub(super) fn advance(&mut self, lane: u32, round: u64, sender: u32) -> u64 {
        if self.round_for(sender) >= round {
            return round;
        }
        self.leave(lane, round);
        self.join(lane, sender)
    }

    /// The next round in which a sender may stand.
    fn round_for(&self, sender: u32) -> u64 {
        let last = self.last_rounds.get(&sender).copied().unwrap_or_default();
        last.max(self.round) + 1
    }

    /// Takes a lane out of the line.
    pub(super) fn leave(&mut self, lane: u32, round: u64) {
        self.order.remove(&(round, lane));
    }

    /// Whether no lane stands in line.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Takes out the lane whose turn it is.
    pub(super) fn next(&mut self) -> Option<u32> {
        let (round, lane) = self.order.pop_first()?;
        self.round = round;
        Some(lane)
    }
}

/// Fewer rounds than these are not worth a look.
const SWEEP_AT_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns_however_many_lanes_they_have() {
        let mut turns = Turns::new();
        for lane in 0..100 {
            turns.join(lane, 1);
        }
        assert_eq!(turns.next(), Some(0));
        turns.join(100, 2);
        turns.join(101, 2);
        turns.join(102, 3);
        let next: Vec<u32> = std::iter::from_fn(|| turns.next()).take(6).collect();
        assert_eq!(next, [1, 100, 102, 2, 101, 3]);
    }

    #[test]
    fn a_lane_moves_forward_on_behalf_of_whoever_waits_less() {
        let mut turns = Turns::new();
        for lane in 0..10 {
            turns.join(lane, 1);
        }
        let round = turns.join(10, 1);
        assert_eq!(turns.advance(10, round, 1), round);
        assert_eq!(turns.advance(10, round, 2), 1);
        let next: Vec<u32> = std::iter::from_fn(|| turns.next()).take(3).collect();
        assert_eq!(next, [0, 10, 1]);
    }

    #[test]
    fn who_leaves_the_line_is_not_called() {
        let mut turns = Turns::new();
        let round = turns.join(1, 1);
        turns.join(2, 2);
        turns.leave(1, round);
        assert_eq!(turns.next(), Some(2));
        assert_eq!(turns.next(), None);
    }

    #[test]
    fn rounds_that_were_served_are_forgotten() {
        let mut turns = Turns::new();
        for sender in 0..100_000 {
            turns.join(1, sender);
            assert_eq!(turns.next(), Some(1));
        }
        assert!(turns.last_rounds.len() <= SWEEP_AT_MIN);
    }
}
