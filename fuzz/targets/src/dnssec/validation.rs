//! Whole validations while somebody tampers with the answers.

use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_dnssec::Hop;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;

use super::drawing::assert_drawable;
use super::script::Script;
use super::tamper::asked;
use super::tamper::some_name;
use super::tamper::tampered;
use super::tree::NOW;
use super::tree::Reply;
use super::tree::TREE;
use super::tree::Truth;

/// A whole validation: the input says what is asked, in which order answers come and what becomes of
/// each on its way; then what the damaged one has left behind must not mislead honest ones.
pub fn dnssec_validation(input: &[u8]) {
    let mut script = Script(input);
    let limits = limits(&mut script);
    let now = moment(&mut script);
    let question = asked(&mut script);
    let validator = Validator::new(TREE.anchors(), limits.clone(), Sha1Policy::Validate);
    let other = asked(&mut script);
    let verdict = drive(&validator, &limits, &question, now, |asked| {
        let place = script.octet();
        (usize::from(place), tampered(asked, &mut script))
    });
    check(&verdict, now);
    // What is bogus is remembered for a while, but nothing else of what the attacker did.
    let later = now + limits.broken_zone_ttl + Duration::from_secs(1);
    for (question, now) in [(&other, now), (&question, later), (&other, later)] {
        let after = drive_honestly(&validator, &limits, question, now);
        check(&after, now);
        let fresh = Validator::new(TREE.anchors(), limits.clone(), Sha1Policy::Validate);
        let truth = drive_honestly(&fresh, &limits, question, now);
        check(&truth, now);
        let remembered = now < later && matches!(after.status, Status::Bogus(_));
        // What is known already saves work, so only bounds can make a difference.
        let bounded = matches!(truth.status, Status::Failed(_));
        if !remembered && !bounded && !touches_evil(&truth) {
            let (after, truth) = (&after.status, &truth.status);
            assert_eq!(
                after.word(),
                truth.word(),
                "{question}: {after}, not {truth}"
            );
        }
    }
}

/// A denial: the input says what is asked, and which of all true denial records come back.
pub fn dnssec_denial(input: &[u8]) {
    let mut script = Script(input);
    let limits = Limits::default();
    let question = Question::new(some_name(&mut script), asked(&mut script).rtype);
    let nxdomain = script.octet() & 1 == 1;
    let mut reply = Reply {
        nxdomain,
        ..Reply::default()
    };
    while !script.is_over() {
        let place = script.place(TREE.zones.len());
        let Some(zone) = TREE.zones.get(place) else {
            break;
        };
        let (mask, records) = (script.short(), zone.denial());
        // Each record is followed by its signature.
        for (pair, place) in records.chunks(2).zip(0..16) {
            if mask >> place & 1 == 1 {
                reply.authority.extend_from_slice(pair);
            }
        }
    }
    let validator = Validator::new(TREE.anchors(), limits.clone(), Sha1Policy::Validate);
    let verdict = drive(&validator, &limits, &question, NOW, |asked| {
        let honest = *asked != question;
        let message = if honest {
            TREE.reply(asked).message(asked)
        } else {
            reply.message(asked)
        };
        (0, Some(message))
    });
    check(&verdict, NOW);
    let after = drive_honestly(&validator, &limits, &question, NOW);
    check(&after, NOW);
}

/// Drives a validation with the answers of an honest resolver.
fn drive_honestly(
    validator: &Validator,
    limits: &Limits,
    question: &Question,
    now: UnixTime,
) -> Verdict {
    drive(validator, limits, question, now, |asked| {
        (0, Some(TREE.reply(asked).message(asked)))
    })
}

