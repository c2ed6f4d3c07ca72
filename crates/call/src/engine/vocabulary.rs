//! The words in which the engine and the shell talk to each other.

use crate::Tick;
use crate::agent::{AgentClose, ConnectFailure};
use clinic::tools::{Effect, ToolOutcome, VoiceTask};
use clinic::{CallOutcome, EndCause, Span, TimelineEvent};

/// Mu-law audio shared between the recorder and the analysis without copying.
pub type Ulaw = std::sync::Arc<[u8]>;

/// Limits and choices of one call.
#[derive(Debug, Clone)]
pub struct CallConfig {
    /// How long the phone may take to open its media stream after the call was announced.
    pub phone_connect_ms: u64,
    /// How long the phone may send nothing at all before the call counts as over.
    pub phone_idle_ms: u64,
    /// How long an agent may take to send its metadata after the socket opened.
    pub agent_metadata_ms: u64,
    /// How long an agent may stay silent once it and the caller can hear each other.
    pub agent_first_word_ms: u64,
    /// Longest duration of a call.
    pub max_call_ms: u64,
    /// Connection attempts to the agent, the first included.
    pub agent_attempts: u32,
    /// How long a tool may run before the agent is told that it failed.
    pub tool_timeout_ms: u64,
    /// Let our own detector interrupt the agent even where the service does so itself.
    pub local_barge_in: bool,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self {
            phone_connect_ms: 20_000,
            phone_idle_ms: 60_000,
            agent_metadata_ms: 8_000,
            agent_first_word_ms: 20_000,
            max_call_ms: 30 * 60_000,
            agent_attempts: 3,
            tool_timeout_ms: 8_000,
            local_barge_in: false,
        }
    }
}

/// Something that happened to the call.
#[derive(Debug)]
pub enum Input<'a> {
    /// A text message on the media stream.
    PhoneText(&'a str),
    /// A binary message on the media stream, which the protocol does not have.
    PhoneBinary,
    /// The media stream's socket is gone.
    PhoneClosed,
    /// A stream status callback said that the stream stopped.
    StreamStopped,
    /// A stream status callback reported an error.
    StreamFailed,
    /// A call status callback said that the call is over.
    CallEnded,
    /// The agent's socket is open.
    AgentOpen,
    /// A text message of the agent.
    AgentText(&'a str),
    /// A binary message of the agent, which the protocol does not have.
    AgentBinary,
    /// The agent's socket is gone.
    AgentClosed(AgentClose),
    /// The agent could not be reached.
    AgentConnectFailed(ConnectFailure),
    /// A tool answered.
    ToolDone {
        /// The agent's identifier of the request.
        id: &'a str,
        /// The answer.
        outcome: ToolOutcome,
    },
    /// Tell the agent something.
    Tell(Tell<'a>),
    /// Open or close the window of a voice task.
    Task(Effect),
    /// Nothing of this call may be kept as sound from now on.
    StopRecording,
    /// The phone company was told to connect the caller with somebody else, or could not be.
    HandedOver(bool),
    /// We want the call to end: shutdown or an operator.
    HangUp,
    /// A machine answered, says answering-machine detection.
    MachineAnswered,
    /// Time passed.
    Timeout,
}

/// Something to tell the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell<'a> {
    /// Background that does not interrupt; a newer text with the same id replaces the older.
    Context {
        /// Identifier.
        id: &'a str,
        /// The text.
        text: &'a str,
    },
    /// Taken for words of the caller, so that the agent answers.
    Caller(&'a str),
}

/// Something the call wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this text message on the media stream.
    ToPhone(String),
    /// Close the media stream; Twilio then goes on with the next step of the call.
    ClosePhone,
    /// Reach the agent, not before the given moment: fetch the signed URL and open its socket.
    ConnectAgent {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// When to begin.
        not_before: Tick,
    },
    /// Send this text message to the agent.
    ToAgent(String),
    /// Close the agent's socket normally, or stop trying to open it.
    CloseAgent,
    /// Run a tool, away from the audio path, and answer with [`Input::ToolDone`].
    RunTool {
        /// The agent's identifier of the request.
        id: String,
        /// Tool name, as the model wrote it.
        name: String,
        /// Parameters as JSON text, as the model wrote them.
        parameters: String,
    },
    /// The caller pressed these keys; nobody has told the agent yet.
    Keys(String),
    /// The agent used a tool of its own.
    SystemTool(String),
    /// Keep this audio.
    Capture(Capture),
    /// Do this for the analysis of the caller's voice.
    Analyze(AnalysisStep),
    /// Add this to the timeline.
    Record(TimelineEvent),
    /// Tell the operator.
    Alert(Alert),
    /// Count this.
    Measure(Measure),
    /// The call is over; nothing follows.
    Done(Summary),
    /// Nothing more to do before this moment, unless something happens.
    Timeout(Tick),
}

/// Audio for the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// Caller audio exactly as received.
    Patient {
        /// Sample of the patient track (8 kHz) at which it begins; lost audio leaves a hole.
        position_samples: u64,
        /// When it arrived.
        arrived: Tick,
        /// The bytes.
        ulaw: Ulaw,
    },
    /// Agent audio exactly as sent to the phone.
    Agent {
        /// When it begins to play, as far as the marks tell.
        play_at: Tick,
        /// The bytes.
        ulaw: Ulaw,
    },
    /// Agent audio not played by this moment never was.
    AgentCleared {
        /// The moment.
        at: Tick,
    },
}

