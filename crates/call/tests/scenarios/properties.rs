//! Whatever comes in whatever order: the engine does not panic, does not speak before `start`, does not play what was
//! interrupted, and ends once.

use crate::world::World;
use call::Input;
use call::agent::{AgentClose, ConnectFailure};
use proptest::prelude::*;
use serde_json::json;

#[derive(Debug, Clone)]
enum Step {
    Wait(u16),
    PhoneStarts,
    Frame { gap_ms: u16, size: u16 },
    FrameAt { timestamp_ms: Option<u64>, size: u16 },
    PhoneText(String),
    Dtmf(char),
    EchoOddMark(String),
    Stop,
    PhoneClosed,
    CallEnded,
    AgentOpens,
    Metadata(usize, usize),
    Audio { event_id: i64, ms: u16 },
    Interruption(Option<i64>),
    Transcript,
    Complete(i64),
    Queue(bool),
    ToolCall(u8, usize),
    AnswerTools,
    EndCall,
    AgentText(String),
    AgentClosed(u16),
    AgentVanished,
    ConnectFailed(u16),
    HangUp,
}

const FORMATS: [&str; 5] = ["ulaw_8000", "pcm_16000", "pcm_24000", "pcm_22050", "mp3_44100"];
const TOOLS: [(&str, &str); 4] =
    [("start_task", r#"{"task":"counting"}"#), ("end_task", "{}"), ("record_answer", "7"), ("nonsense", "{}")];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u16..2_000).prop_map(Step::Wait),
        2 => Just(Step::PhoneStarts),
        8 => (0_u16..400, 0_u16..700).prop_map(|(gap_ms, size)| Step::Frame { gap_ms, size }),
        1 => (any::<Option<u64>>(), 0_u16..700).prop_map(|(timestamp_ms, size)| Step::FrameAt { timestamp_ms, size }),
        1 => ".{0,60}".prop_map(Step::PhoneText),
        1 => prop::sample::select(vec!['0', '9', '#', '*']).prop_map(Step::Dtmf),
        1 => "t[0-9]:[0-9]{1,4}".prop_map(Step::EchoOddMark),
        1 => Just(Step::Stop),
        1 => Just(Step::PhoneClosed),
        1 => Just(Step::CallEnded),
        3 => Just(Step::AgentOpens),
        3 => (0..FORMATS.len(), 0..FORMATS.len()).prop_map(|(o, i)| Step::Metadata(o, i)),
        8 => (-1_i64..8, 1_u16..3_000).prop_map(|(event_id, ms)| Step::Audio { event_id, ms }),
        3 => prop::option::of(-1_i64..8).prop_map(Step::Interruption),
        1 => Just(Step::Transcript),
        1 => (-1_i64..8).prop_map(Step::Complete),
        1 => any::<bool>().prop_map(Step::Queue),
        2 => (0_u8..6, 0..TOOLS.len()).prop_map(|(id, tool)| Step::ToolCall(id, tool)),
        2 => Just(Step::AnswerTools),
        1 => Just(Step::EndCall),
        1 => ".{0,60}".prop_map(Step::AgentText),
        1 => prop::sample::select(vec![1000_u16, 1002, 1008, 1011, 3008]).prop_map(Step::AgentClosed),
        1 => Just(Step::AgentVanished),
        1 => prop::sample::select(vec![0_u16, 401, 429, 503]).prop_map(Step::ConnectFailed),
        1 => Just(Step::HangUp),
    ]
}

/// The reply whose audio a byte belongs to, so that stale audio shows: `marker(id, generation)`.
fn marker(event_id: i64, generation: u8) -> u8 {
    ((event_id + 1) as u8 & 0x0F) << 4 | (generation & 0x0F)
}

