//! Any objects, and any answer of a conversion webhook.
#![no_main]

#[path = "../harness/conversions.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
