//! From the bytes of an answer to record sets with their signatures.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Class;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::base::name::ParsedName;
use domain::base::rdata::ParseAnyRecordData;
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use domain::rdata::Rrsig;

use crate::rdata;
use crate::validation::NOERROR;
use crate::validation::NXDOMAIN;
use crate::wire::Cursor;
use crate::wire::Unreadable;

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
    /// The data of each, with names uncompressed, in the order of the answer, and none twice.
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

/// The data of a record as in a zone file; the generic form of RFC 3597 where it does not parse, or
/// where what stands in it would not be plain text.
fn presentation_of_data(rtype: Rtype, data: &Bytes) -> String {
    let parsed: Result<AllRecordData<Bytes, ParsedName<Bytes>>, _> =
        AllRecordData::parse_any_rdata(rtype, &mut Parser::from_ref(data));
    let text = parsed.map(|parsed| parsed.to_string());
    match text {
        Ok(text) if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) => text,
        Ok(_) | Err(_) => {
            let hex: String = data.iter().map(|octet| format!("{octet:02X}")).collect();
            format!("\\# {} {hex}", data.len()).trim_end().to_owned()
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
        let mut cursor = Cursor::new(&octets);
        let head = Head::read(&mut cursor).map_err(|why| BadMessage::at(Place::Header, why))?;
        head.check()?;
        let is_asked = read_questions(&mut cursor, &head, question)?;
        let (mut answer, mut authority) = (Sets::default(), Sets::default());
        for number in 1..=head.answer_count {
            let read = answer.read(&mut cursor);
            read.map_err(|why| BadMessage::at(Place::Answer(number), why))?;
        }
        for number in 1..=head.authority_count {
            let read = authority.read(&mut cursor);
            read.map_err(|why| BadMessage::at(Place::Authority(number), why))?;
        }
        let mut edns = None;
        for number in 1..=head.additional_count {
            let read = read_additional(&mut cursor, &mut edns);
            read.map_err(|why| BadMessage::at(Place::Additional(number), why))?;
        }
        let rcode = edns.unwrap_or(0) << 4 | head.rcode();
        // Some servers leave the question out of an error, which needs no more than its code.
        if !is_asked && (rcode == NOERROR || rcode == NXDOMAIN) {
            return Err(BadMessage::NoQuestion);
        }
        Ok(Self {
            rcode,
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
        /// In which part of the message.
        place: Place,
        /// How.
        what: &'static str,
    },
    /// It claims to be an answer, and does not say to what.
    NoQuestion,
    /// It is a query.
    NotAnAnswer,
    /// It answers another operation than a query, by this opcode.
    OtherOpcode(u8),
    /// It answers another question.
    OtherQuestion,
    /// It is cut short; ask again over TCP.
    Truncated,
}

impl BadMessage {
    /// Something that cannot be read in a part of the message.
    const fn at(place: Place, why: Unreadable) -> Self {
        Self::Malformed {
            offset: why.offset,
            place,
            what: why.what,
        }
    }
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed {
                offset,
                place,
                what,
            } => {
                write!(
                    f,
                    "the answer is malformed at octet {offset}, in {place}: {what}"
                )
            }
            Self::NoQuestion => f.write_str("the answer does not repeat the question"),
            Self::NotAnAnswer => f.write_str("a query came where an answer should be"),
            Self::OtherOpcode(opcode) => write!(f, "the answer is to opcode {opcode}, not 0"),
            Self::OtherQuestion => f.write_str("the answer belongs to another question"),
            Self::Truncated => f.write_str("the answer is truncated"),
        }
    }
}

impl std::error::Error for BadMessage {}

/// A part of a message: RFC 1035, Section 4.1. Records are counted from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The first twelve octets.
    Header,
    /// A question.
    Question(u16),
    /// A record of the answer section.
    Answer(u16),
    /// A record of the authority section.
    Authority(u16),
    /// A record of the additional section.
    Additional(u16),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Question(number) => write!(f, "question {number}"),
            Self::Answer(number) => write!(f, "record {number} of the answer section"),
            Self::Authority(number) => write!(f, "record {number} of the authority section"),
            Self::Additional(number) => write!(f, "record {number} of the additional section"),
        }
    }
}

/// The header of a message: RFC 1035, Section 4.1.1.
struct Head {
    flags: u16,
    question_count: u16,
    answer_count: u16,
    authority_count: u16,
    additional_count: u16,
}

impl Head {
    /// Reads the header.
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Unreadable> {
        let _id = cursor.short()?;
        Ok(Self {
            flags: cursor.short()?,
            question_count: cursor.short()?,
            answer_count: cursor.short()?,
            authority_count: cursor.short()?,
            additional_count: cursor.short()?,
        })
    }

    /// Whether it is the header of a whole answer to a query.
    fn check(&self) -> Result<(), BadMessage> {
        if self.flags & FLAG_RESPONSE == 0 {
            return Err(BadMessage::NotAnAnswer);
        }
        if self.opcode() != OPCODE_QUERY {
            return Err(BadMessage::OtherOpcode(self.opcode()));
        }
        if self.flags & FLAG_TRUNCATED != 0 {
            return Err(BadMessage::Truncated);
        }
        Ok(())
    }

    /// What was to be done.
    fn opcode(&self) -> u8 {
        let [high, _] = self.flags.to_be_bytes();
        high >> 3 & 0x0f
    }

