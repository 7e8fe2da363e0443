//! Containers that take what they can get: they are held, they end when they are told to, and their neighbours live on.

use super::api::Api;
use super::bed::{Bed, Daemon};
use crate::platform::wait_until;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};

/// Starts a container without a network.
fn run(api: &Api, name: &str, script: &str, mut host: Value) {
    host["NetworkMode"] = json!("none");
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host });
    api.post(&format!("/containers/create?name={name}"), body);
    api.post(&format!("/containers/{name}/start"), Value::Null);
}

fn state(api: &Api, name: &str) -> Value {
    api.get(&format!("/containers/{name}/json"))["State"].clone()
}

fn with_neighbour(test: impl FnOnce(&Bed, &Daemon, &Api)) {
    let bed = Bed::new();
    let daemon = bed.up(None);
    bed.hako(&["image", "import-busybox"]);
    run(&daemon.api, "neighbour", "exec sleep 100000", json!({}));
    test(&bed, &daemon, &daemon.api);
    assert!(daemon.api.exec("neighbour", "echo alive").contains("alive"));
    drop(daemon);
    bed.down();
}

#[test]
fn a_fork_bomb_is_held_and_killed_and_its_neighbour_lives_on() {
    with_neighbour(|_, _, api| {
        run(api, "bomb", "exec sleep 100000", json!({ "PidsLimit": 64 }));
        // Every shell leaves two more and stays.
        let bomb = json!({ "Cmd": ["sh", "-c", "bomb() { bomb | bomb & sleep 100000; }; bomb"] });
        let exec = api.post("/containers/bomb/exec", bomb);
        api.post(&format!("/exec/{}/start", exec["Id"].as_str().unwrap()), json!({ "Detach": true }));
        wait_until("the bomb to fill what it may", || {
            let top = api.get("/containers/bomb/top");
            top["Processes"].as_array().is_some_and(|all| all.len() >= 32)
        });
        for _ in 0..10 {
            assert!(api.exec("neighbour", "echo alive").contains("alive"));
        }
        assert_eq!(state(api, "bomb")["Running"], true, "it ended by itself");
        api.post("/containers/bomb/kill", Value::Null);
        assert_eq!(state(api, "bomb")["ExitCode"], 137);
        api.delete("/containers/bomb");
    });
}

#[test]
fn a_process_that_ignores_its_signal_is_killed_when_its_time_is_over() {
    with_neighbour(|_, _, api| {
        let script = "trap '' TERM; touch /ready; while :; do sleep 0.1; done";
        run(api, "deaf", script, json!({}));
        wait_until("the trap", || api.exec("deaf", "ls /ready").ends_with("/ready\n"));
        api.post("/containers/deaf/stop?t=1", Value::Null);
        let state = state(api, "deaf");
        assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(137)));
        api.delete("/containers/deaf");
    });
}

#[test]
fn a_memory_hog_dies_alone_and_says_why() {
    with_neighbour(|_, _, api| {
        let limits = json!({ "Memory": 16 << 20, "MemorySwap": 16 << 20 });
        run(api, "hog", "exec tail /dev/zero", limits);
        wait_until("the hog's end", || state(api, "hog")["Running"] == false);
        let state = state(api, "hog");
        assert_eq!((&state["OOMKilled"], &state["ExitCode"]), (&json!(true), &json!(137)), "{state}");
        api.delete("/containers/hog");
    });
}

/// Keeps the processes of a container from running, and from dying, from outside: nobody tells the engine.
fn hold(api: &Api, name: &str) {
    let pid = &state(api, name)["Pid"];
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let find = |mark: &str| groups.lines().find_map(|line| line.split_once(mark)).map(|(_, path)| path);
    let (mount, path, file, word) = match find(":freezer:") {
        Some(path) => ("/sys/fs/cgroup/freezer", path, "freezer.state", "FROZEN"),
        None => ("/sys/fs/cgroup", find("0::").unwrap(), "cgroup.freeze", "1"),
    };
    // That of the sandbox, as the container's own is thawed by who kills it.
    let (sandbox, _) = path.rsplit_once('/').unwrap();
    std::fs::write(format!("{mount}{sandbox}/{file}"), word).unwrap();
}

#[test]
fn one_that_does_not_die_keeps_no_other_from_being_taken_down() {
    with_neighbour(|_, _, api| {
        for number in 0..3 {
            run(api, &format!("held-{number}"), "exec sleep 100000", json!({}));
        }
        hold(api, "held-1");
    });
}

/// The tmpfs under a bed's directory, gone when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn new() -> Self {
        let path = tempfile::Builder::new().prefix("hako-small-").tempdir().unwrap().keep();
        let size = Some("size=32m");
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), size).unwrap();
        Self(path)
    }

    fn free(&self) -> u64 {
        let disk = statvfs(&self.0).unwrap();
        disk.blocks_available() * disk.fragment_size()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount(&self.0);
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn on_a_full_disk_a_container_that_writes_its_log_goes_on() {
    let disk = SmallDisk::new();
    let bed = Bed::within(&disk.0);
    let daemon = bed.up(None);
    let api = &daemon.api;
    bed.hako(&["image", "import-busybox"]);
    let script = "n=0; while :; do yes 0123456789012345678901234567890123456789 | head -c 262144; n=$((n+1)); echo $n >/count/n; done";
    run(api, "talker", script, json!({ "Tmpfs": { "/count": "size=1m" } }));
    let count = || -> u64 {
        let said = api.exec("talker", "cat /count/n");
        said.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
    };
    wait_until("the disk to be full", || disk.free() < 16 << 10);
    let then = count();
    wait_until("the container to write on", || count() > then + 20);
    assert_eq!(state(api, "talker")["Running"], true);
    assert_eq!(api.get("/containers/json").as_array().unwrap().len(), 1);
    api.delete("/containers/talker?force=1");
    run(api, "next", "exec sleep 100000", json!({}));
    assert!(api.exec("next", "echo alive").contains("alive"));
    drop(daemon);
    bed.down();
    drop(disk);
}
