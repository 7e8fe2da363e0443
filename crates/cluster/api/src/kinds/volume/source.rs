//! Where the bytes of a volume are: exactly one of many sources, of a pod's volume or of one on its own.

use super::super::check;
use super::super::place::{Faults, Place};
use super::super::value::set_default;
use hako_error::FieldCause;
use hako_kube::{field, names};
use serde_json::{Map, Value, json};

/// What carries a source, with its name: they differ in what a reference to a secret says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Holder<'a> {
    /// A volume within a pod: secrets are those of the pod's namespace.
    Pod(&'a str),
    /// A volume of its own: secrets say their namespace.
    Volume(&'a str),
}

/// Each source of a volume of its own, in the order in which a second one is told from the first.
pub(super) const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// What a source cannot do without, where nothing else is wrong with it.
const NEEDS: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("glusterfs", &["endpoints", "path"]),
    ("hostPath", &["path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("local", &["path"]),
    ("nfs", &["server", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["volume"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];

/// Fills in the source of a volume, of a pod or of its own.
pub(in super::super) fn default(spec: &mut Map<String, Value>) {
    let defaults: [(&str, &[(&str, Value)]); 5] = [
        ("hostPath", &[("type", json!(""))]),
        ("rbd", &[("pool", json!("rbd")), ("user", json!("admin")), ("keyring", json!("/etc/ceph/keyring"))]),
        ("iscsi", &[("iscsiInterface", json!("default"))]),
        (
            "azureDisk",
            &[
                ("cachingMode", json!("ReadWrite")),
                ("kind", json!("Shared")),
                ("fsType", json!("ext4")),
                ("readOnly", json!(false)),
            ],
        ),
        ("scaleIO", &[("storageMode", json!("ThinProvisioned")), ("fsType", json!("xfs"))]),
    ];
    for (name, members) in defaults {
        let Some(source) = spec.get_mut(name).and_then(Value::as_object_mut) else { continue };
        for (member, value) in members {
            set_default(source, member, value.clone());
        }
    }
}

/// All faults of the source of the spec of a volume of that name.
pub(super) fn validate(spec: &Value, name: &str, path: &str, causes: &mut Faults) {
    let spec = Place::shown(spec, path);
    let given = SOURCES.iter().filter(|name| spec.at(&[name]).is_set());
    for (index, kind) in given.clone().enumerate() {
        if index > 0 {
            causes.push(second(&spec, kind));
        } else {
            one(&spec, kind, Holder::Volume(name), causes);
        }
    }
    if given.count() == 0 {
        causes.push(spec.required("must specify a volume type"));
    }
}

/// The fault of a source beside another one.
pub(in super::super) fn second(holder: &Place<'_>, kind: &str) -> FieldCause {
    let kind = if kind == "cephfs" { "cephFS" } else { kind };
    holder.at(&[kind]).forbidden("may not specify more than 1 volume type")
}

/// All faults of the source of one kind.
pub(in super::super) fn one(place: &Place<'_>, kind: &str, holder: Holder<'_>, faults: &mut Faults) {
    let mut source = place.at(&[kind]);
    if kind == "gcePersistentDisk" {
        source = place.at_shown(&[kind], &["persistentDisk"]);
    }
    let needs = NEEDS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, needs)| needs);
    for need in needs.iter().map(|need| source.at(&[need])).filter(Place::is_empty) {
        faults.push(need.required(""));
    }
    match kind {
        "awsElasticBlockStore" | "gcePersistentDisk" => partition(&source.at(&["partition"]), faults),
        "azureDisk" => azure_disk(&source, faults),
        "azureFile" => azure_file(&source, faults),
        "cinder" => secret(&source, holder, faults),
        "csi" => csi(&source, holder, faults),
        "fc" => fibre_channel(&source, faults),
        "flexVolume" => options(&source, faults),
        "flocker" => flocker(&source, faults),
        "glusterfs" => namespace(&source.at(&["endpointsNamespace"]), faults),
        "hostPath" => host_path(&source, faults),
        "iscsi" => super::iscsi::validate(&source, holder, &place.at(&["name"]), faults),
        "local" => inside(&source.at(&["path"]), faults),
        "nfs" if !source.at(&["path"]).text().starts_with('/') => {
            faults.push(source.at(&["path"]).invalid_text("must be an absolute path"));
        }
        "quobyte" => quobyte(&source, faults),
        "storageos" => storage_os(&source, holder, faults),
        _ => {}
    }
}

fn partition(partition: &Place<'_>, faults: &mut Faults) {
    if !(0..=255).contains(&partition.number()) {
        faults.push(partition.invalid("must be between 1 and 255, inclusive"));
    }
}

/// A path that never leads up.
pub(in super::super) fn inside(path: &Place<'_>, faults: &mut Faults) {
    if path.text().split('/').any(|part| part == "..") {
        faults.push(path.invalid("must not contain '..'"));
    }
}

fn host_path(source: &Place<'_>, faults: &mut Faults) {
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    inside(&source.at(&["path"]), faults);
    source.at(&["type"]).one_of_given(TYPES, faults);
}

fn azure_disk(source: &Place<'_>, faults: &mut Faults) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    source.at(&["cachingMode"]).one_of_given(&["None", "ReadOnly", "ReadWrite"], faults);
    let (kind, uri) = (source.at(&["kind"]), source.at(&["diskURI"]));
    kind.one_of_given(&["Dedicated", "Managed", "Shared"], faults);
    let (start, form) = match kind.text() {
        "Managed" => ("/subscriptions/", MANAGED),
        _ => ("https://", BLOB),
    };
    if kind.is_set() && !uri.text().starts_with(start) {
        faults.push(uri.not_supported(&[form]));
    }
}

fn azure_file(source: &Place<'_>, faults: &mut Faults) {
    let namespace = source.at(&["secretNamespace"]);
    if namespace.is_set() && namespace.is_empty() {
        faults.push(namespace.required(""));
    }
}

/// A reference to a secret says where it is.
fn secret(source: &Place<'_>, holder: Holder<'_>, faults: &mut Faults) {
    let reference = source.at(&["secretRef"]);
    let members: &[&str] =
        if matches!(holder, Holder::Volume(_)) { &["name", "namespace"] } else { &["name"] };
    if reference.is_set() {
        let missing = members.iter().map(|member| reference.at(&[member])).filter(Place::is_empty);
        faults.extend(missing.map(|member| member.required("")));
    }
}

fn csi(source: &Place<'_>, holder: Holder<'_>, faults: &mut Faults) {
    let driver = source.at(&["driver"]);
    check::driver(driver.text(), &driver.path(), faults);
    if matches!(holder, Holder::Pod(_)) {
        let reference = source.at(&["nodePublishSecretRef"]);
        let name = reference.at(&["name"]);
        if reference.is_set() && name.is_empty() {
            faults.push(name.required(""));
        }
        // The original forgets the name of the reference in this path.
        let name = source.at(&["name"]).with(name.value);
        return name.check_given(names::dns_subdomain, faults);
    }
    let handle = source.at(&["volumeHandle"]);
    if handle.is_empty() {
        faults.push(handle.required(""));
    }
    for name in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let reference = source.at(&[name]);
        if reference.is_set() {
            reference.at(&["name"]).check_required(names::dns_subdomain, faults);
            reference.at(&["namespace"]).check_required(names::dns_label, faults);
        }
    }
}

fn fibre_channel(source: &Place<'_>, faults: &mut Faults) {
    let (targets, wwids, lun) = (source.at(&["targetWWNs"]), source.at(&["wwids"]), source.at(&["lun"]));
    match (targets.is_empty(), wwids.is_empty()) {
        (true, true) => {
            faults.push(targets.required("must specify either targetWWNs or wwids, but not both"));
        }
        (false, false) => {
            faults.push(targets.invalid("targetWWNs and wwids can not be specified simultaneously"));
        }
        _ => {}
    }
    if targets.is_empty() {
        return;
    }
    if !lun.is_set() {
        faults.push(lun.required("lun is required if targetWWNs is specified"));
    } else if !(0..=255).contains(&lun.number()) {
        faults.push(lun.invalid("must be between 0 and 255, inclusive"));
    }
}

/// Options of the platform's own names are the platform's.
fn options(source: &Place<'_>, faults: &mut Faults) {
    for (key, option) in source.at(&["options"]).entries() {
        let namespace = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            faults.push(field::invalid(option.path(), key, detail));
        }
    }
}

fn flocker(source: &Place<'_>, faults: &mut Faults) {
    let (name, uuid) = (source.at(&["datasetName"]), source.at(&["datasetUUID"]));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => faults.push(source.required("one of datasetName and datasetUUID is required")),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            faults.push(field::invalid(source.path(), "resource", detail));
        }
        _ => {}
    }
    if name.text().contains('/') {
        faults.push(name.invalid("must not contain '/'"));
    }
}

