//! The volumes of a pod.

use super::super::value::{items, text};
use super::{Check, local_path, set_members};
use hako_kube::{field, names};
use serde_json::Value;

const SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
];

impl Check<'_> {
    pub(super) fn volumes(&mut self) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, volume) in items(self.spec, &["volumes"]).iter().enumerate() {
            let path = field::index(&self.child("volumes"), index);
            let name = text(volume, &["name"]);
            if name.is_empty() {
                self.causes.push(field::required(field::child(&path, "name"), ""));
            } else {
                let of = |fault: String| field::invalid(field::child(&path, "name"), name, &fault);
                self.causes.extend(names::dns_label(name).into_iter().map(of));
                if seen.contains(&name) {
                    self.causes.push(field::duplicate(field::child(&path, "name"), name));
                }
            }
            seen.push(name);
            match set_members(volume, SOURCES).as_slice() {
                [] => self.causes.push(field::required(&path, "must specify a volume type")),
                [one] => self.source(one, &volume[*one], &field::child(&path, one)),
                [_, more @ ..] => {
                    for name in more {
                        let path = field::child(&path, name);
                        self.causes.push(field::forbidden(path, "may not specify more than 1 volume type"));
                    }
                }
            }
        }
    }

    fn source(&mut self, kind: &str, source: &Value, path: &str) {
        match kind {
            "configMap" => self.named(source, "name", path),
            "secret" => self.named(source, "secretName", path),
            "persistentVolumeClaim" => self.named(source, "claimName", path),
            "hostPath" => self.host_path(source, path),
            "emptyDir" => {
                let medium = text(source, &["medium"]);
                if !matches!(medium, "" | "Memory") && !medium.starts_with("HugePages") {
                    let path = field::child(path, "medium");
                    self.causes.push(field::not_supported(path, medium, &["", "HugePages", "Memory"]));
                }
            }
            "downwardAPI" => self.downward(source, path),
            "projected" => self.projected(source, path),
            _ => {}
        }
        self.mode(source, "defaultMode", path);
        for (index, item) in items(source, &["items"]).iter().enumerate() {
            self.mode(item, "mode", &field::index(&field::child(path, "items"), index));
        }
    }

    fn mode(&mut self, object: &Value, name: &str, path: &str) {
        if let Some(mode) = super::number(object, &[name])
            && !(0..=0o777).contains(&mode)
        {
            self.causes.push(field::invalid(
                field::child(path, name),
                mode,
                "must be a number between 0 and 0777 (octal), both inclusive",
            ));
        }
    }

    fn named(&mut self, source: &Value, name: &str, path: &str) {
        if text(source, &[name]).is_empty() {
            self.causes.push(field::required(field::child(path, name), ""));
        }
        self.key_path(source, path);
    }

    fn host_path(&mut self, source: &Value, path: &str) {
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
        let host = text(source, &["path"]);
        let shown = field::child(path, "path");
        if host.is_empty() {
            self.causes.push(field::required(shown, ""));
        } else if host.split('/').any(|part| part == "..") {
            self.causes.push(field::invalid(shown, host, "must not contain '..'"));
        }
        let kind = text(source, &["type"]);
        if !TYPES.contains(&kind) {
            self.causes.push(field::not_supported(field::child(path, "type"), kind, TYPES));
        }
    }

    fn downward(&mut self, source: &Value, path: &str) {
        for (index, item) in items(source, &["items"]).iter().enumerate() {
            let path = field::index(&field::child(path, "items"), index);
            if text(item, &["path"]).is_empty() {
                self.causes.push(field::required(field::child(&path, "path"), ""));
            }
            local_path(text(item, &["path"]), &field::child(&path, "path"), &mut self.causes);
            match set_members(item, &["fieldRef", "resourceFieldRef"]).len() {
                0 => self
                    .causes
                    .push(field::required(&path, "one of fieldRef and resourceFieldRef is required")),
                1 => {}
                _ => self.causes.push(field::invalid(
                    &path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                )),
            }
        }
    }

    fn projected(&mut self, source: &Value, path: &str) {
        const KINDS: &[&str] = &[
            "clusterTrustBundle",
            "configMap",
            "downwardAPI",
            "podCertificate",
            "secret",
            "serviceAccountToken",
        ];
        for (index, part) in items(source, &["sources"]).iter().enumerate() {
            let path = field::index(&field::child(path, "sources"), index);
            match set_members(part, KINDS).as_slice() {
                [kind @ ("configMap" | "secret")] => {
                    self.named(&part[*kind], "name", &field::child(&path, kind))
                }
                ["downwardAPI"] => self.downward(&part["downwardAPI"], &field::child(&path, "downwardAPI")),
                [_] => {}
                [] => self.causes.push(field::required(&path, "must specify a volume source")),
                _ => self.causes.push(field::forbidden(&path, "may not specify more than 1 volume type")),
            }
        }
    }
}
