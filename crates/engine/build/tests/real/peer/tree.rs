//! What an image is, entry by entry and field by field.

use hako_image::Image;
use rustix::fs::{lgetxattr, llistxattr};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Where programs that run containers put something of their own.
const STUBS: [&str; 7] = ["dev", "proc", "sys", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
const FIELDS: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Shell",
    "OnBuild",
    "Healthcheck",
];

/// Every entry below `root` with what copying must keep, also which names are one file; times are not compared.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    let mut names: HashMap<u64, Vec<String>> = HashMap::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if STUBS.contains(&name.as_str()) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                open.push(path.clone());
            } else {
                names.entry(metadata.ino()).or_default().push(name.clone());
            }
            found.insert(name, described(&path, &metadata));
        }
    }
    for mut group in names.into_values().filter(|group| group.len() > 1) {
        group.sort();
        for name in &group {
            found.entry(name.clone()).and_modify(|text| text.push_str(&format!(" is {}", group[0])));
        }
    }
    found
}

fn described(path: &Path, metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        fs::read_link(path).unwrap().display().to_string()
    } else if kind.is_file() {
        hako_names::Digest::of(&fs::read(path).unwrap()).short()
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        "dir".to_owned()
    };
    let mode = if kind.is_symlink() { 0 } else { metadata.mode() & 0o7777 };
    format!("{mode:o} {}:{} {content}{}", metadata.uid(), metadata.gid(), xattrs(path))
}

fn xattrs(path: &Path) -> String {
    let mut names = Vec::with_capacity(4096);
    llistxattr(path, rustix::buffer::spare_capacity(&mut names)).unwrap();
    let mut all = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(4096);
        lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).unwrap();
        all.push(format!(" {}={value:?}", String::from_utf8_lossy(name)));
    }
    all.sort();
    all.concat()
}

/// The fields of the configuration that say something.
pub fn config(image: &Image) -> BTreeMap<&'static str, Value> {
    let inner = FIELDS.map(|name| (name, image.raw_config["config"][name].clone()));
    let author = ("Author", image.raw_config["author"].clone());
    let mut fields = BTreeMap::new();
    for (name, mut value) in inner.into_iter().chain([author]) {
        if let Some(labels) = value.as_object_mut() {
            labels.remove("io.buildah.version");
        }
        let is_empty = match &value {
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::String(text) => text.is_empty() || name == "WorkingDir" && text == "/",
            _ => value.is_null(),
        };
        if !is_empty {
            fields.insert(name, value);
        }
    }
    fields
}
