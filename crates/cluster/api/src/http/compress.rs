//! Answers as gzip for clients that take it: those so long that sending them costs more than packing them.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hako_client::Body;
use hako_error::{Error, Kind};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::Answer;
use super::pieces::WHOLE_BYTES;

/// As kube-apiserver: anything shorter goes as it is.
const FROM_BYTES: u64 = WHOLE_BYTES as u64;
/// How much is packed before it is sent.
const CHUNK_BYTES: usize = 16 << 10;

/// Whether a client takes gzip (RFC 9110, 12.5.3).
pub(crate) fn is_taken(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(is_gzip)
}

fn is_gzip(coding: &str) -> bool {
    let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
    name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
}

/// The same answer, packed if it is long.
pub(crate) fn packed(answer: Answer) -> Answer {
    let is_long = answer.body().size_hint().lower() > FROM_BYTES;
    if !is_long
        || answer.status() != StatusCode::OK
        || answer.headers().contains_key(header::CONTENT_ENCODING)
    {
        return answer;
    }
    let mut answer = answer.map(|plain| Packed::new(plain).boxed_unsync());
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    // Whoever keeps answers for others has to know that another client gets another one.
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    answer
}

/// A body that is packed as it goes.
struct Packed {
    plain: Body,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Packed {
    fn new(plain: Body) -> Self {
        Self { plain, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }

    /// What is packed so far.
    fn take(&mut self) -> Option<Bytes> {
        let packed = std::mem::take(self.encoder.as_mut()?.get_mut());
        Some(Bytes::from(packed))
    }
}

fn fault(error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, format!("an answer could not be packed: {error}"))
}

impl http_body::Body for Packed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        while self.encoder.is_some() {
            let frame = ready!(Pin::new(&mut self.plain).poll_frame(context));
            let Some(frame) = frame else {
                let end = self.encoder.take().map(GzEncoder::finish);
                let end =
                    end.map(|end| end.map(|last| Frame::data(last.into())).map_err(|error| fault(&error)));
                return Poll::Ready(end);
            };
            let Ok(data) = frame?.into_data() else { continue };
            let Some(encoder) = &mut self.encoder else { break };
            encoder.write_all(&data).map_err(|error| fault(&error))?;
            if encoder.get_ref().len() >= CHUNK_BYTES {
                return Poll::Ready(self.take().map(|packed| Ok(Frame::data(packed))));
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::answer;
    use std::io::Read as _;

    fn takes(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        is_taken(&headers)
    }

    #[test]
    fn gzip_is_taken_by_who_names_it_and_does_not_weigh_it_nothing() {
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate,gzip"));
        assert!(!takes("") && !takes("br") && !takes("gzip;q=0") && !takes("x-gzip") && !takes("gzip;q=x"));
        assert!(!is_taken(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn long_answers_are_packed_and_short_ones_are_not() {
        let text = |length: usize| Bytes::from("0123456789".repeat(length / 10));
        let short = packed(answer::text(StatusCode::OK, text(FROM_BYTES as usize)));
        assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
        let long = packed(answer::text(StatusCode::OK, text(1_000_000)));
        assert_eq!(long.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(long.headers()[header::VARY], "Accept-Encoding");
        let sent = long.into_body().collect().await.unwrap().to_bytes();
        assert!(sent.len() < 100_000, "{} bytes", sent.len());
        let mut read = String::new();
        flate2::read::GzDecoder::new(&sent[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read.as_bytes(), &text(1_000_000)[..]);
    }

    #[tokio::test]
    async fn a_failure_is_never_packed() {
        let long = answer::text(StatusCode::CONFLICT, "x".repeat(1_000_000));
        assert!(!packed(long).headers().contains_key(header::CONTENT_ENCODING));
    }
}
