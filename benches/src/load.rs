//! Many connections that ask for one thing again and again.

use anyhow::Context as _;
use rustix::net::RecvFlags;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;

const HEAD_BYTES: usize = 16 << 10;
/// How many bytes of a body one call discards at most.
const DISCARD_BYTES: usize = 1 << 20;

/// What came back.
#[derive(Debug)]
pub struct Measured {
    pub requests: f64,
    /// Of bodies.
    pub bytes: u64,
    pub took: Duration,
}

/// Asks for `path` over `connections` until `window` is over; every connection ends its last request.
pub fn run(
    address: SocketAddr,
    path: &str,
    connections: usize,
    window: Duration,
) -> anyhow::Result<Measured> {
    let accept = "application/vnd.docker.distribution.manifest.v2+json";
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let request = request.clone().into_bytes();
            tasks.spawn(async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                ask(&stream, &request, began + window).await
            });
        }
        let (mut requests, mut bytes) = (0.0, 0);
        while let Some(done) = tasks.join_next().await {
            let (more_requests, more_bytes) = done??;
            requests += more_requests;
            bytes += more_bytes;
        }
        Ok(Measured { requests, bytes, took: began.elapsed() })
    })
}

async fn ask(stream: &TcpStream, request: &[u8], until: Instant) -> anyhow::Result<(f64, u64)> {
    let (mut requests, mut bytes) = (0.0, 0);
    let mut discarded: Vec<MaybeUninit<u8>> = vec![MaybeUninit::uninit(); DISCARD_BYTES];
    loop {
        write_all(stream, request).await?;
        let (length, mut have) = head(stream).await?;
        while have < length {
            let most = usize::try_from(length - have).unwrap_or(usize::MAX).min(discarded.len());
            have += discard(stream, &mut discarded[..most]).await? as u64;
        }
        anyhow::ensure!(have == length, "more bytes than the head says");
        requests += 1.0;
        bytes += length;
        if Instant::now() >= until {
            return Ok((requests, bytes));
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads the head of a good response: its body's length, and how much of the body came with it.
async fn head(stream: &TcpStream) -> anyhow::Result<(u64, u64)> {
    let (mut buffer, mut filled) = ([0_u8; HEAD_BYTES], 0);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => anyhow::bail!("the connection ended in a head"),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..end])?;
        anyhow::ensure!(text.starts_with("HTTP/1.1 200 "), "answered {text:?}");
        let length = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .context("a response without Content-Length")?;
        return Ok((length.1.trim().parse()?, (filled - end - 4) as u64));
    }
}

/// Takes bytes off the socket without copying them out of the kernel: `MSG_TRUNC`, tcp(7).
async fn discard(stream: &TcpStream, buffer: &mut [MaybeUninit<u8>]) -> anyhow::Result<usize> {
    let discarded = stream.async_io(Interest::READABLE, || {
        let (_, length) = rustix::net::recv(stream, &mut *buffer, RecvFlags::TRUNC)?;
        Ok(length)
    });
    match discarded.await? {
        0 => anyhow::bail!("the connection ended in a body"),
        count => Ok(count),
    }
}
