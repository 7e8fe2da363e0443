//! Webhooks on everything that nobody answers for, and whose policy is to fail: they refuse, and who repairs them still can.

use crate::platform::{HAKO, Platform, output, run, wait_until};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

/// All writes of the control plane's own, whatever they are about; not those of whoever asks from outside.
fn dead(kind: &str) -> String {
    let name = kind.to_lowercase();
    format!(
        r#"{{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "{kind}WebhookConfiguration",
        "metadata": {{"name": "dead-{name}"}},
        "webhooks": [{{"name": "{name}.dead.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
          "failurePolicy": "Fail", "timeoutSeconds": 1, "clientConfig": {{"url": "https://127.0.0.1:1/"}},
          "matchConditions": [{{"name": "own", "expression": "request.userInfo.username.startsWith('system:')"}}],
          "rules": [{{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}}]}}]}}"#
    )
}

fn register(platform: &Platform, kind: &str) {
    let mut kubectl = platform.kubectl_command();
    let mut kubectl =
        kubectl.args(["create", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kubectl.stdin.take().unwrap().write_all(dead(kind).as_bytes()).unwrap();
    assert!(kubectl.wait().unwrap().success(), "{kind} is registered");
}

fn field(platform: &Platform, what: &[&str], path: &str) -> String {
    let path = format!("jsonpath={path}");
    platform.kubectl(&[&["get"], what, &["-o", &path]].concat())
}

const READY: &str = "{.items[0].status.conditions[?(@.type==\"Ready\")].status}";

fn renewed(platform: &Platform) -> String {
    field(platform, &["-n", "kube-node-lease", "leases"], "{.items[0].spec.renewTime}")
}

/// How often it wrote these words in its log.
fn logged(platform: &Platform, words: &str) -> usize {
    std::fs::read_to_string(platform.data_dir().join("hako.log")).unwrap_or_default().matches(words).count()
}

fn spoil(platform: &Platform) {
    let node = platform.kubectl(&["get", "nodes", "-o", "name"]);
    let status = r#"{"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}"#;
    platform.kubectl(&["patch", node.trim(), "--subresource=status", "--type=strategic", "-p", status]);
}

const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"},
    "spec": {"containers": [{"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "1000"]}],
    "terminationGracePeriodSeconds": 0}}"#;

fn run_pod(platform: &Platform) {
    platform.run(&["image", "import-busybox"]);
    let pod = platform.data_dir().join("pod.json");
    std::fs::write(&pod, POD).unwrap();
    platform.kubectl(&["create", "-f", pod.to_str().unwrap()]);
    platform.kubectl(&["wait", "--for=condition=Ready", "pod/lone", "--timeout=60s"]);
}

#[test]
fn a_node_that_a_dead_webhook_kept_silent_is_ready_again_once_the_webhook_is_gone() {
    let platform = Platform::start();
    run_pod(&platform);
    let processes = platform.container_processes();
    register(&platform, "Validating");
    wait_until("a lease that is refused", || logged(&platform, "lease not renewed") > 0);
    let before = renewed(&platform);
    spoil(&platform);
    wait_until("a status that is refused", || logged(&platform, "node status not written") > 0);
    assert_eq!(field(&platform, &["nodes"], READY), "Unknown", "it fails as its policy says");
    assert_eq!(renewed(&platform), before, "it fails as its policy says");
    assert_eq!(platform.container_processes(), processes, "pods go on meanwhile");

    platform.kubectl(&["delete", "validatingwebhookconfiguration", "dead-validating"]);
    wait_until("the node to be ready", || field(&platform, &["nodes"], READY) == "True");
    wait_until("its lease to be renewed", || renewed(&platform) != before);
    platform.kubectl(&["create", "serviceaccount", "later"]);
    assert_eq!(platform.container_processes(), processes);
    platform.down();
}

/// What every cluster has, and was deleted while the webhooks were there.
const OWN: [&str; 5] = [
    "namespaces/kube-node-lease",
    "priorityclass/system-node-critical",
    "clusterrole/system:node-proxier",
    "clusterrolebinding/system:node-proxier",
    "service/kubernetes",
];

/// A start in the background that waits; what it says meanwhile is in the file.
fn up(platform: &Platform, says: &Path) -> Child {
    let mut command = platform.hako();
    command.args(["up", "--detach", "--listen", platform.listen()]);
    let says = std::fs::File::create(says).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(says).spawn().unwrap()
}

#[test]
fn a_start_that_dead_webhooks_keep_from_ending_says_which_and_how_to_be_rid_of_them() {
    let platform = Platform::start();
    run_pod(&platform);
    let processes = platform.container_processes();
    for kind in ["Mutating", "Validating"] {
        register(&platform, kind);
    }
    wait_until("a lease that is refused", || logged(&platform, "lease not renewed") > 0);
    for own in &OWN[1..] {
        let _may_be_made_anew = output(platform.kubectl_command().args(["delete", own]));
    }
    spoil(&platform);
    platform.kill();

    let says = platform.data_dir().join("says");
    let mut child = up(&platform, &says);
    for kind in ["mutating", "validating"] {
        let said = || std::fs::read_to_string(&says).unwrap();
        wait_until(&format!("what is said of the {kind} webhook"), || {
            said().lines().any(|line| line.contains(&format!("delete {kind}")))
        });
        let said = said();
        let line = said.lines().find(|line| line.contains(&format!("delete {kind}"))).unwrap();
        assert!(line.starts_with("hako: not ready yet: the webhook"), "{line}");
        assert!(line.contains(&format!("{kind}.dead.example.com")), "{line}");
        // Objects that everything relies on are there, whoever may not be asked about them.
        for own in OWN {
            platform.kubectl(&["get", own]);
        }
        assert_eq!(field(&platform, &["nodes"], READY), "Unknown");
        let command = line.split('`').nth(1).unwrap_or_else(|| panic!("no command: {line}"));
        assert!(command.contains(&format!("{kind}webhookconfiguration dead-{kind}")), "{line}");
        run(std::process::Command::new("sh").args(["-c", command]));
    }
    let status = child.wait().unwrap();
    let mut ready = String::new();
    child.stdout.take().unwrap().read_to_string(&mut ready).unwrap();
    assert!(status.success() && ready.starts_with("ready in "), "{HAKO} {status}: {ready}");
    assert_eq!(field(&platform, &["nodes"], READY), "True");
    assert_eq!(platform.container_processes(), processes, "pods go on");
    let account = ["-n", "default", "serviceaccount", "default"];
    wait_until("an account for pods", || field(&platform, &account, "{.metadata.name}") == "default");
    platform.kubectl(&["delete", "pod", "lone"]);
    platform.down();
}
