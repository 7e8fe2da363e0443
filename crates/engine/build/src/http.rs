//! ADD of addresses, and contexts behind them.
//!
//! What counts for the cache is the digest of the bytes, never what a server says about them. With `--checksum`
//! the bytes are known beforehand and what is fetched must be them.

use crate::context::Contexts;
use crate::error::BuildError;
use crate::graph::{FileData, OneFile};
use crate::interrupt::Until;
use crate::scratch::Scratch;
use crate::tls::Tls;
use hako_error::{Error, Kind, Result};
use hako_image::transfer::Stop;
use hako_names::{Digest, Hasher};
use jiff::fmt::rfc2822;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};

/// The longest file that is fetched.
const LIMIT: u64 = 16 << 30;
/// Files that are fetched belong to root alone (Dockerfile reference, "ADD").
const MODE: u32 = 0o600;
/// Secrets for one server, as BuildKit calls them, and how their values are sent; the first that is there counts.
const AUTHORIZATIONS: [(&str, &str); 2] = [("HTTP_AUTH_TOKEN_", "Bearer "), ("HTTP_AUTH_HEADER_", "")];
/// What a file is called whose address does not end in a name.
const NO_NAME: &str = "download";

/// Bytes from somewhere else.
pub(crate) struct Download {
    dir: Scratch,
    digest: Digest,
    mtime_unix_s: i64,
    name: String,
}

impl Download {
    pub(crate) fn path(&self) -> PathBuf {
        file_of(&self.dir)
    }
}

/// Where a download's bytes are.
pub(crate) fn file_of(dir: &Scratch) -> PathBuf {
    dir.path().join("data")
}

/// Fetches `url` as a source of ADD.
pub(crate) fn fetch(contexts: &Contexts, url: &str, checksum: Option<&str>) -> Result<OneFile> {
    let wanted = checksum.map(parse_checksum).transpose()?;
    let download = download(contexts, url)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != download.digest) {
        let message = format!("{url} is {}, and --checksum wants {wanted}", download.digest);
        return Err(Error::new(Kind::Invalid, message));
    }
    Ok(OneFile {
        name: download.name,
        digest: download.digest,
        mode: MODE,
        mtime_unix_s: download.mtime_unix_s,
        data: FileData::Disk(download.dir),
    })
}

fn parse_checksum(text: &str) -> Result<Digest> {
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("--checksum={text}: expected sha256: and 64 hexadecimal digits"))
    })
}

/// What is behind an address of http or https, as it comes; a longer file than a build fetches breaks off.
///
/// # Errors
/// `NotFound`, `Forbidden`, `Invalid` by what the server answers, `Unavailable` when none does.
pub fn open_address(url: &str) -> Result<impl Read + Send + 'static> {
    Ok(get(url, None, &Stop::default())?.into_body().into_with_config().limit(LIMIT).reader())
}

/// What this server alone is told of who asks; the client takes it away where it is sent elsewhere.
fn authorization(contexts: &Contexts, url: &str) -> Result<Option<String>> {
    let Some(host) = url.parse::<ureq::http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)) else {
        return Ok(None);
    };
    let host = host.trim_matches(['[', ']']);
    for (prefix, scheme) in AUTHORIZATIONS {
        if let Some(secret) = contexts.ground.lent.secret(&format!("{prefix}{host}"))? {
            let value = String::from_utf8_lossy(&secret.0);
            return Ok(Some(format!("{scheme}{}", value.trim())));
        }
    }
    Ok(None)
}

fn get(url: &str, authorization: Option<&str>, stop: &Stop) -> Result<ureq::http::Response<ureq::Body>> {
    let failed = |source: ureq::Error| {
        let (kind, hint) = match &source {
            ureq::Error::StatusCode(404 | 410) => (Kind::NotFound, ""),
            ureq::Error::StatusCode(401 | 403) => (Kind::Forbidden, ""),
            ureq::Error::StatusCode(400..=499) | ureq::Error::BadUri(_) => (Kind::Invalid, ""),
            ureq::Error::Io(error) if crate::tls::is_distrust(error) => {
                (Kind::Unavailable, "; its server has no certificate that this machine trusts")
            }
            _ => (Kind::Unavailable, "; is the address reachable from this machine?"),
        };
        Error::new(kind, format!("cannot fetch {url}{hint}")).with_source(source)
    };
    let mut request = agent(stop).get(url);
    if let Some(value) = authorization {
        request = request.header("Authorization", value);
    }
    request.call().map_err(failed)
}

