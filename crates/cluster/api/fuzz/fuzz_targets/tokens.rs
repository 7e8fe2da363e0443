//! Any bytes as a bearer token.
#![no_main]

#[path = "../harness/cluster.rs"]
mod cluster;
#[path = "../harness/tokens.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
