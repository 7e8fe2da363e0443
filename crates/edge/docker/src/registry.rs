//! How clients speak of registries: credentials in a header, which registries may lack TLS, `/auth`,
//! `/distribution`.
//!
//! Invariant: a secret is neither kept nor logged; it lives as long as the request that brought it.

use crate::DockerState;
use crate::container::body::AnyBody;
use crate::error::{Answer, Failure, invalid};
use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hako_error::{Error, Kind, Result};
use hako_image::remote::{Credentials, PlainHttp, RemoteClient, RemoteOptions};
use hako_names::{Digest, ImageRef};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path as FilePath, PathBuf};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new().route("/auth", post(auth)).route("/distribution/{*rest}", get(distribution))
}

/// The header that carries credentials, base64url of JSON.
const AUTH: &str = "x-registry-auth";
/// Where Docker's users keep the authorities of their own registries, `HOST/*.crt`, and what shows these who they are,
/// `HOST/*.cert` with `*.key`.
const CERTIFICATES: &str = "/etc/docker/certs.d";
/// The largest configuration that is read to learn an image's platform, in bytes.
const CONFIG_LIMIT: usize = 8 << 20;

/// Credentials as clients send them; both spellings of the header's padding occur.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Docker's `AuthConfig`, in JSON as the API spells it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub(crate) struct AuthConfig {
    username: String,
    password: String,
    serveraddress: String,
    identitytoken: String,
    registrytoken: String,
}

impl From<AuthConfig> for Credentials {
    fn from(auth: AuthConfig) -> Self {
        match auth {
            AuthConfig { registrytoken, .. } if !registrytoken.is_empty() => Self::Bearer(registrytoken),
            AuthConfig { identitytoken, .. } if !identitytoken.is_empty() => Self::Identity(identitytoken),
            AuthConfig { username, password, .. } if !username.is_empty() => {
                Self::Basic { username, password }
            }
            _ => Self::Anonymous,
        }
    }
}

/// The credentials of a request; none is nobody.
pub(crate) fn credentials(headers: &HeaderMap) -> Result<Credentials, Failure> {
    let Some(value) = headers.get(AUTH).filter(|value| !value.is_empty()) else {
        return Ok(Credentials::Anonymous);
    };
    // The text is secret: no error shows any of it.
    let bad = || invalid("X-Registry-Auth is not base64url of JSON");
    let text = BASE64.decode(value.as_bytes()).map_err(|_| bad())?;
    let auth: Option<AuthConfig> = serde_json::from_slice(&text).map_err(|_| bad())?;
    Ok(auth.unwrap_or_default().into())
}

/// Registries that need no TLS, or none that can be verified: `HOST[:PORT]` or a range of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Insecure(Vec<String>);

impl Insecure {
    /// Checks what an administrator wrote.
    pub(crate) fn new(list: Vec<String>) -> Result<Self> {
        let bad = |entry: &String| {
            let is_range = entry.contains('/');
            (is_range && range(entry).is_none())
                || (!is_range && RemoteClient::new(entry, RemoteOptions::default()).is_err())
        };
        match list.iter().find(|entry| bad(entry)) {
            Some(entry) => {
                let text = format!("insecure registry {entry:?} is neither HOST[:PORT] nor ADDRESS/PREFIX");
                Err(Error::new(Kind::Invalid, text))
            }
            None => Ok(Self(list)),
        }
    }

    /// The ranges and the names, as `info` shows them.
    pub(crate) fn ranges_and_names(&self) -> (Vec<&String>, Vec<&String>) {
        self.0.iter().partition(|entry| entry.contains('/'))
    }

    fn covers(&self, host: &str) -> bool {
        let name = host_of(host);
        let address = name.parse::<IpAddr>().ok();
        self.0.iter().any(|entry| match range(entry) {
            Some((base, prefix)) => address.is_some_and(|address| is_in(address, base, prefix)),
            None => entry == host || entry == name,
        })
    }
}

