//! One step of a namespace's accounts.

use super::Controller;
use crate::wiring::Key;
use hako_client::{Api, Object};
use hako_error::{Kind, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::time::Duration;

pub(super) const ACCOUNT: &str = "default";
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";
const CA_KEY: &str = "ca.crt";

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let name = key.1;
        let is_alive = self
            .namespaces
            .get("", &name)
            .is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
        if !is_alive {
            return Ok(None);
        }
        if self.accounts.get(&name, ACCOUNT).is_none() {
            let account = ServiceAccount { metadata: named(ACCOUNT, &name), ..ServiceAccount::default() };
            self.make(&name, &account).await?;
        }
        let data = Some([(CA_KEY.to_owned(), self.ca_pem.clone())].into());
        match self.configs.get(&name, ROOT_CA) {
            Some(there) if there.data == data => {}
            Some(there) => {
                let mut changed = (*there).clone();
                changed.data = data;
                let api: Api<ConfigMap> = self.client.namespaced(&name);
                api.replace(ROOT_CA, &changed).await?;
            }
            None => {
                self.make(&name, &ConfigMap { metadata: named(ROOT_CA, &name), data, ..ConfigMap::default() })
                    .await?
            }
        }
        Ok(None)
    }

    async fn make<K: Object<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
        object: &K,
    ) -> Result<()> {
        let api: Api<K> = self.client.namespaced(namespace);
        match api.create(object).await {
            // There already and not in the cache yet, or the namespace is going.
            Err(error) if !matches!(error.kind(), Kind::AlreadyExists | Kind::Forbidden | Kind::NotFound) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

fn named(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() }
}
