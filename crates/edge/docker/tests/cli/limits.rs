//! Limits as the kernel's groups have them.

use crate::daemon::{Daemon, with_daemon};
use std::path::{Path, PathBuf};

/// The files of that name in groups below a parent, of any hierarchy.
pub fn found(parent: &str, name: &str) -> Vec<PathBuf> {
    fn visit(dir: &Path, name: &str, all: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => visit(&path, name, all),
                _ if path.ends_with(name) => all.push(path),
                _ => {}
            }
        }
    }
    let cgroups = hako_cgroup::CgroupRoot::detect().unwrap();
    let mut all = Vec::new();
    for hierarchy in cgroups.hierarchies() {
        visit(&hierarchy.mount.join(parent), name, &mut all);
    }
    all
}

/// The hierarchies that have that very group.
fn found_own(parent: &str) -> usize {
    let cgroups = hako_cgroup::CgroupRoot::detect().unwrap();
    cgroups.hierarchies().iter().filter(|one| one.mount.join(parent).is_dir()).count()
}

/// The value that the deepest such group has: the container's.
pub fn value(parent: &str, name: &str) -> String {
    let deepest = found(parent, name).into_iter().max_by_key(|path| path.components().count());
    let path = deepest.unwrap_or_else(|| panic!("no {name} below {parent}"));
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

pub struct Parent(pub String);

impl Parent {
    pub fn new(docker: &Daemon) -> Self {
        let unique = docker.dir.file_name().unwrap().to_string_lossy().replace('.', "");
        Self(format!("test-{unique}"))
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if let Ok(group) = hako_cgroup::CgroupRoot::detect().unwrap().open(&format!("/{}", self.0)) {
            let _ = group.delete();
        }
    }
}

/// No test is skipped silently.
#[expect(clippy::print_stderr, reason = "for who reads the test's output")]
pub fn lacks(what: &str) {
    eprintln!("not tested: this machine has not {what}");
}

pub fn is_legacy() -> bool {
    hako_cgroup::CgroupRoot::detect().unwrap().version() != hako_cgroup::Version::V2
}

#[test]
fn limits_reach_the_group_below_its_parent_and_change() {
    with_daemon(|docker| {
        docker.import_busybox();
        let parent = Parent::new(docker);
        docker.with_each_cli(|docker| {
            let below = format!("/{}", parent.0);
            let limits = [
                "-m",
                "64m",
                "--memory-reservation",
                "32m",
                "--memory-swappiness",
                "7",
                "--cpuset-mems",
                "0",
            ];
            let run = ["run", "-d", "--name", "bound", "--cgroup-parent", &below];
            docker.ok(&[&run[..], &limits, &["busybox", "sleep", "1000"]].concat());
            if is_legacy() {
                assert_eq!(value(&parent.0, "memory.soft_limit_in_bytes"), (32 << 20).to_string());
                assert_eq!(value(&parent.0, "memory.swappiness"), "7");
                docker.ok(&["update", "--memory-reservation", "16m", "bound"]);
                assert_eq!(value(&parent.0, "memory.soft_limit_in_bytes"), (16 << 20).to_string());
            } else {
                assert_eq!(value(&parent.0, "memory.low"), (32 << 20).to_string());
                docker.ok(&["update", "--memory-reservation", "16m", "bound"]);
                assert_eq!(value(&parent.0, "memory.low"), (16 << 20).to_string());
            }
            assert_eq!(value(&parent.0, "cpuset.mems"), "0");
            let (code, _, err) = docker.run(&["update", "-m", "500m", "bound"]);
            assert!(code != 0 && err.contains("already set memoryswap limit"), "{err}");
            docker.ok(&["update", "-m", "100m", "--memory-swap", "200m", "bound"]);
            docker.ok(&["rm", "-f", "bound"]);
            docker.until("no group that was made for it is left", || {
                docker.is_peer() || found(&parent.0, "cgroup.procs").is_empty()
            });
        });
        if !docker.is_peer() {
            let root = hako_cgroup::CgroupRoot::detect().unwrap();
            root.create_everywhere(&format!("/{}", parent.0)).unwrap();
            let below = format!("/{}/a/b", parent.0);
            docker.ok(&["run", "--rm", "--cgroup-parent", &below, "busybox", "true"]);
            let deeper = || found(&parent.0, "cgroup.procs").len() > found_own(&parent.0);
            docker.until("only what was there is left", || !deeper());
            assert!(!found(&parent.0, "cgroup.procs").is_empty(), "a group of others is gone");
        }
        let (code, _, err) = docker.run(&["create", "--cgroup-parent", "/a/../b", "busybox"]);
        assert!(docker.is_peer() || code != 0 && err.contains("cgroup parent"), "{err}");
    });
}

#[test]
fn block_devices_are_throttled_by_their_nodes() {
    with_daemon(|docker| {
        docker.import_busybox();
        let parent = Parent::new(docker);
        let below = format!("/{}", parent.0);
        // Throttling needs no medium in it.
        let device = "/dev/loop0";
        if !Path::new(device).exists() {
            return lacks(device);
        }
        let rate = |rate: &str| format!("{device}:{rate}");
        docker.with_each_cli(|docker| {
            let run = [
                "run",
                "-d",
                "--name",
                "slow",
                "--cgroup-parent",
                &below,
                "--device-read-bps",
                &rate("1mb"),
                "--device-write-bps",
                &rate("2mb"),
                "--device-read-iops",
                &rate("30"),
                "--device-write-iops",
                &rate("40"),
                "busybox",
                "sleep",
                "1000",
            ];
            docker.ok(&run);
            if is_legacy() {
                let of = |name: &str| value(&parent.0, &format!("blkio.throttle.{name}_device"));
                assert_eq!([of("read_bps"), of("write_bps")], ["7:0 1048576", "7:0 2097152"]);
                assert_eq!([of("read_iops"), of("write_iops")], ["7:0 30", "7:0 40"]);
                // The kernel counts by device from the first limit on.
                let counted = reading(docker, "slow", "one-shot=1");
                for list in ["io_service_bytes_recursive", "io_serviced_recursive"] {
                    let rows = counted["blkio_stats"][list].as_array().unwrap();
                    let is_one = |row: &serde_json::Value| {
                        row["major"] == 7
                            && row["minor"] == 0
                            && row["op"].is_string()
                            && row["value"].is_u64()
                    };
                    assert!(rows.iter().any(is_one), "{list} of {counted}");
                }
            } else {
                assert_eq!(value(&parent.0, "io.max"), "7:0 rbps=1048576 wbps=2097152 riops=30 wiops=40");
            }
            docker.ok(&["rm", "-f", "slow"]);
            let (code, _, err) =
                docker.run(&["run", "--rm", "--device-read-bps", "/dev/null:1mb", "busybox", "true"]);
            assert!(code != 0 && err.contains(if docker.is_peer() { "1:3" } else { "/dev/null" }), "{err}");
        });
    });
}

#[test]
fn what_is_left_away_is_told_and_what_contradicts_itself_is_refused() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (code, _, err) = docker.run(&["create", "--name", "stubborn", "--oom-kill-disable", "busybox"]);
        let words = if is_legacy() { "no memory limit is set" } else { "OomKillDisable discarded" };
        assert!(code == 0 && err.contains(words), "{err}");
        docker.ok(&["rm", "stubborn"]);
        let body = r#"{"Image":"busybox","HostConfig":{"KernelMemory":1073741824}}"#;
        assert!(docker.post("/v1.41/containers/create", body).contains("kernel memory limit"));
        assert!(docker.post("/v1.42/containers/create", body).contains(r#""Warnings":[]"#));
        let (code, _, err) = docker.run(&["create", "-m", "20m", "--memory-reservation", "30m", "busybox"]);
        assert!(code != 0 && err.contains("memory reservation limit"), "{err}");
        let (code, _, err) = docker.run(&["create", "--blkio-weight", "5", "busybox"]);
        assert!(code != 0 && err.contains("from 10 to 1000"), "{err}");
    });
}

