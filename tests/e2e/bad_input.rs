//! Bad input: one clear line that names the object and the next step, exit code not 0, nothing half done.

use crate::platform::{HAKO, Platform, output, repository, wait_until};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs `hako` with arguments that must fail; gives the one line it says.
#[track_caller]
fn refusal(platform: &Platform, arguments: &[&str]) -> String {
    fails_with_one_line(platform.hako().args(arguments))
}

#[track_caller]
fn fails_with_one_line(command: &mut Command) -> String {
    let output = output(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{command:?} succeeded: {said}");
    // A fault of a file is followed by the file's line.
    let start = said.rfind("hako: ").unwrap_or_else(|| panic!("no line of ours in {said:?}"));
    said[start..].to_owned()
}

#[track_caller]
fn assert_says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{line:?} does not say {word:?}");
    }
}

#[test]
fn every_kind_of_bad_input_is_named() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    platform.run(&["image", "import-busybox"]);

    let empty = file("empty.tar", "");
    assert_says(&refusal(&platform, &["image", "import", &empty, "x"]), &["empty.tar", "it is empty"]);
    assert_eq!(refusal(&platform, &["stop", "nope"]), "hako: no such container: nope\n");
    assert_eq!(refusal(&platform, &["image", "rm", "nope"]), "hako: No such image: nope\n");

    let yaml = file("broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [x\ndata: {}\n");
    assert_says(&refusal(&platform, &["apply", "-f", &yaml]), &["broken.yaml:", "malformed YAML"]);

    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: first\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicaz: 3\n  selector:\n    matchLabels: {a: b}\n  template:\n    metadata:\n      labels: {a: b}\n    spec:\n      containers:\n      - name: c\n        image: busybox\n";
    let unknown = file("unknown.yaml", text);
    assert_says(
        &refusal(&platform, &["apply", "-f", &unknown]),
        &["unknown.yaml:11", "spec.replicaz", "Deployment \"web\""],
    );
    assert_says(&refusal(&platform, &["get", "configmap/first"]), &["\"first\" not found"]);

    file("syntax/Dockerfile", "FROM busybox\nRUN true\nCOPPY a b\n");
    let dir = scratch.path().join("syntax");
    assert_says(
        &refusal(&platform, &["build", "-t", "x", dir.to_str().unwrap()]),
        &["Dockerfile:3", "COPPY a b"],
    );

    file("base/Dockerfile", "FROM nowhere:v9\nRUN true\n");
    let dir = scratch.path().join("base");
    assert_says(
        &refusal(&platform, &["build", "-t", "x", dir.to_str().unwrap()]),
        &["nowhere:v9", "image import"],
    );

    file("failing/Dockerfile", "FROM busybox\nRUN echo what went wrong && exit 7\n");
    let dir = scratch.path().join("failing");
    assert_says(
        &refusal(&platform, &["build", "-t", "half", dir.to_str().unwrap()]),
        &["Dockerfile:2", "what went wrong", "exit code 7"],
    );
    assert!(!platform.run(&["images"]).contains("half"), "a failed build left an image");

    assert_says(&refusal(&platform, &["run", "not a name"]), &["not a name"]);
    assert_says(&refusal(&platform, &["run", "--rm", "absent:v1"]), &["absent:v1"]);
    assert_says(&refusal(&platform, &["build", "-t", "UPPER", dir.to_str().unwrap()]), &["UPPER"]);
    assert_says(&refusal(&platform, &["get", "gizmos"]), &["gizmos", "known are"]);

    platform.run(&["run", "-d", "--name", "first", "-p", "18080:80", "busybox", "sleep", "1000"]);
    assert_says(
        &refusal(&platform, &["run", "-d", "-p", "18080:80", "busybox", "sleep", "1000"]),
        &["18080"],
    );
    platform.run(&["rm", "--force", "first"]);
    assert_eq!(platform.run(&["ps", "--all", "--quiet"]), "", "a refused container was left");

    let second = fails_with_one_line(platform.hako().args(["up", "--listen", "127.0.0.1:0"]));
    assert_says(&second, &[platform.data_dir().to_str().unwrap(), &platform.pid().to_string()]);
    platform.down();
}

#[test]
fn the_api_port_in_use_is_named() {
    let platform = Platform::start();
    let other = tempfile::tempdir().unwrap();
    let mut command = Command::new(HAKO);
    command.arg("--data-dir").arg(other.path()).args(["up", "--listen", platform.listen()]);
    assert_says(&fails_with_one_line(&mut command), &[platform.listen(), "--listen"]);
    crate::platform::run(Command::new(HAKO).arg("--data-dir").arg(other.path()).args(["down", "--purge"]));
    platform.down();
}

