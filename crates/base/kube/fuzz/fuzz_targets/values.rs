//! Any bytes as a quantity, a time, a schedule and a text in a URL.
#![no_main]

#[path = "../harness/values.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
