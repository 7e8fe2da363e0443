//! One-shot runs.

use std::sync::{Arc, Mutex};

use hako_cgroup::CgroupRoot;
use hako_error::Kind;
use hako_runtime::{Network, OutputStream, Rootfs, RunOnce, run_once};

use crate::bed::{busybox_root, set_args, shell, unique};

fn run(root: &std::path::Path, script: &[&str], network: Network) -> hako_error::Result<(i32, String)> {
    let mut spec = shell("");
    set_args(&mut spec, script);
    let output = Arc::new(Mutex::new(String::new()));
    let sink = output.clone();
    let exit = run_once(RunOnce {
        spec,
        rootfs: Rootfs::Bind(root.to_owned()),
        cgroup: unique("/hako-test-once-"),
        network,
        bundle: root.join("bundle"),
        output: Box::new(move |stream, data| {
            let mark = if stream == OutputStream::Stderr { "!" } else { "" };
            sink.lock().unwrap().push_str(&format!("{mark}{}", String::from_utf8_lossy(data)));
        }),
    })?;
    let text = output.lock().unwrap().clone();
    Ok((exit.code, text))
}

#[test]
fn a_step_runs_to_its_end_with_its_output() {
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    let (code, output) = run(
        root.path(),
        &["sh", "-c", "echo out; sleep 0.05; echo err >&2; echo made > /made; exit 9"],
        Network::None,
    )
    .unwrap();
    assert_eq!((code, output.as_str()), (9, "out\n!err\n"));
    assert_eq!(std::fs::read_to_string(root.path().join("made")).unwrap(), "made\n");
    let script = ["readlink", "/proc/self/ns/net"];
    let host = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(run(root.path(), &script, Network::Host).unwrap().1.trim(), host);
    assert_ne!(run(root.path(), &script, Network::None).unwrap().1.trim(), host);
    assert_eq!(run(root.path(), &["nonesuch"], Network::None).unwrap_err().kind(), Kind::NotFound);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&root.path().display().to_string()));
}

/// The caller of this test is another process, killed with SIGKILL while its step runs.
#[test]
fn a_step_dies_with_its_caller() {
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    let status = std::process::Command::new("/proc/self/exe")
        .args(["--exact", "once::the_caller_that_is_killed", "--ignored", "--nocapture"])
        .env("ROOT", root.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let group = CgroupRoot::detect().unwrap().open(&format!("/{}", name_of(root.path()))).unwrap();
    let deadline = std::time::Instant::now() + crate::bed::DEADLINE;
    while !group.processes().unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "the step goes on");
        std::thread::yield_now();
    }
    group.delete().unwrap();
}

fn name_of(root: &std::path::Path) -> String {
    format!("hako-test-killed{}", root.file_name().unwrap().display())
}

#[test]
#[ignore = "is run by the test above, in a process of its own"]
fn the_caller_that_is_killed() {
    let Some(root) = std::env::var_os("ROOT").map(std::path::PathBuf::from) else { return };
    let run = RunOnce {
        spec: shell("echo running; sleep 1000"),
        rootfs: Rootfs::Bind(root.clone()),
        cgroup: format!("/{}", name_of(&root)),
        network: Network::None,
        bundle: root.join("bundle"),
        output: Box::new(|_, _| {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }),
    };
    unreachable!("{:?}", run_once(run));
}
