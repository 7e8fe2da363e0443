//! Port-forward: streams of a client joined to connections to the pod's own loopback.
//!
//! ```text
//! SPDY (bare, or inside a WebSocket): for each connection a pair of streams with the same `requestid` and `port`
//!   streamtype=error   node -> client, why the connection failed; empty when it did not
//!   streamtype=data    both ways
//! WebSocket `v4.channel.k8s.io`: for the n-th of `?ports=`, one connection each
//!   channel 2n data, 2n+1 error; the first message of either is the port, u16, little endian
//! ```

use super::query::Query;
use super::spdy::{Output, Session, Stream};
use super::upgrade::{Switched, Wanted};
use super::{Body, channels};
use crate::context::Context;
use crate::node::Pods;
use crate::pod::labels;
use bytes::{Buf, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use hako_container::SandboxState;
use hako_error::{Error, Kind, Result};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const WEB_SOCKET: &[&str] = &["SPDY/3.1+portforward.k8s.io", channels::V4];
const SPDY: &[&str] = &["portforward.k8s.io"];
const PIECE: usize = 32 << 10;
/// Streams of connections whose other stream has not come.
const SINGLE: usize = 64;

/// Answers `/portForward/{namespace}/{pod}`.
pub(super) async fn serve(
    context: &Context,
    pods: &Pods,
    [namespace, pod]: [&str; 2],
    query: &Query,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>> {
    let place = place(context, pods, namespace, pod).await?;
    let wanted = Wanted::of(request.headers(), WEB_SOCKET, SPDY)?;
    let ports = match wanted {
        Wanted::WebSocket { protocol: channels::V4, .. } => ports(query)?,
        _ => Vec::new(),
    };
    Ok(wanted.switch(request, |switched| async move {
        match switched {
            Switched::Spdy(session) => pairs(session, place).await,
            Switched::WebSocket { socket, .. } => messages(*socket, place, ports).await,
        }
    }))
}

/// The network namespace of a pod that runs.
async fn place(context: &Context, pods: &Pods, namespace: &str, pod: &str) -> Result<PathBuf> {
    let missing = || Error::new(Kind::NotFound, format!("pod \"{namespace}/{pod}\" is not on this node"));
    let found = pods.find(namespace, pod).ok_or_else(missing)?.pod();
    let sandboxes = context.config.engine.sandboxes(&labels::filter(found.metadata.uid.as_deref())).await?;
    let ready = sandboxes.into_iter().rev().find(|sandbox| sandbox.state == SandboxState::Ready);
    ready.and_then(|sandbox| sandbox.netns).ok_or_else(|| {
        Error::new(
            Kind::FailedPrecondition,
            format!("pod \"{namespace}/{pod}\" has no network namespace yet"),
        )
    })
}

fn ports(query: &Query) -> Result<Vec<u16>> {
    let all = query.all("ports");
    let all = all.iter().flat_map(|list| list.split(','));
    let parsed =
        all.map(|port| port.parse::<u16>().ok().filter(|port| *port != 0)).collect::<Option<Vec<_>>>();
    parsed.filter(|ports| !ports.is_empty()).ok_or_else(|| {
        Error::new(Kind::Invalid, "query parameter \"ports\" is required: numbers from 1 to 65535")
    })
}

/// Serves pairs of streams until the client hangs up.
async fn pairs(mut session: Session, place: PathBuf) {
    let mut single: HashMap<String, Stream> = HashMap::new();
    while let Some(stream) = session.accept().await {
        let id = stream.headers.get("requestid").to_owned();
        let Some(other) = single.remove(&id) else {
            // More than that no client has on their way at once; the stream ends.
            if single.len() < SINGLE {
                single.insert(id, stream);
            }
            continue;
        };
        let is_error = |stream: &Stream| stream.headers.get("streamtype") == "error";
        let (error, data) = if is_error(&other) { (other, stream) } else { (stream, other) };
        tokio::spawn(pair(place.clone(), error, data));
    }
}

async fn pair(place: PathBuf, error: Stream, data: Stream) {
    let Ok(port) = data.headers.get("port").parse() else {
        let _ = error.output.send(Bytes::from_static(b"the stream names no port")).await;
        return;
    };
    match connect(&place, port).await {
        Ok(connection) => join(connection, data.input, data.output).await,
        Err(failure) => {
            // A client that is gone needs no reason.
            let _ = error.output.send(Bytes::from(failure)).await;
        }
    }
}

/// Copies both ways; each half ends by itself.
async fn join(connection: TcpStream, input: mpsc::Receiver<Bytes>, output: Output) {
    let (read, write) = connection.into_split();
    let (to_client, mut pieces) = mpsc::channel::<Bytes>(1);
    let sending = async move {
        while let Some(piece) = pieces.recv().await {
            if output.send(piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(from_pod(read, to_client), to_pod(input, write), sending);
}

async fn from_pod(mut read: OwnedReadHalf, to_client: mpsc::Sender<Bytes>) {
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE);
        match read.read_buf(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if to_client.send(piece.split().freeze()).await.is_err() {
            return;
        }
    }
}

async fn to_pod(mut input: mpsc::Receiver<Bytes>, mut write: OwnedWriteHalf) {
    while let Some(piece) = input.recv().await {
        if write.write_all(&piece).await.is_err() {
            return;
        }
    }
    // A program that is gone has its end already.
    let _ = write.shutdown().await;
}

/// Connects to the loopback inside a network namespace; what hinders it is for the client to read.
async fn connect(place: &Path, port: u16) -> std::result::Result<TcpStream, String> {
    let (done, connected) = tokio::sync::oneshot::channel();
    let namespace = place.to_owned();
    // A thread of its own: it stays in the namespace until it ends.
    std::thread::spawn(move || done.send(connect_inside(&namespace, port)).is_ok());
    let lost = |_| Err(std::io::Error::other("the thread that connects ended"));
    let connected = connected.await.unwrap_or_else(lost).and_then(|stream| {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        TcpStream::from_std(stream)
    });
    connected.map_err(|error| format!("failed to connect to localhost:{port} inside the pod: {error}"))
}

fn connect_inside(namespace: &Path, port: u16) -> std::io::Result<std::net::TcpStream> {
    let namespace = File::open(namespace)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    let localhost = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
    let [first, second] = localhost;
    std::net::TcpStream::connect(first).or_else(|error| {
        // The first address is the one that programs are expected at.
        std::net::TcpStream::connect(second).map_err(|_| error)
    })
}

/// Serves a fixed list of connections whose pieces are messages.
async fn messages(socket: WebSocketStream<TokioIo<Upgraded>>, place: PathBuf, ports: Vec<u16>) {
    let (mut to_client, mut from_client) = socket.split();
    let (out, mut messages) = mpsc::channel::<Bytes>(1);
    let mut inputs = Vec::new();
    for (number, port) in ports.into_iter().enumerate() {
        let Ok(channel) = u8::try_from(2 * number) else { break };
        let (sender, input) = mpsc::channel(1);
        inputs.push(Some(sender));
        tokio::spawn(channel_pair(place.clone(), port, channel, input, out.clone()));
    }
    drop(out);
    let reading = async {
        while let Some(Ok(message)) = from_client.next().await {
            let mut bytes = match message {
                Message::Binary(bytes) if !bytes.is_empty() => bytes,
                Message::Close(_) => break,
                _ => continue,
            };
            let channel = usize::from(bytes.get_u8());
            let Some(Some(input)) = inputs.get(channel / 2).filter(|_| channel % 2 == 0) else { continue };
            // A connection that has ended takes nothing more.
            let _ = input.send(bytes).await;
        }
    };
    let writing = async {
        while let Some(message) = messages.recv().await {
            if to_client.send(Message::Binary(message)).await.is_err() {
                return;
            }
        }
        let _ = to_client.close().await;
    };
    tokio::select! { () = reading => {} () = writing => {} }
}

async fn channel_pair(
    place: PathBuf,
    port: u16,
    channel: u8,
    input: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Bytes>,
) {
    let on = |channel: u8, bytes: &[u8]| channels::on_channel(channel, bytes);
    for channel in [channel, channel + 1] {
        if out.send(on(channel, &port.to_le_bytes())).await.is_err() {
            return;
        }
    }
    let connection = match connect(&place, port).await {
        Ok(connection) => connection,
        Err(failure) => {
            // A client that is gone needs no reason.
            let _ = out.send(on(channel + 1, failure.as_bytes())).await;
            return;
        }
    };
    let (read, write) = connection.into_split();
    let (to_client, mut pieces) = mpsc::channel::<Bytes>(1);
    let sending = async {
        while let Some(piece) = pieces.recv().await {
            if out.send(on(channel, &piece)).await.is_err() {
                return;
            }
        }
    };
    // Nothing says that the client's half ends: the pod's end is the end.
    tokio::select! {
        ((), ()) = async { tokio::join!(from_pod(read, to_client), sending) } => {}
        () = to_pod(input, write) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::spdy::client::Client;
    use super::*;
    use tokio::net::TcpListener;

    fn own_place() -> PathBuf {
        PathBuf::from("/proc/self/ns/net")
    }

    async fn said(client: &mut Client<tokio::io::DuplexStream>, count: usize) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..count {
            said.push(client.next().await.unwrap());
        }
        said.sort();
        said
    }

    #[tokio::test]
    async fn a_pair_of_streams_is_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let (near, far) = tokio::io::duplex(1024);
        let mut client = Client::new(near);
        tokio::spawn(pairs(Session::start(far), own_place()));
        for (stream, kind) in [(1, "error"), (3, "data")] {
            client.open(stream, &[("streamtype", kind), ("port", &port), ("requestid", "0")]).await;
        }
        let (mut connection, _) = listener.accept().await.unwrap();
        client.send(3, "ping", true).await;
        let mut got = String::new();
        connection.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "ping", "the client's half ends at the program, too");
        connection.write_all(b"pong").await.unwrap();
        drop(connection);
        assert_eq!(said(&mut client, 5).await, ["1:  end", "3:  end", "3: pong", "reply 1", "reply 3"]);
    }

    #[tokio::test]
    async fn what_hinders_a_connection_is_told_on_its_error_stream() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        drop(listener);
        let (near, far) = tokio::io::duplex(1024);
        let mut client = Client::new(near);
        tokio::spawn(pairs(Session::start(far), own_place()));
        for (stream, kind) in [(1, "data"), (3, "error")] {
            client.open(stream, &[("streamtype", kind), ("port", &port), ("requestid", "7")]).await;
        }
        let said = said(&mut client, 5).await;
        assert!(
            said.iter().any(|one| one.starts_with(&format!("3: failed to connect to localhost:{port}"))),
            "{said:?}"
        );
    }
}
