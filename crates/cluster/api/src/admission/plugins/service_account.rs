//! Pods run as an account: it has to be there, and its token is mounted into every container.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::{Value, json};

use super::{Change, Plugin, name_of, pass};
use crate::http::{Failure, Outcome};

pub(super) const PLUGIN: Plugin = Plugin {
    name: "ServiceAccount",
    handles: |change| change.creates("", "pods") || change.is_of("", "pods") && change.part == EPHEMERAL,
    mutate: Some(|change, pod| match change.part {
        EPHEMERAL => pass(),
        _ => give(change, pod).boxed(),
    }),
    validate: Some(|change, pod| check(change, pod).boxed()),
};

const EPHEMERAL: &str = "ephemeralcontainers";
const DEFAULT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// Clients ask for an hour; the seconds beyond tell these tokens from others.
const TOKEN_SECONDS: i64 = 3607;
/// A new namespace gets its account from a controller a moment later.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

async fn give(change: &Change<'_>, pod: &mut Value) -> Outcome<()> {
    if is_mirror(pod) || !pod["spec"].is_object() {
        return Ok(());
    }
    if account_name(pod).is_empty() {
        pod["spec"]["serviceAccountName"] = DEFAULT.into();
    }
    pod["spec"]["serviceAccount"] = pod["spec"]["serviceAccountName"].clone();
    let account = find(change, account_name(pod)).await?;
    if is_mounted(&account, pod) {
        mount(pod);
    }
    let secrets = &account["imagePullSecrets"];
    let has_own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|list| !list.is_empty());
    if !has_own && secrets.as_array().is_some_and(|list| !list.is_empty()) {
        pod["spec"]["imagePullSecrets"] = secrets.clone();
    }
    Ok(())
}

async fn check(change: &Change<'_>, pod: &Value) -> Outcome<()> {
    if is_mirror(pod) && change.part != EPHEMERAL {
        return match mirrored_reference(pod) {
            Some(what) => Err(change.forbidden(format!("a mirror pod may not {what}"))),
            None => Ok(()),
        };
    }
    let account = find(change, account_name(pod)).await?;
    if account.pointer("/metadata/annotations").and_then(|all| all.get(ENFORCE)?.as_str()) == Some("true") {
        match change.part {
            EPHEMERAL => containers_with_its_secrets(change, &account, pod, &[ADDED])?,
            _ => only_its_secrets(change, &account, pod)?,
        }
    }
    Ok(())
}

fn account_name(pod: &Value) -> &str {
    pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("")
}

fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations").is_some_and(|all| all.get(MIRROR).is_some())
}

async fn find(change: &Change<'_>, name: &str) -> Outcome<Value> {
    let namespace = change.namespace();
    for attempt in 0..ATTEMPTS {
        if let Some(account) = change.find("", "serviceaccounts", namespace, name).await? {
            return Ok(account);
        }
        if name != DEFAULT || attempt + 1 == ATTEMPTS {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(missing(change, name))
}

fn missing(change: &Change<'_>, name: &str) -> Failure {
    let namespace = change.namespace();
    change.forbidden(format!(
        "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
    ))
}

/// The pod says so itself, or its account does, or nobody objects.
fn is_mounted(account: &Value, pod: &Value) -> bool {
    let of_pod = pod.pointer("/spec/automountServiceAccountToken").and_then(Value::as_bool);
    let of_account = account.get("automountServiceAccountToken").and_then(Value::as_bool);
    of_pod.or(of_account).unwrap_or(true)
}

/// Mounts the token where nothing else is mounted; a volume with its prefix in the name is taken as it is.
fn mount(pod: &mut Value) {
    let volumes = pod["spec"]["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    let there = volumes.iter().filter_map(|volume| volume["name"].as_str());
    let there = there.into_iter().find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let has_volume = there.is_some();
    let name = there.unwrap_or_else(new_name);
    let mut is_needed = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            is_needed |= mount_into(container, &name);
        }
    }
    if !is_needed || has_volume {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}});
    match pod["spec"]["volumes"].as_array_mut() {
        Some(volumes) => volumes.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
}

fn mount_into(container: &mut Value, volume: &str) -> bool {
    let mounts = container["volumeMounts"].as_array().map_or(&[][..], Vec::as_slice);
    if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    match container["volumeMounts"].as_array_mut() {
        Some(mounts) => mounts.push(mount),
        None => container["volumeMounts"] = json!([mount]),
    }
    true
}

