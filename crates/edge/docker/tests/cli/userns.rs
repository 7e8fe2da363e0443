//! `--userns-remap`: containers whose users are not the host's.

use crate::daemon::{Daemon, with_daemon_of};
use hako_container::{IdMap, IdRange};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Who root of these containers is.
const ROOT: u32 = 400_000;

fn remapped(test: impl FnOnce(&Daemon) + Send + 'static) {
    let range = IdRange { inside: 0, outside: ROOT, count: 65_536 };
    let users = IdMap { uids: vec![range], gids: vec![range] };
    with_daemon_of(Some(users), |daemon| {
        daemon.import_busybox();
        test(daemon);
    });
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

fn volume(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", name]).trim().into()
}

#[test]
fn a_container_has_users_of_its_own_and_everything_it_needs() {
    remapped(|daemon| {
        let script = "awk '{print $1, $2, $3}' /proc/self/uid_map; id -u; stat -c %u / /bin/busybox /etc/hosts /dev/null /dev/shm /proc/1 /sys/class/net/lo; \
            echo '1.2.3.4 me' >> /etc/hosts && tail -n1 /etc/hosts; echo x > /dev/null && echo y > /dev/shm/y && echo z > /dev/stdout; \
            hostname; cat /proc/sys/net/core/somaxconn; (nc -l -p 80 & sleep 0.1; kill $!) && echo port; tty";
        let flags = ["run", "--rm", "--hostname", "box", "--sysctl", "net.core.somaxconn=77", "-t"];
        let out = daemon.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat()).replace('\r', "");
        let wanted =
            format!("0 {ROOT} 65536\n0\n0\n0\n0\n0\n0\n0\n0\n1.2.3.4 me\nz\nbox\n77\nport\n/dev/pts/0\n");
        assert_eq!(out, wanted);
        assert!(daemon.ok(&["info", "-f", "{{.SecurityOptions}}"]).contains("name=userns"));
        let user = ["run", "--rm", "-u", "1000:1000", "--tmpfs", "/t", "busybox", "sh", "-c"];
        assert_eq!(daemon.ok(&[&user[..], &["touch /t/x; stat -c %u:%g /t/x"]].concat()), "1000:1000\n");
    });
}

#[test]
fn root_of_a_container_has_no_rights_over_the_host() {
    remapped(|daemon| {
        let host = daemon.dir.join("host");
        fs::create_dir(&host).unwrap();
        fs::set_permissions(&host, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(host.join("file"), "kept").unwrap();
        let bind = format!("{}:/h", host.display());
        let script = "cat /h/file; echo; echo x 2>/dev/null > /h/file || echo not written; touch /h/new 2>/dev/null || echo not made; \
            chmod 777 /h/file 2>/dev/null || echo not changed; mknod /node c 1 1 2>/dev/null || echo no node; \
            mknod /block b 254 0 2>/dev/null || echo no block; echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no parameter; \
            mount -t tmpfs none /mnt 2>/dev/null || echo no mount; nsenter -t 1 -n true 2>/dev/null; cat /proc/kmsg 2>/dev/null | head -c1";
        // Capabilities are those of its user namespace, however many.
        for flags in [&[][..], &["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"]] {
            let all = [&["run", "--rm", "-v", &bind][..], flags, &["busybox", "sh", "-c", script]].concat();
            let out = daemon.ok(&all);
            let wanted = "kept\nnot written\nnot made\nnot changed\nno node\nno block\nno parameter\n";
            assert_eq!(out.replace("no mount\n", ""), wanted, "{flags:?}");
        }
        assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "kept");
        let (code, _, err) = daemon.run(&["run", "--rm", "--sysctl", "kernel.panic=1", "busybox", "true"]);
        assert!(code != 0 && err.contains("kernel.panic"), "{err}");
    });
}

