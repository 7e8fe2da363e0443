//! Whole builds, on a busybox of this machine, with processes run by the tools of the system.

mod ahead;
mod caches;
mod platforms;

use crate::run::Runner;
use crate::{BuildEvent, BuildRequest, Builder, BuilderConfig, Built, Keep, StepOutcome};
use hako_content::ContentStore;
use hako_error::{Error, Kind, Result};
use hako_image::{Image, ImageStore, busybox_rootfs};
use hako_oci::image::ImageConfiguration;
use hako_runtime::{OnceExit, OutputStream, Rootfs, RunOnce};
use hako_snapshot::Overlay;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Runs steps by unshare(1), mount(8) and chroot(8): a second opinion on what a step is given.
#[derive(Default)]
struct Chroot {
    runs: Mutex<Vec<(Instant, Instant)>>,
}

impl Runner for Chroot {
    fn run(&self, mut run: RunOnce) -> Result<OnceExit> {
        let Rootfs::Overlay { lower, upper, work } = &run.rootfs else { panic!("an overlay") };
        let lower: Vec<String> = lower.iter().map(|path| path.display().to_string()).collect();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        let process = run.spec.process().clone().unwrap();
        let began = Instant::now();
        let user = process.user();
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c"])
            .arg("mount -t overlay overlay -o \"$1\" /mnt; shift; d=\"$1\"; shift; exec chroot \"$@\"")
            .args(["sh", &options, &process.cwd().display().to_string()])
            .arg(format!("--userspec={}:{}", user.uid(), user.gid()))
            .args(["/mnt", "/bin/env", "-i"])
            .args(process.env().clone().unwrap())
            .args(["/bin/sh", "-c", "cd \"$0\" && exec \"$@\""])
            .arg(process.cwd())
            .args(process.args().clone().unwrap())
            .output()
            .unwrap();
        self.runs.lock().push((began, Instant::now()));
        (run.output)(OutputStream::Stdout, &output.stdout);
        (run.output)(OutputStream::Stderr, &output.stderr);
        Ok(OnceExit { code: output.status.code().unwrap_or(255), oom_killed: false })
    }
}

/// The group of this test process goes with its bench.
impl Drop for Bench {
    fn drop(&mut self) {
        let group = hako_cgroup::CgroupRoot::detect()
            .and_then(|root| root.open(&format!("/hako-test-{}", std::process::id())));
        if let Ok(group) = group {
            let _ = group.delete();
        }
    }
}

struct Bench {
    dir: tempfile::TempDir,
    images: ImageStore,
    builder: Builder,
    runner: Arc<Chroot>,
}

fn open_images(dir: &Path) -> ImageStore {
    let content = ContentStore::open(dir.join("content")).unwrap();
    let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
    ImageStore::open(content, snapshots, dir.join("images")).unwrap()
}

fn config() -> BuilderConfig {
    BuilderConfig {
        cgroup: format!("/hako-test-{}/build", std::process::id()),
        parallel: 8,
        ..BuilderConfig::default()
    }
}

impl Bench {
    /// A store with the image `busybox`, and a context with that Dockerfile.
    fn new(dockerfile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = open_images(dir.path());
        let tar = busybox_rootfs(Path::new("/bin/busybox")).unwrap();
        let name = "busybox".parse().unwrap();
        images.import_rootfs(tar.as_slice(), &name, ImageConfiguration::default()).unwrap();
        let runner = Arc::new(Chroot::default());
        let builder = Builder::with_runner(images.clone(), config(), runner.clone()).unwrap();
        let bench = Self { dir, images, builder, runner };
        bench.write("Dockerfile", dockerfile);
        bench
    }

    fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn request(&self) -> BuildRequest {
        let args = BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned())]);
        let tags = vec!["app".parse().unwrap()];
        BuildRequest { context: self.context(), tags, args, ..BuildRequest::default() }
    }

    fn try_build(&self, request: BuildRequest) -> (Result<Image>, Vec<BuildEvent>) {
        let (built, events) = self.try_build_to(request);
        (built.map(|built| built.image.unwrap()), events)
    }

    fn try_build_to(&self, request: BuildRequest) -> (Result<Built>, Vec<BuildEvent>) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(self.builder.build(request, sender));
        self.builder.settle();
        let mut events = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            events.push(event);
        }
        (result, events)
    }

    fn build(&self) -> Image {
        self.try_build(self.request()).0.unwrap()
    }

    fn fails(&self) -> Error {
        let error = self.try_build(self.request()).0.unwrap_err();
        self.is_clean();
        error
    }

    fn cached(&self) -> (usize, Image) {
        let (image, events) = self.try_build(self.request());
        let cached =
            |event: &&BuildEvent| matches!(event, BuildEvent::StepEnded { outcome: StepOutcome::Cached, .. });
        (events.iter().filter(cached).count(), image.unwrap())
    }

    /// Nothing of a build is left besides images and cache.
    fn is_clean(&self) {
        for info in self.images.snapshots().list() {
            assert_eq!(info.state, hako_snapshot::State::Committed, "{info:?}");
        }
        assert_eq!(fs::read_dir(self.dir.path().join("content/leases")).unwrap().count(), 0);
    }

    fn look<T>(&self, image: &Image, look: impl FnOnce(&Path) -> T) -> T {
        let parent = self.images.unpack(image).unwrap();
        let mounts = self.images.snapshots().view("look", parent.as_deref()).unwrap();
        let tree = self.images.snapshots().mounted(&mounts).unwrap();
        let seen = look(&tree.path());
        drop(tree);
        self.images.snapshots().remove("look").unwrap();
        seen
    }

    fn read(&self, image: &Image, path: &str) -> String {
        self.look(image, |root| fs::read_to_string(root.join(path)).unwrap())
    }
}

/// Fails as no runner does.
struct Panicking;

impl Runner for Panicking {
    fn run(&self, _run: RunOnce) -> Result<OnceExit> {
        panic!("the runner of a test");
    }
}

#[test]
fn a_step_whose_thread_panics_fails_the_build_and_leaves_nothing() {
    let mut bench = Bench::new("FROM busybox AS one\nRUN one\nFROM busybox\nRUN two\nCOPY --from=one / /\n");
    bench.builder = Builder::with_runner(bench.images.clone(), config(), Arc::new(Panicking)).unwrap();
    let error = bench.try_build(bench.request()).0.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(fs::read_dir(bench.dir.path().join("content/leases")).unwrap().count(), 0);
}

#[test]
fn a_command_without_a_text_is_a_shell_with_nothing_to_run() {
    let bench = Bench::new("FROM busybox\nCMD [\"x\"]\nENTRYPOINT\nSHELL [\"/shell\", \"-c\"]\nCMD\n");
    let image = bench.build();
    let config = image.config.config().clone().unwrap();
    // As docker 20.10 has it in the configuration.
    assert_eq!(config.entrypoint().as_deref().unwrap(), ["/bin/sh", "-c", ""]);
    assert_eq!(config.cmd().as_deref().unwrap(), ["/shell", "-c", ""]);
}

