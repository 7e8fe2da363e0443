//! Connections.

use super::sendfile::{Direct, Queue};
use super::{Door, Front, Request, answer};
use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 2048;
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
const HEADER_LIST_BYTES: u32 = 64 << 10;
const BUFFER_BYTES: usize = 256 << 10;
/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// What serves.
pub(crate) struct Server {
    /// Where connections come from.
    pub listener: TcpListener,
    /// What encrypts them.
    pub tls: Option<TlsAcceptor>,
    /// What they ask.
    pub front: Arc<Front>,
    /// What they may ask for.
    pub door: Door,
}

/// Serves until `stop`, then lets requests end for ten seconds.
pub(crate) async fn serve(server: Server, stop: CancellationToken) {
    let Server { listener, tls, front, door } = server;
    let (slots, tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (front, tls, stop) = (Arc::clone(&front), tls.clone(), stop.clone());
        tasks.spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls {
                None => {
                    let queue = Queue::default();
                    let stream = Direct::new(stream, queue.clone());
                    connection((front, door), peer, stream, Some(queue), stop).await;
                }
                Some(tls) => match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection((front, door), peer, stream, None, stop).await,
                    _ => tracing::debug!("a TLS handshake failed"),
                },
            }
            drop(slot);
        });
    }
    tasks.close();
    let _ = tokio::time::timeout(DRAIN, tasks.wait()).await;
}

/// Serves one connection; `queue` is that of a stream which sends files itself.
async fn connection<S>(
    (front, door): (Arc<Front>, Door),
    peer: SocketAddr,
    stream: S,
    queue: Option<Queue>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request| {
        let front = Arc::clone(&front);
        // HTTP/2 wraps what it sends into frames of its own.
        let queue = queue.clone().filter(|_| request.version() < Version::HTTP_2);
        async move {
            let response = answer(&front, door, peer, request).await;
            Ok::<_, Infallible>(response.map(|body| body.outgoing(queue)))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(BUFFER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