#[test]
fn a_volumes_files_belong_to_the_hosts_users_and_the_layers_to_the_containers() {
    remapped(|daemon| {
        let dockerfile = "FROM busybox\nRUN mkdir /data && echo a > /data/a && chown 7:8 /data/a && chmod 4755 /data/a && ln /data/a /data/b && chown 9 /data\n";
        let context = daemon.dir.join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        daemon.ok(&["build", "-t", "withdata", context.to_str().unwrap()]);
        let script = "stat -c %u:%g:%a:%h /data /data/a; echo b > /data/new; chown 5:6 /data/new; touch /layer; chown 5:6 /layer";
        let out = daemon.ok(&["run", "--name", "ccx", "-v", "vol:/data", "withdata", "sh", "-c", script]);
        assert_eq!(out, "9:0:755:2\n7:8:4755:2\n");
        let place = volume(daemon, "vol");
        assert_eq!(owner(&place), (ROOT + 9, ROOT));
        assert_eq!(owner(&place.join("a")), (ROOT + 7, ROOT + 8));
        assert_eq!(owner(&place.join("new")), (ROOT + 5, ROOT + 6));
        daemon.ok(&["volume", "create", "empty"]);
        assert_eq!(owner(&volume(daemon, "empty")), (ROOT, ROOT));
        // What leaves the engine has the container's ids.
        daemon.ok(&["commit", "ccx", "layered"]);
        let own = ["run", "--rm", "--userns", "host", "layered", "stat", "-c", "%u:%g", "/layer"];
        assert_eq!(daemon.ok(&own), "5:6\n");
        let tar = daemon.dir.join("ccx.tar");
        daemon.ok(&["export", "-o", tar.to_str().unwrap(), "ccx"]);
        let listed =
            std::process::Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(&tar).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.lines().any(|line| line.ends_with(" layer") && line.contains(" 5/6 ")), "{listed}");
        assert!(daemon.ok(&["diff", "ccx"]).contains("A /layer"));
    });
}

/// The numbers of an archive's entries.
fn ids(tar: &[u8]) -> Vec<(String, u64, u64)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned();
    let number = |bytes: &[u8]| u64::from_str_radix(&text(bytes), 8).unwrap_or(0);
    let (mut found, mut rest) = (Vec::new(), tar);
    while rest.len() >= 512 && rest[0] != 0 {
        found.push((text(&rest[..100]), number(&rest[108..116]), number(&rest[116..124])));
        let size = usize::try_from(number(&rest[124..136])).unwrap();
        rest = &rest[(512 + size.div_ceil(512) * 512).min(rest.len())..];
    }
    found
}

#[test]
#[expect(clippy::too_many_lines, reason = "one container, step by step")]
fn copies_have_the_containers_ids_whether_it_runs_or_not() {
    remapped(|daemon| {
        let file = daemon.dir.join("file");
        fs::write(&file, "copied").unwrap();
        std::os::unix::fs::chown(&file, Some(33), Some(34)).unwrap();
        let script = "touch /mine /data/mine; chown 5:6 /mine /data/mine; exec sleep 1000";
        daemon.ok(&[
            "run",
            "-d",
            "--name",
            "ccx",
            "-v",
            "vol:/data",
            "-u",
            "0",
            "--tmpfs",
            "/t",
            "busybox",
            "sh",
            "-c",
            script,
        ]);
        daemon.until("it has made its files", || {
            daemon.run(&["exec", "ccx", "test", "-u", "/data/mine"]).0 < 2
                && daemon.run(&["exec", "ccx", "stat", "/data/mine"]).0 == 0
        });
        daemon.until("it has given them away", || {
            daemon.ok(&["exec", "ccx", "stat", "-c", "%u", "/data/mine"]) == "5\n"
        });
        for state in ["running", "stopped"] {
            let of = |path: &str| {
                let out = daemon.output(&["cp", &format!("ccx:{path}"), "-"]);
                assert!(out.status.success(), "{state} {path}: {}", String::from_utf8_lossy(&out.stderr));
                let (_, uid, gid) = ids(&out.stdout).pop().unwrap();
                (uid, gid)
            };
            assert_eq!(
                (of("/mine"), of("/data/mine"), of("/bin/busybox")),
                ((5, 6), (5, 6), (0, 0)),
                "{state}"
            );
            // With the owners of the file, and those of its user.
            for (flag, target) in
                [(&[][..], "/own"), (&["-a"], "/as-root"), (&[], "/data/own"), (&["-a"], "/data/as-root")]
            {
                let target = format!("ccx:{target}-{state}");
                daemon.ok(&[&["cp"][..], flag, &[file.to_str().unwrap(), &target]].concat());
            }
            if state == "running" {
                daemon.ok(&["cp", file.to_str().unwrap(), "ccx:/bin/sh.copy"]);
                daemon.ok(&["kill", "ccx"]);
                daemon.ok(&["wait", "ccx"]);
            }
        }
        daemon.ok(&["start", "ccx"]);
        let at = |path: &str| daemon.ok(&["exec", "ccx", "stat", "-c", "%u:%g", path]);
        for state in ["running", "stopped"] {
            for place in ["", "/data"] {
                assert_eq!(at(&format!("{place}/own-{state}")), "33:34\n", "{place} {state}");
                assert_eq!(at(&format!("{place}/as-root-{state}")), "0:0\n", "{place} {state}");
            }
        }
        assert_eq!(owner(&volume(daemon, "vol").join("own-stopped")), (ROOT + 33, ROOT + 34));
    });
}

