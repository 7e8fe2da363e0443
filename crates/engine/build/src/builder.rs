//! A build from its request to its image.

use crate::ahead::Aheads;
use crate::attest::Began;
use crate::binfmt;
use crate::cache::{Cache, CachedStep, Keep};
use crate::caches::Caches;
use crate::check::{self, CheckInput, ForeignBase, Report};
use crate::client::{Client, Lent};
use crate::compile::{self, Compiled, Given};
use crate::context::{Contexts, Found, Ground, Registry};
use crate::digests::{Digests, Selections};
use crate::error::BuildError;
use crate::exchange::{self, Imports};
use crate::listings::Listings;
use crate::output::{self, Built};
use crate::request::{BuildEvent, BuildRequest};
use crate::run::{Runner, Runtime};
use crate::scratch::Scratch;
use crate::settling::Settling;
use crate::shared::{Cancel, Permits, Shared};
use crate::step::KEY_PREFIX;
use crate::{dockerfile, solve};
use hako_error::{Error, Kind, Result};
use hako_image::ImageStore;
use hako_network::Network;
use hako_snapshot::State;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where builds find what they need.
#[derive(Clone, Default)]
pub struct BuilderConfig {
    /// The group below which every RUN step gets its own, in every hierarchy: `/hako-<instance>/build`.
    pub cgroup: String,
    /// Steps that run at the same time over all builds; 0 stands for eight a processor, as many steps wait for
    /// a network or a disk.
    pub parallel: usize,
    /// What RUN steps are connected to unless a build wants otherwise; without it they have only a loopback.
    pub network: Option<Arc<Network>>,
    /// How images that are not here are got; without it a build has only those of this machine.
    pub registry: Option<Arc<dyn Registry>>,
    /// Where `RUN --device` finds what devices need.
    pub cdi: hako_cdi::Directories,
    /// Where the kernel says which programs it gives to emulators; `None` for `/proc/sys/fs/binfmt_misc`.
    pub binfmt: Option<PathBuf>,
}

impl fmt::Debug for BuilderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuilderConfig")
            .field("cgroup", &self.cgroup)
            .field("parallel", &self.parallel)
            .field("can_pull", &self.registry.is_some())
            .finish_non_exhaustive()
    }
}

/// Builds images. Cheap to clone; builds may run at the same time.
#[derive(Clone)]
pub struct Builder {
    images: ImageStore,
    cache: Cache,
    caches: Caches,
    digests: Digests,
    /// Where builds keep files that end with them.
    scratch: PathBuf,
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

/// Removes the groups of steps that were killed with their builder: their processes have died with it.
fn remove_groups(path: &str) {
    let removed =
        hako_cgroup::CgroupRoot::detect().and_then(|root| root.open(path)).and_then(|group| group.delete());
    match removed {
        Ok(()) | Err(hako_cgroup::CgroupError::NotFound { .. }) => {}
        Err(error) => tracing::warn!(%error, path, "the groups of an earlier process's steps stay"),
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
        remove_groups(&config.cgroup);
        let cores: usize = std::thread::available_parallelism().map_or(1, Into::into);
        let parallel = if config.parallel == 0 { 8 * cores } else { config.parallel };
        let cache = Cache::open(&images)?;
        let caches = Caches::open(images.dir().join("build-mounts"))?;
        let scratch = images.dir().join("build-scratch");
        // Of builds that were killed: what their devices want to be run after the end.
        for build in fs::read_dir(&scratch).into_iter().flatten().flatten() {
            hako_runtime::end_bundles(&build.path());
        }
        match hako_snapshot::remove_tree(&scratch) {
            // What stays takes space and is in nobody's way: a build has a directory of its own.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %scratch.display(), "what builds left cannot be removed");
            }
            _ => {}
        }
        fs::create_dir_all(&scratch).map_err(BuildError::io("create", &scratch))?;
        Ok(Self {
            images,
            cache,
            caches,
            digests: Digests::default(),
            scratch,
            config,
            permits: Arc::new(Permits::new(parallel)),
            runner,
        })
    }