/// Fetches `url` into a file.
pub(crate) fn download(contexts: &Contexts, url: &str) -> Result<Download> {
    let authorization = authorization(contexts, url)?;
    let cancel = &contexts.ground.cancel;
    let mut response = get(url, authorization.as_deref(), cancel.stop()).or_else(|error| {
        cancel.check()?;
        Err(error)
    })?;
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let modified = header("last-modified").and_then(|text| parse_http_date(&text));
    let name = header("content-disposition").as_deref().and_then(attachment_name);
    let name = name.or_else(|| name_in(url)).unwrap_or_else(|| NO_NAME.to_owned());
    let dir = contexts.scratch()?;
    let digest = store(contexts, response.body_mut().as_reader(), &dir, url)?;
    Ok(Download { dir, digest, mtime_unix_s: modified.unwrap_or(0), name })
}

fn store(contexts: &Contexts, mut body: impl Read, dir: &Scratch, url: &str) -> Result<Digest> {
    let path = file_of(dir);
    let mut file = File::create(&path).map_err(BuildError::io("create", &path))?;
    let (mut hasher, mut buffer, mut total) = (Hasher::new(), vec![0; 1 << 17], 0_u64);
    loop {
        contexts.ground.cancel.check()?;
        let count = body.read(&mut buffer).map_err(|source| {
            Error::new(Kind::Unavailable, format!("{url} was cut off after {total} bytes"))
                .with_source(source)
        })?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        total += count as u64;
        if total > LIMIT {
            return Err(Error::new(Kind::Exhausted, format!("{url} is larger than {LIMIT} bytes")));
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(BuildError::io("write", &path))?;
    }
}

/// A client that trusts what the machine trusts, takes its proxies from the environment and waits until it is stopped.
fn agent(stop: &Stop) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_global(Some(Duration::from_secs(3600)))
        .max_redirects(10)
        .user_agent("hako")
        .build();
    let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
    let connector = connector.chain(Until(stop.clone()));
    ureq::Agent::with_parts(config, connector.chain(Tls::of_the_machine()), DefaultResolver::default())
}

/// RFC 9110, section 5.6.7: the form that everybody sends.
fn parse_http_date(text: &str) -> Option<i64> {
    let text = text.strip_suffix("GMT").map(|text| format!("{text}+0000"))?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

/// `attachment; filename="name"`; directories in it do not count.
fn attachment_name(header: &str) -> Option<String> {
    let value = header.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
    safe_name(value.trim().trim_matches('"').rsplit(['/', '\\']).next()?)
}

/// The last part of an address's path.
fn name_in(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.split(['?', '#']).next()?.split_once('/')?.1;
    safe_name(path.rsplit('/').next()?)
}

fn safe_name(name: &str) -> Option<String> {
    let is_safe = !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0']);
    is_safe.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_come_from_the_address_and_the_headers() {
        assert_eq!(name_in("https://h/a/b.tar.gz?x=/y#z").as_deref(), Some("b.tar.gz"));
        assert_eq!(name_in("https://h/"), None);
        assert_eq!(name_in("https://h"), None);
        assert_eq!(attachment_name("attachment; filename=\"../../x.txt\"").as_deref(), Some("x.txt"));
        assert_eq!(attachment_name("inline"), None);
        assert_eq!(parse_http_date("Tue, 14 Nov 2023 22:13:20 GMT"), Some(1_700_000_000));
        assert_eq!(parse_http_date("yesterday"), None);
        assert!(parse_checksum("sha256:zz").is_err());
    }
}
