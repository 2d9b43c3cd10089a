//! Plays one scenario and judges it by what the lab itself saw, and by what the program said.
//!
//! Neither alone is enough. A message that did not arrive may only be slow: so "withheld" is proven
//! by the program's own word that it was deferred, and by the absence of the message at every mail
//! host, then and at the end of the run. A message that arrived over TLS may have met anybody: so
//! "authenticated" is proven by TLS at the right host, by what was demanded, and by what the program
//! says that it matched.

mod beside;

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::LabError;
use crate::dns::dns_name;
use crate::event::Attempt;
use crate::event::Event;
use crate::inbox::Inbox;
use crate::inject::Injector;
use crate::inject::Mail;
use crate::inject::Submission;
use crate::neighbour::Neighbour;
use crate::report::Check;
use crate::report::Line;
use crate::report::LineKind;
use crate::report::ScenarioResult;
use crate::report::Verdict;
use crate::scenario::Case;
use crate::scenario::Copies;
use crate::scenario::Expected;
use crate::scenario::Protection;
use crate::scenario::Scenario;
use crate::scenario::Step;
use crate::subject::Log;
use crate::subject::LogLine;
use crate::world::RECORD_TTL;
use crate::world::Site;

/// Plays one scenario from its first step to its last. A neighbour of the program asks how mail to the same
/// domains must go, and must be told the same.
pub(crate) async fn play(
    scenario: Scenario,
    site: &mut Site,
    injector: &Injector,
    neighbour: Option<&Neighbour>,
    log: &Log,
) -> ScenarioResult {
    let mut player = Player {
        name: scenario.name,
        inbox: site.world.inbox.clone(),
        injector,
        neighbour,
        log,
        story: Vec::new(),
        checks: Vec::new(),
        sent: HashMap::new(),
        withheld: Vec::new(),
        arrived: 0,
        limits: Limits {
            settle: SETTLE_MAX,
            returned: RETURN_MAX,
        },
    };
    for step in (scenario.steps)() {
        if let Err(error) = player.step(step, site).await {
            player.broken(&error);
            break;
        }
    }
    player.still_withheld();
    ScenarioResult {
        name: scenario.name,
        title: scenario.title,
        story: player.story,
        checks: player.checks,
        arrived: player.arrived,
    }
}

/// A message on its way.
struct Sent {
    /// As it was handed in.
    mail: Mail,
    /// Its name in the queue.
    queue_id: String,
    /// Events that the story has told of.
    told: usize,
    /// When it was handed in.
    at: Instant,
}

/// What the lab makes of a message's events.
enum Got {
    /// It arrived.
    Delivered(Protection),
    /// It was deferred.
    Waits,
    /// It went back.
    Bounced,
    /// It was not even taken.
    NotAccepted(String),
    /// Nothing was heard of it in time.
    Nothing,
    /// It arrived otherwise than it may.
    Wrong(String),
}

/// Plays one scenario.
struct Player<'a> {
    /// The scenario's name.
    name: &'static str,
    /// What arrived anywhere.
    inbox: Inbox,
    /// Hands mail in.
    injector: &'a Injector,
    /// Asks how mail must go, unless it goes to a smart host.
    neighbour: Option<&'a Neighbour>,
    /// What the program says.
    log: &'a Log,
    /// The story so far.
    story: Vec<Line>,
    /// The judgements so far.
    checks: Vec<Check>,
    /// Messages by recipient.
    sent: HashMap<&'static str, Sent>,
    /// Marks of messages that must not have arrived anywhere, even at the end.
    withheld: Vec<(&'static str, String)>,
    /// Messages that have arrived, and each copy of one.
    arrived: usize,
    /// How long is waited for what.
    limits: Limits,
}

/// How long the lab waits before it says that something did not happen.
#[derive(Clone, Copy)]
struct Limits {
    /// For the end of a message, or its first wait.
    settle: Duration,
    /// For a message that comes back to its sender.
    returned: Duration,
}

