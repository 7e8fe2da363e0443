//! Any bytes as a selector of labels and of fields.
#![no_main]

#[path = "../harness/selectors.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
