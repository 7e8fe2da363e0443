//! Memory is bounded, whatever a blob's size.

use crate::support::{Plain, Process};
use hako_names::{Digest, Hasher};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

const CONFIG: &str = "{listen: '127.0.0.1:0'}";
/// What the process may have at most, its program included.
const BOUND_MIB: u64 = 96;
const BLOB_MIB: u64 = 4 * BOUND_MIB;
const PIECE: usize = 1 << 20;

/// One MiB of a blob that is like no other.
fn piece(number: u64, buffer: &mut [u8]) {
    for (word, at) in buffer.chunks_mut(8).zip(0_u64..) {
        word.copy_from_slice(&(number << 32 | at).to_le_bytes());
    }
}

fn digest() -> Digest {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; PIECE]);
    for number in 0..BLOB_MIB {
        piece(number, &mut buffer);
        hasher.update(&buffer);
    }
    hasher.finish()
}

/// Sends a request with the whole blob as its body, in chunks where its length is not told; the answer's status line.
fn send_blob(host: &str, head: &str, is_chunked: bool) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = match is_chunked {
        true => "transfer-encoding: chunked".to_owned(),
        false => format!("content-length: {}", BLOB_MIB << 20),
    };
    write!(stream, "{head} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{length}\r\n\r\n").unwrap();
    let mut buffer = vec![0; PIECE];
    for number in 0..BLOB_MIB {
        piece(number, &mut buffer);
        if is_chunked {
            write!(stream, "{PIECE:x}\r\n").unwrap();
        }
        stream.write_all(&buffer).unwrap();
        if is_chunked {
            stream.write_all(b"\r\n").unwrap();
        }
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n").unwrap();
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

fn pull(host: &str, path: &str) -> Digest {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut stream = BufReader::with_capacity(PIECE, stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the answer ended in its head");
    }
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; PIECE]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        hasher.update(&buffer[..count]);
    }
    hasher.finish()
}

/// The same by HTTP/2, where what is sent lies in buffers until the client has room for it.
async fn pull_by_http2(host: &str, path: &str) -> Digest {
    let stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{host}{path}")).body(Empty::<bytes::Bytes>::new());
    let mut body = sender.send_request(request.unwrap()).await.unwrap().into_body();
    let mut hasher = Hasher::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.unwrap().data_ref() {
            hasher.update(data);
        }
    }
    hasher.finish()
}

#[test]
fn a_blob_beyond_what_the_registry_may_have_in_memory_is_pushed_and_pulled() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Process::start(dir.path(), CONFIG);
    let (host, digest) = (registry.host.as_str(), digest());
    let client = Plain::new(host);
    let begin = |repository: &str| {
        let begun = client.try_send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], Vec::new());
        begun.unwrap().header("location").to_owned()
    };
    let whole = send_blob(host, &format!("POST /v2/whole/blobs/uploads/?digest={digest}"), false);
    assert!(whole.starts_with("HTTP/1.1 201"), "{whole}");
    let pieces = begin("pieces");
    let patched = send_blob(host, &format!("PATCH {pieces}"), true);
    assert!(patched.starts_with("HTTP/1.1 202"), "{patched}");
    let put = client.try_send("PUT", &format!("{pieces}?digest={digest}"), &[], Vec::new()).unwrap();
    assert_eq!(put.status, 201, "{put:?}");
    let pushed = registry.peak_mib();
    assert!(pushed < BOUND_MIB, "{pushed} MiB after pushes of {BLOB_MIB}");

    let path = format!("/v2/whole/blobs/{digest}");
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..2).map(|_| scope.spawn(|| pull(host, &path))).collect();
        for pull in pulls {
            assert_eq!(pull.join().unwrap(), digest);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(pull_by_http2(host, &path)), digest);
    let pulled = registry.peak_mib();
    assert!(pulled < BOUND_MIB, "{pulled} MiB after pulls of {BLOB_MIB}");
    registry.kill();
}
