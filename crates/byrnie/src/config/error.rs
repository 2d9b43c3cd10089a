//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ConfigError {
    /// The file.
    pub(crate) path: PathBuf,
    /// The line, counted from 1, where one can be named.
    pub(crate) line: Option<usize>,
    /// What is wrong: one line, lower case, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl ConfigError {
    /// The file cannot be read.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self {
            path: path.to_path_buf(),
            line: None,
            message: format!("cannot be read: {error}"),
            hint: Some(String::from(
                "`byrnie config defaults` prints a file to start from",
            )),
        }
    }

    /// The text is not what [`File`](super::File) asks for.
    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim_end_matches('.').replace('\n', ": ");
        Self {
            path: path.to_path_buf(),
            line: error.span().map(|span| line_at(text, span.start)),
            hint: nearest_hint(&message),
            message: first_clause(&message),
        }
    }

    /// A rule that spans several keys is broken; `key` is where the operator should look.
    pub(super) fn at_key(path: &Path, text: &str, key: &str, message: String, hint: &str) -> Self {
        Self {
            path: path.to_path_buf(),
            line: line_of_key(text, key),
            message,
            hint: Some(String::from(hint)),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// The line on which the octet at `offset` stands.
fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|octet| **octet == b'\n').count() + 1
}

/// The line of the last `key = …`; `key` may be `section.key`, of which the section is skipped.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (section, key) = match key.rsplit_once('.') {
        Some((section, key)) => (Some(section), key),
        None => (None, key),
    };
    let mut current = None;
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with('[') {
            current = Some(line.trim_matches(|c: char| "[] \t".contains(c)));
        }
        let names_key = line
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with('='));
        if names_key && current == section {
            found = Some(index + 1);
        }
    }
    found
}

/// The message without the list of everything that would have been right.
fn first_clause(message: &str) -> String {
    let end = message.find(", expected ").unwrap_or(message.len());
    message.split_at(end).0.to_owned()
}

/// For "unknown field `x`, expected one of `a`, `b`": the word nearest to `x`, or all of them.
fn nearest_hint(message: &str) -> Option<String> {
    let (what, expected) = message.split_once(", expected ")?;
    let mut quoted = what.split('`').skip(1);
    let given = quoted.next()?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let nearest = known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(given, word), word))
        .min_by_key(|(distance, _)| *distance)?;
    if nearest.0 <= TYPO_DISTANCE_MAX {
        return Some(format!("did you mean `{}`?", nearest.1));
    }
    Some(format!("known here: {}", known.join(", ")))
}

/// More changes than this make another word, not a slip of the finger.
const TYPO_DISTANCE_MAX: usize = 4;