fn apply(world: &mut World, step: &Step, generation: &mut u8, started: &mut bool) {
    match step {
        Step::Wait(ms) => world.run_ms(u64::from(*ms)),
        Step::PhoneStarts => {
            *started = true;
            world.phone_starts();
        }
        Step::Frame { gap_ms, size } => {
            world.lose_ms(u64::from(*gap_ms));
            world.frame(&vec![0x7E; usize::from(*size)]);
        }
        Step::FrameAt { timestamp_ms, size } => world.frame_at(*timestamp_ms, &vec![0x7E; usize::from(*size)]),
        Step::PhoneText(text) => world.phone_text(text),
        Step::Dtmf(digit) => {
            world.phone_says(json!({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit.to_string()}}));
        }
        Step::EchoOddMark(name) => world.phone_says(json!({"event": "mark", "mark": {"name": name}})),
        Step::Stop => world.phone_says(json!({"event": "stop"})),
        Step::PhoneClosed => world.input(Input::PhoneClosed),
        Step::CallEnded => world.input(Input::CallEnded),
        Step::AgentOpens => world.agent_opens(),
        Step::Metadata(output, input) => world.metadata(FORMATS[*output], FORMATS[*input]),
        Step::Audio { event_id, ms } => world.agent_audio(*event_id, u64::from(*ms), marker(*event_id, *generation)),
        Step::Interruption(Some(id)) => {
            *generation += 1;
            world.interruption(*id);
        }
        Step::Interruption(None) => {
            world.agent_says(&json!({"type": "interruption", "interruption_event": {}}));
        }
        Step::Transcript => world.user_transcript("yes"),
        Step::Complete(id) => world
            .agent_says(&json!({"type": "agent_response_complete", "agent_response_complete_event": {"event_id": id}})),
        Step::Queue(waiting) => {
            let status = if *waiting { "waiting" } else { "admitted" };
            world.agent_says(&json!({"type": "queue_status", "queue_status_event": {"status": status}}));
        }
        Step::ToolCall(id, tool) => {
            let (name, parameters) = TOOLS[*tool];
            let parameters: serde_json::Value = serde_json::from_str(parameters).unwrap();
            world.agent_says(&json!({"type": "client_tool_call", "client_tool_call": {"tool_name": name,
                "tool_call_id": format!("tc_{id}"), "parameters": parameters, "event_id": 7}}));
        }
        Step::AnswerTools => {
            for (id, name, parameters) in std::mem::take(&mut world.tool_calls) {
                world.input(Input::ToolDone { id: &id, outcome: crate::world::run_tool(&name, &parameters) });
            }
        }
        Step::EndCall => world.end_call_tool(),
        Step::AgentText(text) => world.input(Input::AgentText(text)),
        Step::AgentClosed(code) => world.agent_closes_with(*code),
        Step::AgentVanished => world.input(Input::AgentClosed(AgentClose::NoFrame)),
        Step::ConnectFailed(0) => world.agent_unreachable(ConnectFailure::Timeout),
        Step::ConnectFailed(status) => world.agent_unreachable(ConnectFailure::Http { status: *status }),
        Step::HangUp => world.input(Input::HangUp),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    /// `World` itself asserts that nothing is sent before `start` and that no deadline lies in the past.
    #[test]
    fn any_order_of_events_is_survived_and_ends_once(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        let (mut generation, mut started) = (0, false);
        for step in &steps {
            apply(&mut world, step, &mut generation, &mut started);
        }
        world.input(Input::PhoneClosed);
        prop_assert!(world.ended().is_some());
        prop_assert_eq!(world.done.len(), 1);
        prop_assert_eq!(world.phone_closes.len(), 1);
        // Marks are unique for the whole stream.
        let mut names: Vec<String> = world.to_phone.iter().filter(|s| s.event() == "mark")
            .map(|s| s.message["mark"]["name"].to_string()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), count);
        // Every tool request was answered at most once.
        let mut ids: Vec<String> = world.sent_to_agent("client_tool_result").iter()
            .map(|m| m["tool_call_id"].to_string()).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), count);
        // What was heard is never more than what was sent.
        for (_, sent_ms, heard_ms, _) in world.played() {
            prop_assert!(heard_ms <= sent_ms);
        }
    }

    /// With the telephone's own format, bytes carry the reply and the number of interruptions before they were sent
    /// by the agent: nothing buffered at an interruption, and nothing stale after it, is ever sent to the phone.
    #[test]
    fn audio_of_an_interrupted_turn_is_never_played(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::bridged();
        let (mut generation, mut started) = (0, true);
        let mut boundary: Option<i64> = None;
        for step in &steps {
            if matches!(step, Step::Metadata(..)) {
                continue;
            }
            let before = world.to_phone.len();
            let live = world.done.is_empty();
            let interruptions = world.count("interruption");
            apply(&mut world, step, &mut generation, &mut started);
            if matches!(step, Step::Interruption(Some(_))) && world.count("interruption") == interruptions {
                // The agent was gone already: what it left, a goodbye for example, plays on.
                generation -= 1;
            } else if let Step::Interruption(Some(id)) = step {
                boundary = Some(boundary.map_or(*id, |old| old.max(*id)));
                if generation > 15 {
                    break;
                }
                if live {
                    prop_assert!(world.to_phone.len() <= before + 1, "only the clear");
                }
            }
            for sent in world.to_phone[before..].iter().filter(|sent| sent.event() == "media") {
                for byte in sent.audio() {
                    let event_id = i64::from(byte >> 4) - 1;
                    prop_assert_eq!(byte & 0x0F, generation & 0x0F, "audio from before the interruption");
                    prop_assert!(boundary.is_none_or(|id| event_id >= id), "stale reply {} after {:?}", event_id, boundary);
                }
            }
        }
    }
}
