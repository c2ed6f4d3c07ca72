//! The phone company's side of a call: it rings, streams, asks for the next document, carries out pages, and is told or
//! tells when things end.

use super::line::Line;
use super::patient::Asked;
use super::server::Server;
use super::sound::{self, STEP_MS};
use call::script::{Heard, Page, Then};
use call::{Encounter, Input, Tick};
use serde_json::json;

/// A request for the next document.
const FETCH_MS: u64 = 300;
/// A document without a server: the number's fallback, and what an unknown call is told.
const WORDS_MS: u64 = 6_000;
/// Between two keys.
const KEY_MS: u64 = 300;

/// What the server is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Begin,
    Nothing,
    Listened,
    Speech(String),
    Keys(String),
    Nurse(bool),
}

/// What the phone does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phone {
    Ringing {
        until: u64,
    },
    /// A media stream in both directions.
    Stream,
    /// A document is asked for.
    Fetching {
        at: u64,
        page: u64,
        told: Told,
    },
    /// A page is spoken.
    Saying {
        until: u64,
        page: Page,
    },
    /// An answer is waited for: what will be posted, and when.
    Gathering {
        post_at: u64,
        speak_at: Option<u64>,
        page: u64,
        told: Told,
        owes: bool,
    },
    Dialing {
        until: u64,
        answered: bool,
        page: Option<u64>,
    },
    /// Words of a document that needs no server.
    Words {
        until: u64,
    },
    Over,
}

impl Phone {
    /// Whether somebody has the phone in their hand.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(self, Self::Ringing { .. } | Self::Over)
    }

    pub(super) fn patient_owes(&self) -> bool {
        matches!(self, Self::Gathering { owes: true, .. })
    }
}

impl Line {
    pub(super) fn phone_sounds(&self) -> bool {
        let line = matches!(self.phone, Phone::Saying { .. } | Phone::Dialing { .. } | Phone::Words { .. });
        line || self.made_sound
    }

    /// Sends a frame of the patient's voice, where there is a stream.
    fn frame(&mut self, now: u64, server: &mut Server) {
        let utterance = self.patient.speaking();
        if utterance.is_some() {
            self.measured.spoken_ms += STEP_MS;
        }
        self.timestamp_ms += STEP_MS;
        let (stamp, payload) = (self.timestamp_ms - STEP_MS, sound::frame(utterance));
        let text = format!(
            "{{\"event\":\"media\",\"streamSid\":\"{}\",\"media\":{{\"track\":\"inbound\",\"timestamp\":\"{stamp}\",\"payload\":\"{payload}\"}}}}",
            super::line::STREAM
        );
        self.phone_says(now, text, server);
    }

    fn start_stream(&mut self, now: u64, server: &mut Server) {
        self.sees_stream = matches!(self.phone, Phone::Stream);
        self.timestamp_ms = 0;
        self.phone_says(
            now,
            "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}".to_owned(),
            server,
        );
        let start = json!({"event": "start", "start": {
            "accountSid": crate::twilio::TEST_ACCOUNT_SID, "streamSid": super::line::STREAM,
            "callSid": "CAfedcba9876543210fedcba9876543210", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {}}});
        self.phone_event(now, start, server);
    }

    pub(super) fn phone_step(&mut self, now: u64, server: &mut Server) {
        self.made_sound = self.patient.speaking().is_some();
        for at in std::mem::take(&mut self.status_at) {
            if now >= at {
                self.handle(now, Input::CallEnded, server);
            } else {
                self.status_at.push(at);
            }
        }
        if self.phone.is_connected() && self.patient.left_early(now) && !self.patient.hung_up() {
            self.patient.step(now, false);
            return self.hang_up(now, server);
        }
        match self.phone.clone() {
            Phone::Ringing { until } if now >= until => {
                if self.encounter.as_ref().is_none_or(Encounter::is_over) {
                    self.phone = Phone::Words { until: now + WORDS_MS };
                } else if self.encounter.as_ref().is_some_and(Encounter::is_scripted) {
                    self.fetch(now, 0, Told::Begin);
                } else {
                    self.phone = Phone::Stream;
                    self.patient.listen(now);
                    self.start_stream(now, server);
                }
            }
            Phone::Stream => self.stream_step(now, server),
            Phone::Fetching { at, page, told } if now >= at => self.fetched(now, page, &told, server),
            Phone::Saying { until, page } if now >= until => self.said(now, page),
            Phone::Gathering { .. } => self.gathering(now),
            Phone::Dialing { until, answered, page } if now >= until => match page {
                Some(page) => self.fetch(now, page, Told::Nurse(answered)),
                None => self.end_call(now, server),
            },
            Phone::Words { until } if now >= until => self.end_call(now, server),
            _ => {}
        }
        if self.fork && !matches!(self.phone, Phone::Stream | Phone::Over) {
            self.frame(now, server);
        }
        self.transfer_step(now, server);
    }

