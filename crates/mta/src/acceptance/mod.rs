//! Taking mail in: who may hand it over, for whom, and when it counts as accepted.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_net::smtp::server::IncomingMessage;
use byrnie_net::smtp::server::MailService;
use byrnie_net::smtp::server::SessionFacts;
use byrnie_policy::Decision;
use byrnie_policy::Reason;
use byrnie_policy::Strength;
use byrnie_policy::Verdict;
use byrnie_smtp::BodyType;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Envelope;
use byrnie_smtp::HeaderLines;
use byrnie_smtp::Octets;
use byrnie_smtp::Received;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_smtp::TlsDemand;
use byrnie_smtp::refuse_loop;
use byrnie_store::CHUNK_OCTETS;
use byrnie_store::Incoming;
use byrnie_store::NewDelivery;
use byrnie_store::QueueId;
use byrnie_store::ReportSource;
use byrnie_store::SPILL_OCTETS;
use byrnie_store::Spool;
use byrnie_store::StoreError;

use crate::Collected;
use crate::Guarantee;
use crate::Metrics;
use crate::Network;
use crate::QueueConfig;
use crate::Route;
use crate::TakeReports;
use crate::delivery::Decide;
use crate::delivery::Terms;
use crate::events;
use crate::metrics::Admitted;
use crate::metrics::Over;
use crate::queue::Inlet;
use crate::rules::promised;

/// How mail is taken in.
#[derive(Clone, Debug)]
pub struct AcceptanceConfig {
    /// Whose mail is relayed; everybody else is refused. Default: this machine's.
    pub trusted_networks: Vec<Network>,
    /// Where others send TLS reports to, from any network. Default: nowhere.
    pub report_addresses: Vec<Mailbox>,
    /// Messages in the queue past which no further one is taken. Default 100,000.
    pub messages_max: u64,
}

impl AcceptanceConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trusted_networks: ["127.0.0.0/8", "::1"]
                .iter()
                .filter_map(|network| network.parse().ok())
                .collect(),
            report_addresses: Vec::new(),
            messages_max: 100_000,
        }
    }
}

impl AcceptanceConfig {
    /// Whether mail of a client is relayed.
    fn trusts(&self, peer: SocketAddr) -> bool {
        let mut networks = self.trusted_networks.iter();
        networks.any(|network| network.contains(peer.ip()))
    }

    /// Whether an address is one for reports; the case of its letters does not matter.
    fn is_for_reports(&self, address: &Mailbox) -> bool {
        let local_part = address.local_part.as_str();
        self.report_addresses.iter().any(|ours| {
            ours.domain == address.domain
                && ours.local_part.as_str().eq_ignore_ascii_case(local_part)
        })
    }
}

impl Default for AcceptanceConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes mail in for the queue.
pub(crate) struct Acceptance<S, D, C> {
    /// Where messages become durable.
    pub(crate) spool: Arc<S>,
    /// Says whether a sender's guarantee can be kept.
    pub(crate) decide: Arc<D>,
    /// Tells the time.
    pub(crate) clock: Arc<C>,
    /// Where sessions and messages are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// How.
    pub(crate) config: Arc<Current<AcceptanceConfig>>,
    /// The name of this host, for `Received`.
    pub(crate) hostname: DomainName,
    /// Senders whose mail travels over authenticated TLS or is refused.
    pub(crate) guarantees: Arc<Current<Vec<Guarantee>>>,
    /// Where mail goes next.
    pub(crate) route: Arc<Route>,
    /// How long a message may wait in the queue.
    pub(crate) queue: Arc<Current<QueueConfig>>,
    /// The way into the queue.
    pub(crate) inlet: Inlet,
    /// Where TLS reports go that come by mail; `None` where nobody takes them.
    pub(crate) reports: Option<Arc<dyn TakeReports>>,
}

impl<S: Spool, D: Decide, C: Clock> Acceptance<S, D, C> {
    /// Refuses recipients to whom a sender's guarantee cannot be kept (behaviour rule 35).
    pub(crate) async fn check_recipient(
        &self,
        reverse_path: &ReversePath,
        recipient: &Mailbox,
    ) -> Result<(), Reply> {
        let at_least = promised(&self.guarantees.get(), reverse_path);
        if at_least == Strength::Opportunistic {
            return Ok(());
        }
        let terms = Terms {
            at_least,
            ..Terms::default()
        };
        let next_hop = self.route.next_hop(&recipient.domain);
        let ruling = self.decide.decide(next_hop, terms).await;
        match ruling.decision.verdict {
            Verdict::Dane | Verdict::MtaSts => Ok(()),
            Verdict::Encrypt | Verdict::Opportunistic | Verdict::Wait | Verdict::Reject => {
                Err(unkept(&ruling.decision))
            }
        }
    }

