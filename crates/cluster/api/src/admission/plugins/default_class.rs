//! Claims and ingresses that name no class get the default one.

use futures::FutureExt as _;
use serde_json::Value;

use super::{Change, Plugin, annotation, name_of};
use crate::http::Outcome;

pub(super) const STORAGE: Plugin = Plugin {
    name: "DefaultStorageClass",
    handles: |change| change.creates("", "persistentvolumeclaims"),
    mutate: Some(|change, claim| fill(change, claim, &OF_CLAIMS).boxed()),
    ..Plugin::BASE
};

pub(super) const INGRESS: Plugin = Plugin {
    name: "DefaultIngressClass",
    handles: |change| change.creates("networking.k8s.io", "ingresses"),
    mutate: Some(|change, ingress| fill(change, ingress, &OF_INGRESSES).boxed()),
    ..Plugin::BASE
};

/// Where a kind names its class, and which classes there are.
struct Class {
    field: &'static str,
    /// The annotation that named it before there was a field.
    before: &'static str,
    group: &'static str,
    plural: &'static str,
    /// Any of these on a class makes it the default.
    marks: &'static [&'static str],
}

const OF_CLAIMS: Class = Class {
    field: "storageClassName",
    before: "volume.beta.kubernetes.io/storage-class",
    group: "storage.k8s.io",
    plural: "storageclasses",
    marks: &[
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ],
};

const OF_INGRESSES: Class = Class {
    field: "ingressClassName",
    before: "kubernetes.io/ingress.class",
    group: "networking.k8s.io",
    plural: "ingressclasses",
    marks: &["ingressclass.kubernetes.io/is-default-class"],
};

async fn fill(change: &Change<'_>, object: &mut Value, of: &Class) -> Outcome<()> {
    let is_given = object["spec"].get(of.field).is_some_and(|name| !name.is_null());
    if is_given || !annotation(object, of.before).is_empty() || !object["spec"].is_object() {
        return Ok(());
    }
    let classes = change.all(of.group, of.plural, "").await?;
    let is_default = |class: &&Value| of.marks.iter().any(|mark| annotation(class, mark) == "true");
    // The newest, and of those of one second the first by name.
    let made = |class: &Value| super::text(class, "/metadata/creationTimestamp").to_owned();
    let newest = classes
        .iter()
        .filter(is_default)
        .max_by(|one, other| made(one).cmp(&made(other)).then_with(|| name_of(other).cmp(name_of(one))));
    if let Some(class) = newest {
        object["spec"][of.field] = name_of(class).into();
    }
    Ok(())
}
