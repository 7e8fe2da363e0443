//! Any object and any patch of it, in three formats.
#![no_main]

#[path = "../harness/patches.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
