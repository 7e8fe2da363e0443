//! One registry, and how a single call to it is made.

use super::Access;
use super::auth::{Auth, Credentials, Token, TokenAnswer, encode, scopes};
use super::challenge::{self, Challenge};
use super::connect::{Connector, Tls, is_no_address, is_not_tls, is_tls};
use super::error::{Cause, RemoteError};
use super::payload::{Payload, SendBody};
use bytes::{Bytes, BytesMut};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";
const REDIRECTS: usize = 5;
/// What is read of an answer that says no.
const ERROR_LIMIT: usize = 64 << 10;
const TOKEN_LIMIT: usize = 1 << 20;
/// The longest time for which a registry's wish to be left alone is heeded.
const LONGEST_RETRY: Duration = Duration::from_secs(86_400);
/// A slower upload than this, in bytes a second, is given up.
const SLOWEST: u64 = 16 << 10;

/// Whether a registry may be spoken to without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Never.
    Never,
    /// If it is on this machine and has no TLS.
    #[default]
    Loopback,
    /// If it has no TLS, wherever it is.
    Allowed,
    /// TLS is not tried.
    Only,
}

/// How a registry is spoken to.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Who we are.
    pub credentials: Credentials,
    /// Whether TLS may be missing.
    pub plain_http: PlainHttp,
    /// PEM files with authorities to trust besides the machine's own.
    pub ca_files: Vec<PathBuf>,
    /// PEM files with the certificate that shows who we are, and its key, for registries that ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Accept any certificate.
    pub skip_tls_verify: bool,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the other side may say nothing.
    pub idle_timeout: Duration,
    /// How often a call that failed for a moment's reason is made again.
    pub retries: u32,
    /// How long the first such wait is; each next one is twice as long.
    pub backoff: Duration,
    /// The longest wait; a registry that asks for more gets an error instead.
    pub longest_wait: Duration,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            plain_http: PlainHttp::default(),
            ca_files: Vec::new(),
            client: None,
            skip_tls_verify: false,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            retries: 4,
            backoff: Duration::from_millis(250),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// A client of one registry. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct RemoteClient {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// The registry's name in references.
    pub(super) host: String,
    authority: Authority,
    /// Found out by the first connection.
    scheme: Mutex<Option<Scheme>>,
    pub(super) options: RemoteOptions,
    client: HyperClient<Connector, SendBody>,
    auth: Auth,
}

impl fmt::Debug for RemoteClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteClient")
            .field("host", &self.inner.host)
            .field("credentials", &self.inner.auth.credentials)
            .finish_non_exhaustive()
    }
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A path of the registry, with its query.
    Path(String),
    /// An absolute address that the registry gave.
    Url(Uri),
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) scope: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// The call in words, for errors: `manifest busybox:latest`.
    pub(super) what: String,
    /// Whether it can be made again when nobody knows what became of it.
    pub(super) is_repeatable: bool,
    /// Statuses besides 2xx that the caller handles.
    pub(super) accept: &'static [u16],
}

impl Call {
    pub(super) fn new(method: Method, path: String, what: String) -> Self {
        let is_repeatable = method == Method::GET || method == Method::HEAD;
        Self {
            method,
            target: Target::Path(path),
            scope: String::new(),
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            what,
            is_repeatable,
            accept: &[],
        }
    }

    pub(super) fn on(mut self, repository: &str, access: Access) -> Self {
        self.scope = scope(repository, access);
        self
    }

    pub(super) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    pub(super) fn accepting(mut self, statuses: &'static [u16]) -> Self {
        self.accept = statuses;
        self
    }
}

/// A token's scope, distribution's token specification, "Resource Provider Use".
pub(super) fn scope(repository: &str, access: Access) -> String {
    let actions = match access {
        Access::Pull => "pull",
        Access::Push => "pull,push",
        Access::Delete => "pull,push,delete",
    };
    format!("repository:{repository}:{actions}")
}

impl RemoteClient {
    /// A client for the registry `host[:port]`; `docker.io` is Docker Hub. Connects with the first call.
    pub fn new(host: &str, options: RemoteOptions) -> Result<Self, RemoteError> {
        let api = if host == DOCKER_HUB || host == "index.docker.io" { DOCKER_HUB_API } else { host };
        Self::at(host, api, options)
    }

