//! Where the bytes of a volume are: exactly one of many sources.

use super::super::check;
use super::super::value::{items, text};
use hako_error::FieldCause;
use hako_kube::field;
use serde_json::Value;

/// Each source, and what it cannot do without.
pub(super) const SOURCES: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("csi", &["volumeHandle"]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("flocker", &[]),
    ("gcePersistentDisk", &["pdName"]),
    ("glusterfs", &["endpoints", "path"]),
    ("hostPath", &["path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("local", &["path"]),
    ("nfs", &["server", "path"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("storageos", &[]),
    ("vsphereVolume", &["volumePath"]),
];

/// All faults of the source of a volume's spec.
pub(super) fn validate(spec: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let given = SOURCES.iter().filter(|(name, _)| spec.get(name).is_some());
    for (index, (name, needs)) in given.clone().enumerate() {
        let path = field::child(path, name);
        if index > 0 {
            causes.push(field::forbidden(path, "may not specify more than 1 volume type"));
            continue;
        }
        one(name, needs, &spec[*name], &path, causes);
    }
    if given.count() == 0 {
        causes.push(field::required(path, "must specify a volume type"));
    }
}

fn one(name: &str, needs: &[&str], source: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    for need in needs {
        if text(source, &[need]).is_empty() && items(source, &[need]).is_empty() {
            causes.push(field::required(field::child(path, need), ""));
        }
    }
    let host = text(source, &["path"]);
    let path_path = field::child(path, "path");
    match name {
        "csi" => csi(source, path, causes),
        "nfs" if !host.is_empty() && !host.starts_with('/') => {
            causes.push(field::invalid(path_path, host, "must be an absolute path"));
        }
        "hostPath" | "local" if host.split('/').any(|part| part == "..") => {
            causes.push(field::invalid(path_path, host, "must not contain '..'"));
        }
        "iscsi" => lun(source, path, causes),
        _ => {}
    }
    if name == "hostPath" {
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
        check::one_of(source, "type", TYPES, path, causes);
    }
}

fn lun(source: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let lun = source["lun"].as_i64().unwrap_or(0);
    if !(0..=255).contains(&lun) {
        let detail = "must be between 0 and 255, inclusive";
        causes.push(field::invalid(field::child(path, "lun"), lun, detail));
    }
}

fn csi(source: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    check::driver(text(source, &["driver"]), &field::child(path, "driver"), causes);
    for secret in [
        "controllerPublishSecretRef",
        "nodeStageSecretRef",
        "nodePublishSecretRef",
        "controllerExpandSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(reference) = source.get(secret) else { continue };
        for member in ["name", "namespace"] {
            if text(reference, &[member]).is_empty() {
                let path = field::child(&field::child(path, secret), member);
                causes.push(field::required(path, ""));
            }
        }
    }
}
