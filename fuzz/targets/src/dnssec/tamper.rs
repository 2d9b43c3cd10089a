//! What an attacker on the way does to an answer, as the input orders it.

use byrnie_base::UnixTime;
use byrnie_dnssec::Question;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;

use super::script::Script;
use super::tree::EVIL;
use super::tree::Record;
use super::tree::Reply;
use super::tree::Signing;
use super::tree::TREE;
use super::tree::name;

/// The message that comes instead of an honest one; `None` is a time-out.
pub(super) fn tampered(question: &Question, script: &mut Script<'_>) -> Option<Vec<u8>> {
    let mut reply = TREE.reply(question);
    for _ in 0..ORDERS_MAX {
        match script.octet() % 16 {
            0 => return Some(reply.message(question)),
            1 => change_section(&mut reply, script, |records, place, _| {
                records.remove(place);
            }),
            2 => change_section(&mut reply, script, repeat),
            3 => change_section(&mut reply, script, |records, place, script| {
                records.rotate_left(place);
                records.truncate(script.place(records.len()) + 1);
            }),
            4 => add(&mut reply, pooled(script), script),
            5 => reply = TREE.reply(&asked(script)),
            6 => reply.nxdomain ^= true,
            7 => reply.authority.extend(zone_of_pool(script).denial()),
            8 => forge(&mut reply, script),
            9 => change_section(&mut reply, script, |records, place, script| {
                change(records, place, |record| {
                    record.ttl = u32::from(script.short()) << 8;
                });
            }),
            10 => change_section(&mut reply, script, |records, place, script| {
                change(records, place, |record| record.owner = some_name(script));
            }),
            11 => change_section(&mut reply, script, |records, place, script| {
                change(records, place, |record| {
                    record.data = damaged(&record.data, script);
                });
            }),
            12 => for_both(&mut reply, |record| record.rtype != Rtype::RRSIG),
            13 => reply = Reply::default(),
            14 => return Some(damaged_message(reply.message(question), script)),
            _ => return None,
        }
    }
    Some(reply.message(question))
}

/// A question about one of the names.
pub(super) fn asked(script: &mut Script<'_>) -> Question {
    let rtype = script.pick(&TYPES).unwrap_or(Rtype::A);
    Question::new(name(script.pick(&NAMES).unwrap_or(".")), rtype)
}

/// A name from labels: few that exist, and any others, below one of the names.
pub(super) fn some_name(script: &mut Script<'_>) -> Name<Bytes> {
    let mut built = name(script.pick(&NAMES).unwrap_or("."));
    for _ in 0..script.octet() % 8 {
        let label = match script.octet() {
            own @ 200.. => vec![own, script.octet()],
            known => match LABELS.get(usize::from(known) % LABELS.len()) {
                Some(label) => label.as_bytes().to_vec(),
                None => Vec::new(),
            },
        };
        let length = u8::try_from(label.len()).unwrap_or_default();
        let octets = [&[length], &label[..], built.as_slice()].concat();
        built = Name::from_octets(octets.into()).unwrap_or(built);
    }
    built
}

