//! Changing deliveries beside a queue that sends them.

use std::sync::Arc;

use byrnie_mta::QueueHandle;
use byrnie_store::DeliveryId;
use byrnie_store::QueueCommands;
use byrnie_store::StoreError;
use byrnie_store::Waiting;
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
}

impl<S: QueueCommands, T: Tell> Helm<S, T> {
    /// For what lies in a store and is sent by a queue.
    pub(super) fn new(store: Arc<S>, queue: T) -> Self {
        Self { store, queue }
    }

    /// Changes what is selected.
    ///
    /// # Errors
    /// The store fails, or does not know a message. What was changed until then is known to the queue.
    pub(super) async fn steer(
        &self,
        action: Action,
        selection: &Selection,
    ) -> Result<Steered, Failure> {
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
