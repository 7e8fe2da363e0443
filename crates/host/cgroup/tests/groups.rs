//! One suite on what this machine has, and version 2's file logic on a directory that looks like it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot set up its case has failed, one that cannot run says so"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hako_cgroup::{
    BlockDevice, BlockLimits, Cgroup, CgroupError, CgroupRoot, Device, DeviceKind, DeviceRule, Hierarchy,
    Limits, Version,
};

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
    // A group above is another's business: who lets this one go on does not wait for it.
    outer.0.freeze(true).unwrap();
    group.0.freeze(true).unwrap();
    group.0.freeze(false).unwrap();
    assert!(group.0.is_frozen().unwrap() && outer.0.is_frozen().unwrap());
    outer.0.freeze(false).unwrap();
    assert!(!group.0.is_frozen().unwrap());
    assert_eq!(ask(&mut shell, "echo again"), "again");
    assert!(!outer.0.delete_empty().unwrap(), "somebody is in it");
    assert_eq!(outer.0.processes().unwrap(), [shell.id()]);
    group.0.freeze(true).unwrap();
    // What is frozen is killed too.
    outer.0.kill_all().unwrap();
    shell.wait().unwrap();
    outer.0.delete().unwrap();
    assert!(root.open(&path).is_err());
    outer.0.delete().unwrap();
    root.create(&format!("{path}/inner/most")).unwrap();
    assert!(outer.0.delete_empty().unwrap() && outer.0.delete_empty().unwrap());
    assert!(root.open(&path).is_err());
}

#[test]
fn what_this_machine_has_keeps_the_promises() {
    suite(&CgroupRoot::detect().unwrap(), "machine");
}

/// No test is skipped silently.
fn lacks(what: &str) {
    eprintln!("not tested: this machine has not {what}");
}

