//! What one machine has, without a cluster: images, builder, networks, containers, and the Docker API over them.

use super::directory::DataDir;
use crate::cli::{InLayers, UpArgs};
use anyhow::Context;
use hako_build::{Builder, BuilderConfig};
use hako_cgroup::CgroupRoot;
use hako_container::{Engine, EngineConfig, IdMap};
use hako_content::ContentStore;
use hako_docker::DockerState;
use hako_image::ImageStore;
use hako_image::layer::Permits;
use hako_image::remote::RemoteOptions;
use hako_network::{Firewall, Network, NetworkConfig, Networks, NetworksConfig, Ranges};
use hako_snapshot::Overlay;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;

/// What one machine has, without a cluster.
pub(super) struct Machine {
    pub engine: Arc<Engine>,
    pub images: ImageStore,
    pub builder: Builder,
    pub network: Arc<Network>,
    pub networks: Arc<Networks>,
}

/// The places of one machine's state.
pub(super) struct Paths {
    content: PathBuf,
    images: PathBuf,
    snapshots: PathBuf,
    engine: PathBuf,
    network: PathBuf,
    run: PathBuf,
}

pub(super) fn paths(directory: &DataDir) -> Paths {
    Paths {
        content: directory.join("content"),
        images: directory.join("images"),
        snapshots: directory.join("snapshots"),
        engine: directory.join("engine"),
        network: directory.join("network"),
        run: directory.run(),
    }
}

/// What containers get of the machine, as the caller says.
#[derive(Default)]
pub(super) struct Given {
    users: Option<IdMap>,
    cdi: hako_cdi::Directories,
    pub firewall: Firewall,
    permits: Permits,
}

impl Given {
    pub fn of(args: &UpArgs) -> anyhow::Result<Self> {
        let users = args.userns_remap.as_ref().map(|spec| hako_container::remap(spec, Path::new("/etc")));
        let cdi = match args.cdi_dirs.as_slice() {
            [] => hako_cdi::Directories::default(),
            directories => hako_cdi::Directories::new(directories.to_vec()),
        };
        let allows = |what| args.allow_in_layers.contains(&what);
        let permits =
            Permits { absolute_names: allows(InLayers::AbsoluteNames), devices: allows(InLayers::Devices) };
        let users = users.transpose().context("--userns-remap")?;
        Ok(Self { users, cdi, firewall: args.firewall.into(), permits })
    }
}

pub(super) async fn open_machine(
    paths: Paths,
    instance: String,
    ranges: Ranges,
    given: Given,
) -> anyhow::Result<Machine> {
    let opened = tokio::task::spawn_blocking({
        let instance = instance.clone();
        move || -> anyhow::Result<_> {
            let snapshots = Overlay::open(&paths.snapshots)?;
            let images =
                ImageStore::open(ContentStore::open(&paths.content)?, Arc::new(snapshots), &paths.images)?;
            images.permit(given.permits);
            let networks = Networks::open(NetworksConfig {
                instance: instance.clone(),
                state_dir: paths.network.clone(),
                pools: hako_network::default_pools(),
                firewall: given.firewall,
            })?;
            let network = Network::open(NetworkConfig {
                instance,
                state_dir: paths.network.clone(),
                subnet: Some(ranges.node),
                firewall: given.firewall,
            })?;
            let cgroups = CgroupRoot::detect()?;
            Ok((images, Arc::new(network), Arc::new(networks), cgroups, paths))
        }
    });
    let (images, network, networks, cgroups, paths) = opened.await.context("open the stores")??;
    let builder = Builder::new(
        images.clone(),
        BuilderConfig {
            cgroup: format!("/hako-{instance}/build"),
            parallel: 0,
            network: Some(Arc::clone(&network)),
            registry: Some(Arc::new(hako_build::Registries::new(images.clone(), |_| {
                RemoteOptions::default()
            }))),
            cdi: given.cdi.clone(),
            binfmt: None,
        },
    )?;
    let engine = Engine::open(EngineConfig {
        data_dir: paths.engine,
        run_dir: paths.run,
        instance,
        exe: PathBuf::from("/proc/self/exe"),
        images: images.clone(),
        network: Some(Arc::clone(&network)),
        networks: Some(Arc::clone(&networks)),
        cgroups,
        cdi: given.cdi,
        users: given.users,
    })
    .await?;
    Ok(Machine { engine: Arc::new(engine), images, builder, network, networks })
}

/// What an earlier process left behind goes while all else starts.
pub(super) fn collect_leftovers(images: ImageStore) {
    tokio::task::spawn_blocking(move || match images.gc() {
        Ok(collected) => {
            let (blobs, snapshots) = (collected.blobs.len(), collected.snapshots.len());
            tracing::debug!(blobs, snapshots, "leftovers of an earlier process are gone");
        }
        Err(error) => tracing::warn!(error = error.chain(), "leftovers of an earlier process stay"),
    });
}

pub(super) fn serve_docker(
    listeners: Vec<UnixListener>,
    machine: &Machine,
    args: &UpArgs,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let state = DockerState::new(
        Arc::clone(&machine.engine),
        machine.images.clone(),
        machine.builder.clone(),
        env!("CARGO_PKG_VERSION"),
    )
    .with_insecure_registries(args.insecure_registries.clone())?;
    Ok(async move { Ok(hako_docker::serve_all(listeners, state).await?) })
}
