//! What the OCI's validation asks of a runtime, each case run by us and by runc: where both fail, the case is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};

use hako_cgroup::CgroupRoot;
use hako_oci::runtime::{
    Hook, HookBuilder, Hooks, LinuxDevice, LinuxNamespaceType, LinuxResources, PosixRlimitBuilder,
    PosixRlimitType, Spec, User,
};
use serde_json::json;

use crate::bed::{set_args, shell};
use crate::bundle::{Bundle, HAKO};

/// Our command line, and runc where it is installed.
fn runtimes() -> Vec<&'static str> {
    let has_runc = Command::new("runc").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_runc {
        eprintln!("runc is not installed: its half of the cases is skipped");
    }
    std::iter::once(HAKO).chain(has_runc.then_some("runc")).collect()
}

fn run(bundle: &Bundle, runtime: &str) -> Output {
    bundle.command(runtime, &["run", "ID"]).stdin(Stdio::null()).output().unwrap()
}

/// Runs a script under each runtime; its output must be this.
fn says(script: &str, change: impl Fn(&mut Spec), wanted: &str) {
    for runtime in runtimes() {
        let mut spec = shell(script);
        change(&mut spec);
        let bundle = Bundle::new(spec);
        let output = run(&bundle, runtime);
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(text, wanted, "{runtime}: {errors}");
    }
}

/// We may not run this, whatever others do.
fn we_refuse(change: impl FnOnce(&mut Spec)) {
    let mut spec = shell("true");
    change(&mut spec);
    let output = run(&Bundle::new(spec), HAKO);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("inside /proc"));
}

/// No runtime may run this.
fn is_refused(change: impl Fn(&mut Spec)) {
    for runtime in runtimes() {
        let mut spec = shell("true");
        change(&mut spec);
        let bundle = Bundle::new(spec);
        assert!(!run(&bundle, runtime).status.success(), "{runtime}");
    }
}

fn process_of(spec: &mut Spec) -> &mut hako_oci::runtime::Process {
    spec.process_mut().as_mut().unwrap()
}

fn linux(spec: &mut Spec) -> &mut hako_oci::runtime::Linux {
    spec.linux_mut().as_mut().unwrap()
}

fn mount(spec: &mut Spec, value: serde_json::Value) {
    spec.mounts_mut().as_mut().unwrap().push(serde_json::from_value(value).unwrap());
}

#[test]
fn process() {
    says(
        "pwd; echo $A",
        |spec| {
            process_of(spec).set_cwd("/tmp".into());
            let env = ["PATH=/bin", "A=b c"].map(str::to_owned).to_vec();
            process_of(spec).set_env(Some(env));
        },
        "/tmp\nb c\n",
    );
}

#[test]
fn process_user() {
    says(
        "id -u; id -g; grep Groups /proc/self/status; umask",
        |spec| {
            let user: User =
                serde_json::from_value(json!({"uid": 10, "gid": 11, "umask": 63, "additionalGids": [5, 6]}))
                    .unwrap();
            process_of(spec).set_user(user);
        },
        "10\n11\nGroups:\t5 6 \n0077\n",
    );
}

#[test]
fn process_rlimits() {
    let limit = |soft: u64, hard: u64| {
        let limit = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNofile).soft(soft).hard(hard);
        Some(vec![limit.build().unwrap()])
    };
    says(
        "ulimit -Sn; ulimit -Hn",
        |spec| {
            process_of(spec).set_rlimits(limit(100, 200));
        },
        "100\n200\n",
    );
    is_refused(|spec| {
        process_of(spec).set_rlimits(limit(200, 100));
    });
}

#[test]
fn process_capabilities() {
    let caps = |spec: &mut Spec| {
        let set = json!(["CAP_CHOWN", "CAP_KILL"]);
        let sets = json!({"bounding": set, "effective": set, "permitted": set});
        process_of(spec).set_capabilities(Some(serde_json::from_value(sets).unwrap()));
    };
    let script = "grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status";
    let line = |name: &str, bits: &str| format!("Cap{name}:\t{bits}\n");
    let (set, none) = ("0000000000000021", "0000000000000000");
    let wanted = [line("Prm", set), line("Eff", set), line("Bnd", set), line("Amb", none)].concat();
    says(script, caps, &wanted);
}