impl Player<'_> {
    async fn step(&mut self, step: Step, site: &mut Site) -> Result<(), LabError> {
        match step {
            Step::Send(cases) => {
                let mut refused = HashMap::new();
                for case in &cases {
                    if let Err(reply) = self.send(case).await {
                        refused.insert(case.to, reply);
                    }
                    self.crowd(case).await?;
                }
                for case in &cases {
                    let got = match refused.remove(case.to) {
                        Some(reply) => Got::NotAccepted(reply),
                        None => self.settle(case, End::FirstWait).await,
                    };
                    self.judge(case, got).await;
                    self.compare(case).await?;
                }
            }
            Step::Later(case) => {
                self.withheld.retain(|(to, _)| *to != case.to);
                let got = self.settle(&case, End::Last).await;
                self.judge(&case, got).await;
            }
            Step::Change { said, how } => {
                self.tell(LineKind::Changed, String::from(said));
                how(site)?;
                site.settle().await?;
            }
            Step::Expire => {
                // Not a wait for luck: this is how long the records may be remembered.
                let expiry = Duration::from_secs(u64::from(RECORD_TTL)) + EXPIRY_MARGIN;
                tokio::time::sleep(expiry).await;
            }
            Step::NotAsked { owner, rtype } => {
                let name = dns_name(owner)?;
                let queries = site.world.dns.queries();
                let asked = queries
                    .iter()
                    .filter(|query| query.name == name && query.rtype == rtype)
                    .count();
                self.check(
                    format!("{owner} {rtype}"),
                    String::from("never asked"),
                    format!("asked {asked} times"),
                    asked == 0,
                );
            }
        }
        Ok(())
    }

    /// Hands a message in and finds its name in the queue; the reply if it is refused.
    async fn send(&mut self, case: &Case) -> Result<(), String> {
        let number = self.sent.len() + 1;
        let id = format!("{}-{number}-{:08x}", self.name, fastrand::u32(..));
        let mail = Mail {
            from: format!("{id}@{SENDER_DOMAIN}"),
            id,
            to: vec![String::from(case.to)],
            submission: case.submission,
            parameters: case.parameters,
            headers: case.headers,
            padding: 0,
        };
        let at = Instant::now();
        if let Err(error) = self.injector.inject(&mail).await {
            let text = format!("to {}, not taken: {error}", case.to);
            self.tell(LineKind::Sent, text);
            return Err(error.to_string());
        }
        let marked = |event: &Event| match event {
            Event::Accepted { queue_id, from, .. } if from.contains(&mail.id) => {
                Some(queue_id.clone())
            }
            Event::Accepted { .. }
            | Event::Decided { .. }
            | Event::Attempted(_)
            | Event::Delivered(_)
            | Event::Deferred(_)
            | Event::Bounced(_) => None,
        };
        let queue_id = self
            .log
            .wait(ACCEPT_MAX, |lines| {
                lines
                    .iter()
                    .rev()
                    .find_map(|line| marked(line.event.as_ref()?))
            })
            .await
            .ok_or("taken, but its log says nothing of it")?;
        self.tell(
            LineKind::Sent,
            format!("to {}, queued as {queue_id}", case.to),
        );
        let told = 0;
        let sent = Sent {
            mail,
            queue_id,
            told,
            at,
        };
        self.sent.insert(case.to, sent);
        Ok(())
    }

    /// Hands messages in that nobody asks about.
    async fn crowd(&mut self, case: &Case) -> Result<(), LabError> {
        let (_, domain) = case.to.split_once('@').unwrap_or_default();
        for number in 0..case.crowd {
            let id = format!("{}-crowd-{number}", self.name);
            let mail = Mail {
                from: format!("{id}@{SENDER_DOMAIN}"),
                id,
                to: vec![format!("crowd{number}@{domain}")],
                submission: Submission::Clear,
                parameters: "",
                headers: "",
                padding: 0,
            };
            let taken = self.injector.inject(&mail).await;
            taken.map_err(|error| LabError::Subject(format!("took no crowd: {error}")))?;
        }
        if case.crowd > 0 {
            self.tell(LineKind::Sent, format!("{} more to {domain}", case.crowd));
        }
        Ok(())
    }

    /// Waits for the end of a message, or for its first wait, and tells the story up to there.
    async fn settle(&mut self, case: &Case, end: End) -> Got {
        let Some(sent) = self.sent.get(case.to) else {
            return Got::Nothing;
        };
        let queue_id = sent.queue_id.clone();
        let ended = self.log.wait(self.limits.settle, |lines| {
            let events = history(lines, &queue_id, end);
            let last = events.last().and_then(|event| ending(event, end));
            last.map(|ending| (events, ending))
        });
        let Some((events, ending)) = ended.await else {
            let events = self.log.look(|lines| history(lines, &queue_id, end));
            self.narrate(case.to, &events);
            return Got::Nothing;
        };
        self.narrate(case.to, &events);
        match ending {
            Ending::Delivered => self.delivered(case, &events),
            Ending::Waits => Got::Waits,
            Ending::Bounced => Got::Bounced,
        }
    }

    /// Looks at what arrived, as the receiving host saw it.
    fn delivered(&mut self, case: &Case, events: &[Event]) -> Got {
        let Some(sent) = self.sent.get(case.to) else {
            return Got::Nothing;
        };
        let arrived = self
            .inbox
            .find(|received| received.id.as_ref() == Some(&sent.mail.id));
        self.arrived += arrived.len();
        let copies_max = match case.copies {
            Copies::One => 1,
            Copies::OneForEachAttempt => attempts(events),
        };
        let received = match arrived.as_slice() {
            [received, ..] if arrived.len() <= copies_max => received,
            [] | [..] => return Got::Wrong(format!("it arrived {} times", arrived.len())),
        };
        let (sent_at, arrived_at) = (sent.at, received.at);
        if case
            .within
            .is_some_and(|within| arrived_at > sent_at + within)
        {
            return Got::Wrong(format!("it took {:?}", arrived_at - sent_at));
        }
        let Some(attempt) = successful_attempt(events) else {
            return Got::Wrong(String::from("no attempt is said to have delivered it"));
        };
        if case.host.is_some_and(|host| host != received.host) {
            return Got::Wrong(format!("it arrived at {}", received.host));
        }
        let recipient = format!("<{}>", case.to);
        if !received
            .recipients
            .iter()
            .any(|to| to.starts_with(&recipient))
        {
            return Got::Wrong(format!("it arrived for {:?}", received.recipients));
        }
        if !received
            .reverse_path
            .starts_with(&format!("<{}>", sent.mail.from))
        {
            return Got::Wrong(format!("it arrived from {}", received.reverse_path));
        }
        if !received.reverse_path.contains(case.parameters) {
            return Got::Wrong(format!("it arrived without {}", case.parameters));
        }
        let body = sent.mail.body();
        if arrived
            .iter()
            .any(|copy| !copy.message.ends_with(body.as_bytes()))
        {
            return Got::Wrong(String::from("its body was changed"));
        }
        let demanded = attempt.demanded.to_lowercase();
        let proof = attempt.authenticated_by.to_lowercase();
        let authority = proof.contains("authority") && !proof.contains("tlsa");
        match &received.tls {
            None if attempt.tls.is_empty() || attempt.tls == "none" => {
                Got::Delivered(Protection::Clear)
            }
            None => Got::Wrong(format!("in clear text, said to be over {}", attempt.tls)),
            Some(_) if demanded.contains("dane") && proof.contains("tlsa") => {
                Got::Delivered(Protection::Dane)
            }
            Some(_) if demanded.contains("sts") && authority => Got::Delivered(Protection::MtaSts),
            Some(_) => Got::Delivered(Protection::Encrypted),
        }
    }

    /// Compares what came with what must come.
    async fn judge(&mut self, case: &Case, got: Got) {
        // Why it waits must be said of the attempts and of the wait themselves: what the decision
        // says about the domain is said of mail that arrives, too.
        let ending = self.words_about(case.to, words_of_ending);
        let missing = |text: &str| !ending.contains(&text.to_lowercase());
        let mut text = match &got {
            Got::Delivered(protection) => format!("delivered, {protection}"),
            Got::Waits => String::from("withheld, waits"),
            Got::Bounced => String::from("returned"),
            Got::NotAccepted(reply) => {
                let code = reply.split_ascii_whitespace().next().unwrap_or_default();
                format!("not taken: {code}")
            }
            Got::Nothing => String::from("nothing, in the time that the lab waits"),
            Got::Wrong(what) => format!("not as it was sent: {what}"),
        };
        let mut as_it_must = match (case.expected, &got) {
            (Expected::Delivered(expected), Got::Delivered(got)) => expected == *got,
            (Expected::Waits(reason), Got::Waits) => {
                self.keep_watch(case.to);
                if missing(reason) {
                    text = format!("{text}, but not because of {reason:?}");
                }
                !missing(reason)
            }
            (Expected::Bounced(status), Got::Bounced) => {
                self.keep_watch(case.to);
                let returned = self.was_returned(case.to, status).await;
                text = match returned {
                    true => format!("{text}, {status}"),
                    false => format!("{text}, but not with {status}"),
                };
                returned
            }
            (Expected::Refused(code), Got::NotAccepted(reply)) => reply.starts_with(code),
            (
                Expected::Delivered(_)
                | Expected::Waits(_)
                | Expected::Bounced(_)
                | Expected::Refused(_),
                Got::Delivered(_)
                | Got::Waits
                | Got::Bounced
                | Got::NotAccepted(_)
                | Got::Nothing
                | Got::Wrong(_),
            ) => false,
        };
        let decision = self.words_about(case.to, words_of_decision);
        let unsaid = |reason: &&&str| !decision.contains(&reason.to_lowercase());
        if let Some(reason) = case.reasons.iter().find(unsaid) {
            text = format!("{text}, and no reason says {reason:?}");
            as_it_must = false;
        }
        let expected = case.expected.to_string();
        self.check(String::from(case.to), expected, text, as_it_must);
    }

    /// Whether a message came back to its sender, with this status in it.
    async fn was_returned(&self, to: &str, status: &str) -> bool {
        let Some(sent) = self.sent.get(to) else {
            return false;
        };
        let sender = format!("<{}>", sent.mail.from);
        self.inbox
            .wait(self.limits.returned, |all| {
                all.iter().any(|received| {
                    received.recipients.iter().any(|to| to.starts_with(&sender))
                        && received.reverse_path.starts_with("<>")
                        && String::from_utf8_lossy(&received.message).contains(status)
                })
            })
            .await
    }

    /// Remembers that a message must not have arrived anywhere, now and at the end.
    fn keep_watch(&mut self, to: &'static str) {
        if let Some(sent) = self.sent.get(to) {
            self.withheld.push((to, sent.mail.id.clone()));
        }
    }

    /// Looks for messages that arrived although they were withheld.
    fn still_withheld(&mut self) {
        for (to, id) in std::mem::take(&mut self.withheld) {
            let arrived = self
                .inbox
                .find(|received| received.id.as_ref() == Some(&id));
            if let Some(received) = arrived.first() {
                let got = format!("it arrived at {}", received.host);
                let expected = String::from("arrives nowhere");
                self.check(String::from(to), expected, got, false);
            }
        }
    }

    /// What the program said about a message, as `words` picks it from each event, in lower case.
    fn words_about(&self, to: &str, words: fn(&Event) -> String) -> String {
        let Some(sent) = self.sent.get(to) else {
            return String::new();
        };
        let lines = self.log.look(|lines| {
            let about = |event: &Event| event.about().0 == sent.queue_id;
            lines
                .iter()
                .filter_map(|line| line.event.clone().filter(about))
                .map(|event| words(&event))
                .collect::<Vec<_>>()
        });
        lines.join("\n").to_lowercase()
    }

    /// Tells what has not been told yet.
    fn narrate(&mut self, to: &str, events: &[Event]) {
        let told = self.sent.get(to).map_or(0, |sent| sent.told);
        for event in events.iter().skip(told) {
            let (kind, text) = match event {
                Event::Accepted { .. } => continue,
                Event::Decided {
                    verdict, reasons, ..
                } => (LineKind::Demanded, format!("{verdict}: {}", prose(reasons))),
                Event::Attempted(attempt) => (LineKind::Tried, tried(attempt)),
                Event::Delivered(_) => (LineKind::Ended, String::from("delivered")),
                Event::Deferred(ending) => {
                    let (reason, next) = (&ending.reason, &ending.next_attempt_in);
                    (LineKind::Ended, format!("waits {next} s: {reason}"))
                }
                Event::Bounced(ending) => (LineKind::Ended, format!("returned: {}", ending.reason)),
            };
            self.tell(kind, text);
        }
        for (address, sent) in &mut self.sent {
            if *address == to {
                sent.told = sent.told.max(events.len());
            }
        }
    }

    fn tell(&mut self, kind: LineKind, text: String) {
        self.story.push(Line { kind, text });
    }

    fn check(&mut self, about: String, expected: String, got: String, as_it_must: bool) {
        let verdict = match as_it_must {
            true => Verdict::AsItMust,
            false => Verdict::Otherwise,
        };
        let said = match verdict {
            Verdict::AsItMust => format!("{about}: {got}, as it must be"),
            Verdict::Otherwise => format!("{about}: {got}; expected: {expected}"),
        };
        self.tell(LineKind::Judged, said);
        self.checks.push(Check {
            about,
            expected,
            got,
            verdict,
        });
    }

    /// The scenario could not go on.
    fn broken(&mut self, error: &LabError) {
        let expected = String::from("the lab works");
        self.check(String::from("the lab"), expected, error.to_string(), false);
    }
}