    /// Builds an image. Progress goes to `progress`; a receiver that is gone does no harm. Dropping the future
    /// cancels the build: what runs is killed, and nothing of it stays.
    pub async fn build(
        &self,
        request: BuildRequest,
        progress: mpsc::UnboundedSender<BuildEvent>,
    ) -> Result<Built> {
        self.build_for(None, request, progress).await
    }

    /// The same for a client that is asked for what the request does not say.
    pub async fn build_for(
        &self,
        client: Option<Arc<dyn Client>>,
        request: BuildRequest,
        progress: mpsc::UnboundedSender<BuildEvent>,
    ) -> Result<Built> {
        let cancel = Arc::new(Cancel::default());
        let _on_drop = OnDrop(cancel.clone());
        let builder = self.clone();
        let lent = Lent { client, secrets: request.secrets.clone(), ssh: request.ssh.clone() };
        let work = move || builder.build_blocking(request, lent, progress, cancel);
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => {
                Err(Error::new(Kind::Internal, "the build ended without a result").with_source(error))
            }
        }
    }

    /// Waits until what ended builds came to is on disk, as far as their images did not need it.
    pub(crate) fn settle(&self) {
        self.cache.pending.wait();
    }

    /// The results of steps that later builds can use.
    pub fn cached(&self) -> Result<Vec<CachedStep>> {
        self.settle();
        Ok(self.cache.list()?)
    }

    /// Forgets the results of steps that do not stay; caches that steps share stay all. Returns what went with them.
    pub fn prune_to(&self, keep: Keep) -> Result<(Vec<CachedStep>, hako_image::Collected)> {
        self.settle();
        let gone = self.cache.thin(keep)?;
        Ok((gone, self.images.gc()?))
    }

    /// Forgets the results of all steps and the caches that no step uses; returns what went with them.
    pub fn prune(&self) -> Result<hako_image::Collected> {
        self.settle();
        self.cache.clear()?;
        self.caches.clear()?;
        self.images.gc()
    }

    fn build_blocking(
        &self,
        request: BuildRequest,
        lent: Lent,
        events: mpsc::UnboundedSender<BuildEvent>,
        cancel: Arc<Cancel>,
    ) -> Result<Built> {
        self.images.make_room();
        let built = self.build_in_room(request, lent, events, cancel);
        self.images.make_room();
        built
    }

    fn ground(&self, lent: &Lent, cancel: &Arc<Cancel>, scratch: &Scratch) -> Ground {
        let own = lent.client.as_ref().and_then(|client| client.registry());
        let registry = own.or_else(|| self.config.registry.clone());
        Ground {
            images: self.images.clone(),
            registry: registry.map(|registry| registry.until(cancel.stop()).unwrap_or(registry)),
            lent: lent.clone(),
            cancel: cancel.clone(),
            binfmt: self.config.binfmt.clone().unwrap_or_else(|| binfmt::DIR.into()),
            dir: scratch.path().to_owned(),
        }
    }

    fn build_in_room(
        &self,
        request: BuildRequest,
        lent: Lent,
        events: mpsc::UnboundedSender<BuildEvent>,
        cancel: Arc<Cancel>,
    ) -> Result<Built> {
        check_names(&request)?;
        let scratch = Scratch::new(&self.scratch)?;
        let contexts = Contexts::new(request, self.ground(&lent, &cancel, &scratch));
        let request = &contexts.request;
        exchange::check(request, contexts.ground.registry.is_some())?;
        output::check(request)?;
        let at = jiff::Timestamp::now();
        let found = contexts.dockerfile()?;
        if request.check {
            let report = report(&contexts, &found, &[])?;
            return Ok(Built { report: Some(report), ..Built::default() });
        }
        let file = dockerfile::parse(&found.text, &found.name)?;
        let is_strict = check::is_strict(&file, &found.text, &found.name, &request.args)?;
        if is_strict {
            report(&contexts, &found, &[])?.refuse()?;
        }
        let epoch_unix_s = compile::epoch(&file, &found.name, request)?;
        let lease = Arc::new(self.images.lease("build")?);
        let shared = Shared {
            images: self.images.clone(),
            cache: self.cache.clone(),
            caches: self.caches.clone(),
            digests: self.digests.clone(),
            selections: Selections::default(),
            listings: Listings::default(),
            imports: Imports::open(&contexts, &events)?,
            runner: self.runner.clone(),
            permits: self.permits.clone(),
            cancel,
            events,
            aheads: Aheads::default(),
            settling: Settling::new(self.images.clone(), self.cache.clone(), Arc::clone(&lease)),
            lease,
            file: found.name.clone(),
            lent,
            keep_failed: request.keep_failed,
            bridge: self.config.network.clone(),
            registry: contexts.ground.registry.clone(),
            cgroup: self.config.cgroup.clone(),
            cdi: self.config.cdi.clone(),
            scratch: scratch.path().to_owned(),
            epoch_unix_s,
        };
        let given = Given { request, contexts: &contexts, cdi: &self.config.cdi, epoch_unix_s };
        let compiled = compile::compile(&file, &found.name, given)?;
        // Base images are here now, which tells more of them.
        let report = report(&contexts, &found, &compiled.foreign)?;
        if is_strict {
            report.refuse()?;
        }
        let began = Began { at, text: found.text, materials: compiled.materials.clone() };
        carry_out(&shared, request, &compiled, report, &began)
    }
}

