use super::client::Client;
use super::*;
use tokio::io::duplex;

#[tokio::test]
async fn streams_carry_bytes_both_ways_and_end_half_by_half() {
    let (near, far) = duplex(256);
    let (mut client, mut session) = (Client::new(near), Session::start(far));
    client.open(1, &[("StreamType", "data")]).await;
    let mut stream = session.accept().await.unwrap();
    assert_eq!(stream.headers.get("streamtype"), "data");
    assert_eq!(client.next().await.unwrap(), "reply 1");
    client.send(1, "hello", true).await;
    assert_eq!(stream.input.recv().await.unwrap(), "hello");
    assert_eq!(stream.input.recv().await, None, "the client's half has ended");
    stream.output.send(Bytes::from_static(b"world")).await.unwrap();
    assert_eq!(client.next().await.unwrap(), "1: world");
    drop(stream);
    assert_eq!(client.next().await.unwrap(), "1:  end");
    client.ping(7).await;
    assert_eq!(client.next().await.unwrap(), "ping 7");
    drop(session);
    assert_eq!(client.next().await, None, "a connection of which nobody has a part is closed");
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_streams() {
    let (near, far) = duplex(256);
    let (mut client, mut session) = (Client::new(near), Session::start(far));
    client.open(1, &[]).await;
    let mut stream = session.accept().await.unwrap();
    drop(client);
    assert_eq!(stream.input.recv().await, None);
    assert!(session.accept().await.is_none());
    while stream.output.send(Bytes::from_static(b"x")).await.is_ok() {}
}

#[tokio::test]
async fn what_is_no_spdy_ends_the_connection() {
    use tokio::io::AsyncWriteExt as _;
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x80, 2, 0, 1, 0, 0, 0, 0], &[0x80, 3, 0, 1, 0, 0, 0, 1, 0]]
    {
        let (mut near, far) = duplex(256);
        let mut session = Session::start(far);
        near.write_all(nonsense).await.unwrap();
        near.shutdown().await.unwrap();
        assert!(session.accept().await.is_none());
    }
}