#[test]
fn execs_health_checks_and_restarts_are_in_the_user_namespace() {
    remapped(|daemon| {
        daemon.ok(&[
            "run",
            "-d",
            "--name",
            "ccx",
            "--init",
            "--health-cmd",
            "id -u | grep -q ^0$ && touch /healthy",
            "--health-interval",
            "100ms",
            "busybox",
            "sleep",
            "1000",
        ]);
        let health = || daemon.ok(&["inspect", "-f", "{{.State.Health.Status}}", "ccx"]);
        daemon.until("it is healthy", || health() == "healthy\n");
        let script = "id -u; stat -c %u /healthy; awk '{print $2}' /proc/self/uid_map";
        assert_eq!(daemon.ok(&["exec", "ccx", "sh", "-c", script]), format!("0\n0\n{ROOT}\n"));
        assert_eq!(
            daemon.ok(&["exec", "-u", "12", "ccx", "sh", "-c", "echo x > /dev/stderr; id -u"]),
            "12\n"
        );
        assert!(daemon.ok(&["top", "ccx"]).contains(&ROOT.to_string()));
        daemon.ok(&["restart", "-t", "0", "ccx"]);
        assert_eq!(daemon.ok(&["exec", "ccx", "stat", "-c", "%u", "/healthy"]), "0\n");
        daemon.ok(&["pause", "ccx"]);
        daemon.ok(&["unpause", "ccx"]);
        daemon.ok(&["update", "--memory", "64m", "--memory-swap", "64m", "ccx"]);
        daemon.ok(&["rm", "-f", "ccx"]);
    });
}

