//! The wish of the operator, or of the system, that the program ends.

use std::future::Future;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::failure::Failure;

/// Ends when SIGTERM or SIGINT arrives. From now on neither kills the process by itself.
///
/// # Errors
/// The system refuses to tell of signals.
pub(crate) fn termination() -> Result<impl Future<Output = ()> + Send, Failure> {
    let refused = |error| Failure::runtime(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
