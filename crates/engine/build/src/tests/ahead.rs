//! Copies of stages that are made while what they stand on still runs.

use super::{Bench, Chroot, config, open_images};
use crate::run::Runner;
use crate::{BuildEvent, BuildRequest, Builder, StepOutcome};
use hako_error::Result;
use hako_image::Image;
use hako_runtime::{OnceExit, RunOnce};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Begins what says `held` only when the copy is there that is to be put on it.
struct Holding {
    inner: Chroot,
    live: PathBuf,
}

/// Far more than a copy of one file takes.
const LONGEST: Duration = Duration::from_secs(60);

fn is_copied(live: &Path) -> bool {
    let all = fs::read_dir(live).unwrap().flatten();
    all.map(|entry| entry.path().join("fs/copied/file")).any(|file| file.exists())
}

impl Runner for Holding {
    fn run(&self, run: RunOnce) -> Result<OnceExit> {
        let words = run.spec.process().as_ref().and_then(|process| process.args().clone());
        if words.unwrap_or_default().iter().any(|word| word.contains("held")) {
            let began = Instant::now();
            while !is_copied(&self.live) {
                assert!(began.elapsed() < LONGEST, "nothing was copied before what it stands on has run");
                std::thread::yield_now();
            }
        }
        self.inner.run(run)
    }
}

/// A last stage with that command below its copy of a directory.
fn bench(command: &str) -> Bench {
    let mut bench = Bench::new(&dockerfile(command));
    let live = bench.dir.path().join("snapshots/live");
    bench.images = open_images(bench.dir.path());
    let runner = Arc::new(Holding { inner: Chroot::default(), live });
    bench.builder = Builder::with_runner(bench.images.clone(), config(), runner).unwrap();
    bench
}

fn dockerfile(command: &str) -> String {
    format!(
        "FROM busybox AS stage\nRUN mkdir /made && echo made > /made/file && touch -d @1 /made\n\
         FROM busybox\nRUN {command}\nCOPY --from=stage /made /copied\n"
    )
}

/// Without an epoch: with one all times are settled when all is written.
fn build(bench: &Bench) -> (Result<Image>, Vec<BuildEvent>) {
    let built = bench.try_build(BuildRequest { args: [].into(), ..bench.request() });
    bench.is_clean();
    let ingest = bench.dir.path().join("content/ingest");
    assert_eq!(fs::read_dir(ingest).unwrap().count(), 0, "no blob is left half written");
    built
}

#[test]
fn a_copy_is_made_while_what_it_stands_on_runs_and_is_put_on_what_that_made() {
    let bench = bench("echo held > /held && touch -d @1 /held && chmod 711 /");
    let image = build(&bench).0.unwrap();
    bench.look(&image, |root| {
        assert_eq!(fs::read_to_string(root.join("held")).unwrap(), "held\n");
        assert_eq!(fs::read_to_string(root.join("copied/file")).unwrap(), "made\n");
        assert_eq!(
            fs::metadata(root).unwrap().mode() & 0o7777,
            0o711,
            "the root is what the step made of it"
        );
    });
    assert!(fs::read_dir(bench.dir.path().join("snapshots/live")).unwrap().next().is_none());

    // Another command with the same result: what was copied meanwhile is not needed.
    bench.write("Dockerfile", &dockerfile("echo held >/held && touch -d @1 /held && chmod 711 /"));
    let (again, events) = build(&bench);
    let outcomes: Vec<StepOutcome> = events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::StepEnded { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes.last(), Some(&StepOutcome::Cached), "{outcomes:?}");
    assert_eq!(again.unwrap().layers, image.layers);
}

#[test]
fn a_copy_that_was_made_in_vain_is_made_again_over_what_is_there() {
    let bench = bench("echo held && mkdir /copied && echo own > /copied/own");
    let image = build(&bench).0.unwrap();
    assert_eq!(bench.read(&image, "copied/own"), "own\n");
    assert_eq!(bench.read(&image, "copied/file"), "made\n");
}

#[test]
fn a_copy_that_was_made_for_a_step_that_fails_goes_with_it() {
    let bench = bench("echo held && false");
    build(&bench).0.unwrap_err();
}

#[test]
fn a_copy_is_made_while_the_layer_of_what_it_copies_is() {
    let bench = Bench::new(
        "FROM busybox AS stage\n\
         RUN mkdir /made && echo made > /made/file && truncate -s 64M /slow\n\
         FROM busybox\nCOPY --from=stage /made /copied\n",
    );
    let image = build(&bench).0.unwrap();
    let copied = bench.look(&image, |root| {
        let metadata = fs::metadata(root.join("copied/file")).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    });
    // Its blob was last written when the last of the large file had gone into it.
    let steps = bench.builder.cached().unwrap();
    let mut layers = steps.into_iter().filter_map(|step| step.layer).map(|layer| layer.digest);
    let of_stage = layers.find(|layer| image.layers.iter().all(|own| own.digest != *layer)).unwrap();
    let layer = fs::metadata(bench.images.content().path(of_stage)).unwrap();
    assert!(copied < (layer.mtime(), layer.mtime_nsec()), "the copy waited for the layer");
    assert_eq!(bench.read(&image, "copied/file"), "made\n");
}

#[test]
fn a_copy_of_a_stage_whose_layer_cannot_be_made_goes_with_it() {
    /// Leaves what no layer can have.
    struct Unusable(Chroot);

    impl Runner for Unusable {
        fn run(&self, run: RunOnce) -> Result<OnceExit> {
            let hako_runtime::Rootfs::Overlay { upper, .. } = &run.rootfs else { panic!("an overlay") };
            let made = upper.join("made");
            let exit = self.0.run(run)?;
            rustix::fs::setxattr(&made, "trusted.overlay.redirect", b"/x", rustix::fs::XattrFlags::empty())
                .unwrap();
            Ok(exit)
        }
    }

    let mut bench = Bench::new(
        "FROM busybox AS stage\nRUN mkdir /made && echo made > /made/file\n\
         FROM busybox\nCOPY --from=stage /made /copied\n",
    );
    let runner = Arc::new(Unusable(Chroot::default()));
    bench.builder = Builder::with_runner(bench.images.clone(), config(), runner).unwrap();
    let error = build(&bench).0.unwrap_err();
    assert!(error.chain().contains("redirect_dir"), "{error:?}");
}
