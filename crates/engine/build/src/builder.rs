//! A build from its request to its image.

use crate::cache::{Cache, CachedStep};
use crate::dockerfile;
use crate::error::BuildError;
use crate::files::Source;
use crate::ignore::Ignore;
use crate::plan::{self, Plan};
use crate::request::{BuildEvent, BuildRequest};
use crate::run::{Runner, Runtime};
use crate::shared::{Cancel, Permits, Shared};
use crate::stage::{self, Done, KEY_PREFIX};
use hako_error::{Error, Kind, Result};
use hako_image::{Image, ImageStore};
use hako_network::Network;
use hako_snapshot::State;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where builds find what they need.
#[derive(Clone, Debug, Default)]
pub struct BuilderConfig {
    /// The group below which every RUN step gets its own, in every hierarchy: `/hako-<instance>/build`.
    pub cgroup: String,
    /// Steps that run at the same time over all builds; 0 stands for the number of processors.
    pub parallel: usize,
    /// What RUN steps are connected to unless a build wants otherwise; without it they have only a loopback.
    pub network: Option<Arc<Network>>,
}

/// Builds images. Cheap to clone; builds may run at the same time.
#[derive(Clone)]
pub struct Builder {
    images: ImageStore,
    cache: Cache,
    config: BuilderConfig,
    permits: Arc<Permits>,
    runner: Arc<dyn Runner>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Cancels the build when its future is dropped.
struct OnDrop(Arc<Cancel>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Builder {
    /// A builder on those images; removes what builds of an earlier process left. One for each image store.
    pub fn new(images: ImageStore, config: BuilderConfig) -> Result<Self> {
        Self::with_runner(images, config, Arc::new(Runtime))
    }

    pub(crate) fn with_runner(
        images: ImageStore,
        config: BuilderConfig,
        runner: Arc<dyn Runner>,
    ) -> Result<Self> {
        for info in images.snapshots().list() {
            if info.name.starts_with(KEY_PREFIX) && info.state != State::Committed {
                images.snapshots().remove(&info.name)?;
            }
        }
        let cores = || std::thread::available_parallelism().map_or(1, Into::into);
        let parallel = if config.parallel == 0 { cores() } else { config.parallel };
        let cache = Cache::open(&images)?;
        Ok(Self { images, cache, config, permits: Arc::new(Permits::new(parallel)), runner })
    }

    /// Builds an image. Progress goes to `progress`; a receiver that is gone does no harm. Dropping the future
    /// cancels the build: what runs is killed, and nothing of it stays.
    pub async fn build(
        &self,
        request: BuildRequest,
        progress: mpsc::UnboundedSender<BuildEvent>,
    ) -> Result<Image> {
        let cancel = Arc::new(Cancel::default());
        let _on_drop = OnDrop(cancel.clone());
        let builder = self.clone();
        let work = move || builder.build_blocking(&request, progress, cancel);
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => {
                Err(Error::new(Kind::Internal, "the build ended without a result").with_source(error))
            }
        }
    }

    /// The results of steps that later builds can use.
    pub fn cached(&self) -> Result<Vec<CachedStep>> {
        Ok(self.cache.list()?)
    }

    /// Forgets the results of all steps; returns what went with them.
    pub fn prune(&self) -> Result<hako_image::Collected> {
        self.cache.clear()?;
        self.images.gc()
    }

    fn build_blocking(
        &self,
        request: &BuildRequest,
        events: mpsc::UnboundedSender<BuildEvent>,
        cancel: Arc<Cancel>,
    ) -> Result<Image> {
        let (name, text, ignore) = read_input(request)?;
        let context = Source::context(&request.context, ignore)?;
        let file = dockerfile::parse(&text, &name)?;
        let plan = plan::plan(&file, &name, request)?;
        let _ = events.send(BuildEvent::Planned { steps: plan.steps });
        for argument in &plan.unused {
            let message = format!("build argument {argument} is not used, no ARG asks for it");
            let _ = events.send(BuildEvent::Warning { line: 0, message });
        }
        let shared = Shared {
            images: self.images.clone(),
            cache: self.cache.clone(),
            runner: self.runner.clone(),
            permits: self.permits.clone(),
            cancel,
            events,
            lease: self.images.lease("build")?,
            context,
            file: name,
            escape: plan.escape,
            args: request.args.clone(),
            globals: plan.globals.clone(),
            no_cache: request.no_cache,
            network: request.network,
            bridge: self.config.network.clone(),
            cgroup: self.config.cgroup.clone(),
            epoch_unix_s: epoch(request)?,
        };
        let done = run_stages(&shared, &plan)?;
        shared.cancel.check()?;
        self.images.commit_image(done.state.clone().into_image(&request.labels, request.tags.clone())?)
    }
}

/// What each stage came to, and who waits for it.
#[derive(Default)]
struct Board {
    results: Mutex<HashMap<usize, Option<Arc<Done>>>>,
    changed: Condvar,
    first_error: Mutex<Option<Error>>,
}

impl Board {
    /// Waits for a stage; fails when that one failed.
    fn wait(&self, index: usize) -> Result<Arc<Done>> {
        let mut results = self.results.lock();
        loop {
            match results.get(&index) {
                Some(Some(done)) => return Ok(done.clone()),
                Some(None) => return Err(BuildError::Cancelled.into()),
                None => self.changed.wait(&mut results),
            }
        }
    }

