//! The builder's view of a client: what it lends comes over its session.

use super::agent::Agent;
use super::files::Wish;
use super::progress::Progress;
use super::session::Session;
use crate::{DockerState, registry};
use hako_build::{Client, Registries, Registry, Secret};
use hako_error::{Error, Kind, Result};
use hako_image::remote::Credentials;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use tokio::runtime::Handle;

/// What the docker command line calls the registry `docker.io` by.
const HUB: &str = "registry-1.docker.io";

/// A client on the line.
pub(crate) struct Remote {
    session: Arc<Session>,
    runtime: Handle,
    /// Where the context's files go, and which they are; `None` if they are here already.
    files: Option<(PathBuf, Wish)>,
    /// Where sockets are made.
    dir: PathBuf,
    agents: Mutex<HashMap<String, Option<Agent>>>,
    registry: Arc<dyn Registry>,
    progress: Progress,
}

impl Remote {
    pub(crate) fn new(
        state: &DockerState,
        session: Arc<Session>,
        dir: PathBuf,
        files: Option<(PathBuf, Wish)>,
        progress: Progress,
    ) -> Self {
        let runtime = Handle::current();
        let registry = Arc::new(registries(state.clone(), session.clone(), runtime.clone()));
        Self { session, runtime, files, dir, agents: Mutex::default(), registry, progress }
    }
}

/// Registries with the client's credentials.
fn registries(state: DockerState, session: Arc<Session>, runtime: Handle) -> Registries {
    Registries::new(state.images.clone(), move |name| {
        let host = name.registry().to_owned();
        let asked = if host == "docker.io" { HUB.to_owned() } else { host.clone() };
        let session = session.clone();
        let credentials = wait(&runtime, async move { session.credentials(&asked).await });
        let credentials = credentials.unwrap_or_else(|error| {
            // As with a client that has none: the registry says whether it needs any.
            tracing::warn!(%error, host, "credentials of a build");
            Credentials::Anonymous
        });
        registry::options(&state, &host, credentials)
    })
}

/// Waits for work of the runtime from a thread that may block, be it inside another runtime or not.
fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody may be waiting any more.
        let _ = sender.send(work.await);
    });
    receiver.recv().unwrap_or_else(|_| Err(Error::new(Kind::Cancelled, "the engine is going down")))
}

impl Client for Remote {
    fn context(&self) -> Result<()> {
        let Some((dest, wish)) = self.files.clone() else { return Ok(()) };
        let task = self.progress.begin("[internal] load build context");
        let (session, told) = (self.session.clone(), task.clone());
        let bytes = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = bytes.clone();
        let fetched = wait(&self.runtime, async move {
            let seen = move |bytes| {
                counted.store(bytes, std::sync::atomic::Ordering::Relaxed);
                told.count("transferring context:", bytes);
            };
            session.fetch(&wish, dest, seen).await
        });
        task.counted("transferring context:", bytes.load(std::sync::atomic::Ordering::Relaxed));
        task.ends(fetched)
    }

    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        let (session, id) = (self.session.clone(), id.to_owned());
        wait(&self.runtime, async move { session.secret(&id).await })
    }

    fn ssh_agent(&self, id: &str) -> Result<Option<PathBuf>> {
        let mut agents = self.agents.lock();
        if let Some(known) = agents.get(id) {
            return Ok(known.as_ref().map(|agent| agent.path.clone()));
        }
        let path = self.dir.join(format!("ssh-{}", agents.len()));
        let (session, name) = (self.session.clone(), id.to_owned());
        let agent = wait(&self.runtime, async move {
            if !session.has_agent(&name).await? {
                return Ok(None);
            }
            let listening = Agent::listen(&path, session, name);
            listening.map(Some).map_err(|source| {
                Error::new(Kind::Internal, format!("listen at {}", path.display())).with_source(source)
            })
        })?;
        let socket = agent.as_ref().map(|agent| agent.path.clone());
        agents.insert(id.to_owned(), agent);
        Ok(socket)
    }

    fn registry(&self) -> Option<Arc<dyn Registry>> {
        Some(self.registry.clone())
    }
}