    /// A client for a registry that answers at `api`.
    pub(super) fn at(host: &str, api: &str, options: RemoteOptions) -> Result<Self, RemoteError> {
        let authority: Authority = api.parse().map_err(|_| RemoteError::Host { host: host.to_owned() })?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(RemoteError::Host { host: host.to_owned() });
        }
        let connector = Connector { tls: Arc::new(Tls::new(&options)), limit: options.connect_timeout };
        let client = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        let scheme = (options.plain_http == PlainHttp::Only).then_some(Scheme::HTTP);
        let auth = Auth::new(options.credentials.clone());
        let host = host.to_owned();
        let inner = Inner { host, authority, scheme: Mutex::new(scheme), options, client, auth };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The registry's name as references write it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &RemoteOptions {
        &self.inner.options
    }

    /// Whether the registry is there and accepts the credentials: `GET /v2/`.
    pub async fn ping(&self) -> Result<(), RemoteError> {
        self.send(&Call::new(Method::GET, "/v2/".into(), "the API's base".into())).await.map(drop)
    }

    /// Makes the call, again where that can help.
    pub(super) async fn send(&self, call: &Call) -> Result<Response<Incoming>, RemoteError> {
        let options = &self.inner.options;
        let mut attempt = 0;
        loop {
            let error = match self.once(call).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // A refused connection or a "try again later" did nothing; of a broken one nobody knows.
            let did_nothing =
                matches!(error, RemoteError::Connect { .. } | RemoteError::TooManyRequests { .. });
            let wait = self.wait_before(attempt, &error);
            if !error.is_transient()
                || attempt >= options.retries
                || !(call.is_repeatable || did_nothing)
                || wait > options.longest_wait
            {
                return Err(error);
            }
            attempt += 1;
            tracing::debug!(%error, attempt, ?wait, "a call to a registry is made again");
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait before the next attempt: what the registry asks for, else twice as long each time.
    pub(crate) fn wait_before(&self, attempt: u32, error: &RemoteError) -> Duration {
        let options = &self.inner.options;
        let backoff = options.backoff.saturating_mul(1 << attempt.min(10)).min(options.longest_wait);
        error.retry_after().unwrap_or(backoff)
    }

    /// One attempt, with the log-in and the redirects that belong to it.
    async fn once(&self, call: &Call) -> Result<Response<Incoming>, RemoteError> {
        let uri = self.address(call).await?;
        let is_ours = self.is_ours(&uri);
        let known = if is_ours { self.inner.auth.header(&call.scope) } else { None };
        let mut response = self.raw(call, &uri, known).await?;
        if response.status() == StatusCode::UNAUTHORIZED && is_ours {
            let challenge = challenge::of(response.headers());
            self.inner.auth.forget(&call.scope);
            let header = match challenge {
                Some(challenge) => self.authorize(call, &challenge).await?,
                None => None,
            };
            let Some(header) = header else {
                return Err(self.refusal(call, response).await);
            };
            response = self.raw(call, &uri, Some(header)).await?;
        }
        let response = self.follow(call, uri, response).await?;
        let status = response.status();
        if status.is_success() || call.accept.contains(&status.as_u16()) {
            return Ok(response);
        }
        Err(self.refusal(call, response).await)
    }

    /// Goes where redirects lead; only the registry itself sees its credentials.
    async fn follow(
        &self,
        call: &Call,
        mut from: Uri,
        mut response: Response<Incoming>,
    ) -> Result<Response<Incoming>, RemoteError> {
        for _ in 0..REDIRECTS {
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = response.headers().get(header::LOCATION).filter(|_| is_redirect) else {
                return Ok(response);
            };
            let to = resolve(&from, location).ok_or_else(|| self.protocol(call, "its redirect is no URL"))?;
            if from.scheme() == Some(&Scheme::HTTPS) && to.scheme() != Some(&Scheme::HTTPS) {
                return Err(self.protocol(call, "it redirects from https to plain http"));
            }
            let header = if self.is_ours(&to) { self.inner.auth.header(&call.scope) } else { None };
            response = self.raw(call, &to, header).await?;
            from = to;
        }
        Err(self.protocol(call, "it redirects without end"))
    }

    /// One request, one answer.
    async fn raw(
        &self,
        call: &Call,
        uri: &Uri,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, RemoteError> {
        let mut request = Request::new(call.payload.body());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = call.headers.clone();
        let headers = request.headers_mut();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("hako/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let is_upload = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
        if is_upload && call.payload.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let after = self.inner.options.idle_timeout + Duration::from_secs(call.payload.len() / SLOWEST);
        let mut response = std::pin::pin!(self.inner.client.request(request));
        loop {
            let before = call.payload.life();
            match tokio::time::timeout(after, response.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(self.broken(call, error)),
                // Nobody knows how long what is still being made takes, only that it goes on.
                Err(_) if call.payload.life() != before => {}
                Err(_) => {
                    let (host, what) = (self.inner.host.clone(), call.what.clone());
                    return Err(RemoteError::Silent { host, what, after });
                }
            }
        }
    }

    fn broken(&self, call: &Call, error: hyper_util::client::legacy::Error) -> RemoteError {
        let host = self.inner.host.clone();
        if !error.is_connect() {
            return RemoteError::Broken { host, what: call.what.clone(), source: error.into() };
        }
        let (is_tls, is_no_address) = (is_tls(&error), is_no_address(&error));
        let source: Cause = error.into();
        if is_no_address {
            RemoteError::NoAddress { host, source }
        } else if is_tls {
            RemoteError::Tls { host, source }
        } else {
            RemoteError::Connect { host, source }
        }
    }

    /// The address of a call. The first one finds out whether the registry has TLS, if it may be without.
    async fn address(&self, call: &Call) -> Result<Uri, RemoteError> {
        let scheme = match self.known_scheme() {
            Some(scheme) => scheme,
            None => self.probe().await?,
        };
        let path = match &call.target {
            Target::Path(path) => path.clone(),
            // A registry behind a proxy may not know that it is reached by https.
            Target::Url(uri) if self.is_ours(uri) => {
                uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
            }
            Target::Url(uri) => return Ok(uri.clone()),
        };
        Uri::builder()
            .scheme(scheme)
            .authority(self.inner.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| self.protocol(call, "its address is no URL"))
    }

    fn known_scheme(&self) -> Option<Scheme> {
        let mut scheme = self.inner.scheme.lock();
        if scheme.is_none() && !self.inner.options.plain_http.allows(self.inner.authority.host()) {
            *scheme = Some(Scheme::HTTPS);
        }
        scheme.clone()
    }

    /// Says hello by TLS: a server without it answers with something that is none.
    async fn probe(&self) -> Result<Scheme, RemoteError> {
        let call = Call::new(Method::GET, "/v2/".into(), "the API's base".into());
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.inner.authority.clone())
            .path_and_query("/v2/")
            .build()
            .map_err(|_| RemoteError::Host { host: self.inner.host.clone() })?;
        let found = match self.raw(&call, &uri, None).await {
            Ok(_) => Scheme::HTTPS,
            Err(RemoteError::Tls { source, .. }) if is_not_tls(source.as_ref()) => Scheme::HTTP,
            // Plain servers may also just hang up on a TLS greeting.
            Err(RemoteError::Connect { source, .. }) if hung_up(source.as_ref()) => Scheme::HTTP,
            Err(error) => return Err(error),
        };
        *self.inner.scheme.lock() = Some(found.clone());
        Ok(found)
    }

    fn is_ours(&self, uri: &Uri) -> bool {
        uri.authority()
            .is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(self.inner.authority.as_str()))
    }

    /// The header that answers a challenge; `None` if we have nothing that could.
    async fn authorize(
        &self,
        call: &Call,
        challenge: &Challenge,
    ) -> Result<Option<HeaderValue>, RemoteError> {
        let auth = &self.inner.auth;
        match (challenge, &auth.credentials) {
            (_, Credentials::Bearer(_)) => Ok(None),
            (Challenge::Basic, _) => Ok(auth.use_basic()),
            (Challenge::Bearer { .. }, _) => {
                let token = self.fetch_token(call, challenge).await?;
                let header = token.header.clone();
                auth.remember(&call.scope, token);
                Ok(Some(header))
            }
        }
    }

    async fn fetch_token(&self, call: &Call, challenge: &Challenge) -> Result<Token, RemoteError> {
        let request = self.token_call(call, challenge)?;
        let Target::Url(uri) = request.target.clone() else {
            return Err(self.protocol(call, "its token server is no URL"));
        };
        let authorization = self.inner.auth.basic().filter(|_| request.method == Method::GET);
        let response = self.raw(&request, &uri, authorization).await?;
        let response = self.follow(&request, uri, response).await?;
        if !response.status().is_success() {
            return Err(self.refusal(&request, response).await);
        }
        let bytes = self.read(&request.what, response.into_body(), TOKEN_LIMIT).await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(TokenAnswer::into_token);
        token.map(|(token, _)| token).ok_or_else(|| self.protocol(&request, "there is no token in it"))
    }

    /// The request for a token: GET with the scopes as query, or, with an identity token, OAuth2's form.
    fn token_call(&self, call: &Call, challenge: &Challenge) -> Result<Call, RemoteError> {
        let Challenge::Bearer { realm, service, .. } = challenge else {
            return Err(self.protocol(call, "its challenge names no token server"));
        };
        let realm_uri: Option<Uri> = realm.parse().ok().filter(|uri: &Uri| uri.authority().is_some());
        let realm_uri = realm_uri.ok_or_else(|| self.protocol(call, "its token server is no URL"))?;
        let is_plain = realm_uri.scheme() != Some(&Scheme::HTTPS);
        if is_plain && !self.inner.options.plain_http.allows(realm_uri.host().unwrap_or_default()) {
            return Err(self.protocol(call, "its token server has no TLS"));
        }
        let scopes = scopes(challenge, &call.scope);
        let mut fields: Vec<String> =
            service.iter().map(|service| format!("service={}", encode(service))).collect();
        let what = format!("the token for {}", call.what);
        if let Credentials::Identity(token) = &self.inner.auth.credentials {
            fields.push(format!("scope={}", encode(&scopes.join(" "))));
            fields.push(format!("grant_type=refresh_token&client_id=hako&refresh_token={}", encode(token)));
            let mut request = Call::new(Method::POST, String::new(), what)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            request.target = Target::Url(realm_uri);
            request.payload = Payload::Bytes(fields.join("&").into());
            return Ok(request);
        }
        fields.extend(scopes.iter().map(|scope| format!("scope={}", encode(scope))));
        if let Credentials::Basic { username, .. } = &self.inner.auth.credentials {
            fields.push(format!("account={}", encode(username)));
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let uri = format!("{realm}{separator}{}", fields.join("&"));
        let mut request = Call::new(Method::GET, String::new(), what);
        request.target =
            Target::Url(uri.parse().map_err(|_| self.protocol(call, "its token server is no URL"))?);
        Ok(request)
    }

    /// What an answer that says no means.
    async fn refusal(&self, call: &Call, response: Response<Incoming>) -> RemoteError {
        let (host, what) = (self.inner.host.clone(), call.what.clone());
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = after.and_then(retry_after);
            return RemoteError::TooManyRequests { host, what, retry_after };
        }
        let body = self.read(&what, response.into_body(), ERROR_LIMIT).await.unwrap_or_default();
        let (code, message) = first_error(&body);
        if status == StatusCode::UNAUTHORIZED {
            let reason = if message.is_empty() { "it wants other credentials".to_owned() } else { message };
            return RemoteError::Unauthorized { host, what, reason };
        }
        RemoteError::Status { host, what, status, code, message }
    }

    /// A whole body of at most `limit` bytes.
    pub(super) async fn read(
        &self,
        what: &str,
        mut body: Incoming,
        limit: usize,
    ) -> Result<Bytes, RemoteError> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.next_frame(what, &mut body).await? {
            if bytes.len() + frame.len() > limit {
                let (host, what) = (self.inner.host.clone(), what.to_owned());
                return Err(RemoteError::TooLarge { host, what, limit: limit as u64 });
            }
            bytes.extend_from_slice(&frame);
        }
        Ok(bytes.freeze())
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn next_frame(
        &self,
        what: &str,
        body: &mut Incoming,
    ) -> Result<Option<Bytes>, RemoteError> {
        let (host, after) = (|| self.inner.host.clone(), self.inner.options.idle_timeout);
        loop {
            let frame = tokio::time::timeout(after, body.frame()).await.map_err(|_| RemoteError::Silent {
                host: host(),
                what: what.to_owned(),
                after,
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| RemoteError::Broken {
                host: host(),
                what: what.to_owned(),
                source: source.into(),
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    pub(super) fn protocol(&self, call: &Call, reason: &str) -> RemoteError {
        let (host, what) = (self.inner.host.clone(), call.what.clone());
        RemoteError::Protocol { host, what, reason: reason.to_owned() }
    }

    /// The `Location` of an answer, absolute or relative to the call's own address.
    pub(super) fn location(&self, call: &Call, headers: &HeaderMap) -> Result<Target, RemoteError> {
        let missing = || self.protocol(call, "it has no usable Location");
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(missing)?;
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(Target::Path(location.to_owned()));
        }
        let uri: Uri = location.parse().map_err(|_| missing())?;
        if uri.authority().is_none() { Err(missing()) } else { Ok(Target::Url(uri)) }
    }
}

fn hung_up(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
            );
        }
        next = error.source();
    }
    false
}

/// Where a redirect leads, seen from `from`.
fn resolve(from: &Uri, location: &HeaderValue) -> Option<Uri> {
    let location = location.to_str().ok()?;
    if location.starts_with("//") {
        return format!("{}:{location}", from.scheme()?).parse().ok();
    }
    if location.starts_with('/') {
        return format!("{}://{}{location}", from.scheme()?, from.authority()?).parse().ok();
    }
    let uri: Uri = location.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.authority().is_some()).then_some(uri)
}

/// Seconds, or a date, RFC 9110, section 10.2.3; a registry's word counts for a day at most.
fn retry_after(text: &str) -> Option<Duration> {
    let seconds = match text.trim() {
        text if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().unwrap_or(u64::MAX)
        }
        text => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            let left = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
            u64::try_from(left).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY))
}

