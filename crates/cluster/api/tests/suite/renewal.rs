//! Certificates that are renewed while they are used.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hako_api::pki::{Lifetimes, Pki, ServerNames};
use hako_api::{Identity, Server, ServerConfig};
use hako_client::Tls;
use hako_store::Embedded;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a server shows at a handshake, which has to succeed.
async fn shown(address: (Ipv4Addr, u16), pki: &Pki) -> CertificateDer<'static> {
    let admin = pki.admin_now();
    let identity = Some((admin.certificate.as_bytes(), admin.key.as_bytes()));
    let tls = Tls::from_pem(pki.ca().as_bytes(), identity).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::from(IpAddr::V4(address.0));
    let stream = TlsConnector::from(tls.config()).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_shows_a_new_certificate_before_the_old_one_ends_and_no_handshake_fails() {
    let dir = tempfile::tempdir().unwrap();
    // Good for long enough for a slow machine, and near its end at once.
    let lifetimes =
        Lifetimes { certificate: Duration::from_secs(600), renew_before: Duration::from_secs(598) };
    let pki = Pki::open_with(&dir.path().join("pki"), &ServerNames::default(), lifetimes).unwrap();
    let pki = Arc::new(pki);
    let store = Arc::new(Embedded::open(dir.path().join("store")).unwrap());
    let server = Server::new(ServerConfig::new(store, Arc::clone(&pki))).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener).await });

    let mut renewals = pki.renewals();
    let first = shown(address, &pki).await;
    let began = Instant::now();
    let mut seen = vec![first];
    while seen.len() < 3 {
        let now = shown(address, &pki).await;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{} certificates", seen.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(renewals.has_changed().unwrap());
    renewals.mark_unchanged();
    let file = std::fs::read(dir.path().join("pki/apiserver.crt")).unwrap();
    let of_file = CertificateDer::from_pem_slice(&file).unwrap();
    assert!(of_file == shown(address, &pki).await || renewals.has_changed().unwrap());
    assert!(server.client(Identity::admin()).get_text("/readyz").await.is_ok());
    server.stop();
}
