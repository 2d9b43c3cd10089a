//! Damage on the way: never a panic, and never other data as secure.

use byrnie_dnssec::Kind;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::RecordSet;
use byrnie_dnssec::Status;
use byrnie_dnssec::Verdict;
use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::proptest;
use proptest::sample::select;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::parse_question;

/// What is asked; the questions of the chain come on top.
const QUESTIONS: [&str; 10] = [
    "www.org. A",
    "www.org. AAAA",
    "nx.org. A",
    "alias.org. A",
    "a.wild.org. TXT",
    "a.moved.org. A",
    "b.ent.org. A",
    "www.signed.org. A",
    "www.plain.org. A",
    "signed.org. DS",
];

proptest! {
    #[test]
    fn any_bytes_end_in_a_verdict(octets in vec(any::<u8>(), 0..600), question in question()) {
        let world = world(Denial::Nsec);
        let verdict = world.drive(&world.validator(), question, |_| Some(octets.clone()));
        assert_eq!(verdict.kind, Kind::None);
    }

    #[test]
    fn any_bytes_in_place_of_one_answer_end_in_a_verdict(
        octets in vec(any::<u8>(), 0..200),
        question in question(),
        place in 0_usize..8,
    ) {
        let world = world(Denial::Nsec);
        let verdict = ask_damaged(&world, question, place, |message| {
            // Behind a header and question that fit, so that the bytes are looked at.
            let end = 12 + parse_question(question).name.len() + 4;
            message.truncate(end);
            message.extend_from_slice(&octets);
        });
        check(&world, question, &verdict);
    }

    #[test]
    fn a_changed_octet_never_makes_other_data_secure(
        question in question(),
        denial in denial(),
        place in 0_usize..8,
        changes in vec((any::<u16>(), 1_u8..), 1..4),
    ) {
        let world = world(denial);
        let verdict = ask_damaged(&world, question, place, |message| {
            for (position, change) in &changes {
                let position = usize::from(*position) % message.len();
                message[position] ^= change;
            }
        });
        check(&world, question, &verdict);
    }

    #[test]
    fn records_left_out_or_shuffled_never_make_other_data_secure(
        question in question(),
        denial in denial(),
        kept in any::<u64>(),
        from_another in question(),
    ) {
        let world = world(denial);
        let verdict = world.ask_tampered(question, |asked, reply| {
            let other = world.reply(&parse_question(from_another));
            if *asked == parse_question(question) {
                reply.nxdomain ^= kept & 1 == 1;
                reply.answer.extend(other.answer);
                reply.authority.extend(other.authority);
            }
            let mut bits = kept.rotate_left(u32::from(asked.rtype.to_int()));
            for section in [&mut reply.answer, &mut reply.authority] {
                section.retain(|_| {
                    bits = bits.rotate_left(1);
                    bits & 7 != 0
                });
            }
        });
        check(&world, question, &verdict);
    }
}

/// Asks while one of the answers, counted from the first, is damaged.
fn ask_damaged(
    world: &World,
    question: &str,
    place: usize,
    damage: impl Fn(&mut Vec<u8>),
) -> Verdict {
    let count = std::cell::Cell::new(0);
    world.drive(&world.validator(), question, |asked: &Question| {
        let mut message = world.reply(asked).message(asked);
        if count.replace(count.get() + 1) == place {
            damage(&mut message);
        }
        Some(message)
    })
}

/// A verdict on damaged answers is secure only if it says what the true one says, and only what is
/// truly insecure is insecure; and it stays within the bounds.
#[track_caller]
fn check(world: &World, question: &str, verdict: &Verdict) {
    let truth = world.ask(question);
    match &verdict.status {
        Status::Secure => {
            assert_eq!(truth.status, Status::Secure, "{question}");
            assert_eq!(verdict.kind, truth.kind, "{question}");
            assert_eq!(data(verdict.answer.as_ref()), data(truth.answer.as_ref()));
        }
        Status::Insecure(_) => assert_eq!(truth.status.word(), "insecure", "{question}"),
        Status::Bogus(_) | Status::Failed(_) => assert_eq!(verdict.kind, Kind::None),
    }
    let limits = Limits::default();
    assert!(verdict.work.signature_checks <= limits.signature_checks_max);
    assert!(verdict.work.nsec3_rounds <= limits.nsec3_rounds_max);
    assert!(verdict.ttl <= ttl_max());
}

/// The longest time that a verdict may be kept.
fn ttl_max() -> u32 {
    u32::try_from(Limits::default().ttl_max.as_secs()).unwrap()
}

/// The data of records, in an order of their own and without regard to the case of names.
fn data(set: Option<&RecordSet>) -> Vec<Vec<u8>> {
    let all = set.iter().flat_map(|set| &set.data);
    let mut all: Vec<Vec<u8>> = all.map(|data| data.to_ascii_lowercase()).collect();
    all.sort();
    all.dedup();
    all
}

fn question() -> impl Strategy<Value = &'static str> {
    select(QUESTIONS.to_vec())
}

fn denial() -> impl Strategy<Value = Denial> {
    select(vec![Denial::Nsec, Denial::Nsec3(0)])
}

fn world(denial: Denial) -> World {
    let text = "www A 192.0.2.1
www A 192.0.2.2
alias CNAME www
a.b.ent A 192.0.2.3
*.wild TXT wild
moved DNAME signed.org.
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", denial, text),
        Zone::new("signed.org.", denial, "www A 192.0.2.4\na A 192.0.2.5"),
        Zone::new("plain.org.", Denial::Unsigned, "www A 192.0.2.6"),
    ])
}
