//! TCP and TLS to a registry.

use super::error::{Cause, RemoteError};
use super::{PlainHttp, RemoteOptions};
use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The TLS configuration, made when the first https connection needs it.
#[derive(Debug)]
pub(super) struct Tls {
    authorities: Vec<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    is_unverified: bool,
    config: Mutex<Option<Arc<ClientConfig>>>,
}

impl Tls {
    pub(super) fn new(options: &RemoteOptions) -> Self {
        Self {
            authorities: options.ca_files.clone(),
            client: options.client.clone(),
            is_unverified: options.skip_tls_verify,
            config: Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, RemoteError> {
        let mut config = self.config.lock();
        if let Some(config) = &*config {
            return Ok(config.clone());
        }
        let made = Arc::new(self.make()?);
        *config = Some(made.clone());
        Ok(made)
    }

    fn make(&self) -> Result<ClientConfig, RemoteError> {
        let verifier = match self.is_unverified {
            true => hako_trust::anyone(),
            false => hako_trust::machine_and(&self.trusted()?),
        };
        let config = hako_trust::client(verifier);
        let mut config = match &self.client {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, secret) =
                    (read_own(certificate, pem_chain)?, read_own(key, PrivateKeyDer::from_pem_slice)?);
                let failed = |error: rustls::Error| RemoteError::Client {
                    path: certificate.clone(),
                    source: error.into(),
                };
                config.with_client_auth_cert(chain, secret).map_err(failed)?
            }
        };
        // One connection a layer: parallel downloads share no window and no head of line.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, RemoteError> {
        let mut trusted = Vec::new();
        for path in &self.authorities {
            let failed = |source: Cause| RemoteError::Authority { path: path.clone(), source };
            let pem = std::fs::read(path).map_err(|error| failed(error.into()))?;
            trusted.append(&mut hako_trust::read(&pem).map_err(|fault| failed(fault.into()))?);
        }
        Ok(trusted)
    }
}

/// What one of our own files has in PEM form.
fn read_own<T>(
    path: &Path,
    read: impl FnOnce(&[u8]) -> Result<T, rustls_pki_types::pem::Error>,
) -> Result<T, RemoteError> {
    let failed = |source: Cause| RemoteError::Client { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(|error| failed(error.into()))?;
    read(&pem).map_err(|error| failed(error.into()))
}

fn pem_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// Whether a host can only be this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl PlainHttp {
    /// Whether plain HTTP may be spoken to `host` when it has no TLS.
    pub(super) fn allows(self, host: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => is_loopback(host),
            Self::Allowed | Self::Only => true,
        }
    }
}

/// Whether a failed connection means that the other side does not speak TLS at all.
pub(super) fn is_not_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    find(error, |error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
    })
}

/// Whether a failed connection means that the certificate or the handshake was refused.
pub(super) fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    find(error, |_: &rustls::Error| true)
}

/// A name without an address. Asking again a moment later helps nobody who is offline.
#[derive(Debug, thiserror::Error)]
#[error("its name cannot be resolved")]
struct NoAddress(#[source] io::Error);

/// Whether a connection failed before it was tried, for want of an address.
pub(super) fn is_no_address(error: &(dyn std::error::Error + 'static)) -> bool {
    find(error, |_: &NoAddress| true)
}

/// Looks for an error of type `E` in a chain of causes, also inside `io::Error`s.
fn find<E: std::error::Error + 'static>(
    error: &(dyn std::error::Error + 'static),
    is_it: impl Fn(&E) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<E>());
        if error.downcast_ref::<E>().or(inner).is_some_and(&is_it) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Opens TCP and, for https, TLS.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) tls: Arc<Tls>,
    pub(super) limit: Duration,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (tls, limit) = (self.tls.clone(), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connect(uri, &tls)).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

async fn connect(uri: Uri, tls: &Tls) -> Result<TokioIo<Stream>, Cause> {
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let addresses: Vec<_> =
        tokio::net::lookup_host((host.as_str(), port)).await.map_err(NoAddress)?.collect();
    let tcp = TcpStream::connect(&*addresses).await?;
    tcp.set_nodelay(true)?;
    if !is_tls {
        return Ok(TokioIo::new(Stream::Plain(tcp)));
    }
    let name = ServerName::try_from(host)?;
    let stream = TlsConnector::from(tls.config()?).connect(name, tcp).await?;
    Ok(TokioIo::new(Stream::Tls(Box::new(stream))))
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl tokio::io::AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl tokio::io::AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    /// Without it what is sent would be copied to be in one piece with its length.
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "128.0.0.1", "10.0.0.1", "127.0.0.1.nip.io", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
