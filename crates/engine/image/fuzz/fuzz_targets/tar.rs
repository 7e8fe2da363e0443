//! Any bytes as a layer, compressed or not.
#![no_main]

#[path = "../harness/tar.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