/// The first of an answer's `errors`, or, of token servers, its `details`.
fn first_error(body: &[u8]) -> (String, String) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return (String::new(), String::new());
    };
    let text = |value: &serde_json::Value| {
        let text = value.as_str().unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(300).collect::<String>()
    };
    let first = &value["errors"][0];
    let message = [&first["message"], &value["details"], &value["error_description"]];
    let message = message.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    (text(&first["code"]), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(from: &str, location: &str) -> Option<String> {
        let location = HeaderValue::from_str(location).unwrap();
        resolve(&from.parse().unwrap(), &location).map(|uri| uri.to_string())
    }

    #[test]
    fn redirects_are_resolved_as_urls_are() {
        let from = "https://a:5000/v2/x";
        assert_eq!(resolved(from, "/y?z").as_deref(), Some("https://a:5000/y?z"));
        assert_eq!(resolved(from, "//b/y").as_deref(), Some("https://b/y"));
        assert_eq!(resolved(from, "http://b/y").as_deref(), Some("http://b/y"));
        assert_eq!(resolved(from, "ftp://b/y"), None);
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
        // No sum of it with a time may overflow.
        for endless in ["18446744073709551615", "99999999999999999999", "Wed, 01 Jan 9000 00:00:00 GMT"] {
            assert_eq!(retry_after(endless), Some(LONGEST_RETRY), "{endless}");
        }
    }

    #[test]
    fn hosts_that_are_none_are_refused() {
        assert!(RemoteClient::new("user@host", RemoteOptions::default()).is_err());
        assert!(RemoteClient::new("a b", RemoteOptions::default()).is_err());
        let hub = RemoteClient::new("docker.io", RemoteOptions::default()).unwrap();
        assert_eq!((hub.host(), hub.inner.authority.as_str()), ("docker.io", DOCKER_HUB_API));
    }

    #[test]
    fn the_first_error_is_told_without_control_characters() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"}]}"#;
        assert_eq!(first_error(body), ("DENIED".into(), "no[31m".into()));
        assert_eq!(first_error(b"<html>"), (String::new(), String::new()));
    }
}
