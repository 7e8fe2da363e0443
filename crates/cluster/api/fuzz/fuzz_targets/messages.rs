//! Any JSON as an object in protobuf.
#![no_main]

#[path = "../harness/messages.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
