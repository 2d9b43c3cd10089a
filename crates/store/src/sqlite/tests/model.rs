//! Any sequence of what people and daemon do, crashes included.

use std::collections::BTreeMap;

use proptest::prelude::Just;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prop_oneof;
use proptest::proptest;

use super::LATER;
use super::Outcome;
use super::TestSpool;
use super::end_of;
use super::everything;
use super::of;
use super::whole;
use crate::AttemptEnd;
use crate::Became;
use crate::Claim;
use crate::Claimed;
use crate::DeliveryState;
use crate::QueueId;
use crate::RecipientState;
use crate::Spool;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The spool does what the few lines of the model say, and nothing else.
    #[test]
    fn the_spool_does_what_the_model_does(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(play(&steps));
    }
}

/// As many messages come as go, in one transaction; others are there all the same.
#[tokio::test]
async fn the_oldest_message_is_known_when_its_bounce_takes_its_place() {
    let delivered = RecipientState::Delivered;
    play(&[
        Step::Accept,
        Step::Claim(0),
        Step::Claim(0),
        Step::Finish(1, Outcome::First(delivered), Bounce::Without),
        Step::Finish(0, Outcome::All(delivered), Bounce::With),
    ])
    .await;
}

/// Does what the steps say to a spool and to the model, and compares them.
async fn play(steps: &[Step]) {
    let mut spool = TestSpool::new();
    let mut model = Model::default();
    for step in steps {
        spool = model.step(spool, *step).await;
        assert_eq!(spool.lines().await, model.lines(), "after {step:?}");
        model.check_counters(&spool);
    }
}

/// Something that happens to a spool.
#[derive(Clone, Copy, Debug)]
enum Step {
    Accept,
    Claim(usize),
    Finish(usize, Outcome, Bounce),
    FinishAgain,
    Command(Command),
    Crash,
}

/// Whether an attempt ends with a bounce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bounce {
    Without,
    With,
}

/// Something that a person does, to one message or to all.
#[derive(Clone, Copy, Debug)]
enum Command {
    Hold(Option<usize>),
    Release(Option<usize>),
    Retry(Option<usize>),
    Remove(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Defer),
        Just(Outcome::First(RecipientState::Delivered)),
        Just(Outcome::First(RecipientState::Bounced)),
        Just(Outcome::All(RecipientState::Delivered)),
    ];
    let bounce = prop_oneof![3 => Just(Bounce::Without), 1 => Just(Bounce::With)];
    let which = || proptest::option::of(0..4_usize);
    let command = prop_oneof![
        which().prop_map(Command::Hold),
        which().prop_map(Command::Release),
        which().prop_map(Command::Retry),
        which().prop_map(Command::Remove),
    ];
    prop_oneof![
        3 => Just(Step::Accept),
        4 => (0..4_usize).prop_map(Step::Claim),
        4 => (0..4_usize, outcome, bounce)
            .prop_map(|(which, outcome, bounce)| Step::Finish(which, outcome, bounce)),
        1 => Just(Step::FinishAgain),
        3 => command.prop_map(Step::Command),
        1 => Just(Step::Crash),
    ]
}

/// The spool, without a disk.
#[derive(Default)]
struct Model {
    deliveries: BTreeMap<(QueueId, &'static str), ModelDelivery>,
    /// What the daemon has in hand.
    claims: Vec<Claim>,
    /// The last that was finished.
    finished: Option<AttemptEnd>,
}

struct ModelDelivery {
    state: DeliveryState,
    pending: usize,
    attempts: u32,
}

impl ModelDelivery {
    fn new(pending: usize) -> Self {
        Self {
            state: DeliveryState::Incoming,
            pending,
            attempts: 0,
        }
    }

    fn waiting(&self) -> DeliveryState {
        match self.attempts {
            0 => DeliveryState::Incoming,
            _ => DeliveryState::Deferred,
        }
    }
}

impl Model {
    async fn step(&mut self, spool: TestSpool, step: Step) -> TestSpool {
        match step {
            Step::Accept => {
                let id = spool
                    .accept(&["a@one.example", "b@one.example", "c@two.example"])
                    .await;
                for (hop, pending) in [("one.example", 2), ("two.example", 1)] {
                    self.deliveries
                        .insert((id, hop), ModelDelivery::new(pending));
                }
            }
            Step::Claim(which) => self.claim(&spool, which).await,
            Step::Finish(which, outcome, bounce) if which < self.claims.len() => {
                let claim = self.claims.remove(which);
                self.finish(&spool, &claim, outcome, bounce).await;
            }
            Step::Finish(..) => {}
            Step::FinishAgain => {
                if let Some(end) = self.finished.clone() {
                    let finished = spool.store.finish(end).await.unwrap();
                    assert_eq!(finished.became, Became::AlreadyGone);
                }
            }
            Step::Command(command) => self.command(&spool, command).await,
            Step::Crash => {
                let spool = spool.crash();
                spool.store.recover(LATER).await.unwrap();
                self.claims.clear();
                return spool;
            }
        }
        spool
    }

