//! Questions about outgoing calls, asked of Twilio.

use super::ATTEMPT_PARAMETER;
use crate::app::App;
use crate::twilio_rest::{TwilioError, TwilioRest};
use crate::webhook::paths;
use call::twilio::CallSid;
use call::twilio::twiml::{Response as Twiml, Say};
use call::twilio::webhook::{AnsweredBy, CallStatus};
use clinic::{AttemptId, PhoneNumber, words};
use serde_json::Value;
use std::sync::Arc;

/// How long a telephone rings, in seconds: five or six times.
const RING_S: &str = "30";
/// Beyond the longest conversation a call may last so many seconds, before Twilio cuts it.
const LIMIT_GRACE_S: u64 = 120;
/// Calls of a number that are looked through. The number's own calls since the claim are a handful.
const LIST_MAX: &str = "50";

/// A question about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// Call this number.
    Place { attempt: AttemptId, to: PhoneNumber },
    /// Which calls to this number are there?
    Find { attempt: AttemptId, to: PhoneNumber },
    /// What became of this call?
    Read { attempt: AttemptId, call_sid: String },
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Answer {
    Placed(AttemptId, Result<CallView, TwilioError>),
    Found(AttemptId, Result<Vec<CallView>, TwilioError>),
    Read(AttemptId, Result<CallView, TwilioError>),
}

/// A call as Twilio describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallView {
    pub(super) sid: String,
    pub(super) status: CallStatus,
    pub(super) answered_by: Option<AnsweredBy>,
    /// Microseconds since the Unix epoch, to the second. Not set before the call left the queue.
    pub(super) created_us: Option<i64>,
    pub(super) is_outgoing: bool,
}

impl CallView {
    /// Reads Twilio's description; `None` when it is none.
    pub(super) fn read(body: &Value) -> Option<Self> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let created = text("date_created").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        Some(Self {
            sid: CallSid::parse(text("sid")?).ok()?.as_str().to_owned(),
            status: CallStatus::parse(text("status")?),
            answered_by: text("answered_by").map(AnsweredBy::parse),
            created_us: created.map(|zoned| zoned.timestamp().as_microsecond()),
            is_outgoing: text("direction").is_some_and(|direction| direction.starts_with("outbound")),
        })
    }
}

/// Asks Twilio.
pub(super) async fn ask(app: Arc<App>, question: Question) -> Answer {
    match question {
        Question::Place { attempt, to } => {
            let answer = place(&app, &attempt, &to).await;
            Answer::Placed(attempt, answer)
        }
        Question::Find { attempt, to } => {
            let answer = find(&app, &to).await;
            Answer::Found(attempt, answer)
        }
        Question::Read { attempt, call_sid } => {
            let body = app.twilio.get(&format!("/Calls/{call_sid}.json"), &[]).await;
            Answer::Read(attempt, body.and_then(|body| CallView::read(&body).ok_or(TwilioError::Unknown)))
        }
    }
}

async fn place(app: &App, attempt: &AttemptId, to: &PhoneNumber) -> Result<CallView, TwilioError> {
    let from = app.settings.twilio.phone_number.as_ref().ok_or(TwilioError::NotConfigured)?;
    let url = |path: &str| format!("{}?{ATTEMPT_PARAMETER}={attempt}", app.settings.public_url(path));
    let limit_s = (app.settings.call.max_call_ms / 1_000 + LIMIT_GRACE_S).to_string();
    let (voice, status, amd) = (url(paths::VOICE), url(paths::CALL_STATUS), url(paths::AMD));
    let mut form = vec![
        ("To", to.expose()),
        ("From", from.expose()),
        ("Url", &voice),
        ("Method", "POST"),
        ("StatusCallback", &status),
        ("StatusCallbackMethod", "POST"),
        ("Timeout", RING_S),
        ("TimeLimit", &limit_s),
        ("MachineDetection", "Enable"),
        ("AsyncAmd", "true"),
        ("AsyncAmdStatusCallback", &amd),
        ("AsyncAmdStatusCallbackMethod", "POST"),
    ];
    if let Some(fallback) = &app.settings.voice_fallback_url {
        // The number's own fallback is for calls to it, not for those from it.
        form.extend([("FallbackUrl", fallback.as_str()), ("FallbackMethod", "POST")]);
    }
    form.extend(["initiated", "ringing", "answered", "completed"].map(|event| ("StatusCallbackEvent", event)));
    let body = app.twilio.post("/Calls.json", &form).await?;
    // The call exists, whatever the answer looks like.
    CallView::read(&body).ok_or(TwilioError::Unknown)
}

async fn find(app: &App, to: &PhoneNumber) -> Result<Vec<CallView>, TwilioError> {
    let from = app.settings.twilio.phone_number.as_ref().ok_or(TwilioError::NotConfigured)?;
    let query = [("To", to.expose()), ("From", from.expose()), ("PageSize", LIST_MAX)];
    let body = app.twilio.get("/Calls.json", &query).await?;
    let calls = body.get("calls").and_then(Value::as_array).ok_or(TwilioError::Unknown)?;
    Ok(calls.iter().filter_map(CallView::read).collect())
}

/// Whether a call is over, by Twilio's word; `None` when there is none. A call that Twilio does not know is not going on.
pub(crate) async fn has_ended(twilio: &TwilioRest, sid: &str) -> Option<bool> {
    let sid = CallSid::parse(sid).ok()?;
    match twilio.get(&format!("/Calls/{}.json", sid.as_str()), &[]).await {
        Ok(body) => CallView::read(&body).map(|call| call.status.is_terminal()),
        Err(TwilioError::Refused { status: 404, .. }) => Some(true),
        Err(_) => None,
    }
}

/// Gives a running call what to leave on a machine; a fax hears nothing.
pub(super) async fn leave_message(twilio: &TwilioRest, sid: &CallSid, by: &AnsweredBy) -> Result<(), TwilioError> {
    let path = format!("/Calls/{}.json", sid.as_str());
    let text = Twiml::new().say(Say::new(words::NEUTRAL_MESSAGE)).hangup().render();
    let done = match text {
        Ok(twiml) if *by != AnsweredBy::Fax => twilio.post(&path, &[("Twiml", &twiml)]).await,
        _ => twilio.post(&path, &[("Status", "completed")]).await,
    };
    done.map(drop)
}
