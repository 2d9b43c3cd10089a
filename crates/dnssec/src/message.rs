//! From the bytes of an answer to record sets with their signatures.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use domain::base::Message;
use domain::base::Name;
use domain::base::ToName;
use domain::base::iana::Class;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::base::name::ParsedName;
use domain::base::rdata::ParseAnyRecordData;
use domain::base::wire::ParseError;
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use domain::rdata::Rrsig;

use crate::rdata;

/// What is asked for; the class is always IN.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Question {
    /// The name asked about.
    pub name: Name<Bytes>,
    /// The type of record asked for.
    pub rtype: Rtype,
}

impl Question {
    /// A question for records of one type at one name.
    #[must_use]
    pub const fn new(name: Name<Bytes>, rtype: Rtype) -> Self {
        Self { name, rtype }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name.fmt_with_dot(), self.rtype)
    }
}

/// The records of one type at one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordSet {
    /// The name of the records, spelled as the answer spells it.
    pub owner: Name<Bytes>,
    /// Their type.
    pub rtype: Rtype,
    /// Seconds that they may be kept, once validated no longer than their signature lasts.
    pub ttl: u32,
    /// The data of each, with names uncompressed, in the order of the answer.
    pub data: Vec<Bytes>,
}

impl RecordSet {
    /// Each record as a line of a zone file.
    #[must_use]
    pub fn presentation(&self) -> Vec<String> {
        self.data
            .iter()
            .map(|data| {
                let owner = self.owner.fmt_with_dot();
                let data = presentation_of_data(self.rtype, data);
                format!("{owner} {} IN {} {data}", self.ttl, self.rtype)
            })
            .collect()
    }

    /// The records parsed as `Data`, without those that do not parse.
    pub fn parsed<'a, Data>(&'a self) -> impl Iterator<Item = Data>
    where
        Data: domain::base::rdata::ParseRecordData<'a, Bytes>,
    {
        self.data.iter().filter_map(|data| {
            Data::parse_rdata(self.rtype, &mut Parser::from_ref(data))
                .ok()
                .flatten()
        })
    }
}

/// The data of a record as in a zone file; the generic form of RFC 3597 where it does not parse.
fn presentation_of_data(rtype: Rtype, data: &Bytes) -> String {
    let parsed: Result<AllRecordData<Bytes, ParsedName<Bytes>>, _> =
        AllRecordData::parse_any_rdata(rtype, &mut Parser::from_ref(data));
    match parsed {
        Ok(parsed) => parsed.to_string(),
        Err(_) => {
            let hex: String = data.iter().map(|octet| format!("{octet:02X}")).collect();
            format!("\\# {} {hex}", data.len())
        }
    }
}

/// A record set with the signatures that came beside it.
#[derive(Clone, Debug)]
pub(crate) struct SignedSet {
    /// The records.
    pub(crate) set: RecordSet,
    /// The RRSIG records at the same name that cover the type, with the TTL that they came with.
    pub(crate) signatures: Vec<Rrsig<Bytes, Name<Bytes>>>,
}

/// One section of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section(Vec<SignedSet>);

impl Section {
    /// The record set of a type at a name.
    pub(crate) fn find(&self, owner: &Name<Bytes>, rtype: Rtype) -> Option<&SignedSet> {
        self.0
            .iter()
            .find(|signed| signed.set.rtype == rtype && signed.set.owner == owner)
    }

    /// All record sets of a type.
    pub(crate) fn of_type(&self, rtype: Rtype) -> impl Iterator<Item = &SignedSet> {
        self.0
            .iter()
            .filter(move |signed| signed.set.rtype == rtype)
    }

    /// Whether any record set has a signature.
    pub(crate) fn has_signatures(&self) -> bool {
        self.0.iter().any(|signed| !signed.signatures.is_empty())
    }
}

/// An answer from the upstream, taken apart but not believed.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The response code with the upper bits from EDNS.
    pub(crate) rcode: u16,
    /// The answer section.
    pub(crate) answer: Section,
    /// The authority section.
    pub(crate) authority: Section,
}

