//! The mounts: defaults, the sandbox's files, the container's own.

use super::{Shm, Surroundings};
use crate::error::EngineError;
use crate::volume::VolumeSource;
use crate::{Below, ContainerSpec, MountSource, Propagation};
use hako_oci::runtime::{Mount, MountBuilder};
use std::path::Path;

/// The default mounts, then the sandbox's files and the container's own in order of their targets' depth, so that none
/// inside another's target is hidden by it.
pub(super) fn mounts(
    base: Vec<Mount>,
    spec: &ContainerSpec,
    around: &Surroundings,
) -> Result<Vec<Mount>, EngineError> {
    let own: Vec<&Path> = spec.mounts.iter().map(|mount| mount.target.as_path()).collect();
    let mut all: Vec<Mount> =
        base.into_iter().filter(|mount| !own.contains(&mount.destination().as_path())).collect();
    for mount in &mut all {
        adapt(mount, spec, around);
    }
    if around.has_hosts_ipc {
        // Message queues of the host are not for the users of a user namespace to mount.
        all.retain(|mount| mount.destination() != Path::new("/dev/mqueue"));
    }
    let shm = Path::new("/dev/shm");
    if around.shm != Shm::Own {
        all.retain(|mount| mount.destination() != shm);
    }
    if let Shm::Bound(place) = &around.shm
        && !own.contains(&shm)
    {
        all.extend(mount("bind", place, shm, &["rbind", "rprivate", "rw", "nosuid", "nodev", "noexec"]));
    }
    let access = if spec.read_only_rootfs { "ro" } else { "rw" };
    let files = around.files.iter().filter(|(_, target)| !own.contains(&Path::new(target)));
    let files =
        files.map(|(from, target)| mount("bind", from, Path::new(target), &["rbind", "rprivate", access]));
    let mut deep: Vec<Mount> = files.flatten().collect();
    for (index, one) in spec.mounts.iter().enumerate() {
        let mut built = own_mount(index, one, around)?;
        if !one.subpath.is_empty() {
            let part = format!("{}{}", hako_runtime::SUBPATH_OPTION, one.subpath);
            built.options_mut().get_or_insert_default().push(part);
        }
        deep.push(built);
    }
    deep.sort_by_key(|mount| mount.destination().components().count());
    all.append(&mut deep);
    Ok(all)
}

/// Adjusts a default mount: size of /dev/shm, writable /sys and cgroups when privileged.
fn adapt(mount: &mut Mount, spec: &ContainerSpec, around: &Surroundings) {
    let target = mount.destination().clone();
    let mut options = mount.options().clone().unwrap_or_default();
    if let (true, Some(size)) = (target == Path::new("/dev/shm"), around.shm_size) {
        options.retain(|option| !option.starts_with("size="));
        options.push(format!("size={size}"));
    }
    if spec.privileged && target.starts_with("/sys") {
        options.retain(|option| option != "ro");
    }
    mount.set_options(Some(options));
}

fn mount(typ: &str, source: &Path, target: &Path, options: &[&str]) -> Option<Mount> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    MountBuilder::default().typ(typ).source(source).destination(target).options(options).build().ok()
}

fn volume_mount(
    name: &str,
    target: &Path,
    access: &str,
    around: &Surroundings,
) -> Result<Option<Mount>, EngineError> {
    let source = around.volumes.iter().find(|(volume, _)| volume == name).map(|(_, source)| source);
    match source.ok_or_else(|| EngineError::NoVolume { name: name.to_owned() })? {
        VolumeSource::Directory(dir) if !dir.exists() => Err(EngineError::NoBindSource { path: dir.clone() }),
        VolumeSource::Directory(dir) => Ok(mount("bind", dir, target, &["rbind", "rprivate", access])),
        VolumeSource::Mounted { kind, device, options } => {
            let options: Vec<&str> = options.iter().map(String::as_str).chain([access]).collect();
            Ok(mount(kind, device, target, &options))
        }
    }
}

fn own_mount(index: usize, wanted: &crate::Mount, around: &Surroundings) -> Result<Mount, EngineError> {
    let bad = |expected| EngineError::Value {
        what: "mount target",
        value: wanted.target.display().to_string(),
        expected,
    };
    if !wanted.target.is_absolute() {
        return Err(bad("an absolute path"));
    }
    let access = if wanted.read_only { "ro" } else { "rw" };
    let (bind, bind_access) = match (wanted.below, wanted.read_only) {
        (Below::Hidden, _) => ("bind", access),
        (Below::Same, true) => ("rbind", "rro"),
        _ => ("rbind", access),
    };
    let built = match &wanted.source {
        MountSource::Bind { path, propagation, create } => {
            if *create && !path.exists() {
                std::fs::create_dir_all(path).map_err(crate::error::io("make directory", path))?;
            }
            if !path.exists() {
                return Err(EngineError::NoBindSource { path: path.clone() });
            }
            super::propagation::check(path, *propagation)?;
            let propagation = match propagation {
                Propagation::Private => "rprivate",
                Propagation::Slave => "rslave",
                Propagation::Shared => "rshared",
            };
            mount("bind", path, &wanted.target, &[bind, propagation, bind_access])
        }
        MountSource::Tmpfs { size, mode, options } => {
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned(), access.to_owned()];
            all.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            all.extend(size.map(|size| format!("size={size}")));
            all.extend(options.iter().cloned());
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            mount("tmpfs", Path::new("tmpfs"), &wanted.target, &all)
        }
        MountSource::Volume { name, .. } => volume_mount(name, &wanted.target, access, around)?,
        MountSource::Image { name } => {
            let layers = around.images.iter().find(|(known, _)| *known == index).map(|(_, layers)| layers);
            let layers = layers.ok_or_else(|| EngineError::NoImage { name: name.clone() })?;
            let options: Vec<String> =
                layers.iter().map(|layer| format!("lowerdir+={}", layer.display())).collect();
            let options: Vec<&str> = ["ro"].into_iter().chain(options.iter().map(String::as_str)).collect();
            mount("overlay", Path::new("overlay"), &wanted.target, &options)
        }
    };
    built.ok_or_else(|| bad("a path that the OCI runtime spec can hold"))
}
