//! Raw connections for clients that do not ask for an upgrade.
//!
//! Before HTTP had a word for it, Docker's clients sent `POST …/attach` or `POST /exec/…/start`, got `200 OK`, and both
//! ends went on with raw bytes. A parser of HTTP takes such bytes for the next request. So, between the socket and the
//! parser, the request gets the header that it lacks, and the answer loses what the client did not ask for.
//!
//! ```text
//! client ──  POST /exec/ID/start               ──▶  + Connection: Upgrade, Upgrade: tcp  ──▶ parser
//! client ◀──  200 OK, the type, raw bytes      ──  101, Connection, Upgrade, the type   ◀── parser
//! ```
//! The parser also refuses a request line beyond 64 KiB, where Docker takes a head of 1 MiB: build arguments and filters
//! are in the query. It refuses quotes as well, which people do not encode in the filters that they type. The query of such a line
//! goes around the parser, see [`Heads::query`].
//!
//! Invariant: only the head of a request is looked at, never a byte of a body: [`Heads::next`] says when one begins.

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use std::io::Result;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A head beyond this is the parser's to refuse.
pub(crate) const LONGEST: usize = (1 << 20) + (4 << 10);
/// What the parser takes of a request line.
const LONGEST_LINE: usize = 60 << 10;
/// What the parser takes for no part of a query.
const REFUSED: &[u8] = b"\"<>";
const END: &[u8] = b"\r\n\r\n";
const ASKS: &[u8] = b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";
/// To a client that waits for it before it sends a body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 ";

/// What both sides of the parser know of the request that is read.
#[derive(Debug, Default)]
struct Known {
    /// Whether the next byte of the connection begins a request.
    at_head: AtomicBool,
    /// The query that was taken out of its line.
    query: Mutex<Option<LongQuery>>,
}

/// The query of a request whose line was too long for the parser, or had quotes in it.
#[derive(Clone, Debug)]
pub(crate) struct LongQuery(pub(crate) Arc<str>);

/// Where the requests of a connection begin.
#[derive(Clone, Debug)]
pub(crate) struct Heads(Arc<Known>);

impl Heads {
    /// The connection has sent all of the last request.
    pub(crate) fn next(&self) {
        self.0.at_head.store(true, Ordering::Relaxed);
    }

    /// What went around the parser of the request that it has just read.
    pub(crate) fn query(&self) -> Option<LongQuery> {
        self.0.query.lock().take()
    }
}

/// A connection between the socket and the parser.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    inner: T,
    known: Arc<Known>,
    /// Of a head that has not come to its end, or that the parser has yet to read.
    read: BytesMut,
    /// Whether `read` is for the parser.
    is_whole: bool,
    /// The answer to come is one to a client that did not ask.
    rewrites: bool,
    /// Of an answer's head, on its way to the client.
    written: BytesMut,
}

impl<T> Gate<T> {
    pub(crate) fn new(inner: T) -> (Self, Heads) {
        let known = Arc::new(Known { at_head: AtomicBool::new(true), ..Known::default() });
        let heads = Heads(Arc::clone(&known));
        let (read, written) = (BytesMut::new(), BytesMut::new());
        (Self { inner, known, read, is_whole: false, rewrites: false, written }, heads)
    }

    fn at_head(&self) -> bool {
        self.known.at_head.load(Ordering::Relaxed)
    }

    /// Looks at what has come of a head. `from` is how much of it was there before.
    fn look(&mut self, from: usize) {
        let end = find(&self.read[from.saturating_sub(END.len())..], END);
        let end = end.map(|end| end + from.saturating_sub(END.len()));
        let waits = may_be_raw(&self.read) || !self.read[from..].contains(&b'\n');
        if end.is_none() && self.read.len() < LONGEST && waits {
            return;
        }
        self.is_whole = true;
        self.known.at_head.store(false, Ordering::Relaxed);
        self.shorten();
        let end = end.and_then(|_| find(&self.read, END)).filter(|end| takes_raw(&self.read[..*end]));
        let Some(end) = end else { return };
        let rest = self.read.split_off(end + END.len());
        self.read.truncate(end);
        self.read.extend_from_slice(ASKS);
        self.read.extend_from_slice(&rest);
        self.rewrites = true;
    }

