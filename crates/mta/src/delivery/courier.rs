//! The rules of an attempt: which host is next, and what its answer means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_policy::Decision;
use byrnie_policy::HostDecision;
use byrnie_policy::HostVerdict;
use byrnie_policy::RequireTls;
use byrnie_policy::Requirement;
use byrnie_policy::Verdict;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Reply;
use byrnie_smtp::ReplyClass;
use byrnie_smtp::TlsDemand;
use byrnie_store::AttemptOutcome;
use byrnie_store::Body;
use byrnie_store::Circumstances;
use byrnie_store::Claim;
use byrnie_store::PendingRecipient;
use byrnie_store::Receipt;
use byrnie_tlsrpt::SessionResult;
use tokio::time::Instant;

use super::AddressOrder;
use super::Content;
use super::Decide;
use super::Deliver;
use super::DownAddresses;
use super::Failure;
use super::FailureClass;
use super::Fate;
use super::Offer;
use super::Offered;
use super::Report;
use super::Ruling;
use super::Session;
use super::Target;
use super::Terms;
use super::Trouble;
use super::order::hosts_to_try;
use crate::Guarantee;
use crate::Metrics;
use crate::Route;
use crate::events;
use crate::reports::sending::Recorder;
use crate::reports::sending::applied::obstacle_results;
use crate::reports::sending::applied::session_results;
use crate::rules::promised;
use crate::scheduler::Answer;

/// Carries messages to hosts under the decision's requirements.
pub(crate) struct Courier<D, O, C> {
    /// Says what is demanded.
    pub(crate) decide: Arc<D>,
    /// Moves the bytes.
    pub(crate) offer: O,
    /// Tells the time for receipts.
    pub(crate) clock: Arc<C>,
    /// Where attempts are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The port of mail hosts.
    pub(crate) port: u16,
    /// Which addresses to try.
    pub(crate) addresses: AddressOrder,
    /// Where mail goes next, also mail that was accepted when it went elsewhere.
    pub(crate) route: Arc<Route>,
    /// Which of them did not answer lately.
    pub(crate) down: Arc<DownAddresses>,
    /// What senders were promised.
    pub(crate) guarantees: Arc<Current<Vec<Guarantee>>>,
    /// Where it is counted how TLS went; `None` where nobody is told.
    pub(crate) recorder: Option<Arc<Recorder>>,
}

impl<D: Decide, O: Offer, C: Clock> Deliver for Courier<D, O, C> {
    async fn deliver(&self, claim: &Claim, body: Option<&Body>) -> Report {
        let next_hops = self.next_hops(claim);
        if let [next_hop] = next_hops.as_slice() {
            return self.deliver_to(next_hop, claim, body).await;
        }
        let turn = usize::try_from(claim.attempt).unwrap_or_default();
        let turn = turn.checked_rem(next_hops.len()).unwrap_or_default();
        let next_hop = *next_hops.get(turn).unwrap_or(&&claim.next_hop);
        let is_next = |recipient: &PendingRecipient| {
            self.route.next_hop(&recipient.mailbox.domain) == next_hop
        };
        let mut part = claim.clone();
        part.recipients.retain(is_next);
        let report = self.deliver_to(next_hop, &part, body).await;
        let mut fates = report.fates.into_iter();
        let fates = claim.recipients.iter().map(|recipient| {
            let fate = is_next(recipient).then(|| fates.next()).flatten();
            fate.unwrap_or_else(|| Fate::Deferred(another_next_hop()))
        });
        Report {
            fates: fates.collect(),
            ..report
        }
    }
}

impl<D: Decide, O: Offer, C: Clock> Courier<D, O, C> {
    /// Where the recipients' mail goes as things are now: to one next hop, unless the message was accepted
    /// for a smart host that is no longer configured. Each attempt is then made at one of them.
    fn next_hops<'a>(&'a self, claim: &'a Claim) -> Vec<&'a MailDomain> {
        let mut next_hops = Vec::new();
        for recipient in &claim.recipients {
            let next_hop = self.route.next_hop(&recipient.mailbox.domain);
            if !next_hops.contains(&next_hop) {
                next_hops.push(next_hop);
            }
        }
        next_hops
    }

