//! Frames on the wire.
//!
//! ```text
//! data     0 stream(31) | flags(8) length(24) | bytes
//! control  1 version(15) type(16) | flags(8) length(24) | payload
//! ```

use super::SpdyError;
use super::headers::{Deflater, Headers, Inflater};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

const VERSION: u16 = 3;
const CONTROL: u16 = 0x8000;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const HEADERS: u16 = 8;
const FIN: u8 = 1;
/// REFUSED_STREAM, the only reason we give.
const REFUSED: u32 = 3;
const HEAD: usize = 8;
/// Clients send pieces of 32 KiB.
const LIMIT: usize = 1 << 20;

/// What travels.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client opens a stream.
    Open { stream: u32, headers: Headers, is_last: bool },
    /// The server takes it.
    Reply { stream: u32 },
    /// Bytes of a stream.
    Data { stream: u32, bytes: Bytes, is_last: bool },
    /// A stream is given up.
    Reset { stream: u32 },
    /// Sent back as it is.
    Ping { id: u32 },
    /// Settings, windows, farewells: nothing follows from them.
    Other,
}

/// Reads frames.
#[derive(Debug)]
pub struct Reader<R> {
    io: BufReader<R>,
    inflater: Inflater,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from a connection.
    pub fn new(io: R) -> Self {
        Self { io: BufReader::new(io), inflater: Inflater::new() }
    }

    /// The next frame; none when the peer hung up between two.
    ///
    /// # Errors
    /// When what comes is no frame, or nothing comes any more.
    pub async fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        let mut head = [0; HEAD];
        if self.io.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        self.io.read_exact(&mut head[1..]).await?;
        let mut head = &head[..];
        let (first, flags_and_length) = (head.get_u32(), head.get_u32());
        let length = (flags_and_length & 0x00ff_ffff) as usize;
        if length > LIMIT {
            return Err(SpdyError::TooLarge { length, limit: LIMIT });
        }
        let mut payload = vec![0; length];
        self.io.read_exact(&mut payload).await?;
        let is_last = (flags_and_length >> 24) as u8 & FIN != 0;
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data { stream: first, bytes: payload.into(), is_last }));
        }
        let (version, kind) = ((first >> 16) as u16 & !CONTROL, first as u16);
        if version != VERSION {
            return Err(SpdyError::Version { version });
        }
        self.control(kind, payload.into(), is_last).map(Some)
    }

    fn control(&mut self, kind: u16, mut payload: Bytes, is_last: bool) -> Result<Frame, SpdyError> {
        let fixed = match kind {
            SYN_STREAM => 10,
            SYN_REPLY | RST_STREAM | PING | HEADERS => 4,
            _ => return Ok(Frame::Other),
        };
        if payload.len() < fixed {
            return Err(SpdyError::Short { kind });
        }
        let id = payload.get_u32();
        let stream = id & 0x7fff_ffff;
        payload.advance(fixed - 4);
        Ok(match kind {
            SYN_STREAM => Frame::Open { stream, headers: self.inflater.read(&payload)?, is_last },
            // All headers of a connection are one compressed text: none may be skipped.
            SYN_REPLY => {
                self.inflater.read(&payload)?;
                Frame::Reply { stream }
            }
            HEADERS => {
                self.inflater.read(&payload)?;
                Frame::Other
            }
            RST_STREAM => Frame::Reset { stream },
            _ => Frame::Ping { id },
        })
    }
}

/// Writes frames.
#[derive(Debug)]
pub struct Writer<W> {
    pub io: W,
    deflater: Deflater,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes to a connection.
    pub fn new(io: W) -> Self {
        Self { io, deflater: Deflater::new() }
    }

    /// Writes one frame, and all of it.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn write(&mut self, frame: &Frame) -> std::io::Result<()> {
        let mut out = BytesMut::new();
        match frame {
            Frame::Open { stream, headers, is_last } => {
                let block = self.deflater.write(headers)?;
                head(&mut out, SYN_STREAM, *is_last, 10 + block.len());
                out.put_u32(*stream);
                out.put_slice(&[0; 6]);
                out.put_slice(&block);
            }
            Frame::Reply { stream } => {
                let block = self.deflater.write(&Headers::default())?;
                head(&mut out, SYN_REPLY, false, 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(&block);
            }
            Frame::Data { stream, bytes, is_last } => {
                out.put_u32(*stream);
                put_length(&mut out, *is_last, bytes.len());
                out.put_slice(bytes);
            }
            Frame::Reset { stream } => {
                head(&mut out, RST_STREAM, false, 8);
                out.put_u32(*stream);
                out.put_u32(REFUSED);
            }
            Frame::Ping { id } => {
                head(&mut out, PING, false, 4);
                out.put_u32(*id);
            }
            Frame::Other => {}
        }
        self.io.write_all(&out).await?;
        self.io.flush().await
    }
}

fn head(out: &mut BytesMut, kind: u16, is_last: bool, length: usize) {
    out.put_u16(CONTROL | VERSION);
    out.put_u16(kind);
    put_length(out, is_last, length);
}

fn put_length(out: &mut BytesMut, is_last: bool, length: usize) {
    out.put_u8(if is_last { FIN } else { 0 });
    out.put_uint(length as u64, 3);
}
