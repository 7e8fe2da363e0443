//! Any bytes as an expression and what it is about.
#![no_main]

#[path = "../harness/expressions.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