/// Drives a validation, and sees that it stays within its bounds.
///
/// `answer` also says which of the open questions is answered next.
fn drive(
    validator: &Validator,
    limits: &Limits,
    question: &Question,
    now: UnixTime,
    mut answer: impl FnMut(&Question) -> (usize, Option<Vec<u8>>),
) -> Verdict {
    let (mut validation, mut step) = validator.start(question.clone(), now);
    let (mut open, mut asked, mut place) = (Vec::new(), Vec::new(), 0);
    let verdict = loop {
        match step {
            Step::Done(verdict) => break *verdict,
            Step::NeedsMore(questions) => {
                for question in &questions {
                    assert!(!asked.contains(question), "{question} is asked twice");
                }
                asked.extend(questions.clone());
                open.extend(questions);
            }
        }
        assert!(asked.len() <= limits.questions_max, "too many questions");
        assert!(!open.is_empty(), "it waits for no answer");
        let next = open.remove(place % open.len());
        let (next_place, octets) = answer(&next);
        place = next_place;
        step = match octets {
            Some(octets) => validation.handle_answer(&next, &octets, now),
            None => validation.handle_failure(&next, String::from("timed out"), now),
        };
    };
    assert!(verdict.work.signature_checks <= limits.signature_checks_max);
    assert!(verdict.work.nsec3_rounds <= limits.nsec3_rounds_max);
    assert!(verdict.steps.len() <= limits.hops_max + 1, "too many hops");
    assert!(u64::from(verdict.ttl) <= limits.ttl_max.as_secs());
    assert!(validator.cached_proofs() <= limits.cache_entries_max);
    assert_drawable(&verdict);
    verdict
}

/// Whether a verdict is true, whatever was done to the answers.
fn check(verdict: &Verdict, now: UnixTime) {
    let question = &verdict.question;
    if verdict.kind == Kind::None {
        assert!(matches!(
            verdict.status,
            Status::Bogus(_) | Status::Failed(_)
        ));
        return;
    }
    let mut current = question.name.clone();
    for hop in &verdict.steps {
        assert_eq!(hop.name, current, "{question}");
        match TREE.truth(&hop.owner, hop.rtype) {
            Truth::Evil => return,
            Truth::Unsigned => assert!(hop.insecure.is_some(), "{question}: {hop:?}"),
            Truth::Data(data) => {
                assert_eq!(hop.insecure, None, "{question}: {hop:?}");
                assert_eq!(targets(hop, &data), vec![hop.target.clone()], "{question}");
            }
            truth @ (Truth::Elsewhere | Truth::NoData | Truth::NxDomain) => {
                panic!("{question}: {hop:?} is {truth:?}");
            }
        }
        current = hop.target.clone();
    }
    let found = match verdict.kind {
        Kind::Answer => Truth::Data(data(verdict)),
        Kind::NoData => Truth::NoData,
        Kind::NxDomain => Truth::NxDomain,
        Kind::None => return,
    };
    match TREE.truth(&current, question.rtype) {
        Truth::Evil => {}
        Truth::Unsigned => assert!(verdict.end.is_some(), "{question}: {}", verdict.status),
        truth @ (Truth::Data(_) | Truth::Elsewhere | Truth::NoData | Truth::NxDomain) => {
            assert_eq!(verdict.end, None, "{question}: {}", verdict.status);
            assert_eq!(found, sorted(truth), "{question}: {}", verdict.status);
            let signed_for = SIGNED_UNTIL.since(now).as_secs();
            assert!(
                u64::from(verdict.ttl) <= signed_for.min(TTL_SIGNED),
                "{question}"
            );
        }
    }
}

/// Where the true data of a CNAME or DNAME record leads.
fn targets(hop: &Hop, data: &[Bytes]) -> Vec<Name<Bytes>> {
    let kept = hop.name.as_slice();
    let kept = match hop.rtype {
        Rtype::CNAME => &[],
        _ => kept.get(..kept.len() - hop.owner.len()).unwrap_or_default(),
    };
    data.iter()
        .filter_map(|target| Name::from_octets([kept, target].concat().into()).ok())
        .collect()
}

/// The records of a verdict, sorted, each once, and without regard to case.
fn data(verdict: &Verdict) -> Vec<Bytes> {
    let all = verdict.answer.iter().flat_map(|set| &set.data).cloned();
    match sorted(Truth::Data(all.collect())) {
        Truth::Data(data) => data,
        Truth::Elsewhere | Truth::Evil | Truth::NoData | Truth::NxDomain | Truth::Unsigned => {
            Vec::new()
        }
    }
}

/// The truth with its data sorted, each once, in lower case as in the zones.
fn sorted(truth: Truth) -> Truth {
    match truth {
        Truth::Data(mut data) => {
            for data in &mut data {
                *data = data.to_ascii_lowercase().into();
            }
            data.sort();
            data.dedup();
            Truth::Data(data)
        }
        Truth::Elsewhere | Truth::Evil | Truth::NoData | Truth::NxDomain | Truth::Unsigned => truth,
    }
}

