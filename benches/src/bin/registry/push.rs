//! Filling a registry: blobs of zeros, and a manifest of one of them.

use anyhow::Context as _;
use ring::digest::{Context, SHA256};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

const MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
static PIECE: [u8; 1 << 16] = [0; 1 << 16];

fn digest(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut context = Context::new(&SHA256);
    pieces.for_each(|piece| context.update(piece.as_ref()));
    let mut text = String::from("sha256:");
    for byte in context.finish().as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `bytes` zeros in pieces.
fn zeros(bytes: u64) -> impl Iterator<Item = &'static [u8]> {
    let piece = PIECE.len() as u64;
    (0..bytes.div_ceil(piece)).map(move |at| {
        let length = (bytes - at * piece).min(piece);
        &PIECE[..usize::try_from(length).unwrap_or(PIECE.len())]
    })
}

/// One request on a connection of its own; the head of the answer.
fn ask(
    address: SocketAddr,
    line: &str,
    headers: &str,
    length: u64,
    body: impl Iterator<Item = impl AsRef<[u8]>>,
) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )?;
    for piece in body {
        stream.write_all(piece.as_ref())?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    anyhow::ensure!(
        answer.starts_with("HTTP/1.1 201") || answer.starts_with("HTTP/1.1 202"),
        "{line}: {answer}"
    );
    Ok(answer)
}

/// Pushes a blob of `bytes` zeros; its digest.
pub fn blob(address: SocketAddr, bytes: u64) -> anyhow::Result<String> {
    let begun = ask(address, "POST /v2/bench/blobs/uploads/", "", 0, std::iter::empty::<&[u8]>())?;
    let location = begun
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .context("an upload without Location")?;
    let location = location.1.trim();
    let path = location.strip_prefix(&format!("http://{address}")).unwrap_or(location);
    let (digest, mark) = (digest(zeros(bytes)), if path.contains('?') { '&' } else { '?' });
    let headers = "Content-Type: application/octet-stream\r\n";
    ask(address, &format!("PUT {path}{mark}digest={digest}"), headers, bytes, zeros(bytes))?;
    Ok(digest)
}

/// Pushes a manifest whose layer is the blob of `bytes` zeros under the tag `v1`; its digest.
pub fn manifest(address: SocketAddr, bytes: u64) -> anyhow::Result<String> {
    let layer = digest(zeros(bytes));
    let text = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": bytes, "digest": layer},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": bytes, "digest": layer}],
    })
    .to_string();
    let headers = format!("Content-Type: {MEDIA_TYPE}\r\n");
    ask(address, "PUT /v2/bench/manifests/v1", &headers, text.len() as u64, std::iter::once(&text))?;
    Ok(digest(std::iter::once(&text)))
}
