//! The name of a message, for logs and people.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use byrnie_base::UnixTime;

/// Eleven characters that name a message: the second of its arrival, then a running number.
///
/// Ids sort by arrival as numbers and as text. The alphabet is Crockford's base 32, which has no `I`,
/// `L`, `O` and `U`; reading takes `i`, `l` and `o` for the digits they look like.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueueId(
    /// Invariant: less than `1 << ID_BITS`.
    u64,
);

impl QueueId {
    /// The smallest id that a message of this second can have.
    #[must_use]
    pub fn first_at(time: UnixTime) -> Self {
        Self((time.0.min(SECONDS_MAX)) << SEQUENCE_BITS)
    }

    /// What stands in a report for an id that cannot be read; no message has it.
    pub(crate) const NONE: Self = Self(0);

    /// About when the message arrived: the second in the id.
    #[must_use]
    pub fn arrived_at(self) -> UnixTime {
        UnixTime(self.0 >> SEQUENCE_BITS)
    }

    /// The id as the number the database keeps.
    pub(crate) fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The id that the database keeps as this number, if it is one.
    pub(crate) fn from_i64(number: i64) -> Option<Self> {
        let number = u64::try_from(number).ok()?;
        (number >> ID_BITS == 0).then_some(Self(number))
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = (0..ID_CHARACTERS)
            .rev()
            .filter_map(|place| {
                let digit = (self.0 >> (place * BITS_PER_CHARACTER)) & DIGIT_MASK;
                usize::try_from(digit).ok()
            })
            .filter_map(|digit| ALPHABET.get(digit).copied().map(char::from))
            .collect();
        f.pad(&text)
    }
}

impl FromStr for QueueId {
    type Err = InvalidQueueId;

    fn from_str(text: &str) -> Result<Self, InvalidQueueId> {
        let mut number: u64 = 0;
        let mut characters: u32 = 0;
        for c in text.chars() {
            let wanted = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            };
            let digit = ALPHABET
                .iter()
                .position(|&symbol| char::from(symbol) == wanted)
                .and_then(|digit| u64::try_from(digit).ok())
                .ok_or(InvalidQueueId::BadCharacter(c))?;
            characters += 1;
            if characters > ID_CHARACTERS {
                return Err(InvalidQueueId::WrongLength);
            }
            number = (number << BITS_PER_CHARACTER) | digit;
        }
        if characters != ID_CHARACTERS {
            return Err(InvalidQueueId::WrongLength);
        }
        Ok(Self(number))
    }
}

impl serde::Serialize for QueueId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for QueueId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a queue id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidQueueId {
    /// A character that no queue id has.
    BadCharacter(char),
    /// Not eleven characters.
    WrongLength,
}

impl fmt::Display for InvalidQueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCharacter(c) => write!(f, "{c:?} cannot stand in a queue id"),
            Self::WrongLength => write!(f, "a queue id has {ID_CHARACTERS} characters"),
        }
    }
}

impl std::error::Error for InvalidQueueId {}

/// Hands out ids, each larger than the one before, even if the time of day jumps back.
#[derive(Debug)]
pub(crate) struct IdSource {
    /// The last number handed out.
    last: AtomicU64,
}

impl IdSource {
    /// Ids larger than `last`, which is the largest on disk.
    pub(crate) fn after(last: Option<QueueId>) -> Self {
        Self {
            last: AtomicU64::new(last.map_or(0, |id| id.0)),
        }
    }

    /// The next id.
    pub(crate) fn next(&self, now: UnixTime) -> QueueId {
        let first = QueueId::first_at(now).0;
        let following = |last: u64| (last + 1).max(first);
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(following(last))
            })
            .unwrap_or_else(|last| last);
        QueueId(following(last))
    }
}

/// Crockford's base 32, in ASCII order, so that text sorts as the number does.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Each character stands for five bits.
const BITS_PER_CHARACTER: u32 = 5;
/// The bits of one character.
const DIGIT_MASK: u64 = 0b11111;
/// Seven for the second, four for the running number.
const ID_CHARACTERS: u32 = 11;
/// All bits of an id.
const ID_BITS: u32 = ID_CHARACTERS * BITS_PER_CHARACTER;
/// A million messages in a second run over into the next one, which keeps ids unique.
const SEQUENCE_BITS: u32 = 4 * BITS_PER_CHARACTER;
/// The last second that fits, in the year 3058.
const SECONDS_MAX: u64 = (1 << (ID_BITS - SEQUENCE_BITS)) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_were_written() {
        let ids = IdSource::after(None);
        let id = ids.next(UnixTime(1_800_000_000));
        assert_eq!(id.to_string().len(), 11);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        assert_eq!(id.arrived_at(), UnixTime(1_800_000_000));
        assert_eq!(QueueId::from_i64(id.to_i64()), Some(id));
    }

    #[test]
    fn look_alikes_are_read_as_digits() {
        assert_eq!(
            "OoIiLl00000".parse::<QueueId>(),
            "00111100000".parse::<QueueId>()
        );
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_reason() {
        for (text, why) in [
            ("", InvalidQueueId::WrongLength),
            ("0000000000", InvalidQueueId::WrongLength),
            ("000000000000", InvalidQueueId::WrongLength),
            ("0000000000U", InvalidQueueId::BadCharacter('U')),
            ("0000000000 ", InvalidQueueId::BadCharacter(' ')),
            ("é", InvalidQueueId::BadCharacter('é')),
        ] {
            assert_eq!(text.parse::<QueueId>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn ids_grow_even_if_the_clock_jumps_back() {
        let ids = IdSource::after(None);
        let mut last = ids.next(UnixTime(100));
        for now in [100, 100, 50, 101, 0, 101] {
            let id = ids.next(UnixTime(now));
            assert!(id > last && id.to_string() > last.to_string());
            last = id;
        }
        assert!(IdSource::after(Some(last)).next(UnixTime(0)) > last);
    }
}
