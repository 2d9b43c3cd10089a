//! The whole lab: the world with every scenario's site in it, and the program under test in the
//! middle.

use std::collections::BTreeSet;
use std::io;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::LabError;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::event::Event;
use crate::inject::Injector;
use crate::mail_host::Conduct;
use crate::neighbour::Neighbour;
use crate::play::SENDER_DOMAIN;
use crate::play::play;
use crate::play::prose;
use crate::play::tried;
use crate::report::Check;
use crate::report::Format;
use crate::report::Outcome;
use crate::report::Reporter;
use crate::report::ScenarioResult;
use crate::report::Verdict;
use crate::report::scenario_count;
use crate::scenario;
use crate::scenario::Scenario;
use crate::scenario::Step;
use crate::subject::Subject;
use crate::world::Site;
use crate::world::World;

/// What a lab is raised with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The scenarios, by name; none stands for all.
    pub scenarios: Vec<String>,
    /// How long each DNS answer takes: a simulated round trip.
    pub dns_delay: Duration,
}

/// The miniature internet with the program under test inside it.
pub struct Lab {
    /// Everything around the program.
    pub world: Arc<World>,
    /// The program.
    pub subject: Subject,
    /// Hands mail in to it.
    pub injector: Injector,
    /// Another one, which sends all mail to a smart host, if a scenario is about that.
    behind: Option<(Subject, Injector)>,
    /// The scenarios that are set up, each with its part of the world.
    sites: Vec<(Scenario, Site)>,
    /// Where bounces go.
    _home: Site,
}

impl Lab {
    /// Raises the world, sets the scenarios up and starts the program.
    ///
    /// # Errors
    /// A scenario has no such name, the machine refuses something, or the program does not start.
    pub async fn raise(program: &Path, options: &Options) -> Result<Self, LabError> {
        let chosen = choose(&options.scenarios)?;
        let world = World::raise().await?;
        world.dns.set_delay(options.dns_delay);
        let home = raise_home(&world).await?;
        let mut sites = Vec::new();
        for scenario in chosen {
            let mut site = Site::new(&world);
            (scenario.setup)(&mut site)?;
            site.settle().await?;
            sites.push((scenario, site));
        }
        let plan = world.subject_plan()?;
        let injector = world.injector(&plan)?;
        let subject = Subject::start(program, plan).await?;
        let smart_host = sites.iter().find_map(|(scenario, _)| scenario.smart_host());
        let behind = match smart_host {
            Some(smart_host) => {
                let plan = world.subject_plan_behind(smart_host)?;
                let injector = world.injector(&plan)?;
                Some((Subject::start(program, plan).await?, injector))
            }
            None => None,
        };
        Ok(Self {
            world,
            subject,
            injector,
            behind,
            sites,
            _home: home,
        })
    }