#[test]
fn process_capabilities_that_are_none_are_ignored_and_told() {
    for runtime in runtimes() {
        let bundle = Bundle::new(shell("grep CapBnd /proc/self/status"));
        let path = bundle.path("config.json");
        let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let set = json!(["CAP_CHOWN", "CAP_NONESUCH", "CAP_KILL"]);
        spec["process"]["capabilities"] = json!({"bounding": set, "effective": set, "permitted": set});
        fs::write(&path, spec.to_string()).unwrap();
        let output = run(&bundle, runtime);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "CapBnd:\t0000000000000021\n", "{runtime}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors.matches("CAP_NONESUCH").count(), 1, "{runtime}: {errors}");
        spec["process"]["cwd"] = json!(7);
        fs::write(&path, spec.to_string()).unwrap();
        assert!(!run(&bundle, runtime).status.success(), "{runtime}");
    }
}

#[test]
fn process_oom_score_adj() {
    says(
        "cat /proc/self/oom_score_adj",
        |spec| {
            process_of(spec).set_oom_score_adj(Some(500));
        },
        "500\n",
    );
}

#[test]
fn hostname() {
    says(
        "hostname",
        |spec| {
            spec.set_hostname(Some("validation".to_owned()));
        },
        "validation\n",
    );
}

#[test]
fn root_readonly_true() {
    let read_only = |spec: &mut Spec| {
        spec.root_mut().as_mut().unwrap().set_readonly(Some(true));
    };
    says("touch /x 2>/dev/null || echo refused", read_only, "refused\n");
}

#[test]
fn mounts() {
    says(
        "grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6; stat -c %a /data",
        |spec| {
            let options = json!(["nosuid", "noexec", "nodev", "mode=1750", "size=64k"]);
            mount(
                spec,
                json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options}),
            );
        },
        "rw,nosuid,nodev,noexec,relatime\n1750\n",
    );
}

/// A bind that is read-only to its end.
#[test]
fn mounts_recursive() {
    for runtime in runtimes() {
        let source = tempfile::tempdir().unwrap();
        let inner = source.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let name = std::ffi::CString::new(inner.display().to_string()).unwrap();
        rustix::mount::mount("none", &name, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        let mut spec = shell("touch /data/x /data/inner/x 2>/dev/null; ls /data /data/inner");
        let options = json!(["rbind", "rro"]);
        mount(
            &mut spec,
            json!({"destination": "/data", "type": "bind", "source": source.path(), "options": options}),
        );
        let output = run(&Bundle::new(spec), runtime);
        rustix::mount::unmount(&name, rustix::mount::UnmountFlags::DETACH).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "/data:\ninner\n\n/data/inner:\n",
            "{runtime}: {errors}"
        );
    }
}

#[test]
fn linux_devices() {
    says(
        "stat -c '%F %a %u %g %t:%T' /dev/extra; head -c 1 /dev/zero | wc -c",
        |spec| {
            let device: LinuxDevice = serde_json::from_value(
                json!({"path": "/dev/extra", "type": "c", "major": 10, "minor": 229, "fileMode": 432, "uid": 3, "gid": 4}),
            )
            .unwrap();
            linux(spec).set_devices(Some(vec![device]));
        },
        "character special file 660 3 4 a:e5\n1\n",
    );
}

