//! A container's streams on our own: Docker's framing, and a terminal in raw mode.

use super::client::{EngineClient, Payload};
use crate::output;
use anyhow::{Context, bail};
use bytes::{Buf, BytesMut};
use hyper::Method;
use rustix::termios::{self, OptionalActions, Termios};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

/// Copies standard input to the container and its output to ours until the container closes its end.
pub(crate) async fn pump<S>(stream: S, tty: bool, stdin: bool) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let input = stdin.then(|| {
        tokio::spawn(async move {
            // The container may end before it has read all; that is not our failure.
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut writer).await;
            let _ = writer.shutdown().await;
        })
    });
    let result = if tty { raw(reader).await } else { framed(reader).await };
    if let Some(input) = input {
        input.abort();
    }
    result
}

async fn raw(mut reader: impl AsyncRead + Unpin) -> anyhow::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match reader.read(&mut buffer).await.context("read the container's terminal")? {
            0 => return Ok(()),
            read => output::bytes(&buffer[..read]),
        }
    }
}

/// Frames of `stream(1) zero(3) length(4, big-endian) payload`, Docker Engine API, "Attach: Stream format".
pub(crate) async fn framed(mut reader: impl AsyncRead + Unpin) -> anyhow::Result<()> {
    let mut buffer = BytesMut::with_capacity(32 * 1024);
    while reader.read_buf(&mut buffer).await.context("read the container's output")? > 0 {
        while let Some((stream, payload)) = next_frame(&mut buffer)? {
            match stream {
                2 => output::error_bytes(&payload),
                _ => output::bytes(&payload),
            }
        }
    }
    Ok(())
}

fn next_frame(buffer: &mut BytesMut) -> anyhow::Result<Option<(u8, BytesMut)>> {
    const MAX_FRAME: usize = 16 << 20;
    if buffer.len() < 8 {
        return Ok(None);
    }
    let length = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]) as usize;
    if length > MAX_FRAME || buffer[0] > 2 {
        bail!("the engine's stream is damaged: a frame of {length} bytes");
    }
    if buffer.len() < 8 + length {
        return Ok(None);
    }
    let stream = buffer[0];
    buffer.advance(8);
    Ok(Some((stream, buffer.split_to(length))))
}

/// Our terminal in raw mode, restored when dropped.
#[derive(Debug)]
pub(crate) struct RawTerminal(Termios);

impl RawTerminal {
    /// `None` where standard input is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        let saved = termios::tcgetattr(&stdin).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(saved))
    }
}

/// Gives the terminal at the other end (`/containers/ID` or `/exec/ID`) our terminal's size, now and whenever it
/// changes. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct SizeFollower(tokio::task::JoinHandle<()>);

impl SizeFollower {
    /// `None` where standard input is no terminal.
    pub(crate) fn start(engine: &EngineClient, path: String) -> Option<Self> {
        size()?;
        let mut changes = signal(SignalKind::window_change()).ok()?;
        let engine = engine.clone();
        Some(Self(tokio::spawn(async move {
            loop {
                tell_size(&engine, &path).await;
                if changes.recv().await.is_none() {
                    return;
                }
            }
        })))
    }
}

impl Drop for SizeFollower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The stream opens a moment before the program that it belongs to is there.
async fn tell_size(engine: &EngineClient, path: &str) {
    const ATTEMPTS: u32 = 10;
    for attempt in 1..=ATTEMPTS {
        let Some((rows, columns)) = size() else { return };
        let path = format!("{path}/resize?h={rows}&w={columns}");
        if engine.send(Method::POST, &path, Payload::Empty).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10) * attempt).await;
    }
}

/// Rows and columns of our terminal.
fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(std::io::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // The terminal may be gone already.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_split_anywhere_are_put_together() {
        let mut buffer = BytesMut::from(&[1, 0, 0, 0, 0, 0, 0, 2, b'h'][..]);
        assert!(next_frame(&mut buffer).unwrap().is_none());
        buffer.extend_from_slice(&[b'i', 2, 0, 0, 0, 0, 0, 0, 0]);
        let (stream, payload) = next_frame(&mut buffer).unwrap().unwrap();
        assert_eq!((stream, &payload[..]), (1, &b"hi"[..]));
        let (stream, payload) = next_frame(&mut buffer).unwrap().unwrap();
        assert_eq!((stream, payload.len()), (2, 0));
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused() {
        assert!(next_frame(&mut BytesMut::from(&[1, 0, 0, 0, 0xff, 0, 0, 0][..])).is_err());
    }
}
