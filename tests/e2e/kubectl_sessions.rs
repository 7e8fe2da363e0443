//! Sessions with pods and ways into them, with every kubectl of this machine: older ones speak SPDY, newer ones
//! WebSockets.

use crate::platform::{Platform, output, run, wait_until};
use crate::programs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// Where packages put kubectls of several versions.
const BESIDE: &str = "/usr/lib/google-cloud-sdk/bin";

/// The kubectl of the path, those beside it, Debian's, and newer ones. Some are fetched: call it before the network is left.
fn kubectls() -> Vec<PathBuf> {
    let others = std::fs::read_dir(BESIDE).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubectl.1."))
    };
    let mut found: Vec<PathBuf> = others.filter(is_one).collect();
    found.sort();
    if found.is_empty() {
        eprintln!("{BESIDE} has no kubectls of other versions: only the default one is driven");
    }
    found.insert(0, PathBuf::from("kubectl"));
    found.push(programs::debian_kubectl());
    found.extend([36, 37].map(|minor| programs::layer(minor).join("kubectl")));
    found
}

fn command(platform: &Platform, kubectl: &Path) -> Command {
    let mut command = Command::new(kubectl);
    command.env("KUBECONFIG", platform.kubeconfig()).env("HOME", platform.data_dir()).args(["-n", "hello"]);
    command
}

