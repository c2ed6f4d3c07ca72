//! Strict reading of what a server sends on a media stream, with Twilio's error codes for what it must not send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Something the server may ask of the telephone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Play this mu-law sound.
    Media(Vec<u8>),
    /// Say when everything so far was played.
    Mark(String),
    /// Throw away what is queued.
    Clear,
}

/// A message that breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// 31950, 31951 or 31924.
    pub code: u32,
    /// What is wrong.
    pub detail: String,
}

/// Reads the messages of one stream.
#[derive(Debug)]
pub struct Checker {
    stream_sid: String,
    is_fork: bool,
    reported: Vec<u32>,
}

impl Checker {
    /// A checker for the stream with this sid; a fork may not be sent anything.
    #[must_use]
    pub fn new(stream_sid: impl Into<String>, is_fork: bool) -> Self {
        Self { stream_sid: stream_sid.into(), is_fork, reported: Vec::new() }
    }

    /// Reads a text message.
    ///
    /// # Errors
    /// What Twilio would report; the message has no effect then.
    pub fn text(&self, text: &str, started: bool) -> Result<Request, Breach> {
        if self.is_fork {
            return Err(breach(31924, format!("message on a one-way stream: {}", head(text))));
        }
        if !started {
            return Err(breach(31951, format!("message before start: {}", head(text))));
        }
        self.read(text).map_err(|problem| breach(31951, format!("{problem}: {}", head(text))))
    }

    /// What a binary message is.
    #[must_use]
    pub fn binary(&self, len: usize) -> Breach {
        let code = if self.is_fork { 31924 } else { 31950 };
        breach(code, format!("binary message of {len} bytes"))
    }

    /// True the first time a code is reported on this stream; Twilio reports each only once.
    pub fn report(&mut self, code: u32) -> bool {
        let first = !self.reported.contains(&code);
        if first {
            self.reported.push(code);
        }
        first
    }

    fn read(&self, text: &str) -> Result<Request, &'static str> {
        let Ok(Value::Object(message)) = serde_json::from_str::<Value>(text) else { return Err("not a JSON object") };
        let event = message.get("event").and_then(Value::as_str).ok_or("no event")?;
        if !matches!(event, "media" | "mark" | "clear") {
            return Err("unknown event");
        }
        let sid = message.get("streamSid").and_then(Value::as_str).ok_or("no streamSid")?;
        if sid != self.stream_sid {
            return Err("streamSid of another stream");
        }
        match event {
            "media" => {
                let payload = only_field(&message, "media", "payload")?;
                let bytes = STANDARD.decode(payload).map_err(|_| "payload is not base64")?;
                if bytes.is_empty() {
                    return Err("empty payload");
                }
                Ok(Request::Media(bytes))
            }
            "mark" => Ok(Request::Mark(only_field(&message, "mark", "name")?.to_owned())),
            _ if message.len() == 2 => Ok(Request::Clear),
            _ => Err("extra field"),
        }
    }
}

/// The text of `message.object.field`, when there is nothing beside it.
fn only_field<'a>(message: &'a Map<String, Value>, object: &str, field: &str) -> Result<&'a str, &'static str> {
    if message.len() != 3 {
        return Err("missing or extra field");
    }
    let inner = message.get(object).and_then(Value::as_object).ok_or("missing object")?;
    if inner.len() != 1 {
        return Err("missing or extra field inside");
    }
    inner.get(field).and_then(Value::as_str).ok_or("field missing or not a text")
}

fn breach(code: u32, detail: String) -> Breach {
    Breach { code, detail }
}

fn head(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "MZ00112233445566778899aabbccddeeff";

    fn read(text: &str) -> Result<Request, Breach> {
        Checker::new(SID, false).text(&text.replace("SID", SID), true)
    }

    #[test]
    fn the_three_messages_are_read() {
        let media = read(r#"{"event":"media","streamSid":"SID","media":{"payload":"f39/"}}"#);
        assert_eq!(media, Ok(Request::Media(vec![0x7F; 3])));
        let mark = read(r#"{"event":"mark","streamSid":"SID","mark":{"name":"t7:640"}}"#);
        assert_eq!(mark, Ok(Request::Mark("t7:640".to_owned())));
        assert_eq!(read(r#"{"event":"clear","streamSid":"SID"}"#), Ok(Request::Clear));
    }

    #[test]
    fn everything_else_is_a_breach() {
        for bad in [
            "hello",
            "[]",
            r#"{"streamSid":"SID"}"#,
            r#"{"event":"ping","streamSid":"SID"}"#,
            r#"{"event":"clear"}"#,
            r#"{"event":"clear","streamSid":"MZother"}"#,
            r#"{"event":"clear","streamSid":"SID","extra":1}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":"f39/","track":"outbound"}}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":"***"}}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":""}}"#,
            r#"{"event":"media","streamSid":"SID","sequenceNumber":"1","media":{"payload":"f39/"}}"#,
            r#"{"event":"mark","streamSid":"SID","mark":{}}"#,
            r#"{"event":"mark","streamSid":"SID","mark":{"name":7}}"#,
            r#"{"event":"mark","streamSid":"SID"}"#,
        ] {
            assert_eq!(read(bad).map_err(|b| b.code), Err(31951), "{bad}");
        }
        let clear = format!(r#"{{"event":"clear","streamSid":"{SID}"}}"#);
        assert_eq!(Checker::new(SID, true).text(&clear, true).map_err(|b| b.code), Err(31924));
        assert_eq!(Checker::new(SID, false).text(&clear, false).map_err(|b| b.code), Err(31951));
        assert_eq!(Checker::new(SID, false).binary(3).code, 31950);
    }

    #[test]
    fn each_code_is_reported_once() {
        let mut checker = Checker::new(SID, false);
        assert!(checker.report(31951));
        assert!(!checker.report(31951));
        assert!(checker.report(31950));
    }
}
