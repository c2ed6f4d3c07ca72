//! The target is in crates/call/tests/fuzzing/targets.rs.
#![no_main]
#![allow(dead_code)]

#[path = "../../crates/call/tests/fuzzing/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::tickets(data);
});