    /// Takes something that waits, as a scheduler would: not what is tried already.
    async fn claim(&mut self, spool: &TestSpool, which: usize) {
        let mut waiting = spool.due(LATER).await;
        let waits = |delivery: &&ModelDelivery| delivery.state == delivery.waiting();
        let expected = self.deliveries.values().filter(waits).count();
        assert_eq!(waiting.len(), expected);
        waiting.retain(|one| {
            let mut claims = self.claims.iter();
            claims.all(|claim| claim.delivery != one.delivery)
        });
        let Some(one) = waiting.get(which) else {
            return;
        };
        let Claimed::Ready(claim, _) = spool.store.claim(one.delivery).await.unwrap() else {
            panic!("what waits can be claimed");
        };
        let delivery = self.of(&claim).unwrap();
        assert_eq!(claim.recipients.len(), delivery.pending);
        assert_eq!(claim.attempt, delivery.attempts + 1);
        self.claims.push(*claim);
    }

    async fn finish(&mut self, spool: &TestSpool, claim: &Claim, outcome: Outcome, bounce: Bounce) {
        let id = spool.store.next_id(LATER);
        let end = AttemptEnd {
            bounce: (bounce == Bounce::With).then(|| whole(id, &["s@origin.example"])),
            ..end_of(claim, outcome)
        };
        let finished = spool.store.finish(end.clone()).await.unwrap();
        self.finished = Some(end);
        let Some(delivery) = self.of(claim) else {
            assert_eq!(finished.became, Became::AlreadyGone);
            assert!(finished.accepted.is_empty());
            return;
        };
        delivery.attempts += 1;
        match outcome {
            Outcome::Defer => {}
            Outcome::First(_) => delivery.pending -= 1,
            Outcome::All(_) => delivery.pending = 0,
        }
        let expected = match delivery.state {
            _ if delivery.pending == 0 => Became::Retired,
            DeliveryState::Incoming | DeliveryState::Deferred => Became::Deferred,
            state @ (DeliveryState::Hold | DeliveryState::Corrupt) => Became::Kept(state),
        };
        if expected == Became::Deferred {
            delivery.state = DeliveryState::Deferred;
        }
        assert_eq!(finished.became, expected);
        self.deliveries.retain(|_, delivery| delivery.pending > 0);
        if bounce == Bounce::With {
            assert_eq!(finished.accepted.len(), 1);
            self.deliveries
                .insert((id, "origin.example"), ModelDelivery::new(1));
        }
    }

    fn of(&mut self, claim: &Claim) -> Option<&mut ModelDelivery> {
        let hop = claim.next_hop.to_string();
        self.deliveries
            .iter_mut()
            .find(|((id, name), _)| *id == claim.queue_id && *name == hop)
            .map(|(_, delivery)| delivery)
    }

    async fn command(&mut self, spool: &TestSpool, command: Command) {
        let (Command::Hold(which)
        | Command::Release(which)
        | Command::Retry(which)
        | Command::Remove(which)) = command;
        let mut ids: Vec<QueueId> = self.deliveries.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        let id = match which.map(|which| ids.get(which).copied()) {
            Some(None) => return,
            Some(Some(id)) => Some(id),
            None => None,
        };
        let filter = id.map_or_else(everything, of);
        let changed = match command {
            Command::Hold(_) => spool.hold(filter).await.unwrap().len(),
            Command::Release(_) => spool.release(filter, LATER).await.unwrap().len(),
            Command::Retry(_) => spool.retry(filter, LATER).await.unwrap().len(),
            Command::Remove(_) => spool.remove(filter).await.unwrap().len(),
        };
        let mut expected = 0;
        self.deliveries.retain(|(of, _), delivery| {
            if id.is_some_and(|id| id != *of) {
                return true;
            }
            let waits = delivery.state == delivery.waiting();
            let (concerns, state) = match command {
                Command::Hold(_) => (waits, DeliveryState::Hold),
                Command::Release(_) => (!waits, delivery.waiting()),
                Command::Retry(_) => (waits, delivery.waiting()),
                Command::Remove(_) => (true, delivery.state),
            };
            if concerns {
                expected += 1;
                delivery.state = state;
            }
            !matches!(command, Command::Remove(_))
        });
        assert_eq!(changed, expected, "{command:?}");
    }

    fn lines(&self) -> Vec<String> {
        self.deliveries
            .iter()
            .map(|((id, hop), d)| format!("{id} {hop} {} {}", d.state, d.pending))
            .collect()
    }

    fn check_counters(&self, spool: &TestSpool) {
        let depth = spool.store.depth();
        for (state, count) in &depth.deliveries {
            let in_state = |delivery: &&ModelDelivery| delivery.state == *state;
            let expected = self.deliveries.values().filter(in_state).count();
            assert_eq!(*count, u64::try_from(expected).unwrap(), "{state}");
        }
        let mut ids: Vec<QueueId> = self.deliveries.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        assert_eq!(depth.messages, u64::try_from(ids.len()).unwrap());
        assert_eq!(spool.count("messages"), ids.len());
        assert_eq!(depth.oldest, ids.first().map(|id| id.arrived_at()));
    }
}
