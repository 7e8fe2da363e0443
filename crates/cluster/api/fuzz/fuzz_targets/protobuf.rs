//! Any bytes as an object in protobuf.
#![no_main]

#[path = "../harness/protobuf.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
