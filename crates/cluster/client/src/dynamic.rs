//! Access to kinds known only at run time, and the paths that typed access shares with it.

use bytes::Bytes;
use hako_error::Result;
use hako_kube::Head;
use hako_names::percent;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::List;
use crate::client::{Client, encode};
use crate::params::{DeleteOptions, ListParams, Patch, WriteOptions};
use crate::query::Query;
use crate::watch::WatchStream;

/// A resource type by its place in the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceType {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `pods`.
    pub plural: String,
}

impl ResourceType {
    /// A resource type; the core group is the empty string.
    #[must_use]
    pub fn new(group: &str, version: &str, plural: &str) -> Self {
        Self { group: group.into(), version: version.into(), plural: plural.into() }
    }
}

/// Access to objects as JSON values.
#[derive(Clone, Debug)]
pub struct DynamicApi {
    endpoint: Endpoint,
}

impl DynamicApi {
    pub(crate) fn new(client: Client, resource: &ResourceType, namespace: Option<&str>) -> Self {
        let ResourceType { group, version, plural } = resource;
        Self { endpoint: Endpoint::new(client, group, version, plural, namespace) }
    }

    /// Reads one object.
    pub async fn get(&self, name: &str) -> Result<Value> {
        self.endpoint.call(Method::GET, &self.endpoint.object(name, None), None, Bytes::new()).await
    }

    /// Reads a page of objects.
    pub async fn list(&self, params: &ListParams) -> Result<List<Value>> {
        let body: ListBody<Value> = self.endpoint.list(params).await?;
        Ok(body.into())
    }

    /// Follows changes after `resource_version`.
    pub async fn watch(&self, params: &ListParams, resource_version: &str) -> Result<WatchStream<Value>> {
        self.endpoint.watch(params, resource_version).await
    }

    /// Reads a page of objects, of each only its head; the rest is skipped as it comes.
    pub async fn list_heads(&self, params: &ListParams) -> Result<List<Head>> {
        let body: ListBody<Head> = self.endpoint.list(params).await?;
        Ok(body.into())
    }

    /// Follows changes after `resource_version`, of each object only its head.
    pub async fn watch_heads(
        &self,
        params: &ListParams,
        resource_version: &str,
    ) -> Result<WatchStream<Head>> {
        self.endpoint.watch(params, resource_version).await
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value, options: &WriteOptions) -> Result<Value> {
        let path = self.endpoint.with_options(&self.endpoint.collection(), options);
        self.endpoint.call(Method::POST, &path, Some("application/json"), encode("object", object)?).await
    }

    /// Replaces an object, or one of its subresources.
    pub async fn replace(
        &self,
        name: &str,
        subresource: Option<&str>,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<Value> {
        let path = self.endpoint.with_options(&self.endpoint.object(name, subresource), options);
        self.endpoint.call(Method::PUT, &path, Some("application/json"), encode("object", object)?).await
    }

    /// Changes part of an object, or of one of its subresources.
    pub async fn patch(
        &self,
        name: &str,
        subresource: Option<&str>,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Value> {
        self.endpoint.patch(name, subresource, patch, options).await
    }

    /// Deletes an object, or starts to.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<()> {
        self.endpoint.delete(&self.endpoint.object(name, None), options).await
    }

    /// Deletes all objects selected.
    pub async fn delete_collection(&self, params: &ListParams, options: &DeleteOptions) -> Result<()> {
        let mut query = Query::new(self.endpoint.collection());
        params.list_query(&mut query);
        self.endpoint.delete(&query.finish(), options).await
    }
}

/// Where the objects of one kind live, and the calls on them.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    client: Client,
    collection: String,
    namespace: Option<String>,
}

impl Endpoint {
    pub(crate) fn new(
        client: Client,
        group: &str,
        version: &str,
        plural: &str,
        namespace: Option<&str>,
    ) -> Self {
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let collection = match namespace {
            Some(namespace) => format!("{root}/namespaces/{}/{plural}", percent::encode(namespace)),
            None => format!("{root}/{plural}"),
        };
        Self { client, collection, namespace: namespace.map(str::to_owned) }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn collection(&self) -> String {
        self.collection.clone()
    }

    pub(crate) fn object(&self, name: &str, subresource: Option<&str>) -> String {
        let name = percent::encode(name);
        match subresource {
            Some(subresource) => format!("{}/{name}/{subresource}", self.collection),
            None => format!("{}/{name}", self.collection),
        }
    }

    pub(crate) fn with_options(&self, path: &str, options: &WriteOptions) -> String {
        let mut query = Query::new(path);
        options.query(self.client.manager(), &mut query);
        query.finish()
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<T> {
        self.client.json(method, path, content_type, body).await
    }

    pub(crate) async fn list<T: DeserializeOwned>(&self, params: &ListParams) -> Result<T> {
        let mut query = Query::new(self.collection());
        params.list_query(&mut query);
        self.call(Method::GET, &query.finish(), None, Bytes::new()).await
    }

    pub(crate) async fn watch<K>(
        &self,
        params: &ListParams,
        resource_version: &str,
    ) -> Result<WatchStream<K>> {
        let mut query = Query::new(self.collection());
        params.watch_query(resource_version, &mut query);
        Ok(WatchStream::new(self.client.watch_stream(&query.finish()).await?))
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        name: &str,
        subresource: Option<&str>,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<T> {
        let mut options = options.clone();
        let mut force_set = false;
        if let Patch::Apply { manager, force, .. } = patch {
            options.field_manager = Some(manager.clone());
            force_set = *force;
        }
        let mut query = Query::new(self.object(name, subresource));
        options.query(self.client.manager(), &mut query);
        if force_set {
            query.add("force", "true");
        }
        let body = encode("patch", patch.body())?;
        self.call(Method::PATCH, &query.finish(), Some(patch.content_type()), body).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &DeleteOptions) -> Result<()> {
        let body = encode("delete options", &options.body())?;
        self.client.raw(Method::DELETE, path, Some("application/json"), body).await.map(drop)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<()> {
        let body = encode("request", body)?;
        self.client.raw(Method::POST, path, Some("application/json"), body).await.map(drop)
    }
}

/// A list as it is on the wire.
#[derive(Deserialize)]
pub(crate) struct ListBody<K> {
    #[serde(default)]
    metadata: ListHead,
    items: Option<Vec<K>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListHead {
    resource_version: String,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
    remaining_item_count: Option<i64>,
}

impl<K> From<ListBody<K>> for List<K> {
    fn from(body: ListBody<K>) -> Self {
        Self {
            items: body.items.unwrap_or_default(),
            resource_version: body.metadata.resource_version,
            continue_token: body.metadata.continue_token.filter(|token| !token.is_empty()),
            remaining: body.metadata.remaining_item_count,
        }
    }
}
