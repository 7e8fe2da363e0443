//! Connections.

use super::patience::{Activity, Patient};
use super::sendfile::{Direct, Queue};
use super::{Door, Front, Request, answer};
use http::Version;
use http_body::Body;
use hyper::service::{Service, service_fn};
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
                    let stream = Patient::new(Direct::new(stream, queue.clone()));
                    connection((front, door), peer, stream, Some(queue), stop).await;
                }
                Some(tls) => {
                    match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(Patient::new(stream))).await {
                        Ok(Ok(stream)) => connection((front, door), peer, stream, None, stop).await,
                        _ => tracing::debug!("a TLS handshake failed"),
                    }
                }
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
    let activity = Arc::new(Activity::default());
    let asked = Arc::clone(&activity);
    let service = service_fn(move |request: Request| {
        let (front, asked) = (Arc::clone(&front), Arc::clone(&asked));
        // HTTP/2 wraps what it sends into frames of its own.
        let queue = queue.clone().filter(|_| request.version() < Version::HTTP_2);
        async move {
            let _running = asked.begin();
            let response = answer(&front, door, peer, request).await;
            Ok::<_, Infallible>(response.map(|body| body.outgoing(queue)))
        }
    });
    if let Err(error) = drive(stream, service, &activity, stop).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Speaks HTTP until the connection ends, is of no use to anybody any more, or is asked to end; then what runs comes to its
/// end.
async fn drive<S, V, B>(
    stream: S,
    service: V,
    activity: &Activity,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    V: Service<Request, Response = http::Response<B>>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    V::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
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
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = activity.idle() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    /// How long a client that sends this and no more is listened to.
    async fn patience(sends: &'static [u8]) -> Duration {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let service = service_fn(|_: Request| async {
            Ok::<_, Infallible>(http::Response::new(Empty::<bytes::Bytes>::new()))
        });
        let activity = Activity::default();
        let began = Instant::now();
        let asking = async {
            client.write_all(sends).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            began.elapsed()
        };
        tokio::join!(asking, drive(server, service, &activity, CancellationToken::new())).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_ends() {
        for sends in [b"".as_slice(), b"P", b"GET / HTTP/1.1\r\nHost: x\r\n"] {
            let waited = patience(sends).await;
            // Timers count whole milliseconds.
            assert_eq!(waited.as_secs(), HEADER_LIMIT.as_secs(), "{sends:?}: {waited:?}");
        }
        let preface = patience(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        assert!(preface.as_secs() <= 2 * HEADER_LIMIT.as_secs(), "{preface:?}");
    }
}