/// A reading of a container's counters.
fn reading(docker: &Daemon, name: &str, how: &str) -> serde_json::Value {
    let answer = docker.ask("GET", &format!("/containers/{name}/stats?stream=false&{how}"), "");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn counters_say_all_that_the_group_counts() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "trap 'exit 0' TERM; n=0; while :; do n=$((n + 1)); [ $((n % 5000)) != 0 ] || cat /proc/stat >/dev/null; done";
        docker.ok(&["run", "-d", "--name", "idle", "busybox", "sleep", "1000"]);
        let limits = ["--pids-limit", "50", "-m", "64m", "--cpu-period", "10000", "--cpu-quota", "2000"];
        let run = [&["run", "-d", "--name", "busy"], &limits[..], &["busybox", "sh", "-c", script]].concat();
        docker.ok(&run);
        let has = |reading: &serde_json::Value, path: &str| {
            reading.pointer(path).and_then(serde_json::Value::as_u64).is_some_and(|value| value > 0)
        };
        docker.until("the quota held it back, and both counters of time have moved", || {
            let once = reading(docker, "busy", "one-shot=1");
            // The time is told when it is over.
            has(&once, "/cpu_stats/throttling_data/throttled_periods")
                && has(&once, "/cpu_stats/throttling_data/throttled_time")
                && has(&once, "/cpu_stats/cpu_usage/usage_in_kernelmode")
                && has(&once, "/cpu_stats/cpu_usage/usage_in_usermode")
        });
        let once = reading(docker, "busy", "one-shot=1");
        for path in [
            "/cpu_stats/throttling_data/periods",
            "/cpu_stats/throttling_data/throttled_time",
            "/cpu_stats/cpu_usage/usage_in_kernelmode",
            "/cpu_stats/cpu_usage/usage_in_usermode",
            "/memory_stats/usage",
            "/memory_stats/max_usage",
        ] {
            assert!(has(&once, path), "{path} of {once}");
        }
        assert_eq!(once["pids_stats"]["limit"], 50);
        assert_eq!(once["memory_stats"]["limit"], 64 << 20);
        assert!(once["memory_stats"]["failcnt"].is_u64() && once["num_procs"] == 0, "{once}");
        for list in ["io_service_bytes_recursive", "io_serviced_recursive", "sectors_recursive"] {
            assert!(once["blkio_stats"][list].is_array(), "{list} of {once}");
        }
        let (name, per_cpu) = match is_legacy() {
            true => ("total_inactive_file", true),
            false => ("inactive_file", false),
        };
        assert!(once["memory_stats"]["stats"][name].is_u64(), "{once}");
        assert_eq!(once["cpu_stats"]["cpu_usage"]["percpu_usage"].is_array(), per_cpu, "{once}");
        assert_eq!(once["precpu_stats"]["cpu_usage"]["total_usage"], 0);
        assert_eq!(once["preread"], "0001-01-01T00:00:00Z");
        let twice = reading(docker, "busy", "one-shot=0");
        assert!(has(&twice, "/precpu_stats/cpu_usage/usage_in_usermode"), "{twice}");
        let idle = reading(docker, "idle", "one-shot=1");
        assert!(idle["pids_stats"]["limit"].is_null(), "{idle}");
        docker.ok(&["rm", "-f", "busy", "idle"]);
    });
}