/// How far a message is followed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    /// Until it is delivered, returned or deferred.
    FirstWait,
    /// Until it is delivered or returned, however often it is deferred.
    Last,
}

/// How a message ends.
enum Ending {
    /// It arrived.
    Delivered,
    /// It is tried again.
    Waits,
    /// It goes back.
    Bounced,
}

/// Whether an event is the end that is waited for.
fn ending(event: &Event, end: End) -> Option<Ending> {
    match event {
        Event::Delivered(_) => Some(Ending::Delivered),
        Event::Bounced(_) => Some(Ending::Bounced),
        Event::Deferred(_) => (end == End::FirstWait).then_some(Ending::Waits),
        Event::Accepted { .. } | Event::Decided { .. } | Event::Attempted(_) => None,
    }
}

/// The events about one message up to its end, or up to now.
fn history(lines: &[LogLine], queue_id: &str, end: End) -> Vec<Event> {
    let mut events = Vec::new();
    for event in lines.iter().filter_map(|line| line.event.as_ref()) {
        if event.about().0 == queue_id {
            events.push(event.clone());
            if ending(event, end).is_some() {
                break;
            }
        }
    }
    events
}

/// The attempt that delivered.
fn successful_attempt(events: &[Event]) -> Option<&Attempt> {
    events.iter().rev().find_map(|event| match event {
        Event::Attempted(attempt) if attempt.outcome == "delivered" => Some(attempt.as_ref()),
        Event::Attempted(_)
        | Event::Accepted { .. }
        | Event::Decided { .. }
        | Event::Delivered(_)
        | Event::Deferred(_)
        | Event::Bounced(_) => None,
    })
}