    fn stream_step(&mut self, now: u64, server: &mut Server) {
        let sounds = self.play(now, server);
        self.made_sound |= sounds;
        if !matches!(self.phone, Phone::Stream) {
            return;
        }
        if self.broke_off() {
            self.patient.wonder(now);
        }
        if self.patient.step(now, sounds) {
            return self.hang_up(now, server);
        }
        self.frame(now, server);
    }

    /// The patient, or a document, ends the call.
    fn hang_up(&mut self, now: u64, server: &mut Server) {
        let streaming = matches!(self.phone, Phone::Stream);
        self.end_call(now, server);
        if streaming {
            self.phone_event(now, json!({"event": "stop"}), server);
            self.sees_stream = false;
            self.handle(now, Input::StreamStopped, server);
        }
    }

    fn end_call(&mut self, now: u64, server: &mut Server) {
        self.phone = Phone::Over;
        self.playing.clear();
        let late = if server.status_storm { 5_000 } else { 1_000 };
        self.status_at.push(now + self.rng.between(100, late));
        if server.status_storm {
            self.status_at.push(now + self.rng.between(100, late));
        }
    }

    fn fetch(&mut self, now: u64, page: u64, told: Told) {
        self.phone = Phone::Fetching { at: now + FETCH_MS, page, told };
    }

    /// We closed the stream: the phone goes on with the next document.
    pub(super) fn we_close_stream(&mut self, now: u64) {
        if matches!(self.phone, Phone::Stream) {
            self.playing.clear();
            self.fetch(now, 0, Told::Begin);
        }
    }

    /// The stream broke without a word.
    pub(super) fn stream_lost(&mut self, now: u64, server: &mut Server) {
        if matches!(self.phone, Phone::Stream) {
            self.sees_stream = false;
            self.playing.clear();
            self.fetch(now, 0, Told::Begin);
            self.handle(now, Input::PhoneClosed, server);
        }
    }

    /// The server is gone: its sockets are.
    pub(super) fn phone_lost_server(&mut self, now: u64) {
        self.fork = false;
        self.we_close_stream(now);
    }

    /// The answer to a request for a document.
    fn fetched(&mut self, now: u64, page: u64, told: &Told, server: &mut Server) {
        let known = self.encounter.as_ref().filter(|_| server.up);
        let Some(encounter) = known else {
            self.phone = Phone::Words { until: now + WORDS_MS };
            return;
        };
        if encounter.is_over() || !encounter.is_scripted() {
            return self.end_call(now, server);
        }
        let next = self.post(now, page, told, server);
        if server.status_storm && self.post(now, page, told, server).number != next.number {
            self.break_rule(now, "a page that is posted twice is answered by another one");
        }
        if !std::mem::replace(&mut self.fork, true) {
            self.start_stream(now, server);
        }
        let text = words_of(&next);
        self.check_question(now, &text);
        let ms = if text.is_empty() { 0 } else { sound::spoken_ms(&text) };
        self.phone = Phone::Saying { until: now + ms, page: next };
    }

    fn post(&mut self, now: u64, page: u64, told: &Told, server: &mut Server) -> Page {
        let tick = Tick::from_ms(now - self.origin);
        let heard = match told {
            Told::Begin => Heard::Begin,
            Told::Nothing => Heard::Nothing,
            Told::Listened => Heard::Listened,
            Told::Speech(text) => Heard::Speech { text, confidence: Some(0.9) },
            Told::Keys(keys) => Heard::Keys(keys),
            Told::Nurse(answered) => Heard::NurseResult { answered: *answered },
        };
        let next = self.encounter.as_mut().map(|encounter| encounter.script(tick, page, heard));
        self.obey(now, server);
        next.unwrap_or_else(|| Page { number: 0, say: Vec::new(), then: Then::Hangup })
    }

