//! What the handlers share.

use crate::exec::ExecRecord;
use crate::sizes::Sizes;
use hako_build::Builder;
use hako_container::Engine;
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
    /// Execs made by clients: Docker makes them in one call and starts them in another.
    pub(crate) execs: Arc<Mutex<VecDeque<Arc<ExecRecord>>>>,
}

impl fmt::Debug for DockerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerState").field("version", &self.version).finish_non_exhaustive()
    }
}

impl DockerState {
    /// The state of a face that calls itself `version`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, images: ImageStore, builder: Builder, version: &str) -> Self {
        Self {
            engine,
            images,
            builder,
            version: version.into(),
            sizes: Arc::default(),
            execs: Arc::default(),
        }
    }
}
