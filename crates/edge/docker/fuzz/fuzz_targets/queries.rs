//! Any text as a query.
#![no_main]

#[path = "../harness/queries.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
