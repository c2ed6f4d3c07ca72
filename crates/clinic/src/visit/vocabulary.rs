//! What goes into a visit and what comes out of it.

use crate::answers::WeightUnit;
use crate::identity::Identity;
use crate::protocol::Protocol;
use crate::record::TimelineKind;
use crate::red_flags::RedFlag;
use crate::tools::VoiceTask;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a visit starts with.
#[derive(Clone)]
pub struct Setup {
    /// What is asked.
    pub protocol: Arc<Protocol>,
    /// Language to begin in, as recorded for the patient.
    pub language: String,
    /// The name the patient is greeted by. PHI.
    pub given_name: String,
    /// How the patient proves who they are. PHI.
    pub identity: Identity,
    /// The patient agreed to recording before.
    pub consent_on_file: bool,
    /// A nurse can be reached by transfer.
    pub nurse_line: bool,
    /// The unit of weights named without one.
    pub weight_unit: WeightUnit,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("protocol", &self.protocol.name)
            .field("language", &self.language)
            .finish_non_exhaustive()
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VisitInput<'a> {
    /// The agent and we can talk.
    AgentConnected,
    /// A final transcript of the patient's words.
    PatientSaid(&'a str),
    /// What the agent is about to say.
    AgentSaid(&'a str),
    /// Sound of the agent's was heard on the line.
    AgentHeard,
    /// The patient talked over the agent: this much of its last words was heard.
    AgentCutShort(&'a str),
    /// The agent calls one of our tools.
    Tool {
        /// The agent's identifier of the request.
        id: &'a str,
        /// Name, as the model wrote it.
        name: &'a str,
        /// Parameters as JSON text, as the model wrote them.
        parameters: &'a str,
    },
    /// The agent used one of its own tools.
    SystemTool(&'a str),
    /// Keys the patient pressed, together.
    Keys(&'a str),
    /// The window asked for is open: number of its segment.
    WindowOpened {
        /// Number of the segment within the call.
        segment: u32,
    },
    /// The call closed the window by itself.
    WindowClosed,
    /// The analysis of a segment is done.
    TaskResult {
        /// Number of the segment within the call.
        segment: u32,
        /// Whether the quality gates passed.
        usable: bool,
        /// Reasons where they did not.
        reasons: &'a [String],
    },
    /// A machine answered.
    AnsweringMachine,
    /// The nurse could not be reached.
    TransferFailed,
    /// The agent is gone in mid conversation; another one, or the script, goes on.
    AgentLost,
    /// The script has these words spoken now: the step that [`super::Visit::next_step`] gave last.
    ScriptSaid(&'a str),
    /// The script asked, and its time passed without a word or a key.
    Silence,
    /// The script asked, and what came was no answer to it.
    Unclear,
    /// The script has said the prompt of a voice task, and listens from now on.
    TaskBegins,
    /// The script listens no more.
    TaskOver,
    /// The script offered to connect a nurse: whether the patient wants that. The script itself connects.
    Nurse(bool),
    /// The call is over.
    Ended,
    /// Time passed.
    Timeout,
}

/// Something the visit wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum VisitOutput {
    /// Answer a tool request.
    ToolResult {
        /// The agent's identifier of the request.
        id: String,
        /// JSON text.
        result: String,
        /// The tool refused or is unknown.
        is_error: bool,
    },
    /// Tell the agent something without interrupting it; a newer text with the same id replaces the older.
    Context {
        /// Identifier.
        id: &'static str,
        /// The text.
        text: String,
    },
    /// Make the agent speak: taken by the service for words of the caller.
    Prompt(String),
    /// Open the window of a voice task.
    OpenWindow(VoiceTask),
    /// Close it.
    CloseWindow,
    /// Add this to the timeline.
    Record(TimelineKind),
    /// Tell the staff at once.
    RedFlag(RedFlag),
    /// Connect the patient with the nurse.
    Transfer {
        /// Why, as the agent put it, or the red flag's code. PHI.
        reason: String,
    },
    /// The patient agreed to recording, so that it need not be asked again.
    ConsentGiven,
    /// The patient refused: what was recorded has to go, and nothing more may be kept.
    EraseRecording,
}

/// A red flag and how it was noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedFlag {
    /// The flag.
    #[serde(flatten)]
    pub flag: RedFlag,
    /// Milliseconds since the call began; 0 for what was noticed after it.
    pub at_ms: u64,
    /// `post_call`, `transcript`, `agent_tool`, `answer`, `keys`.
    pub noticed_by: String,
}