#[test]
fn linux_masked_and_read_only_paths() {
    let change = |spec: &mut Spec| {
        linux(spec).set_masked_paths(Some(vec![
            "/hidden".to_owned(),
            "/file".to_owned(),
            "/missing".to_owned(),
        ]));
        linux(spec).set_readonly_paths(Some(vec!["/fixed".to_owned()]));
    };
    for runtime in runtimes() {
        let mut spec =
            shell("ls /hidden; cat /file; cat /fixed/x; touch /fixed/y 2>/dev/null || echo refused");
        change(&mut spec);
        let bundle = Bundle::new(spec);
        for directory in ["hidden", "fixed"] {
            fs::create_dir(bundle.path("rootfs").join(directory)).unwrap();
            fs::write(bundle.path("rootfs").join(directory).join("x"), "text\n").unwrap();
        }
        fs::write(bundle.path("rootfs/file"), "secret").unwrap();
        let output = run(&bundle, runtime);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "text\nrefused\n", "{runtime}");
    }
}

#[test]
fn linux_rootfs_propagation() {
    for (name, wanted) in [("shared", "shared"), ("private", ""), ("unbindable", "unbindable")] {
        let script = "grep ' / / \\| / [^ ]* rw' /proc/self/mountinfo > /dev/null; \
                      awk '$5 == \"/\" { print $7 }' /proc/self/mountinfo | cut -d: -f1 | grep -v '^-$'";
        // This runc leaves a root private that was to be shared, and cannot bind one that is unbindable.
        for runtime in runtimes().into_iter().filter(|runtime| *runtime == HAKO || name == "private") {
            let mut spec = shell(script);
            linux(&mut spec).set_rootfs_propagation(Some(name.to_owned()));
            let output = run(&Bundle::new(spec), runtime);
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(text.trim(), wanted, "{runtime} {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn linux_seccomp() {
    says(
        "mkdir /x 2>&1 | grep -o 'Operation not permitted'",
        |spec| {
            let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
            linux(spec).set_seccomp(Some(serde_json::from_value(profile).unwrap()));
        },
        "Operation not permitted\n",
    );
}

#[test]
fn linux_sysctl() {
    says(
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni",
        |spec| {
            let sysctls = [("net.ipv4.ip_forward", "1"), ("kernel.shmmni", "77")];
            let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned()));
            linux(spec).set_sysctl(Some(sysctls.into_iter().collect()));
        },
        "1\n77\n",
    );
    for name in ["kernel.core_pattern", "vm.swappiness", "kernel.hung_task_panic"] {
        let sysctls = [(name.to_owned(), "0".to_owned())];
        is_refused(|spec| {
            linux(spec).set_sysctl(Some(sysctls.clone().into_iter().collect()));
        });
    }
}

const NAMESPACES: [(&str, LinuxNamespaceType); 5] = [
    ("net", LinuxNamespaceType::Network),
    ("ipc", LinuxNamespaceType::Ipc),
    ("uts", LinuxNamespaceType::Uts),
    ("pid", LinuxNamespaceType::Pid),
    ("cgroup", LinuxNamespaceType::Cgroup),
];

fn link(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
}

/// Without a path it is new; what is not named is the caller's.
#[test]
fn linux_ns_nopath_and_itype() {
    for runtime in runtimes() {
        for (name, _) in NAMESPACES {
            let output = run(&Bundle::new(shell(&format!("readlink /proc/self/ns/{name}"))), runtime);
            assert_ne!(String::from_utf8_lossy(&output.stdout).trim(), link(name), "{runtime} {name}");
        }
        for (name, kind) in NAMESPACES {
            if kind == LinuxNamespaceType::Pid {
                // Without a pid namespace its proc is not the container's to look at.
                continue;
            }
            let mut spec = shell(&format!("readlink /proc/self/ns/{name}"));
            linux(&mut spec).namespaces_mut().as_mut().unwrap().retain(|one| one.typ() != kind);
            if kind == LinuxNamespaceType::Network {
                // A sysfs shows the network namespace it is mounted from.
                spec.mounts_mut().as_mut().unwrap().retain(|one| one.typ().as_deref() != Some("sysfs"));
            }
            let output = run(&Bundle::new(spec), runtime);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout).trim(),
                link(name),
                "{runtime} {name}: {errors}"
            );
        }
    }
}

