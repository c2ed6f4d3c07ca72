//! What is kept of a call: the call itself, the timeline of what happened in it, and the voice segments analysed.

use crate::{CallId, PatientId};
use serde::{Deserialize, Serialize};

/// Who telephoned whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The patient called us.
    Inbound,
    /// We called the patient.
    Outbound,
}

/// How a call ended up, in the words of the outer contract, plus the two states of a call that is not over or that
/// our own process did not live to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Still running, as far as the store knows.
    InProgress,
    /// Bridged to an agent and ended by one of the two sides.
    Completed,
    /// Passed on to a person or to a backup.
    HandedOver,
    /// An answering machine took it.
    Voicemail,
    /// Nobody answered, or the caller gave up before the audio began.
    NoAnswer,
    /// Refused: an unknown caller.
    Refused,
    /// A technical failure ended it.
    Failed,
    /// Our process ended in mid-call; what was recorded until then is kept.
    Interrupted,
}

impl CallOutcome {
    /// The name used in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::HandedOver => "handed_over",
            Self::Voicemail => "voicemail",
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome with that name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::InProgress,
            Self::Completed,
            Self::HandedOver,
            Self::Voicemail,
            Self::NoAnswer,
            Self::Refused,
            Self::Failed,
            Self::Interrupted,
        ]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
    }
}

/// Which signal ended a call first. A call has many signals of its end and exactly one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Twilio's `stop` message: the caller hung up or the call was redirected.
    StreamStopped,
    /// Twilio could not bring the media stream about.
    StreamFailed,
    /// The media socket closed without `stop`.
    StreamClosed,
    /// A status callback said that the call is over.
    CallStatus,
    /// No audio and no other sign of life from the phone for too long.
    StreamIdle,
    /// The agent ended the conversation and its goodbye was played out.
    AgentFinished,
    /// The agent failed and nothing could take over.
    AgentFailed,
    /// The caller never reached the media stream.
    NeverConnected,
    /// Answering-machine detection said that no person is listening.
    MachineAnswered,
    /// The configured longest duration was reached.
    MaximumDuration,
    /// We ended it: shutdown or an operator.
    HungUpByUs,
}

/// A call as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Opaque identifier.
    pub id: CallId,
    /// The patient, once known. `None` for a caller nobody knows.
    pub patient_id: Option<PatientId>,
    /// Who telephoned whom.
    pub direction: Direction,
    /// How it ended up.
    pub outcome: CallOutcome,
    /// Which signal ended it, once it ended.
    pub end_cause: Option<EndCause>,
    /// Microseconds since the Unix epoch when the call was announced.
    pub started_at_us: i64,
    /// Microseconds since the Unix epoch when the call ended.
    pub ended_at_us: Option<i64>,
    /// Members of the agent chain that carried the call, in order.
    pub agents: Vec<String>,
    /// Replies the agent began to speak.
    pub turns: u32,
    /// Times the caller talked over the agent and the agent stopped.
    pub interruptions: u32,
}

/// One entry of a call's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Microseconds since the call began.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: TimelineKind,
}

