//! Which cipher a connection gets, and that clients with few of them get one.

use rustls::crypto::ring::{ALL_CIPHER_SUITES, cipher_suite as suites};
use rustls::{CipherSuite, SupportedCipherSuite};

use crate::raw::Raw;
use crate::support::World;

/// What a client gets that names these in this order.
async fn got(world: &World, named: &[SupportedCipherSuite]) -> CipherSuite {
    let mut raw = Raw::open_naming(world, named).await;
    let chosen = raw.0.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    raw.request("GET /readyz", "").await;
    assert!(raw.head().await.starts_with("http/1.1 200"), "{chosen:?}");
    chosen
}

#[tokio::test]
async fn clients_that_have_aes_get_it_with_the_shorter_key_and_others_what_they_like_best() {
    let world = World::start().await;
    let (short, long) = (suites::TLS13_AES_128_GCM_SHA256, suites::TLS13_AES_256_GCM_SHA384);
    let chacha = suites::TLS13_CHACHA20_POLY1305_SHA256;
    let old = suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let old_long = suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    let cases: [(&[SupportedCipherSuite], SupportedCipherSuite); 6] = [
        (ALL_CIPHER_SUITES, short),
        (&[long, chacha, short], short),
        (&[chacha, long, short], chacha),
        (&[long], long),
        (&[old_long, old], old),
        (&[old_long], old_long),
    ];
    for (named, expected) in cases {
        assert_eq!(got(&world, named).await, expected.suite(), "{named:?}");
    }
}
