//! Bad input: one clear line that names the object and the next step, exit code not 0, nothing half done.

use crate::images::Registry;
use crate::platform::{Platform, output, run, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `hako` with arguments that must fail; gives the one line it says.
#[track_caller]
fn refusal(platform: &Platform, arguments: &[&str]) -> String {
    fails_with_one_line(platform.hako().args(arguments))
}

/// Runs a command that must fail; gives all that it says.
#[track_caller]
fn failure(command: &mut Command) -> String {
    let output = output(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{command:?} succeeded: {said}");
    said
}

/// Runs a command that must fail and say one line, ours, and nothing else.
#[track_caller]
pub fn fails_with_one_line(command: &mut Command) -> String {
    let said = failure(command);
    assert!(
        said.starts_with("hako: ") && said.ends_with('\n') && said.lines().count() == 1,
        "not one line of ours: {said:?}"
    );
    said
}

#[track_caller]
pub fn assert_says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{line:?} does not say {word:?}");
    }
}

/// Files with bad input.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_fault_in_a_manifest_is_named_with_its_line_and_nothing_of_the_file_is_applied() {
    let platform = Platform::start();
    let files = Files::new();
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [x\ndata: {}\n";
    let broken = files.write("broken.yaml", yaml);
    assert_says(&refusal(&platform, &["apply", "-f", &broken]), &["broken.yaml:5", "malformed YAML"]);

    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: first\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicaz: 3\n  selector:\n    matchLabels: {a: b}\n  template:\n    metadata:\n      labels: {a: b}\n    spec:\n      containers:\n      - name: c\n        image: busybox\n";
    let unknown = files.write("unknown.yaml", yaml);
    assert_says(
        &refusal(&platform, &["apply", "-f", &unknown]),
        &["unknown.yaml:11", "spec.replicaz", "Deployment \"web\""],
    );
    assert_says(&refusal(&platform, &["get", "configmap/first"]), &["\"first\" not found"]);
    assert_says(&refusal(&platform, &["get", "gizmos"]), &["gizmos", "known are"]);
    platform.down();
}

/// A build that must fail: what its steps told, the one line, and the line of the Dockerfile that it quotes.
#[track_caller]
fn failed_build(platform: &Platform, dockerfile: &str) -> [String; 3] {
    let files = Files::new();
    files.write("Dockerfile", dockerfile);
    let mut command = platform.hako();
    let said = failure(command.args(["build", "-t", "half"]).arg(files.0.path()));
    let mut lines: Vec<&str> = said.lines().collect();
    // What a RUN left can be looked at.
    lines.pop_if(|line| line.starts_with("  build with --on-error=shell"));
    let (quoted, line) = (lines.pop().unwrap_or_default(), lines.pop().unwrap_or_default());
    assert!(
        quoted.contains(" | ") && line.starts_with("hako: "),
        "no line of ours and its quotation: {said}"
    );
    assert!(lines.iter().all(|line| line.starts_with('#')), "more than steps and one line: {said}");
    assert!(!platform.run(&["images"]).contains("half"), "a failed build left an image");
    [lines.join("\n"), line.to_owned(), quoted.to_owned()]
}

#[test]
fn a_fault_in_a_dockerfile_is_named_with_the_line_it_is_in_and_leaves_no_image() {
    let platform = Platform::with_busybox();
    let [_, line, quoted] = failed_build(&platform, "FROM busybox\nRUN true\nCOPPY a b\n");
    assert_says(&line, &["Dockerfile:3", "unknown instruction COPPY", "COPY"]);
    assert_eq!(quoted, "  3 | COPPY a b");

    let [_, line, quoted] = failed_build(&platform, "FROM nowhere:v9\nRUN true\n");
    assert_says(&line, &["Dockerfile:1", "nowhere:v9", "image import"]);
    assert_eq!(quoted, "  1 | FROM nowhere:v9");

    let [told, line, quoted] = failed_build(&platform, "FROM busybox\nRUN echo what went wrong && exit 7\n");
    assert!(told.lines().any(|line| line.ends_with(" what went wrong")), "{told}");
    assert_says(&line, &["Dockerfile:2", "exit code 7"]);
    assert_eq!(quoted, "  2 | RUN echo what went wrong && exit 7");
    platform.down();
}

