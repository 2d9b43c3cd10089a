//! Section 3.1: MTA-STS TXT Records.

use byrnie_mta_sts::InvalidPolicyId;
use byrnie_mta_sts::RecordError;
use byrnie_mta_sts::RecordFault;
use byrnie_mta_sts::StsRecord;

#[test]
fn the_example_of_the_rfc_is_read() {
    check(
        &["v=STSv1; id=20160831085700Z;"],
        Ok(Some("20160831085700Z")),
    );
}

#[test]
fn white_space_and_the_last_delimiter_may_be_there_or_not() {
    check(&["v=STSv1;id=a"], Ok(Some("a")));
    check(&["v=STSv1;id=a;"], Ok(Some("a")));
    check(&["v=STSv1; \t id=a \t ; \t"], Ok(Some("a")));
    check(&["v=STSv1; id=a "], Ok(Some("a")));
}

#[test]
fn an_id_is_1_to_32_letters_and_digits() {
    let longest = "a1B2c3D4".repeat(4);
    check(&[&format!("v=STSv1; id={longest}")], Ok(Some(&longest)));
    refuse_id(&format!("{longest}5"), InvalidPolicyId::TooLong);
    refuse_id("", InvalidPolicyId::Empty);
    refuse_id("2016-08-31", InvalidPolicyId::BadCharacter('-'));
    refuse_id("é", InvalidPolicyId::BadCharacter('é'));
    refuse_id("a b", InvalidPolicyId::BadCharacter(' '));
}

#[test]
fn names_are_compared_with_their_case() {
    check(&["V=STSv1; id=a"], Ok(None));
    check(&["v=stsv1; id=a"], Ok(None));
    check(&["v=STSv1; ID=a"], Err(RecordError::NoId));
}

#[test]
fn fields_that_are_not_known_are_passed_over_in_any_place() {
    check(&["v=STSv1; x=1; id=a; a_b-c.d=!~:<>"], Ok(Some("a")));
    let name = format!("v=STSv1; id=a; {}=1", "n".repeat(32));
    check(&[&name], Ok(Some("a")));
}

#[test]
fn fields_that_break_the_grammar_make_the_record_unusable() {
    refuse("v=STSv1; id=a;;", 3, RecordFault::NotNameValue);
    refuse("v=STSv1; id=a; x", 3, RecordFault::NotNameValue);
    refuse("v=STSv1; id=a; _x=1", 3, RecordFault::Name);
    refuse("v=STSv1; id=a; =1", 3, RecordFault::Name);
    refuse("v=STSv1; id=a; x=", 3, RecordFault::Value);
    refuse("v=STSv1; id=a; x=1=2", 3, RecordFault::Value);
    refuse("v=STSv1; id=a; x=1 2", 3, RecordFault::Value);
    refuse("v=STSv1; x=\u{7f}; id=a", 2, RecordFault::Value);
    let name = format!("v=STSv1; id=a; {}=1", "n".repeat(33));
    refuse(&name, 3, RecordFault::Name);
}

#[test]
fn the_first_of_several_ids_counts() {
    check(&["v=STSv1; id=a; id=b"], Ok(Some("a")));
    check(&["v=STSv1; id=a; id=not an id"], Ok(Some("a")));
}

#[test]
fn exactly_one_record_must_begin_with_the_version() {
    let other = "v=spf1 -all";
    check(&[], Ok(None));
    check(&[other], Ok(None));
    check(&[other, "v=STSv1; id=a", "v=STSv1"], Ok(Some("a")));
    check(&["v=STSv1 ; id=b", "v=STSv1; id=a"], Ok(Some("a")));
    check(&["v=STSv1; id=a", "v=STSv10; id=b"], Ok(Some("a")));
    let twice = Err(RecordError::Several(2));
    check(&["v=STSv1; id=a", other, "v=STSv1; id=a"], twice);
    check(&["v=STSv1; id=a", "v=STSv1; broken"], twice);
}

#[test]
fn octets_that_are_no_text_are_refused() {
    let octets: &[u8] = b"v=STSv1; id=a; x=\xff";
    assert_eq!(StsRecord::select([octets]), Err(RecordError::NotText));
    assert_eq!("id=a".parse::<StsRecord>(), Err(RecordError::NoVersion));
}

#[track_caller]
fn check(texts: &[&str], expected: Result<Option<&str>, RecordError>) {
    let found = StsRecord::select(texts.iter().map(|text| text.as_bytes()));
    let found = found.map(|record| record.map(|record| record.id.to_string()));
    assert_eq!(found, expected.map(|id| id.map(String::from)), "{texts:?}");
}

#[track_caller]
fn refuse(text: &str, position: usize, fault: RecordFault) {
    check(&[text], Err(RecordError::Field { position, fault }));
}

#[track_caller]
fn refuse_id(id: &str, why: InvalidPolicyId) {
    refuse(&format!("v=STSv1; id={id}; x=1"), 2, RecordFault::Id(why));
}