    /// The words of a page were spoken.
    fn said(&mut self, now: u64, page: Page) {
        let text = words_of(&page);
        self.patient.listen(now);
        self.patient.hear_words(&text);
        self.patient.listen(now);
        let asked = self.patient.asked_in(&text);
        self.questions += u32::from(matches!(asked, Asked::Item(_)));
        if let Asked::Item(_) = asked {
            self.last_asked = asked;
        }
        let number = page.number;
        match page.then {
            Then::Gather(ask) => {
                let silence = now + u64::from(ask.timeout_s) * 1_000;
                let thinks = self.patient.thinks_ms();
                self.phone = match self.patient.answer(asked) {
                    Some(answer) if !answer.keys.is_empty() && self.patient.uses_keys(&answer) => {
                        let post_at = now + thinks + answer.keys.len() as u64 * KEY_MS;
                        let told = Told::Keys(answer.keys.to_owned());
                        Phone::Gathering { post_at, speak_at: None, page: number, told, owes: true }
                    }
                    Some(answer) => {
                        let pause = u64::from(ask.speech_timeout_s) * 1_000;
                        let post_at = now + thinks + answer.ms + pause;
                        let told = Told::Speech(answer.text.clone());
                        self.to_say = Some(answer);
                        Phone::Gathering { post_at, speak_at: Some(now + thinks), page: number, told, owes: true }
                    }
                    None => Phone::Gathering {
                        post_at: silence,
                        speak_at: None,
                        page: number,
                        told: Told::Nothing,
                        owes: true,
                    },
                };
            }
            Then::Listen { seconds } => {
                let whole = now + u64::from(seconds) * 1_000;
                let thinks = self.patient.thinks_ms();
                let answer = self.patient.answer(self.last_asked);
                let ends = self.patient.persona.ends_tasks;
                let done = answer.as_ref().map(|answer| now + thinks + answer.ms + 800).filter(|_| ends);
                let told = if done.is_some() { Told::Keys("1".to_owned()) } else { Told::Listened };
                self.to_say = answer;
                self.phone = Phone::Gathering {
                    post_at: done.map_or(whole, |done| done.min(whole)),
                    speak_at: Some(now + thinks),
                    page: number,
                    told,
                    owes: true,
                };
            }
            Then::Wait { seconds } => {
                let post_at = now + u64::from(seconds) * 1_000;
                self.phone =
                    Phone::Gathering { post_at, speak_at: None, page: number, told: Told::Nothing, owes: false };
            }
            Then::DialNurse => self.dial(now, Some(number)),
            Then::Redirect => self.fetch(now, number, Told::Nothing),
            Then::Hangup => self.phone = Phone::Words { until: now },
        }
    }

    fn gathering(&mut self, now: u64) {
        let Phone::Gathering { speak_at, .. } = &mut self.phone else { return };
        if speak_at.is_some_and(|at| now >= at) {
            *speak_at = None;
            if let Some(answer) = self.to_say.take() {
                self.patient.speak(now, answer);
            }
        }
        if let Phone::Gathering { owes, told, .. } = &mut self.phone
            && matches!(told, Told::Speech(_))
            && self.to_say.is_none()
            && self.patient.speaking().is_none()
        {
            *owes = false;
        }
        let Phone::Gathering { post_at, page, told, .. } = self.phone.clone() else { return };
        if now >= post_at {
            self.fetch(now, page, told);
        }
        self.patient.step(now, false);
    }

    fn dial(&mut self, now: u64, page: Option<u64>) {
        let answered = self.rng.chance(0.8);
        self.measured.transferred |= answered;
        let length = if answered { 20_000 } else { 12_000 };
        self.phone = Phone::Dialing { until: now + length, answered, page };
    }

    /// The request to connect the patient with the nurse.
    fn transfer_step(&mut self, now: u64, server: &mut Server) {
        if self.transfer_at.is_none_or(|at| now < at) {
            return;
        }
        self.transfer_at = None;
        if server.rest.is_some() || !matches!(self.phone, Phone::Stream) {
            self.handle(now, Input::HandedOver(false), server);
            let tick = Tick::from_ms(now - self.origin);
            if let Some(encounter) = &mut self.encounter {
                encounter.transfer_failed(tick);
            }
            return self.obey(now, server);
        }
        self.dial(now, None);
        if let Phone::Dialing { answered: false, .. } = self.phone {
            server.tell(now, self.id, "the nurse was not reached");
        }
        self.phone_event(now, json!({"event": "stop"}), server);
        self.sees_stream = false;
        self.handle(now, Input::StreamStopped, server);
    }
}

fn words_of(page: &Page) -> String {
    page.say.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ")
}
