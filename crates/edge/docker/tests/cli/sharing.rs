//! Namespaces of other containers and of the host.

use crate::daemon::{Daemon, with_daemon};

fn refused(docker: &Daemon, args: &[&str], words: &str) {
    let (code, out, err) = docker.run(args);
    assert!(code != 0 && err.contains(words), "{args:?}: {out}{err}");
}

#[test]
fn a_container_is_in_the_network_of_another() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "web", "--add-host", "far:10.9.8.7", "busybox", "sleep", "1000"]);
        let id = docker.ok(&["inspect", "-f", "{{.Id}}", "web"]);
        let script = "hostname; ip -4 -o addr show dev eth0; cat /etc/hosts /etc/resolv.conf";
        let own = docker.ok(&["exec", "web", "sh", "-c", script]);
        docker.with_each_cli(|docker| {
            let joined = ["--network", "container:web"];
            let run = [&["run", "--rm"][..], &joined, &["busybox", "sh", "-c", script]].concat();
            assert_eq!(docker.ok(&run), own);
            docker.ok(&[&["create", "--name", "side"][..], &joined, &["busybox", "true"]].concat());
            let mode = docker.ok(&[
                "inspect",
                "-f",
                "{{.HostConfig.NetworkMode}} {{.NetworkSettings.Networks}}",
                "side",
            ]);
            assert_eq!(mode, format!("container:{} map[]\n", id.trim()));
            docker.ok(&["rm", "side"]);
        });
        let create =
            |more: &[&'static str]| [&["create", "--network", "container:web"], more, &["busybox"]].concat();
        refused(
            docker,
            &create(&["--add-host", "a:1.2.3.4"]),
            "conflicting options: custom host-to-IP mapping",
        );
        refused(docker, &create(&["-p", "80"]), "conflicting options: port");
        if !docker.is_peer() {
            refused(
                docker,
                &["create", "--network", "container:nobody", "busybox"],
                "No such container: nobody",
            );
        }
        docker.ok(&["create", "--name", "late", "--network", "container:web", "busybox", "true"]);
        docker.ok(&["stop", "-t", "0", "web"]);
        refused(docker, &["start", "late"], "cannot join network of a non running container");
        docker.ok(&["start", "web"]);
        docker.ok(&["start", "-a", "late"]);
    });
}

#[test]
fn processes_of_another_container_are_seen() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "12345"]);
        docker.with_each_cli(|docker| {
            let script = "tr '\\0' ' ' </proc/1/cmdline; kill -0 1 && echo seen";
            let run = ["run", "--rm", "--pid", "container:web", "busybox", "sh", "-c", script];
            assert_eq!(docker.ok(&run), "sleep 12345 seen\n");
        });
        docker.ok(&["stop", "-t", "0", "web"]);
        refused(
            docker,
            &["run", "--rm", "--pid", "container:web", "busybox"],
            if docker.is_peer() { "is not running" } else { "cannot join PID of a non running" },
        );
    });
}

#[test]
fn shared_memory_goes_to_those_that_are_let_in() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "echo note >/dev/shm/note; exec sleep 1000";
        let donor =
            ["run", "-d", "--ipc", "shareable", "--shm-size", "1m", "--name", "donor", "busybox", "sh", "-c"];
        docker.ok(&[&donor[..], &[script]].concat());
        docker.until("the note is there", || {
            docker.run(&["exec", "donor", "test", "-f", "/dev/shm/note"]).0 == 0
        });
        let names = |pid: &str| std::fs::read_link(format!("/proc/{}/ns/ipc", pid.trim())).unwrap();
        let own = names(&docker.ok(&["inspect", "-f", "{{.State.Pid}}", "donor"]));
        docker.with_each_cli(|docker| {
            let read = "cat /dev/shm/note; readlink /proc/self/ns/ipc; echo answer >/dev/shm/answer; \
                        dd if=/dev/zero of=/dev/shm/big bs=1M count=2 2>/dev/null || echo full; rm /dev/shm/big";
            let said = docker.ok(&["run", "--rm", "--ipc", "container:donor", "busybox", "sh", "-c", read]);
            assert_eq!(said, format!("note\n{}\nfull\n", own.display()));
            assert_eq!(docker.ok(&["exec", "donor", "cat", "/dev/shm/answer"]), "answer\n");
            let none = "ls -d /dev/shm 2>/dev/null; grep -c ' /dev/shm ' /proc/mounts";
            let (_, said, _) = docker.run(&["run", "--rm", "--ipc", "none", "busybox", "sh", "-c", none]);
            assert!(said.ends_with("0\n"), "{said}");
        });
        docker.ok(&["run", "-d", "--name", "private", "busybox", "sleep", "1000"]);
        refused(docker, &["run", "--rm", "--ipc", "container:private", "busybox"], "non-shareable IPC");
        if !docker.is_peer() {
            refused(docker, &["create", "--ipc", "odd", "busybox"], "odd");
        }
    });
}