impl Response {
    /// Takes an answer apart.
    ///
    /// # Errors
    /// It is not a well-formed, complete answer to `question`.
    pub(crate) fn read(question: &Question, octets: &[u8]) -> Result<Self, BadMessage> {
        let octets = Bytes::copy_from_slice(octets);
        let message = Message::from_octets(octets.clone()).map_err(|_| BadMessage::Malformed {
            offset: octets.len(),
            what: "the header is cut off",
        })?;
        let header = message.header();
        if !header.qr() {
            return Err(BadMessage::NotAnAnswer);
        }
        if header.tc() {
            return Err(BadMessage::Truncated);
        }
        let counts = message.header_counts();
        let mut parser = Parser::from_ref(&octets);
        let mut reader =
            |read: &mut dyn FnMut(&mut Parser<'_, Bytes>) -> Result<(), ParseError>| {
                read(&mut parser).map_err(|error| BadMessage::Malformed {
                    offset: parser.pos(),
                    what: describe(error),
                })
            };
        reader(&mut |parser| Ok(parser.advance(HEADER_OCTETS)?))?;
        let mut asked = Vec::new();
        let (mut answer, mut authority) = (Sets::default(), Sets::default());
        let mut extended_rcode = 0;
        for _ in 0..counts.qdcount() {
            reader(&mut |parser| {
                let owner = ParsedName::parse(parser)?.to_bytes();
                asked.push(Question::new(owner, Rtype::parse(parser)?));
                Class::parse(parser).map(drop)
            })?;
        }
        // Some servers leave the question out of an error, which needs no more than its code.
        if !asked.is_empty() && asked != [question.clone()] {
            return Err(BadMessage::OtherQuestion);
        }
        for _ in 0..counts.ancount() {
            reader(&mut |parser| answer.read(parser).map(drop))?;
        }
        for _ in 0..counts.nscount() {
            reader(&mut |parser| authority.read(parser).map(drop))?;
        }
        for _ in 0..counts.arcount() {
            reader(&mut |parser| {
                let record = Record::read(parser)?;
                if record.rtype == Rtype::OPT {
                    // RFC 6891, Section 6.1.3: the TTL field begins with the upper bits.
                    extended_rcode = u16::try_from(record.ttl_field >> 24).unwrap_or(0);
                }
                Ok(())
            })?;
        }
        Ok(Self {
            rcode: (extended_rcode << 4) | u16::from(header.rcode().to_int()),
            answer: answer.finish(),
            authority: authority.finish(),
        })
    }

    /// Whether anything in the answer and authority sections is signed.
    pub(crate) fn has_signatures(&self) -> bool {
        self.answer.has_signatures() || self.authority.has_signatures()
    }
}

/// Why bytes are no usable answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BadMessage {
    /// The bytes break the format.
    Malformed {
        /// Where, counted from the first octet of the message.
        offset: usize,
        /// How.
        what: &'static str,
    },
    /// It is a query.
    NotAnAnswer,
    /// It answers another question.
    OtherQuestion,
    /// It is cut short; ask again over TCP.
    Truncated,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { offset, what } => {
                write!(f, "the answer is malformed at octet {offset}: {what}")
            }
            Self::NotAnAnswer => f.write_str("a query came where an answer should be"),
            Self::OtherQuestion => f.write_str("the answer belongs to another question"),
            Self::Truncated => f.write_str("the answer is truncated"),
        }
    }
}

impl std::error::Error for BadMessage {}

/// A parse error in words that do not depend on the library.
fn describe(error: ParseError) -> &'static str {
    match error {
        ParseError::ShortInput => "it ends too early",
        ParseError::Form(_) => "a record breaks the format of its type, or a name is broken",
    }
}

/// One record, taken apart.
struct Record {
    owner: Name<Bytes>,
    rtype: Rtype,
    class: Class,
    ttl_field: u32,
    data: Bytes,
}

impl Record {
    /// Reads one record.
    fn read(parser: &mut Parser<'_, Bytes>) -> Result<Self, ParseError> {
        let owner = ParsedName::parse(parser)?.to_bytes();
        let rtype = Rtype::parse(parser)?;
        let class = Class::parse(parser)?;
        let ttl_field = parser.parse_u32_be()?;
        let length = parser.parse_u16_be()?;
        let mut data = parser.parse_parser(usize::from(length))?;
        Ok(Self {
            owner,
            rtype,
            class,
            ttl_field,
            data: rdata::read(rtype, &mut data)?,
        })
    }

    /// The TTL; one with the top bit set counts as zero: RFC 2181, Section 8.
    fn ttl(&self) -> u32 {
        if self.ttl_field > TTL_MAX {
            0
        } else {
            self.ttl_field
        }
    }
}

/// The record sets of a section while it is read.
#[derive(Default)]
struct Sets {
    sets: Vec<SignedSet>,
    index: HashMap<(Name<Bytes>, Rtype), usize>,
    signatures: Vec<LooseSignature>,
}

/// A signature before it is known what it covers.
struct LooseSignature {
    owner: Name<Bytes>,
    rrsig: Rrsig<Bytes, Name<Bytes>>,
}

