//! Any bytes as a file that configures the server.
#![no_main]

#[path = "../harness/configurations.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