    /// The field that says how the message came here.
    fn received(
        &self,
        session: &SessionFacts,
        envelope: &Envelope,
        queue_id: &str,
        time: UnixTime,
    ) -> String {
        let unnamed = MailDomain::Literal(session.peer.ip());
        let tls = session.tls.as_ref().map(ToString::to_string);
        let received = Received {
            client_name: session.hello.as_ref().map_or(&unnamed, |hello| &hello.name),
            client_address: session.peer.ip().to_canonical(),
            server: &self.hostname,
            protocol: session.protocol(envelope.smtputf8),
            tls: tls.as_deref(),
            queue_id,
            only_recipient: match envelope.recipients.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            time,
        };
        received.render()
    }
}

/// A message on its way in: into the queue, to where reports are kept, or both.
pub(crate) struct IncomingMail<S: Spool> {
    /// What goes into the queue, if anybody gets it.
    relayed: Option<Relayed<S>>,
    /// What may be a report.
    report: Option<IncomingReport>,
    /// The header section as the client sent it.
    header: HeaderLines,
}

/// A message on its way into the queue.
struct Relayed<S: Spool> {
    body: Incoming<S>,
    envelope: Envelope,
    over: Over,
    received_at: UnixTime,
    expires_at: UnixTime,
    metrics: Arc<Metrics>,
    route: Arc<Route>,
    inlet: Inlet,
}

/// What may be a report, on its way in.
struct IncomingReport {
    /// Its octets.
    octets: Collected,
    /// Who keeps it.
    keeper: Arc<dyn TakeReports>,
}

impl<S: Spool> IncomingMessage for IncomingMail<S> {
    async fn write(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.header.read(octets);
        if let Some(report) = &mut self.report {
            report.octets.push(octets);
        }
        match &mut self.relayed {
            Some(relayed) => relayed
                .body
                .write(octets)
                .await
                .map_err(|why| refusal(&why)),
            None => Ok(()),
        }
    }

    fn note_content(&mut self, content: Octets) {
        match (content, &mut self.relayed) {
            (Octets::EightBit, Some(relayed)) => relayed.envelope.body = BodyType::EightBitMime,
            (Octets::Ascii, _) | (Octets::EightBit, None) => {}
        }
    }

    fn held(&self) -> usize {
        let relayed = self.relayed.as_ref().map_or(0, |relayed| {
            // What is beyond that has been written ahead.
            let size = usize::try_from(relayed.body.size()).unwrap_or(usize::MAX);
            size.min(SPILL_OCTETS + CHUNK_OCTETS)
        });
        let report = self
            .report
            .as_ref()
            .map_or(0, |report| report.octets.held());
        relayed + report
    }

    async fn commit(self) -> Result<Reply, Reply> {
        refuse_loop(&self.header)?;
        // The report first: if the rest fails and the client comes again, it is known already.
        if let Some(IncomingReport { octets, keeper }) = self.report {
            let kept = keeper.take(octets, ReportSource::Mail).await;
            kept.map_err(|why| refusal(&why))?;
        }
        match self.relayed {
            Some(relayed) => relayed.commit(&self.header).await,
            None => Ok(Reply::new(250, EnhancedStatus::new(2, 0, 0), "report kept")),
        }
    }
}

impl<S: Spool> Relayed<S> {
    /// Makes the message durable, and hands it to the queue.
    async fn commit(self, header: &HeaderLines) -> Result<Reply, Reply> {
        let mut envelope = self.envelope;
        if envelope.tls_demand == TlsDemand::None {
            envelope.tls_demand = header.tls_demand();
        }
        let (id, size) = (self.body.id(), self.body.size());
        let deliveries = by_next_hop(
            &self.route,
            &envelope.recipients,
            self.received_at,
            self.expires_at,
        );
        let accepted = self
            .body
            .commit(envelope, self.received_at, deliveries)
            .await
            .map_err(|why| refusal(&why))?;
        if let Some(claim) = accepted.claims.first() {
            events::accepted(id, &claim.envelope, size);
        }
        self.metrics.accepted(self.over);
        self.inlet.accept(accepted);
        Ok(queued(id))
    }
}

impl<S: Spool, D: Decide, C: Clock> Acceptance<S, D, C> {
    /// Begins to take a message that goes on.
    async fn relay(&self, session: &SessionFacts, envelope: Envelope) -> Result<Relayed<S>, Reply> {
        if self.spool.depth().messages >= self.config.get().messages_max {
            return Err(refusal(&StoreError::Full));
        }
        let received_at = self.clock.now();
        let mut body = Incoming::begin(Arc::clone(&self.spool), received_at);
        let field = self.received(session, &envelope, &body.id().to_string(), received_at);
        let written = body.write(field.as_bytes()).await;
        written.map_err(|why| refusal(&why))?;
        Ok(Relayed {
            body,
            envelope,
            over: match session.tls {
                Some(_) => Over::Tls,
                None => Over::Clear,
            },
            received_at,
            expires_at: received_at + self.queue.get().lifetime,
            metrics: Arc::clone(&self.metrics),
            route: Arc::clone(&self.route),
            inlet: self.inlet.clone(),
        })
    }

    /// Who keeps reports for an address, if it is one for reports.
    fn keeper(&self, recipient: &Mailbox) -> Option<&Arc<dyn TakeReports>> {
        let keeper = self.reports.as_ref();
        keeper.filter(|_| self.config.get().is_for_reports(recipient))
    }
}

