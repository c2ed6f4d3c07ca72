//! Tolerant reading and exact writing of JSON, shared by both protocols.
//!
//! Reading never fails over the *type* of an optional value: numbers may come as strings and the other way round, and
//! anything unexpected counts as absent or wrong. Strings are borrowed from the message where it has no escapes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::MessageError;

/// Any JSON value, reduced to what a protocol field can be.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Loose<'a> {
    /// Absent or null.
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    /// An array or object, contents skipped.
    Compound,
}

impl<'a> Loose<'a> {
    /// The text; `Ok(None)` when absent.
    pub(crate) fn text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, MessageError> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            _ => Err(MessageError::Invalid { field }),
        }
    }

    /// The text of a field that must be there.
    pub(crate) fn required_text(self, field: &'static str) -> Result<Cow<'a, str>, MessageError> {
        self.text(field)?.ok_or(MessageError::MissingField { field })
    }

    /// The text of a field nobody depends on.
    pub(crate) fn optional_text(self) -> Option<Cow<'a, str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Text, number or truth value as text.
    pub(crate) fn printed(self) -> Option<String> {
        match self {
            Self::Null | Self::Compound => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::UInt(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(text) => Some(text.into_owned()),
        }
    }

    /// A whole number, also from a decimal string.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::UInt(value) => i64::try_from(*value).ok(),
            Self::Float(value) => whole(*value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Null | Self::Bool(_) | Self::Compound => None,
        }
    }

    /// A whole number of zero or more, also from a decimal string.
    pub(crate) fn unsigned(&self) -> Option<u64> {
        match self {
            Self::UInt(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            _ => self.integer().and_then(|value| u64::try_from(value).ok()),
        }
    }

    /// A finite number, also from a decimal string.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn number(&self) -> Option<f64> {
        let value = match self {
            Self::Int(value) => *value as f64,
            Self::UInt(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Text(text) => text.trim().parse().ok()?,
            Self::Null | Self::Bool(_) | Self::Compound => return None,
        };
        value.is_finite().then_some(value)
    }

    /// A truth value, also from the strings `true` and `false`.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// The integer a float denotes, if it denotes one exactly.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> Option<i64> {
    // 2^53: beyond it floats skip integers.
    let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(value as i64)
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Loose::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Loose::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Loose::UInt(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Loose::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Compound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Compound)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

/// A field that should hold an object.
#[derive(Debug, Default)]
pub(crate) enum Object<T> {
    /// Absent or null.
    #[default]
    Absent,
    /// Present, but not an object.
    Wrong,
    Value(T),
}

impl<T> Object<T> {
    /// The object of a field that must be there.
    pub(crate) fn required(self, field: &'static str) -> Result<T, MessageError> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Absent => Err(MessageError::MissingField { field }),
            Self::Wrong => Err(MessageError::Invalid { field }),
        }
    }

    /// The object, if there is one.
    pub(crate) fn optional(self) -> Option<T> {
        if let Self::Value(value) = self { Some(value) } else { None }
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object::Value)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Object::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Object::Wrong)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Object::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Object::Wrong)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Object::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Object::Wrong)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Object::Wrong)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A flat map of loose values; a repeated name keeps its last value.
pub(crate) type LooseMap<'a> = BTreeMap<String, Loose<'a>>;

/// Reads a whole message.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, MessageError> {
    serde_json::from_str(text).map_err(classify)
}

#[allow(clippy::needless_pass_by_value)]
fn classify(error: serde_json::Error) -> MessageError {
    if error.is_data() { MessageError::Invalid { field: "message" } } else { MessageError::NotJson }
}

/// Reads one member of the message's top-level object and skips all others. For messages [`read`] has accepted: what
/// follows the object is not looked at.
pub(crate) fn member<'a, T: Deserialize<'a>>(text: &'a str, key: &'static str) -> Result<Object<T>, MessageError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(MemberVisitor { key, kind: PhantomData }).map_err(classify)
}

struct MemberVisitor<T> {
    key: &'static str,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for MemberVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Object::Absent;
        while let Some(wanted) = map.next_key_seed(KeyIs(self.key))? {
            if wanted {
                found = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares an object key without allocating.
struct KeyIs(&'static str);

impl<'de> DeserializeSeed<'de> for KeyIs {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Appends `text` as a JSON string, quotes included. Escapes what RFC 8259, section 7 requires and nothing else.
pub(crate) fn push_string(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => {
                out.push_str("\\u00");
                for digit in [u32::from(c) >> 4, u32::from(c) & 15] {
                    out.push(HEX.get(digit as usize).copied().unwrap_or('0'));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
