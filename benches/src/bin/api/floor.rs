//! What a client can list at best: a server that only sends one prepared body, over the TLS and HTTP/2 that the API
//! has. It knows as much of HTTP/2 (RFC 9113) as it takes to be asked by kload.

use anyhow::Context as _;
use hako_api::pki::{Pki, ServerNames};
use rustls::crypto::ring::cipher_suite;
use rustls::{ServerConfig, ServerConnection};
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// What fills a TLS record with its head; less than the largest frame that a client takes unless it says more.
const FRAME_BYTES: usize = (16 << 10) - HEAD_BYTES;
/// How much is encrypted before it is sent, in few calls.
const BATCH_BYTES: usize = 256 << 10;
const WINDOW: i64 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Heads in HPACK: `:status: 200` of its static table, and `:status` of it with a literal 409.
const OK: &[u8] = &[0x88];
const CONFLICT: &[u8] = b"\x08\x03409";

/// Answers every GET with `body` and all else with 409, which tells kload that its namespace is there; for as long as
/// the bench runs. Returns where.
pub fn serve(pki: &Path, body: Vec<u8>) -> anyhow::Result<String> {
    let pki = Pki::open(pki, &ServerNames::default())?;
    let mut provider = rustls::crypto::ring::default_provider();
    // What the API prefers, too.
    provider.cipher_suites.sort_by_key(|suite| *suite != cipher_suite::TLS13_AES_128_GCM_SHA256);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<hako_api::pki::Issued>::clone(pki.server()));
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, body) = (Arc::new(config), Arc::new(body));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, body) = (Arc::clone(&config), Arc::clone(&body));
            // Ends with its connection.
            std::thread::spawn(move || Connection::new(stream, config, &body)?.run());
        }
    });
    Ok(url)
}

struct Connection<'a> {
    tls: ServerConnection,
    socket: TcpStream,
    body: &'a [u8],
    /// What came and is no whole frame yet.
    input: Vec<u8>,
    /// Frames that are not encrypted yet: as few records as they fit in.
    output: Vec<u8>,
    has_preface: bool,
    /// What may be sent on the connection, and on a new stream.
    window: i64,
    initial: i64,
    answers: VecDeque<Answer>,
}

struct Answer {
    stream: u32,
    window: i64,
    sent: usize,
}

impl<'a> Connection<'a> {
    fn new(socket: TcpStream, config: Arc<ServerConfig>, body: &'a [u8]) -> anyhow::Result<Self> {
        socket.set_nodelay(true)?;
        let mut tls = ServerConnection::new(config)?;
        tls.set_buffer_limit(None);
        Ok(Self {
            tls,
            socket,
            body,
            input: Vec::new(),
            output: Vec::new(),
            has_preface: false,
            window: WINDOW,
            initial: WINDOW,
            answers: VecDeque::new(),
        })
    }

    fn run(mut self) -> anyhow::Result<()> {
        self.frame(SETTINGS, 0, 0, &[])?;
        loop {
            self.send_bodies()?;
            self.receive()?;
            while let Some(frame) = self.next_frame()? {
                self.take(&frame)?;
            }
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let mut head = [0; HEAD_BYTES];
        head[..3].copy_from_slice(&length[1..]);
        (head[3], head[4]) = (kind, flags);
        head[5..].copy_from_slice(&stream.to_be_bytes());
        self.output.extend_from_slice(&head);
        self.output.extend_from_slice(payload);
        Ok(())
    }

    /// Sends of the oldest answers what the client has room for.
    fn send_bodies(&mut self) -> anyhow::Result<()> {
        while self.window > 0
            && let Some(at) = self.answers.iter().position(|answer| answer.window > 0)
        {
            let answer = &mut self.answers[at];
            let room = usize::try_from(self.window.min(answer.window))?.min(FRAME_BYTES);
            let piece = &self.body[answer.sent..];
            let piece = &piece[..piece.len().min(room)];
            let length = i64::try_from(piece.len())?;
            (answer.sent, answer.window) = (answer.sent + piece.len(), answer.window - length);
            self.window -= length;
            let (stream, is_whole) = (answer.stream, answer.sent == self.body.len());
            if is_whole {
                self.answers.remove(at);
            }
            self.frame(DATA, if is_whole { END_STREAM } else { 0 }, stream, piece)?;
            if self.output.len() >= BATCH_BYTES {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.tls.writer().write_all(&self.output)?;
        self.output.clear();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Waits until something comes.
    fn receive(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.tls.read_tls(&mut self.socket)? > 0, "the client is done");
        let state = self.tls.process_new_packets()?;
        let from = self.input.len();
        self.input.resize(from + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut self.input[from..])?;
        Ok(())
    }

    /// A frame with its head.
    fn next_frame(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if !self.has_preface {
            if self.input.len() < PREFACE.len() {
                return Ok(None);
            }
            anyhow::ensure!(self.input.drain(..PREFACE.len()).eq(PREFACE.iter().copied()), "no HTTP/2");
            self.has_preface = true;
        }
        let Some((head, _)) = self.input.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let length = HEAD_BYTES + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let is_whole = self.input.len() >= length;
        Ok(is_whole.then(|| self.input.drain(..length).collect()))
    }

    fn take(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let (head, payload) = frame.split_first_chunk::<HEAD_BYTES>().context("a frame's head")?;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        match kind {
            HEADERS if flags & END_STREAM != 0 => {
                self.frame(HEADERS, END_HEADERS, stream, OK)?;
                self.answers.push_back(Answer { stream, window: self.initial, sent: 0 });
            }
            DATA if flags & END_STREAM != 0 => {
                self.frame(HEADERS, END_HEADERS | END_STREAM, stream, CONFLICT)?;
            }
            RST_STREAM => self.answers.retain(|answer| answer.stream != stream),
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    if u16::from_be_bytes([setting[0], setting[1]]) == INITIAL_WINDOW_SIZE {
                        self.initial = i64::from(number(&setting[2..])?);
                    }
                }
                self.frame(SETTINGS, ACK, 0, &[])?;
            }
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, payload)?,
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(payload)?),
            WINDOW_UPDATE => {
                let more = i64::from(number(payload)?);
                if let Some(answer) = self.answers.iter_mut().find(|answer| answer.stream == stream) {
                    answer.window += more;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> anyhow::Result<u32> {
    Ok(u32::from_be_bytes(bytes.try_into()?))
}
