//! What the operator, or the system, wishes by signals.

use std::future::Future;

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::failure::Failure;

/// Ends when SIGTERM or SIGINT arrives. From now on neither kills the process by itself.
///
/// # Errors
/// The system refuses to tell of signals.
pub(crate) fn termination() -> Result<impl Future<Output = ()> + Send, Failure> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Tells of each SIGHUP. From now on none kills the process.
///
/// # Errors
/// The system refuses to tell of signals.
pub(crate) fn hangups() -> Result<Signal, Failure> {
    listen(SignalKind::hangup())
}

/// Tells of each change of the terminal's size.
///
/// # Errors
/// The system refuses to tell of signals.
pub(crate) fn resizes() -> Result<Signal, Failure> {
    listen(SignalKind::window_change())
}

/// Tells of a signal.
fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::runtime(format!("cannot listen for signals: {error}")))
}
