//! One HTTP request to a container, over a connection of its own.

use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpRequest {
    /// Address or name to connect to.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    /// Whether over TLS; the certificate is not verified, as the container is who was started here.
    pub(crate) is_https: bool,
    /// Further headers.
    pub(crate) headers: Vec<(String, String)>,
}

impl HttpRequest {
    fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn request(&self) -> Result<Request<Empty<bytes::Bytes>>, http::Error> {
        let path = if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) };
        let mut request = Request::get(path)
            .header(header::HOST, self.authority())
            .header(header::USER_AGENT, "kube-probe/1.36")
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .body(Empty::new())?;
        for (name, value) in &self.headers {
            let (name, value) =
                (HeaderName::try_from(name.as_str())?, HeaderValue::try_from(value.as_str())?);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

/// Sends the request; any status from 200 to 399 is a success.
pub(crate) async fn get(request: &HttpRequest) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{}\": {error}", request.url());
    let stream = connect(&request.host, request.port).await.map_err(|error| failed(&error))?;
    let status = match request.is_https {
        false => send(stream, request).await,
        true => {
            let name = ServerName::try_from(request.host.clone()).map_err(|error| failed(&error))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&UNVERIFIED));
            let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
            send(stream, request).await
        }
    };
    let status = status.map_err(|error| failed(&error))?;
    if (200..400).contains(&status.as_u16()) {
        return Ok(());
    }
    Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
}

/// Opens a connection, saying whom it was for when it fails.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| format!("dial tcp {host}:{port}: connect: {error}"))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: &HttpRequest,
) -> Result<StatusCode, String> {
    let request = request.request().map_err(|error| error.to_string())?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    // The connection is driven beside the request and dropped with it: the body is not read.
    tokio::pin!(connection);
    let response = sender.send_request(request);
    tokio::pin!(response);
    let mut is_open = true;
    loop {
        tokio::select! {
            answer = &mut response => {
                return answer.map(|answer| answer.status()).map_err(|error| error.to_string());
            }
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

/// Believes anyone: a probe asks whether the server answers, not who it is.
static UNVERIFIED: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| Arc::new(hako_trust::client(hako_trust::anyone()).with_no_client_auth()));

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn answer_with(response: &'static str) -> (HttpRequest, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..read]).into_owned()
        });
        let request = HttpRequest {
            host: "127.0.0.1".into(),
            port,
            path: "healthz?x=1".into(),
            is_https: false,
            headers: vec![("X-Who".into(), "me".into()), ("Host".into(), "example".into())],
        };
        (request, served)
    }

    #[tokio::test]
    async fn statuses_below_400_are_success_and_headers_are_sent() {
        let (request, served) = answer_with("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
        get(&request).await.unwrap();
        let head = served.await.unwrap().to_lowercase();
        assert!(head.starts_with("get /healthz?x=1 http/1.1\r\n"), "{head}");
        assert!(head.contains("x-who: me") && head.contains("host: example"), "{head}");
    }

    #[tokio::test]
    async fn failures_say_what_was_asked_and_what_came() {
        let (request, _served) = answer_with("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(get(&request).await.unwrap_err(), "HTTP probe failed with statuscode: 503");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let error = get(&HttpRequest { port, ..request }).await.unwrap_err();
        assert!(error.contains("Get \"http://127.0.0.1") && error.contains("refused"), "{error}");
    }
}