#[test]
fn who_is_not_root_is_told_so() {
    let mut command = Command::new(HAKO);
    command.args(["up", "--data-dir", "/nonexistent/hako"]).uid(65534).gid(65534);
    assert_says(&fails_with_one_line(&mut command), &["root", "sudo"]);
}

#[test]
fn a_pod_that_can_never_fit_is_explained() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("huge.yaml");
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: huge\nspec:\n  containers:\n  - name: c\n    image: busybox\n    resources:\n      requests:\n        cpu: \"4000\"\n";
    std::fs::write(&path, text).unwrap();
    platform.run(&["apply", "-f", path.to_str().unwrap()]);
    wait_until("the scheduler's verdict", || {
        platform.kubectl(&["get", "pod", "huge", "-o", "jsonpath={.status.conditions[0].reason}"])
            == "Unschedulable"
    });
    assert_says(&platform.run(&["why", "pod/huge"]), &["cpu", "4k", "->", "lower requests.cpu"]);
    platform.down();
}

#[test]
fn a_full_disk_is_named_and_harms_nothing_that_runs() {
    let platform = Platform::start();
    platform.run(&["image", "import-busybox"]);
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "1000"]);
    let before = platform.container_processes();
    // A data directory on a small file system of its own, in this test's mount namespace only.
    let small = tempfile::tempdir().unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=12m tmpfs {0} && exec \"$0\" --data-dir {0}/data up --listen 127.0.0.1:0",
        small.path().display()
    );
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", &mount, HAKO])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    use std::io::BufRead;
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready"), "{line:?}");
    let server = format!("/proc/{}/root{}/data/server.json", child.id(), small.path().display());
    let server: serde_json::Value = serde_json::from_slice(&std::fs::read(server).unwrap()).unwrap();
    let host = format!("unix://{}", server["engine_socket"].as_str().unwrap());
    let zeros = small.path().join("never"); // the name only; the image is larger than the disk
    let mut import = Command::new("sh");
    import.args(["-c", &format!("mkdir -p {0}.d && head -c 64000000 /dev/urandom > {0}.d/blob && tar -C {0}.d -c . | \"$0\" --host {host} image import - big:v1; code=$?; rm -rf {0}.d; exit $code", zeros.display()), HAKO]);
    let said = fails_with_one_line(&mut import);
    assert_says(&said, &["no space left"]);
    assert_eq!(platform.container_processes(), before, "a running container suffered");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let data = format!("{}/data", small.path().display());
    crate::platform::run(Command::new("nsenter").args([
        "--mount",
        "--target",
        &child.id().to_string(),
        HAKO,
        "--data-dir",
        &data,
        "down",
    ]));
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    child.wait().unwrap();
    platform.down();
    let _ = repository();
}

#[test]
fn a_data_directory_is_ours_alone_and_kept_behind_a_link() {
    crate::platform::enter_network_namespace();
    let scratch = tempfile::tempdir().unwrap();
    let hako = |data: &str, arguments: &[&str]| {
        let mut command = Command::new(HAKO);
        command.arg("--data-dir").arg(scratch.path().join(data)).args(arguments).current_dir(scratch.path());
        command
    };
    std::fs::create_dir(scratch.path().join("home")).unwrap();
    std::fs::write(scratch.path().join("home/letter"), "dear").unwrap();
    for detach in [&["up", "--listen", "127.0.0.1:0"][..], &["up", "--detach", "--listen", "127.0.0.1:0"]] {
        let said = fails_with_one_line(&mut hako("home", detach));
        assert_says(&said, &["home is not empty", "letter", "--data-dir"]);
        assert_eq!(std::fs::read_dir(scratch.path().join("home")).unwrap().count(), 1);
    }
    for detach in [&["up", "--node-name", "Bad_Name"][..], &["up", "--detach", "--node-name", "Bad_Name"]] {
        let said = fails_with_one_line(&mut hako("new", detach));
        assert_says(&said, &["Bad_Name", "--node-name"]);
        assert!(!scratch.path().join("new").exists(), "a start that failed left its directory");
    }

    std::fs::create_dir(scratch.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", scratch.path().join("link")).unwrap();
    let up = ["up", "--detach", "--listen", "127.0.0.1:0", "--kubeconfig", "config"];
    crate::platform::run(&mut hako("link", &up));
    assert!(scratch.path().join("config").exists(), "the kubeconfig is not where it was asked for");
    crate::platform::run(&mut hako("link", &["down", "--purge"]));
    assert_eq!(std::fs::read_dir(scratch.path().join("real")).unwrap().count(), 0);
    assert!(scratch.path().join("link").is_symlink());
}