#[test]
fn linux_ns_path() {
    let mut holder = Command::new("unshare")
        .args(["--net", "--ipc", "--uts", "cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let of = |name: &str| format!("/proc/{}/ns/{name}", holder.id());
    let began = std::time::Instant::now();
    while fs::read_link(of("uts")).unwrap().display().to_string() == link("uts") {
        assert!(began.elapsed() < crate::bed::DEADLINE);
    }
    for runtime in runtimes() {
        for (name, kind) in &NAMESPACES[..3] {
            let path = |kind: LinuxNamespaceType, of: String| {
                move |spec: &mut Spec| {
                    let all = linux(spec).namespaces_mut().as_mut().unwrap();
                    let one = all.iter_mut().find(|one| one.typ() == kind).unwrap();
                    one.set_path(Some(of.clone().into()));
                }
            };
            let mut spec = shell(&format!("readlink /proc/self/ns/{name}"));
            path(*kind, of(name))(&mut spec);
            let output = run(&Bundle::new(spec), runtime);
            let wanted = fs::read_link(of(name)).unwrap().display().to_string();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), wanted, "{runtime} {name}");
            // A namespace of another kind is refused.
            let mut spec = shell("true");
            path(*kind, of("mnt"))(&mut spec);
            assert!(!run(&Bundle::new(spec), runtime).status.success(), "{runtime} {name}");
        }
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

/// What is mounted below the groups of version 1, or in memory that is to be read-only, has its place made there.
#[test]
fn mounts_below_what_is_read_only() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("inside"), "").unwrap();
    let bind = |target: &str| json!({"destination": target, "type": "bind", "source": host.path(), "options": ["rbind", "rw"]});
    let memory = |spec: &mut Spec| {
        let options = ["nosuid", "ro", "mode=755"];
        mount(spec, json!({"destination": "/mem", "type": "tmpfs", "source": "tmpfs", "options": options}));
        mount(spec, bind("/mem/one/two"));
    };
    says("ls /mem/one/two; touch /mem/x 2>/dev/null || echo refused", memory, "inside\nrefused\n");
    if CgroupRoot::detect().unwrap().version() == hako_cgroup::Version::V2 {
        return;
    }
    let groups = |spec: &mut Spec| mount(spec, bind("/sys/fs/cgroup/foo"));
    says(
        "cd /sys/fs/cgroup/foo; ls; touch own && busybox rm own && echo written",
        groups,
        "inside\nwritten\n",
    );
}

/// A container sees a group of its own in each hierarchy of version 1.
#[test]
fn linux_cgroups_are_seen_in_every_hierarchy() {
    let root = CgroupRoot::detect().unwrap();
    let v1 = root.hierarchies().iter().filter(|one| one.version == hako_cgroup::Version::V1);
    let names: Vec<String> =
        v1.map(|one| one.mount.file_name().unwrap().to_string_lossy().into_owned()).collect();
    if names.is_empty() {
        return;
    }
    // The root of a hierarchy has a release agent, a group does not.
    let script = names.iter().map(|name| {
        format!("cd /sys/fs/cgroup/{name} && grep -c . tasks >/dev/null && [ ! -e release_agent ] && echo {name}; ")
    });
    let wanted: String = names.iter().map(|name| format!("{name}\n")).collect();
    says(&script.collect::<String>(), |_| {}, &wanted);
}