#[test]
fn a_multi_stage_file_becomes_an_image() {
    let bench = Bench::new(
        "ARG BASE=busybox\n\
         FROM ${BASE} AS build\n\
         ARG WHO=world\n\
         WORKDIR /src\n\
         COPY main.txt sub ./\n\
         RUN echo hello $WHO > out.txt && cat main.txt >> out.txt\n\
         FROM busybox\n\
         ENV GREETING=hi DIR=/opt\n\
         WORKDIR $DIR/app\n\
         COPY --from=build --chmod=640 --chown=1000:1000 /src/out.txt result\n\
         RUN echo $GREETING > greeting && pwd > where\n\
         USER nobody\n\
         RUN id -u > /tmp/who\n\
         EXPOSE 80 53/udp\n\
         LABEL a=b \"c d\"='e f'\n\
         VOLUME /data\n\
         STOPSIGNAL SIGINT\n\
         HEALTHCHECK CMD true\n\
         ENTRYPOINT [\"/bin/sh\", \"-c\"]\n\
         CMD [\"cat result\"]\n",
    );
    bench.write("main.txt", "main\n");
    bench.write("sub/deep/file", "deep");
    let image = bench.build();
    assert_eq!(bench.read(&image, "opt/app/result"), "hello world\nmain\n");
    assert_eq!(bench.read(&image, "opt/app/greeting"), "hi\n");
    assert_eq!(bench.read(&image, "opt/app/where"), "/opt/app\n");
    assert_eq!(bench.read(&image, "tmp/who"), "65534\n");
    bench.look(&image, |root| {
        let result = fs::metadata(root.join("opt/app/result")).unwrap();
        assert_eq!((result.mode() & 0o7777, result.uid(), result.gid()), (0o640, 1000, 1000));
        assert!(!root.join("src").exists());
        assert_eq!(fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    });
    let config = image.config.config().clone().unwrap();
    assert_eq!(config.working_dir().as_deref(), Some("/opt/app"));
    assert_eq!(config.user().as_deref(), Some("nobody"));
    assert_eq!(config.entrypoint().as_deref().unwrap(), ["/bin/sh", "-c"]);
    assert_eq!(config.cmd().as_deref().unwrap(), ["cat result"]);
    assert_eq!(config.stop_signal().as_deref(), Some("SIGINT"));
    let ports: std::collections::BTreeSet<_> = config.exposed_ports().clone().unwrap().into_iter().collect();
    assert_eq!(ports, ["53/udp", "80/tcp"].map(String::from).into());
    assert_eq!(config.labels().clone().unwrap()["c d"], "e f");
    assert!(config.env().clone().unwrap().contains(&"GREETING=hi".to_owned()));
    assert_eq!(image.raw_config["config"]["Healthcheck"]["Test"][1], "true");
    assert_eq!(image.config.created().as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(image.config.history().as_ref().unwrap().len(), 14);
    bench.is_clean();
}

#[test]
fn unchanged_steps_come_from_the_cache_also_after_a_restart() {
    let text = "FROM busybox\nCOPY a /a\nRUN cat /a > /b\nCOPY b /c\nCMD [\"x\"]\n";
    let mut bench = Bench::new(text);
    bench.write("a", "1");
    bench.write("b", "2");
    let first = bench.build();
    assert_eq!(bench.runner.runs.lock().len(), 1);
    let (cached, second) = bench.cached();
    assert_eq!((cached, second.manifest_digest), (3, first.manifest_digest));
    // Times do not count, content does, and what follows a changed step runs again.
    let file = fs::File::open(bench.context().join("a")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(bench.cached().0, 3);
    bench.write("b", "changed");
    assert_eq!(bench.cached().0, 2);
    bench.write("a", "changed");
    assert_eq!(bench.cached().0, 0);
    bench.write("a", "1");
    bench.write("b", "2");
    bench.images = open_images(bench.dir.path());
    bench.builder = Builder::with_runner(bench.images.clone(), config(), bench.runner.clone()).unwrap();
    let (cached, third) = bench.cached();
    assert_eq!((cached, third.manifest_digest), (3, first.manifest_digest));
    assert_eq!(bench.runner.runs.lock().len(), 2);
    // What the cache needs survives the image; without the cache it goes.
    bench.images.remove("app", true).unwrap();
    assert_eq!(bench.cached().0, 3);
    bench.images.remove("app", true).unwrap();
    bench.builder.prune().unwrap();
    assert_eq!(bench.cached().0, 0);
}

#[test]
fn results_that_were_used_last_stay_as_far_as_there_is_room() {
    let bench = Bench::new("FROM busybox\nCOPY a /a\nCOPY b /b\n");
    bench.write("a", "1");
    bench.write("b", "2");
    bench.cached();
    // A step has more than one record, under what it says and under what it found.
    let layers = || {
        let steps = bench.builder.cached().unwrap();
        steps
            .iter()
            .filter_map(|step| step.layer.clone())
            .map(|layer| (layer.digest, layer.size))
            .collect::<BTreeMap<_, _>>()
    };
    let left = |keep: Keep| {
        bench.builder.prune_to(keep).unwrap();
        layers().len()
    };
    let (now, hour) = (jiff::Timestamp::now(), jiff::SignedDuration::from_hours(1));
    assert_eq!(left(Keep { bytes: Some(u64::MAX), since: None }), 2);
    assert_eq!(left(Keep { bytes: Some(1), since: Some(now - hour) }), 2);
    let largest = layers().into_values().max();
    assert_eq!(left(Keep { bytes: largest, since: None }), 1);
    assert_eq!(left(Keep { bytes: None, since: Some(now + hour) }), 0);
}

#[test]
fn building_twice_without_the_cache_gives_the_same_digest() {
    let bench = Bench::new(
        "FROM busybox\nLABEL z=1 a=2 m=3 b=4\nCOPY . /ctx\nRUN date +%N > /dev/null; mkdir /d; echo x > /d/f\n",
    );
    bench.write("file", "x");
    let again = || bench.try_build(BuildRequest { no_cache: true, ..bench.request() }).0.unwrap();
    assert_eq!(again().manifest_digest, again().manifest_digest);
    assert_eq!(bench.runner.runs.lock().len(), 2);
}

#[test]
fn a_failing_command_shows_its_output_and_leaves_nothing() {
    let bench = Bench::new("FROM busybox\nRUN echo before\nRUN echo the reason >&2; touch /x; exit 7\n");
    let before = bench.images.list().unwrap().len();
    let (result, events) = bench.try_build(bench.request());
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    let message = error.chain();
    for part in ["Dockerfile:3:", "exit code 7", "3 | RUN echo the reason"] {
        assert!(message.contains(part), "{error:?}");
    }
    let is_said =
        |event: &&BuildEvent| matches!(event, BuildEvent::Output { bytes, .. } if bytes == b"the reason\n");
    assert_eq!(events.iter().filter(is_said).count(), 1);
    assert!(!message.contains("\nthe reason"), "what was told is told again: {message}");
    assert_eq!(bench.images.list().unwrap().len(), before);
}

#[test]
fn independent_stages_run_at_the_same_time_and_unneeded_ones_never() {
    let bench = Bench::new(
        "FROM busybox AS a\nRUN sleep 1; echo a > /out\nFROM busybox AS b\nRUN sleep 1; echo b > /out\n\
         FROM busybox AS unneeded\nRUN exit 1\nFROM scratch\nCOPY --from=a /out /a\nCOPY --from=1 /out /b\n",
    );
    let image = bench.build();
    assert_eq!(bench.read(&image, "a") + &bench.read(&image, "b"), "a\nb\n");
    let runs = bench.runner.runs.lock();
    let [first, second] = runs.as_slice() else { panic!("{runs:?}") };
    assert!(first.0 < second.1 && second.0 < first.1, "they overlap: {runs:?}");
}

#[test]
fn a_stage_can_be_the_target() {
    let bench = Bench::new("FROM busybox AS one\nRUN echo 1 > /n\nFROM one AS two\nRUN echo 2 > /n\n");
    let target = |target: &str| BuildRequest { target: Some(target.into()), ..bench.request() };
    let image = bench.try_build(target("one")).0.unwrap();
    assert_eq!(bench.read(&image, "n"), "1\n");
    assert_eq!(bench.read(&bench.build(), "n"), "2\n");
    let error = bench.try_build(target("three")).0.unwrap_err();
    assert!(error.chain().contains("it has: one, two"), "{error:?}");
}

#[test]
fn an_unknown_base_says_what_to_do() {
    let bench = Bench::new("FROM nowhere:1\n");
    let error = bench.fails();
    assert_eq!(error.kind(), Kind::NotFound);
    for part in ["Dockerfile:1:", "nowhere:1", "hako image import"] {
        assert!(error.chain().contains(part), "{error:?}");
    }
}

#[test]
fn files_that_are_no_text_are_named_by_their_line() {
    let bench = Bench::new("FROM busybox\n");
    std::fs::write(bench.context().join("Dockerfile"), b"FROM busybox\n\xff\xfe\0RUN\n").unwrap();
    let error = bench.fails().chain();
    assert!(error.contains("Dockerfile:2"), "{error}");
    bench.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    std::fs::write(bench.context().join(".dockerignore"), b"caf\xe9\nleft-out\n").unwrap();
    bench.write("left-out", "x");
    bench.write("kept", "x");
    let image = bench.build();
    assert_eq!(bench.read(&image, "kept"), "x");
    bench.write("Dockerfile", "FROM scratch\nCOPY left-out /\n");
    assert!(bench.fails().chain().contains(".dockerignore leaves it out"));
    std::fs::remove_file(bench.context().join("Dockerfile")).unwrap();
    let error = bench.fails().chain();
    assert!(
        error.contains("\"Dockerfile\"") && !error.contains(bench.context().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn faults_name_the_line() {
    for (text, part) in [
        ("FROM busybox\nCOPY missing /x\n", "Dockerfile:2: there is no \"missing\" in the build context"),
        ("FROM busybox\nCOPY secret /x\n", ".dockerignore leaves it out"),
        ("FROM busybox\nUSER ghost\nRUN true\n", "Dockerfile:3: user \"ghost\""),
        ("FROM busybox\nEXPOSE http\n", "Dockerfile:2: EXPOSE http"),
        ("FROM --platform=linux//x busybox\n", "Dockerfile:1: platform \"linux//x\""),
        ("ARG NONE\nFROM $NONE\n", "Dockerfile:2: $NONE is empty"),
        ("FROM busybox\nRNU x\n", "Dockerfile:2: unknown instruction"),
    ] {
        let bench = Bench::new(text);
        bench.write("secret", "x");
        bench.write(".dockerignore", "secret\n");
        let error = bench.fails();
        assert!(error.chain().contains(part), "{text}: {error:?}");
    }
}

#[test]
fn copy_follows_dockers_rules_for_destinations() {
    let bench = Bench::new(
        "FROM busybox\n\
         RUN mkdir -p /usr/lib /real && ln -s usr/lib /lib && ln -s /real /link\n\
         COPY one /file\n\
         COPY one /dir/\n\
         COPY one /tmp\n\
         COPY tree /lib/\n\
         COPY tree/*.txt /globbed/\n\
         COPY one tree/a.txt /link/\n\
         COPY link /followed\n\
         COPY . /all/\n",
    );
    bench.write("one", "1");
    bench.write("tree/a.txt", "a");
    bench.write("tree/sub/b.txt", "b");
    bench.write("tree/sub/skip.log", "no");
    bench.write(".dockerignore", "**/*.log\n!important.log\nDockerfile\n.dockerignore");
    bench.write("important.log", "yes");
    symlink("tree/a.txt", bench.context().join("link")).unwrap();
    symlink("/etc/passwd", bench.context().join("tree/outside")).unwrap();
    fs::set_permissions(bench.context().join("one"), fs::Permissions::from_mode(0o4750)).unwrap();
    let image = bench.build();
    for path in ["file", "dir/one", "tmp/one", "real/one", "all/one"] {
        assert_eq!(bench.read(&image, path), "1", "{path}");
    }
    for (path, text) in [
        ("usr/lib/a.txt", "a"),
        ("usr/lib/sub/b.txt", "b"),
        ("globbed/a.txt", "a"),
        ("real/a.txt", "a"),
        ("followed", "a"),
        ("all/important.log", "yes"),
    ] {
        assert_eq!(bench.read(&image, path), text, "{path}");
    }
    bench.look(&image, |root| {
        assert!(root.join("lib").symlink_metadata().unwrap().is_symlink(), "the link is not replaced");
        assert!(!root.join("usr/lib/sub/skip.log").exists() && !root.join("all/Dockerfile").exists());
        assert_eq!(fs::metadata(root.join("file")).unwrap().mode() & 0o7777, 0o4750);
        assert_eq!(
            fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777,
            0o1777,
            "an existing directory stays as it is"
        );
        assert_eq!(fs::read_link(root.join("usr/lib/outside")).unwrap(), Path::new("/etc/passwd"));
    });
}

#[test]
fn add_unpacks_local_tars() {
    let bench = Bench::new("FROM scratch\nADD files.tar.gz /x/\nADD plain /x/plain\n");
    bench.write("inner/file", "from the tar");
    bench.write("plain", "plain");
    let status = Command::new("tar")
        .args(["-czf", "files.tar.gz", "inner"])
        .current_dir(bench.context())
        .status()
        .unwrap();
    assert!(status.success());
    let image = bench.build();
    assert_eq!(bench.read(&image, "x/inner/file"), "from the tar");
    assert_eq!(bench.read(&image, "x/plain"), "plain");
}

#[test]
fn entrypoint_makes_the_bases_cmd_meaningless() {
    let bench = Bench::new(
        "FROM busybox AS base\nCMD [\"old\"]\nFROM base AS a\nENTRYPOINT [\"e\"]\nFROM base AS b\nCMD x\nENTRYPOINT [\"e\"]\n",
    );
    let cmd = |target: &str| {
        let request = BuildRequest { target: Some(target.into()), ..bench.request() };
        let image = bench.try_build(request).0.unwrap();
        image.config.config().as_ref().unwrap().cmd().clone()
    };
    assert_eq!(cmd("base").unwrap(), ["old"]);
    assert_eq!(cmd("a"), None);
    assert_eq!(cmd("b").unwrap(), ["/bin/sh", "-c", "x"]);
}

#[test]
fn arguments_count_for_the_cache_where_they_are_asked_for() {
    let bench = Bench::new(
        "FROM busybox\nRUN echo first > /f\nARG V\nRUN echo $V > /v\nENV V=fixed\nRUN echo $V > /e\n",
    );
    let build = |value: &str| {
        let mut request = bench.request();
        request.args.extend([("V".to_owned(), value.to_owned()), ("STRAY".to_owned(), "x".to_owned())]);
        bench.try_build(request)
    };
    let (image, events) = build("1");
    assert!(
        events
            .iter()
            .any(|event| matches!(event, BuildEvent::Warning { message, .. } if message.contains("STRAY")))
    );
    let image = image.unwrap();
    assert_eq!(bench.read(&image, "v") + &bench.read(&image, "e"), "1\nfixed\n");
    assert_eq!(bench.read(&build("2").0.unwrap(), "v"), "2\n");
    assert_eq!(bench.runner.runs.lock().len(), 5, "the first RUN ran once");
}

#[test]
fn what_the_checks_find_is_told_also_when_a_step_fails() {
    let bench = Bench::new("FROM busybox\nCMD echo hello\nRUN exit 3\n");
    let (image, events) = bench.try_build(bench.request());
    image.unwrap_err();
    let Some(BuildEvent::Checked { report }) = events.last() else { panic!("{events:?}") };
    assert_eq!(report.to_string().lines().next().unwrap().split(": ").nth(1), Some("JSONArgsRecommended"));
    let text = serde_json::to_string(&events).unwrap();
    assert_eq!(serde_json::from_str::<Vec<BuildEvent>>(&text).unwrap(), events, "clients read it back");
    bench.write("Dockerfile", "FROM busybox\nCMD [\"echo\", \"hello\"]\n");
    let (image, events) = bench.try_build(bench.request());
    image.unwrap();
    assert!(!events.iter().any(|event| matches!(event, BuildEvent::Checked { .. })), "{events:?}");
}

#[test]
fn an_epoch_that_the_file_sets_counts_unless_the_one_who_builds_says_another() {
    let bench = Bench::new(
        "ARG BASE=1700000\nARG SOURCE_DATE_EPOCH=${BASE}001\nFROM busybox\nARG SOURCE_DATE_EPOCH\n\
         RUN echo $SOURCE_DATE_EPOCH > /f\n",
    );
    let build = |given: &[(&str, &str)]| {
        let args = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        bench.try_build(BuildRequest { args, ..bench.request() }).0
    };
    let created = |image: &Image| image.config.created().clone().unwrap_or_default();
    let image = build(&[]).unwrap();
    assert_eq!(
        (bench.read(&image, "f").as_str(), created(&image).as_str()),
        ("1700000001\n", "2023-11-14T22:13:21Z")
    );
    let image = build(&[("SOURCE_DATE_EPOCH", "7")]).unwrap();
    assert_eq!((bench.read(&image, "f").as_str(), created(&image).as_str()), ("7\n", "1970-01-01T00:00:07Z"));
    let image = build(&[("SOURCE_DATE_EPOCH", "")]).unwrap();
    assert!(created(&image).as_str() > "2026", "an empty one is none: {}", created(&image));
    let error = build(&[("BASE", "soon")]).unwrap_err().chain();
    let told = "Dockerfile:2: SOURCE_DATE_EPOCH=soon001 is not a number of seconds since 1970";
    assert!(error.starts_with(told), "{error}");
    let error = build(&[("SOURCE_DATE_EPOCH", "context")]).unwrap_err().chain();
    assert!(error.contains("SOURCE_DATE_EPOCH=context is unimplemented"), "{error}");
}

#[test]
fn of_an_env_and_an_arg_of_one_name_the_one_below_counts() {
    let bench = Bench::new(
        "FROM busybox AS a\nENV V=env\nARG V=arg\nRUN echo $V > /a\nENV W=$V\nENV V=again\nRUN echo $V > /b\n\
         ARG V=last\nFROM a\nRUN echo $V > /c\nARG V\nRUN echo $V > /d\n",
    );
    let image = bench.build();
    let said = ["a", "b", "c", "d"].map(|file| bench.read(&image, file));
    assert_eq!(
        said,
        ["arg\n", "again\n", "again\n", "again\n"],
        "a stage begins with its base's environment"
    );
    let env = image.config.config().as_ref().unwrap().env().clone().unwrap();
    assert!(env.contains(&"V=again".to_owned()) && env.contains(&"W=arg".to_owned()), "{env:?}");
    let mut request = bench.request();
    request.args.insert("V".into(), "given".into());
    let image = bench.try_build(request).0.unwrap();
    assert_eq!(bench.read(&image, "a") + &bench.read(&image, "d"), "given\ngiven\n");
}

#[test]
fn builds_at_the_same_time_do_not_disturb_each_other() {
    let bench = Bench::new("FROM busybox\nRUN echo x > /x\nCOPY a /a\n");
    bench.write("a", "a");
    let images: Vec<Image> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.build())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(images.iter().all(|image| image.manifest_digest == images[0].manifest_digest));
    bench.is_clean();
}

#[test]
fn a_dropped_build_stops_before_its_next_step() {
    let bench = Bench::new("FROM busybox\nRUN sleep 1\nRUN echo never > /never\n");
    let (sender, _receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let build = bench.builder.build(bench.request(), sender);
    let timeout = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(200), build).await });
    assert!(timeout.is_err());
    drop(runtime);
    assert!(bench.runner.runs.lock().len() <= 1, "the second step never runs");
    assert!(bench.images.find("app").unwrap_err().is_not_found());
    bench.is_clean();
}

/// The same builds on the runtime itself instead of the system's tools.
mod on_the_runtime {
    use super::*;

    fn bench(dockerfile: &str) -> Bench {
        // What is linked in answers when this test binary is executed again as the runtime's process.
        assert!(hako_testkit::shim_exe().exists());
        let mut bench = Bench::new(dockerfile);
        bench.builder = Builder::new(bench.images.clone(), config()).unwrap();
        bench
    }

    fn groups() -> usize {
        let name = format!("hako-test-{}", std::process::id());
        let roots =
            ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];
        let steps = roots.iter().filter_map(|root| fs::read_dir(format!("{root}/{name}/build")).ok());
        steps.map(|entries| entries.flatten().filter(|entry| entry.path().is_dir()).count()).sum()
    }

    #[test]
    fn a_step_runs_as_its_user_with_its_environment_and_leaves_only_its_own_files() {
        let bench = bench(
            "FROM busybox\nENV A=1\nWORKDIR /w\nRUN echo $A $(pwd) $(id -u) $HOSTNAME > out\n\
             USER nobody\nRUN id -u > /tmp/who; echo $HOME > /tmp/home\nRUN true\n",
        );
        let image = bench.build();
        assert!(bench.read(&image, "w/out").starts_with("1 /w 0"));
        assert_eq!(bench.read(&image, "tmp/who"), "65534\n");
        assert_eq!(bench.read(&image, "tmp/home"), "/\n");
        assert_eq!(image.layers.len(), 4, "base, WORKDIR and two RUNs; RUN true changed nothing");
        bench.is_clean();
        assert_eq!(groups(), 0);
    }

    #[test]
    fn groups_of_steps_that_were_killed_with_their_builder_go_with_the_next() {
        let mut bench = bench("FROM busybox\nRUN echo hi > /x\n");
        let root = hako_cgroup::CgroupRoot::detect().unwrap();
        root.create(&format!("{}/build-7/below", config().cgroup)).unwrap();
        assert!(groups() > 0);
        bench.builder = Builder::new(bench.images.clone(), config()).unwrap();
        assert_eq!(groups(), 0);
        bench.build();
    }

    #[test]
    fn a_failing_step_leaves_nothing() {
        let bench = bench("FROM busybox\nRUN echo why; exit 9\n");
        let error = bench.fails();
        assert!(error.chain().contains("exit code 9") && error.chain().contains("why"), "{error:?}");
        assert_eq!(groups(), 0);
    }

    #[test]
    fn a_dropped_build_kills_its_step() {
        let bench = bench("FROM busybox\nRUN sleep 600\n");
        let (sender, _receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let build = bench.builder.build(bench.request(), sender);
        let began = Instant::now();
        let timeout =
            runtime.block_on(async { tokio::time::timeout(Duration::from_millis(500), build).await });
        assert!(timeout.is_err());
        drop(runtime);
        assert!(began.elapsed() < Duration::from_secs(60), "the step was killed, not waited for");
        bench.is_clean();
        assert_eq!(groups(), 0);
    }
}
