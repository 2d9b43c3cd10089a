//! How durations, sizes and networks are written in the configuration.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_mta::Network;
use byrnie_mta::SmartHost;
use byrnie_mta_sts::MxPattern;
use byrnie_net::https::HttpsUrl;
use byrnie_net::smtp::server::Rate;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;

/// A length of time such as `"90s"`, `"5m"`, `"1h30m"` or `"5d"`; the units are s, m, h, d and ms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let mut rest = text;
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(InvalidText::Duration);
        }
        while !rest.is_empty() {
            let (number, after) = split_number(rest).ok_or(InvalidText::Duration)?;
            let unit_end = after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, remaining) = after.split_at(unit_end);
            let milliseconds = SPAN_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .and_then(|(_, factor)| number.checked_mul(*factor))
                .ok_or(InvalidText::Duration)?;
            total = total
                .checked_add(Duration::from_millis(milliseconds))
                .ok_or(InvalidText::Duration)?;
            rest = remaining;
        }
        if total > SPAN_MAX {
            return Err(InvalidText::DurationTooLong);
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    /// In the units that need the fewest digits, largest first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in SPAN_UNITS {
            if left >= *factor {
                write!(f, "{}{unit}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

/// Units of [`Span`] in milliseconds, largest first.
const SPAN_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// No setting has a use for more than a year.
const SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);

/// How often something may happen, such as `"600/1m"`, or `"off"` for as often as it likes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RateText(pub(crate) Option<Rate>);

impl FromStr for RateText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (times, per) = text.split_once('/').ok_or(InvalidText::Rate)?;
        let times = times.parse().map_err(|_| InvalidText::Rate)?;
        let Span(per) = per.parse().map_err(|_| InvalidText::Rate)?;
        if times == 0 || per.is_zero() {
            return Err(InvalidText::Rate);
        }
        Ok(Self(Some(Rate { times, per })))
    }
}

impl fmt::Display for RateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => write!(f, "{}/{}", rate.times, Span(rate.per)),
            None => f.write_str("off"),
        }
    }
}

/// A number of octets such as `"50MiB"`, `"64KiB"`, `"10MB"` or `"512"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (number, unit) = split_number(text).ok_or(InvalidText::Size)?;
        SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim_start())
            .and_then(|(_, factor)| number.checked_mul(*factor))
            .map(Self)
            .ok_or(InvalidText::Size)
    }
}

impl fmt::Display for Size {
    /// In the largest binary unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZE_UNITS
            .iter()
            .filter(|(unit, _)| unit.ends_with("iB"))
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match binary {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Units of [`Size`] in octets, largest binary unit first.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];

/// Addresses that share a prefix: `"192.0.2.0/24"`, `"2001:db8::/32"`, or one address alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NetworkText(pub(crate) Network);

impl FromStr for NetworkText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse().map(Self).map_err(|_| InvalidText::Network)
    }
}

impl fmt::Display for NetworkText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host such as `"relay.example.org"` or `"[192.0.2.1]:2525"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SmartHostText(pub(crate) SmartHost);

impl FromStr for SmartHostText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse().map(Self).map_err(|_| InvalidText::SmartHost)
    }
}

impl fmt::Display for SmartHostText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where to send something: `"https://example.org/hook"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct UrlText(pub(crate) HttpsUrl);

impl FromStr for UrlText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse().map(Self).map_err(|_| InvalidText::Url)
    }
}

