//! Connections.

use super::patience::{Activity, Answer, Patient};
use super::sendfile::{Direct, Queue};
use super::{Door, Front, Request, answer};
use http::Version;
use http_body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
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
    let answers = move |request: Request| {
        let front = Arc::clone(&front);
        // HTTP/2 wraps what it sends into frames of its own.
        let queue = queue.clone().filter(|_| request.version() < Version::HTTP_2);
        async move { answer(&front, door, peer, request).await.map(|body| body.outgoing(queue)) }
    };
    if let Err(error) = drive(stream, answers, stop).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Speaks HTTP until the connection ends, is of no use to anybody any more, or is asked to end; then what runs comes to its
/// end.
async fn drive<S, A, F, B>(
    stream: S,
    answers: A,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request) -> F,
    F: Future<Output = http::Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request: Request| {
        let (running, is_watched) = (activity.begin(), request.version() == Version::HTTP_2);
        let answered = answers(request);
        async move { Ok::<_, Infallible>(answered.await.map(|body| Answer { body, running, is_watched })) }
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
        // No pings: whoever reads slowly finds one only behind all that the kernels hold of an answer, and whoever takes nothing
        // is found without.
        .max_header_list_size(HEADER_LIST_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = activity.idle() => {}
        () = activity.stalled() => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection.as_mut() => ended,
        // What is left of answers may not be taken either.
        () = activity.idle() => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        () = activity.stalled() => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::patience::{IDLE_LIMIT, STALL_LIMIT};
    use bytes::Bytes;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use hyper::client::conn::http2;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    /// How long a client that sends this and no more is listened to.
    async fn patience(sends: &'static [u8]) -> Duration {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let answers = |_: Request| async { http::Response::new(Empty::<Bytes>::new()) };
        let began = Instant::now();
        let asking = async {
            client.write_all(sends).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
            began.elapsed()
        };
        tokio::join!(asking, drive(server, answers, CancellationToken::new())).0
    }

    const PIECE: &[u8] = &[7; 1 << 14];

    /// How long a client of HTTP/2 with this window is served that takes so many pieces of an answer of `all`, one every half
    /// minute, and then nothing more while it answers pings.
    async fn served(window: u32, pieces: usize, all: usize) -> Duration {
        let (client, server) = tokio::io::duplex(1 << 16);
        let answers = move |_: Request| async move {
            let pieces = (0..all).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(PIECE))));
            http::Response::new(StreamBody::new(stream::iter(pieces)))
        };
        let began = Instant::now();
        let asking = tokio::spawn(async move {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(window).initial_connection_window_size(1 << 20);
            let (mut sender, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
            tokio::spawn(connection);
            let mut body =
                sender.send_request(http::Request::new(Empty::<Bytes>::new())).await.unwrap().into_body();
            let mut taken = 0;
            while taken < pieces * PIECE.len() {
                taken += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
                tokio::time::sleep(STALL_LIMIT / 2).await;
            }
            assert_eq!(taken, pieces * PIECE.len());
            (sender, body)
        });
        let _ = drive(server, answers, CancellationToken::new()).await;
        let served = began.elapsed();
        drop(asking.await.unwrap());
        served
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_by_http2_gets_all_of_it_though_it_reads_nothing_else_meanwhile() {
        // A large window (SETTINGS, WINDOW_UPDATE) and GET / (HEADERS); nothing more is ever said.
        const ASKS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
            \0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff\
            \0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0\
            \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
        const ALL: usize = 60;
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let answers = |_: Request| async {
            let pieces = (0..ALL).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(PIECE))));
            http::Response::new(StreamBody::new(stream::iter(pieces)))
        };
        let reading = async {
            client.write_all(ASKS).await.unwrap();
            let (mut piece, mut all) = (vec![0; PIECE.len()], 0);
            loop {
                match client.read(&mut piece).await.unwrap() {
                    0 => break all,
                    count => all += count,
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        let (read, _) = tokio::join!(reading, drive(server, answers, CancellationToken::new()));
        assert!(read >= ALL * PIECE.len(), "{read} bytes were read");
    }

    #[tokio::test(start_paused = true)]
    async fn who_opens_no_window_is_cut_off_and_who_takes_an_answer_slowly_gets_all_of_it() {
        // Timers count whole milliseconds.
        assert_eq!(served(0, 0, 1).await.as_secs(), STALL_LIMIT.as_secs());
        let slow = served(1 << 14, 20, 20).await;
        assert!(slow > 2 * IDLE_LIMIT, "{slow:?}");
        // Nothing is left of the answer but what HTTP/2 itself holds.
        assert_eq!(served(1, 0, 1).await.as_secs(), 2 * IDLE_LIMIT.as_secs());
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
