//! `Mounts` of a container, as an inspect and a list show them.

use super::create::destination;
use crate::DockerState;
use hako_container::{Container, Mount, MountSource, Propagation};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is mounted; `request` is what the container was made by.
pub(crate) fn mounts(
    state: &DockerState,
    container: &Container,
    request: impl FnOnce() -> Value,
) -> Vec<Value> {
    let mounts = &container.spec.mounts;
    if mounts.is_empty() {
        return Vec::new();
    }
    let asked = Asked::of(&request()["HostConfig"]);
    mounts
        .iter()
        .filter(|mount| !asked.hidden.contains(&mount.target))
        .map(|one| shown(state, one, &asked))
        .collect()
}

/// What only the request knows of its mounts.
struct Asked {
    /// The options of binds as they were written, and what Docker takes for those of a volume with a name.
    modes: Vec<(PathBuf, String)>,
    /// What `--tmpfs` asks for is shown among the options alone.
    hidden: Vec<PathBuf>,
}

impl Asked {
    fn of(host: &Value) -> Self {
        let list = |name: &str| host[name].as_array().cloned().unwrap_or_default();
        let mut modes = Vec::new();
        for bind in list("Binds") {
            let parts: Vec<&str> = bind.as_str().unwrap_or_default().split(':').collect();
            let (Some(source), Some(target)) =
                (parts.first(), parts.get(1).and_then(|path| destination(path)))
            else {
                continue;
            };
            let is_named = !source.starts_with('/');
            let usual = if is_named { "z" } else { "" };
            modes.push((
                target,
                parts.get(2).copied().filter(|mode| !mode.is_empty()).unwrap_or(usual).to_owned(),
            ));
        }
        for mount in list("Mounts").iter().filter(|mount| mount["Type"] == "volume") {
            modes.extend(
                mount["Target"].as_str().and_then(destination).map(|target| (target, "z".to_owned())),
            );
        }
        let tmpfs = host["Tmpfs"].as_object().into_iter().flatten();
        Self { modes, hidden: tmpfs.filter_map(|(target, _)| destination(target)).collect() }
    }

    fn mode(&self, mount: &Mount) -> &str {
        self.modes.iter().find(|(target, _)| *target == mount.target).map_or("", |(_, mode)| mode)
    }
}

fn shown(state: &DockerState, mount: &Mount, asked: &Asked) -> Value {
    let (kind, name, source, propagation) = match &mount.source {
        MountSource::Bind { path, propagation, .. } => {
            let propagation = match propagation {
                Propagation::Private => "rprivate",
                Propagation::Slave => "rslave",
                Propagation::Shared => "rshared",
            };
            ("bind", "", path.display().to_string(), propagation)
        }
        MountSource::Tmpfs { .. } => ("tmpfs", "", String::new(), ""),
        MountSource::Image { name } => ("image", name.as_str(), name.clone(), ""),
        MountSource::Volume { name, .. } => {
            ("volume", name.as_str(), state.engine.volume_path(name).display().to_string(), "")
        }
    };
    let mut shown = json!({
        "Type": kind, "Source": source, "Destination": mount.target, "Mode": asked.mode(mount),
        "RW": !mount.read_only, "Propagation": propagation,
    });
    if kind == "volume" {
        shown["Name"] = json!(name);
        shown["Driver"] = json!("local");
    }
    shown
}
