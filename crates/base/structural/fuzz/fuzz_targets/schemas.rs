//! Any schema, and any objects by it.
#![no_main]

#[path = "../harness/schemas.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
