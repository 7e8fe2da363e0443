//! Any bytes as the packets of a client's tree.
#![no_main]

#[path = "../harness/trees.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
