//! How a bucket's service is reached: connections of `object_store` with our TLS and our patience.
//!
//! Owns: whom to believe and how long to wait. Does not own: requests, their signatures and their retries.

use hako_error::Result;
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientConfigKey, ClientOptions};
use rustls_pki_types::CertificateDer;
use std::path::Path;
use std::time::Duration;

/// How long the service may say nothing. A bound for a whole request, `object_store`'s 30 s, would cut blobs that a client
/// reads slowly, and the copy of a large one; a part of 8 MiB has to get there in this time.
const SILENCE: Duration = Duration::from_secs(120);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Makes the clients of one bucket.
#[derive(Debug)]
pub(super) struct Transport {
    /// Whom to believe besides those whom the machine does.
    trusted: Vec<CertificateDer<'static>>,
    silence: Duration,
}

impl Transport {
    /// Believes the machine's authorities and those of a file.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self> {
        let trusted = ca_file.map(crate::http::read_trusted).transpose()?.unwrap_or_default();
        Ok(Self { trusted, silence: SILENCE })
    }

    fn client(&self, options: &ClientOptions) -> reqwest::Result<reqwest::Client> {
        let tls = hako_trust::client(hako_trust::machine_and(&self.trusted)).with_no_client_auth();
        // The service that knows the machine's role speaks plain HTTP.
        let is_plain = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .connect_timeout(CONNECT)
            .read_timeout(self.silence)
            .https_only(!is_plain)
            .user_agent("hako")
            .build()
    }
}

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        match self.client(options) {
            Ok(client) => Ok(HttpClient::new(client)),
            Err(source) => Err(object_store::Error::Generic { store: "S3", source: Box::new(source) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Instant;

    /// Sends a byte at a time for longer than a client waits for the next one.
    fn slow(listener: &TcpListener, step: Duration, total: Duration) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").unwrap();
        let began = Instant::now();
        while began.elapsed() < total {
            stream.write_all(b"x").unwrap();
            std::thread::sleep(step);
        }
    }

    #[tokio::test]
    async fn an_answer_may_take_as_long_as_it_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let silence = Duration::from_secs(2);
        let server = std::thread::spawn(move || slow(&listener, silence / 20, silence + silence / 4));
        let transport = Transport { trusted: Vec::new(), silence };
        let client = transport.client(&ClientOptions::new().with_allow_http(true)).unwrap();
        let answer = client.get(format!("http://{address}/")).send().await.unwrap();
        assert!(!answer.bytes().await.unwrap().is_empty());
        server.join().unwrap();
    }
}
