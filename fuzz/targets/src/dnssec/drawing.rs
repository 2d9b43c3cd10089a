//! What people and machines get to read of a verdict.

use std::sync::Arc;

use byrnie_base::UnixTime;
use byrnie_dnssec::DsEntry;
use byrnie_dnssec::Fault;
use byrnie_dnssec::Hop;
use byrnie_dnssec::Insecure;
use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::KeyEntry;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Link;
use byrnie_dnssec::LinkVerdict;
use byrnie_dnssec::Question;
use byrnie_dnssec::RecordSet;
use byrnie_dnssec::Rule;
use byrnie_dnssec::SignatureEntry;
use byrnie_dnssec::SignatureId;
use byrnie_dnssec::Status;
use byrnie_dnssec::Verdict;
use byrnie_dnssec::Work;
use byrnie_dnssec::tree;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;

use super::script::Script;

/// A verdict about any names with any data: it is drawn, and nothing in it moves the reader's terminal
/// or makes a line of its own.
pub fn dnssec_drawing(input: &[u8]) {
    let mut script = Script(input);
    let question = Question::new(any_name(&mut script), Rtype::from_int(script.short()));
    let set = RecordSet {
        owner: any_name(&mut script),
        rtype: Rtype::from_int(script.short()),
        ttl: u32::from(script.short()) << (script.octet() % 17),
        data: vec![Bytes::copy_from_slice(script.octets())],
    };
    let link = Link {
        zone: any_name(&mut script),
        ds: vec![DsEntry {
            key_tag: script.short(),
            algorithm: SecurityAlgorithm::from_int(script.octet()),
            digest_type: DigestAlgorithm::from_int(script.octet()),
        }],
        keys: vec![KeyEntry {
            key_tag: script.short(),
            algorithm: SecurityAlgorithm::from_int(script.octet()),
            flags: script.short(),
            trusted: script.octet() & 1 == 1,
        }],
        signature: Some(SignatureEntry {
            signer: any_name(&mut script),
            key_tag: script.short(),
            algorithm: SecurityAlgorithm::from_int(script.octet()),
            inception: any_time(&mut script),
            expiration: any_time(&mut script),
        }),
        verdict: LinkVerdict::Insecure(InsecureProof::TooManyIterations(script.short())),
    };
    let fault = Fault {
        record: question.clone(),
        signature: Some(SignatureId {
            signer: any_name(&mut script),
            algorithm: SecurityAlgorithm::from_int(script.octet()),
            key_tag: script.short(),
        }),
        rule: Rule::Expired(any_time(&mut script)),
    };
    let hop = Hop {
        name: any_name(&mut script),
        owner: any_name(&mut script),
        rtype: Rtype::from_int(script.short()),
        target: any_name(&mut script),
        insecure: Some(Insecure {
            at: any_name(&mut script),
            proof: InsecureProof::NoDs,
        }),
    };
    assert_drawable(&Verdict {
        question,
        status: Status::Bogus(fault),
        kind: Kind::Answer,
        ttl: 1,
        answer: Some(set),
        end: None,
        steps: vec![hop],
        chain: vec![Arc::new(link)],
        work: Work::default(),
    });
}

/// A verdict is drawn in plain characters, one line for each thing.
pub(super) fn assert_drawable(verdict: &Verdict) {
    assert_plain(&verdict.status.to_string());
    assert_plain(&verdict.question.to_string());
    for line in tree(&verdict.chain).lines() {
        assert_plain(line);
    }
    for line in verdict.answer.iter().flat_map(RecordSet::presentation) {
        assert_plain(&line);
    }
    let Ok(json) = serde_json::to_value(verdict) else {
        panic!("a verdict is an object");
    };
    assert_plain_json(&json);
}

/// Every text in a JSON value is plain.
fn assert_plain_json(value: &serde_json::Value) {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match value {
        Null | Bool(_) | Number(_) => {}
        String(text) => assert_plain(text),
        Array(values) => values.iter().for_each(assert_plain_json),
        Object(members) => members.values().for_each(assert_plain_json),
    }
}

/// A text is one line of printable ASCII.
fn assert_plain(text: &str) {
    let plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    assert!(plain, "not plain: {text:?}");
}

/// A name of any octets.
fn any_name(script: &mut Script<'_>) -> Name<Bytes> {
    let mut octets = Vec::new();
    for _ in 0..script.octet() % 8 {
        let label = script.octets();
        let label = label.get(..label.len().min(63)).unwrap_or_default();
        if !label.is_empty() {
            octets.push(u8::try_from(label.len()).unwrap_or_default());
            octets.extend_from_slice(label);
        }
    }
    octets.push(0);
    Name::from_octets(octets.into()).unwrap_or_else(|_| Name::root_bytes())
}

/// A time from 1970 to long after.
fn any_time(script: &mut Script<'_>) -> UnixTime {
    UnixTime(u64::from(script.short()) << (script.octet() % 32))
}