#[test]
#[expect(clippy::too_many_lines, reason = "one container, limit by limit")]
fn shares_quotas_and_processors_reach_the_group_and_change() {
    with_daemon(|docker| {
        docker.import_busybox();
        let parent = Parent::new(docker);
        let below = format!("/{}", parent.0);
        docker.with_each_cli(|docker| {
            let run = [
                "run",
                "-d",
                "--name",
                "bound",
                "--cgroup-parent",
                &below,
                "-m",
                "64m",
                "--memory-swap",
                "96m",
            ];
            let processors = [
                "--cpu-shares",
                "512",
                "--cpu-period",
                "50000",
                "--cpu-quota",
                "25000",
                "--cpuset-cpus",
                "0",
            ];
            docker.ok(&[&run[..], &processors, &["busybox", "sleep", "1000"]].concat());
            let of =
                |legacy: &str, unified: &str| value(&parent.0, if is_legacy() { legacy } else { unified });
            let quota = |quota: &str, period: &str| match is_legacy() {
                true => {
                    assert_eq!(value(&parent.0, "cpu.cfs_quota_us"), quota);
                    assert_eq!(value(&parent.0, "cpu.cfs_period_us"), period);
                }
                false => assert_eq!(value(&parent.0, "cpu.max"), format!("{quota} {period}")),
            };
            quota("25000", "50000");
            assert_eq!(value(&parent.0, "cpuset.cpus"), "0");
            if is_legacy() {
                assert_eq!(value(&parent.0, "cpu.shares"), "512");
                assert_eq!(value(&parent.0, "memory.memsw.limit_in_bytes"), (96 << 20).to_string());
            }
            let processors = [
                "--cpu-shares",
                "256",
                "--cpu-period",
                "40000",
                "--cpu-quota",
                "20000",
                "--cpuset-cpus",
                "0",
                "--cpuset-mems",
                "0",
            ];
            docker.ok(&[&["update", "--pids-limit", "33"], &processors[..], &["bound"]].concat());
            quota("20000", "40000");
            assert_eq!(of("pids.max", "pids.max"), "33");
            if is_legacy() {
                assert_eq!(value(&parent.0, "cpu.shares"), "256");
            }
            docker.ok(&["rm", "-f", "bound"]);
        });
    });
}

