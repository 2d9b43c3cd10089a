//! What the lab tells people and machines.

use std::fmt::Write as _;
use std::io;
use std::io::Write;

use serde::Serialize;

/// How the lab's words are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people, with colour.
    Colour,
    /// For people, without.
    Plain,
    /// One JSON object per line.
    Json,
}

/// One line of a scenario's story.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Line {
    /// What kind of step it tells of.
    pub kind: LineKind,
    /// The step, for people.
    pub text: String,
}

/// What a line of a story tells of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// Mail was handed in.
    Sent,
    /// What is demanded, and why.
    Demanded,
    /// A host was tried.
    Tried,
    /// The message came to an end, or waits.
    Ended,
    /// The world changed.
    Changed,
    /// What the lab itself saw, at a mail host or in the DNS.
    Seen,
    /// Whether it came out as it must.
    Judged,
}

impl LineKind {
    /// The word in front of the line.
    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Demanded => "demanded",
            Self::Tried => "tried",
            Self::Ended => "then",
            Self::Changed => "meanwhile",
            Self::Seen => "seen",
            Self::Judged => "result",
        }
    }
}

/// How a run of the lab ended; the caller makes an exit code of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// One for each scenario, in the order of the list.
    pub scenarios: Vec<ScenarioResult>,
    /// How long the scenarios took together, in milliseconds.
    pub milliseconds: u64,
}

impl Outcome {
    /// Whether every scenario came out as it must.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// Those that did not.
    pub fn failed(&self) -> impl Iterator<Item = &ScenarioResult> {
        let scenarios = self.scenarios.iter();
        scenarios.filter(|scenario| scenario.verdict() == Verdict::Otherwise)
    }
}

/// How one scenario ended.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioResult {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Its story.
    pub story: Vec<Line>,
    /// One for each message, and for each other thing that was looked at.
    pub checks: Vec<Check>,
    /// Messages that arrived, and each copy of one.
    #[serde(skip)]
    pub arrived: usize,
}

impl ScenarioResult {
    /// Whether everything came out as it must.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let bad = |check: &Check| check.verdict == Verdict::Otherwise;
        if self.checks.is_empty() || self.checks.iter().any(bad) {
            return Verdict::Otherwise;
        }
        Verdict::AsItMust
    }
}

/// One thing that was expected, and what came.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What it is about: a recipient, mostly.
    pub about: String,
    /// What must happen.
    pub expected: String,
    /// What happened.
    pub got: String,
    /// Whether that is as it must be.
    pub verdict: Verdict,
}

/// Whether something came out as it must.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It did.
    AsItMust,
    /// It did not.
    Otherwise,
}

/// Writes results as they come, and the table at the end.
pub struct Reporter<'a> {
    /// How.
    format: Format,
    /// Where to.
    out: &'a mut (dyn Write + Send),
}

impl<'a> Reporter<'a> {
    /// For one run.
    pub fn new(format: Format, out: &'a mut (dyn Write + Send)) -> Self {
        Self { format, out }
    }

