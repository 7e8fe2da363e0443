//! Any text as a seccomp profile.
#![no_main]

#[path = "../harness/seccomp.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
