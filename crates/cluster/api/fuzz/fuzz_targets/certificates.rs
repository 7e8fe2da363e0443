//! Any bytes as certificates, keys and requests for them in objects.
#![no_main]

#[path = "../harness/cluster.rs"]
mod cluster;
#[path = "../harness/certificates.rs"]
mod harness;
#[path = "../harness/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::run(data));
