//! Appendix B: Example JSON Report.

use byrnie_base::UnixTime;
use byrnie_tlsrpt::reading;
use serde_json::Value;

/// The example.
const EXAMPLE: &[u8] = include_bytes!("../../../../fuzz/corpus/tlsrpt_report/rfc8460.json");

#[test]
fn what_is_read_is_written_as_it_stood_there() {
    let [Ok(reading)] = &reading::read(EXAMPLE, UnixTime(1_775_174_400))[..] else {
        panic!("the example is one report");
    };
    assert_eq!(reading.remarks, []);
    assert_eq!(reading.submitter, None);
    let original: Value = serde_json::from_slice(EXAMPLE).unwrap();
    let mut written = serde_json::to_value(&reading.report).unwrap();
    // Addresses have one form.
    for address in ["2001:db8:abcd:0012::1", "2001:db8:abcd:0013::1"] {
        let text = written.to_string();
        let short = address.replace(":00", ":");
        written = serde_json::from_str(&text.replace(&short, address)).unwrap();
    }
    assert_eq!(written, original);
}
