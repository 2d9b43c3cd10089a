//! Changing deliveries beside a queue that sends them.

use std::sync::Arc;
use std::time::Duration;

use byrnie_mta::QueueHandle;
use byrnie_store::DeliveryId;
use byrnie_store::QueueCommands;
use byrnie_store::StoreError;
use byrnie_store::Waiting;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::info;

use crate::control::Action;
use crate::control::Steered;
use crate::failure::Failure;
use crate::resolving;
use crate::selection::Selection;

/// Changes deliveries in the store, and tells the queue.
pub(super) struct Helm<S, T> {
    /// Where the mail is.
    store: Arc<S>,
    /// Who must know.
    queue: T,
    /// One command at a time: the queue must hear of changes in the order in which they were made.
    turn: Mutex<()>,
}

impl<S: QueueCommands, T: Tell> Helm<S, T> {
    /// For what lies in a store and is sent by a queue.
    pub(super) fn new(store: Arc<S>, queue: T) -> Self {
        Self {
            store,
            queue,
            turn: Mutex::new(()),
        }
    }

    /// Changes what is selected.
    ///
    /// # Errors
    /// Another command is at work, and nothing was done; or the store fails, or does not know a message,
    /// and what was changed until then is known to the queue.
    pub(super) async fn steer(
        &self,
        action: Action,
        selection: &Selection,
    ) -> Result<Steered, Failure> {
        let turn = timeout(TURN_WAIT_MAX, self.turn.lock()).await;
        let _turn = turn.map_err(|_| {
            Failure::runtime("another command is changing the queue")
                .hint("nothing was done: give the command again when the other one has ended")
        })?;
        let (store, filter) = (&self.store, selection.filter());
        let now = resolving::clock().now();
        let due = |changed| self.queue.tell_due(changed);
        let withdrawn = |changed| self.queue.tell_withdrawn(changed);
        let changed = match action {
            Action::Retry => store.retry(filter, now, due).await,
            Action::Release => store.release(filter, now, due).await,
            Action::Hold => store.hold(filter, withdrawn).await,
            Action::Remove => store.remove(filter, withdrawn).await,
        };
        let deliveries = changed.map_err(|error| {
            if matches!(error, StoreError::NoSuchMessage(_)) {
                return Failure::store(&error);
            }
            Failure::runtime(error.to_string()).hint(HALF_DONE)
        })?;
        let action = action.word();
        info!(target: "byrnie::queue", action, deliveries, "changed by an operator");
        Ok(Steered { deliveries })
    }
}

/// Hears of changes.
pub(super) trait Tell: Send + Sync + 'static {
    /// These are to be tried.
    fn tell_due(&self, changed: Vec<Waiting>);

    /// These are not to be tried.
    fn tell_withdrawn(&self, changed: Vec<DeliveryId>);
}

impl Tell for QueueHandle {
    fn tell_due(&self, changed: Vec<Waiting>) {
        self.due(changed);
    }

    fn tell_withdrawn(&self, changed: Vec<DeliveryId>) {
        self.withdrawn(changed);
    }
}

/// For changes that were broken off. The last page may be on disk although the store could not say so.
const HALF_DONE: &str = "some may have been changed: when the spool works again, give the command once \
     more, and after a release `byrnie queue retry` with the same words";

/// How long a command waits for another: one that changes a large queue takes some seconds.
const TURN_WAIT_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Locked;
    use std::sync::mpsc;

    use byrnie_base::Mailbox;
    use byrnie_base::UnixTime;
    use byrnie_smtp::BodyType;
    use byrnie_smtp::Envelope;
    use byrnie_smtp::ReversePath;
    use byrnie_smtp::Smtputf8;
    use byrnie_smtp::TlsDemand;
    use byrnie_store::Incoming;
    use byrnie_store::NewDelivery;
    use byrnie_store::SqliteOptions;
    use byrnie_store::SqliteStore;
    use tempfile::TempDir;

    use super::*;

    /// Otherwise the queue could hear of them the wrong way round, and forget what was released.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_command_has_its_turn_until_the_queue_knows_what_it_changed() {
        let folder = TempDir::new().unwrap();
        let (tell, told) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let helm = Arc::new(Helm::new(
            store(&folder).await,
            Slow(tell, Locked::new(answered)),
        ));
        let holding = {
            let helm = Arc::clone(&helm);
            tokio::spawn(async move { helm.steer(Action::Hold, &Selection::default()).await })
        };
        let word = tokio::task::spawn_blocking(move || told.recv().unwrap());
        assert_eq!(word.await.unwrap(), "withdrawn");
        assert!(helm.turn.try_lock().is_err());
        answer.send(()).unwrap();
        assert_eq!(holding.await.unwrap().unwrap().deliveries, 1);
        assert!(helm.turn.try_lock().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_waits_for_another_for_a_bounded_time() {
        let folder = TempDir::new().unwrap();
        let (tell, _told) = mpsc::channel();
        let (_answer, answered) = mpsc::channel();
        let helm = Helm::new(store(&folder).await, Slow(tell, Locked::new(answered)));
        let turn = helm.turn.lock().await;
        let refused = helm.steer(Action::Retry, &Selection::default()).await;
        let failure = refused.unwrap_err();
        assert_eq!(failure.message(), "another command is changing the queue");
        drop(turn);
        let released = helm.steer(Action::Release, &Selection::default()).await;
        assert_eq!(released.unwrap().deliveries, 0);
    }

    /// Says what it hears of, and goes on when it is told to.
    struct Slow(mpsc::Sender<&'static str>, Locked<mpsc::Receiver<()>>);

    impl Slow {
        fn hear(&self, word: &'static str) {
            self.0.send(word).unwrap();
            self.1.lock().unwrap().recv().unwrap();
        }
    }

    impl Tell for Slow {
        fn tell_due(&self, _: Vec<Waiting>) {
            self.hear("due");
        }

        fn tell_withdrawn(&self, _: Vec<DeliveryId>) {
            self.hear("withdrawn");
        }
    }

    /// A store in which one delivery waits.
    async fn store(folder: &TempDir) -> Arc<SqliteStore> {
        let options = SqliteOptions::in_directory(folder.path());
        let store = Arc::new(SqliteStore::open(options).unwrap());
        let now = UnixTime(1_800_000_000);
        let recipient: Mailbox = "a@one.example".parse().unwrap();
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: vec![recipient.clone()],
            body: BodyType::SevenBit,
            smtputf8: Smtputf8::NotUsed,
            tls_demand: TlsDemand::None,
        };
        let delivery = NewDelivery {
            next_hop: recipient.domain.clone(),
            recipients: vec![recipient],
            due_at: now,
            expires_at: UnixTime(now.0 + 86_400),
        };
        let incoming = Incoming::begin(Arc::clone(&store), now);
        incoming
            .commit(envelope, now, vec![delivery])
            .await
            .unwrap();
        store
    }
}
