//! Any bytes as a message of a remote command.
#![no_main]

#[path = "../harness/channels.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