fn new_name() -> String {
    let random = uuid::Uuid::new_v4();
    let letter = |byte: &u8| char::from(SUFFIX_LETTERS[usize::from(*byte) % SUFFIX_LETTERS.len()]);
    let suffix: String = random.as_bytes()[..SUFFIX_LENGTH].iter().map(letter).collect();
    format!("{VOLUME_PREFIX}{suffix}")
}

/// What a pod that a node made of a file refers to though it may not: the API cannot hold it back from there.
fn mirrored_reference(pod: &Value) -> Option<&'static str> {
    if !account_name(pod).is_empty() {
        return Some("reference service accounts");
    }
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let sources = volumes.iter().flat_map(|volume| {
        volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten()
    });
    let mut all = volumes.iter().chain(sources);
    let text = pod.get("spec").map(Value::to_string).unwrap_or_default();
    let names = |key: &str| text.contains(&format!("{key:?}:"));
    if names("secretKeyRef") || names("secretRef") || all.clone().any(|it| it.get("secret").is_some()) {
        return Some("reference secrets");
    }
    if names("configMapKeyRef")
        || names("configMapRef")
        || all.clone().any(|it| it.get("configMap").is_some())
    {
        return Some("reference configmaps");
    }
    if volumes.iter().any(|volume| volume.get("persistentVolumeClaim").is_some()) {
        return Some("reference persistentvolumeclaims");
    }
    let has_token = all.any(|it| it.get("serviceAccountToken").is_some());
    has_token.then_some("use ServiceAccountToken volume projections")
}

/// An account may say that its pods use no secrets but those it lists.
fn only_its_secrets(change: &Change<'_>, account: &Value, pod: &Value) -> Outcome<()> {
    let listed = |name: &str| listed(account, name);
    let (secrets, pulls) = (listed("secrets"), listed("imagePullSecrets"));
    let because = |what: &str| because(account, what);
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let Some(name) = volume.pointer("/secret/secretName").and_then(Value::as_str) else { continue };
        if !secrets.contains(name) {
            let why = because("secret");
            return Err(
                change.forbidden(format!("volume with secret.secretName={name:?} is not allowed {why}"))
            );
        }
    }
    containers_with_its_secrets(change, account, pod, DEFINED)?;
    for (index, reference) in pod["spec"]["imagePullSecrets"].as_array().into_iter().flatten().enumerate() {
        let name = reference["name"].as_str().unwrap_or("");
        if !pulls.contains(name) {
            let why = because("imagePullSecret");
            return Err(
                change.forbidden(format!("imagePullSecrets[{index}].name={name:?} is not allowed {why}"))
            );
        }
    }
    Ok(())
}

/// Lists of containers, and what their items are called.
type Lists = &'static [(&'static str, &'static str)];
const DEFINED: Lists = &[("initContainers", "init container"), ("containers", "container")];
const ADDED: (&str, &str) = ("ephemeralContainers", "ephemeral container");

fn containers_with_its_secrets(
    change: &Change<'_>,
    account: &Value,
    pod: &Value,
    lists: &[(&str, &str)],
) -> Outcome<()> {
    let secrets = listed(account, "secrets");
    for (list, what) in lists {
        for container in pod["spec"][*list].as_array().into_iter().flatten() {
            if let Some((by, name)) = foreign_secret(container, &secrets) {
                let (holder, why) = (name_of_container(container), because(account, "secret"));
                return Err(change.forbidden(format!(
                    "{what} {holder} with {by} referencing secret.secretName={name:?} is not allowed {why}"
                )));
            }
        }
    }
    Ok(())
}

fn listed<'a>(account: &'a Value, name: &str) -> BTreeSet<&'a str> {
    account[name].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()).collect()
}

fn because(account: &Value, what: &str) -> String {
    format!("because service account {} does not reference that {what}", name_of(account))
}

fn name_of_container(container: &Value) -> &str {
    container["name"].as_str().unwrap_or("")
}

/// By what a container refers to a secret that is not listed.
fn foreign_secret(container: &Value, listed: &BTreeSet<&str>) -> Option<(String, String)> {
    for variable in container["env"].as_array().into_iter().flatten() {
        let secret = variable.pointer("/valueFrom/secretKeyRef/name").and_then(Value::as_str);
        if let Some(name) = secret.filter(|name| !listed.contains(name)) {
            let variable = variable["name"].as_str().unwrap_or("");
            return Some((format!("envVar {variable}"), name.to_owned()));
        }
    }
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let secret = source.pointer("/secretRef/name").and_then(Value::as_str);
        if let Some(name) = secret.filter(|name| !listed.contains(name)) {
            return Some(("envFrom".to_owned(), name.to_owned()));
        }
    }
    None
}