/// Does something to a record of a section, if it has any.
fn change_section(
    reply: &mut Reply,
    script: &mut Script<'_>,
    order: impl FnOnce(&mut Vec<Record>, usize, &mut Script<'_>),
) {
    let choice = script.octet();
    let section = match choice & 0x80 {
        0 => &mut reply.answer,
        _ => &mut reply.authority,
    };
    if !section.is_empty() {
        let place = usize::from(choice & 0x7f) % section.len();
        order(section, place, script);
    }
}

/// Does something to one record.
fn change(records: &mut [Record], place: usize, order: impl FnOnce(&mut Record)) {
    if let Some(record) = records.get_mut(place) {
        order(record);
    }
}

/// Adds copies of a record, each different in its last octet: many bad signatures, or many keys.
fn repeat(records: &mut Vec<Record>, place: usize, script: &mut Script<'_>) {
    let Some(record) = records.get(place).cloned() else {
        return;
    };
    for change in 1..=script.octet() % COPIES_MAX {
        let mut data = record.data.to_vec();
        if let Some(last) = data.last_mut() {
            *last ^= change;
        }
        let data = data.into();
        records.insert(
            place,
            Record {
                data,
                ..record.clone()
            },
        );
    }
}

/// Keeps only some records.
fn for_both(reply: &mut Reply, keep: impl Fn(&Record) -> bool) {
    reply.answer.retain(&keep);
    reply.authority.retain(&keep);
}

/// Adds a record to one of the sections.
fn add(reply: &mut Reply, record: Option<Record>, script: &mut Script<'_>) {
    match script.octet() & 1 {
        0 => reply.answer.extend(record),
        _ => reply.authority.extend(record),
    }
}

/// A record of one of the zones, properly signed in its place.
fn pooled(script: &mut Script<'_>) -> Option<Record> {
    let zone = zone_of_pool(script);
    let count = zone.all().count();
    zone.all().nth(script.place(count)).cloned()
}

/// One of the zones.
fn zone_of_pool(script: &mut Script<'_>) -> &'static super::tree::Zone {
    let place = script.place(TREE.zones.len());
    TREE.zones.get(place).unwrap_or_else(|| TREE.zone("."))
}

/// Adds a record set that the attacker signs with the key of a zone of their own.
///
/// Owner, type, data and dates are as ordered, and the signature may claim any zone.
fn forge(reply: &mut Reply, script: &mut Script<'_>) {
    let choice = script.octet();
    let data = match choice & 1 {
        0 => Bytes::copy_from_slice(script.octets()),
        _ => pooled(script).map(|record| record.data).unwrap_or_default(),
    };
    let record = Record {
        owner: some_name(script),
        rtype: script.pick(&FORGED).unwrap_or(Rtype::A),
        ttl: 3_600,
        data,
    };
    let evil = TREE.zone(EVIL);
    let signer = match choice & 2 {
        0 => evil.apex.clone(),
        _ => zone_of_pool(script).apex.clone(),
    };
    let mut signing = Signing::new(&evil.key, &signer);
    if choice & 4 != 0 {
        signing.until = UnixTime(signing.until.0 + u64::from(script.short()) * 1_000);
    }
    let signature = signing.sign(std::slice::from_ref(&record));
    let section = match choice & 8 {
        0 => &mut reply.answer,
        _ => &mut reply.authority,
    };
    section.extend([record, signature]);
}

/// Data with one octet changed.
fn damaged(data: &Bytes, script: &mut Script<'_>) -> Bytes {
    let mut octets = data.to_vec();
    let place = script.place(octets.len());
    if let Some(octet) = octets.get_mut(place) {
        *octet ^= script.octet() | 1;
    }
    octets.into()
}

/// A message with octets changed, cut off or added.
fn damaged_message(mut message: Vec<u8>, script: &mut Script<'_>) -> Vec<u8> {
    for _ in 0..ORDERS_MAX {
        let place = |short: u16, length: usize| usize::from(short) % length.max(1);
        match script.octet() % 4 {
            0 => break,
            1 => {
                let place = place(script.short(), message.len());
                if let Some(octet) = message.get_mut(place) {
                    *octet ^= script.octet();
                }
            }
            2 => message.truncate(place(script.short(), message.len())),
            _ => message.extend_from_slice(script.octets()),
        }
    }
    message
}

/// Names that are asked about, those that exist and their neighbours.
const NAMES: [&str; 40] = [
    "www.org.",
    "alias.org.",
    "far.org.",
    "out.org.",
    "bad.org.",
    "loop.org.",
    "ent.org.",
    "b.ent.org.",
    "x.ent.org.",
    "x.wild.org.",
    "y.x.wild.org.",
    "*.wild.org.",
    "wild.org.",
    "www.moved.org.",
    "nx.moved.org.",
    "moved.org.",
    "nx.org.",
    "org.",
    "www.sub.org.",
    "sub.org.",
    "www.n3.",
    "b.ent.n3.",
    "x.wild.n3.",
    "www.moved.n3.",
    "nx.n3.",
    "n3.",
    "www.sub.n3.",
    "sub.n3.",
    "www.optout.",
    "nx.optout.",
    "optout.",
    "www.safe.optout.",
    "www.u.optout.",
    "u.optout.",
    "www.plain.",
    "plain.",
    "www.odd.",
    "nx.",
    ".",
    "www.evil.",
];

/// Labels that names are made longer with.
const LABELS: [&str; 8] = ["a", "b", "ent", "www", "wild", "*", "nx", "sub"];

/// Types that are asked for.
const TYPES: [Rtype; 10] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::TXT,
    Rtype::CNAME,
    Rtype::NS,
    Rtype::SOA,
    Rtype::DS,
    Rtype::DNSKEY,
    Rtype::MX,
    Rtype::NSEC,
];

/// Types of records that the attacker signs.
const FORGED: [Rtype; 10] = [
    Rtype::A,
    Rtype::NSEC,
    Rtype::NSEC3,
    Rtype::DNSKEY,
    Rtype::DS,
    Rtype::CNAME,
    Rtype::DNAME,
    Rtype::SOA,
    Rtype::NSEC3PARAM,
    Rtype::TXT,
];

/// Orders for one answer; more teach nothing.
const ORDERS_MAX: usize = 8;

/// Copies of a record: more than any bound on keys or signatures that may fail.
const COPIES_MAX: u8 = 80;
