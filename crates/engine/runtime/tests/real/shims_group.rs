//! The group that all shims of an instance share.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hako_cgroup::CgroupRoot;

use crate::bed::{Bed, eventually, unique};

/// The shims' group in the unified hierarchy, where the machine has that.
fn directory(instance: &str) -> Option<PathBuf> {
    let root = CgroupRoot::detect().unwrap();
    Some(root.unified()?.mount.join(&instance[1..]).join("shims"))
}

/// Moving it there would wait for a grace period of the kernel.
#[tokio::test]
async fn a_shim_is_in_its_group_before_it_is_told_anything() {
    let instance = unique("/hako-test-");
    let Some(directory) = directory(&instance) else { return eprintln!("skipped: no unified hierarchy") };
    let root = CgroupRoot::detect().unwrap();
    root.create_everywhere(&format!("{instance}/shims")).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut parent = Command::new(hako_testkit::shim_exe());
    parent.arg("shim").arg(format!("--group={}", directory.display())).stdin(OwnedFd::from(theirs));
    assert!(parent.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    drop(parent);
    let pids = || fs::read_to_string(directory.join("cgroup.procs")).unwrap();
    assert_eq!(pids().lines().count(), 1);
    let pid = pids();
    let open = || {
        let open = fs::read_dir(format!("/proc/{}/fd", pid.trim())).unwrap();
        open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect::<Vec<_>>()
    };
    // Its parent may have ended before it did anything.
    eventually("a shim lets go of its group's directory", || !open().contains(&directory)).await;
    drop(ours);
    eventually("a shim that nobody has a socket of ends", || pids().is_empty()).await;
    root.open(&instance).unwrap().delete().unwrap();
}

#[tokio::test]
async fn an_engine_says_where_its_shims_are_born() {
    let bed = Bed::new().await;
    if let Some(directory) = directory(&bed.instance) {
        let told = fs::read_to_string(format!("/proc/{}/cmdline", bed.shim.pid())).unwrap();
        let word = format!("--group={}", directory.display());
        assert!(told.split('\0').any(|arg| arg == word), "{told:?}");
        let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap();
        assert_eq!(pids.trim(), bed.shim.pid().to_string());
    }
    bed.finish().await;
}
