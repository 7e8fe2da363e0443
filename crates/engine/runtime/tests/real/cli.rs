//! The OCI command line, and the same bundle under a peer.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use hako_oci::runtime::{Hook, HookBuilder, Hooks, Spec};

use crate::bed::{set_args, shell};
use crate::bundle::{Bundle, HAKO, create};

#[test]
fn a_container_goes_through_create_start_exec_kill_and_delete() {
    let bundle = Bundle::new(shell("echo started; sleep 1000"));
    create(&bundle, &["create", "--bundle", ".", "--pid-file", "pid", "ID"]);
    assert_eq!(bundle.status(), "created");
    let pid = fs::read_to_string(bundle.path("pid")).unwrap();
    assert!(Path::new("/proc").join(&pid).exists());
    assert_eq!(bundle.ok(&["exec", "ID", "sh", "-c", "echo before the start"]), "before the start\n");
    assert_eq!(bundle.hako(&["exec", "ID", "sh", "-c", "exit 5"]).status.code(), Some(5));
    assert_eq!(bundle.status(), "created");
    assert_eq!(fs::read_to_string(bundle.path("out")).unwrap(), "");
    bundle.ok(&["start", "ID"]);
    assert_eq!(bundle.status(), "running");
    assert_eq!(
        bundle.ok(&["exec", "--env", "A=b", "ID", "sh", "-c", "echo $A; hostname > /dev/null"]),
        "b\n"
    );
    assert_eq!(bundle.hako(&["exec", "ID", "sh", "-c", "exit 6"]).status.code(), Some(6));
    assert!(bundle.ok(&["list"]).contains(&bundle.id));
    assert!(!bundle.hako(&["delete", "ID"]).status.success(), "still running");
    bundle.ok(&["pause", "ID"]);
    bundle.ok(&["resume", "ID"]);
    bundle.ok(&["kill", "ID", "KILL"]);
    bundle.until("stopped");
    let ended = bundle.hako(&["exec", "ID", "true"]);
    assert_eq!(ended.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("it is not running"));
    let late = bundle.hako(&["kill", "ID"]);
    assert!(
        String::from_utf8_lossy(&late.stderr).contains("container not running"),
        "containerd looks for that"
    );
    for (command, more) in [("state", "x"), ("start", "x"), ("delete", "x"), ("pause", "x"), ("events", "x")]
    {
        let output = bundle.hako(&[command, "ID", more]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && text.contains("one argument too many"),
            "{command}: {text}"
        );
    }
    assert!(!bundle.hako(&["kill", "ID", "TERM", "x"]).status.success());
    assert!(
        !bundle.hako(&["list", "x"]).status.success() && !bundle.hako(&["features", "x"]).status.success()
    );
    bundle.ok(&["delete", "ID"]);
    assert_eq!(fs::read_to_string(bundle.path("out")).unwrap(), "started\n");
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn run_waits_and_gives_the_exit_code() {
    let bundle = Bundle::new(shell("echo out; exit 12"));
    let output = bundle.hako(&["run", "ID"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(12), &b"out\n"[..]));
    bundle.check_clean();
}

#[test]
fn what_fails_says_so_in_the_log_and_leaves_nothing() {
    let mut spec = shell("");
    set_args(&mut spec, &["nonesuch"]);
    let bundle = Bundle::new(spec);
    let unknown = bundle.hako(&["--log-format", "yaml", "create", "ID"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("give text or json"));
    let output = bundle.hako(&["--log", "log", "--log-format", "json", "create", "ID"]);
    assert!(!output.status.success());
    let text = fs::read_to_string(bundle.path("log")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        record["msg"].as_str().unwrap().contains("exec: \"nonesuch\": executable file not found in $PATH"),
        "{text}"
    );
    bundle.check_clean();
    assert!(!bundle.hako(&["state", "ID"]).status.success());
}

#[test]
fn a_spec_is_written_and_features_are_json() {
    let bundle = Bundle::new(shell("true"));
    assert!(!bundle.hako(&["spec"]).status.success(), "config.json is there");
    fs::remove_file(bundle.path("config.json")).unwrap();
    bundle.ok(&["spec"]);
    let spec: Spec = serde_json::from_slice(&fs::read(bundle.path("config.json")).unwrap()).unwrap();
    assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
    let features: serde_json::Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

/// What `spec --rootless` of ours and of runc has in common; each may know more paths to hide.
#[test]
fn a_rootless_spec_is_as_runc_writes_it_and_runs() {
    let written = |program: &str| {
        let bundle = Bundle::new(shell("true"));
        fs::remove_file(bundle.path("config.json")).unwrap();
        let status = bundle.command(program, &["spec", "--rootless"]).status().ok()?;
        assert!(status.success(), "{program}");
        Some((
            serde_json::from_slice::<Spec>(&fs::read(bundle.path("config.json")).unwrap()).unwrap(),
            bundle,
        ))
    };
    let essence = |spec: &Spec| {
        let spec = serde_json::to_value(spec).unwrap();
        let linux = &spec["linux"];
        let names = |list: &serde_json::Value, field: &str| {
            let mut names: Vec<String> =
                list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect();
            // runc keeps the namespace of groups where they are of version 2.
            names.retain(|name| name != "cgroup");
            names.sort();
            names
        };
        let sys = spec["mounts"].as_array().unwrap().iter().find(|one| one["destination"] == "/sys");
        let sys = sys.unwrap();
        (
            names(&linux["namespaces"], "type"),
            names(&spec["mounts"], "destination"),
            [linux["uidMappings"].clone(), linux["gidMappings"].clone(), linux["resources"].clone()],
            [sys["type"].clone(), sys["source"].clone(), sys["options"].clone()],
        )
    };
    let (mut spec, bundle) = written(HAKO).unwrap();
    let found = essence(&spec);
    let ids = serde_json::json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    assert_eq!(found.2, [ids.clone(), ids, serde_json::Value::Null]);
    assert_eq!(found.0, ["ipc", "mount", "pid", "user", "uts"]);
    let text = fs::read_to_string(bundle.path("config.json")).unwrap();
    assert!(!text.contains("gid=") && !text.contains("uid="), "{text}");
    if let Some((theirs, _)) = written("runc") {
        assert_eq!(found, essence(&theirs));
    }
    set_args(&mut spec, &["sh", "-c", "awk '{print $1, $2, $3}' /proc/self/uid_map; id -u"]);
    bundle.write_spec(spec);
    assert_eq!(bundle.ok(&["run", "ID"]), "0 0 1\n0\n");
    bundle.check_clean();
}

#[test]
fn each_command_has_help_and_one_that_is_not_there_ends_as_runc_does() {
    let bundle = Bundle::new(shell("true"));
    for command in [
        "create",
        "start",
        "run",
        "exec",
        "state",
        "list",
        "ps",
        "events",
        "update",
        "kill",
        "pause",
        "resume",
        "delete",
        "spec",
        "features",
        "checkpoint",
        "restore",
        "help",
    ] {
        for flag in ["--help", "-h"] {
            let help = bundle.ok(&[command, flag]);
            assert!(help.starts_with("usage: hako runtime"), "{command}: {help}");
        }
    }
    for args in [&["nonesuch"][..], &["nonesuch", "--help"], &["help", "nonesuch"]] {
        let output = bundle.hako(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {errors}");
        assert!(errors.contains("unknown command \"nonesuch\""), "{errors}");
        if let Ok(theirs) = bundle.command("runc", args).output() {
            assert_eq!(theirs.status.code(), Some(3), "{args:?}");
        }
    }
}

#[test]
fn hooks_run_with_the_state_on_their_input() {
    let mut spec = shell("true");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("hook").display().to_string();
    let hook = hako_oci::runtime::HookBuilder::default()
        .path("/bin/sh")
        .args(vec!["sh".to_owned(), "-c".to_owned(), format!("cat > {out}")])
        .build()
        .unwrap();
    let mut hooks = hako_oci::runtime::Hooks::default();
    hooks.set_create_runtime(Some(vec![hook]));
    spec.set_hooks(Some(hooks));
    let bundle = Bundle::new(spec);
    assert_eq!(bundle.hako(&["run", "ID"]).status.code(), Some(0));
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.path().join("hook")).unwrap()).unwrap();
    assert_eq!(
        (state["id"].as_str(), state["status"].as_str()),
        (Some(bundle.id.as_str()), Some("creating"))
    );
}

/// Where the peer and we differ on the same bundle, one of us is wrong.
#[test]
fn a_peer_shows_the_same_container() {
    let script = "cat /proc/self/status | grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Umask)'; ls /dev; cat /proc/keys | wc -c; \
                  ulimit -n; echo $HOME $PATH $PWD; hostname; id; ls / ; touch /sys/x; echo $?; mount -t tmpfs x /tmp; echo $?; \
                  ls /proc/self/fd | wc -l";
    let mut spec = shell(script);
    spec.set_hostname(Some("peer".to_owned()));
    // Without limits and groups: this crun does not run where both versions of cgroups are mounted.
    spec.mounts_mut().as_mut().unwrap().retain(|mount| mount.typ().as_deref() != Some("cgroup"));
    spec.linux_mut().as_mut().unwrap().set_resources(None);
    let bundle = Bundle::new(spec);
    let run = |program: &str, flags: &[&str]| {
        let args = [flags, &["run", "ID"]].concat();
        let output = bundle.command(program, &args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8(output.stdout).unwrap(), errors)
    };
    let (ours, _) = run("/proc/self/exe", &[]);
    let (theirs, errors) = run("crun", &["--cgroup-manager=disabled"]);
    if errors.contains("hybrid mode not supported") {
        return compare_with_runc(&bundle, &ours);
    }
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs);
}

fn compare_with_runc(bundle: &Bundle, ours: &str) {
    let output = bundle.command("runc", &["run", "ID"]).output().unwrap();
    assert_eq!(
        ours,
        String::from_utf8(output.stdout).unwrap(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn hook(script: &str) -> Hook {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    HookBuilder::default().path("/bin/sh").args(args).build().unwrap()
}

fn with_hooks(script: &str, change: impl FnOnce(&mut Hooks)) -> Spec {
    let (mut spec, mut hooks) = (shell(script), Hooks::default());
    change(&mut hooks);
    spec.set_hooks(Some(hooks));
    spec
}

#[test]
fn what_goes_wrong_before_an_exec_ends_with_255() {
    let bundle = Bundle::new(shell("sleep 1000"));
    assert_eq!(bundle.hako(&["exec", "ID", "true"]).status.code(), Some(255));
    create(&bundle, &["create", "ID"]);
    bundle.ok(&["start", "ID"]);
    assert_eq!(bundle.hako(&["exec", "ID", "nonesuch"]).status.code(), Some(255));
    assert_eq!(bundle.hako(&["exec", "--cwd", "/nonesuch", "ID", "true"]).status.code(), Some(255));
    assert!(!bundle.path("rootfs/nonesuch").exists());
    assert_eq!(bundle.hako(&["exec", "--bundle", "x", "ID", "true"]).status.code(), Some(1), "a usage error");
    assert_eq!(bundle.hako(&["kill", "ID", "NONESUCH"]).status.code(), Some(1));
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn a_container_without_a_group_of_its_spec_leaves_no_group_behind() {
    let bundle = Bundle::new(shell("sleep 1000"));
    let mut spec: Spec = serde_json::from_slice(&fs::read(bundle.path("config.json")).unwrap()).unwrap();
    spec.linux_mut().as_mut().unwrap().set_cgroups_path(None);
    fs::write(bundle.path("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
    create(&bundle, &["create", "--pid-file", "pid", "ID"]);
    let root = hako_cgroup::CgroupRoot::detect().unwrap();
    let group = format!("/hako-runtime-{}", bundle.id);
    // Right below the top: nothing above it is left when it goes.
    assert!(root.open(&group).is_ok());
    bundle.ok(&["delete", "--force", "ID"]);
    assert!(root.open(&group).is_err());
    bundle.check_clean();
}

#[test]
fn an_exec_of_which_the_caller_cannot_be_told_is_ended() {
    let bundle = Bundle::new(shell("sleep 1000"));
    create(&bundle, &["create", "ID"]);
    bundle.ok(&["start", "ID"]);
    for place in ["--pid-file", "--pidfd-socket"] {
        let output = bundle.hako(&["exec", "--detach", place, "/nonexist/x", "ID", "sleep", "555"]);
        assert_eq!(output.status.code(), Some(255), "{place}");
        let pids: Vec<u32> = serde_json::from_str(&bundle.ok(&["ps", "--format", "json", "ID"])).unwrap();
        assert_eq!(pids.len(), 1, "{place}");
    }
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn a_paused_container_says_so_and_takes_no_exec_unless_told() {
    let bundle = Bundle::new(shell("sleep 1000"));
    create(&bundle, &["create", "ID"]);
    assert!(!bundle.hako(&["resume", "ID"]).status.success(), "it is not paused");
    bundle.ok(&["start", "ID"]);
    bundle.ok(&["pause", "ID"]);
    assert_eq!(bundle.status(), "paused");
    assert!(bundle.ok(&["list"]).contains("paused"));
    let refused = bundle.hako(&["exec", "ID", "true"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is paused"));
    bundle.ok(&["kill", "ID", "KILL"]);
    bundle.until("stopped");
    bundle.ok(&["delete", "ID"]);
    bundle.check_clean();
}

#[test]
fn processes_counters_and_limits_are_shown_and_changed() {
    let bundle = Bundle::new(shell("sleep 1000"));
    create(&bundle, &["create", "ID"]);
    bundle.ok(&["start", "ID"]);
    let pids: Vec<u32> = serde_json::from_str(&bundle.ok(&["ps", "--format", "json", "ID"])).unwrap();
    assert_eq!(pids.len(), 1);
    let table = bundle.ok(&["ps", "ID", "-o", "pid,comm"]);
    assert_eq!(table.lines().count(), 2, "{table}");
    bundle.ok(&["update", "--memory", "64M", "--pids-limit", "77", "--cpu-share", "512", "ID"]);
    let events: serde_json::Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "ID"])).unwrap();
    assert_eq!((events["type"].as_str(), events["id"].as_str()), (Some("stats"), Some(bundle.id.as_str())));
    let data = &events["data"];
    assert_eq!(
        (data["memory"]["usage"]["limit"].as_u64(), data["pids"]["limit"].as_u64()),
        (Some(64 << 20), Some(77))
    );
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
    let mut child = bundle.command(HAKO, &["update", "-r", "-", "ID"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(br#"{"memory":{"limit":134217728},"pids":{"limit":78}}"#).unwrap();
    assert!(child.wait().unwrap().success());
    let events: serde_json::Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "ID"])).unwrap();
    assert_eq!(events["data"]["memory"]["usage"]["limit"].as_u64(), Some(128 << 20));
    assert!(!bundle.hako(&["update", "ID"]).status.success(), "no limit is given");
    assert!(!bundle.hako(&["update", "--l3-cache-schema", "x", "ID"]).status.success());
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn events_come_until_the_container_ends() {
    let bundle = Bundle::new(shell("sleep 1000"));
    create(&bundle, &["create", "ID"]);
    bundle.ok(&["start", "ID"]);
    let mut events = bundle.command(HAKO, &["events", "--interval", "10ms", "ID"]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(events.stdout.take().unwrap()));
    for _ in 0..3 {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["type"], "stats");
    }
    bundle.ok(&["kill", "ID", "KILL"]);
    assert!(lines.all(|line| line.is_ok()));
    assert!(events.wait().unwrap().success());
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let bundle = Bundle::new(shell("true"));
    for (args, text) in [
        (&["checkpoint", "--image-path", "x", "ID"][..], "checkpoint"),
        (&["restore", "ID"], "restore"),
        (&["run", "--nonesuch", "ID"], "--nonesuch"),
        (&["create", "ID", "extra"], "extra"),
        (&["--rootless", "true", "run", "ID"], "rootless"),
    ] {
        let output = bundle.hako(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(text), "{args:?}");
    }
    let mut spec = shell("true");
    spec.process_mut().as_mut().unwrap().set_selinux_label(Some("a:b:c".to_owned()));
    let output = Bundle::new(spec).hako(&["run", "ID"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("process.selinuxLabel"));
}

#[test]
fn signals_of_a_run_in_the_foreground_go_to_the_program() {
    let bundle = Bundle::new(shell("trap 'echo got; exit 4' USR1; echo ready; while :; do sleep 0.02; done"));
    let mut run = bundle.command(HAKO, &["run", "ID"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(run.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got");
    assert_eq!(run.wait().unwrap().code(), Some(4));
    bundle.check_clean();
}

#[test]
fn a_run_in_the_foreground_copies_its_terminal() {
    let mut spec = shell("tty; read line; echo \"<$line>\"; stty size");
    spec.process_mut().as_mut().unwrap().set_terminal(Some(true));
    let bundle = Bundle::new(spec);
    assert!(!bundle.hako(&["create", "ID"]).status.success(), "nobody takes the terminal");
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size).unwrap();
    let mut command = bundle.command(HAKO, &["run", "ID"]);
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
    let mut run = command.spawn().unwrap();
    drop(command);
    let mut file = fs::File::from(master);
    file.write_all(b"typed\r").unwrap();
    let (mut text, mut data) = (String::new(), [0; 4096]);
    // The end of the other side is an error of the terminal.
    while let Ok(count @ 1..) = file.read(&mut data) {
        text.push_str(&String::from_utf8_lossy(&data[..count]));
    }
    assert_eq!(run.wait().unwrap().code(), Some(0), "{text}");
    for wanted in ["/dev/pts/0", "<typed>", "33 99"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    bundle.check_clean();
}

/// CVE-2019-5736: a container that was made by the command line reaches its executable by the init, which has not become its
/// program yet, and cannot write it.
#[test]
fn cve_2019_5736_the_command_line_cannot_be_overwritten_from_inside() {
    let bundle = Bundle::new(shell("true"));
    let copy = bundle.path("hako");
    fs::copy("/proc/self/exe", &copy).unwrap();
    let create = bundle.command(copy.to_str().unwrap(), &[]);
    let mut command = std::process::Command::new(&copy);
    command.arg("runtime").args(create.get_args()).args(["create", &bundle.id]);
    let out = fs::File::create(bundle.path("out")).unwrap();
    let status =
        command.current_dir(bundle.directory.path()).stdin(Stdio::null()).stdout(out.try_clone().unwrap());
    assert!(
        status.stderr(out).status().unwrap().success(),
        "{}",
        fs::read_to_string(bundle.path("out")).unwrap()
    );
    let state: serde_json::Value = serde_json::from_str(&bundle.ok(&["state", "ID"])).unwrap();
    let link = rustix::fs::open(
        format!("/proc/{}/exe", state["pid"]),
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let link = link.unwrap();
    // While it runs it is busy in any case; what counts is a link kept until it does not.
    bundle.ok(&["delete", "--force", "ID"]);
    let path = format!("/proc/self/fd/{}", link.as_raw_fd());
    let refused = fs::OpenOptions::new().write(true).open(path).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

/// Gives a command a directory of the host as descriptor 3, as a caller does that leaks one.
fn leak(command: &mut std::process::Command) {
    let directory = fs::File::open("/").unwrap();
    let leaked = rustix::io::fcntl_dupfd_cloexec(&directory, 100).unwrap();
    // SAFETY: dup2 is async-signal-safe.
    #[expect(unsafe_code, reason = "only a child can be given a descriptor by number")]
    unsafe {
        command.pre_exec(move || match libc::dup2(leaked.as_raw_fd(), 3) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

/// CVE-2024-21626: a directory of the host that the caller has open is no way out of the container: it does not get there unless it is
/// asked for, and is no working directory even then.
#[test]
fn cve_2024_21626_a_directory_that_the_caller_has_open_is_no_way_out() {
    let run = |spec, args: &[&str]| {
        let bundle = Bundle::new(spec);
        let mut command = bundle.command(HAKO, &[&["run"], args, &["ID"]].concat());
        leak(&mut command);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    // The fourth is the one ls reads the directory with.
    assert_eq!(run(shell("ls /proc/self/fd"), &[]).1, "0\n1\n2\n3\n");
    assert_eq!(run(shell("ls /proc/self/fd"), &["--preserve-fds", "1"]).1, "0\n1\n2\n3\n4\n");
    for args in [&[][..], &["--preserve-fds", "1"]] {
        for number in 3..12 {
            let mut spec = shell("ls .");
            let cwd = format!("/proc/self/fd/{number}");
            spec.process_mut().as_mut().unwrap().set_cwd(cwd.into());
            let (is_run, said, errors) = run(spec, args);
            assert!(!is_run && said.is_empty(), "{number}: {said}");
            let is_kept = number == 3 && !args.is_empty();
            assert!(!is_kept || errors.contains("outside of the container"), "{errors}");
        }
    }
}

#[test]
fn descriptors_groups_and_capabilities_are_handed_on_when_asked_for() {
    let bundle = Bundle::new(shell("cat <&3; sleep 1000"));
    fs::write(bundle.path("text"), "through").unwrap();
    let file = fs::File::open(bundle.path("text")).unwrap();
    let number = file.as_raw_fd();
    let mut command = bundle.command(HAKO, &["run", "--detach", "--preserve-fds", "1", "ID"]);
    let out = fs::File::create(bundle.path("out")).unwrap();
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let fd = rustix::io::fcntl_dupfd_cloexec(file.as_fd(), 100).unwrap();
    assert!(number < fd.as_raw_fd());
    let source = fd.as_raw_fd();
    // SAFETY: dup2 is async-signal-safe.
    #[expect(unsafe_code, reason = "only a child can be given a descriptor by number")]
    unsafe {
        command.pre_exec(move || match libc::dup2(source, 3) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    assert!(command.status().unwrap().success(), "{}", fs::read_to_string(bundle.path("out")).unwrap());
    let began = std::time::Instant::now();
    while fs::read_to_string(bundle.path("out")).unwrap() != "through" {
        assert!(began.elapsed() < crate::bed::DEADLINE);
    }
    let script = "id -G; grep CapEff /proc/self/status";
    let said = bundle.ok(&["exec", "-g", "77", "--cap", "CAP_SYS_ADMIN", "ID", "sh", "-c", script]);
    let without = bundle.ok(&["exec", "ID", "sh", "-c", script]);
    assert!(said.starts_with("0 77\n"), "{said}");
    assert_ne!(said.lines().nth(1), without.lines().nth(1));
    let warned = bundle.hako(&["exec", "--cap", "CAP_NONESUCH", "ID", "true"]);
    let text = String::from_utf8_lossy(&warned.stderr);
    assert!(warned.status.success() && text.contains("no capability: CAP_NONESUCH"), "{text}");
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn hooks_run_in_their_order_and_places() {
    let directory = tempfile::tempdir().unwrap();
    let order = directory.path().join("order").display().to_string();
    let note = |name: &str| vec![hook(&format!("cat > /dev/null; echo {name} >> {order}"))];
    let spec = with_hooks("echo program >> /order", |hooks| {
        hooks.set_prestart(Some(note("prestart")));
        hooks.set_create_runtime(Some(note("createRuntime")));
        hooks.set_create_container(Some(note("createContainer")));
        hooks.set_poststart(Some(note("poststart")));
        hooks.set_poststop(Some(note("poststop")));
        // In the container's own root, told its own pid there.
        hooks.set_start_container(Some(vec![hook("cat > /state; echo startContainer >> /order")]));
    });
    let bundle = Bundle::new(spec);
    let output = bundle.hako(&["run", "ID"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&order).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    assert_eq!(fs::read_to_string(bundle.path("rootfs/order")).unwrap(), "startContainer\nprogram\n");
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(bundle.path("rootfs/state")).unwrap()).unwrap();
    assert_eq!((state["pid"].as_u64(), state["status"].as_str()), (Some(1), Some("created")));
    assert_eq!(state["id"].as_str(), Some(bundle.id.as_str()));
    bundle.check_clean();
}

#[test]
fn a_hook_that_fails_or_takes_too_long_ends_the_container() {
    let failing = vec![hook("echo because >&2; exit 3")];
    let mut slow = hook("exec sleep 1000");
    slow.set_timeout(Some(1));
    for (name, change) in [
        (
            "prestart",
            &(|hooks: &mut Hooks| {
                hooks.set_prestart(Some(failing.clone()));
            }) as &dyn Fn(&mut Hooks),
        ),
        ("createContainer", &|hooks| {
            hooks.set_create_container(Some(failing.clone()));
        }),
        ("startContainer", &|hooks| {
            hooks.set_start_container(Some(failing.clone()));
        }),
        ("poststart", &|hooks| {
            hooks.set_poststart(Some(failing.clone()));
        }),
        ("slow", &|hooks| {
            hooks.set_create_runtime(Some(vec![slow.clone()]));
        }),
    ] {
        let bundle = Bundle::new(with_hooks("sleep 1000", change));
        let output = bundle.hako(&["run", "ID"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let wanted = if name == "slow" { "hook ran past specified timeout of 1.0s" } else { "because" };
        assert!(errors.contains(wanted), "{name}: {errors}");
        bundle.ok(&["delete", "--force", "ID"]);
        bundle.check_clean();
    }
    let bundle = Bundle::new(with_hooks("true", |hooks| {
        hooks.set_poststop(Some(failing.clone()));
    }));
    let output = bundle.hako(&["run", "ID"]);
    assert_eq!(output.status.code(), Some(0), "what is gone is gone");
    assert!(String::from_utf8_lossy(&output.stderr).contains("because"));
    bundle.check_clean();
}

/// The hook kills the command that runs it: what is left is a directory, a group and an init.
fn killed_create() -> Bundle {
    let spec = with_hooks("true", |hooks| {
        hooks.set_prestart(Some(vec![hook("kill -9 $PPID")]));
    });
    let bundle = Bundle::new(spec);
    let status = bundle.command(HAKO, &["create", "ID"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status.unwrap()), Some(9));
    assert!(bundle.path("state").join(&bundle.id).is_dir());
    bundle
}

#[test]
fn what_a_killed_create_left_goes_with_a_forced_delete() {
    let bundle = killed_create();
    assert!(!bundle.hako(&["state", "ID"]).status.success());
    assert!(!bundle.hako(&["delete", "ID"]).status.success());
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn what_a_killed_create_left_is_in_nobodys_way() {
    let bundle = killed_create();
    bundle.write_spec(shell("echo again"));
    assert_eq!(bundle.ok(&["run", "ID"]), "again\n");
    bundle.check_clean();
}
