//! The call itself: everything that happens to it goes in, everything it wants done comes out.
//!
//! ```text
//! phone messages, agent messages, tool answers, time  ──►  Call::handle
//! Call::poll_output  ──►  messages, audio to keep, audio to analyse, records, the next deadline
//! ```
//!
//! The contract: one [`Call::handle`], then [`Call::poll_output`] until it yields [`Output::Timeout`]. Nothing a peer
//! sends can make `handle` fail; what cannot be used is counted and recorded, and the call goes on.

mod agent_side;
mod ending;
mod phone_side;
mod quality;
mod script_side;
mod segments;
mod switch;
mod transcode;
mod vocabulary;
mod watch;

pub(crate) use phone_side::STREAM_LOST;
pub use vocabulary::{Alert, AnalysisStep, CallConfig, Capture, Input, Measure, Output, Summary, Tell, Ulaw};

use crate::Tick;
use crate::agent::{AgentLeg, AudioFormat, Chain, CloseReaction};
use crate::floor::Floor;
use crate::playout::{Playout, Send};
use crate::twilio::StreamSid;
use crate::twilio::message;
use crate::uplink::Uplink;
use agent_side::AgentState;
use clinic::{EndCause, TimelineEvent, TimelineKind};
use ending::Ending;
use script_side::ScriptSide;
use segments::Segments;
use std::collections::{BTreeMap, VecDeque};
use switch::Switch;
use transcode::Transcode;
use watch::Watch;

/// One phone call.
#[derive(Debug)]
pub struct Call {
    config: CallConfig,
    /// Who carries the call, or is being called.
    leg: AgentLeg,
    /// Who stands in.
    chain: Chain,
    switch: Switch,
    watch: Watch,
    quality: quality::Quality,
    script: ScriptSide,
    /// What is said while nobody else does.
    phrase: &'static [u8],
    now: Tick,
    outputs: VecDeque<Output>,
    /// The phone's stream, once it started.
    stream: Option<StreamSid>,
    /// When it started.
    started: Tick,
    /// The phone was there at all.
    reached: bool,
    last_phone_audio: Tick,
    /// Until when the agent is to be heard by what it has sent so far.
    agent_sound_until: Tick,
    uplink: Uplink,
    to_agent: Transcode,
    from_agent: Transcode,
    agent: AgentState,
    agents: Vec<String>,
    playout: Playout,
    floor: Floor,
    segments: Segments,
    tools: agent_side::Tools,
    keys: phone_side::Keys,
    ending: Ending,
    first_audio_sent: bool,
    /// The reply whose audio was decoded last.
    decoding: Option<i64>,
    /// The present conversation's agent has said something.
    agent_spoke: bool,
    /// When it has to have.
    first_word_by: Option<Tick>,
    /// Problems with messages of the peers, by peer and code.
    problems: BTreeMap<(&'static str, &'static str), u64>,
    counts: Counts,
    /// False once the caller refused to be recorded.
    may_record: bool,
    /// The phone company connects the caller with somebody else.
    handed_over: bool,
    /// Replies whose words wait until it is written down what they answer, and until when.
    held: VecDeque<(Tick, String, Option<i64>)>,
    /// The service of the present leg does not let us say how it begins.
    words_refused: bool,
    /// There is more to ask than was asked.
    unfinished: bool,
    scratch: Vec<u8>,
}

/// What the summary counts.
#[derive(Debug, Default)]
struct Counts {
    frames_in: u64,
    interruptions: u32,
    transcript_turns: u32,
    agent_audio_seen: bool,
    clinical_content: bool,
    uplink_drop_recorded: bool,
    playout_drop_recorded: bool,
}

impl Call {
    /// A call that was just announced. The first agent of the chain is called at once, while the phone still rings;
    /// without one the script carries the call from its beginning.
    #[must_use]
    pub fn new(config: CallConfig, chain: impl Into<Chain>) -> Self {
        let mut chain = chain.into();
        let first = chain.pop();
        let mut call = Self {
            ending: Ending::new(&config),
            config,
            leg: AgentLeg::Script,
            chain,
            switch: Switch::default(),
            watch: Watch::default(),
            quality: quality::Quality::default(),
            script: ScriptSide::default(),
            phrase: &[],
            now: Tick::ZERO,
            outputs: VecDeque::new(),
            stream: None,
            started: Tick::ZERO,
            reached: false,
            last_phone_audio: Tick::ZERO,
            agent_sound_until: Tick::ZERO,
            uplink: Uplink::new(),
            to_agent: Transcode::none(),
            from_agent: Transcode::none(),
            agent: AgentState::Absent,
            agents: Vec::new(),
            playout: Playout::new(),
            floor: Floor::new(),
            segments: Segments::new(),
            tools: agent_side::Tools::default(),
            keys: phone_side::Keys::default(),
            first_audio_sent: false,
            decoding: None,
            agent_spoke: false,
            first_word_by: None,
            problems: BTreeMap::new(),
            counts: Counts::default(),
            may_record: true,
            handed_over: false,
            held: VecDeque::new(),
            words_refused: false,
            unfinished: false,
            scratch: Vec::with_capacity(1_024),
        };
        match first {
            Some(leg) => {
                call.leg = leg;
                call.connect_agent(1, 0);
            }
            None => call.agent = AgentState::Scripted,
        }
        call
    }