impl fmt::Display for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where to listen: `"127.0.0.1:8461"`, or `"unix:/run/byrnie/policyd.sock"` with a path from the root.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Listen {
    /// At an address.
    At(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let path = text.strip_prefix("unix:").map(PathBuf::from);
        match path {
            Some(path) if path.is_absolute() => Ok(Self::Unix(path)),
            Some(_) => Err(InvalidText::Listen),
            None => text.parse().map(Self::At).map_err(|_| InvalidText::Listen),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A mail host such as `"mx.example.org"`, or all with one label before a parent: `"*.mx.example.org"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MxPatternText(pub(crate) MxPattern);

impl FromStr for MxPatternText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse().map(Self).map_err(|_| InvalidText::MxPattern)
    }
}

impl fmt::Display for MxPatternText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time such as `"2026-12-01T00:00:00Z"` or `"2026-12-01T08:00+01:00"`: RFC 3339.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment(pub(crate) UnixTime);

impl FromStr for Moment {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let at: Timestamp = text.parse().map_err(|_| InvalidText::Moment)?;
        let seconds = u64::try_from(at.as_second()).map_err(|_| InvalidText::Moment)?;
        Ok(Self(UnixTime(seconds)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.0.as_i64()) {
            Ok(at) => at.fmt(f),
            Err(_) => self.0.0.fmt(f),
        }
    }
}

/// Why a text in the configuration is not what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum InvalidText {
    /// Not numbers with units.
    Duration,
    /// More than a year.
    DurationTooLong,
    /// Neither an address with a port nor a path.
    Listen,
    /// Not a date and a time with an offset from UTC.
    Moment,
    /// Neither a host name nor an asterisk and a parent.
    MxPattern,
    /// Neither an address nor an address with a prefix length.
    Network,
    /// Neither "off" nor a number and a time.
    Rate,
    /// Not a number with a unit.
    Size,
    /// Neither a domain nor an address in brackets.
    SmartHost,
    /// Not a URL of HTTPS.
    Url,
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duration => "not a duration: write numbers with units such as \"90s\" or \"5m\"",
            Self::DurationTooLong => "the duration is longer than a year",
            Self::Listen => {
                "not a place to listen: write it like \"127.0.0.1:8461\" or \"unix:/run/byrnie/x.sock\""
            }
            Self::Moment => "not a point in time: write it like \"2026-12-01T00:00:00Z\"",
            Self::MxPattern => {
                "not a mail host: write it like \"mx.example.org\" or \"*.mx.example.org\""
            }
            Self::Network => "not a network: write it like \"192.0.2.0/24\" or \"2001:db8::/32\"",
            Self::Rate => "not a rate: write \"off\", or how many in which time such as \"600/1m\"",
            Self::Size => "not a size: write a number with a unit such as \"50MiB\"",
            Self::SmartHost => {
                "not a host: write it like \"relay.example.org\" or \"[192.0.2.1]:2525\""
            }
            Self::Url => "not a place on the web: write it like \"https://example.org/hook\"",
        })
    }
}

impl std::error::Error for InvalidText {}

/// Splits `text` behind its leading digits; `None` if there are none or too many.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|number| (number, rest))
}

/// Reads and writes a type as the text of its `FromStr` and `Display`.
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(
    Span,
    RateText,
    Size,
    NetworkText,
    SmartHostText,
    Listen,
    MxPatternText,
    UrlText,
    Moment
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        check::<Span>("90s", Ok("1m30s"));
        check::<Span>("5m", Ok("5m"));
        check::<Span>("1h30m", Ok("1h30m"));
        check::<Span>("250ms", Ok("250ms"));
        check::<Span>("5d", Ok("5d"));
        check::<Span>("0s", Ok("0s"));
        for bad in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "5y",
            "5m3",
            "99999999999999999999s",
        ] {
            check::<Span>(bad, Err(InvalidText::Duration));
        }
        check::<Span>("9999d", Err(InvalidText::DurationTooLong));
    }

    #[test]
    fn rates_are_a_number_and_a_time() {
        check::<RateText>("600/1m", Ok("600/1m"));
        check::<RateText>("10/60s", Ok("10/1m"));
        check::<RateText>("off", Ok("off"));
        for bad in ["", "600", "0/1m", "5/0s", "5/m", "-1/1m", "1m/600", "on"] {
            check::<RateText>(bad, Err(InvalidText::Rate));
        }
    }

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        check::<Size>("50MiB", Ok("50MiB"));
        check::<Size>("1024", Ok("1KiB"));
        check::<Size>("10MB", Ok("10000000"));
        check::<Size>("10 MB", Ok("10000000"));
        for bad in ["", "MiB", "5 bananas", "-1", "99999999999GiB"] {
            check::<Size>(bad, Err(InvalidText::Size));
        }
    }

    #[test]
    fn moments_are_a_date_and_a_time_with_an_offset() {
        check::<Moment>("2026-12-01T00:00:00Z", Ok("2026-12-01T00:00:00Z"));
        check::<Moment>("2026-12-01T01:30+01:00", Ok("2026-12-01T00:30:00Z"));
        for bad in [
            "",
            "2026-12-01",
            "2026-12-01T00:00:00",
            "tomorrow",
            "1950-01-01T00:00:00Z",
        ] {
            check::<Moment>(bad, Err(InvalidText::Moment));
        }
    }

    #[test]
    fn a_place_to_listen_is_an_address_or_a_path_from_the_root() {
        check::<Listen>("127.0.0.1:8461", Ok("127.0.0.1:8461"));
        check::<Listen>("[::1]:8461", Ok("[::1]:8461"));
        check::<Listen>("unix:/run/b.sock", Ok("unix:/run/b.sock"));
        for bad in [
            "",
            "8461",
            "localhost:8461",
            "unix:",
            "unix:b.sock",
            "/run/b.sock",
        ] {
            check::<Listen>(bad, Err(InvalidText::Listen));
        }
    }

    #[test]
    fn urls_are_of_https() {
        check::<UrlText>("https://a.example/b?c", Ok("https://a.example/b?c"));
        for bad in ["", "http://a.example/", "https://", "a.example/b"] {
            check::<UrlText>(bad, Err(InvalidText::Url));
        }
    }

    #[test]
    fn networks_are_an_address_with_a_prefix_length() {
        check::<NetworkText>("192.0.2.0/24", Ok("192.0.2.0/24"));
        check::<NetworkText>("192.0.2.1", Ok("192.0.2.1/32"));
        check::<NetworkText>("::1", Ok("::1/128"));
        for bad in [
            "",
            "192.0.2.0/33",
            "::/129",
            "192.0.2/24",
            "a/8",
            "1.2.3.4/",
        ] {
            check::<NetworkText>(bad, Err(InvalidText::Network));
        }
    }

    #[track_caller]
    fn check<T>(text: &str, expected: Result<&str, InvalidText>)
    where
        T: FromStr<Err = InvalidText> + fmt::Display,
    {
        let parsed = text.parse::<T>().map(|value| value.to_string());
        assert_eq!(parsed.as_deref(), expected.as_ref().copied(), "{text:?}");
    }
}
