//! Whole recordings: the target is in crates/voice/tests/fuzzing/targets.rs.
#![no_main]
#![allow(dead_code)]

#[path = "../../crates/voice/tests/fuzzing/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::whole_audio(data);
});
