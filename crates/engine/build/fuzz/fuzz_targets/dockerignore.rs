//! Any bytes as a .dockerignore, for the name that its last line gives.
#![no_main]

#[path = "../harness/dockerignore.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
