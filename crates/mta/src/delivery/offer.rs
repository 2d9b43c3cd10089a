//! Offers over SMTP.

use std::sync::Arc;

use byrnie_base::Mailbox;
use byrnie_net::clock::Clock;
use byrnie_net::smtp::client::AttemptError;
use byrnie_net::smtp::client::AttemptFault;
use byrnie_net::smtp::client::ChannelSecurity;
use byrnie_net::smtp::client::Connection;
use byrnie_net::smtp::client::RetryClass;
use byrnie_net::smtp::client::SmtpClient;
use byrnie_net::tls::Authentication;
use byrnie_net::tls::TlsFacts;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Reply;
use byrnie_smtp::ReplyClass;
use byrnie_smtp::Transaction;
use byrnie_smtp::Unsupported;
use byrnie_store::Claim;
use byrnie_store::Spool;
use byrnie_store::TlsReceipt;

use super::Failure;
use super::FailureClass;
use super::Offer;
use super::Offered;
use super::Target;
use super::body::StoredBody;
use crate::Metrics;
use crate::metrics::Over;

/// Offers messages over SMTP.
pub(crate) struct SmtpOffer<S, C> {
    /// Connects.
    pub(crate) client: SmtpClient<C>,
    /// Where the messages are.
    pub(crate) spool: Arc<S>,
    /// Where connections are counted.
    pub(crate) metrics: Arc<Metrics>,
}

impl<S: Spool, C: Clock> Offer for SmtpOffer<S, C> {
    async fn offer(&self, claim: &Claim, target: &Target) -> Offered {
        let connecting =
            self.client
                .connect(target.host.as_ref(), target.address, &target.requirement);
        let mut connection = match Box::pin(connecting).await {
            Ok(connection) => connection,
            Err(error) => return Offered::nothing(claim, failure(&error)),
        };
        let (tls, fell_back_after, over) = match &connection.channel().security {
            ChannelSecurity::Clear { after } => {
                let after = after.as_ref().map(ToString::to_string);
                (None, after, Over::Clear)
            }
            ChannelSecurity::Tls(facts) => (Some(tls_receipt(facts)), None, Over::Tls),
        };
        self.metrics.connected(over);
        let (replies, failure) = Box::pin(self.send_to_all(claim, &mut connection)).await;
        // What was said counts at once; taking leave may take its time.
        tokio::spawn(connection.quit());
        Offered {
            tls,
            fell_back_after,
            replies,
            failure,
        }
    }
}

impl<S: Spool, C: Clock> SmtpOffer<S, C> {
    /// Sends the message as often as it takes to name all recipients.
    async fn send_to_all(
        &self,
        claim: &Claim,
        connection: &mut Connection,
    ) -> (Vec<Option<Result<Reply, Reply>>>, Option<Failure>) {
        let mut replies = Vec::with_capacity(claim.recipients.len());
        let mut failed = None;
        for group in claim.recipients.chunks(RECIPIENTS_PER_TRANSACTION_MAX) {
            if !connection.is_reusable() {
                failed = Some(connection_ended());
                break;
            }
            let recipients = group.iter().map(|one| one.mailbox.clone()).collect();
            let transaction = transaction(claim, recipients);
            let body = StoredBody::new(Arc::clone(&self.spool), claim.queue_id, claim.size);
            match Box::pin(connection.send(&transaction, body)).await {
                Ok(outcome) => {
                    let said = outcome.recipients.into_iter().map(|(_, reply)| Some(reply));
                    replies.extend(said);
                }
                Err(error) => {
                    failed = Some(failure(&error));
                    break;
                }
            }
        }
        replies.resize(claim.recipients.len(), None);
        (replies, failed)
    }
}

impl Offered {
    /// There was no connection.
    fn nothing(claim: &Claim, failure: Failure) -> Self {
        Self {
            tls: None,
            fell_back_after: None,
            replies: vec![None; claim.recipients.len()],
            failure: Some(failure),
        }
    }
}

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
        FailureClass::Security | FailureClass::Missing => false,
    });
    let ours = || {
        let code = match class {
            FailureClass::NextHost | FailureClass::Later | FailureClass::Security => 451,
            FailureClass::Missing | FailureClass::GiveUp => 550,
        };
        Reply::new(code, error.status(), error.to_string())
    };
    Failure {
        class,
        reply: said.cloned().unwrap_or_else(ours),
    }
}

/// The host took the message for some, and wants no more on this connection.
fn connection_ended() -> Failure {
    let status = EnhancedStatus::new(4, 4, 2);
    let text = "the host ended the connection before all recipients were named";
    Failure {
        class: FailureClass::Later,
        reply: Reply::new(451, status, text),
    }
}

/// Recipients of one transaction: RFC 5321, Section 4.5.3.1.8 lets hosts refuse more.
const RECIPIENTS_PER_TRANSACTION_MAX: usize = 100;