#[test]
fn what_has_rights_over_the_host_needs_the_hosts_users() {
    remapped(|daemon| {
        for (flags, words) in [
            (&["--privileged"][..], "privileged mode is incompatible with user namespaces"),
            (
                &["--network", "host"],
                "cannot share the host's network namespace when user namespaces are enabled",
            ),
            (&["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
        ] {
            let (code, _, err) = daemon.run(&[&["run", "--rm"][..], flags, &["busybox", "true"]].concat());
            assert!(code == 125 && err.contains(words), "{flags:?}: {err}");
            let script = "awk '{print $2}' /proc/self/uid_map";
            let host =
                [&["run", "--rm", "--userns", "host"][..], flags, &["busybox", "sh", "-c", script]].concat();
            assert_eq!(daemon.ok(&host), "0\n", "{flags:?}");
        }
        assert_eq!(
            daemon.ok(&["run", "--rm", "--ipc", "host", "--uts", "host", "busybox", "id", "-u"]),
            "0\n"
        );
        let body = r#"{"Image": "busybox", "HostConfig": {"UsernsMode": "private"}}"#;
        let refused = std::panic::catch_unwind(|| daemon.post("/containers/create", body));
        assert!(refused.is_err());
    });
}

#[test]
fn namespaces_of_another_container_come_with_its_user_namespace() {
    remapped(|daemon| {
        daemon.ok(&["run", "-d", "--name", "aax", "--ipc", "shareable", "busybox", "sleep", "1000"]);
        daemon.ok(&["exec", "aax", "sh", "-c", "echo shared > /dev/shm/x"]);
        let script = "readlink /proc/self/ns/user; cat /dev/shm/x; ps | grep -c 'sleep 1000'; ip link set lo up 2>&1; id -u; touch /made; stat -c %u /made";
        let join = [
            "--network",
            "container:aax",
            "--pid",
            "container:aax",
            "--ipc",
            "container:aax",
            "--cap-add",
            "NET_ADMIN",
        ];
        let own = daemon.ok(&["exec", "aax", "readlink", "/proc/self/ns/user"]);
        let out = daemon.ok(&[&["run", "--rm"][..], &join, &["busybox", "sh", "-c", script]].concat());
        assert!(out.starts_with(&format!("{own}shared\n")) && out.ends_with("\n0\n0\n"), "{own}{out}");
        daemon.ok(&["run", "-d", "--name", "bbx", "busybox", "sleep", "1000"]);
        let two = ["run", "--rm", "--network", "container:aax", "--pid", "container:bbx", "busybox", "true"];
        let (code, _, err) = daemon.run(&two);
        assert!(code != 0 && err.contains("two containers whose user namespaces"), "{err}");
        daemon.ok(&["run", "-d", "--name", "hhx", "--userns", "host", "busybox", "sleep", "1000"]);
        let (code, _, err) = daemon.run(&["run", "--rm", "--network", "container:hhx", "busybox", "true"]);
        assert!(code == 125 && err.contains("--userns=host"), "{err}");
        let host = ["run", "--rm", "--userns", "host", "--network", "container:aax", "busybox", "true"];
        daemon.ok(&host);
        daemon.ok(&["rm", "-f", "aax", "bbx", "hhx"]);
    });
}

#[test]
#[expect(clippy::too_many_lines, reason = "one container, step by step")]
fn networks_ports_images_as_mounts_and_devices_work_as_ever() {
    remapped(|daemon| {
        daemon.ok(&["network", "create", "net"]);
        daemon.ok(&[
            "run",
            "-d",
            "--name",
            "server",
            "--network",
            "net",
            "busybox",
            "sh",
            "-c",
            "while echo hello | nc -l -p 80; do :; done",
        ]);
        let fetch = [
            "run",
            "--rm",
            "--network",
            "net",
            "busybox",
            "sh",
            "-c",
            "until nc server 80 </dev/null; do sleep 0.1; done",
        ];
        assert_eq!(daemon.ok(&fetch), "hello\n");
        daemon.ok(&["network", "disconnect", "net", "server"]);
        daemon.ok(&["network", "connect", "net", "server"]);
        daemon.ok(&["rm", "-f", "server"]);
        daemon.ok(&["network", "rm", "net"]);
        let device = [
            "run",
            "--rm",
            "--device",
            "/dev/zero:/dev/nothing",
            "busybox",
            "sh",
            "-c",
            "head -c3 /dev/nothing | wc -c; stat -c %u /dev/nothing",
        ];
        assert_eq!(daemon.ok(&device), "3\n0\n");
        let newer = ["/usr/local/bin/docker"].map(PathBuf::from).into_iter().any(|cli| cli.exists());
        if newer {
            daemon.with_each_cli(|daemon| {
                let mount = [
                    "run",
                    "--rm",
                    "--mount",
                    "type=image,source=busybox,target=/image",
                    "busybox",
                    "stat",
                    "-c",
                    "%u",
                    "/image/bin/busybox",
                ];
                let (code, out, err) = daemon.run(&mount);
                // Debian's command line does not know the type.
                assert!(
                    (code == 0 && out == "0\n") || err.to_lowercase().contains("mount type"),
                    "{code} {out}{err}"
                );
            });
        }
    });
}
