//! Results of steps: of a registry that does not answer one request before the next has come, and of stages that are to run again.

use super::{Bench, config};
use crate::context::Registry;
use crate::{
    BuildRequest, Builder, BuilderConfig, CacheExport, CacheMode, CacheSource, CacheTarget, StepOutcome,
};
use hako_content::{Expected, Lease};
use hako_error::{Error, Kind, Result};
use hako_image::transfer::Parcel;
use hako_image::{Image, ImageStore, Layer, LayerForm};
use hako_names::{Digest, ImageRef};
use parking_lot::{Condvar, Mutex};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How many requests for layers have to be there before the first is answered.
const TOGETHER: usize = 3;

/// A cache in a directory, behind a registry's door.
struct Slow {
    dir: PathBuf,
    images: ImageStore,
    asked: Mutex<usize>,
    changed: Condvar,
}

impl Slow {
    fn blob(&self, digest: Digest) -> Vec<u8> {
        fs::read(self.dir.join("blobs/sha256").join(digest.hex())).unwrap()
    }

    fn none<T>(&self) -> Result<T> {
        Err(Error::new(Kind::Unimplemented, format!("{} only has a cache", self.dir.display())))
    }
}

impl Registry for Slow {
    fn pull(&self, _: &ImageRef, _: &str) -> Result<Image> {
        self.none()
    }

    fn pull_beside(&self, _: &ImageRef, _: &str) -> Result<Image> {
        self.none()
    }

    fn push(&self, _: &Image, _: &ImageRef, _: Option<LayerForm>) -> Result<Digest> {
        self.none()
    }

    fn manifest(&self, _: &ImageRef, digest: Option<Digest>) -> Result<Vec<u8>> {
        let index = fs::read(self.dir.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let only = || index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
        Ok(self.blob(digest.unwrap_or_else(only)))
    }

    fn has(&self, _: &ImageRef, _: Digest) -> Result<bool> {
        Ok(false)
    }

    fn bytes(&self, _: &ImageRef, digest: Digest, _: u64) -> Result<Vec<u8>> {
        Ok(self.blob(digest))
    }

    fn layer(&self, _: &ImageRef, layer: &Layer, lease: &Lease) -> Result<()> {
        let mut asked = self.asked.lock();
        *asked += 1;
        self.changed.notify_all();
        let (patience, mut is_late) = (Duration::from_secs(60), false);
        while *asked < TOGETHER && !is_late {
            is_late = self.changed.wait_for(&mut asked, patience).timed_out();
        }
        drop(asked);
        if is_late {
            return Err(Error::new(Kind::DeadlineExceeded, "nobody else asks"));
        }
        let mut writer = self.images.content().writer("a layer")?.under(lease);
        writer.append(&self.blob(layer.digest))?;
        writer.commit(Expected { digest: Some(layer.digest), size: Some(layer.size) }).map(drop)
    }

    fn send(&self, _: &ImageRef, _: &Parcel) -> Result<()> {
        self.none()
    }
}

#[test]
fn layers_of_a_cache_are_fetched_side_by_side() {
    let dockerfile = "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN echo 3 > /3\n";
    let (warm, mut cold) = (Bench::new(dockerfile), Bench::new(dockerfile));
    let dir = warm.dir.path().join("cache");
    let target = CacheTarget::Local { path: dir.clone(), tag: "latest".into() };
    let to = CacheExport { target, mode: CacheMode::Max, mounts: false, ignore_error: false };
    let request = BuildRequest { cache_to: vec![to], ..warm.request() };
    let image = warm.try_build(request).0.unwrap();
    let (asked, changed) = (Mutex::new(0), Condvar::new());
    let registry = Slow { dir, images: cold.images.clone(), asked, changed };
    let config = BuilderConfig { registry: Some(Arc::new(registry)), ..config() };
    cold.builder = Builder::with_runner(cold.images.clone(), config, cold.runner.clone()).unwrap();
    let from = CacheSource::Registry { reference: "localhost/cache".parse().unwrap() };
    let (built, events) = cold.try_build(BuildRequest { cache_from: vec![from], ..cold.request() });
    assert_eq!(built.unwrap().id, image.id);
    let is_cached = |event: &&crate::BuildEvent| {
        matches!(event, crate::BuildEvent::StepEnded { outcome: StepOutcome::Cached, .. })
    };
    assert_eq!(events.iter().filter(is_cached).count(), 3, "{events:?}");
}

#[test]
fn a_stage_that_is_to_run_again_is_called_by_its_name_its_number_or_as_it_is_shown() {
    let bench =
        Bench::new("FROM busybox\nRUN echo a > /out\nFROM busybox AS b\nCOPY --from=0 /out /a\nRUN true\n");
    bench.build();
    // How many of the commands run again, those of the first stage or of the second; and what is told of that.
    let again = |stage: &str| {
        bench.runner.runs.lock().clear();
        let request = BuildRequest { no_cache_stages: vec![stage.to_owned()], ..bench.request() };
        let (built, events) = bench.try_build(request);
        built.unwrap();
        let warned = events.into_iter().find_map(|event| match event {
            crate::BuildEvent::Warning { message, .. } => Some(message),
            _ => None,
        });
        (bench.runner.runs.lock().len(), warned)
    };
    for stage in ["0", "stage-0", "Stage-0", "1", "B"] {
        assert_eq!(again(stage), (1, None), "{stage}");
    }
    for stage in ["stage-1", "stage-2", "2", "c"] {
        let (count, warned) = again(stage);
        assert_eq!(count, 0, "{stage}");
        assert!(warned.is_some_and(|warned| warned.contains(&format!("no stage is called {stage:?}"))));
    }
}
