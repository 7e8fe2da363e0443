//! Files in and out of containers: docker cp, docker diff.

use crate::daemon::{Daemon, with_daemon};
use rustix::fs::inotify;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Stdio;

fn path(docker: &Daemon, name: &str) -> String {
    docker.dir.join(name).display().to_string()
}

#[test]
fn files_go_both_ways_from_containers_that_run_and_that_do_not() {
    with_daemon(|docker| {
        docker.import_busybox();
        let source = docker.dir.join("source");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/file"), "content\n").unwrap();
        std::fs::set_permissions(source.join("sub/file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::fs::hard_link(source.join("sub/file"), source.join("again")).unwrap();
        symlink("sub/file", source.join("link")).unwrap();
        docker.ok(&["create", "--name", "rest", "-v", "data:/data", "busybox", "cat", "/data/source/link"]);
        docker.ok(&["run", "-d", "--name", "up", "-v", "data:/data", "busybox", "sleep", "100"]);
        docker.with_each_cli(|docker| {
            for name in ["rest", "up"] {
                docker.ok(&["cp", source.to_str().unwrap(), &format!("{name}:/tmp/")]);
                let back = path(docker, "back");
                docker.ok(&["cp", &format!("{name}:/tmp/source"), &back]);
                let meta = std::fs::metadata(format!("{back}/sub/file")).unwrap();
                // Docker 20.10 loses the bit on the way in.
                let mode = if docker.is_peer() { 0o751 } else { 0o4751 };
                assert_eq!((meta.mode() & 0o7777, meta.nlink()), (mode, 2), "{name}");
                assert_eq!(std::fs::read_link(format!("{back}/link")).unwrap().to_str(), Some("sub/file"));
                std::fs::remove_dir_all(&back).unwrap();
                docker.ok(&["cp", &format!("{name}:/tmp/source/."), &back]);
                assert_eq!(std::fs::read_to_string(format!("{back}/again")).unwrap(), "content\n");
                std::fs::remove_dir_all(&back).unwrap();
                let one = path(docker, "one");
                docker.ok(&["cp", "-L", &format!("{name}:/tmp/source/link"), &one]);
                assert_eq!(std::fs::read_to_string(&one).unwrap(), "content\n");
                std::fs::remove_file(&one).unwrap();
            }
        });
        docker.ok(&["cp", source.to_str().unwrap(), "rest:/data"]);
        assert_eq!(
            docker.ok(&["exec", "up", "cat", "/data/source/link"]),
            "content\n",
            "a volume is a volume"
        );
        assert_eq!(docker.ok(&["start", "-a", "rest"]), "content\n");
        docker.ok(&["pause", "up"]);
        docker.ok(&["cp", "up:/data/source/sub/file", &path(docker, "paused")]);
        docker.ok(&["rm", "-f", "up", "rest"]);
        docker.ok(&["volume", "rm", "data"]);
    });
}

#[test]
fn archives_go_through_pipes_and_whole_roots_come_out() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["create", "--name", "box", "busybox"]);
        let out = docker.output(&["cp", "box:/bin/busybox", "-"]);
        assert!(out.status.success());
        let mut child = docker.command(&["cp", "-", "box:/tmp"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&out.stdout).unwrap();
        assert!(child.wait().unwrap().success());
        let again = docker.output(&["cp", "box:/tmp/busybox", "-"]);
        assert_eq!(again.stdout.len(), out.stdout.len());
        let root = path(docker, "root");
        docker.ok(&["cp", "box:/", &root]);
        assert!(std::path::Path::new(&root).join("bin/busybox").exists());
        docker.ok(&["rm", "box"]);
    });
}

#[test]
fn files_that_the_kernel_makes_are_copied_with_what_is_in_them() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let copied = path(docker, "copied");
        for file in
            ["/proc/version", "/proc/sys/kernel/ostype", "/sys/kernel/mm/transparent_hugepage/enabled"]
        {
            docker.ok(&["cp", &format!("box:{file}"), &copied]);
            assert_eq!(fs::read(&copied).unwrap(), fs::read(file).unwrap(), "{file}");
        }
        let (code, _, err) = docker.run(&["cp", "box:/proc/1/mem", &copied]);
        assert!(code != 0, "{err}");
        let root = path(docker, "running");
        docker.ok(&["cp", "box:/", &root]);
        assert!(std::path::Path::new(&root).join("bin/busybox").exists());
        assert_eq!(fs::read_dir(std::path::Path::new(&root).join("proc")).unwrap().count(), 0);
        docker.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn refusals_of_a_copy_have_docker_s_words() {
    with_daemon(|docker| {
        docker.import_busybox();
        std::fs::write(docker.dir.join("file"), "x").unwrap();
        let file = path(docker, "file");
        docker.ok(&["create", "--name", "box", "--read-only", "-v", "/data", "busybox"]);
        let refused = |args: &[&str], words: &str| {
            let (code, out, err) = docker.run(args);
            assert!(code != 0 && err.contains(words), "{args:?}: {out}{err}");
        };
        refused(&["cp", "box:/nothing", "-"], "Could not find the file /nothing in container box");
        refused(&["cp", &file, "box:/nowhere/file"], "Could not find the file /nowhere in container box");
        refused(&["cp", &file, "box:/etc/"], "container rootfs is marked read-only");
        docker.ok(&["cp", &file, "box:/data/"]);
        docker.ok(&["rm", "-v", "box"]);
    });
}

