//! What the phone does to a call: starting its stream, sending audio, echoing marks, pressing keys.

use super::{AnalysisStep, Call, Capture, Measure, Output, Ulaw};
use crate::Tick;
use crate::agent::AgentLeg;
use crate::engine::agent_side::AgentState;
use crate::engine::transcode::Transcode;
use crate::twilio::message::{self, FromTwilio, Media, Start};
use crate::uplink::SAMPLES_PER_MS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clinic::{EndCause, TimelineKind};

/// The problem of a stream that broke, and whose call the script carries on.
pub(crate) const STREAM_LOST: &str = "stream_lost";

/// Keys are told to the agent together: after this pause, or at `#`.
const KEYS_PAUSE_MS: u64 = 1_500;
/// Without a frame for so long, whoever was speaking is not heard any more.
const FRAMES_STOPPED_MS: u64 = 600;
/// Most keys told in one go.
const KEYS_MAX: usize = 32;

/// Keys pressed and not yet told to the agent.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pressed: String,
    tell_at: Option<Tick>,
}

impl AgentLeg {
    /// The message that carries this mu-law in the agent's format.
    pub(super) fn audio_message(&self, transcode: &mut Transcode, ulaw: &[u8], scratch: &mut Vec<u8>) -> String {
        scratch.clear();
        transcode.encode(ulaw, scratch);
        let mut text = String::with_capacity(scratch.len() * 4 / 3 + 32);
        self.write_audio(&mut text, scratch);
        text
    }
}

impl Call {
    pub(super) fn phone_text(&mut self, text: &str) {
        let event = match message::parse(text) {
            Ok(event) => event,
            Err(error) => return self.problem("phone", error.code()),
        };
        self.last_phone_audio = self.now;
        match event {
            FromTwilio::Media(media) => self.phone_media(&media),
            FromTwilio::Mark { name } => {
                self.playout.mark_echoed(self.now, &name);
            }
            FromTwilio::Start(start) => self.phone_start(*start),
            FromTwilio::Stop if self.is_scripted() => self.script_stream_ended(),
            FromTwilio::Stop => self.finish(EndCause::StreamStopped),
            FromTwilio::Dtmf { digit } => self.phone_key(digit),
            FromTwilio::Connected | FromTwilio::Unknown => {}
        }
    }

    /// A stream that never came ends the call, unless the script can do without. For one that is there its socket speaks:
    /// an error of Twilio's may be about a single message, and must not hang up on a patient.
    pub(super) fn stream_failed(&mut self) {
        if self.stream.is_none() {
            self.without_stream();
        } else {
            self.problem("phone", "stream_error");
        }
    }

    /// The stream's socket broke without a `stop`. The caller may well be there: Twilio goes on with the next document, and
    /// if it asks for that, the script goes on with the visit. Otherwise a status callback or time ends the call.
    pub(super) fn phone_lost(&mut self) {
        if self.stream.is_none() || !self.unfinished || !self.chain.has_script() || self.handed_over {
            return self.finish(EndCause::StreamClosed);
        }
        self.hand_to_script();
    }

    /// The phone company asks what comes next while we wait for its stream, or take a broken one for alive. The caller is
    /// there, so the script goes on with what is left; without one somebody has to hear that the call broke off.
    pub(super) fn stream_gone(&mut self) {
        self.reached = true;
        if !self.unfinished || self.handed_over {
            return self.finish(EndCause::StreamClosed);
        }
        self.without_stream();
    }

    fn without_stream(&mut self) {
        if !self.unfinished || !self.chain.has_script() {
            return self.finish(EndCause::StreamFailed);
        }
        self.hand_to_script();
        self.script.stream_failed(self.now);
    }

    fn hand_to_script(&mut self) {
        self.problem("phone", STREAM_LOST);
        for played in self.playout.interrupt(self.now, Some(i64::MAX)) {
            self.record_played(played);
        }
        self.go_to_script();
    }

    fn phone_start(&mut self, start: Start) {
        if self.stream.is_some() {
            return self.problem("phone", "start_twice");
        }
        if !start.media_format.is_ulaw_8000() {
            self.problem("phone", "unsupported_audio_format");
            return self.finish(EndCause::StreamClosed);
        }
        self.stream = Some(start.stream_sid);
        self.started = self.now;
        if std::mem::replace(&mut self.reached, true) && self.is_scripted() {
            // The same phone, heard by another stream.
            self.script.stream_is_back();
            self.uplink.new_stream(self.now);
        } else {
            self.uplink.phone_started(self.now);
            self.record(TimelineKind::PhoneConnected);
        }
        if !self.segments.has_speech() && self.may_record {
            self.open_speech_segment();
        }
        self.expect_first_word();
        if matches!(self.agent, AgentState::Failed) {
            self.finish(EndCause::AgentFailed);
        }
    }