/// The groups above a container have no budget of real-time CPU time, and a kernel that has it gives none.
#[test]
fn real_time_cpu_is_refused_by_the_kernel_or_for_want_of_it() {
    with_daemon(|docker| {
        docker.import_busybox();
        let flags = ["--name", "rt", "--cpu-rt-period", "1000000", "--cpu-rt-runtime", "1000"];
        let (code, out, err) = docker.run(&[&["create"][..], &flags, &["busybox", "true"]].concat());
        let cgroups = hako_cgroup::CgroupRoot::detect().unwrap();
        let cpu = cgroups.with("cpu").filter(|one| one.mount.join("cpu.rt_runtime_us").exists());
        if cpu.is_none() {
            lacks("real-time groups");
            assert!(code != 0 && err.contains("does not support CPU real-time scheduler"), "{out}{err}");
            return;
        }
        assert_eq!(code, 0, "{err}");
        let inspected =
            ["inspect", "-f", "{{.HostConfig.CpuRealtimePeriod}} {{.HostConfig.CpuRealtimeRuntime}}", "rt"];
        assert_eq!(docker.ok(&inspected), "1000000 1000\n");
        let (code, _, err) = docker.run(&["start", "rt"]);
        assert!(code != 0 && err.contains("rt_runtime_us"), "{err}");
        assert_eq!(docker.ok(&["inspect", "-f", "{{.State.Running}}", "rt"]), "false\n");
        let over = ["create", "--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000", "busybox", "true"];
        assert!(docker.run(&over).2.contains("cannot be higher than cpu real-time period"));
        docker.ok(&["rm", "rt"]);
    });
}

#[test]
fn limits_that_come_later_hold_and_are_shown() {
    with_daemon(|docker| {
        docker.import_busybox();
        let parent = Parent::new(docker);
        let below = format!("/{}", parent.0);
        docker.with_each_cli(|docker| {
            docker.ok(&["run", "-d", "--name", "later", "--cgroup-parent", &below, "busybox", "sleep", "1000"]);
            let limits = ["--cpuset-cpus", "0", "--cpus", "0.5", "--cpu-shares", "512", "-m", "64m"];
            docker.ok(&[&["update", "--memory-swap", "96m"], &limits[..], &["later"]].concat());
            let held = docker.ok(&["exec", "later", "grep", "Cpus_allowed_list", "/proc/1/status"]);
            assert_eq!(held.split_whitespace().last(), Some("0"), "{held}");
            let format = "{{with .HostConfig}}{{.CpusetCpus}} {{.NanoCpus}} {{.CpuQuota}} {{.CpuShares}} {{.Memory}} \
                          {{.MemorySwap}}{{end}}";
            let shown = docker.ok(&["inspect", "-f", format, "later"]);
            assert_eq!(shown.trim(), "0 500000000 0 512 67108864 100663296");
            let (code, _, err) = docker.run(&["update", "--cpu-quota", "20000", "later"]);
            assert!(code != 0 && err.contains("Conflicting options"), "{err}");
            docker.ok(&["rm", "-f", "later"]);
        });
    });
}
