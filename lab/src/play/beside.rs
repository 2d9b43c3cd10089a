//! Whether a neighbour is told to do what the program under test does itself.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;

use super::EXPIRY_MARGIN;
use super::End;
use super::Player;
use super::history;
use crate::LabError;
use crate::event::Event;
use crate::scenario::Case;
use crate::world::RECORD_TTL;

impl Player<'_> {
    /// Asks as a neighbour about the domain of a message, and compares the answer with what the program
    /// decided for the message at its first attempt.
    ///
    /// Both may remember what they know for the TTL of the records, so that they agree at the latest when
    /// it has run out.
    pub(super) async fn compare(&mut self, case: &Case) -> Result<(), LabError> {
        let (Some(neighbour), Some(verdict)) = (self.neighbour, self.first_verdict(case)) else {
            return Ok(());
        };
        let (_, domain) = case.to.split_once('@').unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(u64::from(RECORD_TTL)) + EXPIRY_MARGIN;
        let mut answer = neighbour.ask(domain).await?;
        while !means(&answer, &verdict) && Instant::now() < deadline {
            sleep(ASK_AGAIN).await;
            answer = neighbour.ask(domain).await?;
        }
        let as_it_must = means(&answer, &verdict);
        let expected = format!("what {verdict} means");
        self.check(format!("next door, {domain}"), expected, answer, as_it_must);
        Ok(())
    }

    /// What was decided for a message about which nothing was demanded but by its domain.
    fn first_verdict(&self, case: &Case) -> Option<String> {
        let sent = self.sent.get(case.to)?;
        if !case.parameters.is_empty() || !case.headers.is_empty() {
            return None;
        }
        let events = self
            .log
            .look(|lines| history(lines, &sent.queue_id, End::FirstWait));
        events.into_iter().find_map(|event| match event {
            Event::Decided { verdict, .. } => Some(verdict),
            Event::Accepted { .. }
            | Event::Attempted(_)
            | Event::Delivered(_)
            | Event::Deferred(_)
            | Event::Bounced(_) => None,
        })
    }
}

/// Whether an answer makes Postfix do what a verdict says.
///
/// Postfix knows one level for all hosts of a domain; where they differ, the level must be one that lets no
/// host have the mail that the program itself would not give it.
fn means(answer: &str, verdict: &str) -> bool {
    let secure = answer.starts_with("OK secure match=") && answer.contains("servername=hostname");
    let mandatory = answer == "OK dane-only";
    let opportunistic = answer == "OK dane";
    match verdict {
        "dane" => mandatory || opportunistic,
        "mta-sts" => secure || mandatory,
        "encrypt" => answer == "OK encrypt" || opportunistic || mandatory,
        "opportunistic" => answer == "NOTFOUND " || opportunistic,
        "wait" => answer.starts_with("TEMP "),
        // Who has no mail host finds that out by itself.
        "reject" => answer == "NOTFOUND ",
        _ => false,
    }
}

/// How long until an answer may have changed.
const ASK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_may_be_weaker_than_the_verdict() {
        let answers = [
            "OK dane-only",
            "OK dane",
            "OK secure match=mx.a.test servername=hostname",
            "OK encrypt",
            "NOTFOUND ",
            "TEMP no answer",
            "OK may",
        ];
        for (verdict, good) in [
            ("dane", &answers[..2]),
            ("mta-sts", &[answers[0], answers[2]]),
            ("encrypt", &[answers[0], answers[1], answers[3]]),
            ("opportunistic", &[answers[1], answers[4]]),
            ("wait", &answers[5..6]),
            ("reject", &answers[4..5]),
            ("anything else", &[]),
        ] {
            for answer in answers {
                let expected = good.contains(&answer);
                assert_eq!(means(answer, verdict), expected, "{verdict}: {answer}");
            }
        }
    }
}
