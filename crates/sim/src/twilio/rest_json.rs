//! Bodies of Twilio's REST interface.

use serde_json::{Value, json};

/// An error: HTTP status, Twilio's code, and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: u32,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, 20003, "Authenticate")
    }

    pub(super) fn not_found(path: &str) -> Self {
        Self::new(404, 20404, format!("The requested resource {path} was not found"))
    }

    pub(super) fn too_many() -> Self {
        Self::new(429, 20429, "Too Many Requests")
    }

    pub(super) fn missing(name: &str) -> Self {
        let code = match name {
            "To" => 21201,
            "From" => 21213,
            "Body" => 21602,
            _ => 21205,
        };
        Self::new(400, code, format!("No '{name}' is specified"))
    }

    pub(super) fn bad_to(number: &str) -> Self {
        Self::new(400, 21211, format!("The 'To' number {number} is not a valid phone number."))
    }

    pub(super) fn body(&self) -> Value {
        json!({"code": self.code, "message": self.message, "status": self.status,
            "more_info": format!("https://www.twilio.com/docs/errors/{}", self.code)})
    }
}

/// What a call resource says.
#[derive(Debug, Clone)]
pub(super) struct CallJson<'a> {
    pub(super) account: &'a str,
    pub(super) sid: &'a str,
    pub(super) to: &'a str,
    pub(super) from: &'a str,
    pub(super) status: &'a str,
    pub(super) direction: &'a str,
    pub(super) created: &'a str,
    pub(super) duration_s: Option<u64>,
    pub(super) answered_by: Option<&'a str>,
}

pub(super) fn call(call: &CallJson<'_>) -> Value {
    let base = format!("/2010-04-01/Accounts/{}/Calls/{}", call.account, call.sid);
    json!({
        "sid": call.sid, "account_sid": call.account, "api_version": "2010-04-01",
        "to": call.to, "to_formatted": formatted(call.to), "from": call.from, "from_formatted": formatted(call.from),
        "phone_number_sid": null, "status": call.status, "start_time": null, "end_time": null,
        "duration": call.duration_s.map(|s| s.to_string()), "price": null, "price_unit": "USD",
        "direction": call.direction, "answered_by": call.answered_by, "forwarded_from": null, "group_sid": null,
        "caller_name": null, "queue_time": "0", "parent_call_sid": null, "trunk_sid": null, "annotation": null,
        "date_created": call.created, "date_updated": call.created, "uri": format!("{base}.json"),
        "subresource_uris": {"streams": format!("{base}/Streams.json"), "recordings": format!("{base}/Recordings.json")},
    })
}

/// What a message resource says.
#[derive(Debug, Clone)]
pub(super) struct MessageJson<'a> {
    pub(super) account: &'a str,
    pub(super) sid: &'a str,
    pub(super) to: &'a str,
    pub(super) from: &'a str,
    pub(super) body: &'a str,
    pub(super) status: &'a str,
    pub(super) created: &'a str,
    pub(super) error_code: Option<u32>,
}

pub(super) fn message(message: &MessageJson<'_>) -> Value {
    let base = format!("/2010-04-01/Accounts/{}/Messages/{}", message.account, message.sid);
    let service = message.from.starts_with("MG").then_some(message.from);
    json!({
        "sid": message.sid, "account_sid": message.account, "status": message.status, "direction": "outbound-api",
        "to": message.to, "from": if service.is_some() { None } else { Some(message.from) }, "body": message.body,
        "num_segments": segments(message.body).to_string(), "num_media": "0", "messaging_service_sid": service,
        "error_code": message.error_code, "error_message": null, "price": null, "price_unit": "USD",
        "api_version": "2010-04-01", "date_created": message.created, "date_updated": message.created,
        "date_sent": null, "uri": format!("{base}.json"), "subresource_uris": {"media": format!("{base}/Media.json")},
    })
}

/// Whether Twilio would accept a number: E.164.
pub(super) fn is_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
    })
}

fn formatted(number: &str) -> String {
    match number.strip_prefix("+1").filter(|rest| rest.len() == 10 && rest.is_ascii()) {
        Some(rest) => {
            let part = |from, to| rest.get(from..to).unwrap_or_default();
            format!("({}) {}-{}", part(0, 3), part(3, 6), part(6, 10))
        }
        None => number.to_owned(),
    }
}

/// Parts a text is sent in: 160 letters of the plain alphabet, 70 of any other.
fn segments(body: &str) -> usize {
    let size = if body.is_ascii() { 160 } else { 70 };
    body.encode_utf16().count().div_ceil(size).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_segments() {
        assert!(is_number("+15005550006"));
        for bad in ["+1bad", "15005550006", "+1429", "+", "+0123456789", "+1234567890123456"] {
            assert!(!is_number(bad), "{bad}");
        }
        assert_eq!(formatted("+15005550006"), "(500) 555-0006");
        assert_eq!((segments("hi"), segments(&"x".repeat(161)), segments(&"é".repeat(71))), (1, 2, 2));
    }
}
