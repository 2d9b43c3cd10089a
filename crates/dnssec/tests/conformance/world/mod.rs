//! A signed name space in memory, with an upstream resolver that answers from it.

mod zone;

use std::cell::RefCell;
use std::collections::VecDeque;

use byrnie_base::UnixTime;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Step;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use bytes::Bytes;
use domain::base::MessageBuilder;
use domain::base::Name;
use domain::base::iana::Rcode;
use domain::base::iana::Rtype;
use domain::rdata::ZoneRecordData;

pub(crate) use zone::Denial;
pub(crate) use zone::Nsec3Fields;
pub(crate) use zone::Nsec3Span;
pub(crate) use zone::Record;
pub(crate) use zone::Zone;
pub(crate) use zone::dnskey;
pub(crate) use zone::ds;
pub(crate) use zone::new_key_with;
pub(crate) use zone::nsec;
pub(crate) use zone::nsec3;
pub(crate) use zone::record;

/// The time at which everything happens.
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

/// A name space: zones, with the root first.
pub(crate) struct World {
    pub(crate) zones: Vec<Zone>,
    pub(crate) limits: Limits,
    pub(crate) sha1: Sha1Policy,
    /// Every question that was asked, in order.
    pub(crate) asked: RefCell<Vec<Question>>,
}

/// What an upstream would say, before it becomes a message.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(crate) nxdomain: bool,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
}

impl World {
    /// Builds and signs the zones; each one's DS records go to the zone above it.
    pub(crate) fn new(mut zones: Vec<Zone>) -> Self {
        for child in 0..zones.len() {
            let apex = zones[child].apex.clone();
            let ds = zones[child].ds_records();
            let parent = zones
                .iter_mut()
                .filter(|zone| apex.ends_with(&zone.apex) && zone.apex != apex)
                .max_by_key(|zone| zone.apex.label_count());
            if let Some(parent) = parent {
                parent.delegate(&apex, ds);
            }
        }
        for zone in &mut zones {
            zone.sign();
        }
        Self {
            zones,
            limits: Limits::default(),
            sha1: Sha1Policy::default(),
            asked: RefCell::default(),
        }
    }

    /// The zone with this apex.
    pub(crate) fn zone(&mut self, apex: &str) -> &mut Zone {
        let apex = name(apex);
        self.zones
            .iter_mut()
            .find(|zone| zone.apex == apex)
            .unwrap()
    }

    /// A validator that trusts the root.
    pub(crate) fn validator(&self) -> Validator {
        let anchors = TrustAnchors::parse(&self.zones[0].anchor_text()).unwrap();
        Validator::new(anchors, self.limits.clone(), self.sha1)
    }

    /// Asks and validates.
    pub(crate) fn ask(&self, question: &str) -> Verdict {
        self.ask_tampered(question, |_, _| {})
    }

    /// Asks and validates, while somebody changes the replies on the way.
    pub(crate) fn ask_tampered(
        &self,
        question: &str,
        tamper: impl Fn(&Question, &mut Reply),
    ) -> Verdict {
        self.drive(&self.validator(), question, |asked| {
            let mut reply = self.reply(asked);
            tamper(asked, &mut reply);
            Some(reply.message(asked))
        })
    }

    /// Drives one validation with raw answers; `None` is a time-out.
    pub(crate) fn drive(
        &self,
        validator: &Validator,
        question: &str,
        answer: impl Fn(&Question) -> Option<Vec<u8>>,
    ) -> Verdict {
        self.drive_at(NOW, validator, question, answer)
    }

    /// Drives one validation at another time.
    pub(crate) fn drive_at(
        &self,
        now: UnixTime,
        validator: &Validator,
        question: &str,
        answer: impl Fn(&Question) -> Option<Vec<u8>>,
    ) -> Verdict {
        let (mut validation, mut step) = validator.start(parse_question(question), now);
        let mut open = VecDeque::new();
        loop {
            match step {
                Step::Done(verdict) => return *verdict,
                Step::NeedsMore(questions) => open.extend(questions),
            }
            let asked = open
                .pop_front()
                .expect("a validation that is not done waits for answers");
            self.asked.borrow_mut().push(asked.clone());
            step = match answer(&asked) {
                Some(octets) => validation.handle_answer(&asked, &octets, now),
                None => validation.handle_failure(&asked, String::from("timed out"), now),
            };
        }
    }

    /// What an honest upstream replies.
    pub(crate) fn reply(&self, question: &Question) -> Reply {
        let mut reply = Reply::default();
        let mut current = question.name.clone();
        for _ in 0..CHAIN_MAX {
            let zone = self.zone_for(&current, question.rtype);
            let Some(next) = zone.answer(&current, question.rtype, &mut reply) else {
                break;
            };
            current = next;
        }
        reply
    }

    /// The zone that answers for a name; for DS records the one above a cut.
    fn zone_for(&self, name: &Name<Bytes>, rtype: Rtype) -> &Zone {
        self.zones
            .iter()
            .filter(|zone| name.ends_with(&zone.apex))
            .filter(|zone| rtype != Rtype::DS || zone.apex != *name || name.is_root())
            .max_by_key(|zone| zone.apex.label_count())
            .unwrap()
    }
}

impl Reply {
    /// The reply as a message.
    pub(crate) fn message(&self, question: &Question) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_qr(true);
        if self.nxdomain {
            builder.header_mut().set_rcode(Rcode::NXDOMAIN);
        }
        let mut builder = builder.question();
        builder.push((&question.name, question.rtype)).unwrap();
        let mut builder = builder.answer();
        for record in &self.answer {
            builder.push(record.clone()).unwrap();
        }
        let mut builder = builder.authority();
        for record in &self.authority {
            builder.push(record.clone()).unwrap();
        }
        builder.finish()
    }

    /// Removes the records of a type, with their signatures.
    pub(crate) fn remove(&mut self, rtype: Rtype) {
        for section in [&mut self.answer, &mut self.authority] {
            section.retain(|record| covered(record) != rtype);
        }
    }

    /// Removes all signatures and denials.
    pub(crate) fn strip(&mut self) {
        for rtype in [Rtype::NSEC, Rtype::NSEC3] {
            self.remove(rtype);
        }
        for section in [&mut self.answer, &mut self.authority] {
            section.retain(|record| record.rtype() != Rtype::RRSIG);
        }
    }
}

/// A record at another name.
pub(crate) fn moved(record: &Record, owner: &str) -> Record {
    let data = record.data().clone();
    Record::new(name(owner), record.class(), record.ttl(), data)
}

/// The type of a record, or of what it signs.
pub(crate) fn covered(record: &Record) -> Rtype {
    if let ZoneRecordData::Rrsig(rrsig) = record.data() {
        return rrsig.type_covered();
    }
    record.rtype()
}

/// A name from its text.
pub(crate) fn name(text: &str) -> Name<Bytes> {
    Name::bytes_from_str(text).unwrap()
}

/// A question from `NAME TYPE`.
pub(crate) fn parse_question(text: &str) -> Question {
    let (owner, rtype) = text.split_once(' ').unwrap();
    Question::new(name(owner), rtype.parse().unwrap())
}

/// CNAME records that the upstream follows in one reply.
const CHAIN_MAX: usize = 30;