/// `ADDRESS/PREFIX`.
fn range(text: &str) -> Option<(IpAddr, u32)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u32 = prefix.parse().ok()?;
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
}

fn is_in(address: IpAddr, base: IpAddr, prefix: u32) -> bool {
    let same = |left: u128, right: u128, bits: u32| prefix == 0 || (left ^ right) >> (bits - prefix) == 0;
    match (address, base) {
        (IpAddr::V4(left), IpAddr::V4(right)) => same(left.to_bits().into(), right.to_bits().into(), 32),
        (IpAddr::V6(left), IpAddr::V6(right)) => same(left.to_bits(), right.to_bits(), 128),
        _ => false,
    }
}

/// `host:port` without the port and a v6 address's brackets.
fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_matches(['[', ']'])
}

fn is_loopback(host: &str) -> bool {
    let name = host_of(host);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How the registry of that name is spoken to. As with Docker, one on this machine need not prove who it is.
pub(crate) fn options(state: &DockerState, host: &str, credentials: Credentials) -> RemoteOptions {
    let is_insecure = state.insecure.covers(host);
    let (ca_files, client) = certificates(&FilePath::new(CERTIFICATES).join(host));
    RemoteOptions {
        credentials,
        plain_http: if is_insecure { PlainHttp::Allowed } else { PlainHttp::Loopback },
        skip_tls_verify: is_insecure || is_loopback(host),
        ca_files,
        client,
        ..RemoteOptions::default()
    }
}

/// The authorities of a registry's directory, and the first certificate of a client with its key.
fn certificates(directory: &FilePath) -> (Vec<PathBuf>, Option<(PathBuf, PathBuf)>) {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let (mut authorities, mut own): (Vec<PathBuf>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for path in files {
        match path.extension().and_then(|end| end.to_str()) {
            Some("crt") => authorities.push(path),
            Some("cert") => own.push(path),
            _ => {}
        }
    }
    authorities.sort();
    let first = own.into_iter().min();
    (authorities, first.map(|certificate| (certificate.clone(), certificate.with_extension("key"))))
}

/// The registry that a `serveraddress` means: a host, or a URL as Docker's first registry had.
fn host(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    match address.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// `POST /auth`: whether a registry accepts these credentials.
pub(crate) async fn auth(State(state): State<DockerState>, AnyBody(auth): AnyBody<AuthConfig>) -> Answer {
    let host = host(&auth.serveraddress).to_owned();
    let client = RemoteClient::new(&host, options(&state, &host, auth.into()))?;
    match client.ping().await.map_err(Error::from) {
        Err(error) if error.kind() == Kind::Unauthorized => {
            let text = format!("unauthorized: registry {host} refuses this user name or password");
            return Err(Failure(Error::new(Kind::Unauthorized, text)));
        }
        result => result?,
    }
    Ok(Json(json!({ "Status": "Login Succeeded", "IdentityToken": "" })).into_response())
}

/// `GET /distribution/{name}/json`: what a registry has under a name, without pulling it.
pub(crate) async fn distribution(
    State(state): State<DockerState>,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let name: ImageRef =
        rest.strip_suffix("/json").ok_or_else(|| invalid("expected /distribution/NAME/json"))?.parse()?;
    let credentials = credentials(&headers)?;
    let client = RemoteClient::new(name.registry(), options(&state, name.registry(), credentials))?;
    let reference = match name.digest() {
        Some(digest) => digest.to_string(),
        None => name.tag().unwrap_or("latest").to_owned(),
    };
    let manifest = client.get_manifest(name.repository(), &reference).await?;
    let document: Value = serde_json::from_slice(&manifest.bytes)
        .map_err(|error| invalid(format!("the manifest of {name} is not JSON: {error}")))?;
    let platforms = match document["manifests"].as_array() {
        Some(list) => list.iter().map(|one| one["platform"].clone()).filter(Value::is_object).collect(),
        None => vec![platform(&client, &name, &document).await?],
    };
    Ok(Json(json!({
        "Descriptor": { "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len() },
        "Platforms": platforms,
    }))
    .into_response())
}

/// The platform of a single image, from its configuration.
async fn platform(client: &RemoteClient, name: &ImageRef, manifest: &Value) -> Result<Value, Failure> {
    let digest: Digest = manifest["config"]["digest"].as_str().unwrap_or_default().parse()?;
    let mut stream = client.get_blob(name.repository(), digest, 0).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > CONFIG_LIMIT {
            return Err(invalid(format!("the configuration of {name} is larger than {CONFIG_LIMIT} bytes")));
        }
    }
    let actual = Digest::of(&bytes);
    if actual != digest {
        return Err(invalid(format!("the configuration of {name} hashes to {actual}, expected {digest}")));
    }
    let config: Value = serde_json::from_slice(&bytes)
        .map_err(|error| invalid(format!("the configuration of {name} is not JSON: {error}")))?;
    let mut shown = json!({ "architecture": config["architecture"], "os": config["os"] });
    if let Some(variant) = config["variant"].as_str().filter(|variant| !variant.is_empty()) {
        shown["variant"] = json!(variant);
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE as PADDED};

    fn from_header(text: &str) -> Result<Credentials, Failure> {
        credentials(&HeaderMap::from_iter([(http::HeaderName::from_static(AUTH), text.parse().unwrap())]))
    }

    #[test]
    fn credentials_come_as_base64url_with_and_without_padding() {
        let basic = Credentials::Basic { username: "me".into(), password: "p>?ss".into() };
        let text = r#"{"username":"me","password":"p>?ss","serveraddress":"h"}"#;
        for header in [PADDED.encode(text), PADDED.encode(text).trim_end_matches('=').to_owned()] {
            assert_eq!(from_header(&header).unwrap(), basic);
        }
        let identity = PADDED.encode(r#"{"username":"me","identitytoken":"t"}"#);
        assert_eq!(from_header(&identity).unwrap(), Credentials::Identity("t".into()));
        let bearer = PADDED.encode(r#"{"registrytoken":"t"}"#);
        assert_eq!(from_header(&bearer).unwrap(), Credentials::Bearer("t".into()));
        for nobody in [PADDED.encode("{}"), PADDED.encode("null"), String::new()] {
            assert_eq!(from_header(&nobody).unwrap(), Credentials::Anonymous);
        }
        let error = from_header(&STANDARD_NO_PAD.encode("secret")).unwrap_err();
        assert!(!error.0.chain().contains("c2VjcmV0"), "{:?}", error.0);
    }

    #[test]
    fn insecure_registries_are_hosts_ports_and_ranges() {
        let list = ["reg.example:5000", "plain.example", "10.1.0.0/16", "fd00::/8"].map(str::to_owned);
        let insecure = Insecure::new(list.to_vec()).unwrap();
        for host in ["reg.example:5000", "plain.example", "plain.example:99", "10.1.2.3:80", "[fd00::1]:5000"]
        {
            assert!(insecure.covers(host), "{host}");
        }
        for host in ["reg.example", "reg.example:5001", "10.2.0.1", "docker.io", "[fe00::1]"] {
            assert!(!insecure.covers(host), "{host}");
        }
        for bad in ["10.0.0.0/33", "a b", "http://x", ""] {
            assert!(Insecure::new(vec![bad.into()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_registry_s_directory_has_authorities_and_a_certificate_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(certificates(&path("none")), (Vec::new(), None));
        for name in ["b.crt", "a.crt", "me.cert", "me.key", "you.cert", "notes.txt"] {
            std::fs::write(path(name), "").unwrap();
        }
        let own = (path("me.cert"), path("me.key"));
        assert_eq!(certificates(dir.path()), (vec![path("a.crt"), path("b.crt")], Some(own)));
    }

    #[test]
    fn a_server_address_is_a_host_or_a_url() {
        assert_eq!(host("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(host(""), "docker.io");
        assert_eq!(host("localhost:5000"), "localhost:5000");
        assert_eq!(host("https://reg.example/v2/"), "reg.example");
    }
}
