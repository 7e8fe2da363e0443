//! Connections by hand.

use std::sync::Arc;
use std::time::Duration;

use hako_api::pki::KeyPair;
use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{ALL_CIPHER_SUITES, default_provider};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::World;

/// Long enough for what has to come and never awaited in full when it does.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Short enough to be waited for.
pub const SHORT: Duration = Duration::from_millis(200);

/// A connection on which a test writes what it likes, as anybody or nobody.
pub struct Raw(pub TlsStream<TcpStream>);

impl Raw {
    pub async fn open(world: &World, is_admin: bool, protocol: &str) -> Self {
        Self::open_as(world, is_admin.then(|| world.pki.admin()), protocol).await
    }

    pub async fn open_as(world: &World, pair: Option<&KeyPair>, protocol: &str) -> Self {
        Self::connect(world, pair, protocol, ALL_CIPHER_SUITES).await
    }

    /// As the administrator, with these ciphers.
    pub async fn open_naming(world: &World, suites: &[SupportedCipherSuite]) -> Self {
        Self::connect(world, Some(world.pki.admin()), "http/1.1", suites).await
    }

    async fn connect(
        world: &World,
        pair: Option<&KeyPair>,
        protocol: &str,
        suites: &[SupportedCipherSuite],
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(world.pki.ca().as_bytes()).unwrap()).unwrap();
        let provider = CryptoProvider { cipher_suites: suites.to_vec(), ..default_provider() };
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => builder
                .with_client_auth_cert(
                    CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).map(Result::unwrap).collect(),
                    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
                )
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let tcp = TcpStream::connect(world.url.trim_start_matches("https://")).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Self(TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap())
    }

    pub async fn admin(world: &World) -> Self {
        Self::open(world, true, "http/1.1").await
    }

    pub async fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
        self
    }

    pub async fn request(&mut self, line: &str, headers: &str) -> &mut Self {
        self.send(&format!("{line} HTTP/1.1\r\nHost: api\r\n{headers}\r\n")).await
    }

    /// The head of the next answer, in lower case.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(DEADLINE, read).await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// The body behind a head, as far as it has come.
    pub async fn rest(&mut self) -> String {
        let mut bytes = vec![0; 64 << 10];
        let read = self.0.read(&mut bytes);
        let length = tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    pub async fn status(&mut self) -> u16 {
        self.head().await.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits until the server has closed the connection, whatever it says before.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = tokio::time::timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.unwrap();
    }
}
