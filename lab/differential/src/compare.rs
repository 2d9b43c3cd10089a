//! Who is right where the two differ.

use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::Status;
use byrnie_dnssec::Verdict;

use crate::answer::Kind;
use crate::case::Case;
use crate::message::NXDOMAIN;
use crate::ours;
use crate::unbound::Said;
use crate::unbound::Word;
use crate::zone::Security;

/// What a comparison comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Finding {
    /// Both say the same.
    Agreed,
    /// They differ, by the rule of this name.
    Explained(&'static str),
    /// They differ, or one is wrong by the zones' own word, and no rule says why.
    Unexplained(&'static str),
}

/// Everything that a rule may look at.
pub(crate) struct View<'a> {
    pub(crate) case: &'a Case,
    pub(crate) ours: Word,
    pub(crate) kind: Kind,
    pub(crate) verdict: &'a Verdict,
    pub(crate) said: &'a Said,
}

/// Compares two verdicts.
pub(crate) fn compare(case: &Case, verdict: &Verdict, said: &Said) -> Finding {
    let view = View {
        case,
        ours: ours::word(verdict),
        kind: ours::kind(verdict),
        verdict,
        said,
    };
    if let Some(wrong) = view.against_truth() {
        return Finding::Unexplained(wrong);
    }
    if view.ours == said.word && view.content_agrees() {
        return Finding::Agreed;
    }
    match crate::rules::RULES
        .iter()
        .find(|rule| (rule.applies)(&view))
    {
        Some(rule) => Finding::Explained(rule.name),
        None if view.ours == said.word => Finding::Unexplained("the same security, other content"),
        None => Finding::Unexplained("no rule"),
    }
}

impl View<'_> {
    /// Whether a zone's own keys signed what is not in the zone, so that the truth is not known.
    pub(crate) fn truth_is_changed(&self) -> bool {
        let mut damages = self.case.damages.iter();
        damages.any(|damage| damage.kind.changes_truth())
    }

    /// What our verdict says against the zones' own word, if it does.
    fn against_truth(&self) -> Option<&'static str> {
        let truth = &self.case.truth;
        if self.truth_is_changed() {
            return None;
        }
        if self.ours == Word::Secure && self.kind != truth.kind {
            return Some("ours is secure and not true");
        }
        if self.ours == Word::Insecure
            && truth.security == Some(Security::Secure)
            && !self.counts_no_iterations()
        {
            return Some("ours is insecure where all is signed");
        }
        if self.ours == Word::Secure && truth.security == Some(Security::Insecure) {
            return Some("ours is secure where not all is signed");
        }
        let harmless = self
            .case
            .damages
            .iter()
            .all(|damage| damage.kind.is_harmless());
        let expected = match truth.security {
            Some(Security::Secure) => Word::Secure,
            Some(Security::Insecure) => Word::Insecure,
            None => Word::Bogus,
        };
        if harmless && self.ours != expected && !self.counts_no_iterations() {
            return Some("ours is not what undamaged answers are worth");
        }
        None
    }

    /// Whether ours is insecure because of NSEC3 iterations: RFC 9276, Section 3.2 gives up the whole
    /// zone then, what is signed in it, too.
    pub(crate) fn counts_no_iterations(&self) -> bool {
        matches!(
            &self.verdict.status,
            Status::Insecure(why) if matches!(why.proof, InsecureProof::TooManyIterations(_))
        )
    }

    /// Whether both say the same about what there is, as far as it is secure.
    fn content_agrees(&self) -> bool {
        if self.ours != Word::Secure {
            return true;
        }
        match &self.kind {
            Kind::Answer(data) => {
                !self.said.answer.is_empty() && data.len() <= self.said.answer.len()
            }
            Kind::NoData => self.said.rcode != NXDOMAIN,
            Kind::NxDomain => self.said.rcode == NXDOMAIN,
            Kind::None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use byrnie_base::UnixTime;
    use byrnie_dnssec::TrustAnchors;

    use super::*;
    use crate::key::Keys;
    use crate::report;

    #[test]
    fn undamaged_answers_are_worth_what_the_zones_say() {
        check(true, |view| {
            view.counts_no_iterations() || {
                let truth = &view.case.truth;
                let security = match view.ours {
                    Word::Secure => Some(Security::Secure),
                    Word::Insecure => Some(Security::Insecure),
                    Word::Bogus => None,
                };
                security == truth.security && (security.is_none() || view.kind == truth.kind)
            }
        });
    }

    #[test]
    fn no_damage_makes_anything_secure_that_the_zones_do_not_say() {
        check(false, |view| view.against_truth().is_none());
    }

    /// Validates some cases, with no damage or as it comes.
    #[track_caller]
    fn check(undamaged: bool, holds: impl Fn(&View<'_>) -> bool) {
        let (keys, now) = (Arc::new(Keys::new()), UnixTime(1_800_000_000));
        let anchor = report::anchor(&Case::root(&keys, now));
        let anchors = TrustAnchors::parse(&anchor).unwrap();
        let said = Said {
            word: Word::Bogus,
            rcode: 0,
            answer: Vec::new(),
            extended: None,
        };
        for number in 0..CASES {
            let mut case = Case::new(1, number, 0, &keys, now);
            if undamaged {
                case.damages.clear();
            }
            let verdict = ours::validate(&case, &anchors);
            let view = View {
                case: &case,
                ours: ours::word(&verdict),
                kind: ours::kind(&verdict),
                verdict: &verdict,
                said: &said,
            };
            assert!(
                holds(&view),
                "{}",
                report::summary(&case, &verdict, &said, "")
            );
        }
    }

    /// Enough to meet each kind of zone and damage.
    const CASES: u64 = 400;
}
