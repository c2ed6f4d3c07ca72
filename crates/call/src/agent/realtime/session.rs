//! One conversation with the service.

use super::read::{self, Described, Envelope, Failing, Fault, Item, Response};
use super::reply::{Replies, Wanted};
use super::{RealtimeSetup, write};
use crate::MessageError;
use crate::agent::AgentEvent;
use crate::agent::elevenlabs::{MAX_MESSAGE_BYTES, SecondaryEvent};
use crate::json::{self, Loose};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Messages that wait to be taken by [`RealtimeSession::frames`]. Full: a further one is dropped. The engine takes them
/// after each step, so this many only wait when nobody sends any more.
const OUTBOX_MAX: usize = 64;
/// Pieces of background that are kept apart by name. Full: the oldest name is forgotten, its text stays.
const CONTEXTS_MAX: usize = 16;
/// Function calls whose name is remembered until their arguments are complete. Full: the oldest is forgotten.
const CALLS_MAX: usize = 32;
/// Functions that only tell us something. Their answer is always the same, so it is given here, and the engine treats
/// them like the tools that ElevenLabs runs by itself.
const TELLING_TOOLS: [&str; 2] = ["language_detection", "voicemail_detection"];
/// Base64 of three bytes.
const BASE64_GROUP: u64 = 4;

/// A function call that is being written.
#[derive(Debug, Clone)]
struct Call {
    call_id: String,
    name: Option<String>,
    /// It was handed on; whatever else comes about it is repetition.
    told: bool,
    answered: bool,
}

/// The client's half of a conversation: what was said to the service, and what has to be sent when.
#[derive(Debug, Clone)]
pub struct RealtimeSession {
    setup: RealtimeSetup,
    outbox: VecDeque<String>,
    /// The first message was written.
    greeted: bool,
    /// The service has accepted our settings.
    configured: bool,
    session_id: Option<String>,
    /// What is to be said first.
    opening: Option<String>,
    replies: Replies,
    /// The last response we asked for, in case the service refuses it.
    last_asked: Option<Wanted>,
    calls: VecDeque<Call>,
    /// Names of pieces of background, and the items they stand in.
    contexts: VecDeque<(String, String)>,
    next_item: u64,
    /// Something of the caller's is not written down yet.
    untranscribed: bool,
    /// Number and words of the newest reply.
    words: Option<(i64, String)>,
    /// The newest reply that was cut off: its number, how much of it was heard, and how much sound it had.
    cut_off: Option<(i64, u64, u64)>,
}

impl RealtimeSession {
    /// A conversation that has not begun.
    #[must_use]
    pub fn new(setup: RealtimeSetup) -> Self {
        Self {
            setup,
            outbox: VecDeque::new(),
            greeted: false,
            configured: false,
            session_id: None,
            opening: None,
            replies: Replies::default(),
            last_asked: None,
            calls: VecDeque::new(),
            contexts: VecDeque::new(),
            next_item: 0,
            untranscribed: false,
            words: None,
            cut_off: None,
        }
    }

    /// The socket is open: settings, instructions and tools are sent.
    pub fn hello(&mut self) {
        if !std::mem::replace(&mut self.greeted, true) {
            self.outbox.push_front(write::session_update(&self.setup));
        }
    }

    /// What the agent shall say first, exactly so. Sent once the session is configured.
    pub fn open_with(&mut self, text: &str) {
        if self.configured {
            self.say(text);
        } else {
            self.opening = Some(text.to_owned());
        }
    }

    fn say(&mut self, text: &str) {
        let id = self.item_id();
        self.push(write::message_item(&id, "system", &write::say_exactly(text)));
        self.replies.want(Some(id), Some(text.to_owned()));
    }

    /// Appends a piece of the caller's voice to `out`: mu-law, 8000 Hz.
    pub fn write_audio(&self, out: &mut String, ulaw: &[u8]) {
        write::write_audio(out, ulaw);
    }

