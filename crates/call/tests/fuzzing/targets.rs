//! The fuzz targets of what the network sends to a call: each reads any bytes as one kind of message and checks what must
//! hold for all of them. Used by the bounded test beside this file and by the programs of `fuzz/` for long runs.

use call::agent::{AgentClose, AgentLeg, Chain, ConnectFailure, Init, Member, RealtimeLeg, RealtimeSetup};
use call::ticket::{TicketKey, verify};
use call::twilio::message;
use call::twilio::webhook::{AmdResult, MessageStatus, StatusCallback, StreamStatus, VoiceRequest};
use call::{Call, CallConfig, Input, Output, Tick};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an input reached, as a number that differs for different behaviour.
pub(crate) type Trace = u64;

/// A target by its name.
pub(crate) type Target = (&'static str, fn(&[u8]) -> Trace);

/// All targets.
pub(crate) const ALL: [Target; 6] = [
    ("media", media),
    ("events", events),
    ("realtime", realtime),
    ("forms", forms),
    ("tickets", tickets),
    ("call", whole_call),
];

fn trace(of: &impl Hash) -> Trace {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The kind of a value: its name as `Debug` writes it.
fn kind(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(|c| c.is_alphanumeric() || *c == '(').collect()
}

/// Messages of a Twilio media stream: reading is the same twice, and never fails but with a reason.
pub(crate) fn media(data: &[u8]) -> Trace {
    let text = String::from_utf8_lossy(data);
    let read = message::parse(&text);
    assert_eq!(read, message::parse(&text));
    match &read {
        Ok(event) => trace(&kind(event)),
        Err(error) => trace(&error.code()),
    }
}

/// Events of an ElevenLabs agent, and post-call webhooks, which are JSON of the same service.
pub(crate) fn events(data: &[u8]) -> Trace {
    let text = String::from_utf8_lossy(data);
    let event = match call::agent::elevenlabs::parse(&text) {
        Ok(event) => kind(&event),
        Err(error) => error.code().to_owned(),
    };
    let webhook = call::agent::elevenlabs::webhook::parse(data).is_ok();
    trace(&(event, webhook))
}

fn realtime_leg() -> AgentLeg {
    let setup = RealtimeSetup {
        instructions: "Ask.".to_owned(),
        tools: Vec::new(),
        language: "en".to_owned(),
        voice: "marin".to_owned(),
        transcription_model: "gpt-4o-mini-transcribe".to_owned(),
    };
    AgentLeg::Realtime(Box::new(RealtimeLeg::new(setup, "Hello.".to_owned())))
}

/// Events of the Realtime API, one a line: what the client wants to send in return is JSON, and not without end.
pub(crate) fn realtime(data: &[u8]) -> Trace {
    let mut leg = realtime_leg();
    leg.begin();
    let mut kinds = Vec::new();
    for line in String::from_utf8_lossy(data).lines().take(64) {
        kinds.push(match leg.parse(line) {
            Ok(event) => kind(&event),
            Err(error) => error.code().to_owned(),
        });
        for sent in 0.. {
            let Some(message) = leg.next_message() else { break };
            assert!(serde_json::from_str::<serde_json::Value>(&message).is_ok(), "{message}");
            assert!(sent < 64, "one event leads to no end of messages");
        }
    }
    trace(&kinds)
}

/// Form fields of webhooks, as the server hands them over.
pub(crate) fn forms(data: &[u8]) -> Trace {
    let text = String::from_utf8_lossy(data);
    let fields: Vec<(String, String)> = text
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let read = [
        VoiceRequest::from_form(&fields).is_ok(),
        StatusCallback::from_form(&fields).is_ok(),
        AmdResult::from_form(&fields).is_ok(),
        StreamStatus::from_form(&fields).is_ok(),
        MessageStatus::from_form(&fields).is_ok(),
    ];
    trace(&read)
}

/// Tickets that nobody issued are never good.
pub(crate) fn tickets(data: &[u8]) -> Trace {
    let key = TicketKey::new([7; 32]);
    let text = String::from_utf8_lossy(data);
    match verify(&key, &text, 1_000) {
        Ok(_) => panic!("a ticket that was not issued is taken"),
        Err(error) => trace(&error.code()),
    }
}

/// A whole call: each line is a message, and its first byte says from whom. The engine never spins and ends once.
pub(crate) fn whole_call(data: &[u8]) -> Trace {
    let leg = |member| AgentLeg::ElevenLabs { member, init: Init::default() };
    let chain = Chain::new([leg(Member::ElevenLabs), leg(Member::ElevenLabsBackup), realtime_leg()], true);
    let mut call = Call::new(CallConfig { resumes: true, ..CallConfig::default() }, chain);
    let (mut now, mut done, mut seen) = (Tick::ZERO, 0, 0_u64);
    for line in data.split(|byte| *byte == b'\n').take(200) {
        let (from, rest) = line.split_first().map_or((b' ', line), |(from, rest)| (*from, rest));
        let text = String::from_utf8_lossy(rest);
        now = now.plus_ms(u64::from(from) * 7);
        call.handle(
            now,
            match from % 9 {
                0 | 1 => Input::PhoneText(&text),
                2 | 3 => Input::AgentText(&text),
                4 => Input::AgentOpen,
                5 => Input::AgentClosed(AgentClose::Frame { code: 1000 + rest.len() as u16, reason: String::new() }),
                6 => Input::AgentConnectFailed(ConnectFailure::Http { status: 400 + rest.len() as u16 % 200 }),
                7 => Input::PhoneClosed,
                _ => Input::Timeout,
            },
        );
        for polled in 0.. {
            match call.poll_output() {
                Output::Timeout(at) => {
                    assert!(at > now || call.is_over(), "a deadline in the past");
                    break;
                }
                Output::Done(_) => done += 1,
                output => seen ^= trace(&kind(&output)),
            }
            assert!(polled < 100_000, "one input leads to no end of outputs");
        }
    }
    assert!(done <= 1, "a call ends once");
    trace(&(seen, done, call.is_scripted()))
}
