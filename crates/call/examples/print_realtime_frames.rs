//! Prints one message per line of every kind our client sends to OpenAI's Realtime API.
//!
//! The output can be validated with the models of the vendor's own client:
//! `cargo run -p call --example print_realtime_frames > frames.jsonl`.

use call::agent::{RealtimeSession, RealtimeSetup};
use clinic::agent::{AgentText, realtime_instructions, realtime_tools};
use clinic::protocol::Protocol;

fn main() {
    for language in ["en", "es", ""] {
        print(language);
    }
}

/// A session in which everything happens once.
fn print(language: &str) {
    let text = AgentText::from_protocol(&Protocol::shipped());
    let mut session = RealtimeSession::new(RealtimeSetup {
        instructions: realtime_instructions(&text, "Ada \"A\" O'Hara", language),
        tools: realtime_tools(&text).into_iter().map(Into::into).collect(),
        language: language.to_owned(),
        voice: "marin".to_owned(),
        transcription_model: "gpt-4o-mini-transcribe".to_owned(),
    });
    session.hello();
    session.open_with("¿Hello? \u{1}\u{2028}😀\\ \"quoted\"");
    take(&mut session);
    for message in [
        r#"{"type":"session.updated","session":{"audio":{"input":{"format":{"type":"audio/pcmu"}},"output":{"format":{"type":"audio/pcmu"}}}}}"#,
        r#"{"type":"response.created","response":{"id":"resp_1"}}"#,
        r#"{"type":"response.output_audio.delta","response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,"delta":"/////////////////////////////////////////////////////////////////w=="}"#,
        r#"{"type":"response.done","response":{"id":"resp_1","status":"completed"}}"#,
    ] {
        if session.parse(message).is_err() {
            eprintln!("not understood: {message}");
        }
        take(&mut session);
    }
    session.interrupted(2);
    session.context("step", "Next: weight. Say: \"How much do you weigh?\"");
    session.context("step", "Next: consent.");
    session.tool_result("call_1", r#"{"stored":true}"#, false);
    session.tool_result("call_2", "", true);
    take(&mut session);
    session.user_message("The caller pressed 1.\n");
    take(&mut session);
    for bytes in [&[][..], &[0xff], &[0xff; 160]] {
        let mut out = String::new();
        session.write_audio(&mut out, bytes);
        println!("{out}");
    }
}

fn take(session: &mut RealtimeSession) {
    for frame in session.frames() {
        println!("{frame}");
    }
}
