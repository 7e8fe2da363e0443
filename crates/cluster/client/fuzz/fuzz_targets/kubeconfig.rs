//! Any bytes as a kubeconfig.
#![no_main]

#[path = "../harness/kubeconfig.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