/// Whether the attacker's zone is on the way, so that it can be one thing now and another then.
fn touches_evil(verdict: &Verdict) -> bool {
    let hops = verdict.steps.iter().map(|hop| &hop.target);
    std::iter::once(&verdict.question.name)
        .chain(hops)
        .any(|name| TREE.truth(name, verdict.question.rtype) == Truth::Evil)
}

/// The usual bounds, or bounds so narrow that they are met.
fn limits(script: &mut Script<'_>) -> Limits {
    let mut limits = Limits::default();
    match script.octet() % 4 {
        0 => {}
        1 => limits.zones_ahead_max = 3,
        2 => limits.denial_zones_max = 0,
        _ => {
            limits.signature_checks_max = u32::from(script.octet() % 16);
            limits.nsec3_rounds_max = u32::from(script.octet() % 32);
            limits.questions_max = usize::from(script.octet() % 16);
            limits.hops_max = usize::from(script.octet() % 4);
            limits.cache_entries_max = usize::from(script.octet() % 8);
            limits.denials_per_zone_max = usize::from(script.octet() % 8);
        }
    }
    limits
}

/// The time: now, or up to three days before or after.
fn moment(script: &mut Script<'_>) -> UnixTime {
    let seconds = u64::from(script.octet() >> 1) * 2_048;
    match script.octet() & 1 {
        0 => UnixTime(NOW.0 + seconds),
        _ => UnixTime(NOW.0 - seconds),
    }
}

/// When the signatures of the tree expire.
const SIGNED_UNTIL: UnixTime = UnixTime(NOW.0 + 100_000);

/// The longest TTL in the tree, in seconds.
const TTL_SIGNED: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::tree::name;

    #[test]
    fn an_honest_resolver_leads_to_every_kind_of_verdict() {
        check_honest("www.org.", Rtype::A, "secure", "answer");
        check_honest("www.moved.org.", Rtype::A, "secure", "answer");
        check_honest("far.org.", Rtype::A, "secure", "answer");
        check_honest("x.wild.n3.", Rtype::TXT, "secure", "answer");
        check_honest("b.ent.n3.", Rtype::A, "secure", "nodata");
        check_honest("nx.org.", Rtype::A, "secure", "nxdomain");
        check_honest("nx.n3.", Rtype::A, "secure", "nxdomain");
        check_honest("www.safe.optout.", Rtype::A, "secure", "answer");
        check_honest("nx.optout.", Rtype::A, "insecure", "nxdomain");
        check_honest("www.u.optout.", Rtype::A, "insecure", "answer");
        check_honest("www.plain.", Rtype::A, "insecure", "answer");
        check_honest("www.odd.", Rtype::A, "insecure", "answer");
        check_honest("out.org.", Rtype::A, "insecure", "answer");
        check_honest("loop.org.", Rtype::A, "failed", "none");
        check_honest("www.evil.", Rtype::A, "secure", "answer");
    }

    #[test]
    #[should_panic(expected = "www.org. A")]
    fn a_false_verdict_is_noticed() {
        let mut verdict = honest("www.org.", Rtype::A);
        verdict.kind = Kind::NxDomain;
        check(&verdict, NOW);
    }

    #[test]
    #[should_panic(expected = "www.plain. A")]
    fn unsigned_data_called_secure_is_noticed() {
        let mut verdict = honest("www.plain.", Rtype::A);
        verdict.end = None;
        check(&verdict, NOW);
    }

    #[track_caller]
    fn check_honest(owner: &str, rtype: Rtype, status: &str, kind: &str) {
        let verdict = honest(owner, rtype);
        check(&verdict, NOW);
        let found = (verdict.status.word(), verdict.kind.word());
        assert_eq!(found, (status, kind), "{owner}: {}", verdict.status);
    }

    fn honest(owner: &str, rtype: Rtype) -> Verdict {
        let limits = Limits::default();
        let validator = Validator::new(TREE.anchors(), limits.clone(), Sha1Policy::Validate);
        let question = Question::new(name(owner), rtype);
        drive_honestly(&validator, &limits, &question, NOW)
    }
}