/// A program that ends with its test, and what it says: it must not find nobody listening.
struct Running {
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `kubectl port-forward`, and the port it listens on.
fn forward(platform: &Platform, kubectl: &Path, pod: &str, port: &str) -> (Running, String) {
    let mut command = command(platform, kubectl);
    command.args(["port-forward", &format!("pod/{pod}"), &format!(":{port}")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let local = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
    let local = local.unwrap_or_else(|| panic!("{}: {line}", kubectl.display())).to_owned();
    (Running { child, _said: said }, local)
}

fn with_input(mut command: Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn every_kubectl_forwards_ports_and_runs_commands() {
    let kubectls = kubectls();
    let platform = Platform::start();
    platform.deploy_example();
    let name = platform.kubectl(&["-n", "hello", "get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    for kubectl in kubectls {
        let shown = kubectl.display();
        let (forwarding, local) = forward(&platform, &kubectl, &name, "8080");
        for _ in 0..3 {
            let url = format!("http://127.0.0.1:{local}/");
            let answer = run(Command::new("curl").args(["-sf", "--max-time", "10", &url]));
            assert!(answer.starts_with("hello v1"), "{shown}: {answer}");
        }
        drop(forwarding);
        let mut cat = command(&platform, &kubectl);
        cat.args(["exec", "-i", &name, "--", "/bin/busybox", "cat"]);
        assert_eq!(with_input(cat, "to and fro"), "to and fro", "{shown}");
        let mut fails = command(&platform, &kubectl);
        fails.args(["exec", &name, "--", "/bin/busybox", "sh", "-c", "echo out; echo err >&2; exit 5"]);
        // Versions before 1.32 throw away what is there before they have made their streams, and say so.
        let lost = |ended: &Output| String::from_utf8_lossy(&ended.stderr).contains("Unknown stream id");
        let mut tries = (0..10).map(|_| output(&mut fails));
        let failed = tries.find(|ended| !lost(ended)).unwrap();
        assert_eq!(failed.status.code(), Some(5), "{shown}: {failed:?}");
        assert_eq!(String::from_utf8_lossy(&failed.stdout), "out\n", "{shown}");
        assert!(String::from_utf8_lossy(&failed.stderr).starts_with("err\n"), "{shown}: {failed:?}");
        let mut missing = command(&platform, &kubectl);
        let refused = output(missing.args(["exec", &name, "-c", "nosuch", "--", "ls"]));
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(why.contains("container nosuch is not valid for pod"), "{shown}: {why}");
    }
    let (_forwarding, local) = forward(&platform, Path::new("kubectl"), &name, "9");
    let nothing =
        output(Command::new("curl").args(["-s", "--max-time", "10", &format!("http://127.0.0.1:{local}/")]));
    assert!(!nothing.status.success(), "nothing listens there");
    platform.down();
}

#[test]
fn pods_are_proxied_to_looked_into_and_resized() {
    let platform = Platform::start();
    platform.deploy_example();
    let field = |path: &str| {
        let path = format!("jsonpath={{.items[0]{path}}}");
        platform.kubectl(&["-n", "hello", "get", "pods", "-o", &path])
    };
    let name = field(".metadata.name");
    for place in [
        format!("pods/{name}:8080"),
        format!("pods/{name}"),
        "services/hello:http".into(),
        "services/hello".into(),
    ] {
        let path = format!("/api/v1/namespaces/hello/{place}/proxy/");
        let answer = platform.kubectl(&["get", "--raw", &path]);
        assert!(answer.starts_with("hello v1"), "{place}: {answer}");
    }

    platform.kubectl(&[
        "-n",
        "hello",
        "debug",
        &name,
        "--image=hello:v1",
        "-c",
        "look",
        "--attach=false",
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        "echo looked",
    ]);
    wait_until("the added container has run", || {
        field(".status.ephemeralContainerStatuses[0].state.terminated.exitCode") == "0"
    });
    assert_eq!(platform.kubectl(&["-n", "hello", "logs", &name, "-c", "look"]), "looked\n");
    assert_eq!(field(".status.containerStatuses[0].ready"), "true");

    let restarts = field(".status.containerStatuses[0].restartCount");
    let larger =
        r#"{"spec":{"containers":[{"name":"hello","resources":{"limits":{"cpu":"700m","memory":"48Mi"}}}]}}"#;
    platform.kubectl(&["-n", "hello", "patch", "pod", &name, "--subresource=resize", "-p", larger]);
    wait_until("the resize", || field(".status.containerStatuses[0].resources.limits.memory") == "48Mi");
    assert_eq!(field(".status.containerStatuses[0].restartCount"), restarts, "in place");
    let limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max";
    let seen = platform.kubectl(&["-n", "hello", "exec", &name, "--", "/bin/busybox", "sh", "-c", limits]);
    assert_eq!(seen.trim(), (48 << 20).to_string());
    platform.down();
}

#[test]
fn the_newest_kubectl_copies_rolls_out_waits_and_drains() {
    let kubectl = programs::layer(37).join("kubectl");
    let platform = Platform::start();
    platform.deploy_example();
    let says = |line: &str| run(command(&platform, &kubectl).args(line.split(' ')));

    says("run box --image=busybox --restart=Never --command -- sleep 1000");
    says("wait pod/box --for=condition=Ready --timeout=60s");
    let (here, back) = (platform.data_dir().join("here"), platform.data_dir().join("back"));
    std::fs::write(&here, "to and fro").unwrap();
    says(&format!("cp {} box:/tmp/there", here.display()));
    assert_eq!(says("exec box -- cat /tmp/there"), "to and fro");
    says(&format!("cp box:/tmp/there {}", back.display()));
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "to and fro");
    assert!(says("events --for pod/box").contains("Started"));
    says("delete pod box --grace-period=1");
    says("wait pod/box --for=delete --timeout=60s");

    says("set image deployment/hello hello=hello:v2");
    assert!(says("rollout status deployment/hello --timeout=60s").contains("successfully rolled out"));
    let history = says("rollout history deployment/hello");
    assert!(history.lines().count() >= 4, "{history}");
    says("rollout undo deployment/hello --to-revision=1");
    says("rollout status deployment/hello --timeout=60s");
    let image = says("get deployment hello -o jsonpath={.spec.template.spec.containers[0].image}");
    assert_eq!(image, "hello:v1");
    says("rollout restart deployment/hello");
    says("rollout status deployment/hello --timeout=60s");

    let top = output(command(&platform, &kubectl).args(["top", "pods"]));
    assert!(String::from_utf8_lossy(&top.stderr).contains("Metrics API not available"), "{top:?}");
    let node = says("get nodes -o jsonpath={.items[0].metadata.name}");
    says(&format!("drain {node} --force --ignore-daemonsets --grace-period=1 --timeout=60s"));
    let ready = || says("get deployment hello -o jsonpath={.status.readyReplicas}");
    assert_eq!(ready(), "");
    says(&format!("uncordon {node}"));
    wait_until("the pods to come back", || ready() == "3");
    platform.down();
}