    /// Leads the query around the parser where the line is too long for that, or has what the parser refuses and Go's does not.
    fn shorten(&mut self) {
        let line = self.read.iter().position(|byte| *byte == b'\n').unwrap_or_default();
        let Some(query) = query_of(&self.read[..line]) else { return };
        if line <= LONGEST_LINE && !self.read[query.clone()].iter().any(|byte| REFUSED.contains(byte)) {
            return;
        }
        let text = String::from_utf8_lossy(&self.read[query.clone()]).into();
        *self.known.query.lock() = Some(LongQuery(text));
        let rest = self.read.split_off(query.end);
        // Without its question mark.
        self.read.truncate(query.start - 1);
        self.read.extend_from_slice(&rest);
    }
}

/// Where a request line has its query. What no target may have in it is the parser's to refuse.
fn query_of(line: &[u8]) -> Option<Range<usize>> {
    let end = line.iter().rposition(|byte| *byte == b' ')?;
    let start = line[..end].iter().position(|byte| *byte == b'?')? + 1;
    (start <= LONGEST_LINE && line[start..end].iter().all(u8::is_ascii_graphic)).then_some(start..end)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// What other requests begin with is not waited for.
fn may_be_raw(head: &[u8]) -> bool {
    let begins = b"POST /";
    head.starts_with(begins) || begins.starts_with(head)
}

/// Whether the answer is a raw connection, and nothing of HTTP says so.
fn takes_raw(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("POST"), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parts = path.split('/').skip(1).peekable();
    parts.next_if(|part| part.starts_with("v1."));
    let route = [parts.next(), parts.next().map(|_| "ID"), parts.next(), parts.next()];
    let names: Vec<String> =
        lines.filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    let has = |name: &str| names.iter().any(|known| known == name);
    let is_attach = route == [Some("containers"), Some("ID"), Some("attach"), None]
        // A body is the input, without a hijack.
        && !has("transfer-encoding")
        && query.split('&').any(|pair| matches!(pair, "stdin=1" | "stdin=true" | "stdin=True"));
    let is_exec = route == [Some("exec"), Some("ID"), Some("start"), None] && !has("transfer-encoding");
    (is_attach || is_exec) && !has("upgrade")
}

/// The head of an answer for who did not ask for an upgrade.
fn plain(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let is_kept = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case("connection") && !name.eq_ignore_ascii_case("upgrade")
    };
    let lines = std::iter::once("HTTP/1.1 200 OK").chain(head.split("\r\n").skip(1).filter(is_kept));
    (lines.collect::<Vec<_>>().join("\r\n") + "\r\n\r\n").into_bytes()
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let gate = self.get_mut();
        loop {
            if gate.is_whole && gate.read.has_remaining() {
                let len = gate.read.len().min(buffer.remaining());
                buffer.put_slice(&gate.read.split_to(len));
                return Poll::Ready(Ok(()));
            }
            gate.is_whole = false;
            if !gate.at_head() {
                return Pin::new(&mut gate.inner).poll_read(context, buffer);
            }
            let mut piece = [0; 8 << 10];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut gate.inner).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                // What came of a head is the parser's to judge; then it reads the end itself.
                gate.known.at_head.store(false, Ordering::Relaxed);
                gate.is_whole = true;
                continue;
            }
            let before = gate.read.len();
            gate.read.extend_from_slice(piece.filled());
            gate.look(before);
        }
    }
}