    /// Decides what mail to a next hop needs, and offers it there.
    async fn deliver_to(
        &self,
        next_hop: &MailDomain,
        claim: &Claim,
        body: Option<&Body>,
    ) -> Report {
        let started = self.clock.monotonic();
        let terms = Terms {
            demand: claim.envelope.tls_demand,
            floor: claim.floor,
            at_least: promised(&self.guarantees.get(), &claim.envelope.reverse_path),
        };
        let ruling = self.decide.decide(next_hop, terms).await;
        let decision = &ruling.decision;
        let took = self.clock.monotonic().saturating_duration_since(started);
        self.metrics.decided(decision.verdict, took);
        events::decided(claim, decision);

        let mut attempt = Attempt::new(next_hop, claim, body, &ruling);
        match decision.verdict {
            Verdict::Reject => attempt.without_host(AttemptOutcome::Bounced, &why(decision)),
            Verdict::Wait => {
                self.record(claim, next_hop, || {
                    obstacle_results(&ruling.evidence, decision)
                });
                attempt.without_host(AttemptOutcome::Deferred, &why(decision));
            }
            Verdict::Dane | Verdict::MtaSts | Verdict::Encrypt | Verdict::Opportunistic => {
                self.try_hosts(&mut attempt, decision).await;
            }
        }
        let report = attempt.end(self.clock.as_ref());
        for receipt in &report.receipts {
            self.metrics.attempted(receipt);
            events::attempted(receipt);
        }
        report
    }

    /// Offers the message to one host after the other until one has spoken for all, or until that has
    /// taken too long.
    async fn try_hosts(&self, attempt: &mut Attempt<'_>, decision: &Decision) {
        let begun = Instant::now();
        let mut hosts = hosts_to_try(decision.usable_hosts(), &mut fastrand::Rng::new());
        if hosts.len() < decision.usable_hosts().count() {
            attempt.passed_over();
        }
        // Stable, so that preferences count among those that may answer.
        hosts.sort_by_key(|(host, _)| self.is_down(host));
        let is_last_attempt = self.clock.now() >= attempt.claim.expires_at;
        if !is_last_attempt && hosts.first().is_some_and(|(host, _)| self.is_down(host)) {
            attempt.answer = Answer::Silent;
            return attempt.without_host(AttemptOutcome::Deferred, &down_lately());
        }
        for (host, requirement) in hosts {
            let mut target = Target {
                host: match attempt.next_hop {
                    MailDomain::Name(_) => Some(host.host.clone()),
                    MailDomain::Literal(_) => None,
                },
                addresses: self.addresses(host),
                requirement: Requirement {
                    tls: requirement.tls.reduced(),
                    require_tls: requirement.require_tls,
                    sts_observation: requirement.sts_observation,
                },
            };
            while !target.addresses.is_empty() {
                if begun.elapsed() >= ATTEMPT_TIME_MAX {
                    attempt.passed_over();
                    return attempt.no_host_is_left(decision);
                }
                let offering = self.offer.offer(attempt.claim, attempt.body, &target);
                let offered = offering.await;
                for handshake in &offered.handshakes {
                    self.record(attempt.claim, attempt.next_hop, || {
                        let evidence = &attempt.ruling.evidence;
                        session_results(evidence, &host.host, &requirement.tls, handshake)
                    });
                }
                let tried = offered.addresses();
                if attempt.offered(host, &target, offered) == Next::Stop {
                    return;
                }
                // What names no address has tried them all.
                if tried.is_empty() {
                    break;
                }
                target.addresses.retain(|left| !tried.contains(left));
            }
        }
        attempt.no_host_is_left(decision);
    }

    /// Counts how TLS went with a domain's host.
    ///
    //= https://www.rfc-editor.org/rfc/rfc8460#section-4.1
    // Mail that carries a report says `TLS-Required: No`, as does other mail to which policies are not
    // applied: neither is told of.
    fn record(
        &self,
        claim: &Claim,
        next_hop: &MailDomain,
        results: impl FnOnce() -> Vec<SessionResult>,
    ) {
        if let (Some(recorder), MailDomain::Name(domain)) = (&self.recorder, next_hop)
            && claim.envelope.tls_demand != TlsDemand::TlsNotRequired
        {
            recorder.record(domain, results());
        }
    }

    /// Where to connect, those last that did not answer lately.
    fn addresses(&self, host: &HostDecision) -> Vec<SocketAddr> {
        let sorted = self.addresses.sort(&host.addresses).into_iter();
        let mut addresses: Vec<SocketAddr> = sorted
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        addresses.sort_by_key(|address| self.down.is_down(*address));
        addresses
    }

