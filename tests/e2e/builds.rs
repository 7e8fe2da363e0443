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
        let platform = Platform::with_busybox();
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
    let files = ["--iidfile", &id_file, "--metadata-file", &bench.path("metadata.json")];
    assert!(bench.said("broken", &files).contains("exit code 5"));
    for file in [&id_file, &bench.path("metadata.json")] {
        assert!(!Path::new(file).exists(), "{file} is of an earlier build");
    }
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
    let platform = Platform::with_busybox();
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

/// What `hako build` says of a tar that it refuses.
fn refused(platform: &Platform, flags: &[&str], tar: &Path) -> String {
    let mut build = platform.hako();
    build.arg("build").args(flags).arg("-").stdin(fs::File::open(tar).unwrap());
    let output = build.output().unwrap();
    assert!(!output.status.success(), "{flags:?} was built");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_tar_shows_no_file_of_the_machine_and_keeps_nobody_waiting() {
    let platform = Platform::start();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("secret"), "whispered\n").unwrap();
    let main = context(&at("main"), "FROM scratch\nCOPY Dockerfile /d\n");
    let sh = |script: &str| {
        run(Command::new("sh").args(["-ec", script]).current_dir(&main));
        run(Command::new("tar").args(["-C", &main, "-cf"]).arg(at("tar")).arg("."));
    };
    sh(
        "ln -s Dockerfile linked; ln -s ../secret out; ln -s \"$(realpath ../secret)\" root; ln -s .. d; mkfifo fifo",
    );
    for name in ["out", "root", "d/secret", "/d/secret", "../secret"] {
        let said = refused(&platform, &["-f", name], &at("tar"));
        assert!(said.contains("it has to be a file of the build context"), "{name}: {said}");
        assert!(!said.contains("whispered"), "{name}: {said}");
    }
    fs::write(at("long"), format!("FROM scratch\n{}", "# a comment\n".repeat(400_000))).unwrap();
    assert!(refused(&platform, &[], &at("long")).contains("standard input is larger than 4 MiB"));
    let said = refused(&platform, &["-f", "fifo"], &at("tar"));
    assert!(said.contains("it is a FIFO and no regular file"), "{said}");
    fed(&platform, &["build", "-f", "linked", "-"], &fs::read(at("tar")).unwrap());
    sh("mv fifo Dockerfile.dockerignore");
    assert!(refused(&platform, &[], &at("tar")).contains("Dockerfile.dockerignore"));
    let socket = platform.server()["engine_socket"].as_str().unwrap().to_owned();
    let mut docker = Command::new("curl");
    docker.args(["-sS", "--unix-socket", &socket, "-H", "Content-Type: application/x-tar", "--data-binary"]);
    let said = run(docker.arg(format!("@{}", at("tar").display())).arg("http://d/build"));
    assert!(said.contains("Dockerfile.dockerignore") && said.contains("it is a FIFO"), "{said}");
    assert_eq!(fs::read_dir(platform.data_dir().join("images/build-scratch")).unwrap().count(), 0);
    platform.down();
}

/// A figure of /proc/PID/status, in KiB.
fn memory_kib(pid: i32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

#[test]
fn a_step_that_writes_much_to_who_does_not_read_takes_no_memory_for_it() {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let main = context(
        &dir.path().join("main"),
        "FROM busybox\nRUN --mount=type=cache,target=/c yes | head -c 50000000; touch /c/x\n",
    );
    fs::write(format!("/proc/{}/clear_refs", platform.pid()), "5").unwrap();
    let before = memory_kib(platform.pid(), "VmRSS");
    let mut build = platform.hako();
    let mut build = build.args(["build", &main]).stderr(Stdio::piped()).spawn().unwrap();
    let cache = platform.data_dir().join("images/build-mounts");
    let has_written = || {
        let dirs = fs::read_dir(&cache).into_iter().flatten().flatten();
        dirs.into_iter().any(|entry| entry.path().join("data/x").exists())
    };
    wait_until("the step has written all", has_written);
    let said = std::io::read_to_string(build.stderr.take().unwrap()).unwrap();
    assert!(build.wait().unwrap().success());
    let grown = memory_kib(platform.pid(), "VmHWM").saturating_sub(before);
    assert!(said.contains("\n#2 [output clipped, log limit 2MiB reached]\n"), "{} bytes", said.len());
    assert!(grown < 80 << 10, "{before} KiB grew by {grown}");
    platform.down();
}

#[test]
fn a_build_ends_with_who_reads_its_progress() {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let main = context(&dir.path().join("main"), "FROM busybox\nRUN while echo on; do sleep 0.01; done\n");
    let mut build = platform.hako();
    let mut build = build.args(["build", &main]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(build.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with(" on")));
    drop(lines);
    assert_eq!(build.wait().unwrap().code(), Some(141));
    let scratch = platform.data_dir().join("images/build-scratch");
    wait_until("the build has ended", || fs::read_dir(&scratch).unwrap().next().is_none());
    platform.down();
}

#[test]
fn a_build_that_is_killed_leaves_nothing() {
    let mut platform = Platform::with_busybox();
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
