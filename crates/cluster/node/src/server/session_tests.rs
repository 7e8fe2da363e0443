use super::*;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

const BOTH: Shown = Shown { has_stdout: true, has_stderr: true };

/// A client's socket and a process's far ends.
struct Fixture {
    client: WebSocketStream<DuplexStream>,
    stdin: DuplexStream,
    output: futures::channel::mpsc::Sender<Result<(Which, Bytes)>>,
    exit: oneshot::Sender<i32>,
    joined: tokio::task::JoinHandle<()>,
}

async fn fixture(protocol: Protocol) -> Fixture {
    let (near, far) = duplex(1024);
    let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let (stdin_near, stdin) = duplex(64);
    let (output, pieces) = futures::channel::mpsc::channel(0);
    let (exit, exited) = oneshot::channel();
    let streams = Streams {
        stdin: Some(Box::new(stdin_near)),
        output: pieces.boxed(),
        resize: None,
        exit: async move { Ok(exited.await.unwrap_or(-1)) }.boxed(),
        shown: BOTH,
    };
    let joined = tokio::spawn(join(server, protocol, streams));
    Fixture { client, stdin, output, exit, joined }
}

async fn next(client: &mut WebSocketStream<DuplexStream>) -> Bytes {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => return bytes,
            Message::Close(frame) => {
                assert_eq!(frame.unwrap().code, CloseCode::Normal);
                return Bytes::new();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn input_output_and_exit_code_travel_on_their_channels() {
    let mut fixture = fixture(Protocol::V5).await;
    assert_eq!(next(&mut fixture.client).await, &b"\x01"[..], "the streams are open");
    fixture.client.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.unwrap();
    let mut got = [0; 5];
    fixture.stdin.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
    fixture.client.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    assert_eq!(fixture.stdin.read(&mut got).await.unwrap(), 0, "closed by the client");
    fixture.output.send(Ok((Which::Stdout, Bytes::from_static(b"out")))).await.unwrap();
    assert_eq!(next(&mut fixture.client).await, &b"\x01out"[..]);
    fixture.output.send(Ok((Which::Stderr, Bytes::from_static(b"err")))).await.unwrap();
    assert_eq!(next(&mut fixture.client).await, &b"\x02err"[..]);
    drop(fixture.output);
    fixture.exit.send(3).unwrap();
    let status = next(&mut fixture.client).await;
    assert_eq!(status[0], 3);
    assert!(String::from_utf8_lossy(&status).contains("\"ExitCode\""));
    assert!(next(&mut fixture.client).await.is_empty(), "then the socket is closed");
    fixture.joined.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_reading_of_output() {
    let mut fixture = fixture(Protocol::V4).await;
    let piece = Bytes::from(vec![b'x'; 400]);
    let mut sent = 0;
    while sent < 100 {
        let sending = fixture.output.send(Ok((Which::Stdout, piece.clone())));
        match tokio::time::timeout(Duration::from_millis(50), sending).await {
            Ok(result) => result.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(sent < 10, "{sent} pieces were taken though nobody reads");
    drop(fixture.client);
    fixture.joined.await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_session() {
    let fixture = fixture(Protocol::V5).await;
    drop(fixture.client);
    fixture.joined.await.unwrap();
}

#[tokio::test]
async fn a_process_that_cannot_be_is_told_on_the_channels() {
    for (kind, code) in [(Kind::NotFound, "127"), (Kind::Forbidden, "126")] {
        let (near, far) = duplex(1024);
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let streams = Streams::not_executed(Error::new(kind, "no nosuch"), BOTH, false);
        let joined = tokio::spawn(join(server, Protocol::V5, streams));
        assert_eq!(next(&mut client).await, &b"\x01"[..]);
        assert_eq!(next(&mut client).await, &b"\x02exec failed: no nosuch\n"[..]);
        let status: serde_json::Value = serde_json::from_slice(&next(&mut client).await[1..]).unwrap();
        assert_eq!(status["details"]["causes"][0]["message"], code);
        assert!(next(&mut client).await.is_empty());
        joined.await.unwrap();
    }
}
