//! Any bytes as a snapshot of a store.
#![no_main]

#[path = "../harness/snapshots.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
