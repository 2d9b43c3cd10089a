//! Section 3: Reporting Policy.

use byrnie_tlsrpt::DESTINATIONS_MAX;
use byrnie_tlsrpt::Destination;
use byrnie_tlsrpt::RecordError;
use byrnie_tlsrpt::TlsrptRecord;

#[test]
fn the_examples_of_the_rfc_are_read() {
    check(
        "v=TLSRPTv1;rua=mailto:reports@example.com",
        Ok(&["mailto:reports@example.com"]),
    );
    check(
        "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt",
        Ok(&["https://reporting.example.com/v1/tlsrpt"]),
    );
}

#[test]
fn fields_and_uris_may_have_white_space_around_them_and_others_beside_them() {
    let both = &["mailto:a@b.example", "https://c.example/"];
    check(
        "v=TLSRPTv1;rua=mailto:a@b.example,https://c.example/",
        Ok(both),
    );
    check(
        "v=TLSRPTv1; x=y ;\trua=mailto:a@b.example , https://c.example/ ; ",
        Ok(both),
    );
    check(
        "v=TLSRPTv1; rua=ftp://d.example,mailto:a@b.example,MAILTO:a@b.example,HTTPS://c.example/",
        Ok(&["mailto:a@b.example", "HTTPS://c.example/"]),
    );
    check(
        "v=TLSRPTv1;rua=mailto:a@b.example;rua=mailto:second@b.example",
        Ok(&["mailto:a@b.example"]),
    );
}

#[test]
fn an_address_may_be_percent_encoded_and_gets_no_header_fields() {
    check(
        "v=TLSRPTv1;rua=mailto:a%2Cb%21@b.example?subject=x",
        Err(RecordError::NoDestination),
    );
    check(
        "v=TLSRPTv1;rua=mailto:a%21b@b.example?bcc=everybody@d.example",
        Ok(&["mailto:a!b@b.example"]),
    );
    for broken in [
        "a%2@b.example",
        "a%zz@b.example",
        "a%ff@b.example",
        "",
        "b.example",
    ] {
        let record = format!("v=TLSRPTv1;rua=mailto:{broken}");
        check(&record, Err(RecordError::NoDestination));
    }
}

#[test]
fn a_record_without_a_destination_is_none() {
    check("v=TLSRPTv1;", Err(RecordError::NoRua));
    check("v=TLSRPTv1;rua", Err(RecordError::NoRua));
    check("v=TLSRPTv1;RUA=mailto:a@b.example", Err(RecordError::NoRua));
    check("v=TLSRPTv1;rua=", Err(RecordError::NoDestination));
    check(
        "v=TLSRPTv2;rua=mailto:a@b.example",
        Err(RecordError::NoVersion),
    );
    assert_eq!(
        TlsrptRecord::parse(b"v=TLSRPTv1;\xff"),
        Err(RecordError::NotText)
    );
}

#[test]
fn reports_go_to_so_many_at_most() {
    let uris: Vec<String> = (0..100).map(|n| format!("mailto:a{n}@b.example")).collect();
    let record = format!("v=TLSRPTv1;rua={}", uris.join(","));
    let record = TlsrptRecord::parse(record.as_bytes()).unwrap();
    assert_eq!(record.destinations.len(), DESTINATIONS_MAX);
}

#[test]
fn only_records_about_reports_count_and_there_is_one() {
    let ours: &[u8] = b"v=TLSRPTv1;rua=mailto:a@b.example";
    let select = |texts: &[&[u8]]| TlsrptRecord::select(texts.iter().copied());
    assert_eq!(select(&[]), Ok(None));
    assert_eq!(
        select(&[b"v=spf1 -all", b"v=TLSRPTv1", b"V=TLSRPTv1;"]),
        Ok(None)
    );
    let selected = select(&[b"v=spf1 -all", ours]).unwrap().unwrap();
    assert_eq!(selected.destinations.len(), 1);
    assert_eq!(select(&[ours, ours]), Err(RecordError::Several(2)));
}

#[track_caller]
fn check(text: &str, expected: Result<&[&str], RecordError>) {
    let shown = TlsrptRecord::parse(text.as_bytes()).map(|record| {
        let shown = record.destinations.iter().map(Destination::to_string);
        shown.collect::<Vec<_>>()
    });
    let expected = expected.map(|all| all.iter().copied().map(String::from).collect());
    assert_eq!(shown, expected, "{text}");
}
