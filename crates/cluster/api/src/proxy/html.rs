//! Links in pages that come through a proxy: those to the place that is proxied lead through the proxy, too.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::{GzDecoder, ZlibDecoder};
use futures::stream;
use hako_client::Body;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

/// A longer tag passes as it is.
const TAG_MAX: usize = 64 << 10;
/// The attributes that hold links, by element.
const LINKS: [(&str, &[&str]); 29] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
    // Nothing in these is a tag.
    ("style", &[]),
    ("textarea", &[]),
    ("title", &[]),
];
/// Elements whose content is text up to their end.
const OF_TEXT: [&str; 4] = ["script", "style", "textarea", "title"];

/// Where links lead.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// The path up to `/proxy`.
    pub prefix: String,
    /// The host that is proxied, as links name it.
    pub host: String,
}

/// An answer's body with its links rewritten, if it is a page; its headers say what it is then.
pub(super) fn rewrite(headers: &mut HeaderMap, body: Body, links: Links) -> Body {
    let text =
        |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or("");
    let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or("").trim();
    if !media.eq_ignore_ascii_case("text/html") {
        return body;
    }
    let Some(decoder) = Decoder::of(text(header::CONTENT_ENCODING)) else { return body };
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let page = Page { links, held: Vec::new(), mode: Mode::Markup };
    let pieces = stream::unfold(Some((body, decoder, page)), |state| async move {
        let (mut body, mut decoder, mut page) = state?;
        let read = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().map_or(Ok(Vec::new()), |data| decoder.read(&data)),
            Some(Err(error)) => return Some((Err(error), None)),
            None => {
                let last = decoder.end().map(|data| [page.read(&data), page.end()].concat());
                return Some((last.map(|data| Frame::data(Bytes::from(data))), None));
            }
        };
        let piece = read.map(|data| Frame::data(Bytes::from(page.read(&data))));
        let rest = piece.is_ok().then_some((body, decoder, page));
        Some((piece, rest))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// What takes a content coding off.
enum Decoder {
    Plain,
    Gzip(GzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Decoder {
    fn of(coding: &str) -> Option<Self> {
        match coding {
            "" | "identity" => Some(Self::Plain),
            "gzip" => Some(Self::Gzip(GzDecoder::new(Vec::new()))),
            "deflate" => Some(Self::Deflate(ZlibDecoder::new(Vec::new()))),
            _ => None,
        }
    }

    fn read(&mut self, data: &[u8]) -> hako_error::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(data.to_vec()),
            Self::Gzip(decoder) => {
                decoder.write_all(data).map_err(damaged)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Deflate(decoder) => {
                decoder.write_all(data).map_err(damaged)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    fn end(self) -> hako_error::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(Vec::new()),
            Self::Gzip(decoder) => decoder.finish().map_err(damaged),
            Self::Deflate(decoder) => decoder.finish().map_err(damaged),
        }
    }
}

fn damaged(source: std::io::Error) -> hako_error::Error {
    hako_error::Error::new(hako_error::Kind::Unavailable, "a compressed page is damaged").with_source(source)
}

enum Mode {
    Markup,
    Comment,
    /// In an element of text.
    Text(&'static str),
}

/// A page that comes in pieces.
struct Page {
    links: Links,
    /// The beginning of what cannot be told yet.
    held: Vec<u8>,
    mode: Mode,
}

impl Page {
    /// What can be sent now that this has come.
    fn read(&mut self, data: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(data);
        let mut out = Vec::with_capacity(self.held.len());
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let (read, is_enough) = self.step(rest, &mut out);
            rest = &rest[read..];
            if !is_enough {
                break;
            }
        }
        self.held = rest.to_vec();
        out
    }

    fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// How much was read of what is there, and whether it can go on without more.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        match self.mode {
            Mode::Comment => self.until(rest, b"-->", 3, out),
            Mode::Text(name) => self.until(rest, format!("</{name}").as_bytes(), 0, out),
            Mode::Markup if rest[0] != b'<' => {
                let length = rest.iter().position(|byte| *byte == b'<').unwrap_or(rest.len());
                out.extend_from_slice(&rest[..length]);
                (length, true)
            }
            Mode::Markup => self.tag(rest, out),
        }
    }

    /// Passes on what comes up to a mark, and so much of the mark; then markup follows.
    fn until(&mut self, rest: &[u8], mark: &[u8], of_mark: usize, out: &mut Vec<u8>) -> (usize, bool) {
        let found = rest.windows(mark.len()).position(|window| window.eq_ignore_ascii_case(mark));
        let length = match found {
            Some(at) => at + of_mark,
            None => rest.len().saturating_sub(mark.len() - 1),
        };
        out.extend_from_slice(&rest[..length]);
        if found.is_some() {
            self.mode = Mode::Markup;
        }
        (length, found.is_some())
    }

    fn tag(&mut self, rest: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        const COMMENT: &[u8] = b"<!--";
        if rest.len() < COMMENT.len() && (COMMENT.starts_with(rest) || rest.len() == 1) {
            return (0, false);
        }
        if rest.starts_with(COMMENT) {
            out.extend_from_slice(COMMENT);
            self.mode = Mode::Comment;
            return (COMMENT.len(), true);
        }
        if !rest[1].is_ascii_alphabetic() {
            out.push(b'<');
            return (1, true);
        }
        let Some(length) = tag_length(rest) else {
            let is_too_long = rest.len() > TAG_MAX;
            if is_too_long {
                out.push(b'<');
            }
            return (usize::from(is_too_long), is_too_long);
        };
        let tag = &rest[..length];
        let name_length = tag[1..].iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(0);
        let name = String::from_utf8_lossy(&tag[1..=name_length]).to_ascii_lowercase();
        let attributes = LINKS.iter().find(|(element, _)| *element == name).map_or(&[][..], |(_, all)| *all);
        self.links.write(tag, 1 + name_length, attributes, out);
        if let Some(name) = OF_TEXT.iter().find(|element| **element == name) {
            self.mode = Mode::Text(name);
        }
        (length, true)
    }
}

/// How long a tag is; none while its end has not come.
fn tag_length(tag: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

impl Links {
    /// Writes a tag with the links in these attributes rewritten, which begin behind its name.
    fn write(&self, tag: &[u8], mut at: usize, attributes: &[&str], out: &mut Vec<u8>) {
        let mut written = 0;
        while let Some((name, value)) = next_attribute(tag, &mut at) {
            let is_link =
                attributes.iter().any(|link| tag[name.clone()].eq_ignore_ascii_case(link.as_bytes()));
            let link = std::str::from_utf8(&tag[value.clone()]).ok().filter(|_| is_link);
            if let Some(link) = link.and_then(|link| self.through(link)) {
                out.extend_from_slice(&tag[written..value.start]);
                out.extend_from_slice(link.as_bytes());
                written = value.end;
            }
        }
        out.extend_from_slice(&tag[written..]);
    }

    /// Where a link leads through the proxy; none if it stays as it is.
    fn through(&self, link: &str) -> Option<String> {
        let of_host = link.strip_prefix("http:").or_else(|| link.strip_prefix("https:")).unwrap_or(link);
        let path = match of_host.strip_prefix("//") {
            Some(rest) => rest.strip_prefix(self.host.as_str())?,
            None => link,
        };
        let is_beside = path.starts_with(&self.prefix);
        (path.starts_with('/') && !is_beside).then(|| format!("{}{path}", self.prefix))
    }
}

/// The next attribute's name and value, without quotes; where it has no value, that is empty.
fn next_attribute(tag: &[u8], at: &mut usize) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let skip = |from: usize, of: &dyn Fn(u8) -> bool| {
        tag[from..].iter().position(|byte| !of(*byte)).map_or(tag.len(), |length| from + length)
    };
    let start = skip(*at, &|byte| byte.is_ascii_whitespace() || byte == b'/');
    let end = skip(start, &|byte| !byte.is_ascii_whitespace() && !b"=/>".contains(&byte));
    if start == end {
        return None;
    }
    let equals = skip(end, &|byte| byte.is_ascii_whitespace());
    *at = equals;
    if tag.get(equals) != Some(&b'=') {
        return Some((start..end, end..end));
    }
    let value = skip(equals + 1, &|byte| byte.is_ascii_whitespace());
    let range = match tag.get(value) {
        Some(quote @ (b'"' | b'\'')) => {
            let close = skip(value + 1, &|byte| byte != *quote);
            *at = (close + 1).min(tag.len());
            value + 1..close
        }
        _ => {
            let close = skip(value, &|byte| !byte.is_ascii_whitespace() && byte != b'>');
            *at = close;
            value..close
        }
    };
    Some((start..end, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!DOCTYPE html><HTML><a href=\"/x?a=1&amp;b\">1</a><a class=c HREF=/y>2</a><img src='pic' \
        alt='<a href=\"/no\">'><!-- <a href=\"/no\"> --><a href=\"//10.1.2.3:80/z\"><a href='http://10.1.2.3:80/'>\
        <a href=https://example.com/w><a href='//example.com/v'><a href=\"/p/proxy/u\"><script src=\"/s.js\">\
        x = '<a href=\"/no\">';</script><form action = \"/f\" data-src=\"/no\">5 < 6 <p title=\"/no\"><br/></HTML>";
    const THROUGH: &str = "<!DOCTYPE html><HTML><a href=\"/p/proxy/x?a=1&amp;b\">1</a><a class=c HREF=/p/proxy/y>2</a>\
        <img src='pic' alt='<a href=\"/no\">'><!-- <a href=\"/no\"> --><a href=\"/p/proxy/z\"><a href='/p/proxy/'>\
        <a href=https://example.com/w><a href='//example.com/v'><a href=\"/p/proxy/u\"><script src=\"/p/proxy/s.js\">\
        x = '<a href=\"/no\">';</script><form action = \"/p/proxy/f\" data-src=\"/no\">5 < 6 <p title=\"/no\"><br/></HTML>";

    fn page() -> Page {
        let links = Links { prefix: "/p/proxy".into(), host: "10.1.2.3:80".into() };
        Page { links, held: Vec::new(), mode: Mode::Markup }
    }

    #[test]
    fn links_to_the_same_server_lead_through_the_proxy_however_the_page_is_cut() {
        for size in [1, 2, 7, PAGE.len()] {
            let mut page = page();
            let mut out: Vec<u8> = PAGE.as_bytes().chunks(size).flat_map(|piece| page.read(piece)).collect();
            out.extend(page.end());
            assert_eq!(String::from_utf8(out).unwrap(), THROUGH, "in pieces of {size}");
        }
    }

    #[test]
    fn a_tag_that_does_not_end_is_not_waited_for() {
        let mut page = page();
        let endless = format!("<a href=\"/{}", "x".repeat(2 * TAG_MAX));
        assert_eq!(page.read(endless.as_bytes()).len(), endless.len());
        assert!(page.end().is_empty());
    }
}
