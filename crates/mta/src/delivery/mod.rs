//! One attempt at one delivery: find out what is demanded, then offer the message host by host.
//!
//! [`Courier`] is the whole of it as far as rules go; what touches the network is behind two seams:
//! [`Decide`] and [`Offer`].

mod body;
mod courier;
mod down;
mod offer;
mod order;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_policy::Decision;
use byrnie_policy::Evidence;
use byrnie_policy::Reason;
use byrnie_policy::Requirement;
use byrnie_policy::Strength;
use byrnie_smtp::Reply;
use byrnie_smtp::TlsDemand;
use byrnie_store::Body;
use byrnie_store::Claim;
use byrnie_store::Receipt;
use byrnie_store::TlsReceipt;

pub(crate) use self::courier::Courier;
pub(crate) use self::down::DownAddresses;
pub(crate) use self::offer::SmtpOffer;
pub use self::order::AddressOrder;
use crate::reports::sending::applied::Handshake;
use crate::scheduler::Answer;

/// Tries a delivery.
pub(crate) trait Deliver: Send + Sync + 'static {
    /// Tries it once, at every host that may serve.
    ///
    /// The body is there if it is in memory; else it is in the store.
    fn deliver(&self, claim: &Claim, body: Option<&Body>) -> impl Future<Output = Report> + Send;
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// One for each recipient of the claim, in its order.
    pub(crate) fates: Vec<Fate>,
    /// The strength that no later attempt may fall below.
    pub(crate) floor: Option<Strength>,
    /// One for each host that was tried; one without a host if there was none to try.
    pub(crate) receipts: Vec<Receipt>,
    /// What the hosts made of being asked.
    pub(crate) answer: Answer,
    /// Whether the message could be read.
    pub(crate) content: Content,
}

/// Whether a message could be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// It could, as far as it was.
    Intact,
    /// What is on disk is not what was accepted.
    Damaged,
}

/// What happened to one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// A host took responsibility.
    Delivered(Reply),
    /// To be tried again.
    Deferred(Trouble),
    /// Given up.
    Bounced(Trouble),
}

/// Why a recipient was not served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    /// What to tell the sender.
    pub(crate) reply: Reply,
    /// Who said so; `None` if that was us.
    pub(crate) host: Option<DomainName>,
}

/// Finds out what mail to a domain needs.
pub(crate) trait Decide: Send + Sync + 'static {
    /// The decision, now, or one that is seconds old.
    fn decide(
        &self,
        next_hop: &MailDomain,
        terms: Terms,
    ) -> impl Future<Output = Arc<Ruling>> + Send;
}

/// A decision, and what receipts say about it, prepared once for all messages that share it.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    /// The decision.
    pub(crate) decision: Decision,
    /// What it rests on, for reports.
    pub(crate) evidence: Evidence,
    /// Why, as far as it concerns the whole domain.
    pub(crate) reasons: Vec<String>,
    /// Why, for each host of the decision, the whole domain's reasons included.
    reasons_of_hosts: Vec<Vec<String>>,
}

impl Ruling {
    /// A decision with its reasons in words.
    pub(crate) fn new(evidence: Evidence, decision: Decision) -> Self {
        let words = |reasons: &[Reason]| reasons.iter().map(ToString::to_string).collect();
        let reasons: Vec<String> = words(&decision.reasons);
        let of_hosts = decision.hosts.iter().map(|host| {
            let own: Vec<String> = words(&host.reasons);
            [reasons.clone(), own].concat()
        });
        Self {
            reasons_of_hosts: of_hosts.collect(),
            reasons,
            decision,
            evidence,
        }
    }

    /// Why one of its hosts is used as it is.
    pub(crate) fn reasons_of(&self, host: &DomainName) -> &[String] {
        let mut hosts = self.decision.hosts.iter().zip(&self.reasons_of_hosts);
        let found = hosts.find(|(known, _)| known.host == *host);
        found.map_or(&self.reasons, |(_, reasons)| reasons)
    }
}

/// What is demanded besides what the domain promises.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Terms {
    /// By the message.
    pub(crate) demand: TlsDemand,
    /// By what an earlier attempt was held to.
    pub(crate) floor: Option<Strength>,
    /// By what the sender was promised.
    pub(crate) at_least: Strength,
}

/// Offers messages to hosts.
pub(crate) trait Offer: Send + Sync + 'static {
    /// Connects to the first address of a host that answers, and offers the message there for all
    /// recipients of the claim.
    fn offer(
        &self,
        claim: &Claim,
        body: Option<&Body>,
        target: &Target,
    ) -> impl Future<Output = Offered> + Send;
}

/// One host, and what must hold there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The host; `None` for an address literal.
    pub(crate) host: Option<DomainName>,
    /// Where to connect: to one of these, tried in this order.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What must hold.
    pub(crate) requirement: Requirement,
}

/// What came of an offer.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// Addresses at which there is no connection that does, and why; others may not have been tried.
    pub(crate) unreached: Vec<(SocketAddr, Failure)>,
    /// What happened on the connection, if there was one.
    pub(crate) session: Option<Session>,
    /// How TLS went on the connections that were made.
    pub(crate) handshakes: Vec<Handshake>,
}

/// What happened on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Where it led.
    pub(crate) address: SocketAddr,
    /// What TLS gave; `None` in clear text.
    pub(crate) tls: Option<TlsReceipt>,
    /// The failure of TLS after which the message went in clear text, where that was allowed.
    pub(crate) fell_back_after: Option<String>,
    /// What the host said about each recipient of the claim; `None` where it did not come to that.
    pub(crate) replies: Vec<Option<Result<Reply, Reply>>>,
    /// Why it did not come to that.
    pub(crate) failure: Option<Failure>,
}

/// Why an offer came to nothing, for the recipients without a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    /// What follows from it.
    pub(crate) class: FailureClass,
    /// What to tell the sender: the host's own reply, or ours.
    pub(crate) reply: Reply,
    /// What the host made of being asked.
    pub(crate) answer: Answer,
}

/// What follows from a failure: behaviour rule 43.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailureClass {
    /// This host does not answer or does not work now: try the next one, else later.
    NextHost,
    /// This host is not what was demanded: try the next one, else later.
    Security,
    /// This host does not offer what the message needs: try the next one; none does: give up.
    Missing,
    /// Try later, and not at another host, which might lead to a second copy.
    Later,
    /// Give up.
    GiveUp,
    /// The message cannot be read any more: put it aside.
    Damaged,
}
