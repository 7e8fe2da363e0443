//! Typed access: one kind, one scope.

use std::fmt::Debug;
use std::marker::PhantomData;

use bytes::Bytes;
use hako_error::{Kind, Result};
use http::Method;
use k8s_openapi::Metadata;
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{Client, encode};
use crate::dynamic::{Endpoint, ListBody};
use crate::params::{DeleteOptions, ListParams, Patch, WriteOptions};
use crate::watch::WatchStream;

/// What can be read and written through [`Api`]; implemented by every object type of `k8s-openapi`.
pub trait Object:
    Metadata<Ty = ObjectMeta> + Resource + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Metadata<Ty = ObjectMeta>
        + Resource
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// A page of objects.
#[derive(Clone, Debug)]
pub struct List<K> {
    /// The objects, by namespace and name.
    pub items: Vec<K>,
    /// The revision the list was read at; watch from here.
    pub resource_version: String,
    /// Set if there is more.
    pub continue_token: Option<String>,
    /// How many are left after this page, if known.
    pub remaining: Option<i64>,
}

/// Access to the objects of kind `K`, in one namespace or across all.
#[derive(Clone, Debug)]
pub struct Api<K> {
    endpoint: Endpoint,
    kind: PhantomData<fn() -> K>,
}

impl<K: Object> Api<K> {
    pub(crate) fn new(client: Client, namespace: Option<&str>) -> Self {
        let endpoint = Endpoint::new(client, K::GROUP, K::VERSION, K::URL_PATH_SEGMENT, namespace);
        Self { endpoint, kind: PhantomData }
    }

    /// Reads one object.
    pub async fn get(&self, name: &str) -> Result<K> {
        self.endpoint.call(Method::GET, &self.endpoint.object(name, None), None, Bytes::new()).await
    }

    /// Reads one object that may not exist.
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a page; follow `continue_token` or use [`Api::list_all`].
    pub async fn list(&self, params: &ListParams) -> Result<List<K>> {
        let body: ListBody<K> = self.endpoint.list(params).await?;
        Ok(body.into())
    }

    /// Reads all pages.
    pub async fn list_all(&self, params: &ListParams) -> Result<List<K>> {
        let mut params = params.clone();
        let mut list = self.list(&params).await?;
        while let Some(token) = list.continue_token.take() {
            params.continue_token = Some(token);
            let page = self.list(&params).await?;
            list.items.extend(page.items);
            list.continue_token = page.continue_token;
        }
        list.remaining = None;
        Ok(list)
    }

    /// Follows changes after `resource_version`; an empty one starts with the present state.
    /// Ends when the server ends it; go on from the last version seen.
    pub async fn watch(&self, params: &ListParams, resource_version: &str) -> Result<WatchStream<K>> {
        self.endpoint.watch(params, resource_version).await
    }

    /// Creates an object.
    pub async fn create(&self, object: &K) -> Result<K> {
        self.create_with(object, &WriteOptions::default()).await
    }

    /// Creates an object, with options.
    pub async fn create_with(&self, object: &K, options: &WriteOptions) -> Result<K> {
        self.write(Method::POST, &self.endpoint.collection(), object, options).await
    }

    /// Replaces an object; its `resourceVersion`, if set, has to be the current one.
    pub async fn replace(&self, name: &str, object: &K) -> Result<K> {
        self.replace_with(name, object, &WriteOptions::default()).await
    }

    /// Replaces an object, with options.
    pub async fn replace_with(&self, name: &str, object: &K, options: &WriteOptions) -> Result<K> {
        self.write(Method::PUT, &self.endpoint.object(name, None), object, options).await
    }

    /// Replaces an object's status and nothing else.
    pub async fn replace_status(&self, name: &str, object: &K) -> Result<K> {
        let path = self.endpoint.object(name, Some("status"));
        self.write(Method::PUT, &path, object, &WriteOptions::default()).await
    }

    /// Replaces through any subresource that takes the whole object, such as a namespace's `finalize`.
    pub async fn replace_subresource(&self, name: &str, subresource: &str, object: &K) -> Result<K> {
        let path = self.endpoint.object(name, Some(subresource));
        self.write(Method::PUT, &path, object, &WriteOptions::default()).await
    }

    /// Creates through a subresource that takes and answers something of its own, such as an account's `token`.
    pub async fn create_subresource(&self, name: &str, subresource: &str, body: &Value) -> Result<Value> {
        let path = self.endpoint.object(name, Some(subresource));
        self.endpoint.call(Method::POST, &path, Some("application/json"), encode(subresource, body)?).await
    }

    /// Changes part of an object.
    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<K> {
        self.patch_with(name, patch, &WriteOptions::default()).await
    }

    /// Changes part of an object, with options.
    pub async fn patch_with(&self, name: &str, patch: &Patch, options: &WriteOptions) -> Result<K> {
        self.endpoint.patch(name, None, patch, options).await
    }

    /// Changes part of an object's status.
    pub async fn patch_status(&self, name: &str, patch: &Patch) -> Result<K> {
        self.endpoint.patch(name, Some("status"), patch, &WriteOptions::default()).await
    }

    /// Deletes an object, or starts to. An object that is already gone is an error of kind not found.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<()> {
        self.endpoint.delete(&self.endpoint.object(name, None), options).await
    }

    /// Deletes all objects selected.
    pub async fn delete_collection(&self, params: &ListParams, options: &DeleteOptions) -> Result<()> {
        let mut query = crate::query::Query::new(self.endpoint.collection());
        params.list_query(&mut query);
        self.endpoint.delete(&query.finish(), options).await
    }

    /// Evicts a pod.
    pub async fn evict(&self, name: &str, options: &DeleteOptions) -> Result<()> {
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.endpoint.namespace()},
            "deleteOptions": options.body(),
        });
        self.endpoint.post(&self.endpoint.object(name, Some("eviction")), &body).await
    }

    /// Binds a pod to a node; the uid, if given, has to be the pod's.
    pub async fn bind(&self, name: &str, uid: Option<&str>, node: &str) -> Result<()> {
        let mut body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name, "namespace": self.endpoint.namespace()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        if let Some(uid) = uid {
            body["metadata"]["uid"] = uid.into();
        }
        self.endpoint.post(&self.endpoint.object(name, Some("binding")), &body).await
    }

    /// Sets the number of replicas through the scale subresource.
    pub async fn scale(&self, name: &str, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.endpoint.patch::<Value>(name, Some("scale"), &patch, &WriteOptions::default()).await.map(drop)
    }

    async fn write(&self, method: Method, path: &str, object: &K, options: &WriteOptions) -> Result<K> {
        let body = encode(K::KIND, object)?;
        let path = self.endpoint.with_options(path, options);
        self.endpoint.call(method, &path, Some("application/json"), body).await
    }
}
