//! Any text as the body of a container that is to be made.
#![no_main]

#[path = "../harness/containers.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
