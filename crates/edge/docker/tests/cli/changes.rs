//! Updates of containers that exist, and fields of requests that no command line sends.

use crate::daemon::{Daemon, with_daemon};
use crate::limits::{Parent, is_legacy, lacks, value};
use std::path::Path;
use std::process::Command;

#[test]
fn an_update_reaches_every_limit_of_the_group() {
    with_daemon(|docker| {
        docker.import_busybox();
        if !is_legacy() || !Path::new("/dev/loop0").exists() {
            return lacks("the groups of cgroup v1 and /dev/loop0");
        }
        let parent = Parent::new(docker);
        let below = format!("/{}", parent.0);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "one",
            "--cgroup-parent",
            &below,
            "-m",
            "64m",
            "busybox",
            "sleep",
            "1000",
        ]);
        let rate = |field: &str| format!(r#""{field}":[{{"Path":"/dev/loop0","Rate":1000}}]"#);
        let rates =
            ["BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"];
        let body = format!(
            r#"{{{},"MemorySwappiness":9,"OomKillDisable":true,"KernelMemoryTCP":33554432}}"#,
            rates.map(rate).join(",")
        );
        docker.post("/containers/one/update", &body);
        for name in ["read_bps", "write_bps", "read_iops", "write_iops"] {
            assert_eq!(value(&parent.0, &format!("blkio.throttle.{name}_device")), "7:0 1000");
        }
        assert_eq!(value(&parent.0, "memory.swappiness"), "9");
        assert!(value(&parent.0, "memory.oom_control").contains("oom_kill_disable 1"));
        assert_eq!(value(&parent.0, "memory.kmem.tcp.limit_in_bytes"), (32 << 20).to_string());
        docker.ok(&["rm", "-f", "one"]);
    });
}

/// A block device of this test, with the scheduler that knows weights.
struct Device(String);

