//! What the handlers share.

use crate::buildkit;
use crate::client::Sessions;
use crate::container::health::Table;
use crate::events::Log;
use crate::exec::ExecRecord;
use crate::record::{Exchange, Recorder};
use crate::registry::Insecure;
use crate::sizes::Sizes;
use ::hako_build::Builder;
use hako_container::Engine;
use hako_error::Result;
use hako_image::ImageStore;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// The engine, its images and its builder, behind one API. Cheap to clone.
#[derive(Clone)]
pub struct DockerState {
    pub(crate) engine: Arc<Engine>,
    pub(crate) images: ImageStore,
    pub(crate) builder: Builder,
    pub(crate) version: Arc<str>,
    pub(crate) sizes: Arc<Sizes>,
    pub(crate) events: Arc<Log>,
    pub(crate) insecure: Arc<Insecure>,
    pub(crate) health: Arc<Table>,
    pub(crate) buildkit: Arc<buildkit::Table>,
    pub(crate) sessions: Arc<Sessions>,
    /// Execs made by clients: Docker makes them in one call and starts them in another.
    pub(crate) execs: Arc<Mutex<VecDeque<Arc<ExecRecord>>>>,
    pub(crate) recorder: Option<Recorder>,
}

impl fmt::Debug for DockerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerState").field("version", &self.version).finish_non_exhaustive()
    }
}

impl DockerState {
    /// The state of a face that calls itself `version`; contexts of builds that were killed with an earlier process go.
    /// One for each image store.
    #[must_use]
    pub fn new(engine: Arc<Engine>, images: ImageStore, builder: Builder, version: &str) -> Self {
        crate::build::forget_contexts(&images);
        Self {
            engine,
            images,
            builder,
            version: version.into(),
            sizes: Arc::default(),
            events: Arc::default(),
            insecure: Arc::default(),
            health: Arc::default(),
            buildkit: Arc::default(),
            sessions: Arc::default(),
            execs: Arc::default(),
            recorder: None,
        }
    }

    /// The same, of which every exchange is told when its answer begins.
    #[must_use]
    pub fn with_recorder(self, recorder: impl Fn(Exchange) + Send + Sync + 'static) -> Self {
        Self { recorder: Some(Recorder(Arc::new(recorder))), ..self }
    }

    /// The same, for which these registries (`HOST[:PORT]` or `ADDRESS/PREFIX`) need no TLS, or none that can be
    /// verified. Registries on this machine never need it.
    ///
    /// # Errors
    /// `Invalid`, naming the first entry that is neither.
    pub fn with_insecure_registries(self, list: Vec<String>) -> Result<Self> {
        Ok(Self { insecure: Arc::new(Insecure::new(list)?), ..self })
    }
}
