//! Any rows in the database of a store.
#![no_main]

#[path = "../harness/records.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
