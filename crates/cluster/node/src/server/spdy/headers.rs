//! Header blocks: names and values, compressed with the dictionary of SPDY/3 (section 2.6.10.1 of its draft), all
//! blocks of one direction as one text.
//!
//! ```text
//! block = count, (length name, length value)…        numbers are u32, big endian
//! ```

use super::SpdyError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::sync::OnceLock;

/// Bytes of one block.
const LIMIT: usize = 64 << 10;

/// Words of the dictionary, each with its length before it.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// The rest of the dictionary.
const PHRASES: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Una",
    "uthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service",
    " UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, ",
    "Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,applicat",
    "ion/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf",
    "-8charset=iso-8859-1,utf-,*,enq=0.",
);

fn dictionary() -> &'static [u8] {
    static DICTIONARY: OnceLock<Vec<u8>> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let mut all = Vec::new();
        for word in WORDS {
            all.put_u32(word.len() as u32);
            all.put_slice(word.as_bytes());
        }
        all.put_slice(PHRASES.as_bytes());
        all
    })
}

/// Names, in small letters, with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of a name in small letters.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// Reads the blocks of a connection.
#[derive(Debug)]
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Reads the next block.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, SpdyError> {
        let mut out = Vec::with_capacity(LIMIT);
        let mut rest = block;
        while !rest.is_empty() {
            let before = (self.0.total_in(), out.len());
            let done = self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.0.total_in() - before.0).map_err(|_| SpdyError::Compression)?;
            rest = rest.get(used..).ok_or(SpdyError::Compression)?;
            match done {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(dictionary()).map_err(|_| SpdyError::Compression)?;
                }
                Ok(_) if used > 0 || out.len() > before.1 => {}
                // The text is larger than a block may be, or no text at all.
                _ => return Err(SpdyError::Compression),
            }
        }
        parse(&out).ok_or(SpdyError::Headers)
    }
}

fn parse(mut text: &[u8]) -> Option<Headers> {
    let mut headers = Vec::new();
    for _ in 0..text.try_get_u32().ok()? {
        let name = take(&mut text)?;
        headers.push((name.to_ascii_lowercase(), take(&mut text)?));
    }
    Some(Headers(headers))
}

fn take(text: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(text.try_get_u32().ok()?).ok()?;
    let (taken, rest) = text.split_at_checked(length)?;
    *text = rest;
    Some(String::from_utf8_lossy(taken).into_owned())
}

/// Writes the blocks of a connection.
#[derive(Debug)]
pub(super) struct Deflater {
    stream: Compress,
    has_begun: bool,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self { stream: Compress::new(Compression::fast(), true), has_begun: false }
    }

    /// Writes the next block.
    pub(super) fn write(&mut self, headers: &Headers) -> std::io::Result<Bytes> {
        if !self.has_begun {
            self.stream.set_dictionary(dictionary()).map_err(std::io::Error::other)?;
            self.has_begun = true;
        }
        let mut text = BytesMut::new();
        text.put_u32(headers.0.len() as u32);
        for part in headers.0.iter().flat_map(|(name, value)| [name, value]) {
            text.put_u32(part.len() as u32);
            text.put_slice(part.as_bytes());
        }
        // What cannot be made smaller grows by a few bytes in every 16 KiB.
        let mut out = Vec::with_capacity(text.len() + text.len() / 1024 + 128);
        self.stream.compress_vec(&text, &mut out, FlushCompress::Sync).map_err(std::io::Error::other)?;
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_dictionary_is_that_of_the_draft() {
        assert_eq!(dictionary().len(), 1423);
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in dictionary() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(b << 16 | a, 0xe3c6_a7c2, "the checksum that compressed streams name");
    }

    #[test]
    fn all_blocks_of_a_connection_are_one_text() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for block in [
            headers(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")]),
            headers(&[]),
            headers(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]),
        ] {
            assert_eq!(inflater.read(&deflater.write(&block).unwrap()).unwrap(), block);
        }
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let mut block = Deflater::new().write(&headers(&[("a", "b")])).unwrap().to_vec();
        assert!(Inflater::new().read(&block[..3]).is_err());
        block[8] ^= 0xff;
        assert!(Inflater::new().read(&block).is_err());
        let bomb = Deflater::new().write(&headers(&[("a", &"b".repeat(2 * LIMIT))])).unwrap();
        assert!(Inflater::new().read(&bomb).is_err(), "a small block with a large text");
    }
}