impl Sets {
    /// Reads one record into its set.
    fn read(&mut self, parser: &mut Parser<'_, Bytes>) -> Result<(), ParseError> {
        let record = Record::read(parser)?;
        if record.class != Class::IN {
            return Ok(());
        }
        if record.rtype == Rtype::RRSIG {
            let signature = Rrsig::parse(&mut Parser::from_ref(&record.data))?;
            self.signatures.push(LooseSignature {
                owner: record.owner,
                rrsig: signature.flatten_into(),
            });
            return Ok(());
        }
        let ttl = record.ttl();
        let key = (record.owner, record.rtype);
        match self.index.get(&key).and_then(|at| self.sets.get_mut(*at)) {
            Some(signed) => {
                signed.set.ttl = signed.set.ttl.min(ttl);
                signed.set.data.push(record.data);
            }
            None => {
                let (owner, rtype) = key.clone();
                self.index.insert(key, self.sets.len());
                self.sets.push(SignedSet {
                    set: RecordSet {
                        owner,
                        rtype,
                        ttl,
                        data: vec![record.data],
                    },
                    signatures: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// Puts each signature beside the set that it covers; others are dropped.
    fn finish(mut self) -> Section {
        for LooseSignature { owner, rrsig } in self.signatures {
            let key = (owner, rrsig.type_covered());
            if let Some(signed) = self.index.get(&key).and_then(|at| self.sets.get_mut(*at)) {
                signed.signatures.push(rrsig);
            }
        }
        Section(self.sets)
    }
}

/// RFC 1035, Section 4.1.1.
const HEADER_OCTETS: usize = 12;

/// RFC 2181, Section 8.
const TTL_MAX: u32 = i32::MAX.unsigned_abs();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_grouped_into_sets_whatever_their_order_and_case() {
        let response = read(&[
            "0000 8180 0001 0003 0000 0000 01 61 00 0001 0001",
            "c00c 0001 0001 0000003c 0004 7f000001",
            "01 42 00 0001 0001 0000003c 0004 7f000001",
            "01 41 00 0001 0001 0000000a 0004 7f000002",
        ])
        .unwrap();
        let set = &response.answer.find(&name("a."), Rtype::A).unwrap().set;
        assert_eq!((set.ttl, set.data.len()), (10, 2));
        assert_eq!(set.presentation()[0], "a. 10 IN A 127.0.0.1");
    }

    #[test]
    fn a_ttl_with_the_top_bit_set_is_zero() {
        let response = read(&[
            "0000 8180 0001 0001 0000 0000 01 61 00 0001 0001",
            "c00c 0001 0001 80000001 0004 7f000001",
        ])
        .unwrap();
        assert_eq!(response.answer.of_type(Rtype::A).next().unwrap().set.ttl, 0);
    }

    #[test]
    fn the_response_code_has_its_upper_bits_in_the_opt_record() {
        let response = read(&[
            "0000 8180 0001 0000 0000 0001 01 61 00 0001 0001",
            "00 0029 04d0 01008000 0000",
        ])
        .unwrap();
        assert_eq!(response.rcode, 16);
    }

    #[test]
    fn what_is_no_answer_is_refused_with_the_place() {
        let question = "01 61 00 0001 0001";
        check(&["0000"], malformed(2));
        check(
            &["0000 0100 0001 0000 0000 0000", question],
            BadMessage::NotAnAnswer,
        );
        check(
            &["0000 8380 0001 0000 0000 0000", question],
            BadMessage::Truncated,
        );
        let other = "01 62 00 0001 0001";
        check(
            &["0000 8180 0001 0000 0000 0000", other],
            BadMessage::OtherQuestion,
        );
        // A count that promises more than there is.
        check(&["0000 8180 0001 ffff 0000 0000", question], malformed(19));
        // A name that points at itself.
        let looped = "c013 0001 0001 00000000 0000";
        check(
            &["0000 8180 0001 0001 0000 0000", question, looped],
            malformed(21),
        );
        // An A record is opaque here, a CNAME of length 0 is not.
        let empty = "c00c 0005 0001 00000000 0000";
        check(
            &["0000 8180 0001 0001 0000 0000", question, empty],
            malformed(31),
        );
    }

    #[test]
    fn a_name_over_255_octets_is_refused() {
        let label = format!("3f{}", "61".repeat(63));
        let long = format!("{} 00 0001 0001", label.repeat(4));
        assert!(matches!(
            read(&["0000 8180 0001 0000 0000 0000", &long]),
            Err(BadMessage::Malformed { .. })
        ));
    }

    #[track_caller]
    fn check(hex: &[&str], expected: BadMessage) {
        let found = read(hex).unwrap_err();
        match (found, expected) {
            (BadMessage::Malformed { offset, .. }, BadMessage::Malformed { offset: at, .. }) => {
                assert_eq!(offset, at);
            }
            (found, expected) => assert_eq!(found, expected),
        }
    }

    fn malformed(offset: usize) -> BadMessage {
        BadMessage::Malformed { offset, what: "" }
    }

    fn read(hex: &[&str]) -> Result<Response, BadMessage> {
        let digits: Vec<u32> = hex
            .concat()
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .collect();
        let octets: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
            .collect();
        Response::read(&Question::new(name("a."), Rtype::A), &octets)
    }

    fn name(text: &str) -> Name<Bytes> {
        Name::bytes_from_str(text).unwrap()
    }
}
