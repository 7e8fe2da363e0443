//! Profiles of seccomp and AppArmor, as fields and as the annotations that were before them.

use super::super::place::{Faults, Place};
use super::all_containers;
use hako_kube::field;
use std::collections::HashSet;

const KINDS: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const PROFILE_MAX: usize = 4095;
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// All faults of a seccomp profile.
pub(super) fn seccomp(profile: &Place<'_>, faults: &mut Faults) {
    if !profile.is_set() {
        return;
    }
    kind(profile, "type is required when seccompProfile is set", faults);
    let local = profile.at(&["localhostProfile"]);
    match (profile.at(&["type"]).text(), local.is_set()) {
        ("Localhost", false) => faults.push(local.required("must be set when seccomp type is Localhost")),
        ("Localhost", true) => super::local_path(&local, faults),
        (_, true) => {
            let detail = "can only be set when seccomp type is Localhost";
            faults.push(field::invalid(local.path(), profile.value.clone(), detail));
        }
        (_, false) => {}
    }
}

/// All faults of an AppArmor profile.
pub(super) fn app_armor(profile: &Place<'_>, faults: &mut Faults) {
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    if !profile.is_set() {
        return;
    }
    kind(profile, "type is required when appArmorProfile is set", faults);
    let local = profile.at(&["localhostProfile"]);
    let text = local.text();
    match profile.at(&["type"]).text() {
        "Localhost" if text.trim() != text => {
            faults.push(local.invalid("must not be padded with whitespace"));
        }
        "Localhost" if text.is_empty() => faults.push(local.required(NEEDED)),
        "RuntimeDefault" | "Unconfined" if local.is_set() => {
            faults.push(local.invalid("can only be set when AppArmor type is Localhost"));
        }
        _ => {}
    }
    if text.len() > PROFILE_MAX {
        faults.push(field::too_long(local.path(), PROFILE_MAX));
    }
}

fn kind(profile: &Place<'_>, missing: &str, faults: &mut Faults) {
    let kind = profile.at(&["type"]);
    if kind.is_empty() {
        faults.push(kind.required(missing));
    } else {
        kind.one_of(KINDS, faults);
    }
}

/// All faults of the annotations of a pod or template that name profiles.
pub(super) fn annotations(metadata: &Place<'_>, spec: &Place<'_>, path: &str, faults: &mut Faults) {
    let containers: HashSet<&str> =
        all_containers(spec).iter().map(|container| container.at(&["name"]).text()).collect();
    for (key, value) in metadata.at(&["annotations"]).entries() {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp_text(value.text(), &field::child(path, key), faults);
        }
        let Some(name) = key.strip_prefix(APP_ARMOR) else { continue };
        let path = field::key(path, key);
        if !containers.contains(name) {
            faults.push(field::invalid(path.as_str(), name, "container not found"));
        }
        let text = value.text();
        let is_known =
            matches!(text, "" | "runtime/default" | "unconfined") || text.starts_with("localhost/");
        if !is_known {
            faults.push(field::invalid(path, text, &format!("invalid AppArmor profile name: {text:?}")));
        }
    }
}

fn seccomp_text(profile: &str, path: &str, faults: &mut Faults) {
    match profile.strip_prefix("localhost/") {
        Some(local) => super::local_path(&Place::shown(&local.into(), path), faults),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => faults.push(field::invalid(path, profile, "must be a valid seccomp profile")),
    }
}

/// Faults of profiles that are both annotations and fields and differ.
pub(super) fn agree(metadata: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    let annotation = |key: &str| metadata.at(&["annotations"]).value.get(key).and_then(|it| it.as_str());
    let of_pod = spec.at(&["securityContext", "seccompProfile"]);
    if let Some(text) = annotation(SECCOMP_POD) {
        same(&of_pod, "seccomp", text, faults);
    }
    let is_windows = spec.at(&["os", "name"]).text() == "windows";
    for container in all_containers(spec) {
        let (context, name) = (container.at(&["securityContext"]), container.at(&["name"]));
        if let Some(text) = annotation(&format!("{SECCOMP_CONTAINER}{}", name.text())) {
            same(&context.at(&["seccompProfile"]), "seccomp", text, faults);
        }
        let own = context.at(&["appArmorProfile"]);
        let text = annotation(&format!("{APP_ARMOR}{}", name.text())).filter(|_| !is_windows);
        if let Some(text) = text {
            let of_pod = spec.at(&["securityContext", "appArmorProfile"]);
            let value = if own.is_set() { own.value } else { of_pod.value };
            same(&own.with(value), "apparmor", text, faults);
        }
    }
}

fn same(profile: &Place<'_>, what: &str, text: &str, faults: &mut Faults) {
    let local = profile.at(&["localhostProfile"]);
    let is_kind = match profile.at(&["type"]).text() {
        "Unconfined" => text == "unconfined",
        "RuntimeDefault" => text == "runtime/default" || (what == "seccomp" && text == "docker/default"),
        "Localhost" => match text.strip_prefix("localhost/") {
            Some(name) if name != local.text() => {
                return faults
                    .push(local.forbidden(&format!("{what} profile in annotation and field must match")));
            }
            name => name.is_some(),
        },
        _ => true,
    };
    if !is_kind {
        let detail = format!("{what} type in annotation and field must match");
        faults.push(profile.at(&["type"]).forbidden(&detail));
    }
}
