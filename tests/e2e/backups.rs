//! Saving a cluster while it runs, bringing it back elsewhere, and what is left when either is killed.

use crate::bad_input::{assert_says, fails_with_one_line};
use crate::platform::{HAKO, Platform, enter_network_namespace, output, run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const SECRET: &str = "plain-text-that-nobody-finds";
/// The same as objects have it.
const ENCODED: &str = "cGxhaW4tdGV4dC10aGF0LW5vYm9keS1maW5kcw";

/// Makes config maps one after another for as long as it lives; counts those that were acknowledged.
struct Load {
    count: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(platform: &Platform) -> Self {
        let (count, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (done, ends) = (Arc::clone(&count), Arc::clone(&stop));
        let kubeconfig = platform.kubeconfig();
        let thread = std::thread::spawn(move || {
            for n in 0.. {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let mut command = Command::new("kubectl");
                command.arg("--kubeconfig").arg(&kubeconfig);
                command.args(["create", "configmap", &format!("load-{n}")]);
                if !output(&mut command).status.success() {
                    return;
                }
                done.store(n + 1, Ordering::Release);
            }
        });
        Self { count, stop, thread: Some(thread) }
    }

    fn acknowledged(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn is_in(file: &Path, text: &str) -> bool {
    std::fs::read(file).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

fn restore(file: &Path, data_dir: &Path) -> Command {
    let mut command = Command::new(HAKO);
    command.arg("--data-dir").arg(data_dir).arg("restore").arg(file);
    command
}

fn names(platform: &Platform, kind: &str) -> Vec<String> {
    let names = platform.kubectl(&["get", kind, "-o", "jsonpath={.items[*].metadata.name}"]);
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_cluster_comes_back_elsewhere_from_a_backup_made_under_load() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("backup");
    let first = Platform::start();
    first.kubectl(&["create", "secret", "generic", "mine", &format!("--from-literal=key={SECRET}")]);
    let load = Load::start(&first);
    crate::platform::wait_until("some load", || load.acknowledged() >= 3);
    let before = load.acknowledged();
    first.run(&["backup", file.to_str().unwrap()]);
    drop(load);
    let old: Value = serde_json::from_str(&first.kubectl(&["get", "configmaps", "-o", "json"])).unwrap();
    let old_version: u64 = {
        let list = first.kubectl(&["get", "--raw", "/api/v1/configmaps?limit=1"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    let authority = std::fs::read(first.data_dir().join("pki/ca.crt")).unwrap();
    first.down();

    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!is_in(&file, SECRET) && !is_in(&file, ENCODED), "the secret lies readable in the backup");
    let mut second = Platform::prepare(&[]);
    run(&mut restore(&file, &second.data_dir()));
    second.up();
    let key = second.kubectl(&["get", "secret", "mine", "-o", "go-template={{.data.key | base64decode}}"]);
    assert_eq!(key, SECRET);
    assert_eq!(std::fs::read(second.data_dir().join("pki/ca.crt")).unwrap(), authority);
    let found = names(&second, "configmaps");
    for n in 0..before {
        assert!(
            found.contains(&format!("load-{n}")),
            "load-{n} was acknowledged before the backup: {found:?}"
        );
    }
    // Of one moment: no gap in what was made one after another.
    let loaded = found.iter().filter(|name| name.starts_with("load-")).count();
    assert!((0..loaded).all(|n| found.contains(&format!("load-{n}"))), "{found:?}");
    assert!(old["items"].as_array().unwrap().len() >= loaded);
    // Whoever remembers a version of the old cluster, also one from after the backup, lists again.
    let watch = format!("/api/v1/configmaps?watch=1&timeoutSeconds=5&resourceVersion={old_version}");
    let told = output(second.kubectl_command().args(["get", "--raw", &watch]));
    let told = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    assert!(told.contains("410") || told.contains("too old resource version"), "{told}");
    second.down();
}

/// What a damaged or cut file is refused with, and that nothing was begun.
#[test]
fn a_file_that_is_not_whole_is_refused_by_name_and_a_directory_in_use_is_not_touched() {
    let scratch = tempfile::tempdir().unwrap();
    let [whole, bad] = ["whole", "bad"].map(|name| scratch.path().join(name));
    let platform = Platform::start();
    platform.run(&["backup", whole.to_str().unwrap()]);
    let bytes = std::fs::read(&whole).unwrap();
    let new = scratch.path().join("new");
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    let cases: [(&[u8], &str); 5] = [
        (&bytes[..bytes.len() - 1], "cut off"),
        (&bytes[..bytes.len() / 2], "cut off"),
        (&changed, "damaged"),
        (&[&bytes[..], b"x"].concat(), "cut off, or something follows"),
        (b"kind: List", "no backup of hako"),
    ];
    for (content, reason) in cases {
        std::fs::write(&bad, content).unwrap();
        let said = fails_with_one_line(&mut restore(&bad, &new));
        assert_says(&said, &[bad.to_str().unwrap(), reason]);
        assert!(!new.exists(), "a restore that was refused left something: {said}");
    }
    let said = fails_with_one_line(&mut restore(&whole, &platform.data_dir()));
    assert_says(&said, &[platform.data_dir().to_str().unwrap(), "not empty", "--data-dir"]);
    platform.kubectl(&["get", "nodes"]);
    platform.down();
}

#[test]
fn a_backup_that_is_killed_or_cut_leaves_no_file_and_a_killed_restore_begins_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let mut platform = Platform::start();
    fill(&platform, scratch.path());
    for round in 0..4_u64 {
        let file = scratch.path().join(format!("backup-{round}"));
        let mut command = platform.hako();
        command.arg("backup").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let mut backup = command.spawn().unwrap();
        // Where it is killed is chance, and that is meant.
        std::thread::sleep(Duration::from_millis(round * 13 % 60));
        if round % 2 == 0 {
            platform.kill();
            let status = backup.wait().unwrap();
            assert_eq!(status.success(), file.exists(), "round {round}: {status}");
            platform.up();
        } else {
            let _ = backup.kill();
            backup.wait().unwrap();
        }
        if file.exists() {
            run(&mut restore(&file, &scratch.path().join(format!("restored-{round}"))));
        }
    }
    let file = scratch.path().join("whole");
    platform.run(&["backup", file.to_str().unwrap()]);
    platform.down();
    killed_restores(&file, scratch.path());
}

fn killed_restores(file: &Path, scratch: &Path) {
    let mut unfinished = 0;
    for round in 0..8_u64 {
        let data_dir = scratch.join(format!("killed-{round}"));
        let mut restoring =
            restore(file, &data_dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The same here; the file is read twice before anything is written.
        std::thread::sleep(Duration::from_millis(round * 40));
        let _ = restoring.kill();
        restoring.wait().unwrap();
        let is_whole = data_dir.join("instance").exists();
        if !is_whole {
            if data_dir.join("restoring").exists() {
                unfinished += 1;
                let mut up = Command::new(HAKO);
                up.arg("--data-dir").arg(&data_dir).args(["up", "--listen", "127.0.0.1:0"]);
                assert_says(&fails_with_one_line(&mut up), &["restore", "not finished"]);
            }
            run(&mut restore(file, &data_dir));
        }
        assert!(data_dir.join("store/store.redb").exists() && data_dir.join("pki/sealing.keys").exists());
    }
    assert!(unfinished > 0, "no kill met a restore at its work");
}

/// Objects enough to be met at work.
fn fill(platform: &Platform, scratch: &Path) {
    let text = "x".repeat(500_000);
    let items: Vec<Value> = (0..24)
        .map(|n| {
            serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("large-{n}")},
                "data": {"text": text}})
        })
        .collect();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
    let manifest: PathBuf = scratch.join("large.json");
    std::fs::write(&manifest, list.to_string()).unwrap();
    platform.kubectl(&["create", "-f", manifest.to_str().unwrap()]);
}

#[test]
fn the_size_of_the_store_is_told_by_kind_and_keys_are_changed_by_one_command() {
    enter_network_namespace();
    let platform = Platform::start_here("127.0.0.1:0");
    platform.kubectl(&["create", "secret", "generic", "mine", &format!("--from-literal=key={SECRET}")]);
    let report: Value = serde_json::from_str(&platform.run(&["store", "size", "--output", "json"])).unwrap();
    let kinds = report["kinds"].as_array().unwrap();
    assert!(kinds.iter().any(|kind| kind["resource"] == "secrets" && kind["objects"] == 1), "{report}");
    let table = platform.run(&["store", "size"]);
    assert!(
        table.contains("clusterroles.rbac.authorization.k8s.io") && table.contains("(on disk)"),
        "{table}"
    );
    let before = platform.run(&["secrets", "keys", "--output", "name"]);
    platform.run(&["secrets", "rotate-key"]);
    let after = platform.run(&["secrets", "keys", "--output", "name"]);
    assert_eq!((before.lines().count(), after.lines().count()), (1, 1));
    assert_ne!(before, after);
    let key = platform.kubectl(&["get", "secret", "mine", "-o", "go-template={{.data.key | base64decode}}"]);
    assert_eq!(key, SECRET);
    platform.down();
}
