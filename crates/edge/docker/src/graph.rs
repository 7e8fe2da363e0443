//! Where the files of containers and images are, told as Docker's driver `overlay2` tells it: scripts look into these
//! directories. A directory that is not there now is not told.

use hako_container::{Container, ContainerState, snapshot_key};
use hako_image::{Image, ImageStore};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// `GraphDriver` of a container. Its files are merged in a mount namespace of its own only, which is reached by way of
/// its first process.
pub(crate) fn of_container(images: &ImageStore, container: &Container) -> Value {
    let mut data = Map::new();
    if let Ok(mounts) = images.snapshots().mounts(&snapshot_key(container.id.as_str())) {
        data.insert("LowerDir".into(), joined(&mounts.lower));
        data.extend(mounts.upper.map(|upper| ("UpperDir".to_owned(), json!(upper))));
        data.extend(mounts.work.map(|work| ("WorkDir".to_owned(), json!(work))));
    }
    if let ContainerState::Running { pid, .. } = &container.state {
        data.insert("MergedDir".into(), json!(format!("/proc/{pid}/root")));
    }
    driver(data)
}

/// `GraphDriver` of an image, whose layers are unpacked when something runs on them.
pub(crate) fn of_image(images: &ImageStore, image: &Image) -> Value {
    let mut data = Map::new();
    let layers =
        image.chain_id().and_then(|chain| images.snapshots().layers(&chain).ok()).unwrap_or_default();
    if let Some((top, below)) = layers.split_first() {
        data.insert("UpperDir".into(), json!(top));
        if !below.is_empty() {
            data.insert("LowerDir".into(), joined(below));
        }
    }
    driver(data)
}

fn driver(data: Map<String, Value>) -> Value {
    json!({ "Name": "overlay", "Data": data })
}

fn joined(dirs: &[PathBuf]) -> Value {
    json!(dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":"))
}