impl Device {
    /// `None` where the kernel has no such scheduler.
    fn with_weights(dir: &Path) -> Option<Self> {
        let file = dir.join("disk");
        std::fs::write(&file, vec![0; 1 << 20]).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let device = Self(String::from_utf8(made.stdout).unwrap().trim().to_owned());
        let name = device.0.trim_start_matches("/dev/");
        std::fs::write(format!("/sys/block/{name}/queue/scheduler"), "bfq").is_ok().then_some(device)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn weights_of_block_devices_reach_the_group_and_change() {
    with_daemon(|docker| {
        docker.import_busybox();
        let parent = Parent::new(docker);
        let Some(device) = Device::with_weights(&docker.dir) else { return lacks("the scheduler BFQ") };
        let weights = |all: u16, one: u16| {
            format!(r#""BlkioWeight":{all},"BlkioWeightDevice":[{{"Path":"{}","Weight":{one}}}]"#, device.0)
        };
        let host = format!(r#"{{"CgroupParent":"/{}",{}}}"#, parent.0, weights(300, 200));
        let body = format!(r#"{{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{host}}}"#);
        let made = docker.post("/containers/create?name=heavy", &body);
        if made.contains("Weight discarded") {
            docker.ok(&["rm", "heavy"]);
            return lacks("weights of block devices");
        }
        docker.ok(&["start", "heavy"]);
        let (all, one) = match is_legacy() {
            true => ("blkio.bfq.weight", "blkio.bfq.weight_device"),
            false => ("io.bfq.weight", "io.bfq.weight"),
        };
        assert!(value(&parent.0, all).contains("300") && value(&parent.0, one).contains(" 200"));
        docker.post("/containers/heavy/update", &format!("{{{}}}", weights(400, 500)));
        assert!(value(&parent.0, all).contains("400") && value(&parent.0, one).contains(" 500"));
        docker.ok(&["rm", "-f", "heavy"]);
        docker.post("/containers/create?name=none", &body.replace(&device.0, "/dev/null"));
        let (code, _, err) = docker.run(&["start", "none"]);
        assert!(code != 0 && err.contains("/dev/null is no block device"), "{err}");
        docker.ok(&["rm", "-f", "none"]);
    });
}

#[test]
fn an_update_of_what_is_fixed_is_refused_by_name_and_repeating_it_is_not() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "one", "--init", "--ulimit", "nofile=10:20", "busybox"]);
        for (field, wish) in [
            ("CgroupParent", r#""/other""#),
            ("Devices", r#"[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]"#),
            ("DeviceCgroupRules", r#"["c 1:3 r"]"#),
            (
                "DeviceRequests",
                r#"[{"Driver":"cdi","Count":2,"DeviceIDs":["v.org/c=d"],"Capabilities":[["gpu"]],"Options":{"a":"b"}}]"#,
            ),
            ("Ulimits", r#"[{"Name":"nofile","Soft":11,"Hard":20}]"#),
        ] {
            let answer = docker.ask("POST", "/containers/one/update", &format!(r#"{{"{field}":{wish}}}"#));
            assert!(answer.contains(&format!("update of {field} is unimplemented")), "{answer}");
        }
        let same =
            r#"{"Init":true,"Ulimits":[{"Name":"nofile","Soft":10,"Hard":20}],"Devices":[],"CpuShares":99}"#;
        docker.post("/containers/one/update", same);
        assert_eq!(docker.ok(&["inspect", "-f", "{{.HostConfig.CpuShares}}", "one"]), "99\n");
        if Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
            docker
                .post("/containers/one/update", r#"{"CpuRealtimePeriod":1000000,"CpuRealtimeRuntime":900}"#);
            let shown = [
                "inspect",
                "-f",
                "{{.HostConfig.CpuRealtimePeriod}} {{.HostConfig.CpuRealtimeRuntime}}",
                "one",
            ];
            assert_eq!(docker.ok(&shown), "1000000 900\n");
        } else {
            lacks("real-time groups");
        }
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn limits_of_kernel_memory_and_options_of_devices_are_taken_or_told() {
    with_daemon(|docker| {
        docker.import_busybox();
        let parent = Parent::new(docker);
        let host = format!(r#"{{"CgroupParent":"/{}","KernelMemoryTCP":16777216}}"#, parent.0);
        let body = format!(r#"{{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{host}}}"#);
        let made = docker.post("/containers/create?name=one", &body);
        docker.ok(&["start", "one"]);
        let file = "memory.kmem.tcp.limit_in_bytes";
        match crate::limits::found(&parent.0, file).is_empty() {
            true => assert!(made.contains("kernel memory TCP limit"), "{made}"),
            false => assert_eq!(value(&parent.0, file), (16 << 20).to_string()),
        }
        docker.ok(&["rm", "-f", "one"]);
        let request = r#"[{"Driver":"cdi","DeviceIDs":["vendor.org/class=none"],"Options":{"mode":"x"}}]"#;
        let body = format!(r#"{{"Image":"busybox","HostConfig":{{"DeviceRequests":{request}}}}}"#);
        let answer = docker.ask("POST", "/containers/create", &body);
        assert!(answer.contains("HostConfig.DeviceRequests[].Options"), "{answer}");
    });
}

/// Docker keeps them in the image's configuration and reads them from nowhere.
#[test]
fn terminals_and_networks_that_a_commit_names_are_no_matter_of_the_image() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "one", "busybox"]);
        let config = r#"{"Cmd":["sh","-c","tty; cat /sys/class/net/eth0/address"],"Tty":true,"OpenStdin":true,"StdinOnce":true,
            "NetworkDisabled":true,"MacAddress":"02:42:0a:2c:07:63"}"#;
        docker.post("/commit?container=one&repo=made&tag=v1", config);
        let (_, said, _) = docker.run(&["run", "--rm", "made:v1"]);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0] == "not a tty" && lines[1].len() == 17 && lines[1] != "02:42:0a:2c:07:63", "{said}");
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn a_container_of_another_platform_is_refused_and_of_this_one_is_made() {
    with_daemon(|docker| {
        docker.import_busybox();
        let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
        docker.post("/containers/create?name=here&platform=linux/amd64", body);
        let answer = docker.ask("POST", "/containers/create?platform=linux/s390x", body);
        assert!(answer.starts_with("HTTP/1.0 404") && answer.contains("s390x"), "{answer}");
        docker.ok(&["rm", "here"]);
    });
}

/// Steps run on the network of the daemon, so that one waits until its group has been looked at.
#[test]
fn quotas_of_a_build_are_in_the_groups_of_its_steps() {
    with_daemon(|docker| {
        docker.import_busybox();
        let gate = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        let file = format!("FROM busybox\nRUN nc 127.0.0.1 {}\n", gate.local_addr().unwrap().port());
        std::fs::write(context.join("Dockerfile"), file).unwrap();
        let limits = ["--cpu-period", "54321", "--cpu-quota", "43210", "--cpuset-cpus", "0-0"];
        let build = ["build", "--network", "host", "-t", "made"];
        let mut child =
            docker.command(&[&build, &limits[..], &[context.to_str().unwrap()]].concat()).spawn().unwrap();
        let (step, _) = gate.accept().unwrap();
        let has = |name: &str, wanted: &str| {
            let files = crate::limits::found("", name);
            let mut values = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
            assert!(values.any(|value| value.trim() == wanted), "no {name} is {wanted}");
        };
        if is_legacy() {
            has("cpu.cfs_period_us", "54321");
            has("cpu.cfs_quota_us", "43210");
        } else {
            has("cpu.max", "43210 54321");
        }
        drop((step, gate));
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_prune_of_the_build_cache_makes_the_room_that_is_asked_for() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        let file =
            "FROM busybox\nRUN head -c 3000000 /dev/urandom >/a\nRUN head -c 3000000 /dev/urandom >/b\n";
        std::fs::write(context.join("Dockerfile"), file).unwrap();
        docker.ok(&["build", "-t", "made", context.to_str().unwrap()]);
        docker.ok(&["rmi", "made"]);
        for (query, left) in [
            ("min-free-space=1", 6),
            ("max-used-space=10000000", 6),
            ("reserved-space=10000000&max-used-space=1", 6),
            ("max-used-space=5000000", 3),
            ("min-free-space=1000000000000000000", 0),
        ] {
            docker.post(&format!("/build/prune?{query}"), "");
            assert_eq!(megabytes(docker), left, "{query}");
        }
    });
}

/// What the cache of builds has of layers.
fn megabytes(docker: &Daemon) -> u64 {
    let answer = docker.ask("GET", "/v1.43/system/df?type=build-cache", "");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    let own = answer["BuildCache"].as_array().into_iter().flatten().filter(|piece| piece["Shared"] == false);
    own.map(|piece| piece["Size"].as_u64().unwrap()).sum::<u64>() / 1_000_000
}
