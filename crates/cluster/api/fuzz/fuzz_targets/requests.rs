//! Any request of a client that may do all.
#![no_main]

#[path = "../harness/cluster.rs"]
mod cluster;
#[path = "../harness/requests.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
