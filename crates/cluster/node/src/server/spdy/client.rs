//! The client's side, for tests.

use super::frame::{Frame, Reader, Writer};
use super::headers::Headers;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

pub(in super::super) struct Client<T> {
    reader: Reader<ReadHalf<T>>,
    writer: Writer<WriteHalf<T>>,
}

impl<T: AsyncRead + AsyncWrite> Client<T> {
    pub(in super::super) fn new(io: T) -> Self {
        let (read, write) = tokio::io::split(io);
        Self { reader: Reader::new(read), writer: Writer::new(write) }
    }

    pub(in super::super) async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let pairs = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = Headers(pairs.collect());
        self.writer.write(&Frame::Open { stream, headers, is_last: false }).await.unwrap();
    }

    pub(in super::super) async fn send(&mut self, stream: u32, text: &str, is_last: bool) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.writer.write(&Frame::Data { stream, bytes, is_last }).await.unwrap();
    }

    pub(in super::super) async fn ping(&mut self, id: u32) {
        self.writer.write(&Frame::Ping { id }).await.unwrap();
    }

    /// What the server says, in words; none when it hung up.
    pub(in super::super) async fn next(&mut self) -> Option<String> {
        Some(match self.reader.next().await.unwrap()? {
            Frame::Reply { stream } => format!("reply {stream}"),
            Frame::Data { stream, bytes, is_last } => {
                let end = if is_last { " end" } else { "" };
                format!("{stream}: {}{end}", String::from_utf8_lossy(&bytes))
            }
            Frame::Ping { id } => format!("ping {id}"),
            other => format!("{other:?}"),
        })
    }
}
