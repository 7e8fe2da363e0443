//! Any expressions as a rule and its message, over any values.
#![no_main]

#[path = "../harness/rules.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
