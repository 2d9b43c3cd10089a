//! Section 4.1: Report Time-frame.

use byrnie_base::UnixTime;
use byrnie_tlsrpt::Day;
use byrnie_tlsrpt::InvalidDay;

#[test]
fn a_day_is_one_of_utc() {
    #[track_caller]
    fn check(seconds: u64, expected: &str) {
        let day = Day::of(UnixTime(seconds));
        assert_eq!(day.to_string(), expected);
        assert_eq!(expected.parse(), Ok(day));
        assert_eq!(Day::of(day.range().start_datetime), day);
        assert_eq!(Day::of(day.range().end_datetime), day);
    }
    check(0, "1970-01-01");
    check(86_399, "1970-01-01");
    check(86_400, "1970-01-02");
    check(1_775_001_600, "2026-04-01");
    check(1_709_164_800, "2024-02-29");
    for text in ["", "2026-02-29", "1969-12-31", "yesterday"] {
        assert_eq!(text.parse::<Day>(), Err(InvalidDay), "{text}");
    }
}
