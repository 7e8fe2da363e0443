//! Names that are not ours: the question goes to the upstream resolvers as it is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one upstream may think.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often all upstreams are tried.
const ROUNDS: usize = 2;
const ANSWER_LEN: usize = 65_535;
/// Where the question begins in a message.
const HEADER_LEN: usize = 12;

/// How the client asked, and so how the upstream is asked: a truncated answer makes the client ask by TCP.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carrier {
    Udp,
    Tcp,
}

/// Asks one upstream after the other; none answered if `None`.
pub(crate) async fn forward(query: &[u8], carrier: Carrier, upstreams: &[SocketAddr]) -> Option<Vec<u8>> {
    if query.len() < HEADER_LEN {
        return None;
    }
    for upstream in upstreams.iter().cycle().take(upstreams.len() * ROUNDS) {
        let mut asked = query.to_vec();
        let id = random_id();
        asked[..2].copy_from_slice(&id);
        let attempt = async {
            match carrier {
                Carrier::Udp => ask_udp(&asked, *upstream).await,
                Carrier::Tcp => ask_tcp(&asked, *upstream).await,
            }
        };
        match timeout(PATIENCE, attempt).await {
            Ok(Ok(mut answer)) => {
                answer[..2].copy_from_slice(&query[..2]);
                return Some(answer);
            }
            Ok(Err(error)) => tracing::debug!(%upstream, %error, "upstream resolver failed"),
            Err(_) => tracing::debug!(%upstream, "upstream resolver is silent"),
        }
    }
    None
}

async fn ask_udp(query: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    // A port of its own for each question, and only answers from there: hard to forge.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut answer = vec![0; ANSWER_LEN];
    loop {
        let len = socket.recv(&mut answer).await?;
        if is_answer(query, &answer[..len]) {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

async fn ask_tcp(query: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if is_answer(query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Messages over TCP are led by their length.
pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await
}

pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Whether it has the query's id and repeats its question.
fn is_answer(query: &[u8], answer: &[u8]) -> bool {
    let end = question_end(query);
    answer.len() >= HEADER_LEN
        && answer[..2] == query[..2]
        && answer[2] & 0x80 != 0
        && (answer.len() < end || answer[HEADER_LEN..end].eq_ignore_ascii_case(&query[HEADER_LEN..end]))
}

fn question_end(query: &[u8]) -> usize {
    let mut at = HEADER_LEN;
    while let Some(len) = query.get(at).copied().filter(|len| *len != 0) {
        at += usize::from(len) + 1;
    }
    (at + 5).min(query.len())
}

fn random_id() -> [u8; 2] {
    let mut id = [0; 2];
    // Without randomness the port still is hard to guess.
    let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
    id
}
