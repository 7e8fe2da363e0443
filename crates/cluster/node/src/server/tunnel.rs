//! A connection inside a WebSocket: the bytes of its binary messages, however they are cut.

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const PIECE: usize = 32 << 10;
/// How long a client may take to answer the end.
const LINGER: Duration = Duration::from_secs(2);

/// The connection inside a socket. The socket is closed when it is dropped, and it ends when the socket is closed.
pub(super) fn inside<T>(socket: WebSocketStream<T>) -> DuplexStream
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = tokio::io::duplex(PIECE);
    let (from_inside, to_inside) = tokio::io::split(far);
    let (to_client, from_client) = socket.split();
    tokio::spawn(async move {
        let receiving = receive(from_client, to_inside);
        tokio::pin!(receiving);
        tokio::select! {
            () = &mut receiving => {}
            () = send(from_inside, to_client) => {
                // Whoever takes longer is not waited for.
                let _ = tokio::time::timeout(LINGER, receiving).await;
            }
        }
    });
    near
}

async fn receive(
    mut from_client: impl futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
    mut to_inside: WriteHalf<DuplexStream>,
) {
    while let Some(Ok(message)) = from_client.next().await {
        let written = match message {
            Message::Binary(bytes) => to_inside.write_all(&bytes).await,
            Message::Close(_) => break,
            _ => Ok(()),
        };
        if written.is_err() {
            break;
        }
    }
}

async fn send(
    mut from_inside: ReadHalf<DuplexStream>,
    mut to_client: impl futures::Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
) {
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE);
        match from_inside.read_buf(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if to_client.send(Message::Binary(piece.split().freeze())).await.is_err() {
            return;
        }
    }
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    // A client that is gone needs no farewell.
    let _ = to_client.send(Message::Close(Some(normal))).await;
}
