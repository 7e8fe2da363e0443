//! Any text as a token of an OpenID Connect issuer, and any text as what it signs.
#![no_main]

#[path = "../harness/claims.rs"]
mod claims;
#[path = "../harness/cluster.rs"]
mod cluster;
#[path = "../harness/issuer.rs"]
mod issuer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| claims::run(data));