    /// Whether none of a host's addresses answered lately.
    fn is_down(&self, host: &HostDecision) -> bool {
        let addresses = self.addresses(host);
        let first = addresses.first();
        first.is_some_and(|address| self.down.is_down(*address))
    }
}

/// Whether another host is to be tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// One is.
    Continue,
    /// None is.
    Stop,
}

/// An attempt while it runs.
struct Attempt<'a> {
    /// Where the mail goes.
    next_hop: &'a MailDomain,
    claim: &'a Claim,
    body: Option<&'a Body>,
    ruling: &'a Ruling,
    /// What is known about each recipient of the claim.
    fates: Vec<Option<Fate>>,
    /// What was tried; completed with the time at the end.
    receipts: Vec<Receipt>,
    /// The last failure that led to another host.
    passed: Option<Trouble>,
    /// Whether every host so far lacked what the message needs.
    all_lack: bool,
    /// The most that a host made of being asked.
    answer: Answer,
    content: Content,
}

impl<'a> Attempt<'a> {
    /// An attempt at which nothing has happened.
    fn new(
        next_hop: &'a MailDomain,
        claim: &'a Claim,
        body: Option<&'a Body>,
        ruling: &'a Ruling,
    ) -> Self {
        let hosts = &ruling.decision.hosts;
        Self {
            next_hop,
            claim,
            body,
            ruling,
            fates: vec![None; claim.recipients.len()],
            receipts: Vec::new(),
            answer: Answer::NotAsked,
            content: Content::Intact,
            passed: None,
            // A host that may be used later might have what the others lack.
            all_lack: hosts.iter().all(|host| host.verdict != HostVerdict::Wait),
        }
    }

    /// No host is tried: `reply` says why.
    fn without_host(&mut self, outcome: AttemptOutcome, reply: &Reply) {
        let trouble = Trouble {
            reply: reply.clone(),
            host: None,
        };
        self.settle(|| match outcome {
            AttemptOutcome::Bounced => Fate::Bounced(trouble.clone()),
            AttemptOutcome::Deferred | AttemptOutcome::Delivered | AttemptOutcome::NextHost => {
                Fate::Deferred(trouble.clone())
            }
        });
        let mut receipt = self.receipt(outcome, self.everybody());
        receipt.reason = Some(reply.text());
        self.receipts.push(receipt);
    }

    /// Takes in what came of an offer to one host.
    fn offered(&mut self, host: &HostDecision, target: &Target, offered: Offered) -> Next {
        for (address, failure) in offered.unreached {
            if self.failed(host, target, At::Unreached(address), failure) == Next::Stop {
                return Next::Stop;
            }
        }
        let Some(mut session) = offered.session else {
            return Next::Continue;
        };
        let name = &target.host;
        for (outcome, recipients, reply) in self.take_replies(name.as_ref(), &session.replies) {
            let at = At::Session(&session);
            let mut receipt = self.receipt_at(host, target, at, outcome, recipients);
            receipt.reply = Some(reply);
            self.receipts.push(receipt);
        }
        match session.failure.take() {
            Some(failure) => self.failed(host, target, At::Session(&session), failure),
            // A host that left anybody out without saying why is not asked again at once.
            None => {
                self.answer = Answer::Answered;
                self.settle(|| Fate::Deferred(silence(name.clone())));
                Next::Stop
            }
        }
    }

    /// Takes in a failure, which is about all recipients without a fate.
    fn failed(
        &mut self,
        host: &HostDecision,
        target: &Target,
        at: At<'_>,
        failure: Failure,
    ) -> Next {
        self.answer = self.answer.max(failure.answer);
        // No host is to blame for what it was not asked.
        let blamed = failure.answer.is_of_hosts();
        let trouble = Trouble {
            reply: failure.reply,
            host: target.host.clone().filter(|_| blamed),
        };
        let recipients = self.unsettled();
        let (outcome, next) = match failure.class {
            FailureClass::NextHost | FailureClass::Security => {
                self.all_lack = false;
                (AttemptOutcome::NextHost, Next::Continue)
            }
            FailureClass::Missing => (AttemptOutcome::NextHost, Next::Continue),
            FailureClass::Damaged => {
                self.content = Content::Damaged;
                self.settle(|| Fate::Deferred(trouble.clone()));
                (AttemptOutcome::Deferred, Next::Stop)
            }
            FailureClass::Later => {
                self.settle(|| Fate::Deferred(trouble.clone()));
                (AttemptOutcome::Deferred, Next::Stop)
            }
            FailureClass::GiveUp => {
                self.settle(|| Fate::Bounced(trouble.clone()));
                (AttemptOutcome::Bounced, Next::Stop)
            }
        };
        let mut receipt = self.receipt_at(host, target, at, outcome, recipients);
        receipt.reason = Some(trouble.reply.text());
        self.receipts.push(receipt);
        self.passed = Some(trouble);
        next
    }

