//! Any bytes in place of a sealed value.
#![no_main]

#[path = "../harness/sealed.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
