//! What the program under test says that it does: its structured log, read back.

use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

/// One step in the life of a message.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A message is durable, and its sender has been told so.
    Accepted {
        /// The name of the message in the queue.
        queue_id: String,
        /// The reverse-path.
        from: String,
        /// The recipients.
        recipients: String,
        /// The octets of the message.
        size: String,
    },
    /// It was decided what one domain demands.
    Decided {
        /// The name of the message in the queue.
        queue_id: String,
        /// The recipient domain.
        domain: String,
        /// The decision in one word.
        verdict: String,
        /// Why.
        reasons: String,
    },
    /// One host was tried.
    Attempted(Box<Attempt>),
    /// Every recipient in one domain has the message.
    Delivered(Ending),
    /// The message is tried again later.
    Deferred(Ending),
    /// The message goes back to its sender.
    Bounced(Ending),
}

/// One host was tried.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// The name of the message in the queue.
    pub queue_id: String,
    /// The recipient domain.
    pub domain: String,
    /// The MX host.
    pub host: String,
    /// Its address and port.
    pub address: String,
    /// What was demanded of it.
    pub demanded: String,
    /// What came of it.
    pub outcome: String,
    /// The version of TLS, if there was any.
    pub tls: String,
    /// How the host was authenticated, if it was.
    pub authenticated_by: String,
    /// The host's last reply.
    pub reply: String,
    /// Why it came so.
    pub reason: String,
}

/// How the attempts of one moment end for one domain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Ending {
    /// The name of the message in the queue.
    pub queue_id: String,
    /// The recipient domain.
    pub domain: String,
    /// Why.
    pub reason: String,
    /// In how many seconds the next attempt comes, where one does.
    pub next_attempt_in: String,
}

impl Event {
    /// Reads one line of the log; `None` if it says something else.
    #[must_use]
    pub fn from_log_line(line: &str) -> Option<Self> {
        let Value::Object(object) = serde_json::from_str(line).ok()? else {
            return None;
        };
        let fields = Fields { object: &object };
        let queue_id = fields.text("queue_id");
        let domain = fields.text("domain");
        let ending = || Ending {
            queue_id: queue_id.clone(),
            domain: domain.clone(),
            reason: fields.text("reason"),
            next_attempt_in: fields.text("next_attempt_in"),
        };
        let target = fields.text("target");
        match (target.as_str(), fields.text("message").as_str()) {
            ("byrnie::queue", "accepted") => Some(Self::Accepted {
                from: fields.text("from"),
                recipients: fields.text("recipients"),
                size: fields.text("size"),
                queue_id,
            }),
            ("byrnie::queue", "delivered") => Some(Self::Delivered(ending())),
            ("byrnie::queue", "deferred") => Some(Self::Deferred(ending())),
            ("byrnie::queue", "bounced") => Some(Self::Bounced(ending())),
            ("byrnie::decision", "decided") => Some(Self::Decided {
                verdict: fields.text("verdict"),
                reasons: fields.text("reasons"),
                queue_id,
                domain,
            }),
            ("byrnie::attempt", "attempted") => Some(Self::Attempted(Box::new(Attempt {
                host: fields.text("host"),
                address: fields.text("address"),
                demanded: fields.text("demanded"),
                outcome: fields.text("outcome"),
                tls: fields.text("tls"),
                authenticated_by: fields.text("authenticated_by"),
                reply: fields.text("reply"),
                reason: fields.text("reason"),
                queue_id,
                domain,
            }))),
            _ => None,
        }
    }

    /// The message and the domain that it is about; an accepted message has no one domain.
    #[must_use]
    pub fn about(&self) -> (&str, &str) {
        match self {
            Self::Accepted { queue_id, .. } => (queue_id, ""),
            Self::Decided {
                queue_id, domain, ..
            } => (queue_id, domain),
            Self::Attempted(attempt) => (&attempt.queue_id, &attempt.domain),
            Self::Delivered(ending) | Self::Deferred(ending) | Self::Bounced(ending) => {
                (&ending.queue_id, &ending.domain)
            }
        }
    }
}

/// The fields of a log line, flat or nested as `tracing-subscriber` may write them.
struct Fields<'a> {
    /// The line.
    object: &'a Map<String, Value>,
}

impl Fields<'_> {
    /// A field as text; empty if it is not there.
    fn text(&self, name: &str) -> String {
        let nested = |parent: &str| self.object.get(parent)?.get(name);
        let value = self
            .object
            .get(name)
            .or_else(|| nested("fields"))
            .or_else(|| nested("span"));
        match value {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_and_nested_lines_say_the_same() {
        let flat = r#"{"target":"byrnie::queue","message":"deferred","queue_id":"Q1","domain":"a.test","reason":"no","next_attempt_in":"5s"}"#;
        let nested = r#"{"target":"byrnie::queue","fields":{"message":"deferred","domain":"a.test","reason":"no","next_attempt_in":"5s"},"span":{"queue_id":"Q1"}}"#;
        let expected = Event::Deferred(Ending {
            queue_id: String::from("Q1"),
            domain: String::from("a.test"),
            reason: String::from("no"),
            next_attempt_in: String::from("5s"),
        });
        assert_eq!(Event::from_log_line(flat), Some(expected.clone()));
        assert_eq!(Event::from_log_line(nested), Some(expected));
    }

    #[test]
    fn numbers_become_text_and_other_lines_are_passed_over() {
        let line = r#"{"target":"byrnie::queue","message":"accepted","queue_id":"Q1","from":"<a@b>","recipients":2,"size":100}"#;
        let Some(Event::Accepted {
            recipients, size, ..
        }) = Event::from_log_line(line)
        else {
            panic!("{line}");
        };
        assert_eq!((recipients.as_str(), size.as_str()), ("2", "100"));
        for other in [
            "",
            "{",
            "[]",
            "text",
            r#"{"target":"byrnie::queue","message":"odd"}"#,
        ] {
            assert_eq!(Event::from_log_line(other), None, "{other:?}");
        }
    }
}
