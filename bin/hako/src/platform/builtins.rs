//! The order in which what is linked in starts: the [machine](super::machine), then the [cluster](super::cluster) on it.

use super::cluster::{Cluster, Control, audit, external, listen};
use super::directory::DataDir;
use super::machine::{Given, collect_leftovers, open_machine, paths, serve_docker};
use super::sockets::{self, Sockets};
use crate::cli::{Role, UpArgs};
use crate::locate::{Running, Target};
use anyhow::Context;
use hako_cgroup::CgroupRoot;
use hako_container::{ContainerEngine, Engine};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Where servers tell that they failed for good.
pub(super) type Failures = mpsc::Sender<anyhow::Error>;

/// All roles of one process.
pub(crate) struct Platform {
    /// `None` where only the engine was asked for.
    cluster: Option<Cluster>,
    /// Serves the engine's API; ends only by a failure.
    docker: JoinHandle<()>,
    failures: tokio::sync::Mutex<mpsc::Receiver<anyhow::Error>>,
    directory: DataDir,
}

impl Platform {
    /// Starts what was asked for and returns when it is ready: the node, or the engine where that is all.
    pub(crate) async fn start(data_dir: &Path, args: &UpArgs) -> anyhow::Result<Self> {
        hako_sys::Features::check()?;
        let external = external(&args.identities)?;
        let audit = audit(&args.audit)?;
        let directory = DataDir::open(data_dir)?;
        let listener = match args.only {
            Some(Role::Engine) => None,
            None => Some(listen(args.listen).await?),
        };
        // Services keep the addresses that they have.
        let moves = !directory.join("pki").exists();
        let ranges = hako_network::choose_ranges(directory.instance(), &directory.join("network"), moves)?;
        let given = Given::of(args)?;
        let machine =
            tokio::spawn(open_machine(paths(&directory), directory.instance().to_owned(), ranges, given));
        let control = match listener {
            Some(listener) => Some(Control::open(&directory, listener, args, ranges, external, audit).await?),
            None => {
                // That of an earlier start leads nowhere.
                remove_if_there(&directory.run().join("kubeconfig"))?;
                None
            }
        };
        let machine = machine.await.context("open the engine")??;
        collect_leftovers(machine.images.clone());

        let (failed, failures) = mpsc::channel(1);
        let engine_socket = directory.run().join("engine.sock");
        let Sockets { listeners, docker: docker_sockets } =
            sockets::open_all(&engine_socket, data_dir, &args.docker_sockets)?;
        let docker = serve_docker(listeners, &machine, args)?;
        let docker = serve("the engine's API", &failed, docker);
        let mut running = Running {
            pid: std::process::id(),
            instance: directory.instance().to_owned(),
            engine_socket,
            docker_sockets,
            cluster: None,
        };
        let mut cluster = None;
        if let Some(control) = control {
            running.cluster = Some(control.place());
            cluster = Some(control.start(&directory, &machine, &failed).await?);
        }
        directory.publish(&running)?;
        Ok(Self { cluster, docker, failures: tokio::sync::Mutex::new(failures), directory })
    }

    /// Returns when a server has failed for good.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        match self.failures.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops the process's own work; containers go on.
    pub(crate) async fn stop(self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
        self.docker.abort();
        tracing::debug!(directory = %self.directory.join("").display(), "stopped");
    }
}

pub(super) fn serve(
    what: &'static str,
    failed: &Failures,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> JoinHandle<()> {
    let failed = failed.clone();
    tokio::spawn(async move {
        if let Err(error) = work.await {
            // A second failure adds nothing to the first.
            let _ = failed.try_send(error.context(format!("{what} stopped")));
        }
    })
}

/// Takes down whatever a platform has running, whether its process ended well or not. Images and objects stay.
pub(crate) async fn take_down(data_dir: &Path) -> anyhow::Result<()> {
    let directory = DataDir::open(data_dir)?;
    let network = directory.join("network");
    let ranges = match hako_network::recorded_ranges(&network)? {
        Some(ranges) => ranges,
        None => hako_network::choose_ranges(directory.instance(), &network, true)?,
    };
    // With our own firewall: what the other kind has beside it is taken away by this one.
    let machine =
        open_machine(paths(&directory), directory.instance().to_owned(), ranges, Given::default()).await?;
    let prefix = format!("hako-{}", directory.instance());
    stop_everything(&machine.engine, &format!("/{prefix}")).await?;
    machine.network.teardown()?;
    machine.networks.teardown()?;
    let mut nft = hako_netlink::nft::Nft::open().map_err(hako_error::Error::from)?;
    for table in nft.tables(&prefix).map_err(hako_error::Error::from)? {
        nft.delete_table(&table).map_err(hako_error::Error::from)?;
    }
    remove_cgroups(&format!("/{prefix}"))?;
    // Written when a start was ready; one that was not is replaced by the next.
    if let Ok(running) = Target::new(data_dir.to_owned(), None).running() {
        sockets::remove(&running.docker_sockets)?;
    }
    let run = directory.run();
    std::fs::remove_dir_all(&run).with_context(|| format!("remove {}", run.display()))?;
    remove_if_there(&directory.join("server.json"))
}

fn remove_if_there(file: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Stops all sandboxes at once: first politely, for as long as their containers ask for, then not. Who does not stop then is
/// killed with all that is in the platform's groups.
async fn stop_everything(engine: &Arc<Engine>, groups: &str) -> anyhow::Result<()> {
    const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
    let mut stops = tokio::task::JoinSet::new();
    for container in engine.containers(&hako_container::Filter::default()).await? {
        let engine = Arc::clone(engine);
        stops.spawn(async move { engine.stop(&container.id, None, GRACE).await });
    }
    if let Err(error) = finish(stops).await {
        tracing::warn!(error = %format!("{error:#}"), "not all containers stopped: kill what is left");
        kill_groups(groups)?;
    }
    let mut removals = tokio::task::JoinSet::new();
    for sandbox in engine.sandboxes(&hako_container::Filter::default()).await? {
        let engine = Arc::clone(engine);
        removals.spawn(async move {
            // A single container stays as an object and may be started again; pods are made anew by the next start.
            if sandbox.standalone {
                engine.stop_sandbox(&sandbox.id).await
            } else {
                engine.remove_sandbox(&sandbox.id).await
            }
        });
    }
    finish(removals).await
}

/// Waits for all of them: one that fails keeps no other from its end. Returns the first failure.
async fn finish(mut tasks: tokio::task::JoinSet<hako_error::Result<()>>) -> anyhow::Result<()> {
    let mut first = Ok(());
    while let Some(ended) = tasks.join_next().await {
        match ended? {
            // It went by itself meanwhile.
            Err(error) if error.is_not_found() => {}
            ended => first = first.and(ended),
        }
    }
    Ok(first?)
}

/// Shims are in one of the groups.
fn kill_groups(name: &str) -> anyhow::Result<()> {
    if_there(CgroupRoot::detect().and_then(|root| root.open(name)).and_then(|group| group.kill_all()))
}

fn remove_cgroups(name: &str) -> anyhow::Result<()> {
    if_there(CgroupRoot::detect().and_then(|root| root.open(name)).and_then(|group| group.delete()))
}

fn if_there(done: Result<(), hako_cgroup::CgroupError>) -> anyhow::Result<()> {
    match done {
        Err(error) if hako_error::Classify::kind(&error) != hako_error::Kind::NotFound => {
            Err(hako_error::Error::from(error).into())
        }
        _ => Ok(()),
    }
}
