//! Which deliveries a command is about, in the words of the command line and over the control socket.

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_smtp::ReversePath;
use byrnie_store::DeliveryState;
use byrnie_store::Filter;
use byrnie_store::QueueId;
use byrnie_store::SenderFilter;
use serde::Deserialize;
use serde::Serialize;

use crate::cli::QueueFilterArgs;
use crate::failure::Failure;

/// Which deliveries: those that pass everything that is set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Selection {
    /// Of these messages; of all if empty.
    pub(crate) ids: Vec<QueueId>,
    /// To this next hop.
    pub(crate) domain: Option<MailDomain>,
    /// From this sender.
    pub(crate) from: Option<From>,
    /// With this recipient.
    pub(crate) to: Option<Mailbox>,
    /// In this state.
    pub(crate) state: Option<DeliveryState>,
    /// Of messages that arrived before.
    pub(crate) received_before: Option<UnixTime>,
    /// Of messages that arrived then or later.
    pub(crate) received_since: Option<UnixTime>,
    /// Put off for a reason in which this stands.
    pub(crate) reason: Option<String>,
    /// At most so many.
    pub(crate) limit: Option<u32>,
}

/// From whom.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// Exactly this.
    Path(ReversePath),
    /// Any mailbox of a domain.
    Domain(MailDomain),
}

impl Selection {
    /// What the command line asks for, at this time.
    ///
    /// # Errors
    /// A word is not what it should be.
    pub(crate) fn new(args: &QueueFilterArgs, now: UnixTime) -> Result<Self, Failure> {
        let ids = args.ids.iter().map(|id| parse_id(id));
        Ok(Self {
            ids: ids.collect::<Result<_, _>>()?,
            domain: args.domain.clone(),
            from: args.from.as_deref().map(parse_from).transpose()?,
            to: args.to.clone(),
            state: args.state.as_deref().map(parse_state).transpose()?,
            received_before: args.older_than.map(|age| before(now, age.0.as_secs())),
            received_since: args.newer_than.map(|age| before(now, age.0.as_secs())),
            reason: args.reason.clone(),
            limit: args.limit,
        })
    }

    /// Whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// For the store.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            ids: self.ids.clone(),
            next_hop: self.domain.clone(),
            sender: self.from.clone().map(|from| match from {
                From::Path(path) => SenderFilter::Path(path),
                From::Domain(domain) => SenderFilter::Domain(domain),
            }),
            recipient: self.to.clone(),
            state: self.state,
            received_before: self.received_before,
            received_since: self.received_since,
            reason: self.reason.clone(),
            after: None,
            limit: self.limit.unwrap_or(u32::MAX),
        }
    }
}

/// A queue id.
///
/// # Errors
/// It is none.
pub(crate) fn parse_id(text: &str) -> Result<QueueId, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("\"{text}\": {error}")).hint("`byrnie queue list` prints the ids")
    })
}

/// A sender: an address, a domain, or `<>`.
fn parse_from(text: &str) -> Result<From, Failure> {
    let parsed = match text.trim_start_matches('<').trim_end_matches('>') {
        "" => Ok(From::Path(ReversePath::Null)),
        address if address.contains('@') => address.parse().map(From::Path),
        domain => domain.parse().map(From::Domain),
    };
    parsed.map_err(|error| {
        Failure::usage(format!("--from \"{text}\": {error}"))
            .hint("an address, a domain, or \"<>\" for bounces")
    })
}

/// A state of deliveries.
fn parse_state(text: &str) -> Result<DeliveryState, Failure> {
    DeliveryState::from_word(text).ok_or_else(|| {
        let words = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
        Failure::usage(format!("--state \"{text}\": there is no such state"))
            .hint(format!("one of {words}"))
    })
}

/// So many seconds ago.
fn before(now: UnixTime, seconds: u64) -> UnixTime {
    UnixTime(now.0.saturating_sub(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_a_domain_or_nobody() {
        let path = |text: &str| From::Path(text.parse().unwrap());
        check("a@b.example", &path("a@b.example"));
        check("<a@b.example>", &path("a@b.example"));
        check("<>", &From::Path(ReversePath::Null));
        check("b.example", &From::Domain("b.example".parse().unwrap()));
        assert!(parse_from("a@").is_err());
    }

    #[track_caller]
    fn check(text: &str, expected: &From) {
        assert_eq!(&parse_from(text).unwrap(), expected);
    }
}
