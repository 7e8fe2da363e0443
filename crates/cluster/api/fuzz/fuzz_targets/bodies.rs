//! Any bytes as an object in JSON and in YAML.
#![no_main]

#[path = "../harness/bodies.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