    /// Takes in one thing that happened at `now`. Time that runs backwards is taken for standing still.
    pub fn handle(&mut self, now: Tick, input: Input<'_>) {
        self.now = self.now.max(now);
        if self.ending.is_over() {
            return;
        }
        match input {
            Input::PhoneText(text) => self.phone_text(text),
            Input::PhoneBinary => self.problem("phone", "binary_message"),
            Input::PhoneClosed if self.is_scripted() => self.script_stream_ended(),
            // Of the stream that the script took the place of.
            Input::StreamStopped | Input::StreamFailed | Input::StreamGone if self.is_scripted() => {}
            Input::PhoneClosed => self.phone_lost(),
            Input::StreamGone => self.stream_gone(),
            Input::StreamStopped => self.finish(EndCause::StreamStopped),
            Input::StreamFailed => self.stream_failed(),
            Input::CallEnded => self.finish(self.script_cause(EndCause::CallStatus)),
            Input::RoundTrip { of_agent, us } => self.round_trip(of_agent, us),
            Input::PageAsked { goodbye } => self.page_asked(goodbye),
            Input::AgentOpen => self.agent_open(),
            Input::AgentText(text) => self.agent_text(text),
            Input::AgentBinary => self.problem("agent", "binary_message"),
            Input::AgentClosed(close) => self.agent_closed(&close),
            Input::AgentConnectFailed(failure) => self.agent_connect_failed(failure),
            Input::ToolDone { id, outcome } => self.tool_done(id, outcome),
            Input::Tell(tell) => self.tell(tell),
            Input::Task(effect) => self.apply_effect(effect),
            Input::StopRecording => {
                self.may_record = false;
                self.segments.abandon();
            }
            Input::HandedOver(true) => self.handed_over = true,
            Input::HandedOver(false) => self.not_handed_over(),
            Input::PageTakes { ms } => self.script.page_takes(ms),
            Input::HangUp => self.finish(EndCause::HungUpByUs),
            Input::MachineAnswered => self.finish(EndCause::MachineAnswered),
            Input::Timeout => {}
        }
        if !self.ending.is_over() {
            self.on_time();
        }
    }

    /// The next thing to do; [`Output::Timeout`] when there is nothing more before that moment.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.next_deadline()))
    }

    /// True once the call is over and [`Output::Done`] was queued.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending.is_over()
    }

    /// Everything that is due by now, whatever woke us.
    fn on_time(&mut self) {
        self.phone_on_time();
        if self.ending.is_over() {
            return;
        }
        self.segments_on_time();
        self.agent_on_time();
        self.script_on_time();
        if self.ending.is_over() {
            return;
        }
        self.switch_on_time();
        self.flush_playout();
        self.ending_on_time();
    }

    fn next_deadline(&self) -> Tick {
        if self.ending.is_over() {
            return Tick::FAR;
        }
        let playout = self.playout.deadline().filter(|_| self.stream.is_some() && !self.is_scripted());
        let deadlines = [
            playout,
            self.uplink.stall_deadline(),
            self.segments_deadline(),
            self.agent_deadline(),
            self.switch_deadline(),
            self.script_deadline(),
            self.phone_deadline(),
            self.ending_deadline(),
        ];
        deadlines.into_iter().flatten().min().unwrap_or(Tick::FAR)
    }

    /// Sends what the playout has due, if the phone is there.
    fn flush_playout(&mut self) {
        // The stream of a scripted call only listens.
        let Some(sid) = self.stream.as_ref().filter(|_| !matches!(self.agent, AgentState::Scripted)) else { return };
        let (now, may_record) = (self.now, self.may_record);
        let (outputs, first_audio_sent) = (&mut self.outputs, &mut self.first_audio_sent);
        self.playout.poll(now, |send| {
            let mut text = String::new();
            match send {
                Send::Media { ulaw, play_at } => {
                    text.reserve(ulaw.len() * 4 / 3 + 160);
                    message::write_media(&mut text, sid, &ulaw);
                    if may_record {
                        outputs.push_back(Output::Capture(Capture::Agent { play_at, ulaw: ulaw.into() }));
                    }
                    if !std::mem::replace(first_audio_sent, true) {
                        outputs.push_back(Output::Measure(Measure::FirstAudio { after_ms: now.as_ms() }));
                    }
                }
                Send::Mark { name } => message::write_mark(&mut text, sid, &name),
            }
            outputs.push_back(Output::ToPhone(text));
        });
    }

    fn capture(&mut self, capture: Capture) {
        if self.may_record {
            self.outputs.push_back(Output::Capture(capture));
        }
    }

    fn record(&mut self, kind: TimelineKind) {
        self.outputs.push_back(Output::Record(TimelineEvent { at_us: self.now.as_us(), kind }));
    }

    /// Counts a message that could not be used; the first of a kind is recorded at once, the total at the end.
    fn problem(&mut self, peer: &'static str, problem: &'static str) {
        let count = self.problems.entry((peer, problem)).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.record(TimelineKind::PeerProblem { peer: peer.into(), problem: problem.into(), count: 1 });
        }
        self.outputs.push_back(Output::Measure(Measure::PeerProblem { peer }));
    }
}

/// The format in which an agent is spoken to when it speaks the telephone's own.
const TELEPHONE: AudioFormat = AudioFormat::Ulaw8000;