    fn phone_media(&mut self, media: &Media<'_>) {
        if self.stream.is_none() {
            return self.problem("phone", "media_before_start");
        }
        if !media.inbound {
            return self.problem("phone", "outbound_track");
        }
        let Ok(bytes) = STANDARD.decode(media.payload.as_bytes()) else {
            return self.problem("phone", "invalid_base64");
        };
        if bytes.is_empty() {
            return;
        }
        self.counts.frames_in += 1;
        self.outputs.push_back(Output::Measure(Measure::FrameIn));
        self.quality.frame(self.now, media.timestamp_ms);
        let ulaw: Ulaw = bytes.into();
        let placement = self.uplink.place(self.now, media.timestamp_ms, ulaw.len() as u64);
        if placement.gap_samples > 0 {
            self.record(TimelineKind::GapPadded { padded_ms: placement.gap_samples / SAMPLES_PER_MS });
        }
        {
            let (leg, transcode, scratch) = (&self.leg, &mut self.to_agent, &mut self.scratch);
            let outputs = &mut self.outputs;
            self.uplink.push(placement, &ulaw, |ulaw| {
                outputs.push_back(Output::ToAgent(leg.audio_message(transcode, ulaw, scratch)));
            });
        }
        self.capture(Capture::Patient {
            position_samples: placement.position_samples,
            arrived: self.now,
            ulaw: ulaw.clone(),
        });
        let agent_speaks = self.playout.is_speaking(self.now);
        let spoke_before = self.floor.is_speaking();
        let talks_over = self.floor.hear(self.now, &ulaw, agent_speaks);
        if spoke_before && !self.floor.is_speaking() && self.floor.last_words() == Some(self.now) {
            self.watch.caller_finished(self.now);
        }
        if self.floor.is_speaking() && !spoke_before {
            // What the caller says now will be answered.
            self.watch.nothing_due();
        }
        if talks_over && (self.config.local_barge_in || !self.leg.detects_interruptions()) {
            self.interrupt(None, "local");
        }
        if let Some(segment) = self.segments.place(placement, ulaw.len() as u64, agent_speaks) {
            if placement.gap_samples > 0 {
                let samples = placement.gap_samples;
                self.outputs.push_back(Output::Analyze(AnalysisStep::Gap { segment, samples }));
            }
            self.outputs.push_back(Output::Analyze(AnalysisStep::Push { segment, ulaw }));
        }
    }

    fn phone_key(&mut self, digit: char) {
        if self.stream.is_none() {
            return self.problem("phone", "dtmf_before_start");
        }
        self.watch.keys(self.now);
        self.record(TimelineKind::Dtmf { digit });
        if digit != '#' && self.keys.pressed.len() < KEYS_MAX {
            self.keys.pressed.push(digit);
        }
        self.keys.tell_at = Some(if digit == '#' { self.now } else { self.now.plus_ms(KEYS_PAUSE_MS) });
    }

    pub(super) fn phone_on_time(&mut self) {
        {
            let (leg, transcode, scratch) = (&self.leg, &mut self.to_agent, &mut self.scratch);
            let outputs = &mut self.outputs;
            self.uplink.fill_stall(self.now, |ulaw| {
                outputs.push_back(Output::ToAgent(leg.audio_message(transcode, ulaw, scratch)));
            });
        }
        if self.floor.is_speaking() && self.now >= self.last_phone_audio.plus_ms(FRAMES_STOPPED_MS) {
            // Nobody is heard any more: muted in the middle of a word, or the network is away.
            self.floor.pause(self.now);
        }
        // The visit understands keys, whether an agent is there or not.
        if self.keys.tell_at.is_some_and(|at| at <= self.now) {
            self.tell_keys();
        }
        if self.is_scripted() {
            return;
        }
        if self.stream.is_none() {
            if self.now >= Tick::from_ms(self.config.phone_connect_ms) {
                self.finish(EndCause::NeverConnected);
            }
        } else if self.now >= self.last_phone_audio.plus_ms(self.config.phone_idle_ms) {
            self.finish(EndCause::StreamIdle);
        }
    }

    /// Keys that wait for a pause count now.
    pub(super) fn tell_keys(&mut self) {
        self.keys.tell_at = None;
        let pressed = std::mem::take(&mut self.keys.pressed);
        if !pressed.is_empty() {
            self.outputs.push_back(Output::Keys(pressed));
        }
    }

    pub(super) fn phone_deadline(&self) -> Option<Tick> {
        if self.is_scripted() {
            return None;
        }
        let alive = if self.stream.is_none() {
            Tick::from_ms(self.config.phone_connect_ms)
        } else {
            self.last_phone_audio.plus_ms(self.config.phone_idle_ms)
        };
        let stopped = self
            .floor
            .is_speaking()
            .then(|| self.last_phone_audio.plus_ms(FRAMES_STOPPED_MS))
            .filter(|at| *at > self.now);
        [Some(alive), self.keys.tell_at, stopped].into_iter().flatten().min()
    }
}
