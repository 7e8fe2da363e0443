//! Any bytes as a request of the control service to build.
#![no_main]

#[path = "../harness/solves.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
