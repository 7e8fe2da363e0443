//! What a request is about, and where that is kept.

use std::sync::Arc;

use bytes::Bytes;
use hako_kube::status::{self, Subject};
use hako_store::{Entry, Store};

use crate::http::{Failure, Outcome};
use crate::kinds::Served;

/// A collection (empty name) or an object.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub row: Arc<Served>,
    /// Empty for cluster-wide kinds, and for all namespaces.
    pub namespace: String,
    pub name: String,
}

/// `/registry/<group or core>/<plural>/`, the prefix of a kind's keys.
pub(crate) fn registry_prefix(row: &Served, namespace: &str) -> String {
    let group = if row.stored_group.is_empty() { "core" } else { &*row.stored_group };
    let mut prefix = format!("/registry/{group}/{}/", row.plural);
    if !namespace.is_empty() {
        prefix.push_str(namespace);
        prefix.push('/');
    }
    prefix
}

/// The key of an object.
pub(crate) fn registry_key(row: &Served, namespace: &str, name: &str) -> Bytes {
    Bytes::from(registry_prefix(row, namespace) + name)
}

impl Target {
    pub(crate) fn key(&self) -> Bytes {
        registry_key(&self.row, &self.namespace, &self.name)
    }

    pub(crate) fn named(&self, name: &str) -> Self {
        Self { row: Arc::clone(&self.row), namespace: self.namespace.clone(), name: name.to_owned() }
    }

    /// As messages name it.
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            group: self.row.group.to_string(),
            resource: self.row.plural.to_string(),
            kind: self.row.kind.to_string(),
            name: self.name.clone(),
        }
    }

    pub(crate) fn not_found(&self) -> Failure {
        let subject = self.subject();
        Failure::about(&status::not_found(&subject), &subject)
    }

    pub(crate) fn already_exists(&self) -> Failure {
        let subject = self.subject();
        Failure::about(&status::already_exists(&subject), &subject)
    }

    pub(crate) fn modified(&self) -> Failure {
        let subject = self.subject();
        Failure::about(&status::modified(&subject), &subject)
    }

    pub(crate) fn conflict(&self, why: &str) -> Failure {
        let subject = self.subject();
        Failure::about(&status::conflict(&subject, why), &subject)
    }

    pub(crate) fn invalid(&self, causes: impl IntoIterator<Item = hako_error::FieldCause>) -> Failure {
        let subject = self.subject();
        Failure::about(&status::invalid(&subject, causes), &subject)
    }

    /// The entry, which has to be there.
    pub(crate) async fn read(&self, store: &dyn Store) -> Outcome<Arc<Entry>> {
        store.get(&self.key()).await?.entry.ok_or_else(|| self.not_found())
    }
}