/// The limits of one spec, read back from the hierarchies: the same files must say the same under each runtime.
#[test]
fn linux_cgroups() {
    let root = CgroupRoot::detect().unwrap();
    let files = [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.soft_limit_in_bytes"),
        ("memory", "memory.swappiness"),
        ("cpu", "cpu.shares"),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpu", "cpu.cfs_period_us"),
        ("cpuset", "cpuset.cpus"),
        ("pids", "pids.max"),
        ("blkio", "blkio.bfq.weight"),
        ("memory", "memory.max"),
        ("cpu", "cpu.max"),
        ("cpu", "cpu.weight"),
    ];
    let found = runtimes().into_iter().map(|runtime| {
        let mut spec = shell("sleep 1000");
        let limits = json!({
            "memory": {"limit": 67_108_864, "reservation": 33_554_432, "swappiness": 9},
            "cpu": {"shares": 300, "quota": 40_000, "period": 80_000, "cpus": "0"},
            "pids": {"limit": 55},
            "blockIO": {"weight": 400},
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
        });
        let mut resources: LinuxResources = serde_json::from_value(limits).unwrap();
        if root.with("memory").is_some_and(|one| one.version == hako_cgroup::Version::V2) {
            resources.memory_mut().as_mut().unwrap().set_swappiness(None);
        }
        linux(&mut spec).set_resources(Some(resources));
        let bundle = Bundle::new(spec);
        let mut command = bundle.command(runtime, &["run", "--detach", "ID"]);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{runtime}");
        let read = |(controller, file): (&'static str, &'static str)| {
            let directory = root.with(controller)?.mount.join(&bundle.id);
            let text = fs::read_to_string(directory.join(file)).ok()?;
            let mut lines: Vec<&str> = text.lines().collect();
            // Which of two rules came first does not matter to the kernel's list.
            lines.sort_unstable();
            Some((file, lines.join("\n")))
        };
        if let Some((_, devices)) = read(("devices", "devices.list")) {
            // Beyond what was asked for each runtime allows what it takes for harmless.
            assert!(devices.contains("c 10:229 rw") && !devices.contains("a *:* rwm"), "{runtime}: {devices}");
        }
        let all: BTreeMap<&str, String> = files.into_iter().filter_map(read).collect();
        let gone = bundle.command(runtime, &["delete", "--force", "ID"]).status().unwrap();
        assert!(gone.success());
        assert!(root.open(&format!("/{}", bundle.id)).is_err(), "{runtime} leaves a group");
        all
    });
    let found: Vec<_> = found.collect();
    if let Some(quota) = found[0].get("cpu.cfs_quota_us") {
        assert_eq!(quota, "40000");
    }
    for other in &found[1..] {
        assert_eq!(&found[0], other);
    }
}

