//! Answers of webhooks, and the patches in them.
#![no_main]

#[path = "../harness/reviews.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
