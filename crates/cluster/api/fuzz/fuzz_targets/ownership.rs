//! Any object and any configuration that is applied to it.
#![no_main]

#[path = "../harness/ownership.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