    /// Settles the recipients that the host spoke about; gives a group for each outcome.
    fn take_replies(
        &mut self,
        host: Option<&DomainName>,
        replies: &[Option<Result<Reply, Reply>>],
    ) -> Vec<(AttemptOutcome, Vec<Mailbox>, Reply)> {
        let mut groups: Vec<(AttemptOutcome, Vec<Mailbox>, Reply)> = Vec::new();
        let recipients = self.claim.recipients.iter();
        for ((fate, recipient), reply) in self.fates.iter_mut().zip(recipients).zip(replies) {
            let (None, Some(reply)) = (&fate, reply) else {
                continue;
            };
            let (outcome, reply) = match reply {
                Ok(reply) => (AttemptOutcome::Delivered, reply),
                Err(reply) if reply.class() == ReplyClass::PermanentFailure => {
                    (AttemptOutcome::Bounced, reply)
                }
                Err(reply) => (AttemptOutcome::Deferred, reply),
            };
            let trouble = || Trouble {
                reply: reply.clone(),
                host: host.cloned(),
            };
            *fate = Some(match outcome {
                AttemptOutcome::Delivered => Fate::Delivered(reply.clone()),
                AttemptOutcome::Bounced => Fate::Bounced(trouble()),
                AttemptOutcome::Deferred | AttemptOutcome::NextHost => Fate::Deferred(trouble()),
            });
            match groups.iter_mut().find(|(of, _, _)| *of == outcome) {
                Some((_, mailboxes, _)) => mailboxes.push(recipient.mailbox.clone()),
                None => groups.push((outcome, vec![recipient.mailbox.clone()], reply.clone())),
            }
        }
        groups
    }

    /// Some host will not be tried, which might have what the others lack.
    fn passed_over(&mut self) {
        self.all_lack = false;
    }

    /// Every host was tried, or no more may be.
    fn no_host_is_left(&mut self, decision: &Decision) {
        let (trouble, lacking) = match self.passed.take() {
            Some(trouble) => (trouble, self.all_lack),
            None => {
                let reply = why(decision);
                (Trouble { reply, host: None }, false)
            }
        };
        self.settle(|| {
            if lacking {
                Fate::Bounced(trouble.clone())
            } else {
                Fate::Deferred(trouble.clone())
            }
        });
        let outcome = if lacking {
            AttemptOutcome::Bounced
        } else {
            AttemptOutcome::Deferred
        };
        match self.receipts.last_mut() {
            // The last host's receipt says how the attempt ended.
            Some(receipt) if receipt.outcome == AttemptOutcome::NextHost => {
                receipt.outcome = outcome;
            }
            Some(_) => {}
            None => {
                let mut receipt = self.receipt(outcome, self.everybody());
                receipt.reason = Some(trouble.reply.text());
                self.receipts.push(receipt);
            }
        }
    }

    /// Gives everybody without a fate this one.
    fn settle(&mut self, fate: impl Fn() -> Fate) {
        for open in &mut self.fates {
            open.get_or_insert_with(&fate);
        }
    }

    /// Recipients without a fate.
    fn unsettled(&self) -> Vec<Mailbox> {
        self.claim
            .recipients
            .iter()
            .zip(&self.fates)
            .filter(|(_, fate)| fate.is_none())
            .map(|(recipient, _)| recipient.mailbox.clone())
            .collect()
    }

    /// All recipients.
    fn everybody(&self) -> Vec<Mailbox> {
        let recipients = self.claim.recipients.iter();
        recipients
            .map(|recipient| recipient.mailbox.clone())
            .collect()
    }

