//! The contract suite that every implementation of [`Snapshotter`] passes.

use crate::{MountedTree, Mounts, Overlay, Snapshotter, State};
use hako_error::Kind;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// An implementation under test: opened in a directory, reopened as after a crash.
fn open(dir: &Path) -> Box<dyn Snapshotter> {
    Box::new(Overlay::open(dir).unwrap())
}

fn suite() -> (tempfile::TempDir, Box<dyn Snapshotter>) {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = open(dir.path());
    (dir, snapshots)
}

fn tree(mounts: &Mounts, dir: &Path) -> MountedTree {
    MountedTree::mount(mounts, &dir.join("scratch")).unwrap()
}

/// Commits `name` on `parent` holding one file of that name.
fn layer(snapshots: &dyn Snapshotter, name: &str, parent: Option<&str>) {
    let mounts = snapshots.prepare("making", parent).unwrap();
    fs::write(mounts.upper.unwrap().join(name), name).unwrap();
    snapshots.commit(name, "making").unwrap();
}

#[test]
fn a_chain_of_commits_merges_with_the_topmost_first() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    layer(&*snapshots, "b", Some("a"));
    let mounts = snapshots.prepare("run", Some("b")).unwrap();
    assert_eq!(mounts.lower.len(), 2);
    let tree = tree(&mounts, dir.path());
    fs::write(tree.path().join("a"), "changed").unwrap();
    fs::remove_file(tree.path().join("b")).unwrap();
    assert_eq!(fs::read_to_string(mounts.lower[1].join("a")).unwrap(), "a");
    assert_eq!(fs::read_to_string(mounts.lower[0].join("b")).unwrap(), "b");
    assert_eq!(snapshots.layers("b").unwrap(), mounts.lower);
    assert!(snapshots.layers("run").is_err() && snapshots.layers("none").is_err());
}

#[test]
fn a_snapshot_made_alone_is_stacked_when_it_is_committed() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    fs::write(snapshots.prepare("alone", None).unwrap().upper.unwrap().join("b"), "b").unwrap();
    assert!(snapshots.commit_onto("b", "alone", Some("nowhere")).unwrap_err().is_not_found());
    snapshots.commit_onto("b", "alone", Some("a")).unwrap();
    assert_eq!(snapshots.stat("b").unwrap().parent.as_deref(), Some("a"));
    assert_eq!(open(dir.path()).list(), snapshots.list());
    let tree = tree(&snapshots.view("look", Some("b")).unwrap(), dir.path());
    assert!(tree.path().join("a").exists() && tree.path().join("b").exists());
    assert_eq!(snapshots.remove("a").unwrap_err().kind(), Kind::FailedPrecondition);
}

#[test]
fn a_view_and_a_base_can_always_be_mounted() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    for (key, parent) in [("v0", None), ("v1", Some("a"))] {
        let mounts = snapshots.view(key, parent).unwrap();
        assert!(mounts.upper.is_none() && mounts.lower.len() >= 2);
        let tree = tree(&mounts, dir.path());
        assert_eq!(tree.path().join("a").exists(), parent.is_some());
        assert!(fs::write(tree.path().join("x"), "").is_err(), "a view is read-only");
    }
    tree(&snapshots.prepare("base", None).unwrap(), dir.path());
}

#[test]
fn state_and_parent_are_told_and_survive_a_reopen() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    snapshots.prepare("run", Some("a")).unwrap();
    snapshots.view("look", Some("a")).unwrap();
    let before = snapshots.list();
    let reopened = open(dir.path());
    assert_eq!(reopened.list(), before);
    assert_eq!(reopened.stat("run").unwrap().parent.as_deref(), Some("a"));
    assert_eq!(reopened.stat("look").unwrap().state, State::View);
    assert_eq!(reopened.mounts("run").unwrap(), snapshots.mounts("run").unwrap());
}

#[test]
fn a_parent_cannot_be_removed_before_its_children() {
    let (_dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    snapshots.prepare("run", Some("a")).unwrap();
    let error = snapshots.remove("a").unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.chain().contains("run"), "{error:?}");
    snapshots.remove("run").unwrap();
    snapshots.remove("a").unwrap();
    assert!(snapshots.list().is_empty());
    assert!(snapshots.remove("a").unwrap_err().is_not_found());
}