    fn post(&self, index: usize, result: Result<Done>) -> bool {
        let done = match result {
            Ok(done) => Some(Arc::new(done)),
            Err(error) => {
                let mut first = self.first_error.lock();
                // Stages that ended because another failed have nothing to say.
                if first.as_ref().is_none_or(|first| first.kind() == Kind::Cancelled) {
                    *first = Some(error);
                }
                None
            }
        };
        let is_done = done.is_some();
        self.results.lock().insert(index, done);
        self.changed.notify_all();
        is_done
    }
}

/// Runs every stage in a thread of its own; steps are bounded by the builder's permits.
fn run_stages(shared: &Shared, plan: &Plan) -> Result<Arc<Done>> {
    let board = Board::default();
    std::thread::scope(|scope| {
        for planned in &plan.stages {
            let board = &board;
            scope.spawn(move || {
                let built = stage::build(shared, planned, &|index| board.wait(index));
                if !board.post(planned.index, built) {
                    shared.cancel.cancel();
                }
            });
        }
    });
    match board.first_error.lock().take() {
        Some(error) => Err(error),
        None => board.wait(plan.target),
    }
}

/// The Dockerfile's name as errors show it, its text, and what the context leaves out.
fn read_input(request: &BuildRequest) -> Result<(String, String, Ignore)> {
    let given = request.dockerfile.as_deref().unwrap_or(Path::new("Dockerfile"));
    let path = request.context.join(given);
    let hint = "name another file with -f, or another directory";
    let text = fs::read_to_string(&path).map_err(|source| BuildError::Input {
        action: "read the Dockerfile",
        path: path.clone(),
        hint,
        source,
    })?;
    let mut beside = path.clone().into_os_string();
    beside.push(".dockerignore");
    let ignore = fs::read_to_string(beside)
        .or_else(|_| fs::read_to_string(request.context.join(".dockerignore")))
        .map(|text| Ignore::parse(&text))
        .unwrap_or_default();
    // Inside the context people know the file by its place there.
    let name = given.strip_prefix(&request.context).unwrap_or(given);
    Ok((name.display().to_string(), text, ignore))
}

/// `SOURCE_DATE_EPOCH` of the request or the environment.
fn epoch(request: &BuildRequest) -> Result<Option<i64>> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let text = request.args.get(NAME).cloned().or_else(|| std::env::var(NAME).ok());
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Error::new(Kind::Invalid, format!("{NAME}={text} is not a number of seconds since 1970"))
        }),
    }
}
