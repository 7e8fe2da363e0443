//! The client: a transport, a name, and calls in bytes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hako_error::Result;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use k8s_openapi::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{Api, Object};
use crate::dynamic::{DynamicApi, ResourceType};
use crate::error::{ClientError, refusal};
use crate::http_transport::HttpTransport;
use crate::kubeconfig::Kubeconfig;
use crate::transport::{Body, Transport};

/// Speaks to one API server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    manager: Arc<str>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("manager", &self.manager).finish_non_exhaustive()
    }
}

impl Client {
    /// A client over any transport.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, manager: Arc::from("hako") }
    }

    /// A client over HTTPS as a kubeconfig's current context says. Connects on the first call.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let config = Kubeconfig::read(path)?;
        Ok(Self::new(Arc::new(HttpTransport::from_kubeconfig(&config)?)))
    }

    /// The same client under another name: field manager of writes, user agent and source of events.
    #[must_use]
    pub fn named(&self, manager: &str) -> Self {
        Self { transport: Arc::clone(&self.transport), manager: Arc::from(manager) }
    }

    /// The name it writes under.
    #[must_use]
    pub fn manager(&self) -> &str {
        &self.manager
    }

    /// All objects of a kind: cluster-wide kinds, or a namespaced kind across namespaces (list and watch).
    #[must_use]
    pub fn all<K: Object>(&self) -> Api<K> {
        Api::new(self.clone(), None)
    }

    /// The objects of a kind in one namespace.
    #[must_use]
    pub fn namespaced<K: Object<Scope = NamespaceResourceScope>>(&self, namespace: &str) -> Api<K> {
        Api::new(self.clone(), Some(namespace))
    }

    /// Objects of a kind known only at run time, in one namespace or across all.
    #[must_use]
    pub fn dynamic(&self, resource: &ResourceType, namespace: Option<&str>) -> DynamicApi {
        DynamicApi::new(self.clone(), resource, namespace)
    }

    /// Sends a request as it is and answers with the response of any status.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>> {
        self.transport.call(request).await
    }

    /// GETs a path as text, such as `/version` or a pod's log.
    pub async fn get_text(&self, path_and_query: &str) -> Result<String> {
        let request = self.request(Method::GET, path_and_query, "*/*", None, Bytes::new())?;
        Ok(String::from_utf8_lossy(&self.bytes(request).await?).into_owned())
    }

    /// GETs a path as a stream of bytes, such as a log that is followed.
    pub async fn get_stream(&self, path_and_query: &str) -> Result<Body> {
        let request = self.request(Method::GET, path_and_query, "*/*", None, Bytes::new())?;
        self.stream(request).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<T> {
        let bytes = self.raw(method, path, content_type, body).await?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ClientError::Decode { what: format!("response of {path}"), source }.into())
    }

    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Bytes> {
        let request = self.request(method, path, "application/json", content_type, body)?;
        self.bytes(request).await
    }

    pub(crate) async fn watch_stream(&self, path: &str) -> Result<Body> {
        let request = self.request(Method::GET, path, "application/json", None, Bytes::new())?;
        self.stream(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, &*self.manager);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        request.body(body).map_err(|source| ClientError::Request { path: path.to_owned(), source }.into())
    }

    async fn bytes(&self, request: Request<Bytes>) -> Result<Bytes> {
        let response = self.transport.call(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    async fn stream(&self, request: Request<Bytes>) -> Result<Body> {
        let response = self.transport.call(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = response.into_body().collect().await?.to_bytes();
        Err(refusal(status, &body))
    }
}

pub(crate) fn encode<T: Serialize>(what: &str, value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|source| ClientError::Encode { what: what.to_owned(), source }.into())
}

pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|source| ClientError::Decode { what: what.to_owned(), source }.into())
}

pub(crate) fn string_at<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}
