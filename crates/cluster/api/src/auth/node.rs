//! What a node may read because a pod that is bound to it needs it.
//!
//! There is no graph to fall behind: a question looks at the pods of one namespace as they are in the store. Most of
//! them are told apart by their bytes, without decoding.

use hako_store::{Range, StoreError};
use serde_json::Value;

use super::Attributes;
use crate::kinds;
use crate::resource::{registry_key, registry_prefix};
use crate::server::Inner;

/// Yes, or why not.
type Judgement = Result<(), String>;

/// Judges a node's wish for something that it has no rule for.
pub(super) async fn judge(
    server: &Inner,
    node: &str,
    wanted: Attributes<'_>,
    fields: &str,
) -> Result<Judgement, StoreError> {
    let Attributes::Resource { verb, group, resource, subresource, namespace, name } = wanted else {
        return Ok(Err(String::new()));
    };
    let is_read = matches!(verb, "get" | "list" | "watch");
    if (group, resource, subresource) == ("", "pods", "") && is_read {
        return pods(server, node, namespace, name, fields).await;
    }
    if (group, resource, subresource) == ("", "nodes", "") && is_read {
        return Ok(Err(format!("node '{node}' cannot read '{name}', only its own Node object")));
    }
    let kind = match (group, resource, subresource) {
        ("", "secrets", "") if is_read => Kind::Secret,
        ("", "configmaps", "") if is_read => Kind::ConfigMap,
        ("", "persistentvolumeclaims", "") if verb == "get" => Kind::Claim,
        ("", "persistentvolumes", "") if verb == "get" => Kind::Volume,
        ("", "serviceaccounts", "") if verb == "get" => Kind::Account,
        ("", "serviceaccounts", "token") if verb == "create" => Kind::Account,
        _ => return Ok(Err(String::new())),
    };
    if name.is_empty() {
        return Ok(Err("No Object name found".to_owned()));
    }
    let is_needed = match kind {
        Kind::Volume => needs_volume(server, node, name).await?,
        _ => needs(server, node, kind, namespace, name).await?,
    };
    let why = || format!("no relationship found between node '{node}' and this object");
    Ok(if is_needed { Ok(()) } else { Err(why()) })
}

/// A node reads the pods that are bound to it. One that is not there is nobody's.
async fn pods(
    server: &Inner,
    node: &str,
    namespace: &str,
    name: &str,
    fields: &str,
) -> Result<Judgement, StoreError> {
    let is_own = |field: &str| {
        field.split_once('=').is_some_and(|(path, value)| {
            path == "spec.nodeName" && value.strip_prefix('=').unwrap_or(value) == node
        })
    };
    if fields.split(',').any(is_own) {
        return Ok(Ok(()));
    }
    let Some(row) = kinds::by_resource("", "v1", "pods").filter(|_| !name.is_empty()) else {
        return Ok(Err("can only list/watch pods with spec.nodeName field selector".to_owned()));
    };
    let entry = server.config.store.get(&registry_key(row, namespace, name)).await?.entry;
    let Some(entry) = entry else { return Ok(Ok(())) };
    let pod: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let why = || format!("no relationship found between node '{node}' and this object");
    Ok(if pod["spec"]["nodeName"] == node { Ok(()) } else { Err(why()) })
}

/// What pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    Account,
}

async fn needs(
    server: &Inner,
    node: &str,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let Some(row) = kinds::by_resource("", "v1", "pods").filter(|_| !namespace.is_empty()) else {
        return Ok(false);
    };
    let page = server.config.store.range(Range::all(registry_prefix(row, namespace))).await?;
    let mark = format!("\"nodeName\":{node:?}");
    let is_on_it = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(|text| text.contains(&mark));
    let on_it = page.entries.iter().filter(|entry| is_on_it(&entry.value));
    let mut pods = on_it.filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
    Ok(pods.any(|pod| pod["spec"]["nodeName"] == node && refers(&pod, kind, name)))
}

/// A volume that a claim of such a pod is bound to.
async fn needs_volume(server: &Inner, node: &str, name: &str) -> Result<bool, StoreError> {
    let Some(row) = kinds::by_resource("", "v1", "persistentvolumes") else { return Ok(false) };
    let Some(entry) = server.config.store.get(&registry_key(row, "", name)).await?.entry else {
        return Ok(false);
    };
    let volume: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let claim = |field: &str| volume.pointer(&format!("/spec/claimRef/{field}")).and_then(Value::as_str);
    match (claim("namespace"), claim("name")) {
        (Some(namespace), Some(claim)) => needs(server, node, Kind::Claim, namespace, claim).await,
        _ => Ok(false),
    }
}

fn refers(pod: &Value, kind: Kind, name: &str) -> bool {
    let spec = &pod["spec"];
    match kind {
        Kind::Account => spec["serviceAccountName"] == name,
        Kind::Claim => volumes(spec).any(|volume| {
            let own = format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]));
            volume["persistentVolumeClaim"]["claimName"] == name
                || !volume["ephemeral"].is_null() && own == name
        }),
        Kind::Secret => {
            let pulls = spec["imagePullSecrets"].as_array().into_iter().flatten();
            pulls.into_iter().any(|it| it["name"] == name)
                || volumes(spec).any(|it| volume_secrets(it).any(|secret| secret == name))
                || containers(spec).any(|it| refers_by_env(it, ["secretRef", "secretKeyRef"], name))
                || sources(spec).any(|source| source["secret"]["name"] == name)
        }
        Kind::ConfigMap => {
            volumes(spec).any(|it| it["configMap"]["name"] == name)
                || containers(spec).any(|it| refers_by_env(it, ["configMapRef", "configMapKeyRef"], name))
                || sources(spec).any(|source| source["configMap"]["name"] == name)
        }
        Kind::Volume => false,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn volumes(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["volumes"].as_array().into_iter().flatten()
}

fn sources(spec: &Value) -> impl Iterator<Item = &Value> {
    volumes(spec).flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten())
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| spec[list].as_array().into_iter().flatten())
}

/// Secrets that volumes name: their content, and what drivers log in with.
fn volume_secrets(volume: &Value) -> impl Iterator<Item = &str> {
    const POINTERS: &[&str] = &[
        "/secret/secretName",
        "/csi/nodePublishSecretRef/name",
        "/azureFile/secretName",
        "/cephfs/secretRef/name",
        "/cinder/secretRef/name",
        "/flexVolume/secretRef/name",
        "/iscsi/secretRef/name",
        "/rbd/secretRef/name",
        "/scaleIO/secretRef/name",
        "/storageos/secretRef/name",
    ];
    POINTERS.iter().filter_map(|pointer| volume.pointer(pointer)?.as_str())
}

fn refers_by_env(container: &Value, [whole, key]: [&str; 2], name: &str) -> bool {
    let from = container["envFrom"].as_array().into_iter().flatten();
    let env = container["env"].as_array().into_iter().flatten();
    from.into_iter().any(|it| it[whole]["name"] == name)
        || env.into_iter().any(|it| it["valueFrom"][key]["name"] == name)
}
