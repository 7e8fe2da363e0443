//! gRPC calls on a connection whose other end serves.

use bytes::Bytes;
use futures::Stream;
use hako_error::{Error, Kind, Result};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

/// How often an idle connection is asked whether its other end lives, and how long it may take to answer.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Bytes in flight of one stream and of all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A client's message is no longer than this; Go's default is a quarter of it.
const MESSAGE_LIMIT: usize = 16 << 20;
/// How long a call that is one message each way may take.
const CALL_TIME: Duration = Duration::from_secs(30);

/// The other end of a connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peer(http2::SendRequest<Body>);

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("is_closed", &self.0.is_closed()).finish()
    }
}

/// What a transport does between calls; ends with the connection.
pub(crate) type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Begins HTTP/2 on a connection; nothing moves unless the driver is polled.
pub(crate) async fn connect(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<(Peer, Driver)> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(io))
        .await?;
    Ok((Peer(sender), Box::pin(connection)))
}

impl tower::Service<Request<Body>> for Peer {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Peer {
    fn grpc(&self) -> Grpc<Self> {
        let origin = Uri::from_static("http://localhost");
        Grpc::with_origin(self.clone(), origin).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// A call with one message each way.
    pub(crate) async fn ask<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        let call = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static(method);
            grpc.unary(tonic::Request::new(question), path, ProstCodec::<Q, A>::default()).await
        };
        match tokio::time::timeout(CALL_TIME, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded(format!("{method} was not answered in time"))),
        }
    }

    /// A call with streams both ways. What is sent flows already while this waits for the first answer.
    pub(crate) async fn talk<Q, A>(
        &self,
        method: &'static str,
        metadata: MetadataMap,
        questions: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = tonic::Request::new(questions);
        *request.metadata_mut() = metadata;
        let path = PathAndQuery::from_static(method);
        Ok(grpc.streaming(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
    }
}

/// Metadata of a call: names with their values in order.
pub(crate) fn metadata<'a>(
    pairs: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> Result<MetadataMap, Status> {
    let mut map = MetadataMap::new();
    for (key, value) in pairs {
        let value = MetadataValue::try_from(value)
            .map_err(|_| Status::invalid_argument(format!("{key} {value:?} is no text of ASCII")))?;
        map.append(AsciiMetadataKey::from_static(key), value);
    }
    Ok(map)
}

/// What a client's refusal is here.
pub(crate) fn refusal(doing: &str, status: &Status) -> Error {
    let kind = match status.code() {
        Code::NotFound => Kind::NotFound,
        Code::Unimplemented => Kind::Unimplemented,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::Unauthenticated => Kind::Unauthorized,
        Code::PermissionDenied => Kind::Forbidden,
        Code::Cancelled => Kind::Cancelled,
        Code::ResourceExhausted => Kind::Exhausted,
        Code::InvalidArgument | Code::OutOfRange => Kind::Invalid,
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("{doing}: the client says {:?}", status.message()))
}

/// A piece of a stream of bytes.
pub(crate) fn piece(data: impl Into<Bytes>) -> super::wire::Piece {
    super::wire::Piece { data: data.into() }
}
