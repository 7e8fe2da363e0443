//! Any bytes as a connection of SPDY.
#![no_main]

#[path = "../harness/frames.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
