//! A small cluster with its server, and the ways to it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hako_api::pki::{Pki, ServerNames};
use hako_api::{Server, ServerConfig};
use hako_client::{HttpTransport, Tls, Transport};
use hako_store::Embedded;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub struct Cluster {
    runtime: Runtime,
    /// The administrator.
    pub admin: HttpTransport,
    /// Somebody without a certificate.
    pub stranger: HttpTransport,
    _server: Server,
}

/// The cluster of this process.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(|_| ()))
}

impl Cluster {
    /// With what `change` says otherwise.
    pub fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap());
        let store = Arc::new(Embedded::open(dir.path().join("store")).unwrap());
        let (server, port) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut config = ServerConfig::new(store, Arc::clone(&pki));
            change(&mut config);
            let server = Server::new(config).await.unwrap();
            let serving = server.clone();
            tokio::spawn(async move { serving.serve(listener).await });
            (server, port)
        });
        let url = format!("https://127.0.0.1:{port}");
        let pair = pki.admin();
        let to = |identity| {
            let tls = Tls::from_pem(pki.ca().as_bytes(), identity).unwrap();
            HttpTransport::new(&url, Some(tls), None).unwrap()
        };
        let admin = to(Some((pair.certificate.as_bytes(), pair.key.as_bytes())));
        // Nobody drops what is static, and it would be left behind; what is open stays.
        drop(dir);
        Self { runtime, admin, stranger: to(None), _server: server }
    }

    /// What a request is answered with, with the body where it has an end.
    pub fn ask(&self, from: &HttpTransport, request: Request<Bytes>) -> (StatusCode, Bytes) {
        self.runtime.block_on(async {
            let response: Response<_> = from.call(request).await.expect("an answer");
            let status = response.status();
            if response.body().size_hint().exact().is_none() {
                return (status, Bytes::new());
            }
            (status, response.into_body().collect().await.expect("the whole answer").to_bytes())
        })
    }
}
