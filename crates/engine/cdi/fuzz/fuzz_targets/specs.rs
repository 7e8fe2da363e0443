//! Any text as a vendor's file.
#![no_main]

#[path = "../harness/specs.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