impl<S: Spool, D: Decide, C: Clock> MailService for Acceptance<S, D, C> {
    type Incoming = IncomingMail<S>;

    fn admit(&self, peer: SocketAddr) -> Result<(), Reply> {
        let config = self.config.get();
        if config.trusts(peer) {
            self.metrics.admitted(Admitted::Yes);
            return Ok(());
        }
        if self.reports.is_some() && !config.report_addresses.is_empty() {
            self.metrics.admitted(Admitted::ForReports);
            return Ok(());
        }
        self.metrics.admitted(Admitted::No);
        Err(not_relayed(peer, 554))
    }

    async fn recipient(
        &self,
        session: &SessionFacts,
        reverse_path: &ReversePath,
        recipient: &Mailbox,
    ) -> Result<(), Reply> {
        // Reports get here however the way: RFC 8460, Section 5.3 (behaviour rule 36).
        if self.keeper(recipient).is_some() {
            return Ok(());
        }
        if !self.config.get().trusts(session.peer) {
            return Err(not_relayed(session.peer, 550));
        }
        self.check_recipient(reverse_path, recipient).await
    }

    async fn begin(
        &self,
        session: &SessionFacts,
        mut envelope: Envelope,
    ) -> Result<IncomingMail<S>, Reply> {
        let mut report = None;
        envelope.recipients.retain(|recipient| {
            let Some(keeper) = self.keeper(recipient) else {
                return true;
            };
            report = Some(IncomingReport {
                octets: Collected::default(),
                keeper: Arc::clone(keeper),
            });
            false
        });
        // Whom a reload has made a stranger between two commands is one.
        if !envelope.recipients.is_empty() && !self.config.get().trusts(session.peer) {
            return Err(not_relayed(session.peer, 550));
        }
        Ok(IncomingMail {
            relayed: match envelope.recipients.is_empty() {
                true => None,
                false => Some(self.relay(session, envelope).await?),
            },
            report,
            header: HeaderLines::default(),
        })
    }
}

/// The reply for who may hand over nothing, or no mail for this recipient.
fn not_relayed(peer: SocketAddr, code: u16) -> Reply {
    let text = format!("{} is not in a network whose mail is relayed", peer.ip());
    Reply::new(code, EnhancedStatus::new(5, 7, 1), text)
}

/// One delivery for each next hop of the recipients; whoever is named twice gets one copy.
pub(crate) fn by_next_hop(
    route: &Route,
    recipients: &[Mailbox],
    due_at: UnixTime,
    expires_at: UnixTime,
) -> Vec<NewDelivery> {
    let mut deliveries: Vec<NewDelivery> = Vec::new();
    for mailbox in recipients {
        let next_hop = route.next_hop(&mailbox.domain);
        let same = deliveries
            .iter_mut()
            .find(|delivery| delivery.next_hop == *next_hop);
        match same {
            Some(delivery) if delivery.recipients.contains(mailbox) => {}
            Some(delivery) => delivery.recipients.push(mailbox.clone()),
            None => deliveries.push(NewDelivery {
                next_hop: next_hop.clone(),
                recipients: vec![mailbox.clone()],
                due_at,
                expires_at,
            }),
        }
    }
    deliveries
}

/// The reply that makes a message ours.
fn queued(id: QueueId) -> Reply {
    let text = format!("queued as {id}");
    Reply::new(250, EnhancedStatus::new(2, 0, 0), text)
}

/// The reply for a message that the store did not take.
fn refusal(why: &StoreError) -> Reply {
    if why.is_passing() {
        let text = "the queue takes no mail at the moment";
        return Reply::new(452, EnhancedStatus::new(4, 3, 1), text);
    }
    tracing::error!(target: "byrnie::queue", error = %why, "could not accept");
    let text = "the queue is out of order";
    Reply::new(451, EnhancedStatus::new(4, 3, 0), text)
}

/// The reply for a recipient to whom a guarantee cannot be kept.
///
/// What may pass is a temporary failure; that the domain does not offer enough is a permanent one,
/// which tells the sender at once instead of in five days.
fn unkept(decision: &Decision) -> Reply {
    let of_hosts = decision.hosts.iter().flat_map(|host| &host.reasons);
    let lacking = decision
        .reasons
        .iter()
        .chain(of_hosts)
        .any(|reason| matches!(reason, Reason::OperatorDemandUnmet { .. }));
    let reply = decision.reply();
    match reply {
        Some(reply) if !lacking => reply,
        Some(reply) => {
            let text = format!(
                "mail from this sender needs authenticated TLS; {}",
                reply.text()
            );
            Reply::new(550, NOT_SECURE, text)
        }
        None => {
            let text = "mail from this sender needs authenticated TLS, which the domain lacks";
            Reply::new(550, NOT_SECURE, text)
        }
    }
}

/// "Encryption needed", in the registry of RFC 5248.
const NOT_SECURE: EnhancedStatus = EnhancedStatus::new(5, 7, 10);
