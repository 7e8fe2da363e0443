//! Any bytes as a word with variables, a heredoc and a mode.
#![no_main]

#[path = "../harness/expand.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