/// State, start, kill and delete in every phase.
#[test]
fn lifecycle() {
    for runtime in runtimes() {
        let bundle = Bundle::new(shell("exec sleep 1000"));
        let command = |args: &[&str]| {
            let mut command = bundle.command(runtime, args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().unwrap().success()
        };
        let state = || -> serde_json::Value {
            let output = bundle.command(runtime, &["state", "ID"]).output().unwrap();
            serde_json::from_slice(&output.stdout).unwrap_or_default()
        };
        assert!(!command(&["state", "ID"]), "{runtime}: there is none yet");
        assert!(command(&["create", "--pid-file", "pid", "ID"]), "{runtime}");
        let (created, pid) = (state(), fs::read_to_string(bundle.path("pid")).unwrap());
        assert_eq!(created["status"], "created", "{runtime}");
        assert_eq!(created["pid"].to_string(), pid, "{runtime}");
        assert_eq!(
            created["bundle"].as_str().unwrap(),
            fs::canonicalize(bundle.directory.path()).unwrap().to_str().unwrap()
        );
        assert!(!command(&["create", "ID"]), "{runtime}: the id is taken");
        // What changes in the bundle now does not change the container.
        let mut other = shell("");
        set_args(&mut other, &["nonesuch"]);
        bundle.write_spec(other);
        assert!(command(&["start", "ID"]), "{runtime}");
        assert!(!command(&["start", "ID"]), "{runtime}: it is running");
        assert!(!command(&["delete", "ID"]), "{runtime}: it is running");
        assert_eq!(state()["status"], "running", "{runtime}");
        assert!(command(&["kill", "ID", "KILL"]), "{runtime}");
        let began = std::time::Instant::now();
        while state()["status"] != "stopped" {
            assert!(began.elapsed() < crate::bed::DEADLINE, "{runtime}");
        }
        assert!(!command(&["kill", "ID", "KILL"]), "{runtime}: it has ended");
        assert!(!command(&["start", "ID"]), "{runtime}: it has ended");
        assert!(command(&["delete", "ID"]), "{runtime}");
        assert!(!command(&["delete", "ID"]), "{runtime}: it is gone");
        assert!(!command(&["state", "ID"]), "{runtime}");
    }
}

fn hook(script: &str) -> Vec<Hook> {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    vec![HookBuilder::default().path("/bin/sh").args(args).build().unwrap()]
}

/// Every hook gets the state, each at its time.
#[test]
fn hooks_stdin() {
    for runtime in runtimes() {
        let directory = tempfile::tempdir().unwrap();
        let save = |name: &str| Some(hook(&format!("cat > {}/{name}", directory.path().display())));
        let (mut spec, mut hooks) = (shell("true"), Hooks::default());
        hooks.set_prestart(save("prestart"));
        hooks.set_create_runtime(save("createRuntime"));
        hooks.set_poststart(save("poststart"));
        hooks.set_poststop(save("poststop"));
        spec.set_hooks(Some(hooks));
        let bundle = Bundle::new(spec);
        assert!(run(&bundle, runtime).status.success(), "{runtime}");
        for (name, status) in [
            ("prestart", "creating"),
            ("createRuntime", "creating"),
            ("poststart", "running"),
            ("poststop", "stopped"),
        ] {
            let state: serde_json::Value =
                serde_json::from_slice(&fs::read(directory.path().join(name)).unwrap()).unwrap();
            // runc before 1.1.6 says "created" to poststart.
            let is_told = runtime == HAKO || name != "poststart";
            assert!(!is_told || state["status"] == status, "{runtime} {name}: {state}");
            assert_eq!(state["id"].as_str(), Some(bundle.id.as_str()), "{runtime} {name}");
            assert!(state["bundle"].is_string(), "{runtime} {name}");
        }
    }
}

/// What a hook that fails does to the container is the same everywhere.
#[test]
fn hooks_that_fail() {
    type Set = fn(&mut Hooks, Vec<Hook>);
    let kinds: [(&str, Set, bool); 4] = [
        (
            "prestart",
            |hooks, hook| {
                hooks.set_prestart(Some(hook));
            },
            false,
        ),
        (
            "createRuntime",
            |hooks, hook| {
                hooks.set_create_runtime(Some(hook));
            },
            false,
        ),
        (
            "poststart",
            |hooks, hook| {
                hooks.set_poststart(Some(hook));
            },
            false,
        ),
        (
            "poststop",
            |hooks, hook| {
                hooks.set_poststop(Some(hook));
            },
            true,
        ),
    ];
    for runtime in runtimes() {
        for (name, set, is_success) in kinds {
            let (mut spec, mut hooks) = (shell("sleep 0.2"), Hooks::default());
            set(&mut hooks, hook("exit 1"));
            spec.set_hooks(Some(hooks));
            let bundle = Bundle::new(spec);
            assert_eq!(run(&bundle, runtime).status.success(), is_success, "{runtime} {name}");
            let _ = bundle.command(runtime, &["delete", "--force", "ID"]).output();
        }
    }
}

/// Nothing of a mount of the spec may reach into procfs; runc before 1.2.8 lets some of these through.
#[test]
fn cve_2025_52881_mounts_inside_proc_are_refused() {
    we_refuse(|spec| {
        mount(spec, json!({"destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs"}))
    });
    we_refuse(|spec| {
        mount(
            spec,
            json!({"destination": "/proc/sysrq-trigger", "type": "bind", "source": "/dev/null", "options": ["bind"]}),
        );
    });
}

/// A link of the image that leads into procfs is found where it leads.
#[test]
fn cve_2025_52881_a_link_into_proc_is_no_way_around() {
    let mut spec = shell("true");
    mount(&mut spec, json!({"destination": "/way", "type": "tmpfs", "source": "tmpfs"}));
    let bundle = Bundle::new(spec);
    std::os::unix::fs::symlink("/proc/self/attr", bundle.path("rootfs/way")).unwrap();
    let output = run(&bundle, HAKO);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("inside /proc"), "{errors}");
}
