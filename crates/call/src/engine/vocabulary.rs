//! The words in which the engine and the shell talk to each other.

use crate::Tick;
use crate::agent::{AgentClose, ConnectFailure, Member};
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
    /// How long an agent that owes the caller an answer may say nothing before it counts as lost.
    pub agent_reply_ms: u64,
    /// An answer that takes longer than this is slow.
    pub agent_slow_ms: u64,
    /// So many slow answers in a row make it worth changing to another agent, if there is one.
    pub agent_slow_replies: u32,
    /// How long an agent may show no sign of having heard the caller.
    pub agent_deaf_ms: u64,
    /// How long agent and caller may both be silent before the agent, whose task it is to ask again, counts as lost.
    pub agent_idle_ms: u64,
    /// How long nothing at all may come from an agent that has sent pings until then.
    pub agent_socket_silent_ms: u64,
    /// How long a conversation may wait for capacity at the service.
    pub agent_queue_ms: u64,
    /// So many unreadable messages in a row mean that the agent is not what we take it for.
    pub agent_garbage_max: u32,
    /// How long agents are tried while the caller waits, before the script takes over.
    pub agent_switch_ms: u64,
    /// Silence at the beginning of a call before something of our own is said.
    pub bridge_start_ms: u64,
    /// Silence where an answer of the agent is due before something of our own is said.
    pub bridge_reply_ms: u64,
    /// Between two such phrases.
    pub bridge_again_ms: u64,
    /// The visit tells a new agent where it stands, so that a broken conversation may be opened anew.
    pub resumes: bool,
    /// Spreads the attempts of calls that fail together; 0 for none.
    pub jitter_seed: u64,
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
            agent_metadata_ms: 5_000,
            agent_first_word_ms: 8_000,
            agent_reply_ms: 12_000,
            agent_slow_ms: 6_000,
            agent_slow_replies: 3,
            agent_deaf_ms: 20_000,
            agent_idle_ms: 45_000,
            agent_socket_silent_ms: 10_000,
            agent_queue_ms: 8_000,
            agent_garbage_max: 20,
            agent_switch_ms: 15_000,
            bridge_start_ms: 2_500,
            bridge_reply_ms: 4_000,
            bridge_again_ms: 5_000,
            resumes: false,
            jitter_seed: 0,
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
    /// The phone company asks what comes next: whatever we take for alive, there is no stream any more, or none came.
    StreamGone,
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
    /// A WebSocket ping came back.
    RoundTrip {
        /// From the agent; otherwise from the phone company.
        of_agent: bool,
        /// Microseconds.
        us: u64,
    },
    /// A page of the script was asked for, so the caller is there.
    PageAsked {
        /// It is the last page.
        goodbye: bool,
    },
    /// The page that was handed out is spoken and listened to for so long, at most.
    PageTakes {
        /// Milliseconds.
        ms: u64,
    },
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
        /// Which one.
        member: Member,
        /// Number of the attempt at it, from 1.
        attempt: u32,
        /// When to begin.
        not_before: Tick,
    },
    /// Send this text message to the agent.
    ToAgent(String),
    /// Close the agent's socket normally, or stop trying to open it.
    CloseAgent,
    /// The script carries the call from now on: close the media stream, if there is one, and answer with pages.
    ToScript,
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
    /// An agent was heard for the first time in its conversation.
    AgentSpoke,
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