    /// One sentence about the lab as a whole.
    ///
    /// # Errors
    /// The writer refuses.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        match self.format {
            Format::Json => {
                let value = serde_json::json!({"type": "note", "text": text});
                writeln!(self.out, "{value}")?;
            }
            Format::Colour | Format::Plain => writeln!(self.out, "{text}")?,
        }
        self.out.flush()
    }

    /// The whole story of one scenario.
    ///
    /// # Errors
    /// The writer refuses.
    pub fn scenario(&mut self, result: &ScenarioResult) -> io::Result<()> {
        if self.format == Format::Json {
            let ScenarioResult { name, story, .. } = result;
            for Line { kind, text } in story {
                let value = serde_json::json!({
                    "type": "step", "scenario": name, "kind": kind, "text": text,
                });
                writeln!(self.out, "{value}")?;
            }
            let value = serde_json::json!({
                "type": "scenario", "scenario": name, "title": result.title,
                "verdict": result.verdict(), "checks": result.checks,
            });
            writeln!(self.out, "{value}")?;
            return self.out.flush();
        }
        let mark = self.mark(result.verdict());
        let name = self.painted(BOLD, result.name);
        writeln!(self.out, "\n{mark} {name}: {}", result.title)?;
        for Line { kind, text } in &result.story {
            let label = self.painted(DIM, &format!("{:>9}", kind.label()));
            writeln!(self.out, "  {label}  {text}")?;
        }
        self.out.flush()
    }

    /// The table and the last line.
    ///
    /// # Errors
    /// The writer refuses.
    pub fn summary(&mut self, outcome: &Outcome) -> io::Result<()> {
        let all = outcome.scenarios.len();
        let failed = outcome.failed().count();
        if self.format == Format::Json {
            let value = serde_json::json!({
                "type": "summary", "scenarios": all, "failed": failed,
                "passed": outcome.passed(), "milliseconds": outcome.milliseconds,
            });
            writeln!(self.out, "{value}")?;
            return self.out.flush();
        }
        let rows: Vec<_> = outcome
            .scenarios
            .iter()
            .flat_map(|scenario| scenario.checks.iter().map(|check| (scenario.name, check)))
            .collect();
        let width = |of: fn(&(&str, &Check)) -> usize| rows.iter().map(of).max().unwrap_or(0);
        let names = width(|(name, _)| name.len()).max("scenario".len());
        let expecteds = width(|(_, check)| check.expected.len()).max("expected".len());
        let head = format!("{:names$}  {:expecteds$}  got", "scenario", "expected");
        let head = self.painted(BOLD, &head);
        writeln!(self.out, "\n   {head}")?;
        for (name, check) in &rows {
            let mark = self.mark(check.verdict);
            let (expected, got) = (&check.expected, &check.got);
            writeln!(
                self.out,
                " {mark} {name:names$}  {expected:expecteds$}  {got}"
            )?;
        }
        let mut last = format!("\n{}", scenario_count(all));
        // Writing to a String does not fail.
        let _ = match failed {
            0 => write!(last, ", all as they must be"),
            _ => write!(last, ", {failed} not as they must be"),
        };
        let tenths = outcome.milliseconds / 100;
        writeln!(self.out, "{last}, in {}.{} s", tenths / 10, tenths % 10)?;
        self.out.flush()
    }

    fn mark(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::AsItMust => self.painted(GREEN, "✓"),
            Verdict::Otherwise => self.painted(RED, "✗"),
        }
    }

    fn painted(&self, paint: &str, text: &str) -> String {
        match self.format {
            Format::Colour => format!("{paint}{text}{RESET}"),
            Format::Plain | Format::Json => String::from(text),
        }
    }
}

/// Select Graphic Rendition: ECMA-48, Section 8.3.117.
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// So many scenarios, in words that fit the number.
pub(crate) fn scenario_count(count: usize) -> String {
    match count {
        1 => String::from("1 scenario"),
        _ => format!("{count} scenarios"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_checked_nothing_has_not_passed() {
        assert_eq!(result(Vec::new()).verdict(), Verdict::Otherwise);
        assert_eq!(
            result(vec![check_of(Verdict::AsItMust)]).verdict(),
            Verdict::AsItMust
        );
        let mixed = vec![check_of(Verdict::AsItMust), check_of(Verdict::Otherwise)];
        assert_eq!(result(mixed).verdict(), Verdict::Otherwise);
    }

    #[test]
    fn plain_output_is_readable_and_has_no_colour() {
        let text = written(Format::Plain);
        assert_eq!(
            text,
            "\n✓ name: Title\n       sent  to a@b\n\
             \n   scenario  expected   got\n ✓ name      delivered  delivered\n\
             \n1 scenario, all as they must be, in 1.2 s\n"
        );
    }

    #[test]
    fn json_output_is_one_object_per_line() {
        for line in written(Format::Json).lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["type"].is_string(), "{line}");
        }
    }

    fn written(format: Format) -> String {
        let outcome = Outcome {
            scenarios: vec![result(vec![check_of(Verdict::AsItMust)])],
            milliseconds: 1234,
        };
        let mut out = Vec::new();
        let mut reporter = Reporter::new(format, &mut out);
        reporter.scenario(&outcome.scenarios[0]).unwrap();
        reporter.summary(&outcome).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn result(checks: Vec<Check>) -> ScenarioResult {
        ScenarioResult {
            name: "name",
            title: "Title",
            story: vec![Line {
                kind: LineKind::Sent,
                text: String::from("to a@b"),
            }],
            checks,
            arrived: 0,
        }
    }

    fn check_of(verdict: Verdict) -> Check {
        Check {
            about: String::from("a@b"),
            expected: String::from("delivered"),
            got: String::from("delivered"),
            verdict,
        }
    }
}
