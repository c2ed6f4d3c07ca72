//! Prints one message per line of every kind the agent client can send, in all variants.
//!
//! The output can be compiled against the vendor's published message types:
//! `cargo run -p call --example print_frames > frames.jsonl`.

use std::collections::BTreeMap;

use call::agent::elevenlabs::{
    DynamicValue, Init, write_audio, write_contextual_update, write_init, write_mcp_approval, write_pong,
    write_tool_result, write_user_activity, write_user_message,
};

fn main() {
    let mut frames: Vec<String> = Vec::new();
    let mut add = |write: &dyn Fn(&mut String)| {
        let mut out = String::new();
        write(&mut out);
        frames.push(out);
    };

    for init in openings() {
        add(&|out| write_init(out, &init));
    }
    for bytes in [&[][..], &[0xff], &[0xff; 160], &[0x00, 0x7f, 0x80, 0xfe]] {
        add(&|out| write_audio(out, bytes));
    }
    for id in [0, 12, i64::from(u32::MAX)] {
        add(&|out| write_pong(out, id));
    }
    for is_error in [false, true] {
        add(&|out| write_tool_result(out, "tc_1", r#"{"stored":true}"#, is_error));
        add(&|out| write_tool_result(out, "tc_2", "", is_error));
        add(&|out| write_mcp_approval(out, "m_1", !is_error));
    }
    for context_id in [None, Some("scale")] {
        add(&|out| write_contextual_update(out, "Scale reading received: 182.4 lb", context_id));
    }
    add(&|out| write_user_message(out, "¿Caller pressed \"1\"\n\ton the keypad? \u{1}\u{2028}😀\\"));
    add(&write_user_activity);

    for frame in frames {
        println!("{frame}");
    }
}

/// Every combination of the optional parts of the first message.
fn openings() -> Vec<Init> {
    let variables = BTreeMap::from([
        ("patient_name".to_owned(), DynamicValue::from("Ada \"A\" O'Hara")),
        ("last_weight_lb".to_owned(), DynamicValue::from(182.5)),
        ("visits".to_owned(), DynamicValue::from(3.0)),
        ("unknown_number".to_owned(), DynamicValue::from(f64::NAN)),
        ("on_diuretic".to_owned(), DynamicValue::from(true)),
    ]);
    let mut openings = Vec::new();
    for choice in 0..16_u32 {
        openings.push(Init {
            dynamic_variables: if choice & 1 == 0 { BTreeMap::new() } else { variables.clone() },
            user_id: (choice & 2 != 0).then(|| "patient-7".to_owned()),
            language: (choice & 4 != 0).then(|| "es".to_owned()),
            first_message: (choice & 8 != 0).then(|| "Buenos días, {{patient_name}}.".to_owned()),
        });
    }
    openings
}
