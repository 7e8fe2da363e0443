//! What a container sees of itself, as programs know it from Docker's.

use crate::daemon::with_daemon;
use crate::limits::{is_legacy, lacks};

#[test]
fn an_exec_has_the_home_of_its_user_unless_one_is_given() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        docker.ok(&["run", "-d", "--name", "given", "-e", "HOME=/given", "busybox", "sleep", "1000"]);
        docker.ok(&["exec", "box", "sh", "-c", "echo web:x:33:33::/srv:/bin/sh >>/etc/passwd"]);
        docker.with_each_cli(|docker| {
            let home = |options: &[&str], name: &str| {
                let said = docker.ok(&[&["exec"], options, &[name, "sh", "-c", "echo $HOME"]].concat());
                said.trim().to_owned()
            };
            for (options, name, wanted) in [
                (&["-u", "web"][..], "box", "/srv"),
                (&[], "box", "/root"),
                (&["-u", "33"], "box", "/srv"),
                (&["-u", "4242"], "box", "/"),
                (&["-u", "web", "-e", "HOME=/asked"], "box", "/asked"),
                (&["-u", "nobody"], "given", "/given"),
            ] {
                assert_eq!(home(options, name), wanted, "{options:?} {name}");
            }
        });
        docker.ok(&["rm", "-f", "box", "given"]);
    });
}

#[test]
fn a_container_is_known_by_its_files_without_having_changed_anything() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "stat -c '%a %s' /.dockerenv; readlink /etc/mtab; exec sleep 1000";
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
        docker.until("it has looked", || docker.ok(&["logs", "box"]) == "755 0\n/proc/mounts\n");
        docker.ok(&["create", "--name", "rests", "busybox"]);
        let copied = docker.dir.join("sign");
        docker.with_each_cli(|docker| {
            for name in ["box", "rests"] {
                assert_eq!(docker.ok(&["diff", name]), "", "{name}");
                docker.ok(&["cp", &format!("{name}:/.dockerenv"), copied.to_str().unwrap()]);
                assert_eq!(std::fs::metadata(&copied).unwrap().len(), 0, "{name}");
                std::fs::remove_file(&copied).unwrap();
            }
            let sizes = docker.ok(&["ps", "-a", "-s", "--format", "{{.Size}}"]);
            assert!(sizes.lines().all(|size| size.starts_with("0B (virtual ")), "{sizes}");
        });
        docker.ok(&["exec", "box", "rm", "/.dockerenv"]);
        assert_eq!(docker.ok(&["diff", "box"]), "D /.dockerenv\n");
        docker.ok(&["rm", "-f", "box", "rests"]);
    });
}

#[test]
fn a_volume_can_be_below_the_groups_of_which_each_hierarchy_is_seen() {
    with_daemon(|docker| {
        if !is_legacy() {
            return lacks("the groups of cgroup v1");
        }
        docker.import_busybox();
        let dir = docker.dir.join("foo");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("inside"), "").unwrap();
        let bind = format!("{}:/sys/fs/cgroup/foo", dir.display());
        docker.with_each_cli(|docker| {
            let run = |script| docker.ok(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script]);
            assert_eq!(run("ls /sys/fs/cgroup/foo; touch /sys/fs/cgroup/foo/mine"), "inside\n");
            std::fs::remove_file(dir.join("mine")).unwrap();
            let seen = run("ls /sys/fs/cgroup");
            let root = hako_cgroup::CgroupRoot::detect().unwrap();
            for one in root.hierarchies().iter().filter(|one| one.version == hako_cgroup::Version::V1) {
                let name = one.mount.file_name().unwrap().to_str().unwrap();
                assert!(seen.lines().any(|line| line == name), "{name}: {seen}");
            }
        });
    });
}
