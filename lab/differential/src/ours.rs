//! Our validator over the same replies: the crate alone, and as the program uses it.

use std::collections::VecDeque;

use byrnie_base::DomainName;
use byrnie_base::Security as OurSecurity;
use byrnie_dnssec::Kind as OurKind;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use byrnie_net::dns::Answer;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::dns::Resolver;
use bytes::Bytes;
use domain::base::Name as DnsName;
use domain::base::Rtype;

use crate::answer::Kind;
use crate::case::Case;
use crate::message::A;
use crate::message::AAAA;
use crate::message::MX;
use crate::message::TLSA;
use crate::message::TXT;
use crate::name::Name;
use crate::unbound::Word;

/// Validates the replies of a case with the crate alone and an empty cache.
pub(crate) fn validate(case: &Case, anchors: &TrustAnchors) -> Verdict {
    let validator = Validator::new(anchors.clone(), Limits::default(), Sha1Policy::default());
    let question = question(&case.name, case.rtype);
    let (mut validation, mut step) = validator.start(question, case.now);
    let mut open = VecDeque::new();
    loop {
        match step {
            Step::Done(verdict) => return *verdict,
            Step::NeedsMore(questions) => open.extend(questions),
        }
        let asked: Question = open
            .pop_front()
            .expect("a validation that is not done waits for answers");
        let (name, _) = Name::read(asked.name.as_slice()).expect("names are well-formed");
        let sent = case.reply(&name, asked.rtype.to_int());
        let mut wire = asked.name.as_slice().to_vec();
        wire.extend_from_slice(&asked.rtype.to_int().to_be_bytes());
        wire.extend_from_slice(&[0, 1]);
        let message = sent.message([0, 0], &wire);
        step = validation.handle_answer(&asked, &message, case.now);
    }
}

/// A verdict in the words of the comparison.
pub(crate) fn word(verdict: &Verdict) -> Word {
    match verdict.status {
        Status::Secure => Word::Secure,
        Status::Insecure(_) => Word::Insecure,
        Status::Bogus(_) | Status::Failed(_) => Word::Bogus,
    }
}

/// What a verdict says.
pub(crate) fn kind(verdict: &Verdict) -> Kind {
    match (verdict.kind, &verdict.answer) {
        (OurKind::Answer, Some(set)) => {
            let data: Vec<Vec<u8>> = set.data.iter().map(|data| data.to_vec()).collect();
            Kind::answer(set.rtype.to_int(), &data)
        }
        (OurKind::NoData, _) => Kind::NoData,
        (OurKind::NxDomain, _) => Kind::NxDomain,
        (OurKind::Answer | OurKind::None, _) => Kind::None,
    }
}

/// Asks as the program does, if it ever asks such a question.
pub(crate) async fn look_up(resolver: &Resolver, case: &Case, verdict: &Verdict) -> Option<Word> {
    let record_type = match case.rtype {
        A => RecordType::A,
        AAAA => RecordType::Aaaa,
        MX => RecordType::Mx,
        TLSA => RecordType::Tlsa,
        TXT => RecordType::Txt,
        _ => return None,
    };
    let name = domain_name(&case.name)?;
    // The program knows names that a mail can be sent to; an alias to another is a failure to it.
    let mut targets = verdict.steps.iter().map(|step| {
        let (target, _) = Name::read(step.target.as_slice())?;
        domain_name(&target)
    });
    if targets.any(|target| target.is_none()) {
        return None;
    }
    let answer: Answer = resolver.lookup(&name, record_type).await;
    Some(match answer.security() {
        Some(OurSecurity::Secure) => Word::Secure,
        Some(OurSecurity::Insecure) => Word::Insecure,
        None => Word::Bogus,
    })
}

/// A name as the program has them.
fn domain_name(name: &Name) -> Option<DomainName> {
    name.to_string().trim_end_matches('.').parse().ok()
}

fn question(name: &Name, rtype: u16) -> Question {
    let name = DnsName::from_octets(Bytes::from(name.wire())).expect("names are well-formed");
    Question::new(name, Rtype::from_int(rtype))
}
