//! Offers over SMTP.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use byrnie_base::Mailbox;
use byrnie_net::clock::Clock;
use byrnie_net::smtp::client::AttemptError;
use byrnie_net::smtp::client::AttemptFault;
use byrnie_net::smtp::client::ChannelSecurity;
use byrnie_net::smtp::client::ConnectionPool;
use byrnie_net::smtp::client::Lease;
use byrnie_net::smtp::client::Origin;
use byrnie_net::smtp::client::Reached;
use byrnie_net::smtp::client::RetryClass;
use byrnie_net::smtp::client::Unreached;
use byrnie_net::tls::Authentication;
use byrnie_net::tls::TlsFacts;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Reply;
use byrnie_smtp::ReplyClass;
use byrnie_smtp::Transaction;
use byrnie_smtp::Unsupported;
use byrnie_store::Body;
use byrnie_store::Claim;
use byrnie_store::Spool;
use byrnie_store::TlsReceipt;

use super::DownAddresses;
use super::Failure;
use super::FailureClass;
use super::Offer;
use super::Offered;
use super::Session;
use super::Target;
use super::body::StoredBody;
use crate::Metrics;
use crate::metrics::Over;
use crate::reports::sending::applied::Handshake;
use crate::scheduler::Answer;

/// Offers messages over SMTP.
pub(crate) struct SmtpOffer<S, C> {
    /// Connects.
    pub(crate) pool: Arc<ConnectionPool<C>>,
    /// Where the messages are.
    pub(crate) spool: Arc<S>,
    /// Where connections are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Where it is remembered who did not answer.
    pub(crate) down: Arc<DownAddresses>,
}

impl<S: Spool, C: Clock> Offer for SmtpOffer<S, C> {
    async fn offer(&self, claim: &Claim, body: Option<&Body>, target: &Target) -> Offered {
        let Target {
            host,
            addresses,
            requirement,
        } = target;
        let reached = self.pool.reach(host.as_ref(), addresses, requirement).await;
        let mut handshakes = handshakes(&reached);
        let mut unreached = self.failures(reached.failed);
        let Some(lease) = reached.lease else {
            return Offered {
                unreached,
                session: None,
                handshakes,
            };
        };
        let session = match self.send_to_all(claim, body, lease).await {
            Ok(session) => Some(session),
            Err(Closed(lease)) => {
                self.metrics.replaced();
                let anew = self.pool.reach_anew(lease, host.as_ref(), requirement);
                let reached = anew.await;
                handshakes.extend(self::handshakes(&reached));
                unreached.extend(self.failures(reached.failed));
                match reached.lease {
                    // A new connection is never found to have been closed before.
                    Some(lease) => self.send_to_all(claim, body, lease).await.ok(),
                    None => None,
                }
            }
        };
        Offered {
            unreached,
            session,
            handshakes,
        }
    }
}

impl<S: Spool, C: Clock> SmtpOffer<S, C> {
    /// Why addresses could not be reached; those that did not answer are remembered.
    fn failures(&self, unreached: Vec<Unreached>) -> Vec<(SocketAddr, Failure)> {
        let unreached = unreached.into_iter();
        let failures = unreached.map(|Unreached { address, error, .. }| {
            if error.is_silence() {
                self.down.failed(address);
            }
            (address, failure(&error))
        });
        failures.collect()
    }

    /// Sends the message as often as it takes to name all recipients.
    async fn send_to_all(
        &self,
        claim: &Claim,
        body: Option<&Body>,
        mut lease: Lease,
    ) -> Result<Session, Closed> {
        let channel = lease.channel();
        self.down.answered(channel.address);
        let mut session = Session {
            address: channel.address,
            tls: None,
            fell_back_after: None,
            replies: Vec::with_capacity(claim.recipients.len()),
            failure: None,
        };
        let over = match &channel.security {
            ChannelSecurity::Clear { after } => {
                session.fell_back_after = after.as_ref().map(ToString::to_string);
                Over::Clear
            }
            ChannelSecurity::Tls(facts) => {
                session.tls = Some(tls_receipt(facts));
                Over::Tls
            }
        };
        for group in claim.recipients.chunks(RECIPIENTS_PER_TRANSACTION_MAX) {
            if !lease.is_reusable() {
                session.failure = Some(connection_ended());
                break;
            }
            let recipients = group.iter().map(|one| one.mailbox.clone()).collect();
            let transaction = transaction(claim, recipients);
            let spool = Arc::clone(&self.spool);
            let message = StoredBody::new(spool, claim.queue_id, claim.size, body.cloned());
            match lease.send(transaction, message).await {
                Ok(outcome) => {
                    let said = outcome.recipients.into_iter().map(|(_, reply)| Some(reply));
                    session.replies.extend(said);
                }
                Err(error) if session.replies.is_empty() && lease.was_closed_before(&error) => {
                    return Err(Closed(lease));
                }
                Err(error) => {
                    session.failure = Some(failure(&error));
                    break;
                }
            }
        }
        session.replies.resize(claim.recipients.len(), None);
        match lease.origin() {
            Origin::New => self.metrics.connected(over),
            Origin::Kept => self.metrics.reused(over),
        }
        lease.give_back();
        Ok(session)
    }
}

/// How TLS went on the connections that were made now; one that was kept was told of when it was made.
fn handshakes(reached: &Reached) -> Vec<Handshake> {
    let failed = reached.failed.iter();
    let failed = failed.filter_map(|unreached| {
        let Unreached {
            address,
            local,
            error,
        } = unreached;
        Handshake::failed(*local, address.ip(), error)
    });
    let new = reached.lease.iter();
    let new = new.filter(|lease| lease.origin() == Origin::New);
    let made = new.map(|lease| {
        let channel = lease.channel();
        Handshake::made(lease.local(), channel.address.ip(), &channel.security)
    });
    failed.chain(made).collect()
}

