//! Reading the service's messages: their fields, and what its errors mean.

use crate::json::Loose;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Every field of an event that this client looks at, on its top level. Events are flat, except for what stands in
/// `session`, `response`, `item` and `error`, which is read when it is needed.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) response_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) item_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) content_index: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) delta: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) transcript: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) session: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// `item` of several events.
#[derive(Deserialize, Default)]
pub(super) struct Item<'a> {
    #[serde(borrow, default)]
    pub(super) id: Loose<'a>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) call_id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) name: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) arguments: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) status: Loose<'a>,
}

/// `response` of `response.created` and `response.done`.
#[derive(Deserialize, Default)]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub(super) id: Loose<'a>,
    #[serde(borrow, default)]
    pub(super) status: Loose<'a>,
    #[serde(borrow, default)]
    status_details: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct StatusDetails<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// `error` of an error event, or of a response that failed.
#[derive(Deserialize, Default)]
pub(super) struct Fault<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<'a>,
    #[serde(borrow, default)]
    code: Loose<'a>,
    #[serde(borrow, default)]
    event_id: Loose<'a>,
}

/// What of `session` matters: who it is, and how it hears and speaks.
#[derive(Deserialize, Default)]
struct Session<'a> {
    #[serde(borrow, default)]
    id: Loose<'a>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_audio_format: Loose<'a>,
    #[serde(borrow, default)]
    output_audio_format: Loose<'a>,
}

#[derive(Deserialize, Default)]
struct Audio<'a> {
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Way<'a> {
    #[serde(borrow, default)]
    format: Format<'a>,
}

/// `{"type":"audio/pcmu"}`, or in older shapes a bare name.
#[derive(Default)]
struct Format<'a>(Loose<'a>);

/// The object in `raw`; one without any fields when it is none. What is inside cannot be worse than absent.
pub(super) fn object<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// Longest name or identifier of the service that is remembered, in bytes; its own have about 30.
const NAME_MAX_BYTES: usize = 128;

/// A name that may be remembered and sent back.
pub(super) fn name<'a>(text: Loose<'a>) -> Option<std::borrow::Cow<'a, str>> {
    text.optional_text().filter(|text| !text.is_empty() && text.len() <= NAME_MAX_BYTES)
}

/// A session as the service described it.
pub(super) struct Described {
    pub(super) id: Option<String>,
    /// Our names of the formats.
    pub(super) input: String,
    pub(super) output: String,
}

pub(super) fn describe(session: Option<&RawValue>) -> Described {
    let session: Session<'_> = object(session);
    let audio: Audio<'_> = object(session.audio);
    let way = |raw: Option<&RawValue>, older: Loose<'_>| {
        let way: Way<'_> = object(raw);
        let named = way.format.0.optional_text().map(std::borrow::Cow::into_owned);
        format_name(&named.or_else(|| older.optional_text().map(std::borrow::Cow::into_owned)).unwrap_or_default())
    };
    Described {
        id: name(session.id).map(std::borrow::Cow::into_owned),
        input: way(audio.input, session.input_audio_format),
        output: way(audio.output, session.output_audio_format),
    }
}

/// The service's name of mu-law becomes ours; any other stays, cut, so that it is refused under the name it has.
fn format_name(name: &str) -> String {
    match name {
        "audio/pcmu" | "g711_ulaw" => "ulaw_8000".to_owned(),
        "" => "unnamed".to_owned(),
        other => other.chars().take(32).collect(),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Format<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FormatVisitor).map(Format)
    }
}

struct FormatVisitor;

impl<'de> Visitor<'de> for FormatVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(value.to_owned().into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Loose::Null;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let value: Loose<'de> = map.next_value()?;
            if key == "type" {
                found = value;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Loose::Null)
    }
}

impl Response<'_> {
    /// What went wrong, where the response failed.
    pub(super) fn fault(&self) -> Fault<'_> {
        let details: StatusDetails<'_> = object(self.status_details);
        object(details.error)
    }
}

/// How bad an error of the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// We asked for something that had no place any more, such as to end what had ended. Nothing follows from it.
    Harmless,
    /// The service or the network has a bad moment; another attempt may work.
    Passing,
    /// The service is over capacity, or we are over our share: another attempt soon makes it worse.
    Busy,
    /// The session is over, as it was bound to be after an hour.
    Expired,
    /// The same happens again until somebody changes the configuration or pays the bill.
    Configuration,
}

/// Judges an error by its stable word, as [`super::super::AgentEvent::Error`] carries it in `error_type`.
#[must_use]
pub fn failing(error_type: &str) -> Failing {
    match error_type {
        "response_cancel_not_active"
        | "conversation_already_has_active_response"
        | "item_delete_invalid_item_id"
        | "item_truncate_invalid_item_id"
        | "item_truncate_invalid_audio_end_ms"
        | "invalid_truncate"
        | "input_audio_buffer_commit_empty"
        | "item_create_duplicate_id"
        | "conversation_item_not_found" => Failing::Harmless,
        "rate_limit_exceeded" | "rate_limit_error" | "tokens_exceeded" | "slow_down" => Failing::Busy,
        "session_expired" => Failing::Expired,
        "invalid_api_key"
        | "authentication_error"
        | "permission_error"
        | "model_not_found"
        | "insufficient_quota"
        | "billing_hard_limit_reached"
        | "account_deactivated"
        | "session_update_refused" => Failing::Configuration,
        _ => Failing::Passing,
    }
}

impl Fault<'_> {
    /// The name we gave to the message that caused it.
    pub(super) fn caused_by(&self) -> Option<&str> {
        if let Loose::Text(text) = &self.event_id { Some(text) } else { None }
    }

    /// A stable word: the code where there is one, the type otherwise. Never the explanation, which may quote what was
    /// said; and nothing that does not look like a word.
    pub(super) fn word(&self) -> String {
        let word = |text: &Loose<'_>| match text {
            Loose::Text(text) if is_word(text) => Some(text.clone().into_owned()),
            _ => None,
        };
        word(&self.code).or_else(|| word(&self.kind)).unwrap_or_else(|| "unknown_error".to_owned())
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'))
}
