//! Any text as the registry's configuration.
#![no_main]

#[path = "../harness/configuration.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
