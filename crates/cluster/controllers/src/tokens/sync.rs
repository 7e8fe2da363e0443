//! One step of a secret.

use super::Controller;
use crate::wiring::Key;
use bytes::Bytes;
use hako_client::{Api, DeleteOptions};
use hako_error::{Error, Kind, Result};
use http_body_util::BodyExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use serde_json::{Value, json};
use std::time::Duration;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Such tokens last as long as their secret: this is as far as the API goes.
const SECONDS: i64 = 1 << 32;

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(secret) = self.secrets.get(&key.0, &key.1) else { return Ok(None) };
        let Some(name) = account_of(&secret).filter(|_| secret.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        // The cache may be behind: that the account is gone only the API can say.
        let api: Api<ServiceAccount> = self.client.namespaced(&key.0);
        let account = match self.accounts.get(&key.0, name) {
            Some(account) => Some((*account).clone()),
            None => api.get_opt(name).await?,
        };
        let named_uid = annotation(&secret, ACCOUNT_UID).filter(|uid| !uid.is_empty());
        let is_meant = |account: &ServiceAccount| {
            named_uid.is_none_or(|uid| account.metadata.uid.as_deref() == Some(uid))
        };
        match account.filter(is_meant) {
            Some(account) => self.fill(&secret, &account, &key).await?,
            None => self.remove(&secret, &key).await?,
        }
        Ok(None)
    }

    async fn remove(&self, secret: &Secret, key: &Key) -> Result<()> {
        let options = DeleteOptions { uid: secret.metadata.uid.clone(), ..DeleteOptions::default() };
        let api: Api<Secret> = self.client.namespaced(&key.0);
        match api.delete(&key.1, &options).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn fill(&self, secret: &Secret, account: &ServiceAccount, key: &Key) -> Result<()> {
        let mut filled = secret.clone();
        let uid = account.metadata.uid.clone().unwrap_or_default();
        filled.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.to_owned(), uid);
        let data = filled.data.get_or_insert_default();
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        data.insert("ca.crt".to_owned(), text(&self.ca_pem));
        data.insert("namespace".to_owned(), text(&key.0));
        if data.get("token").is_none_or(|token| token.0.is_empty()) {
            let token = self.token(account, secret, &key.0).await?;
            data.insert("token".to_owned(), text(&token));
        }
        if filled == *secret {
            return Ok(());
        }
        let api: Api<Secret> = self.client.namespaced(&key.0);
        match api.replace(&key.1, &filled).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// A token that ends with the secret.
    async fn token(&self, account: &ServiceAccount, secret: &Secret, namespace: &str) -> Result<String> {
        let name = account.metadata.name.as_deref().unwrap_or_default();
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "audiences": [], "expirationSeconds": SECONDS,
            "boundObjectRef": { "apiVersion": "v1", "kind": "Secret", "name": secret.metadata.name, "uid": secret.metadata.uid },
        } });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = http::Request::post(&path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .map_err(|error| Error::new(Kind::Internal, "request for a token").with_source(error))?;
        let response = self.client.send(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match answer.pointer("/status/token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => {
                let why = answer["message"].as_str().unwrap_or_default();
                Err(Error::new(Kind::Unavailable, format!("no token for account {name:?}: {status}: {why}")))
            }
        }
    }
}

/// The account that a secret is to have a token of.
pub(crate) fn account_of(secret: &Secret) -> Option<&str> {
    annotation(secret, ACCOUNT).filter(|name| secret.type_.as_deref() == Some(TYPE) && !name.is_empty())
}

fn annotation<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}
