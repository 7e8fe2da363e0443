//! BuildKit's control service and gateway, called as buildx calls them. Its messages are written down here once more.

use crate::daemon::{Daemon, with_daemon};
use http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::client::Grpc;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Solve {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(message, optional, tag = "2")]
    definition: Option<Definition>,
    #[prost(string, tag = "5")]
    session: String,
    #[prost(string, tag = "6")]
    frontend: String,
    #[prost(map = "string, string", tag = "7")]
    attributes: HashMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    exporters: Vec<Exporter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Definition {
    #[prost(bytes = "vec", repeated, tag = "1")]
    operations: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Exporter {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(map = "string, string", tag = "2")]
    attributes: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Solved {
    #[prost(map = "string, string", tag = "1")]
    exporter: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GatewaySolve {
    #[prost(string, tag = "2")]
    frontend: String,
    #[prost(map = "string, string", tag = "3")]
    attributes: HashMap<String, String>,
    #[prost(bool, tag = "5")]
    allow_result_return: bool,
}

/// A result, and what carries one in field 3 of an answer and in field 1 of a return.
#[derive(Clone, PartialEq, prost::Message)]
struct GatewayResult {
    #[prost(string, tag = "1")]
    reference: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GatewaySolved {
    #[prost(message, optional, tag = "3")]
    result: Option<GatewayResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Return {
    #[prost(message, optional, tag = "1")]
    result: Option<GatewayResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// Any answer of which only a list of records with an id counts.
#[derive(Clone, PartialEq, prost::Message)]
struct Records {
    #[prost(message, repeated, tag = "1")]
    records: Vec<Text>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct News {
    #[prost(message, repeated, tag = "1")]
    vertexes: Vec<Vertex>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Vertex {
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Piece {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// A connection to the control service.
#[derive(Clone)]
struct Control(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl tower::Service<http::Request<tonic::body::Body>> for Control {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Control {
    async fn connect(docker: &Daemon) -> Self {
        let mut stream = tokio::net::UnixStream::connect(&docker.socket).await.unwrap();
        let head = "POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        let io = TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    fn grpc(&self) -> Grpc<Self> {
        Grpc::with_origin(self.clone(), "http://localhost".parse().unwrap())
    }

    async fn ask<Q, A>(&self, path: &'static str, build: &str, question: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.unwrap();
        let mut request = tonic::Request::new(question);
        request.metadata_mut().insert("buildkit-controlapi-buildid", build.parse().unwrap());
        let path = PathAndQuery::from_static(path);
        Ok(grpc.unary(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
    }

    async fn news(&self, build: &str) -> String {
        let mut grpc = self.grpc();
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/moby.buildkit.v1.Control/Status");
        let request = tonic::Request::new(Text { text: build.to_owned() });
        let codec = ProstCodec::<Text, News>::default();
        let mut stream: Streaming<News> =
            grpc.server_streaming(request, path, codec).await.unwrap().into_inner();
        let mut told = String::new();
        while let Some(news) = stream.message().await.unwrap() {
            news.vertexes.iter().for_each(|vertex| told.push_str(&format!("{}\n", vertex.name)));
        }
        told
    }
}

fn attributes(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn image(name: &str) -> Vec<Exporter> {
    vec![Exporter { kind: "moby".into(), attributes: attributes(&[("name", name)]) }]
}

/// Serves a Dockerfile at an address.
pub fn serve(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/Dockerfile", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = text.len();
            let _ = write!(
                client,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            );
        }
    });
    address
}

/// What the client of a session answers: that it lives, and what it was given to upload.
async fn client(
    request: http::Request<hyper::body::Incoming>,
    upload: Vec<u8>,
) -> http::Response<tonic::body::Body> {
    use tonic::{Request, Response, server};
    match request.uri().path() {
        "/grpc.health.v1.Health/Check" => {
            let alive =
                tower::service_fn(async |_: Request<Nothing>| Ok(Response::new(Health { status: 1 })));
            server::Grpc::new(ProstCodec::<Health, Nothing>::default()).unary(alive, request).await
        }
        "/moby.upload.v1.Upload/Pull" => {
            let give = tower::service_fn(async |_: Request<Streaming<Piece>>| {
                let piece = Piece { data: upload.clone() };
                Ok(Response::new(futures::stream::iter([Ok::<_, Status>(piece)])))
            });
            server::Grpc::new(ProstCodec::<Piece, Piece>::default()).streaming(give, request).await
        }
        other => Status::unimplemented(other).into_http(),
    }
}

/// Opens a session inside a call, as clients do that have no `/session`.
async fn carry(control: &Control, id: &str, upload: Vec<u8>) {
    let (near, far) = tokio::io::duplex(16 << 10);
    let service = hyper::service::service_fn(move |request| {
        let upload = upload.clone();
        async move { Ok::<_, std::convert::Infallible>(client(request, upload).await) }
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(server.serve_connection(TokioIo::new(far), service));
    let (mut read, mut write) = tokio::io::split(near);
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            if sender.send(Piece { data: buffer[..length].to_vec() }).await.is_err() {
                return;
            }
        }
    });
    let mut grpc = control.grpc();
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
    request.metadata_mut().insert("x-docker-expose-session-uuid", id.parse().unwrap());
    let path = PathAndQuery::from_static("/moby.buildkit.v1.Control/Session");
    let answer = grpc.streaming(request, path, ProstCodec::<Piece, Piece>::default()).await.unwrap();
    tokio::spawn(async move {
        let mut pieces = answer.into_inner();
        while let Ok(Some(piece)) = pieces.message().await {
            write.write_all(&piece.data).await.unwrap();
        }
    });
}

#[test]
fn a_session_may_be_carried_inside_a_call() {
    with_daemon(|docker| {
        docker.import_busybox();
        let mut tar = tar::Builder::new(Vec::new());
        let dockerfile = "FROM busybox\nRUN echo carried > /how\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(dockerfile.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).unwrap();
        let upload = tar.into_inner().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let control = Control::connect(docker).await;
            carry(&control, "s1", upload).await;
            let solve = Solve {
                reference: "c1".into(),
                session: "s1".into(),
                frontend: "dockerfile.v0".into(),
                attributes: attributes(&[("context", "http://buildkit-session/given")]),
                exporters: image("carried"),
                ..Solve::default()
            };
            let _: Solved = control.ask(SOLVE, "", solve).await.unwrap();
        });
        assert_eq!(docker.ok(&["run", "--rm", "carried", "cat", "/how"]), "carried\n");
    });
}

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";

#[test]
fn a_build_is_asked_for_on_the_gateway_and_its_news_are_heard_beside_it() {
    with_daemon(|docker| {
        docker.import_busybox();
        let address = serve("FROM busybox\nARG WHO\nRUN echo $WHO > /who\n");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let control = Control::connect(docker).await;
            let solve = Solve { reference: "b1".into(), exporters: image("by-gateway"), ..Solve::default() };
            let gateway = async {
                let _: Nothing =
                    control.ask("/moby.buildkit.v1.frontend.LLBBridge/Ping", "b1", Nothing {}).await.unwrap();
                let wish = GatewaySolve {
                    frontend: "dockerfile.v0".into(),
                    attributes: attributes(&[("context", &address), ("build-arg:WHO", "buildx")]),
                    allow_result_return: true,
                };
                let path = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
                let solved: GatewaySolved = control.ask(path, "b1", wish).await.unwrap();
                assert!(!solved.result.as_ref().unwrap().reference.is_empty());
                let back = Return { result: solved.result };
                let path = "/moby.buildkit.v1.frontend.LLBBridge/Return";
                let _: Nothing = control.ask(path, "b1", back).await.unwrap();
            };
            let (solved, told, ()) =
                tokio::join!(control.ask::<_, Solved>(SOLVE, "", solve), control.news("b1"), gateway);
            let id = solved.unwrap().exporter["containerimage.digest"].clone();
            assert_eq!(docker.ok(&["images", "-q", "--no-trunc", "by-gateway"]).trim(), id);
            assert!(told.contains("RUN echo $WHO > /who"), "{told}");
            assert_eq!(docker.ok(&["run", "--rm", "by-gateway", "cat", "/who"]), "buildx\n");

            let workers: Records =
                control.ask("/moby.buildkit.v1.Control/ListWorkers", "", Nothing {}).await.unwrap();
            assert_eq!(workers.records.len(), 1);
            let usage: Records =
                control.ask("/moby.buildkit.v1.Control/DiskUsage", "", Nothing {}).await.unwrap();
            assert!(usage.records.iter().any(|record| record.text.len() == 64), "{usage:?}");
        });
    });
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    with_daemon(|docker| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let control = Control::connect(docker).await;
            let refused = async |solve: Solve| {
                let status = control.ask::<_, Solved>(SOLVE, "", solve).await.unwrap_err();
                assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
                status.message().to_owned()
            };
            let dockerfile = Solve { frontend: "dockerfile.v0".into(), ..Solve::default() };
            let graph = Definition { operations: vec![vec![1]] };
            let named = |reference: &str| Solve { reference: reference.into(), ..dockerfile.clone() };
            let solve = Solve { definition: Some(graph), ..named("r1") };
            assert!(refused(solve).await.contains("LLB"));
            let solve = Solve { frontend: "mine.v0".into(), ..named("r2") };
            assert!(refused(solve).await.contains("mine.v0"));
            let solve = Solve {
                attributes: attributes(&[("context", "http://127.0.0.1:1/x"), ("cgroup-parent", "mine")]),
                ..named("r3")
            };
            assert!(refused(solve).await.contains("cgroup-parent"));
            let path = "/moby.buildkit.v1.Control/ListenBuildHistory";
            let status = control.ask::<_, Nothing>(path, "", Nothing {}).await.unwrap_err();
            assert!(status.code() == Code::Unimplemented && status.message().contains(path), "{status:?}");
            // Without a reference nobody could ask for its news.
            let status = control.ask::<_, Solved>(SOLVE, "", dockerfile.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
        });
    });
}
