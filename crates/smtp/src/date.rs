//! Dates as header fields have them: RFC 5322, Section 3.3.

use std::fmt;

use byrnie_base::UnixTime;

/// Writes a time as RFC 5322 has it, in UTC: `Tue, 14 Nov 2023 22:13:20 +0000`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rfc5322Date(pub UnixTime);

impl fmt::Display for Rfc5322Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0;
        let days = seconds / SECONDS_PER_DAY;
        let of_day = seconds % SECONDS_PER_DAY;
        let (year, month, day) = civil_from_days(days);
        // The first day was a Thursday.
        let weekday = name(&WEEKDAYS, days % 7);
        let month = name(&MONTHS, month);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000"
        )
    }
}

/// Year, month counted from 0, and day counted from 1, of a number of days since 1970-01-01.
///
/// Years are counted from March on, so that the leap day is the last one of its year, in cycles of
/// 400 years that all have the same number of days.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let since_era_start = days + DAYS_FROM_MARCH_OF_YEAR_0_TO_1970;
    let cycle = since_era_start / DAYS_PER_400_YEARS;
    let day_of_cycle = since_era_start % DAYS_PER_400_YEARS;
    let leap_corrected = day_of_cycle - day_of_cycle / (4 * 365) + day_of_cycle / 36_524
        - day_of_cycle / (DAYS_PER_400_YEARS - 1);
    let year_of_cycle = leap_corrected / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // From March on, five months always have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = cycle * 400 + year_of_cycle + u64::from(month < 2);
    (year, month, day)
}

/// The name with that index.
fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default()
}

/// Seconds of a day; Unix time knows no leap seconds.
const SECONDS_PER_DAY: u64 = 86_400;

/// Days of a cycle of the Gregorian calendar.
const DAYS_PER_400_YEARS: u64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_FROM_MARCH_OF_YEAR_0_TO_1970: u64 = 719_468;

/// Beginning with that of 1970-01-01.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// In order.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        check(0, "Thu, 01 Jan 1970 00:00:00 +0000");
        check(951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000");
        check(951_868_800, "Wed, 01 Mar 2000 00:00:00 +0000");
        check(1_700_000_000, "Tue, 14 Nov 2023 22:13:20 +0000");
        check(1_709_164_800, "Thu, 29 Feb 2024 00:00:00 +0000");
        check(1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000");
    }

    #[test]
    fn every_day_of_a_cycle_follows_the_day_before() {
        let mut before = civil_from_days(0);
        for days in 1..DAYS_PER_400_YEARS {
            let today = civil_from_days(days);
            let (year, month, day) = before;
            let next = [
                (year, month, day + 1),
                (year, month + 1, 1),
                (year + 1, 0, 1),
            ];
            assert!(next.contains(&today), "{before:?} {today:?}");
            before = today;
        }
        assert_eq!(civil_from_days(DAYS_PER_400_YEARS), (2370, 0, 1));
    }

    #[track_caller]
    fn check(seconds: u64, text: &str) {
        assert_eq!(Rfc5322Date(UnixTime(seconds)).to_string(), text);
    }
}
