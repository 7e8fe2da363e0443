//! HTTP/2 or 1.1 over TLS with a client certificate; one connection carries everything.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hako_error::Result;
use hako_trust::Fault;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::ClientError;
use crate::kubeconfig::Kubeconfig;
use crate::transport::{Body, Transport};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the TLS side of a connection needs.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// From PEM: authorities to trust, and the certificate and key to show.
    pub fn from_pem(ca: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Self> {
        let config = tls_config(ca, identity)
            .map_err(|problem| ClientError::Kubeconfig { path: "of this client".into(), problem })?;
        Ok(Self { config: Arc::new(config) })
    }

    /// Trusts whom the machine trusts.
    #[must_use]
    pub fn of_machine() -> Self {
        let mut config = hako_trust::client(hako_trust::machine_and(&[])).with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Self { config: Arc::new(config) }
    }

    /// As a rustls configuration says.
    #[must_use]
    pub fn of(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }

    /// The rustls configuration, for connections that are not the API's.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

fn tls_config(ca: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<ClientConfig, String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let trusted = match hako_trust::read(ca) {
        Err(Fault::Empty) => Vec::new(),
        other => other.map_err(|error| text(&error))?,
    };
    let builder = hako_trust::client(hako_trust::only(&trusted));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| text(&error))?;
            builder
                .with_client_auth_cert(chain.map_err(|error| text(&error))?, key)
                .map_err(|error| text(&error))?
        }
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// The transport to a server elsewhere. Connects on the first call and again whenever it has to.
pub struct HttpTransport {
    client: HyperClient<Connector, Full<Bytes>>,
    authority: Authority,
    scheme: Scheme,
    token: Option<header::HeaderValue>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("server", &self.authority).finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// A transport to `server` (`https://host:port`); without `tls` it has to be `http://`.
    pub fn new(server: &str, tls: Option<Tls>, token: Option<&str>) -> Result<Self> {
        Self::build(server, tls, token, None)
    }

    /// The same to a server whose name is not where connections go: `dial` opens them.
    pub fn dialing(server: &str, tls: Option<Tls>, dial: Dial) -> Result<Self> {
        Self::build(server, tls, None, Some(dial))
    }

    fn build(server: &str, tls: Option<Tls>, token: Option<&str>, dial: Option<Dial>) -> Result<Self> {
        let problem = |problem: &str| ClientError::Kubeconfig {
            path: format!("server {server:?}"),
            problem: problem.to_owned(),
        };
        let uri: Uri = server.parse().map_err(|_| problem("is no URL; write https://host:port"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned()) else {
            return Err(problem("is no URL; write https://host:port").into());
        };
        if scheme == Scheme::HTTPS && tls.is_none() {
            return Err(problem("needs a certificate authority").into());
        }
        let token = token.map(|token| format!("Bearer {token}").parse());
        let mut token: Option<header::HeaderValue> =
            token.transpose().map_err(|_| problem("has a token that is no header value"))?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        let client = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .http2_adaptive_window(true)
            .build(Connector { tls, dial });
        Ok(Self { client, authority, scheme, token })
    }

    /// A transport as a kubeconfig's context says.
    pub fn from_kubeconfig(config: &Kubeconfig) -> Result<Self> {
        let identity = config.identity.as_ref().map(|(certificate, key)| (&certificate[..], &key[..]));
        let tls = config.ca.as_deref().map(|ca| Tls::from_pem(ca, identity)).transpose()?;
        Self::new(&config.server, tls, config.token.as_deref())
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|source| ClientError::Request { path: self.authority.to_string(), source })?;
        if let Some(token) = &self.token {
            parts.headers.insert(header::AUTHORIZATION, token.clone());
        }
        let server = self.authority.to_string();
        let response = match self.client.request(Request::from_parts(parts, Full::new(body))).await {
            Ok(response) => response,
            Err(source) if source.is_connect() => {
                return Err(ClientError::Connect { server, source: source.into() }.into());
            }
            Err(source) => {
                return Err(ClientError::Call { server, source: source.into() }.into());
            }
        };
        Ok(response.map(|body| {
            body.map_err(move |source| {
                ClientError::Call { server: server.clone(), source: source.into() }.into()
            })
            .boxed_unsync()
        }))
    }
}

impl Transport for HttpTransport {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>>> {
        self.send(request).boxed()
    }
}

/// Opens a connection to where a server is, whatever it is called.
pub type Dial = Arc<dyn Fn() -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// Opens TCP and, for https, TLS.
#[derive(Clone)]
struct Connector {
    tls: Option<Tls>,
    dial: Option<Dial>,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone().filter(|_| uri.scheme() == Some(&Scheme::HTTPS));
        let dial = self.dial.clone();
        Box::pin(async move {
            tokio::time::timeout(CONNECT_LIMIT, connect(uri, tls, dial))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}

async fn connect(uri: Uri, tls: Option<Tls>, dial: Option<Dial>) -> io::Result<TokioIo<Stream>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let tcp = match dial {
        Some(dial) => dial().await?,
        None => TcpStream::connect((host.as_str(), port)).await?,
    };
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(TokioIo::new(Stream::Plain(tcp)));
    };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls.config).connect(name, tcp).await?;
    Ok(TokioIo::new(Stream::Tls(Box::new(stream))))
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self {
            Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            _ => connected,
        }
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