    /// Plays all scenarios at once, and reports each when it ends.
    ///
    /// # Errors
    /// The writer refuses, or the program does not survive.
    pub async fn run(
        &mut self,
        format: Format,
        out: &mut (dyn Write + Send),
    ) -> Result<Outcome, LabError> {
        let mut reporter = Reporter::new(format, out);
        let smtp = self.subject.plan.smtp;
        let scenarios = scenario_count(self.sites.len());
        let intro = format!("{scenarios}; the program under test takes mail at {smtp}");
        reporter.note(&intro).map_err(write_failed())?;
        let started = Instant::now();
        let mut playing = JoinSet::new();
        for (at, (scenario, mut site)) in self.sites.drain(..).enumerate() {
            let (subject, injector, neighbour) = match &self.behind {
                Some((subject, injector)) if scenario.smart_host().is_some() => {
                    (subject, injector, None)
                }
                Some(_) | None => {
                    let neighbour = Neighbour::new(self.subject.plan.socketmap);
                    (&self.subject, &self.injector, Some(neighbour))
                }
            };
            let (injector, log) = (injector.clone(), subject.log());
            playing.spawn(Box::pin(async move {
                let playing = play(
                    scenario.clone(),
                    &mut site,
                    &injector,
                    neighbour.as_ref(),
                    &log,
                );
                let result = playing.await;
                (at, scenario, site, result)
            }));
        }
        let mut finished = Vec::new();
        while let Some(joined) = playing.join_next().await {
            let (at, scenario, site, result) =
                joined.map_err(|_| LabError::Subject(String::from("made a scenario break off")))?;
            reporter.scenario(&result).map_err(write_failed())?;
            finished.push((at, scenario, site, result));
        }
        finished.sort_by_key(|(at, ..)| *at);
        let mut scenarios = Vec::new();
        for (_, scenario, site, result) in finished {
            self.sites.push((scenario, site));
            scenarios.push(result);
        }
        self.look_again(&mut scenarios);
        let outcome = Outcome {
            scenarios,
            milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        reporter.summary(&outcome).map_err(write_failed())?;
        Ok(outcome)
    }

    /// Messages arrive once. What was withheld while its scenario ran was watched by the scenario
    /// itself; here, after all have ended, everything that arrived is looked at once more.
    fn look_again(&self, scenarios: &mut [ScenarioResult]) {
        for result in scenarios {
            let mark = format!("{}-", result.name);
            let arrived = self.world.inbox.find(|received| {
                let id = received.id.as_deref().unwrap_or_default();
                let rest = id.strip_prefix(&mark).unwrap_or_default();
                rest.starts_with(|c: char| c.is_ascii_digit())
            });
            let delivered = result.arrived;
            if result.verdict() == Verdict::AsItMust && arrived.len() != delivered {
                result.checks.push(Check {
                    about: String::from("the whole scenario"),
                    expected: format!("{delivered} messages arrived"),
                    got: format!("{} messages arrived", arrived.len()),
                    verdict: Verdict::Otherwise,
                });
            }
        }
    }

    /// How to send mail into the lab by hand, and what there is to see.
    #[must_use]
    pub fn explanation(&self) -> String {
        let plan = &self.subject.plan;
        let (host, port) = (plan.smtp.ip(), plan.smtp.port());
        let mut text = format!(
            "\nThe lab keeps running; end it with Ctrl-C. Send mail into it with one of these:\n\n  \
             swaks --server {host} --port {port} --from you@{SENDER_DOMAIN} --to RECIPIENT\n  \
             swaks --server {host} --port {port} --tls --from you@{SENDER_DOMAIN} --to RECIPIENT\n  \
             telnet {host} {port}\n\n\
             Ask the program under test what it would demand, with these options:\n\n  \
             policy DOMAIN {}\n\n\
             Look at its metrics at http://{}/metrics, and at its configuration in\n{}.\n\n\
             What the recipients show:\n\n",
            self.world.resolve_options().join(" "),
            plan.metrics,
            plan.configuration_file().display(),
        );
        let by_mx = |(scenario, _): &&(Scenario, Site)| scenario.smart_host().is_none();
        for (scenario, _) in self.sites.iter().filter(by_mx) {
            for to in recipients(scenario) {
                text.push_str(&format!("  {to:34} {}\n", scenario.title));
            }
        }
        text
    }

    /// Tells of what happens to mail that is handed in from now on, until `until` is over. A retry
    /// that says the same as the one before is not told again.
    ///
    /// # Errors
    /// The writer refuses.
    pub async fn narrate(
        &self,
        out: &mut (dyn Write + Send),
        until: impl Future<Output = ()>,
    ) -> Result<(), LabError> {
        let log = self.subject.log();
        let mut seen = log.look(<[_]>::len);
        let mut messages = BTreeSet::new();
        let mut told = BTreeSet::new();
        tokio::pin!(until);
        loop {
            let more = log.wait(Duration::MAX, |lines| {
                let new = lines.get(seen..).filter(|new| !new.is_empty())?;
                Some(new.to_vec())
            });
            let new = tokio::select! {
                () = &mut until => return Ok(()),
                new = more => new.unwrap_or_default(),
            };
            seen += new.len();
            for event in new.into_iter().filter_map(|line| line.event) {
                if let Event::Accepted { queue_id, .. } = &event {
                    messages.insert(queue_id.clone());
                }
                let line = told_of(&event);
                if messages.contains(event.about().0) && told.insert(line.clone()) {
                    writeln!(out, "{line}").map_err(write_failed())?;
                }
            }
            out.flush().map_err(write_failed())?;
        }
    }

    /// Stops the program as an operator would (SIGTERM), and takes the world down.
    ///
    /// # Errors
    /// The program does not stop, or says that something went wrong.
    pub async fn end(self) -> Result<(), LabError> {
        let behind = self.behind.map(|(subject, _)| subject);
        for mut subject in [Some(self.subject), behind].into_iter().flatten() {
            if !subject.terminate().await? {
                let text = "reported a failure when it was stopped";
                return Err(LabError::Subject(String::from(text)));
            }
        }
        Ok(())
    }
}

/// Writes one line for each scenario.
///
/// # Errors
/// The writer refuses.
pub fn list(format: Format, out: &mut (dyn Write + Send)) -> io::Result<()> {
    for Scenario { name, title, .. } in scenario::all() {
        match format {
            Format::Json => {
                let value = serde_json::json!({"scenario": name, "title": title});
                writeln!(out, "{value}")?;
            }
            Format::Colour | Format::Plain => writeln!(out, "{name:28} {title}")?,
        }
    }
    Ok(())
}

/// The scenarios with these names, in the order of the list.
fn choose(names: &[String]) -> Result<Vec<Scenario>, LabError> {
    let all = scenario::all();
    for name in names {
        if !all.iter().any(|scenario| scenario.name == name) {
            return Err(LabError::UnknownScenario(name.clone()));
        }
    }
    let chosen =
        |scenario: &Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    Ok(all.into_iter().filter(chosen).collect())
}

/// The domain of the lab's senders.
pub(crate) async fn raise_home(world: &Arc<World>) -> Result<Site, LabError> {
    let mut home = Site::new(world);
    let host = format!("mx.{SENDER_DOMAIN}");
    home.signed(SENDER_DOMAIN)?;
    home.mx(SENDER_DOMAIN, &[(10, &host)])?;
    let identity = self_signed(&[&host], Lifetime::Current)?;
    home.mail_host(&host, Conduct::tls(identity.acceptor()?))?;
    home.tlsa(&host, &[identity.tlsa(3, 1, 1)])?;
    home.settle().await?;
    Ok(home)
}

/// The recipients of a scenario.
fn recipients(scenario: &Scenario) -> Vec<&'static str> {
    let steps = (scenario.steps)();
    let cases = steps.iter().flat_map(|step| match step {
        Step::Send(cases) => cases.as_slice(),
        Step::Later(_) | Step::Change { .. } | Step::Expire | Step::NotAsked { .. } => &[],
    });
    cases.map(|case| case.to).collect()
}

