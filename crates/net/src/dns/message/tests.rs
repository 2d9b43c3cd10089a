//! Messages taken apart: what belongs to the answer, and what does not.

use domain::base::MessageBuilder;
use domain::base::Record;
use domain::base::iana::Opcode;
use domain::rdata::A;
use domain::rdata::Cname;
use domain::rdata::Dname;
use domain::rdata::Soa;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::proptest;

use super::*;

#[test]
fn a_chain_is_taken_apart() {
    let message = message(|answer| {
        answer
            .push(record("a.example", cname("b.example")))
            .unwrap();
        answer.push(record("b.example", address(1))).unwrap();
        answer.push(record("b.example", address(2))).unwrap();
        // Recursive resolvers have been seen to repeat records.
        answer.push(record("b.example", address(2))).unwrap();
    });
    let sections = Sections::parse(&message).unwrap();
    let plan = plan(&sections, &name("A.Example"), Rtype::A, 1).unwrap();
    assert_eq!(plan.hops.len(), 1);
    assert_eq!(plan.hops[0].owner, name("a.example"));
    assert_eq!(plan.name, name("b.example"));
    let End::Records(set) = plan.end else {
        panic!("{plan:?}");
    };
    assert_eq!(set.records.len(), 2);
}

#[test]
fn aliases_that_cannot_be_followed_are_told_apart() {
    let several = [("a", cname("b.example")), ("a", cname("c.example"))];
    check_fault(&several, &BrokenAlias::Several("a.example".into()));
    let to_itself = [("a", cname("a.example"))];
    check_fault(&to_itself, &BrokenAlias::Loop("a.example".into()));
    let two = [("a", cname("b.example")), ("b", cname("c.example"))];
    check_fault(&two, &BrokenAlias::TooMany);
    let long = format!("{}.example", ["x".repeat(60).as_str(); 4].join("."));
    let dname = AllRecordData::Dname(Dname::new(parsed(&long)));
    let message = message(|answer| answer.push(record("example", dname)).unwrap());
    let sections = Sections::parse(&message).unwrap();
    let owner = format!("{}.example", "y".repeat(20));
    let fault = plan(&sections, &name(&owner), Rtype::A, 1).unwrap_err();
    assert_eq!(fault, BrokenAlias::TooLong(owner));
}

#[test]
fn a_dname_speaks_for_what_lies_below_it_alone() {
    let dname = || AllRecordData::Dname(Dname::new(parsed("other.example")));
    let message = message(|answer| answer.push(record("tree.example", dname())).unwrap());
    let sections = Sections::parse(&message).unwrap();
    let below = plan(&sections, &name("a.b.tree.example"), Rtype::A, 1).unwrap();
    assert_eq!(below.name, name("a.b.other.example"));
    for outside in ["tree.example", "treetree.example", "example"] {
        let plan = plan(&sections, &name(outside), Rtype::A, 1).unwrap();
        assert!(plan.hops.is_empty(), "{outside}");
    }
}

#[test]
fn a_denial_by_a_zone_elsewhere_is_no_denial() {
    let soa = |owner: &str| {
        let zero = Ttl::ZERO;
        let data = Soa::new(
            parsed("ns.example"),
            parsed("h.example"),
            1.into(),
            zero,
            zero,
            zero,
            zero,
        );
        record(owner, AllRecordData::Soa(data))
    };
    for (zone, followed) in [("example", true), ("b.example", true), ("other", false)] {
        let mut builder = MessageBuilder::new_vec().question();
        builder.push((name("a.example"), Rtype::A)).unwrap();
        let mut builder = builder.answer();
        builder
            .push(record("a.example", cname("b.example")))
            .unwrap();
        let mut builder = builder.authority();
        builder.push(soa(zone)).unwrap();
        let message = Message::from_octets(Bytes::from(builder.finish())).unwrap();
        let sections = Sections::parse(&message).unwrap();
        let plan = plan(&sections, &name("a.example"), Rtype::A, 1).unwrap();
        assert_eq!(matches!(plan.end, End::Denial(_)), followed, "{zone}");
        assert_eq!(matches!(plan.end, End::Unfollowed), !followed, "{zone}");
    }
}

