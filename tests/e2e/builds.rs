//! `hako build` as people call it: contexts, flags, outputs, progress, failures, a crash in the middle.

use crate::platform::{HAKO, Platform, output, run, wait_until};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn context(dir: &Path, dockerfile: &str) -> String {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    dir.display().to_string()
}

/// Runs a build with standard input; gives both outputs.
pub fn fed(platform: &Platform, arguments: &[&str], input: &[u8]) -> String {
    let mut command = platform.hako();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// A platform and a context with a secret, an argument, a named context and a stage that fails.
struct Bench {
    platform: Platform,
    dir: tempfile::TempDir,
    main: String,
    flags: Vec<String>,
}

impl Bench {
    fn start() -> Self {
        let platform = Platform::start();
        platform.run(&["image", "import-busybox"]);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "s3cret-value").unwrap();
        context(&dir.path().join("extra"), "");
        fs::write(dir.path().join("extra/f"), "named").unwrap();
        let main = context(
            &dir.path().join("main"),
            "FROM busybox AS base\nARG WHO=nobody\nRUN --mount=type=secret,id=s echo $WHO $(wc -c < /run/secrets/s) > /who\n\
             FROM scratch AS out\nCOPY --from=base /who /who\nCOPY --from=extra f /f\n\
             FROM base AS broken\nRUN echo the reason; exit 5\n",
        );
        let secret = format!("--secret=id=s,src={}", dir.path().join("secret").display());
        let extra = format!("--build-context=extra={}", dir.path().join("extra").display());
        Self { platform, dir, main, flags: vec!["--build-arg=WHO=me".into(), secret, extra] }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// `hako build` of a stage.
    fn command(&self, target: &str, more: &[&str]) -> Command {
        let mut command = self.platform.hako();
        command.args(["build", "--target", target]).args(&self.flags).args(more).arg(&self.main);
        command
    }

    #[track_caller]
    fn build(&self, more: &[&str]) -> String {
        run(&mut self.command("out", more))
    }

    /// What a build says to people.
    fn said(&self, target: &str, more: &[&str]) -> String {
        String::from_utf8(output(&mut self.command(target, more)).stderr).unwrap()
    }
}

#[test]
fn a_build_gives_what_its_outputs_ask_for() {
    let bench = Bench::start();
    let (id_file, metadata) = (bench.path("id"), bench.path("metadata.json"));
    let said =
        bench.build(&["-t", "app:1", "--label", "a=b", "--iidfile", &id_file, "--metadata-file", &metadata]);
    assert_eq!(said.trim(), fs::read_to_string(&id_file).unwrap());
    let metadata: Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], said.trim());
    bench.build(&["-t", "app:2", "--label", "a=b", "--metadata-file", &bench.path("metadata.json")]);
    let metadata: Value = serde_json::from_slice(&fs::read(bench.path("metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], said.trim(), "it has two names now");
    assert_eq!(metadata["image.name"], "app:2");
    bench.build(&["--output", &format!("type=local,dest={}", bench.path("out"))]);
    assert_eq!(fs::read_to_string(bench.path("out/who")).unwrap(), "me 12\n");
    assert_eq!(fs::read_to_string(bench.path("out/f")).unwrap(), "named");
    bench.build(&["-t", "app:1", "-o", &format!("type=oci,dest={}", bench.path("app.tar"))]);
    let skopeo =
        run(Command::new("skopeo").args(["inspect", &format!("oci-archive:{}", bench.path("app.tar"))]));
    assert_eq!(serde_json::from_str::<Value>(&skopeo).unwrap()["Layers"].as_array().unwrap().len(), 2);
    bench.build(&["-t", "app:1", "-o", &format!("type=docker,dest={}", bench.path("docker.tar"))]);
    run(Command::new("skopeo").args(["inspect", &format!("docker-archive:{}", bench.path("docker.tar"))]));
    bench.platform.down();
}

#[test]
fn a_build_shows_its_progress_and_why_it_failed() {
    let bench = Bench::start();
    bench.build(&[]);
    assert!(bench.said("out", &["--progress", "plain"]).contains("CACHED"));
    assert!(!bench.said("out", &["--no-cache"]).contains("CACHED"));
    let partly = bench.said("out", &["--no-cache=base"]);
    assert!(partly.contains("CACHED") && partly.contains("DONE"), "{partly}");
    assert!(bench.said("out", &["--progress=rawjson"]).contains("{\"step_started\""));
    let failed = bench.said("broken", &["--on-error=shell"]);
    for part in ["Dockerfile:8", "exit code 5", "the reason", "hako run --rm -it localhost/hako-build-failed"]
    {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    assert!(!failed.contains("--on-error"), "{failed}");
    let failed = bench.said("broken", &[]);
    assert!(failed.contains("build with --on-error=shell"), "{failed}");
    let odd = context(&bench.dir.path().join("odd"), "from busybox\nRUN true\n");
    let checked = output(bench.platform.hako().args(["build", "--check", &odd]));
    let found = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success() && found.contains("ConsistentInstructionCasing"), "{found}");
    bench.platform.down();
}

#[test]
fn contexts_come_from_standard_input_too() {
    let platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    let dir = tempfile::tempdir().unwrap();
    let main = context(&dir.path().join("main"), "FROM scratch\nCOPY Dockerfile /d\n");
    let tar = Command::new("tar").args(["-C", &main, "-czf", "-", "."]).output().unwrap().stdout;
    fed(&platform, &["build", "-t", "tarred", "-"], &tar);
    for compression in ["--bzip2", "--xz", "--zstd"] {
        let tar =
            Command::new("tar").args(["-C", &main, compression, "-cf", "-", "."]).output().unwrap().stdout;
        fed(&platform, &["build", "--no-cache", "-"], &tar);
    }
    fed(&platform, &["build", "-t", "alone", "-"], b"FROM busybox\nRUN echo alone > /x\n");
    fed(&platform, &["build", "-t", "both", "-f", "-", &main], b"FROM busybox\nCOPY Dockerfile /y\n");
    assert_eq!(platform.run(&["run", "--rm", "alone", "cat", "/x"]), "alone\n");
    assert!(platform.run(&["run", "--rm", "both", "cat", "/y"]).contains("COPY Dockerfile /d"));
    platform.down();
}

#[test]
fn a_build_that_is_killed_leaves_nothing() {
    let mut platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    let dir = tempfile::tempdir().unwrap();
    let main = context(
        &dir.path().join("main"),
        "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked --mount=from=busybox,target=/b echo x > /c/x; sleep 100\n",
    );
    let mut build = Command::new(HAKO);
    build.args(platform.hako().get_args()).args(["build", &main]);
    let mut build = build.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let cache = platform.data_dir().join("images/build-mounts");
    let is_running = || {
        let dirs = fs::read_dir(&cache).into_iter().flatten().flatten();
        dirs.into_iter().any(|entry| entry.path().join("data/x").exists())
    };
    wait_until("the step runs", is_running);
    platform.kill();
    assert!(!build.wait().unwrap().success());
    platform.up();
    let names = fs::read_dir(platform.data_dir().join("snapshots/live")).unwrap().count();
    assert_eq!(names, 0, "no snapshot is left");
    assert_eq!(fs::read_dir(platform.data_dir().join("images/build-scratch")).unwrap().count(), 0);
    fs::write(
        dir.path().join("main/Dockerfile"),
        "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked cat /c/x\n",
    )
    .unwrap();
    assert!(fs::read_to_string("/proc/mounts").unwrap().lines().all(|line| !line.contains("build-scratch")));
    run(platform.hako().args(["build", "-t", "again", &main]));
    platform.down();
}