    /// Answers a tool call; the model then goes on. An empty result is sent as `ok` or `error`. A second answer to the
    /// same call is left out.
    pub fn tool_result(&mut self, id: &str, result: &str, is_error: bool) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.call_id == id)
            && std::mem::replace(&mut call.answered, true)
        {
            return;
        }
        let item = self.item_id();
        let output = match (result, is_error) {
            ("", true) => Cow::Borrowed("error"),
            ("", false) => Cow::Borrowed("ok"),
            // The service has no flag for failures.
            (text, true) if !text.contains("\"error\"") => Cow::Owned(format!("error: {text}")),
            (text, _) => Cow::Borrowed(text),
        };
        self.push(write::function_output(&item, id, &output));
        self.replies.want(Some(item), None);
    }

    /// Something the caller said by other means than voice, which the model answers.
    pub fn user_message(&mut self, text: &str) {
        let id = self.item_id();
        self.push(write::message_item(&id, "user", text));
        self.replies.want(Some(id), None);
    }

    /// Background that does not interrupt. A newer text of the same `id` replaces the older one.
    pub fn context(&mut self, id: &str, text: &str) {
        if let Some(place) = self.contexts.iter().position(|(known, _)| known == id)
            && let Some((_, item)) = self.contexts.remove(place)
        {
            self.push(write::delete_item(&item));
        }
        if self.contexts.len() >= CONTEXTS_MAX {
            self.contexts.pop_front();
        }
        let item = self.item_id();
        self.push(write::message_item(&item, "system", text));
        self.contexts.push_back((id.chars().take(64).collect(), item));
    }

    /// The caller spoke over the agent: of its newest reply only `heard_ms` milliseconds were heard. The model forgets
    /// the rest. The reply's words and those that were heard, if they are known by now; if they come later, they are cut
    /// then.
    pub fn interrupted(&mut self, heard_ms: u64) -> Option<(String, String)> {
        let (number, total_ms) = self.replies.spoken_so_far()?;
        for (item, content_index, heard) in self.replies.cut(heard_ms) {
            self.push(write::truncate_item(&item, content_index, heard));
        }
        if heard_ms >= total_ms {
            return None;
        }
        self.cut_off = Some((number, heard_ms, total_ms));
        let (_, said) = self.words.take().filter(|(known, _)| *known == number)?;
        let heard = first_part(&said, heard_ms, total_ms);
        Some((said, heard))
    }

    /// Whether something the caller said is still to be written down.
    #[must_use]
    pub fn awaits_transcript(&self) -> bool {
        self.untranscribed
    }

    /// Takes what has to be sent now, in order.
    pub fn frames(&mut self) -> impl Iterator<Item = String> + use<> {
        if self.configured
            && self.outbox.len() < OUTBOX_MAX
            && let Some(wanted) = self.replies.take_due()
        {
            self.outbox.push_back(write::response_create(wanted.words.as_deref()));
            self.last_asked = Some(wanted);
        }
        std::mem::take(&mut self.outbox).into_iter()
    }

    /// Entries that are kept; for the test that nothing grows.
    #[cfg(test)]
    fn size(&self) -> usize {
        self.outbox.len() + self.contexts.len() + self.calls.len() + self.replies.size()
    }

    fn push(&mut self, frame: String) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(frame);
        }
    }

    /// A name for an item of ours: unique in the conversation, at most 32 characters.
    fn item_id(&mut self) -> String {
        self.next_item += 1;
        format!("hv_item_{}", self.next_item)
    }

    /// Reads one message of the service.
    ///
    /// # Errors
    /// [`MessageError`] when it is not a message of the protocol; the call goes on.
    pub fn parse<'a>(&mut self, text: &'a str) -> Result<AgentEvent<'a>, MessageError> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(MessageError::TooLarge);
        }
        let event: Envelope<'a> = json::read(text)?;
        let kind = match &event.kind {
            Loose::Text(kind) => kind.clone(),
            Loose::Null => return Err(MessageError::MissingField { field: "type" }),
            _ => return Err(MessageError::Invalid { field: "type" }),
        };
        match &*kind {
            "response.output_audio.delta" | "response.audio.delta" => return self.sound(event),
            "response.output_audio_transcript.done" | "response.audio_transcript.done" => {
                let id = read::name(event.response_id).map(|id| self.replies.number(&id));
                let said = trimmed(event.transcript.required_text("transcript")?);
                let cut = self.cut_off.filter(|(number, _, _)| Some(*number) == id);
                if let Some((_, heard_ms, total_ms)) = cut {
                    // Nobody is to believe that the caller heard all of it.
                    let text = Cow::Owned(first_part(&said, heard_ms, total_ms));
                    return Ok(AgentEvent::AgentResponse { text, event_id: id });
                }
                self.words = id.map(|id| (id, said.clone().into_owned()));
                return Ok(AgentEvent::AgentResponse { text: said, event_id: id });
            }
            "conversation.item.input_audio_transcription.completed" => {
                self.replies.caller_understood();
                self.untranscribed = false;
                let said = trimmed(event.transcript.required_text("transcript")?);
                return Ok(AgentEvent::UserTranscript { text: said, event_id: None });
            }
            "input_audio_buffer.speech_started" => {
                self.replies.caller_began();
                return Ok(AgentEvent::Interruption { event_id: self.replies.newest_spoken(), reason: None });
            }
            "input_audio_buffer.committed" => {
                self.untranscribed = true;
                self.replies.caller_ended();
            }
            "input_audio_buffer.speech_stopped"
            | "input_audio_buffer.cleared"
            | "input_audio_buffer.timeout_triggered" => self.replies.caller_ended(),
            "conversation.item.input_audio_transcription.failed" => {
                self.untranscribed = false;
                self.replies.caller_understood();
            }
            "conversation.item.added" | "conversation.item.created" => {
                let item: Item<'_> = read::object(event.item);
                if let Some(id) = read::name(item.id) {
                    self.replies.item_added(&id);
                }
            }
            // Complete arguments say nothing yet: the call counts once its item is complete, which it is not when the
            // caller talked over it.
            "response.function_call_arguments.done" => {}
            "response.output_item.added" => self.item_begun(event.item),
            "response.output_item.done" => {
                if let Some(call) = self.item_done(event.item) {
                    self.answer_telling(&call);
                    return Ok(call);
                }
            }
            "response.created" => {
                let response: Response<'_> = read::object(event.response);
                let id = read::name(response.id).ok_or(MessageError::MissingField { field: "response.id" })?;
                self.replies.begun(&id);
            }
            "response.done" => return Ok(self.response_done(event.response)),
            "session.created" => self.session_id = read::describe(event.session).id.or(self.session_id.take()),
            "session.updated" => {
                let session = read::describe(event.session);
                if !std::mem::replace(&mut self.configured, true) {
                    return Ok(self.accepted(session));
                }
            }
            "error" => {
                let fault: Fault<'_> = read::object(event.error);
                return Ok(self.error(&fault));
            }
            _ => {}
        }
        Ok(AgentEvent::Other { kind: kind.chars().take(64).collect() })
    }

    /// Our settings are in force: the conversation proper begins.
    fn accepted(&mut self, session: Described) -> AgentEvent<'static> {
        self.session_id = session.id.or(self.session_id.take());
        if let Some(text) = self.opening.take() {
            self.say(&text);
        }
        AgentEvent::Metadata {
            conversation_id: self.session_id.clone().unwrap_or_default(),
            agent_output: session.output,
            user_input: Some(session.input),
        }
    }

    fn sound<'a>(&mut self, event: Envelope<'a>) -> Result<AgentEvent<'a>, MessageError> {
        let response = read::name(event.response_id).ok_or(MessageError::MissingField { field: "response_id" })?;
        let item = read::name(event.item_id).ok_or(MessageError::MissingField { field: "item_id" })?;
        let base64 = event.delta.required_text("delta")?;
        let content_index = event.content_index.unsigned().and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        let padding = base64.bytes().rev().take(2).filter(|b| *b == b'=').count() as u64;
        let bytes = (base64.len() as u64 / BASE64_GROUP * 3).saturating_sub(padding);
        Ok(match self.replies.sound(&response, &item, content_index, bytes) {
            Some(event_id) => AgentEvent::Audio { base64, event_id, is_final: false },
            None => AgentEvent::Other { kind: "response.output_audio.delta.void".to_owned() },
        })
    }

    fn response_done<'a>(&mut self, raw: Option<&'a RawValue>) -> AgentEvent<'a> {
        let response: Response<'a> = read::object(raw);
        let has_failed = matches!(&response.status, Loose::Text(status) if status == "failed");
        let fault_word = has_failed.then(|| response.fault().word());
        let id = read::name(response.id);
        if let Some(word) = fault_word {
            let again = matches!(read::failing(&word), Failing::Passing | Failing::Harmless);
            self.replies.failed(id.as_deref(), again);
            return error_event(word);
        }
        self.replies.done(id.as_deref());
        AgentEvent::AgentResponseComplete { event_id: id.map(|id| self.replies.number(&id)) }
    }

    fn error(&mut self, fault: &Fault<'_>) -> AgentEvent<'static> {
        let mut word = fault.word();
        if word == "conversation_already_has_active_response" {
            let last = self.last_asked.take();
            self.replies.refused(last);
        } else if fault.caused_by() == Some(write::CREATE_EVENT) || read::failing(&word) != Failing::Harmless {
            // The error may be the answer to it; waiting for another one could last for ever.
            self.replies.forget_asked();
        }
        if fault.caused_by() == Some(write::SESSION_EVENT) && read::failing(&word) == Failing::Passing {
            // Without our settings there is no conversation, and the same settings are refused again.
            word = "session_update_refused".to_owned();
        }
        if read::failing(&word) == Failing::Harmless || fault.caused_by() == Some(write::TIDY_EVENT) {
            return AgentEvent::Secondary(SecondaryEvent::ClientError);
        }
        error_event(word)
    }

    fn answer_telling(&mut self, call: &AgentEvent<'_>) {
        if let AgentEvent::ToolCall { name, id, .. } = call
            && TELLING_TOOLS.contains(&&**name)
        {
            self.tool_result(id, "ok", false);
        }
    }

    fn call(&mut self, call_id: &str) -> Option<&mut Call> {
        if let Some(place) = self.calls.iter().position(|call| call.call_id == call_id) {
            return self.calls.get_mut(place);
        }
        if self.calls.len() >= CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(Call { call_id: call_id.to_owned(), name: None, told: false, answered: false });
        self.calls.back_mut()
    }

    /// An item of the model begins: if it is a function call, its name is known from here on.
    fn item_begun(&mut self, raw: Option<&RawValue>) {
        let item: Item<'_> = read::object(raw);
        if !is_call(&item.kind) {
            return;
        }
        let name = read::name(item.name);
        if let Some(call) = read::name(item.call_id).and_then(|id| self.call(&id)) {
            call.name = name.map(Cow::into_owned);
        }
    }

    /// An item of the model is complete; a function call is handed on now, unless it was cut off.
    fn item_done<'a>(&mut self, raw: Option<&'a RawValue>) -> Option<AgentEvent<'a>> {
        let item: Item<'a> = read::object(raw);
        if !is_call(&item.kind) {
            return None;
        }
        let call_id = read::name(item.call_id)?;
        let cut_off = matches!(&item.status, Loose::Text(status) if status == "incomplete");
        let arguments = item.arguments.optional_text();
        let call = self.call(&call_id)?;
        if cut_off {
            call.told = true;
            return None;
        }
        let name = read::name(item.name).or_else(|| call.name.clone().map(Cow::Owned))?;
        tool_call(call, name, call_id, arguments)
    }
}

