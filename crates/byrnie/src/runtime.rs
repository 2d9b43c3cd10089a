//! The asynchronous runtime.

use std::future::Future;

use tokio::runtime::Builder;

use crate::failure::Failure;

/// Runs `future` to its end.
///
/// # Errors
/// The future's own, or the system refuses threads.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(future);
    // What is still running has been told to stop, and has had its time.
    runtime.shutdown_background();
    result
}