    /// The lower bits of the response code.
    const fn rcode(&self) -> u16 {
        self.flags & 0x0f
    }
}

/// Reads the questions; whether there is one, which must be the one that was asked.
fn read_questions(
    cursor: &mut Cursor<'_>,
    head: &Head,
    question: &Question,
) -> Result<bool, BadMessage> {
    for number in 1..=head.question_count {
        let mut read = || Ok((cursor.name()?, cursor.short()?, cursor.short()?));
        let (name, rtype, class) =
            read().map_err(|why| BadMessage::at(Place::Question(number), why))?;
        let asked = Question::new(name, Rtype::from_int(rtype));
        if number > 1 || asked != *question || Class::from_int(class) != Class::IN {
            return Err(BadMessage::OtherQuestion);
        }
    }
    Ok(head.question_count > 0)
}

/// Reads a record of the additional section, of which only the upper bits of the response code count.
///
//= https://www.rfc-editor.org/rfc/rfc6891#section-6.1.1
//# If a query message with more than one OPT RR is received, a FORMERR (RCODE=1) MUST be returned.
///
/// Of two in an answer, too, nobody can say which counts.
fn read_additional(cursor: &mut Cursor<'_>, edns: &mut Option<u16>) -> Result<(), Unreadable> {
    let start = cursor.clone();
    let record = Record::read(cursor)?;
    if record.rtype != Rtype::OPT {
        return Ok(());
    }
    if !record.owner.is_root() {
        return Err(start.fault("an OPT record has an owner"));
    }
    if edns.is_some() {
        return Err(start.fault("a second OPT record"));
    }
    // RFC 6891, Section 6.1.3: the TTL field begins with the upper bits.
    let [upper, ..] = record.ttl_field.to_be_bytes();
    *edns = Some(u16::from(upper));
    Ok(())
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
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Unreadable> {
        let owner = cursor.name()?;
        let rtype = Rtype::from_int(cursor.short()?);
        let class = Class::from_int(cursor.short()?);
        let ttl_field = cursor.long()?;
        let length = cursor.short()?;
        let mut data = cursor.stretch(usize::from(length))?;
        Ok(Self {
            owner,
            rtype,
            class,
            ttl_field,
            data: rdata::read(rtype, &mut data)?,
        })
    }

    /// The TTL; one with the top bit set counts as zero: RFC 2181, Section 8.
    const fn ttl(&self) -> u32 {
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
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Unreadable> {
        let start = cursor.clone();
        let record = Record::read(cursor)?;
        if record.class != Class::IN {
            return Ok(());
        }
        if record.rtype == Rtype::RRSIG {
            let signature = Rrsig::parse(&mut Parser::from_ref(&record.data))
                .map_err(|_| start.fault("an RRSIG record breaks its format"))?;
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
        for signed in &mut self.sets {
            drop_duplicates(&mut signed.set);
        }
        for LooseSignature { owner, rrsig } in self.signatures {
            let key = (owner, rrsig.type_covered());
            if let Some(signed) = self.index.get(&key).and_then(|at| self.sets.get_mut(*at)) {
                signed.signatures.push(rrsig);
            }
        }
        Section(self.sets)
    }
}

/// Keeps each record once: RFC 2181, Section 5.
///
/// Signatures are over records without duplicates, so anybody on the way can add some. Where records
/// are counted, or only the first of them looked at, that must change nothing.
fn drop_duplicates(set: &mut RecordSet) {
    if set.data.len() < 2 {
        return;
    }
    let rtype = set.rtype;
    let mut seen = HashSet::with_capacity(set.data.len());
    set.data
        .retain(|data| seen.insert(rdata::canonical(rtype, data).into_owned()));
}

/// RFC 1035, Section 4.1.1: QR.
const FLAG_RESPONSE: u16 = 0x8000;

/// RFC 1035, Section 4.1.1: TC.
const FLAG_TRUNCATED: u16 = 0x0200;

/// RFC 1035, Section 4.1.1.
const OPCODE_QUERY: u8 = 0;

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
    fn records_of_another_class_are_in_no_set() {
        let response = read(&[
            "0000 8180 0001 0002 0000 0000 01 61 00 0001 0001",
            "c00c 0001 0003 0000003c 0004 7f000001",
            "c00c 0001 0001 0000003c 0004 7f000002",
        ])
        .unwrap();
        let set = &response.answer.find(&name("a."), Rtype::A).unwrap().set;
        assert_eq!(set.presentation(), ["a. 60 IN A 127.0.0.2"]);
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
    fn data_is_shown_as_plain_text_whatever_it_holds() {
        check_shown(Rtype::TXT, b"\x02a\x1b", "\"a\\027\"");
        check_shown(Rtype::A, &[192, 0, 2, 1], "192.0.2.1");
        check_shown(Rtype::A, &[192, 0, 2], "\\# 3 C00002");
        check_shown(Rtype::A, &[], "\\# 0");
        // A dohpath, which nothing escapes: RFC 9461, Section 5.
        let controls = b"\x00\x01\x00\x00\x07\x00\x04\x1b[2J";
        check_shown(Rtype::SVCB, controls, "\\# 11 000100000700041B5B324A");

        #[track_caller]
        fn check_shown(rtype: Rtype, data: &[u8], expected: &str) {
            let data = Bytes::copy_from_slice(data);
            assert_eq!(presentation_of_data(rtype, &data), expected);
        }
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