/// How many hosts were tried.
fn attempts(events: &[Event]) -> usize {
    let tried = |event: &&Event| matches!(event, Event::Attempted(_));
    events.iter().filter(tried).count()
}

/// One attempt, for people.
pub(crate) fn tried(attempt: &Attempt) -> String {
    let Attempt {
        host,
        address,
        demanded,
        outcome,
        tls,
        authenticated_by,
        reply,
        reason,
        ..
    } = attempt;
    let mut text = match host.is_empty() {
        true => format!("no host: {outcome}"),
        false => format!("{host} ({address}), {demanded} demanded: {outcome}"),
    };
    for (before, part) in [
        (" over ", tls),
        (", ", authenticated_by),
        ("; ", reason),
        ("; it said: ", reply),
    ] {
        if !part.is_empty() {
            text.push_str(before);
            text.push_str(part);
        }
    }
    text
}

/// Sentences one after the other, as the log joins them by semicolons.
pub(crate) fn prose(reasons: &str) -> String {
    reasons.replace(".; ", ". ")
}

/// Why a decision is what it is.
fn words_of_decision(event: &Event) -> String {
    match event {
        Event::Decided {
            verdict, reasons, ..
        } => format!("{verdict} {reasons}"),
        Event::Accepted { .. }
        | Event::Attempted(_)
        | Event::Delivered(_)
        | Event::Deferred(_)
        | Event::Bounced(_) => String::new(),
    }
}

/// Why an attempt, or all attempts of one moment, ended as they did.
fn words_of_ending(event: &Event) -> String {
    match event {
        Event::Accepted { .. } | Event::Decided { .. } => String::new(),
        Event::Attempted(attempt) => format!("{} {}", attempt.reason, attempt.reply),
        Event::Delivered(ending) | Event::Deferred(ending) | Event::Bounced(ending) => {
            ending.reason.clone()
        }
    }
}

/// Where the lab's senders live, and where their mail comes back to.
pub(crate) const SENDER_DOMAIN: &str = "home.test";

/// How long the log may take to tell of a message that was taken.
const ACCEPT_MAX: Duration = Duration::from_secs(10);

/// How long a message may take to its end or to its first wait.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// How long a message may take back to its sender.
const RETURN_MAX: Duration = Duration::from_secs(20);

/// Added to a TTL, as caches may count in whole seconds.
const EXPIRY_MARGIN: Duration = Duration::from_millis(1100);

#[cfg(test)]
mod tests;