/// What happened in a call. Texts in here are PHI: the store seals each entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TimelineKind {
    /// Twilio's media stream started.
    PhoneConnected,
    /// An agent accepted the conversation.
    AgentConnected {
        /// Member of the agent chain.
        service: String,
        /// The service's own identifier of the conversation.
        conversation_id: String,
        /// Audio format we send.
        input_format: String,
        /// Audio format we receive.
        output_format: String,
    },
    /// An agent could not be used, or went away.
    AgentFailed {
        /// Member of the agent chain.
        service: String,
        /// Stable reason code, such as `close_1008` or `connect_timeout`.
        reason: String,
        /// What was done: `retry`, `give_up`, `alert`.
        action: String,
    },
    /// The agent announced an error.
    AgentError {
        /// Close code announced.
        code: Option<i64>,
        /// The service's error type.
        error_type: Option<String>,
    },
    /// What the caller said, as the agent heard it.
    UserTranscript {
        /// The words.
        text: String,
    },
    /// What the agent is about to say.
    AgentResponse {
        /// The whole reply.
        text: String,
        /// The service's identifier of the reply.
        event_id: Option<i64>,
    },
    /// What the agent said after all, when it was interrupted.
    AgentCorrection {
        /// The reply as announced.
        original: String,
        /// The reply as spoken.
        corrected: String,
        /// The service's identifier of the reply.
        event_id: Option<i64>,
    },
    /// A reply of the agent left the playout: how much of it there was and how much the caller heard.
    AgentTurnPlayed {
        /// Number of the reply within the call, from 1.
        turn: u32,
        /// Milliseconds of audio sent to the phone.
        sent_ms: u64,
        /// Milliseconds the phone played, known from marks and bounded by what was sent.
        heard_ms: u64,
        /// True when it was cut short.
        interrupted: bool,
    },
    /// The caller talked over the agent.
    Interruption {
        /// The service's identifier of the interrupted reply.
        event_id: Option<i64>,
        /// Milliseconds between the onset of the caller's speech and our `clear`, when an onset was seen.
        reaction_ms: Option<u64>,
        /// `agent` when the service decided, `local` when our own detector did.
        decided_by: String,
    },
    /// The agent asked for a tool.
    ToolCall {
        /// The service's identifier of the request.
        tool_call_id: String,
        /// Tool name.
        name: String,
        /// Parameters as JSON text, as the model wrote them.
        parameters: String,
    },
    /// Our answer to a tool request.
    ToolResult {
        /// The service's identifier of the request.
        tool_call_id: String,
        /// Tool name.
        name: String,
        /// JSON text of the answer.
        result: String,
        /// True when the tool refused or failed.
        is_error: bool,
    },
    /// The caller pressed a key.
    Dtmf {
        /// `0-9`, `*`, `#`, `A-D`.
        digit: char,
    },
    /// A voice task began.
    TaskStarted {
        /// `speech`, `counting` or `sustained-vowel`.
        task: String,
    },
    /// A voice task ended.
    TaskEnded {
        /// `speech`, `counting` or `sustained-vowel`.
        task: String,
    },
    /// A voice task is asked for again, because the sound could not be used.
    TaskRetry {
        /// The protocol's item.
        item: String,
        /// Number of the attempt that failed, from 1.
        attempt: u32,
        /// Why it could not be used.
        reasons: Vec<String>,
    },
    /// The patient proved who they are.
    Identified {
        /// `spoken`, `dtmf` or `agent_tool`.
        how: String,
    },
    /// The patient was asked whether the call may be recorded.
    Consent {
        /// The answer.
        given: bool,
    },
    /// A value of an answer became known.
    AnswerNoted {
        /// The protocol's item.
        question: String,
        /// The value.
        value: crate::answers::AnswerValue,
        /// Where it came from.
        source: crate::answers::Source,
    },
    /// Words or an answer that mean an emergency.
    RedFlag {
        /// Stable code.
        code: String,
        /// The words.
        evidence: String,
        /// `transcript`, `agent_tool`, `answer` or `keys`.
        noticed_by: String,
    },
    /// The conversation went on in another language.
    LanguageChanged {
        /// Language code.
        language: String,
    },
    /// The patient is to be connected with the nurse.
    TransferRequested,
    /// The nurse could not be reached.
    TransferFailed,
    /// The patient did not want to be recorded: the recording was erased.
    RecordingErased,
    /// Audio of the caller that never arrived was replaced by silence.
    GapPadded {
        /// Milliseconds of silence inserted.
        padded_ms: u64,
    },
    /// Peers sent messages we could not use; reported once per kind, with the final count at the end of the call.
    PeerProblem {
        /// `phone` or `agent`.
        peer: String,
        /// Stable code of the problem.
        problem: String,
        /// How many so far.
        count: u64,
    },
    /// Audio was dropped because a queue was full.
    AudioDropped {
        /// `to_agent` or `to_caller`.
        direction: String,
        /// Milliseconds lost so far.
        milliseconds: u64,
    },
    /// How well audio travelled, once, when the call ends.
    AudioQuality(AudioQuality),
    /// The call ended.
    Ended {
        /// Which signal came first.
        cause: EndCause,
    },
}

