//! One message, in place of the answer to a question and of the root's keys.

use byrnie_dnssec::AnchorTracker;
use byrnie_dnssec::BadMessage;
use byrnie_dnssec::Failure;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::Validator;
use domain::base::Name;
use domain::base::iana::Rtype;

use super::drawing::assert_drawable;
use super::tree::NOW;
use super::tree::TREE;
use super::tree::name;

/// One answer to a question: a verdict, further questions, or an error with an offset inside of it.
pub fn dnssec_message(input: &[u8]) {
    let validator = Validator::new(TREE.anchors(), Limits::default(), Sha1Policy::Validate);
    let question = Question::new(name("www.org."), Rtype::A);
    let (mut validation, first) = validator.start(question.clone(), NOW);
    assert!(matches!(first, Step::NeedsMore(_)), "nothing is known yet");
    let mut step = validation.handle_answer(&question, input, NOW);
    let mut open = vec![Question::new(Name::root_bytes(), Rtype::DNSKEY)];
    let verdict = loop {
        match step {
            Step::Done(verdict) => break verdict,
            Step::NeedsMore(questions) => open.extend(questions),
        }
        let Some(asked) = open.pop() else {
            panic!("it waits for no answer");
        };
        step = validation.handle_failure(&asked, String::from("timed out"), NOW);
    };
    assert!(
        matches!(verdict.status, Status::Failed(_)),
        "nothing can be proven without the root's keys: {}",
        verdict.status
    );
    check_offset(&verdict.status, input);
    assert_drawable(&verdict);

    let mut tracker = AnchorTracker::new();
    let root = Name::root_bytes();
    let observed = tracker.observe(&root, &TREE.anchors(), input, NOW);
    if let Err(status) = &observed {
        check_offset(status, input);
    }
    if tracker.keys.iter().any(|key| key.state.is_trusted()) {
        assert_eq!(observed, Ok(()), "trusted in spite of an error");
    }
}

/// An error lies inside of the message, or right behind it.
fn check_offset(status: &Status, input: &[u8]) {
    if let Status::Failed(Failure::BadMessage(_, BadMessage::Malformed { offset, .. })) = status {
        assert!(*offset <= input.len(), "{status}");
    }
}