/// The words that were heard of a reply, as far as sound and words go together.
fn first_part(text: &str, heard_ms: u64, total_ms: u64) -> String {
    let chars = text.chars().count() as u64;
    let heard = usize::try_from(chars.saturating_mul(heard_ms) / total_ms.max(1)).unwrap_or(usize::MAX);
    let part: String = text.chars().take(heard).collect();
    let cut_in_word = text.chars().nth(heard).is_some_and(char::is_alphanumeric);
    let whole = if cut_in_word { part.rsplit_once(' ').map_or("", |(whole, _)| whole) } else { &part };
    whole.trim_end().to_owned()
}

fn is_call(kind: &Loose<'_>) -> bool {
    matches!(kind, Loose::Text(kind) if kind == "function_call")
}

fn tool_call<'a>(
    call: &mut Call,
    name: Cow<'a, str>,
    id: Cow<'a, str>,
    arguments: Option<Cow<'a, str>>,
) -> Option<AgentEvent<'a>> {
    if std::mem::replace(&mut call.told, true) {
        return None;
    }
    let parameters = arguments.filter(|text| !text.trim().is_empty()).map_or_else(|| "{}".to_owned(), Cow::into_owned);
    Some(AgentEvent::ToolCall { name, id, parameters, event_id: None })
}

fn error_event(word: String) -> AgentEvent<'static> {
    AgentEvent::Error { code: None, error_type: Some(word), message: None, reason: None }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
