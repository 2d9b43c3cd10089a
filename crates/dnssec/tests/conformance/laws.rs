//! Laws of reading: what an answer means does not depend on how it is written.

use byrnie_dnssec::Question;
use byrnie_dnssec::Status;
use byrnie_dnssec::Verdict;
use domain::base::MessageBuilder;
use domain::base::StaticCompressor;
use proptest::prelude::any;
use proptest::proptest;
use proptest::sample::select;
use proptest::test_runner::Config;

use crate::world::Denial;
use crate::world::Record;
use crate::world::Reply;
use crate::world::World;
use crate::world::Zone;
use crate::world::name;

/// What is asked: each kind of answer once.
const QUESTIONS: [&str; 7] = [
    "www.org. A",
    "www.org. AAAA",
    "nx.org. A",
    "alias.org. A",
    "a.wild.org. TXT",
    "a.moved.org. A",
    "www.plain.org. A",
];

proptest! {
    #![proptest_config(Config::with_cases(48))]

    #[test]
    fn the_order_of_records_and_their_number_mean_nothing(
        question in select(QUESTIONS.to_vec()),
        turn in any::<u8>(),
        twice in any::<u8>(),
    ) {
        let world = world();
        let verdict = world.ask_tampered(question, |_, reply| {
            for section in [&mut reply.answer, &mut reply.authority] {
                if section.is_empty() {
                    continue;
                }
                let length = section.len();
                section.push(section[usize::from(twice) % length].clone());
                section.rotate_left(usize::from(turn) % length);
            }
        });
        check(&world, question, &verdict);
    }

    #[test]
    fn compression_and_case_mean_nothing(
        question in select(QUESTIONS.to_vec()),
        upper in any::<u64>(),
    ) {
        let world = world();
        let verdict = world.drive(&world.validator(), question, |asked| {
            let mut reply = world.reply(asked);
            let mut bits = upper;
            for record in reply.answer.iter_mut().chain(&mut reply.authority) {
                bits = bits.rotate_left(1);
                if bits & 1 == 1 {
                    let owner = record.owner().fmt_with_dot().to_string().to_uppercase();
                    let (class, ttl) = (record.class(), record.ttl());
                    *record = Record::new(name(&owner), class, ttl, record.data().clone());
                }
            }
            Some(compressed(&reply, asked))
        });
        check(&world, question, &verdict);
    }

    #[test]
    fn a_ttl_that_was_raised_on_the_way_does_not_count(
        question in select(QUESTIONS.to_vec()),
        ttl in any::<u32>(),
    ) {
        let world = world();
        let verdict = world.ask_tampered(question, |_, reply| {
            for record in reply.answer.iter_mut().chain(&mut reply.authority) {
                record.set_ttl(domain::base::Ttl::from_secs(ttl));
            }
        });
        let truth = world.ask(question);
        assert_eq!(verdict.status, truth.status, "{question}");
        if verdict.status == Status::Secure {
            assert!(verdict.ttl <= truth.ttl, "{question}: {}", verdict.ttl);
        }
    }
}

/// A verdict that says what the plainly written answers say.
#[track_caller]
fn check(world: &World, question: &str, verdict: &Verdict) {
    let truth = world.ask(question);
    assert_eq!(verdict.status, truth.status, "{question}");
    assert_eq!(verdict.kind, truth.kind, "{question}");
    assert_eq!(verdict.ttl, truth.ttl, "{question}");
    let hops = |verdict: &Verdict| verdict.steps.len();
    assert_eq!(hops(verdict), hops(&truth), "{question}");
    assert_eq!(data(verdict), data(&truth), "{question}");
}

/// The data of the answer, sorted, each once.
fn data(verdict: &Verdict) -> Vec<bytes::Bytes> {
    let all = verdict.answer.iter().flat_map(|set| &set.data);
    let mut all: Vec<_> = all.cloned().collect();
    all.sort();
    all.dedup();
    all
}

/// A reply as a message in which names are compressed.
fn compressed(reply: &Reply, question: &Question) -> Vec<u8> {
    let target = StaticCompressor::new(Vec::new());
    let mut builder = MessageBuilder::from_target(target).unwrap();
    builder.header_mut().set_qr(true);
    if reply.nxdomain {
        let code = domain::base::iana::Rcode::NXDOMAIN;
        builder.header_mut().set_rcode(code);
    }
    let mut builder = builder.question();
    builder.push((&question.name, question.rtype)).unwrap();
    let mut builder = builder.answer();
    for record in &reply.answer {
        builder.push(record.clone()).unwrap();
    }
    let mut builder = builder.authority();
    for record in &reply.authority {
        builder.push(record.clone()).unwrap();
    }
    builder.finish().into_target()
}

fn world() -> World {
    let text = "www A 192.0.2.1
www A 192.0.2.2
alias CNAME www
*.wild TXT wild
moved DNAME signed.org.
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, text),
        Zone::new("signed.org.", Denial::Nsec3(0), "a A 192.0.2.5"),
        Zone::new("plain.org.", Denial::Unsigned, "www A 192.0.2.6"),
    ])
}