/// A step in the analysis of the caller's voice.
#[derive(Debug, Clone, PartialEq)]
pub enum AnalysisStep {
    /// A segment begins.
    Open {
        /// Number of the segment within the call, from 0.
        segment: u32,
        /// What the caller was asked to do.
        task: VoiceTask,
    },
    /// Caller audio of the segment.
    Push {
        /// The segment.
        segment: u32,
        /// The bytes.
        ulaw: Ulaw,
    },
    /// Caller audio of the segment that was lost on the way: no voice, but time.
    Gap {
        /// The segment.
        segment: u32,
        /// Samples at 8 kHz.
        samples: u64,
    },
    /// The segment is complete.
    Close {
        /// The segment.
        segment: u32,
        /// The stretches of the patient track it was made of.
        spans: Vec<Span>,
    },
}

/// Something an operator has to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alert {
    /// The agent refuses us for a reason that trying again does not change.
    AgentConfiguration {
        /// Member of the agent chain.
        service: &'static str,
        /// Stable reason code.
        reason: String,
    },
}

/// Something to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A caller frame arrived.
    FrameIn,
    /// A message could not be used.
    PeerProblem {
        /// `phone` or `agent`.
        peer: &'static str,
    },
    /// Milliseconds from the onset of the caller's speech to our `clear`.
    BargeIn {
        /// Milliseconds.
        reaction_ms: u64,
    },
    /// Milliseconds of silence inside a reply because its audio came too late.
    PlayoutGap {
        /// Milliseconds.
        gap_ms: u64,
    },
    /// Stale or surplus agent audio was not played.
    AgentAudioDropped,
    /// Milliseconds from the announcement of the call to the agent's readiness.
    AgentReady {
        /// Milliseconds.
        after_ms: u64,
    },
    /// Milliseconds from the announcement of the call to the first agent audio sent to the phone.
    FirstAudio {
        /// Milliseconds.
        after_ms: u64,
    },
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How it ended up.
    pub outcome: CallOutcome,
    /// Which signal ended it.
    pub cause: EndCause,
    /// From announcement to end.
    pub duration_us: u64,
    /// Members of the agent chain that carried the call, in order.
    pub agents: Vec<String>,
    /// Replies the agent began.
    pub turns: u32,
    /// Times the caller interrupted the agent.
    pub interruptions: u32,
    /// Final transcripts of what the caller said.
    pub transcript_turns: u32,
    /// Caller frames received.
    pub frames_in: u64,
    /// Caller audio that the agent never got, in milliseconds.
    pub to_agent_dropped_ms: u64,
    /// Agent audio that found no room, in milliseconds.
    pub to_phone_dropped_ms: u64,
}