#[test]
fn names_are_taken_once_and_stay_inside_the_directory() {
    let (_dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    for key in ["a", "making"] {
        if key == "making" {
            snapshots.prepare(key, None).unwrap();
        }
        assert_eq!(snapshots.prepare(key, None).unwrap_err().kind(), Kind::AlreadyExists);
    }
    assert_eq!(snapshots.commit("a", "making").unwrap_err().kind(), Kind::AlreadyExists);
    for key in ["", "..", "../x", "a/b", ".x", "a:b"] {
        assert_eq!(snapshots.prepare(key, None).unwrap_err().kind(), Kind::Invalid, "{key:?}");
    }
    let long = "f".repeat(100);
    snapshots.prepare(&long, None).unwrap();
    assert_eq!(snapshots.stat(&long).unwrap().name, long);
}

#[test]
fn only_committed_snapshots_are_parents_and_only_active_ones_commit() {
    let (_dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    snapshots.prepare("run", Some("a")).unwrap();
    snapshots.view("look", Some("a")).unwrap();
    assert_eq!(snapshots.prepare("x", Some("run")).unwrap_err().kind(), Kind::FailedPrecondition);
    assert!(snapshots.prepare("x", Some("nowhere")).unwrap_err().is_not_found());
    for key in ["look", "a"] {
        assert_eq!(snapshots.commit("y", key).unwrap_err().kind(), Kind::FailedPrecondition);
    }
    assert_eq!(snapshots.mounts("a").unwrap_err().kind(), Kind::FailedPrecondition);
}

#[test]
fn a_root_keeps_owner_and_mode_of_the_root_below() {
    let (_dir, snapshots) = suite();
    let upper = snapshots.prepare("making", None).unwrap().upper.unwrap();
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(&upper, Some(12), Some(34)).unwrap();
    snapshots.commit("a", "making").unwrap();
    let root = fs::metadata(snapshots.prepare("run", Some("a")).unwrap().upper.unwrap()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o1770, 12, 34));
}

#[test]
fn usage_counts_hard_links_once() {
    let (_dir, snapshots) = suite();
    let upper = snapshots.prepare("run", None).unwrap().upper.unwrap();
    fs::write(upper.join("a"), vec![1; 8192]).unwrap();
    fs::hard_link(upper.join("a"), upper.join("b")).unwrap();
    let usage = snapshots.usage("run").unwrap();
    assert_eq!((usage.inodes, usage.bytes >= 8192, usage.bytes < 16384), (1, true, true));
}

#[test]
fn a_crash_in_the_middle_leaves_nothing_half_done() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    snapshots.prepare("run", Some("a")).unwrap();
    // Killed while preparing, while removing, and between sealing and the commit's rename.
    fs::create_dir_all(dir.path().join("new/7/fs/x")).unwrap();
    fs::create_dir_all(dir.path().join("trash/7/fs/x")).unwrap();
    let live = dir.path().join("live/run");
    fs::write(live.join("committed.json"), r#"{"name":"b","parent":"a","is_view":false}"#).unwrap();
    fs::remove_dir_all(live.join("work")).unwrap();
    let reopened = open(dir.path());
    let names: Vec<String> = reopened.list().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["a", "run"]);
    for place in ["new", "trash"] {
        assert_eq!(fs::read_dir(dir.path().join(place)).unwrap().count(), 0);
    }
    tree(&reopened.mounts("run").unwrap(), dir.path());
    reopened.commit("b", "run").unwrap();
}

#[test]
fn many_threads_prepare_commit_and_remove_at_once() {
    let (_dir, snapshots) = suite();
    layer(&*snapshots, "base", None);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let snapshots = &snapshots;
            scope.spawn(move || {
                for round in 0..10 {
                    let (key, name) = (format!("k{thread}"), format!("n{thread}-{round}"));
                    snapshots.prepare(&key, Some("base")).unwrap();
                    snapshots.commit(&name, &key).unwrap();
                    snapshots.remove(&name).unwrap();
                }
            });
        }
    });
    assert_eq!(snapshots.list().len(), 1);
}

/// A committed snapshot's record once the sync behind the commit is done with it.
fn settled_record(dir: &Path, name: &str) -> String {
    let path = dir.join("committed").join(name).join("committed.json");
    loop {
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("unsynced_boot") {
            return text;
        }
        std::thread::yield_now();
    }
}

#[test]
fn what_a_power_cut_caught_unsynced_is_gone_with_all_above_it() {
    let (dir, snapshots) = suite();
    for (name, parent) in [("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("a"))] {
        layer(&*snapshots, name, parent);
    }
    for name in ["a", "b", "c", "d"] {
        settled_record(dir.path(), name);
    }
    drop(snapshots);
    let record = r#"{"name":"b","parent":"a","is_view":false,"unsynced_boot":"an earlier one"}"#;
    fs::write(dir.path().join("committed/b/committed.json"), record).unwrap();
    let names: Vec<String> = open(dir.path()).list().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["a", "d"]);
    assert!(!dir.path().join("committed/c").exists());
}

#[test]
fn what_a_killed_process_left_unsynced_stays_and_is_synced() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    let settled = settled_record(dir.path(), "a");
    drop(snapshots);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let marked = settled.replace('}', &format!(r#","unsynced_boot":"{}"}}"#, boot.trim()));
    fs::write(dir.path().join("committed/a/committed.json"), marked).unwrap();
    let reopened = open(dir.path());
    assert_eq!(reopened.stat("a").unwrap().state, State::Committed);
    assert_eq!(settled_record(dir.path(), "a"), settled);
}

#[test]
fn what_cannot_be_deleted_of_a_snapshot_is_tried_again_and_in_nobodys_way() {
    let (dir, snapshots) = suite();
    layer(&*snapshots, "a", None);
    let place = dir.path().join("committed/a/fs/busy");
    fs::create_dir(&place).unwrap();
    // What is mounted over in this thread's namespace is busy.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("none"), &place, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    snapshots.remove("a").unwrap();
    assert_eq!(snapshots.list(), []);
    let left = || fs::read_dir(dir.path().join("trash")).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!((snapshots.empty_trash(), left().count()), (1, 1));
    // Nothing but that stays: another of that name comes and goes, and the next process starts.
    layer(&*snapshots, "a", None);
    snapshots.remove("a").unwrap();
    assert_eq!((snapshots.empty_trash(), left().count()), (1, 1));
    let next = open(dir.path());
    layer(&*next, "a", None);
    next.remove("a").unwrap();
    let busy = left().next().unwrap().join("fs/busy");
    assert_eq!(left().count(), 1);
    umount(&busy).unwrap();
    assert_eq!((snapshots.empty_trash(), left().count()), (0, 0));
}