fn namespace(namespace: &Place<'_>, faults: &mut Faults) {
    if namespace.is_set() && namespace.is_empty() {
        let detail = "if the endpointnamespace is set, it must be a valid namespace name";
        faults.push(namespace.invalid(detail));
    }
    namespace.check_given(names::dns_label, faults);
}

fn quobyte(source: &Place<'_>, faults: &mut Faults) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    const TENANT_MAX: usize = 64;
    let (registry, tenant) = (source.at(&["registry"]), source.at(&["tenant"]));
    if registry.is_empty() {
        return faults.push(registry.required(PAIRS));
    }
    if tenant.text().len() > TENANT_MAX {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        return faults.push(tenant.required(detail));
    }
    let is_pair = |pair: &str| match pair.rsplit_once(':') {
        Some((host, _)) => !host.contains(':') || (host.starts_with('[') && host.ends_with(']')),
        None => false,
    };
    let faulty = registry.text().split(',').filter(|pair| !is_pair(pair));
    faults.extend(faulty.map(|_| registry.invalid(PAIRS)));
}

fn storage_os(source: &Place<'_>, holder: Holder<'_>, faults: &mut Faults) {
    source.at(&["volumeName"]).check_required(names::dns_label, faults);
    source.at(&["volumeNamespace"]).check_given(names::dns_label, faults);
    secret(source, holder, faults);
}