#[test]
fn a_message_with_more_rrsets_than_any_honest_one_is_refused() {
    for (count, expected) in [
        (RRSETS_PER_SECTION_MAX, None),
        (
            RRSETS_PER_SECTION_MAX + 1,
            Some(BrokenMessage::TooManyRrSets),
        ),
    ] {
        let message = message(|answer| {
            for number in 0..count {
                let owner = format!("n{number}.example");
                answer.push(record(&owner, address(1))).unwrap();
            }
        });
        assert_eq!(Sections::parse(&message).err(), expected);
    }
}

proptest! {
    #[test]
    fn no_octets_bring_it_down(octets in vec(any::<u8>(), 12..600)) {
        take_apart(octets);
    }

    #[test]
    fn no_damage_brings_it_down(
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let message = message(|answer| {
            answer.push(record("a.example", cname("b.example"))).unwrap();
            let dname = Dname::new(parsed("example"));
            answer.push(record("example", AllRecordData::Dname(dname))).unwrap();
            answer.push(record("b.example", address(1))).unwrap();
        });
        let mut octets = message.as_slice().to_vec();
        for (index, octet) in damage {
            let index = index.index(octets.len());
            octets[index] = octet;
        }
        take_apart(octets);
    }
}

fn take_apart(octets: Vec<u8>) {
    let message = Message::from_octets(Bytes::from(octets)).unwrap();
    let Ok(sections) = Sections::parse(&message) else {
        return;
    };
    let owners = sections.answer.iter().map(|set| set.owner.clone());
    for question in owners.chain([name("a.example")]) {
        for rtype in [Rtype::A, Rtype::CNAME, Rtype::DS] {
            let _ = plan(&sections, &question, rtype, 16);
        }
    }
}

#[track_caller]
fn check_fault(
    records: &[(&str, AllRecordData<Bytes, ParsedName<Bytes>>)],
    expected: &BrokenAlias,
) {
    let message = message(|answer| {
        for (owner, data) in records {
            let owner = format!("{owner}.example");
            answer.push(record(&owner, data.clone())).unwrap();
        }
    });
    let sections = Sections::parse(&message).unwrap();
    let fault = plan(&sections, &name("a.example"), Rtype::A, 1).unwrap_err();
    assert_eq!(&fault, expected);
}

fn message(
    fill: impl FnOnce(&mut domain::base::message_builder::AnswerBuilder<Vec<u8>>),
) -> Message<Bytes> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_opcode(Opcode::QUERY);
    let mut builder = builder.question();
    builder.push((name("a.example"), Rtype::A)).unwrap();
    let mut builder = builder.answer();
    fill(&mut builder);
    Message::from_octets(Bytes::from(builder.finish())).unwrap()
}

fn record(
    owner: &str,
    data: AllRecordData<Bytes, ParsedName<Bytes>>,
) -> Record<Name<Bytes>, AllRecordData<Bytes, ParsedName<Bytes>>> {
    Record::new(name(owner), Class::IN, Ttl::from_secs(60), data)
}

fn cname(target: &str) -> AllRecordData<Bytes, ParsedName<Bytes>> {
    AllRecordData::Cname(Cname::new(parsed(target)))
}

fn address(last: u8) -> AllRecordData<Bytes, ParsedName<Bytes>> {
    AllRecordData::A(A::from_octets(192, 0, 2, last))
}

fn name(text: &str) -> Name<Bytes> {
    Name::bytes_from_str(text).unwrap()
}

fn parsed(text: &str) -> ParsedName<Bytes> {
    ParsedName::from(name(text))
}