#[test]
fn the_unified_hierarchy_alone_keeps_them_too() {
    let root = CgroupRoot::detect().unwrap();
    let Some(unified) = root.unified() else { return lacks("a hierarchy of version 2") };
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

#[test]
fn a_limit_that_comes_later_holds_for_the_processes_that_are_there() {
    let root = CgroupRoot::detect().unwrap();
    let group = Removed(root.create(&unique("later")).unwrap());
    let mut shell = shell();
    group.0.add_process(shell.id()).unwrap();
    // One below it too.
    assert!(ask(&mut shell, "sleep 1000 & echo $!").parse::<u32>().is_ok());
    group.0.set(&Limits { cpuset_cpus: Some("0".to_owned()), ..Limits::default() }).unwrap();
    for process in ["self", "$!"] {
        let command = format!("echo $(grep Cpus_allowed_list /proc/{process}/status)");
        assert_eq!(ask(&mut shell, &command), "Cpus_allowed_list: 0", "{process}");
    }
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
    let Some(unified) = root.unified() else { return lacks("a hierarchy of version 2") };
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

/// The rarer limits of version 1, read back from the kernel's files.
#[test]
fn rare_limits_of_version_1_are_in_force() {
    let root = CgroupRoot::detect().unwrap();
    if root.with("memory").is_none_or(|one| one.version == Version::V2) {
        return lacks("the memory controller of version 1");
    }
    let group = Removed(root.create(&unique("rare")).unwrap());
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        swappiness: Some(7),
        oom_kill_disable: Some(true),
        cpu_quota_us: Some(50_000),
        cpu_burst_us: Some(10_000),
        cpu_idle: Some(1),
        blkio_weight: Some(300),
        ..Limits::default()
    };
    group.0.set(&limits).unwrap();
    let read = |controller: &str, file: &str| {
        let directory = root.with(controller).unwrap().mount.join(&group.0.path()[1..]);
        fs::read_to_string(directory.join(file)).unwrap().trim().to_owned()
    };
    assert_eq!(read("memory", "memory.swappiness"), "7");
    assert_eq!(read("memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert!(read("memory", "memory.oom_control").contains("oom_kill_disable 1"));
    assert_eq!(
        (read("cpu", "cpu.cfs_burst_us"), read("cpu", "cpu.idle")),
        ("10000".to_owned(), "1".to_owned())
    );
    assert!(read("blkio", "blkio.bfq.weight").ends_with("300"));
    // A rate for a device that is there: the kernel refuses others.
    let device = fs::read_dir("/sys/block").unwrap().filter_map(|entry| {
        let text = fs::read_to_string(entry.ok()?.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(BlockDevice { major: major.parse().ok()?, minor: minor.parse().ok()? })
    });
    if let Some(device) = device.into_iter().next() {
        let blkio = BlockLimits {
            read_bps: vec![(device, 1 << 20)],
            write_iops: vec![(device, 100)],
            ..BlockLimits::default()
        };
        group.0.set(&Limits { blkio, ..Limits::default() }).unwrap();
        assert_eq!(read("blkio", "blkio.throttle.read_bps_device"), format!("{device} 1048576"));
        assert_eq!(read("blkio", "blkio.throttle.write_iops_device"), format!("{device} 100"));
    }
}

#[test]
fn a_limit_that_is_not_there_is_refused_by_name() {
    let root = CgroupRoot::detect().unwrap();
    let group = Removed(root.create(&unique("absent")).unwrap());
    let huge = Limits { hugetlb: vec![("3KB".to_owned(), 0)], ..Limits::default() };
    let error = group.0.set(&huge).unwrap_err().to_string();
    assert!(error.contains("huge pages") || error.contains("hugetlb"), "{error}");
    if root.with("net_cls").is_none() {
        let class = Limits { net_class: Some(1), ..Limits::default() };
        let error = group.0.set(&class).unwrap_err();
        assert!(matches!(error, CgroupError::NoController { controller: "net_cls", .. }), "{error}");
    }
}

#[test]
fn a_limit_below_the_usage_is_refused_when_that_is_asked_for() {
    let root = CgroupRoot::detect().unwrap();
    let group = Removed(root.create(&unique("usage")).unwrap());
    let mut shell = shell();
    group.0.add_process(shell.id()).unwrap();
    assert_eq!(ask(&mut shell, "x=$(head -c 4000000 /dev/zero | tr '\\0' x); echo grown"), "grown");
    let limits = Limits { memory_bytes: Some(4096), check_memory_usage: true, ..Limits::default() };
    let error = group.0.set(&limits).unwrap_err();
    assert!(matches!(error, CgroupError::BelowUsage { .. }), "{error}");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn version_2_takes_rare_limits_in_its_own_words_and_refuses_what_it_lacks() {
    let tree = tempfile::tempdir().unwrap();
    let mount = tree.path().to_owned();
    let controllers = "cpuset cpu io memory pids hugetlb";
    write_files(&mount, &[("cgroup.controllers", controllers), ("cgroup.subtree_control", controllers)]);
    let hierarchy = Hierarchy { mount: mount.clone(), version: Version::V2, controllers: Vec::new() };
    let root = CgroupRoot::new(vec![hierarchy]).unwrap();
    let group = root.create("/g").unwrap();
    let inside = mount.join("g");
    let files = ["cpu.max.burst", "cpu.idle", "io.weight", "io.max", "hugetlb.2MB.max"];
    write_files(&inside, &files.map(|name| (name, "")));
    let device = BlockDevice { major: 8, minor: 16 };
    let limits = Limits {
        cpu_burst_us: Some(5),
        cpu_idle: Some(1),
        blkio_weight: Some(1000),
        blkio: BlockLimits { write_bps: vec![(device, 7)], ..BlockLimits::default() },
        hugetlb: vec![("2MB".to_owned(), 4 << 20)],
        oom_kill_disable: Some(false),
        ..Limits::default()
    };
    group.set(&limits).unwrap();
    let read = |name: &str| fs::read_to_string(inside.join(name)).unwrap();
    assert_eq!(files.map(read), ["5", "1", "10000", "8:16 wbps=7", "4194304"].map(str::to_owned));
    for (limits, name) in [
        (Limits { swappiness: Some(1), ..Limits::default() }, "swappiness"),
        (Limits { oom_kill_disable: Some(true), ..Limits::default() }, "OOM killer"),
        (Limits { cpu_rt_runtime_us: Some(1), ..Limits::default() }, "real-time runtime"),
        (Limits { kernel_memory: Some(1), ..Limits::default() }, "kernel memory"),
    ] {
        let error = group.set(&limits).unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    write_files(
        &inside,
        &[
            ("memory.current", "10\n"),
            ("memory.peak", "20\n"),
            ("memory.stat", "anon 3\nfile 4\n"),
            ("memory.swap.current", "2\n"),
            ("memory.events", "low 0\nmax 6\noom_kill 0\n"),
            (
                "cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 9\nnr_throttled 2\nthrottled_usec 1\n",
            ),
            ("io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
            ("pids.max", "100\n"),
            ("hugetlb.2MB.current", "2097152\n"),
        ],
    );
    let stats = group.stats().unwrap();
    assert_eq!((stats.memory_peak, stats.memory_failures, stats.swap_usage), (20, 6, 2));
    assert_eq!((stats.memory["anon"], stats.memory["file"]), (3, 4));
    assert_eq!((stats.cpu_user_ns, stats.cpu_system_ns), (4000, 3000));
    let throttling = stats.throttling;
    assert_eq!((throttling.periods, throttling.throttled, throttling.throttled_ns), (9, 2, 1000));
    assert_eq!((stats.io[1].operation.as_str(), stats.io[1].bytes, stats.io[1].requests), ("Write", 2, 4));
    assert_eq!((stats.pids_limit, stats.hugetlb["2MB"]), (Some(100), 2 << 20));
}