#[test]
fn cve_2018_15664_links_of_a_container_lead_nowhere_else() {
    with_daemon(|docker| {
        docker.import_busybox();
        let outside = docker.dir.join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "of the host\n").unwrap();
        std::fs::write(docker.dir.join("evil"), "evil\n").unwrap();
        let evil = path(docker, "evil");
        // It swaps a directory for a link to the host's path all the time.
        let script = format!(
            "mkdir -p {0} /a; echo mine >{0}/secret; ln -s {0} /b; while :; do mv /a /c; mv /b /a; mv /a /b; mv /c /a; done",
            outside.display()
        );
        docker.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", &script]);
        docker.until("it is at it", || docker.run(&["exec", "box", "ls", "-d", "/b"]).0 == 0);
        for round in 0..25 {
            let _ = docker.run(&["cp", &evil, &format!("box:/a/evil-{round}")]);
            let got = path(docker, "got");
            let _ = docker.run(&["cp", "box:/a/secret", &got]);
            if let Ok(text) = std::fs::read_to_string(&got) {
                assert_eq!(text, "mine\n");
                std::fs::remove_file(&got).unwrap();
            }
        }
        let names: Vec<_> =
            std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "of the host\n");
    });
}

/// CVE-2019-14271: dockerd once changed its root to the container's and had the C library load what names users from there.
#[test]
fn cve_2019_14271_nothing_of_the_container_is_loaded_or_run() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "mkdir -p /lib/x86_64-linux-gnu /etc; echo broken >/lib/x86_64-linux-gnu/libnss_evil.so.2; \
                      echo 'passwd: evil' >/etc/nsswitch.conf; mkfifo /wait; echo ok >/ok; read end </wait";
        docker.ok(&["run", "-d", "--name", "box", "-u", "0", "busybox", "sh", "-c", script]);
        docker.until("it is ready", || docker.run(&["exec", "box", "test", "-e", "/ok"]).0 == 0);
        let pid = docker.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
        let root = std::path::PathBuf::from(format!("/proc/{}/root", pid.trim()));
        let opened = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
        for dir in ["etc", "lib", "lib/x86_64-linux-gnu", "bin"] {
            let kinds = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
            inotify::add_watch(&opened, root.join(dir), kinds).unwrap();
        }
        let got = path(docker, "got");
        docker.ok(&["cp", "box:/ok", &got]);
        docker.ok(&["cp", "-a", &got, "box:/again"]);
        assert_eq!(std::fs::read_to_string(&got).unwrap(), "ok\n");
        let mut space = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&opened, &mut space);
        if let Ok(event) = reader.next() {
            panic!("{:?} of the container was opened", event.file_name());
        }
        // Had it been, it would have been seen.
        std::fs::read(root.join("etc/nsswitch.conf")).unwrap();
        assert_eq!(reader.next().unwrap().file_name(), Some(c"nsswitch.conf"));
    });
}

#[test]
fn diff_says_what_was_added_changed_and_deleted() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "--name",
            "box",
            "-v",
            "/data/deep",
            "busybox",
            "sh",
            "-c",
            "echo x >/etc/new; mkdir /made; rm /bin/wc; chmod 700 /etc; touch /data/deep/x",
        ]);
        let diff = docker.ok(&["diff", "box"]);
        // dockerd shows the places of mounts, which it made.
        let mut lines: Vec<&str> = diff.lines().filter(|line| !line.starts_with("A /data")).collect();
        assert!(docker.is_peer() || !diff.contains("/data"), "{diff}");
        lines.sort_unstable();
        assert_eq!(lines, ["A /etc/new", "A /made", "C /bin", "C /etc", "D /bin/wc"]);
        docker.ok(&["create", "--name", "fresh", "busybox"]);
        assert_eq!(docker.ok(&["diff", "fresh"]), "");
        docker.ok(&["rm", "-v", "box", "fresh"]);
    });
}

#[test]
fn what_is_copied_onto_a_file_of_the_network_is_seen_while_the_container_runs() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (file, back) = (path(docker, "file"), path(docker, "back"));
        fs::write(&file, "copied\n").unwrap();
        docker.ok(&["run", "-d", "--name", "up", "--hostname", "own", "busybox", "sleep", "1000"]);
        docker.ok(&["create", "--name", "rest", "--hostname", "own", "busybox", "cat", "/etc/hostname"]);
        for name in ["hostname", "hosts", "resolv.conf"] {
            docker.ok(&["cp", &file, &format!("up:/etc/{name}")]);
            assert_eq!(docker.ok(&["exec", "up", "cat", &format!("/etc/{name}")]), "copied\n", "{name}");
            docker.ok(&["cp", &format!("up:/etc/{name}"), &back]);
            assert_eq!(fs::read_to_string(&back).unwrap(), "copied\n", "{name}");
            docker.ok(&["cp", &file, &format!("rest:/etc/{name}")]);
        }
        // What is below the mounts at rest is hidden by them.
        assert_eq!(docker.ok(&["start", "-a", "rest"]), "own\n");
        docker.ok(&["restart", "-t", "0", "up"]);
        assert_eq!(docker.ok(&["exec", "up", "cat", "/etc/hostname"]), "own\n");
        docker.ok(&["rm", "-f", "up", "rest"]);
    });
}
