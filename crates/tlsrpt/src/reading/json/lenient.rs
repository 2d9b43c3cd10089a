//! Values that are read whatever stands in their place.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;

/// A text; a number or a truth value is taken for one, and of a list the first. Empty ones count as missing.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) Option<String>);

impl Text {
    /// A text without what stands around it, cut where nobody reads on.
    fn of(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self(None);
        }
        let mut kept: String = text.chars().take(TEXT_CHARS_MAX).collect();
        if kept.len() < text.len() {
            kept.push('…');
        }
        Self(Some(kept))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Texts::deserialize(deserializer)?;
        Ok(Self(texts.0.into_iter().next()))
    }
}

/// Texts: a list of them, or one.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<String>);

impl Texts {
    /// The texts; one that is itself JSON, or has several lines, is taken apart: some senders write
    /// `"[\"3 1 1 …\"]"` or a whole policy file.
    pub(super) fn unwrapped(self) -> Vec<String> {
        let inner = |text: &str| match text.starts_with(['[', '"']) {
            true => serde_json::from_str::<Self>(text).ok(),
            false => None,
        };
        let mut unwrapped = Vec::new();
        for text in self.0 {
            let texts = inner(&text).map_or_else(|| vec![text], |texts| texts.0);
            for text in &texts {
                let lines = text.lines().filter_map(|line| Text::of(line).0);
                unwrapped.extend(lines.take(TEXTS_MAX.saturating_sub(unwrapped.len())));
            }
        }
        unwrapped
    }

    /// These of one text.
    fn of(text: &str) -> Self {
        Self(Text::of(text).0.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// Reads [`Texts`].
struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::of(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Texts, E> {
        Ok(Texts::of(&value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Texts, E> {
        Ok(Texts::of(&value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Texts, E> {
        Ok(Texts::of(&value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Texts, E> {
        Ok(Texts::of(&value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < TEXTS_MAX {
            match list.next_element::<Self::Value>()? {
                Some(more) => texts.extend(more.0.into_iter().take(TEXTS_MAX - texts.len())),
                None => return Ok(Texts(texts)),
            }
        }
        drain(list)?;
        Ok(Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Texts, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Texts::default())
    }
}

/// A number of sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Count {
    /// None is given.
    #[default]
    None,
    /// This one.
    Some(u64),
    /// Something is given that is no number of sessions.
    Absurd,
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let Some(text) = text.0 else {
            return Ok(Self::None);
        };
        // A whole number may be written as 3.0.
        let whole = text.split_once('.').map_or(text.as_str(), |(whole, rest)| {
            if rest.bytes().all(|digit| digit == b'0') {
                whole
            } else {
                text.as_str()
            }
        });
        let is_number = !whole.is_empty() && whole.bytes().all(|digit| digit.is_ascii_digit());
        Ok(match (whole.parse(), is_number) {
            (Ok(count), _) => Self::Some(count),
            // More than fits.
            (Err(_), true) => Self::Some(u64::MAX),
            (Err(_), false) => Self::Absurd,
        })
    }
}

/// An object; anything else counts as an empty one.
#[derive(Debug, Default)]
pub(super) struct Maybe<T>(pub(super) T);

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listed = Listed::<T, 1>::deserialize(deserializer)?;
        Ok(Self(listed.items.into_iter().next().unwrap_or_default()))
    }
}

/// A list of objects, up to `MAX`; one object counts as a list of one, anything else as an empty one.
#[derive(Debug)]
pub(super) struct Listed<T, const MAX: usize> {
    /// The first ones.
    pub(super) items: Vec<T>,
    /// How many more there were.
    pub(super) left_out: u64,
}

impl<T, const MAX: usize> Default for Listed<T, MAX> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            left_out: 0,
        }
    }
}

impl<'de, T: Default + Deserialize<'de>, const MAX: usize> Deserialize<'de> for Listed<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListedVisitor(PhantomData))
    }
}

/// Reads [`Listed`].
struct ListedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Default + Deserialize<'de>, const MAX: usize> Visitor<'de> for ListedVisitor<T, MAX> {
    type Value = Listed<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Listed::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Listed::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Listed::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Listed::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Listed::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Listed::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX {
            match list.next_element::<Self::Value>()? {
                Some(more) => items.extend(more.items.into_iter().take(MAX - items.len())),
                None => {
                    return Ok(Listed { items, left_out: 0 });
                }
            }
        }
        let left_out = drain(list)?;
        Ok(Listed { items, left_out })
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        let item = T::deserialize(MapAccessDeserializer::new(members))?;
        Ok(Listed {
            items: vec![item],
            left_out: 0,
        })
    }
}

/// Passes over the rest of a list; says how long it is.
fn drain<'de, A: SeqAccess<'de>>(mut list: A) -> Result<u64, A::Error> {
    let mut count = 0;
    while list.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Where a text is cut.
const TEXT_CHARS_MAX: usize = 1_024;

/// How many texts of one list are kept.
const TEXTS_MAX: usize = 256;
