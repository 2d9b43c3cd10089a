//! What is written to standard error while byrnie serves.

use std::fmt;
use std::io;
use std::io::IsTerminal;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::reload;

use crate::config::LogFormat;
use crate::failure::Failure;
use crate::output;

/// How much is logged, which may change.
pub(crate) struct LogLevel(
    /// Puts another filter in the place of the first.
    Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
);

impl LogLevel {
    /// Logs as much as this from now on.
    ///
    /// # Errors
    /// `level` is neither a level nor a list of them.
    pub(crate) fn set(&self, level: &str) -> Result<(), Failure> {
        (self.0)(filter(level)?).map_err(|error| Failure::runtime(error.to_string()))
    }
}

/// Starts to log, once in the life of the process.
///
/// # Errors
/// `level` is neither a level nor a list of them.
pub(crate) fn start(format: LogFormat, level: &str) -> Result<LogLevel, Failure> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(io::stderr)
        .with_ansi(output::colour_is_wanted() && io::stderr().is_terminal());
    let (started, level) = match format {
        LogFormat::Text => {
            let subscriber = subscriber.fmt_fields(fields()).with_filter_reloading();
            let handle = subscriber.reload_handle();
            let level = LogLevel(Box::new(move |filter| handle.reload(filter)));
            (subscriber.try_init(), level)
        }
        LogFormat::Json => {
            let subscriber = subscriber
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_filter_reloading();
            let handle = subscriber.reload_handle();
            let level = LogLevel(Box::new(move |filter| handle.reload(filter)));
            (subscriber.try_init(), level)
        }
    };
    started.map_err(|error| Failure::runtime(error.to_string()))?;
    Ok(level)
}

/// What a level lets through.
fn filter(level: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(level).map_err(|error| {
        Failure::usage(format!("`log.level` = \"{level}\": {error}"))
            .hint("write a level such as \"info\", or levels such as \"info,byrnie_net=debug\"")
    })
}

/// The fields of an event in text, parted by blanks.
fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    format::debug_fn(write_field).delimited(" ")
}

/// Writes one field.
///
/// A value of more than one word stands in quotes, whoever wrote it: the reply of a server must not
/// pass for fields that byrnie adds.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(writer, "{value:?}");
    }
    let text = format!("{value:?}");
    if is_quoted(&text) || text.chars().all(is_plain) {
        write!(writer, "{}={text}", field.name())
    } else {
        write!(writer, "{}={text:?}", field.name())
    }
}

/// Whether a text is one string in quotes, as `Debug` writes it, and nothing behind it.
fn is_quoted(text: &str) -> bool {
    let inside = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside else { return false };
    let mut escaped = false;
    for c in inside.chars() {
        match c {
            '"' if !escaped => return false,
            c if c.is_control() => return false,
            c => escaped = c == '\\' && !escaped,
        }
    }
    !escaped
}

/// Whether a character needs no quotes around it.
fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '=')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_a_server_says_cannot_pass_for_a_field() {
        check(
            "250 ok authenticated_by=dane",
            r#"said reply="250 ok authenticated_by=dane""#,
        );
        check(
            "250 \" authenticated_by=dane \"",
            r#"said reply="250 \" authenticated_by=dane \"""#,
        );
        check(
            r#""ok" authenticated_by="dane""#,
            r#"said reply="\"ok\" authenticated_by=\"dane\"""#,
        );
        check("250", "said reply=250");
        check("\u{202e}250", r#"said reply="\u{202e}250""#);
    }

    #[track_caller]
    fn check(reply: &str, expected: &str) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink(Arc::clone(&written));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || sink.clone())
            .without_time()
            .with_level(false)
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(fields())
            .finish();
        tracing::subscriber::with_default(subscriber, || tracing::info!(%reply, "said"));
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written.trim_end(), expected);
    }

    /// Keeps what is written.
    #[derive(Clone)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