    /// A receipt for an offer, at one address.
    fn receipt_at(
        &self,
        host: &HostDecision,
        target: &Target,
        at: At<'_>,
        outcome: AttemptOutcome,
        recipients: Vec<Mailbox>,
    ) -> Receipt {
        let Requirement {
            tls, require_tls, ..
        } = &target.requirement;
        let mut reasons = self.ruling.reasons_of(&host.host).to_vec();
        let (address, tls_receipt) = match at {
            At::Unreached(address) => (address, None),
            At::Session(session) => {
                let fell_back = session.fell_back_after.iter().map(|failure| {
                    format!("TLS failed and nothing demands it, so clear text was used: {failure}")
                });
                reasons.extend(fell_back);
                (session.address, session.tls.clone())
            }
        };
        let circumstances = Circumstances {
            demanded: Some(tls.strength()),
            requiretls: *require_tls == RequireTls::Demanded,
            reasons,
            host: target.host.clone(),
            address: Some(address),
            tls: tls_receipt,
        };
        self.receipt_with(circumstances, outcome, recipients)
    }

    /// A receipt that names no host.
    fn receipt(&self, outcome: AttemptOutcome, recipients: Vec<Mailbox>) -> Receipt {
        let circumstances = Circumstances {
            reasons: self.ruling.reasons.clone(),
            ..Circumstances::default()
        };
        self.receipt_with(circumstances, outcome, recipients)
    }

    /// A receipt; its time is set at the end.
    fn receipt_with(
        &self,
        circumstances: Circumstances,
        outcome: AttemptOutcome,
        recipients: Vec<Mailbox>,
    ) -> Receipt {
        Receipt {
            queue_id: self.claim.queue_id,
            next_hop: self.next_hop.clone(),
            attempt: self.claim.attempt,
            at: self.claim.received_at,
            outcome,
            recipients,
            circumstances: Arc::new(circumstances),
            reply: None,
            reason: None,
        }
    }

    /// What the attempt came to.
    fn end(self, clock: &impl Clock) -> Report {
        let now = clock.now();
        let mut receipts = self.receipts;
        for receipt in &mut receipts {
            receipt.at = now;
        }
        Report {
            fates: self
                .fates
                .into_iter()
                .map(|fate| fate.unwrap_or_else(|| Fate::Deferred(silence(None))))
                .collect(),
            // Only ever raised: a decision that knows of no promise says nothing about strength.
            floor: self.claim.floor.max(self.ruling.decision.floor()),
            receipts,
            answer: self.answer,
            content: self.content,
        }
    }
}

/// Where an offer came to its end.
#[derive(Clone, Copy)]
enum At<'a> {
    /// There was no connection that does.
    Unreached(SocketAddr),
    /// There was one.
    Session(&'a Session),
}

impl Offered {
    /// The addresses that were tried to the end.
    fn addresses(&self) -> Vec<SocketAddr> {
        let unreached = self.unreached.iter().map(|(address, _)| *address);
        let session = self.session.iter().map(|session| session.address);
        unreached.chain(session).collect()
    }
}

/// Why a decision names no host.
fn why(decision: &Decision) -> Reply {
    decision.reply().unwrap_or_else(|| {
        let status = EnhancedStatus::new(4, 4, 0);
        Reply::new(451, status, "no host could be tried")
    })
}

/// Every host is down as far as is known, and not asked again so soon.
fn down_lately() -> Reply {
    let status = EnhancedStatus::new(4, 4, 1);
    let text = "no host of the domain answered a short while ago";
    Reply::new(451, status, text)
}

/// The attempt was about recipients who share another next hop.
fn another_next_hop() -> Trouble {
    let status = EnhancedStatus::new(4, 3, 5);
    let text = "the smart host that it was accepted for is no longer configured, and its recipients' \
                domains are tried in turns";
    Trouble {
        reply: Reply::new(451, status, text),
        host: None,
    }
}

/// A host that said nothing about a recipient.
fn silence(host: Option<DomainName>) -> Trouble {
    let status = EnhancedStatus::new(4, 4, 2);
    Trouble {
        reply: Reply::new(
            451,
            status,
            "the host did not say what became of the message",
        ),
        host,
    }
}

/// How long an attempt goes on to further hosts and addresses. One that is under way is not broken
/// off, as it might have taken the message; but a domain with many hosts that say nothing must not
/// hold the place of other mail for as long as their time-outs add up to.
pub(super) const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10 * 60);
