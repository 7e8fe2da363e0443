//! Any bytes as a question, and as what an upstream says.
#![no_main]

#[path = "../harness/messages.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
