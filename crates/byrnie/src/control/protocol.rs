//! What is said over the control socket. Both sides are the same program, mostly of the same version.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

/// The version of what stands in this file; larger ones changed the meaning of something.
pub(crate) const VERSION: u32 = 1;

/// What a command sends. The version is looked at before the rest.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Call {
    /// Of the protocol: [`VERSION`].
    pub(crate) version: u32,
    /// A [`Request`] of that version.
    pub(crate) request: Value,
}

/// What a command asks the gateway to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Read the configuration again, and go on by it.
    Reload,
}

/// What the gateway says when it is done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Said {
    /// It was done.
    Done(Answer),
    /// Nothing was done.
    Refused(Refused),
}

/// What came of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The configuration counts from now on.
    Reloaded(Reloaded),
}

/// What became of a configuration that was read again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Reloaded {
    /// The file.
    pub(crate) file: PathBuf,
    /// The keys whose change counts from now on.
    pub(crate) in_force: Vec<String>,
    /// The keys whose change counts after a restart; until then the old values do.
    pub(crate) after_restart: Vec<String>,
    /// What is not wrong, and yet should be looked at.
    pub(crate) warnings: Vec<String>,
}

/// Why nothing was done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Refused {
    /// Lower case, one line, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whose fault it is.
    pub(crate) fault: Fault,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The world's.
    Runtime,
    /// Of whoever asked, or of the configuration.
    Usage,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_and_answers_have_their_words_on_the_wire() {
        let reload = serde_json::to_value(Request::Reload).unwrap();
        assert_eq!(reload, json!({"do": "reload"}));
        let refused = Said::Refused(Refused {
            message: String::from("no"),
            hint: None,
            fault: Fault::Usage,
        });
        let words = json!({"refused": {"message": "no", "hint": null, "fault": "usage"}});
        assert_eq!(serde_json::to_value(&refused).unwrap(), words);
        assert_eq!(serde_json::from_value::<Said>(words).unwrap(), refused);
    }
}
