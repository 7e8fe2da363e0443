//! One suite on what this machine has, and version 2's file logic on a directory that looks like it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hako_cgroup::{Cgroup, CgroupRoot, Device, DeviceKind, DeviceRule, Hierarchy, Limits, Version};

fn unique(name: &str) -> String {
    format!("/hako-cgroup-test-{}-{name}", std::process::id())
}

/// A shell that runs what is written to it.
fn shell() -> Child {
    Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn ask(shell: &mut Child, command: &str) -> String {
    writeln!(shell.stdin.as_mut().unwrap(), "{command}").unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// A group that is removed when a test fails half-way.
struct Removed(Cgroup);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = self.0.kill_all();
        let _ = self.0.delete();
    }
}

/// The promises every machine's groups keep.
fn suite(root: &CgroupRoot, name: &str) {
    let path = unique(name);
    assert!(root.open(&path).is_err());
    let group = Removed(root.create(&format!("{path}/inner")).unwrap());
    root.create(&format!("{path}/inner")).unwrap();
    let outer = Removed(root.open(&path).unwrap());
    let mut shell = shell();
    group.0.add_process(shell.id()).unwrap();
    assert_eq!(group.0.processes().unwrap(), [shell.id()]);
    assert_eq!(outer.0.processes().unwrap(), [shell.id()]);
    assert_eq!(ask(&mut shell, "echo alive"), "alive");
    assert!(group.0.stats().is_ok());
    assert_eq!(group.0.oom_kills().unwrap(), 0);
    group.0.freeze(true).unwrap();
    group.0.freeze(false).unwrap();
    assert_eq!(ask(&mut shell, "echo thawed"), "thawed");
    group.0.freeze(true).unwrap();
    // What is frozen is killed too.
    outer.0.kill_all().unwrap();
    shell.wait().unwrap();
    outer.0.delete().unwrap();
    assert!(root.open(&path).is_err());
    outer.0.delete().unwrap();
}

#[test]
fn what_this_machine_has_keeps_the_promises() {
    suite(&CgroupRoot::detect().unwrap(), "machine");
}

#[test]
fn the_unified_hierarchy_alone_keeps_them_too() {
    let root = CgroupRoot::detect().unwrap();
    let Some(unified) = root.unified() else { return };
    suite(&CgroupRoot::new(vec![unified.clone()]).unwrap(), "unified");
}

#[test]
fn limits_are_in_force_and_counted() {
    let root = CgroupRoot::detect().unwrap();
    let group = Removed(root.create(&unique("limits")).unwrap());
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        cpu_shares: Some(512),
        pids: Some(20),
        cpuset_cpus: Some("0".to_owned()),
        ..Limits::default()
    };
    group.0.set(&limits).unwrap();
    // Lower and higher again: the order of memory and memory plus swap matters to version 1.
    for bytes in [32 << 20, 128 << 20] {
        group
            .0
            .set(&Limits { memory_bytes: Some(bytes), memory_swap: Some(bytes), ..Limits::default() })
            .unwrap();
        assert_eq!(group.0.stats().unwrap().memory_limit, Some(bytes.cast_unsigned()));
    }
    let mut shell = shell();
    group.0.add_process(shell.id()).unwrap();
    assert_eq!(ask(&mut shell, "echo $(grep Cpus_allowed_list /proc/self/status)"), "Cpus_allowed_list: 0");
    let stats = group.0.stats().unwrap();
    assert!(stats.cpu_ns > 0 && stats.pids > 0 && stats.memory_usage > 0, "{stats:?}");
    group.0.kill_all().unwrap();
    shell.wait().unwrap();
    group.0.delete().unwrap();
}

fn rule(allow: bool, major: Option<u32>, minor: Option<u32>) -> DeviceRule {
    let kind = if major.is_some() { DeviceKind::Char } else { DeviceKind::All };
    DeviceRule { allow, device: Device { kind, major, minor }, read: true, write: true, mknod: true }
}

fn devices(root: &CgroupRoot, name: &str) {
    let group = Removed(root.create(&unique(name)).unwrap());
    let rules = vec![rule(false, None, None), rule(true, Some(1), Some(3))];
    group.0.set(&Limits { devices: Some(rules), ..Limits::default() }).unwrap();
    let mut shell = shell();
    group.0.add_process(shell.id()).unwrap();
    let open = |path: &str| format!("(: < {path}) 2>/dev/null && echo yes || echo no");
    assert_eq!(ask(&mut shell, &open("/dev/null")), "yes");
    assert_eq!(ask(&mut shell, &open("/dev/zero")), "no");
    group.0.kill_all().unwrap();
    shell.wait().unwrap();
}

#[test]
fn device_rules_are_in_force_in_version_1() {
    devices(&CgroupRoot::detect().unwrap(), "devices-1");
}

#[test]
fn device_rules_are_in_force_in_version_2() {
    let root = CgroupRoot::detect().unwrap();
    let Some(unified) = root.unified() else { return };
    devices(&CgroupRoot::new(vec![unified.clone()]).unwrap(), "devices-2");
}

fn write_files(directory: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
}

#[test]
fn version_2_files_are_written_in_its_own_units() {
    let tree = tempfile::tempdir().unwrap();
    let mount = tree.path().to_owned();
    write_files(
        &mount,
        &[("cgroup.controllers", "cpuset cpu io memory pids hugetlb"), ("cgroup.subtree_control", "memory")],
    );
    let hierarchy = Hierarchy { mount: mount.clone(), version: Version::V2, controllers: Vec::new() };
    let root = CgroupRoot::new(vec![hierarchy]).unwrap();
    assert_eq!(root.version(), Version::V2);
    let group = root.create("/g").unwrap();
    assert_eq!(fs::read_to_string(mount.join("cgroup.subtree_control")).unwrap(), "+cpuset +cpu +io +pids");
    let inside = mount.join("g");
    let empty =
        ["memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus"];
    write_files(&inside, &empty.map(|name| (name, "")));
    let limits = Limits {
        memory_bytes: Some(1000),
        memory_swap: Some(1500),
        memory_reservation: Some(500),
        cpu_quota_us: Some(20_000),
        cpu_shares: Some(2),
        pids: Some(-1),
        cpuset_cpus: Some("0-1".to_owned()),
        ..Limits::default()
    };
    group.set(&limits).unwrap();
    let read = |name: &str| fs::read_to_string(inside.join(name)).unwrap();
    assert_eq!(empty.map(read), ["1000", "500", "500", "20000 100000", "1", "max", "0-1"].map(str::to_owned));
    write_files(
        &inside,
        &[
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 1\ninactive_file 96\n"),
            ("memory.events", "low 0\noom 3\noom_kill 2\n"),
            ("cpu.stat", "usage_usec 7\nuser_usec 1\n"),
            ("pids.current", "5\n"),
        ],
    );
    let stats = group.stats().unwrap();
    assert_eq!((stats.memory_usage, stats.memory_working_set, stats.memory_limit), (4096, 4000, None));
    assert_eq!((stats.cpu_ns, stats.pids), (7000, 5));
    assert_eq!(group.oom_kills().unwrap(), 2);
    assert_eq!(group.oom_file(), Some((inside.join("memory.events"), None)));
}