#[test]
fn a_name_or_port_that_is_none_is_named_and_no_container_is_left() {
    let platform = Platform::start();
    let files = Files::new();
    platform.run(&["image", "import-busybox"]);
    assert_says(&refusal(&platform, &["run", "not a name"]), &["not a name"]);
    assert_says(&refusal(&platform, &["run", "--rm", "absent:v1"]), &["absent:v1", "hako build -t"]);
    assert_says(&refusal(&platform, &["build", "-t", "UPPER", "."]), &["UPPER"]);
    assert_eq!(refusal(&platform, &["stop", "nope"]), "hako: No such container: nope\n");
    assert_eq!(refusal(&platform, &["image", "rm", "nope"]), "hako: No such image: nope:latest\n");
    let empty = files.write("empty.tar", "");
    assert_says(&refusal(&platform, &["image", "import", &empty, "x"]), &["empty.tar", "it is empty"]);

    platform.run(&["run", "-d", "--name", "first", "-p", "18080:80", "busybox", "sleep", "1000"]);
    assert_says(
        &refusal(&platform, &["run", "-d", "-p", "18080:80", "busybox", "sleep", "1000"]),
        &["18080"],
    );
    platform.run(&["rm", "--force", "first"]);
    assert_eq!(platform.run(&["ps", "--all", "--quiet"]), "", "a refused container was left");
    platform.down();
}

#[test]
fn bytes_that_are_not_what_their_digest_says_are_refused() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let registry = Registry::start(scratch.path(), false);
    let name = format!("{}/fleet/box:v1", registry.host);
    platform.run(&["image", "import-busybox"]);
    platform.run(&["tag", "busybox", &name]);
    platform.run(&["push", &name]);
    let archive = scratch.path().join("whole.tar");
    platform.run(&["save", "-o", archive.to_str().unwrap(), "busybox"]);
    platform.run(&["rmi", &name, "busybox"]);
    platform.run(&["system", "prune", "-a", "--force"]);

    let blob = damage_the_largest(&scratch.path().join("data"));
    let digest = blob.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let said = failure(platform.hako().args(["pull", &name]));
    let (progress, line) = said.trim_end().rsplit_once('\n').unwrap();
    assert!(line.starts_with("hako: ") && !progress.contains("hako: "), "more than one line of ours: {said}");
    assert_says(line, &["digest mismatch", digest, &registry.host]);

    let unpacked = scratch.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    run(Command::new("tar").arg("-C").arg(&unpacked).arg("-xf").arg(&archive));
    let blob = damage_the_largest(&unpacked);
    let damaged = scratch.path().join("damaged.tar");
    run(Command::new("tar").arg("-C").arg(&unpacked).arg("-cf").arg(&damaged).arg("."));
    assert_says(
        &refusal(&platform, &["load", "-i", damaged.to_str().unwrap()]),
        &["damaged.tar", blob.file_name().unwrap().to_str().unwrap()],
    );
    assert_eq!(platform.run(&["images", "--output", "name"]), "", "half an image was left");
    platform.down();
}

/// Changes one byte of the largest file below a directory.
fn damage_the_largest(directory: &Path) -> PathBuf {
    let list = run(Command::new("find").arg(directory).args(["-type", "f", "-printf", "%s %p\\n"]));
    let size = |line: &&str| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    let (_, path) = list.lines().max_by_key(size).unwrap().split_once(' ').unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    path.into()
}

#[test]
fn a_pod_that_can_never_fit_is_explained() {
    let platform = Platform::start();
    let files = Files::new();
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: huge\nspec:\n  containers:\n  - name: c\n    image: busybox\n    resources:\n      requests:\n        cpu: \"4000\"\n";
    platform.run(&["apply", "-f", &files.write("huge.yaml", text)]);
    wait_until("the scheduler's verdict", || {
        platform.kubectl(&["get", "pod", "huge", "-o", "jsonpath={.status.conditions[0].reason}"])
            == "Unschedulable"
    });
    assert_says(&platform.run(&["why", "pod/huge"]), &["cpu", "4k", "->", "lower requests.cpu"]);
    platform.down();
}
