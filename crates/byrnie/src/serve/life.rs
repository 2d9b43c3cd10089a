//! How long the gateway lives: until somebody says that it is enough.

use tokio::sync::watch;

/// Says that the gateway comes to its end.
pub(super) struct Ending(watch::Sender<Life>);

/// Knows whether the gateway goes on; every service has one.
#[derive(Clone)]
pub(super) struct Lifetime(watch::Receiver<Life>);

/// Whether the gateway goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    /// It does.
    GoesOn,
    /// It comes to its end.
    Ends,
}

/// A life that goes on until its [`Ending`] says otherwise, or is dropped.
pub(super) fn begin() -> (Ending, Lifetime) {
    let (ending, lifetime) = watch::channel(Life::GoesOn);
    (Ending(ending), Lifetime(lifetime))
}

impl Ending {
    /// Tells everybody.
    pub(super) fn announce(&self) {
        self.0.send_replace(Life::Ends);
    }
}

impl Lifetime {
    /// Waits until the gateway comes to its end.
    pub(super) async fn ended(mut self) {
        // Without a sender there is nobody left to wait for.
        _ = self.0.wait_for(|life| *life == Life::Ends).await;
    }
}