/// A kept connection that the host had closed before it was told anything.
struct Closed(Lease);

/// What the host is told about the message.
fn transaction(claim: &Claim, recipients: Vec<Mailbox>) -> Transaction {
    Transaction {
        reverse_path: claim.envelope.reverse_path.clone(),
        recipients,
        body: claim.envelope.body,
        smtputf8: claim.envelope.smtputf8,
        tls_demand: claim.envelope.tls_demand,
        size: claim.size,
    }
}

/// What to keep of a handshake.
fn tls_receipt(facts: &TlsFacts) -> TlsReceipt {
    TlsReceipt {
        version: facts.version.to_string(),
        cipher_suite: facts.cipher_suite.clone(),
        certificate_sha256: Some(facts.leaf_sha256.to_string()),
        authenticated_by: match &facts.authentication {
            Authentication::None => None,
            authentication @ (Authentication::PublicAuthority { .. } | Authentication::Dane(_)) => {
                Some(authentication.to_string())
            }
        },
    }
}

/// What follows from a failed attempt.
fn failure(error: &AttemptError) -> Failure {
    let class = match (&error.fault, error.retry_class()) {
        (AttemptFault::Unsupported(Unsupported::RequireTls), _) => FailureClass::Missing,
        (AttemptFault::Message(ErrorKind::InvalidData | ErrorKind::UnexpectedEof), _) => {
            FailureClass::Damaged
        }
        (_, RetryClass::NextHost) => FailureClass::NextHost,
        (_, RetryClass::SecurityDefer) => FailureClass::Security,
        (_, RetryClass::Defer) => FailureClass::Later,
        (_, RetryClass::Bounce) => FailureClass::GiveUp,
    };
    let said = error.reply().filter(|reply| match class {
        FailureClass::NextHost | FailureClass::Later => {
            reply.class() == ReplyClass::TransientFailure
        }
        FailureClass::GiveUp => reply.class() == ReplyClass::PermanentFailure,
        FailureClass::Security | FailureClass::Missing | FailureClass::Damaged => false,
    });
    let ours = || {
        let code = match class {
            FailureClass::NextHost
            | FailureClass::Later
            | FailureClass::Security
            | FailureClass::Damaged => 451,
            FailureClass::Missing | FailureClass::GiveUp => 550,
        };
        Reply::new(code, error.status(), error.to_string())
    };
    Failure {
        class,
        reply: said.cloned().unwrap_or_else(ours),
        answer: answer(error, class),
    }
}

/// What a host made of being asked, if that came to nothing.
fn answer(error: &AttemptError, class: FailureClass) -> Answer {
    match (&error.fault, class, error.reply()) {
        (AttemptFault::Crowded, ..) => Answer::NoRoom,
        (AttemptFault::Exhausted(shortage), ..) if shortage.is_passing() => Answer::NoRoom,
        (AttemptFault::Exhausted(_), ..) => Answer::NotAsked,
        (_, _, Some(reply)) if reply.code == CLOSING => Answer::Busy,
        (_, FailureClass::NextHost, Some(reply))
            if reply.class() == ReplyClass::TransientFailure =>
        {
            Answer::Busy
        }
        (_, FailureClass::NextHost, None) => Answer::Silent,
        (_, FailureClass::Damaged, _) => Answer::NotAsked,
        (
            _,
            FailureClass::NextHost
            | FailureClass::Security
            | FailureClass::Missing
            | FailureClass::Later
            | FailureClass::GiveUp,
            _,
        ) => Answer::Answered,
    }
}

/// The host took the message for some, and wants no more on this connection.
fn connection_ended() -> Failure {
    let status = EnhancedStatus::new(4, 4, 2);
    let text = "the host ended the connection before all recipients were named";
    Failure {
        class: FailureClass::Later,
        reply: Reply::new(451, status, text),
        answer: Answer::Answered,
    }
}

/// The reply of a host that ends the connection: RFC 5321, Section 3.8.
const CLOSING: u16 = 421;

/// Recipients of one transaction: RFC 5321, Section 4.5.3.1.8 lets hosts refuse more.
const RECIPIENTS_PER_TRANSACTION_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use byrnie_net::smtp::client::Shortage;
    use byrnie_smtp::ClientPhase;

    use super::*;

    #[test]
    fn what_this_machine_lacks_says_nothing_about_the_host() {
        let connect = ClientPhase::Connect;
        check(connect, AttemptFault::Crowded, Answer::NoRoom);
        for shortage in [Shortage::Files, Shortage::SystemFiles, Shortage::Memory] {
            check(connect, AttemptFault::Exhausted(shortage), Answer::NoRoom);
        }
        let no_address = AttemptFault::Exhausted(Shortage::Addresses);
        check(connect, no_address, Answer::NotAsked);
        let refused = AttemptFault::Network(ErrorKind::ConnectionRefused);
        check(connect, refused, Answer::Silent);
        let late = AttemptFault::Timeout(Duration::from_secs(300));
        check(ClientPhase::Greeting, late, Answer::Silent);
    }

    #[track_caller]
    fn check(phase: ClientPhase, fault: AttemptFault, expected: Answer) {
        let failure = failure(&AttemptError { phase, fault });
        let found = (failure.class, failure.answer);
        assert_eq!(found, (FailureClass::NextHost, expected), "{failure:?}");
    }
}
