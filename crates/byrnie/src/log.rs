//! What is written to standard error while byrnie serves.

use std::io;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::failure::Failure;
use crate::output;

/// Starts to log, once in the life of the process.
///
/// # Errors
/// `level` is neither a level nor a list of them.
pub(crate) fn start(format: LogFormat, level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::usage(format!("`log.level` = \"{level}\": {error}"))
            .hint("write a level such as \"info\", or levels such as \"info,byrnie_net=debug\"")
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(output::colour_is_wanted() && io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
    started.map_err(|error| Failure::runtime(error.to_string()))
}