/// Runs what there is to run, and brings the result to where it is wanted.
fn carry_out(
    shared: &Shared,
    request: &BuildRequest,
    compiled: &Compiled,
    report: Report,
    began: &Began,
) -> Result<Built> {
    let _ = shared.events.send(BuildEvent::Planned { steps: compiled.steps + exchange::steps(request) });
    for message in compiled.warnings.iter().cloned() {
        let _ = shared.events.send(BuildEvent::Warning { line: 0, message });
    }
    let results = solve::solve(shared, &compiled.graph, &compiled.nodes());
    if results.is_ok() {
        compiled.targets.iter().for_each(|target| solve::tell_before(shared, &target.tail));
    }
    if !report.findings.is_empty() {
        // Behind what the steps write, where they are seen.
        let _ = shared.events.send(BuildEvent::Checked { report });
    }
    let results = results?;
    shared.cancel.check()?;
    let built = output::deliver(shared, request, compiled, &results, began)?;
    exchange::export(shared, request, compiled)?;
    Ok(built)
}

/// What the checks find in the file.
fn report(contexts: &Contexts, found: &Found, foreign: &[ForeignBase]) -> Result<Report> {
    let base_env = |base: &str| contexts.environment_of(base);
    let (args, ignore) = (&contexts.request.args, found.ignore.as_deref());
    Ok(check::check(&found.text, &found.name, &CheckInput { args, ignore, base_env: &base_env, foreign })?)
}

/// Names that nothing can have, said before anything runs.
fn check_names(request: &BuildRequest) -> Result<()> {
    let invalid = |message: String| Err(Error::new(Kind::Invalid, message));
    if let Some(tag) = request.tags.iter().find(|tag| tag.digest().is_some()) {
        let reason = "a name for an image has no digest; the image is found by its own";
        return invalid(format!("invalid tag \"{tag}\": {reason}"));
    }
    if let Some(value) = request.args.get("") {
        return invalid(format!("the build argument \"={value}\" has no name, expected NAME=VALUE"));
    }
    if let Some(value) = request.labels.get("") {
        return invalid(format!("the label \"={value}\" has no name, expected NAME=VALUE"));
    }
    if request.secrets.contains_key("") {
        return invalid("a secret of the build has an empty id".into());
    }
    Ok(())
}