/// One event, for people.
fn told_of(event: &Event) -> String {
    let (queue_id, domain) = event.about();
    match event {
        Event::Accepted {
            from, recipients, ..
        } => format!("{queue_id}: taken from {from} for {recipients}"),
        Event::Decided {
            verdict, reasons, ..
        } => format!(
            "{queue_id}: {domain}: demanded: {verdict}: {}",
            prose(reasons)
        ),
        Event::Attempted(attempt) => format!("{queue_id}: {domain}: tried {}", tried(attempt)),
        Event::Delivered(_) => format!("{queue_id}: {domain}: delivered"),
        Event::Deferred(ending) => format!("{queue_id}: {domain}: waits: {}", ending.reason),
        Event::Bounced(ending) => format!("{queue_id}: {domain}: returned: {}", ending.reason),
    }
}

/// For `map_err` upon the caller's writer.
fn write_failed() -> impl FnOnce(io::Error) -> LabError {
    LabError::io("write the report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name_and_an_unknown_name_is_said() {
        let names = [String::from("null-mx"), String::from("dane-ee")];
        let chosen = choose(&names).unwrap();
        let found: Vec<_> = chosen.iter().map(|scenario| scenario.name).collect();
        assert_eq!(found, ["dane-ee", "null-mx"]);
        assert_eq!(choose(&[]).unwrap().len(), scenario::all().len());
        let Err(LabError::UnknownScenario(name)) = choose(&[String::from("odd")]) else {
            panic!("an unknown name was taken");
        };
        assert_eq!(name, "odd");
    }

    #[tokio::test]
    async fn every_scenario_can_be_set_up_in_one_world() {
        let world = World::raise().await.unwrap();
        let _home = raise_home(&world).await.unwrap();
        let mut sites = Vec::new();
        for scenario in scenario::all() {
            let mut site = Site::new(&world);
            (scenario.setup)(&mut site).unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
            site.settle().await.unwrap();
            sites.push(site);
        }
    }
}
