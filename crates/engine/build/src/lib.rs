//! From a Dockerfile to an image.
//!
//! Owns: the Dockerfile's grammar ([`dockerfile`]), which files of the context count, the graph of stages, the
//! cache of steps, and running the steps. Does not own: how a process is isolated (hako-runtime), how layers and
//! images are stored (hako-image).
//!
//! Invariant: an image appears only when every step of its stage has succeeded. A build that fails or is
//! dropped leaves no snapshot, process or mount behind.

mod request;

pub use request::{BuildEvent, BuildRequest, OutputStream, StepOutcome};

use hako_error::{Error, Kind, Result};
use hako_image::{Image, ImageStore};
use tokio::sync::mpsc;

/// Where builds find what they need.
#[derive(Clone, Debug)]
pub struct BuilderConfig {
    /// The group below which every RUN step gets its own, in every hierarchy: `/hako-<instance>/build`.
    pub cgroup: String,
    /// Steps that run at the same time over all builds; 0 stands for the number of processors.
    pub parallel: usize,
}

/// Builds images. Cheap to clone; builds may run at the same time.
#[derive(Clone, Debug)]
pub struct Builder {
    images: ImageStore,
}

impl Builder {
    /// A builder on those images; removes what builds of an earlier process left.
    pub fn new(images: ImageStore, _config: BuilderConfig) -> Result<Self> {
        Ok(Self { images })
    }

    /// Builds an image. Progress goes to `progress`; a receiver that is gone does no harm. Dropping the future
    /// cancels the build.
    pub async fn build(
        &self,
        _request: BuildRequest,
        _progress: mpsc::UnboundedSender<BuildEvent>,
    ) -> Result<Image> {
        tracing::debug!(images = ?self.images, "build");
        Err(Error::new(Kind::Unimplemented, "building is not there yet"))
    }
}
