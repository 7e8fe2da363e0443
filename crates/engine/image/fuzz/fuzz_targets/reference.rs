//! Any bytes as an image's name.
#![no_main]

#[path = "../harness/reference.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
