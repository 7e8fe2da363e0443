//! One-shot runs.

use std::sync::{Arc, Mutex};

use hako_cgroup::CgroupRoot;
use hako_error::Kind;
use hako_oci::runtime::{Hook, HookBuilder, Hooks, Spec};
use hako_runtime::{Network, OutputStream, Rootfs, RunOnce, run_once};

use crate::bed::{busybox_root, set_args, shell, unique};

fn run(root: &std::path::Path, script: &[&str], network: Network) -> hako_error::Result<(i32, String)> {
    let mut spec = shell("");
    set_args(&mut spec, script);
    run_spec(root, spec, network)
}

fn run_spec(root: &std::path::Path, spec: Spec, network: Network) -> hako_error::Result<(i32, String)> {
    let output = Arc::new(Mutex::new(String::new()));
    let sink = output.clone();
    let exit = run_once(RunOnce {
        spec,
        rootfs: Rootfs::Bind(root.to_owned()),
        cgroup: unique("/hako-test-once-"),
        network,
        bundle: root.join("step.bundle"),
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

fn hook(script: &str) -> Vec<Hook> {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    vec![HookBuilder::default().path("/bin/sh").args(args).build().unwrap()]
}

#[test]
fn hooks_of_a_step_run_in_their_order_and_one_that_fails_ends_it() {
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    let said = root.path().join("said");
    let note = |name: &str| hook(&format!("cat >/dev/null; echo {name} >>{}", said.display()));
    let mut spec = shell("echo out; echo program >>/said");
    let mut hooks = Hooks::default();
    hooks.set_prestart(Some(note("prestart"))).set_create_runtime(Some(note("createRuntime")));
    hooks.set_create_container(Some(note("createContainer"))).set_poststop(Some(note("poststop")));
    spec.set_hooks(Some(hooks.clone()));
    let (code, output) = run_spec(root.path(), spec.clone(), Network::None).unwrap();
    assert_eq!(
        (code, output.as_str()),
        (
            0, "out
"
        )
    );
    let order = "prestart
createRuntime
createContainer
program
poststop
";
    assert_eq!(std::fs::read_to_string(&said).unwrap(), order);
    assert!(!root.path().join("step.bundle").exists());

    // The program's output is taken while a hook that follows its start waits for it.
    std::fs::remove_file(&said).unwrap();
    let waits = format!("cat >/dev/null; until [ -e {}/much ]; do sleep 0.01; done", root.path().display());
    let mut much = shell("head -c 1000000 /dev/zero; touch /much");
    let mut hooks = Hooks::default();
    hooks.set_poststart(Some(hook(&waits)));
    much.set_hooks(Some(hooks));
    assert_eq!(run_spec(root.path(), much, Network::None).unwrap().1.len(), 1_000_000);

    for kind in ["createRuntime", "poststart"] {
        let failing = Some(hook("echo because >&2; exit 3"));
        let mut hooks = Hooks::default();
        match kind {
            "poststart" => hooks.set_poststart(failing),
            _ => hooks.set_create_runtime(failing),
        };
        hooks.set_poststop(Some(note("poststop")));
        let mut spec = shell("exec sleep 1000");
        spec.set_hooks(Some(hooks));
        let error = run_spec(root.path(), spec, Network::None).unwrap_err();
        assert!(
            error.kind() == Kind::FailedPrecondition && error.chain().contains("because"),
            "{kind}: {error:?}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(&said).unwrap(),
        "poststop
poststop
"
    );
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
        bundle: root.join("step.bundle"),
        output: Box::new(|_, _| {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }),
    };
    unreachable!("{:?}", run_once(run));
}