impl<T: AsyncWrite + Unpin> Gate<T> {
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while self.written.has_remaining() {
            let len = ready!(Pin::new(&mut self.inner).poll_write(context, &self.written))?;
            if len == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(len);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let gate = self.get_mut();
        ready!(gate.poll_written(context))?;
        if gate.rewrites
            && bytes.starts_with(CONTINUE)
            && let Some(end) = find(bytes, END)
        {
            // The answer is yet to come.
            gate.written.extend_from_slice(&bytes[..end + END.len()]);
            return Poll::Ready(Ok(end + END.len()));
        }
        if std::mem::take(&mut gate.rewrites)
            && bytes.starts_with(SWITCHING)
            && let Some(end) = find(bytes, END)
        {
            gate.written.extend_from_slice(&plain(&bytes[..end]));
            return Poll::Ready(Ok(end + END.len()));
        }
        Pin::new(&mut gate.inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_written(context))?;
        Pin::new(&mut gate.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_written(context))?;
        Pin::new(&mut gate.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn only_requests_that_docker_hijacks_are_taken() {
        for (is_raw, head) in [
            (true, "POST /containers/x/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d"),
            (true, "POST /v1.24/exec/abc/start HTTP/1.1\r\nContent-Length: 2"),
            (false, "POST /v1.24/exec/abc/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp"),
            (false, "POST /containers/x/attach?stream=1&stdin=0 HTTP/1.1"),
            (false, "POST /containers/x/attach?stdin=1 HTTP/1.1\r\nTransfer-Encoding: chunked"),
            (false, "GET /containers/x/attach?stdin=1 HTTP/1.1"),
            (false, "POST /exec/abc/start HTTP/1.0"),
            (false, "POST /exec/abc/start/more HTTP/1.1"),
            (false, "POST /containers/x/start HTTP/1.1"),
        ] {
            assert_eq!(takes_raw(head.as_bytes()), is_raw, "{head}");
        }
    }

    #[tokio::test]
    async fn a_head_in_pieces_gets_the_header_and_its_answer_loses_it() {
        let (mut client, server) = tokio::io::duplex(64);
        let (mut gate, heads) = Gate::new(server);
        let head = "POST /exec/abc/start HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}raw POST /exec/x/start HTTP/1.1\r\n\r\n";
        tokio::spawn(async move {
            for piece in head.as_bytes().chunks(7) {
                client.write_all(piece).await.unwrap();
            }
            let mut answer = vec![0; 4096];
            let mut len = 0;
            while find(&answer[..len], b"bytes").is_none() {
                len += client.read(&mut answer[len..]).await.unwrap();
            }
            let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
            client.write_all(answer.as_bytes()).await.unwrap();
        });
        let expected = head.replacen("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", 1);
        let mut seen = vec![0; expected.len()];
        gate.read_exact(&mut seen).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), expected);
        gate.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        gate.write_all(b"HTTP/1.1 101 Switching Protocols\r\ncontent-type: t\r\nconnection: Upgrade\r\nupgrade: tcp\r\n\r\nbytes")
            .await
            .unwrap();
        gate.flush().await.unwrap();
        let told = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: t\r\n\r\nbytes";
        let mut seen = vec![0; told.len()];
        gate.read_exact(&mut seen).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), told);
        heads.next();
        assert!(gate.at_head());
    }

    #[tokio::test]
    async fn the_query_of_a_long_line_goes_around_the_parser() {
        let long = format!("filters={}", "x".repeat(200_000));
        for method in ["GET", "POST"] {
            let (mut client, server) = tokio::io::duplex(5000);
            let (mut gate, heads) = Gate::new(server);
            let sent = format!("{method} /v1.41/build?{long} HTTP/1.1\r\nHost: d\r\n\r\nbody");
            tokio::spawn(async move { client.write_all(sent.as_bytes()).await.unwrap() });
            let mut seen = String::new();
            gate.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, format!("{method} /v1.41/build HTTP/1.1\r\nHost: d\r\n\r\nbody"));
            assert_eq!(&*heads.query().unwrap().0, long);
            assert!(heads.query().is_none(), "of one request only");
        }
        for line in [format!("GET /{long} HTTP/1.1"), format!("GET /?{long}\0 HTTP/1.1"), "GET /?x H".into()]
        {
            let (mut client, server) = tokio::io::duplex(5000);
            let (mut gate, heads) = Gate::new(server);
            let sent = format!("{line}\r\n\r\n");
            let bytes = sent.clone().into_bytes();
            tokio::spawn(async move { client.write_all(&bytes).await.unwrap() });
            let mut seen = String::new();
            gate.read_to_string(&mut seen).await.unwrap();
            assert!(seen == sent && heads.query().is_none());
        }
    }

    #[tokio::test]
    async fn other_requests_pass_as_they_are() {
        for request in ["GET / HTTP/1.1\r\n\r\n", "POST /exec/abc/start HTTP/1.1\r\nHost", "x"] {
            let (mut client, server) = tokio::io::duplex(64);
            let (mut gate, _) = Gate::new(server);
            client.write_all(request.as_bytes()).await.unwrap();
            drop(client);
            let mut seen = String::new();
            gate.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, request);
        }
    }
}
