//! A small server of documents.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use hako_api::pki::KeyPair;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

/// Tells what is at a path, until the process ends.
pub fn serve(listener: TcpListener, pair: &KeyPair, document: impl Fn(&str) -> Value + Send + 'static) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let chain =
        CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).map(|one| one.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let config = Arc::new(builder.with_single_cert(chain, key).expect("a certificate"));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
            while let Some(path) = asked(&mut stream) {
                let text = document(&path).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                if stream.get_mut().write_all((head + &text).as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
}

/// The path of the next request, which has no body.
fn asked(stream: impl std::io::BufRead) -> Option<String> {
    let mut lines = stream.lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(|line| line.is_empty())?;
    first.split(' ').nth(1).map(str::to_owned)
}
