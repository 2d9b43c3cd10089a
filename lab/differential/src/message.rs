//! Messages before they become octets.

use std::collections::BTreeSet;

use crate::name::Name;

/// One record, its names uncompressed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    /// The owner in wire form, spelled as it is sent.
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

impl Record {
    /// The type, or the type that a signature covers.
    pub(crate) fn covered(&self) -> u16 {
        match (self.rtype, self.data.as_slice()) {
            (RRSIG, [high, low, ..]) => u16::from_be_bytes([*high, *low]),
            (rtype, _) => rtype,
        }
    }

    /// The owner as a name.
    pub(crate) fn name(&self) -> Name {
        Name::read(&self.owner).map_or_else(Name::root, |(name, _)| name)
    }
}

/// What an upstream replies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Reply {
    pub(crate) rcode: u8,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
}

impl Reply {
    /// The two sections.
    pub(crate) fn sections(&mut self) -> [&mut Vec<Record>; 2] {
        [&mut self.answer, &mut self.authority]
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.answer.iter().chain(&self.authority)
    }

    /// The record sets by owner and type, signatures not counted, each once.
    pub(crate) fn sets(&self) -> Vec<(Name, u16)> {
        let mut sets: Vec<(Name, u16)> = Vec::new();
        for record in self.records().filter(|record| record.rtype != RRSIG) {
            let key = (record.name(), record.rtype);
            if !sets.contains(&key) {
                sets.push(key);
            }
        }
        sets
    }

    /// Everything behind the question: what damage to octets may hit.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(1024);
        for record in self.records() {
            body.extend_from_slice(&record.owner);
            body.extend_from_slice(&record.rtype.to_be_bytes());
            body.extend_from_slice(&[0, 1]);
            body.extend_from_slice(&record.ttl.to_be_bytes());
            body.extend_from_slice(&(record.data.len() as u16).to_be_bytes());
            body.extend_from_slice(&record.data);
        }
        body
    }
}

/// One section.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Section {
    Answer,
    Authority,
}

/// A set with its signatures, in an order of its own, so that sets can be compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Gathered {
    pub(crate) section: Section,
    pub(crate) owner: Name,
    pub(crate) rtype: u16,
    data: BTreeSet<(u16, Vec<u8>)>,
}

impl Gathered {
    /// Whether there is any signature.
    pub(crate) fn is_signed(&self) -> bool {
        self.signatures() > 0
    }

    /// The number of signatures.
    pub(crate) fn signatures(&self) -> usize {
        let types = self.data.iter().map(|(rtype, _)| *rtype);
        types.filter(|rtype| *rtype == RRSIG).count()
    }

    /// Whether there is anything but signatures.
    pub(crate) fn has_records(&self) -> bool {
        self.data.iter().any(|(rtype, _)| *rtype != RRSIG)
    }
}

/// The sets of a reply.
pub(crate) fn gather(reply: &Reply) -> Vec<Gathered> {
    let mut sets: Vec<Gathered> = Vec::new();
    for (section, records) in [
        (Section::Answer, &reply.answer),
        (Section::Authority, &reply.authority),
    ] {
        for record in records {
            let (owner, rtype) = (record.name(), record.covered());
            let known = sets
                .iter_mut()
                .find(|set| set.section == section && set.owner == owner && set.rtype == rtype);
            let entry = (record.rtype, record.data.clone());
            match known {
                Some(set) => {
                    set.data.insert(entry);
                }
                None => sets.push(Gathered {
                    section,
                    owner,
                    rtype,
                    data: BTreeSet::from([entry]),
                }),
            }
        }
    }
    sets
}

/// A reply as it is sent: the body may be damaged, so that it is no longer known what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) rcode: u8,
    pub(crate) answers: u16,
    pub(crate) authorities: u16,
    pub(crate) body: Vec<u8>,
    /// The reply before single octets were damaged.
    pub(crate) reply: Reply,
}

impl Sent {
    /// The reply as it can be read from the octets; `None` if it cannot.
    pub(crate) fn read(&self) -> Option<Reply> {
        let mut reply = Reply {
            rcode: self.rcode,
            ..Reply::default()
        };
        let mut rest = self.body.as_slice();
        for index in 0..self.answers + self.authorities {
            let (name, length) = Name::read(rest)?;
            let head = rest.get(length..length + 10)?;
            let octets = usize::from(u16::from_be_bytes([head[8], head[9]]));
            let record = Record {
                owner: name.wire(),
                rtype: u16::from_be_bytes([head[0], head[1]]),
                ttl: 0,
                data: rest.get(length + 10..length + 10 + octets)?.to_vec(),
            };
            rest = &rest[length + 10 + octets..];
            if head[2..4] != [0, 1] {
                continue;
            }
            if index < self.answers {
                reply.answer.push(record);
            } else {
                reply.authority.push(record);
            }
        }
        rest.is_empty().then_some(reply)
    }

    /// The message that answers a question, given as it was asked.
    pub(crate) fn message(&self, id: [u8; 2], question: &[u8]) -> Vec<u8> {
        let mut message = vec![id[0], id[1], 0x81, 0x90 | self.rcode, 0, 1];
        message.extend_from_slice(&self.answers.to_be_bytes());
        message.extend_from_slice(&self.authorities.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(question);
        message.extend_from_slice(&self.body);
        // EDNS with DO: RFC 6891, Section 6.1.2.
        message.extend_from_slice(&[0, 0, 41, 0xff, 0xff, 0, 0, 0x80, 0, 0, 0]);
        message
    }
}

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const DNAME: u16 = 39;
pub(crate) const DS: u16 = 43;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;
pub(crate) const DNSKEY: u16 = 48;
pub(crate) const NSEC3: u16 = 50;
pub(crate) const NSEC3PARAM: u16 = 51;
pub(crate) const TLSA: u16 = 52;

pub(crate) const NOERROR: u8 = 0;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const REFUSED: u8 = 5;
pub(crate) const YXDOMAIN: u8 = 6;
