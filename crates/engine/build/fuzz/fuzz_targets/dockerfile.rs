//! Any bytes as a Dockerfile, and what it says as triggers of another.
#![no_main]

#[path = "../harness/dockerfile.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
