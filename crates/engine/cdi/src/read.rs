//! From directories to files that are in order, and what is wrong with the others.

use crate::devices::Devices;
use crate::error::CdiError;
use crate::name::{is_device, is_kind};
use crate::spec::{Device, DeviceNode, Edits, Hook, Spec};
use crate::version::{known, too_new};
use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Where vendors put their files. The later of two directories decides.
pub const DEFAULT_DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// No file of a vendor is nearly as large.
const MAX_FILE: u64 = 4 << 20;

/// The directories that are looked into. Every question reads them anew: files come and go with drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories(Vec<PathBuf>);

impl Default for Directories {
    fn default() -> Self {
        Self(DEFAULT_DIRECTORIES.map(PathBuf::from).to_vec())
    }
}

impl Directories {
    /// Those, the later before the earlier; with none no device is found.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    /// Which they are.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// The devices that are there now. A directory that is missing has none.
    #[must_use]
    pub fn read(&self) -> Devices {
        let mut devices = Devices::new(self.0.clone());
        for directory in &self.0 {
            for path in files(directory, &mut devices) {
                match read(&path) {
                    Ok(spec) => devices.add(directory, &path, spec),
                    Err(error) => devices.fault(error),
                }
            }
        }
        devices
    }
}

/// The files of a directory that are meant for this, in the order of their names.
fn files(directory: &Path, devices: &mut Devices) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(source) => {
            devices.fault(CdiError::Read { path: directory.to_owned(), source });
            return Vec::new();
        }
    };
    let is_meant = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| ["json", "yaml", "yml"].iter().any(|known| extension == *known))
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_meant).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Spec, CdiError> {
    let failed = |source| CdiError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(CdiError::Syntax { path: path.to_owned(), fault: "it is larger than 4 MiB".to_owned() });
    }
    parse(path, &text)
}

/// A file's text: JSON is YAML.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Spec, CdiError> {
    let syntax =
        |error: serde_saphyr::Error| CdiError::Syntax { path: path.to_owned(), fault: error.to_string() };
    let spec: Spec = serde_saphyr::from_str(text).map_err(syntax)?;
    let version = known(&spec.cdi_version);
    let version = version
        .ok_or_else(|| CdiError::Version { path: path.to_owned(), version: spec.cdi_version.clone() })?;
    validate(path, &spec)?;
    match too_new(&spec, version) {
        None => Ok(spec),
        Some((field, since)) => {
            Err(CdiError::TooOld { path: path.to_owned(), field, since, version: spec.cdi_version })
        }
    }
}

fn validate(path: &Path, spec: &Spec) -> Result<(), CdiError> {
    if !is_kind(&spec.kind) {
        return Err(bad(path, "kind", &spec.kind, "expected vendor/class, such as vendor.com/net"));
    }
    if spec.devices.is_empty() {
        return Err(CdiError::Empty { path: path.to_owned(), what: "it has no devices".to_owned() });
    }
    let mut names = BTreeSet::new();
    for device in &spec.devices {
        validate_device(path, device)?;
        if !names.insert(&device.name) {
            return Err(CdiError::Twice { path: path.to_owned(), name: device.name.clone() });
        }
    }
    validate_edits(path, &spec.container_edits)
}

fn validate_device(path: &Path, device: &Device) -> Result<(), CdiError> {
    if !is_device(&device.name) {
        return Err(bad(
            path,
            "device name",
            &device.name,
            "expected letters, digits and _ - . : between them",
        ));
    }
    if device.container_edits.is_empty() {
        let what = format!("device {:?} has no containerEdits", device.name);
        return Err(CdiError::Empty { path: path.to_owned(), what });
    }
    validate_edits(path, &device.container_edits)
}

fn validate_edits(path: &Path, edits: &Edits) -> Result<(), CdiError> {
    for entry in &edits.env {
        if entry.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            return Err(bad(path, "env", entry, "expected NAME=value"));
        }
    }
    edits.device_nodes.iter().try_for_each(|node| validate_node(path, node))?;
    for mount in &edits.mounts {
        if mount.host_path.as_os_str().is_empty() || !mount.container_path.is_absolute() {
            let place = mount.container_path.display().to_string();
            return Err(bad(path, "mount", &place, "expected a hostPath and an absolute containerPath"));
        }
    }
    edits.hooks.iter().try_for_each(|hook| validate_hook(path, hook))
}

fn validate_node(path: &Path, node: &DeviceNode) -> Result<(), CdiError> {
    let place = node.path.display().to_string();
    if !node.path.is_absolute() {
        return Err(bad(path, "device node", &place, "expected an absolute path"));
    }
    if let Some(kind) = node.r#type.as_deref().filter(|kind| !["", "b", "c", "u", "p"].contains(kind)) {
        return Err(bad(path, "type of a device node", kind, "expected b, c, u or p"));
    }
    let rights = node.permissions.as_deref().unwrap_or_default();
    if !rights.chars().all(|right| "rwm".contains(right)) {
        return Err(bad(path, "permissions of a device node", rights, "expected letters of rwm"));
    }
    Ok(())
}

fn validate_hook(path: &Path, hook: &Hook) -> Result<(), CdiError> {
    match hook.path.is_absolute() {
        true => Ok(()),
        false => Err(bad(path, "hook", &hook.path.display().to_string(), "expected an absolute path")),
    }
}

fn bad(path: &Path, what: &'static str, value: &str, expected: &'static str) -> CdiError {
    CdiError::Value { path: path.to_owned(), what, value: value.to_owned(), expected }
}