/// How well audio travelled in a call. What was not measured is `None`: a peer need not answer pings, and an agent may
/// never have spoken.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct AudioQuality {
    /// Interarrival jitter of the phone's frames at the end of the call (RFC 3550, section 6.4.1), in milliseconds.
    pub jitter_ms: Option<f64>,
    /// Times a reply ran dry before its end, and how long the caller heard nothing because of it.
    pub underruns: u32,
    /// See `underruns`.
    pub underrun_ms: u64,
    /// Deepest setting of the adaptive buffer, in milliseconds.
    pub depth_max_ms: u64,
    /// From the arrival of a reply's first sound to its playing, on average and at most, in milliseconds.
    pub playout_delay_ms: Option<f64>,
    /// See `playout_delay_ms`.
    pub playout_delay_max_ms: Option<f64>,
    /// Mean round trip of a WebSocket ping to the phone company and to the agent, in milliseconds. Budget: 50.
    pub phone_round_trip_ms: Option<f64>,
    /// See `phone_round_trip_ms`.
    pub agent_round_trip_ms: Option<f64>,
    /// End-to-end delay of sound between the phone company and the agent, in milliseconds: half of both round trips and
    /// what waits here. Budget: 150.
    pub to_agent_delay_ms: Option<f64>,
    /// See `to_agent_delay_ms`.
    pub to_caller_delay_ms: Option<f64>,
}

impl TimelineKind {
    /// The name of the kind, for lists and filters; it says nothing about the patient.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PhoneConnected => "phone_connected",
            Self::AgentConnected { .. } => "agent_connected",
            Self::AgentFailed { .. } => "agent_failed",
            Self::AgentError { .. } => "agent_error",
            Self::UserTranscript { .. } => "user_transcript",
            Self::AgentResponse { .. } => "agent_response",
            Self::AgentCorrection { .. } => "agent_correction",
            Self::AgentTurnPlayed { .. } => "agent_turn_played",
            Self::Interruption { .. } => "interruption",
            Self::ToolCall { .. } => "tool_call",
            Self::ToolResult { .. } => "tool_result",
            Self::Dtmf { .. } => "dtmf",
            Self::TaskStarted { .. } => "task_started",
            Self::TaskEnded { .. } => "task_ended",
            Self::TaskRetry { .. } => "task_retry",
            Self::Identified { .. } => "identified",
            Self::Consent { .. } => "consent",
            // What it says about the patient is in the sealed part only.
            Self::AnswerNoted { .. } => "clinical_note",
            Self::RedFlag { .. } => "clinical_note",
            Self::LanguageChanged { .. } => "language_changed",
            Self::TransferRequested => "transfer_requested",
            Self::TransferFailed => "transfer_failed",
            Self::RecordingErased => "recording_erased",
            Self::GapPadded { .. } => "gap_padded",
            Self::PeerProblem { .. } => "peer_problem",
            Self::AudioDropped { .. } => "audio_dropped",
            Self::AudioQuality(_) => "audio_quality",
            Self::Ended { .. } => "ended",
        }
    }
}

/// A stretch of the patient track, in milliseconds of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First millisecond.
    pub start_ms: u64,
    /// One past the last millisecond.
    pub end_ms: u64,
}

/// An analysed part of the patient's voice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Number within the call, from 0, in order of completion.
    pub index: u32,
    /// `speech`, `counting` or `sustained-vowel`.
    pub task: String,
    /// The stretches of the patient track it was computed from, in order.
    pub spans: Vec<Span>,
    /// The biomarker result, in the form of the outer contract (`measures`, `quality`, `validity`, …).
    pub report: serde_json::Value,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_timeline_entry_is_flat_json() {
        let event = TimelineEvent { at_us: 12_340_000, kind: TimelineKind::Dtmf { digit: '1' } };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json, serde_json::json!({"at_us": 12_340_000, "event": "dtmf", "digit": "1"}));
        assert_eq!(serde_json::from_value::<TimelineEvent>(json).unwrap(), event);
    }

    #[test]
    fn outcome_names_round_trip_and_agree_with_json() {
        for outcome in
            [CallOutcome::InProgress, CallOutcome::NoAnswer, CallOutcome::Interrupted, CallOutcome::HandedOver]
        {
            assert_eq!(CallOutcome::parse(outcome.as_str()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        assert_eq!(CallOutcome::parse("done"), None);
    }

    #[test]
    fn the_kind_name_is_the_json_tag() {
        let kind = TimelineKind::ToolResult {
            tool_call_id: "t".into(),
            name: "n".into(),
            result: "{}".into(),
            is_error: false,
        };
        assert_eq!(serde_json::to_value(&kind).unwrap()["event"], kind.name());
    }
}
