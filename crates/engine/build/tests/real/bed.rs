//! A builder with stores of its own.

use hako_build::{
    BuildEvent, BuildRequest, Builder, BuilderConfig, Built, Registries, RunNetwork, StepOutcome,
};
use hako_content::ContentStore;
use hako_error::{Error, Result};
use hako_image::remote::RemoteOptions;
use hako_image::{Image, ImageStore, busybox_rootfs};
use hako_oci::image::ImageConfiguration;
use hako_snapshot::{Overlay, State};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub images: ImageStore,
    pub builder: Builder,
    group: String,
}

/// What a build did.
pub struct Ran {
    pub result: Result<Built>,
    pub events: Vec<BuildEvent>,
}

impl Bed {
    /// A context with that Dockerfile.
    pub fn new(dockerfile: &str) -> Self {
        Self::with(dockerfile, |_| {})
    }

    /// The same with a builder that is set up otherwise.
    pub fn with(dockerfile: &str, set_up: impl FnOnce(&mut BuilderConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content = ContentStore::open(dir.path().join("content")).unwrap();
        let snapshots = Arc::new(Overlay::open(dir.path().join("snapshots")).unwrap());
        let images = ImageStore::open(content, snapshots, dir.path().join("images")).unwrap();
        let tar = busybox_rootfs(Path::new("/bin/busybox")).unwrap();
        images
            .import_rootfs(tar.as_slice(), &"busybox".parse().unwrap(), ImageConfiguration::default())
            .unwrap();
        let name = dir.path().file_name().unwrap().to_string_lossy().replace('.', "");
        let group = format!("/hako-test-{}-{name}", std::process::id());
        let registries = Registries::new(images.clone(), |_| RemoteOptions::default());
        let mut config = BuilderConfig {
            cgroup: format!("{group}/build"),
            registry: Some(Arc::new(registries)),
            cdi: hako_cdi::Directories::new(vec![dir.path().join("cdi")]),
            ..BuilderConfig::default()
        };
        set_up(&mut config);
        let builder = Builder::new(images.clone(), config).unwrap();
        let bed = Self { dir, images, builder, group };
        bed.write("Dockerfile", dockerfile);
        bed
    }

    pub fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn request(&self) -> BuildRequest {
        let tags = vec!["app".parse().unwrap()];
        BuildRequest { context: self.context(), tags, network: RunNetwork::None, ..BuildRequest::default() }
    }

    /// The cgroup of another builder's steps.
    pub fn group(&self) -> String {
        format!("{}/build", self.group)
    }

    pub fn run(&self, request: BuildRequest) -> Ran {
        self.run_by(&self.builder, request)
    }

    pub fn run_by(&self, builder: &Builder, request: BuildRequest) -> Ran {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(builder.build(request, sender));
        let mut events = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            events.push(event);
        }
        self.is_clean();
        Ran { result, events }
    }

    pub fn build(&self) -> Image {
        self.run(self.request()).image()
    }

    pub fn fails(&self, request: BuildRequest) -> Error {
        self.run(request).result.unwrap_err()
    }

    /// Nothing of a build is left besides images and caches.
    pub fn is_clean(&self) {
        // Waits for results that no image needed.
        self.builder.cached().unwrap();
        for info in self.images.snapshots().list() {
            assert_eq!(info.state, State::Committed, "{info:?}");
        }
        assert_eq!(fs::read_dir(self.dir.path().join("content/leases")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(self.dir.path().join("images/build-scratch")).unwrap().count(), 0);
    }

    pub fn look<T>(&self, image: &Image, look: impl FnOnce(&Path) -> T) -> T {
        let parent = self.images.unpack(image).unwrap();
        let mounts = self.images.snapshots().view("look", parent.as_deref()).unwrap();
        let tree = self.images.snapshots().mounted(&mounts).unwrap();
        let seen = look(&tree.path());
        drop(tree);
        self.images.snapshots().remove("look").unwrap();
        seen
    }

    pub fn read(&self, image: &Image, path: &str) -> String {
        self.look(image, |root| fs::read_to_string(root.join(path)).unwrap())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Ok(group) = hako_cgroup::CgroupRoot::detect().and_then(|root| root.open(&self.group)) {
            let _ = group.delete();
        }
    }
}

impl Ran {
    pub fn image(self) -> Image {
        self.result.unwrap().image.unwrap()
    }

    /// How many steps were taken from the cache, and how many that make files ran.
    pub fn counts(&self, of: StepOutcome) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, BuildEvent::StepEnded { outcome, .. } if *outcome == of))
            .count()
    }
}
