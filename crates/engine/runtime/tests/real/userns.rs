//! User namespaces: by the command line beside runc and crun, and in sandboxes over layers that stay the host's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hako_oci::runtime::{Mount, Spec};
use hako_runtime::{ExecIo, IdMap, IdRange};
use serde_json::json;

use crate::bed::{Bed, null_streams, process, set_args, shell, wait_exit};
use crate::bundle::{Bundle, HAKO, create};

/// The host's user that is root in these containers.
const ROOT: u32 = 300_000;

fn map() -> IdMap {
    let range = IdRange { inside: 0, outside: ROOT, count: 65536 };
    IdMap { uids: vec![range], gids: vec![range] }
}

/// Us, and those of the others that are installed.
fn runtimes() -> Vec<&'static str> {
    let is_there = |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    std::iter::once(HAKO).chain(["runc", "crun"].into_iter().filter(is_there)).collect()
}

fn linux(spec: &mut Spec) -> &mut hako_oci::runtime::Linux {
    spec.linux_mut().as_mut().unwrap()
}

fn add_user_namespace(spec: &mut Spec, path: Option<&str>) {
    let namespace = match path {
        None => json!({"type": "user"}),
        Some(path) => json!({"type": "user", "path": path}),
    };
    let namespaces = linux(spec).namespaces_mut().as_mut().unwrap();
    namespaces.push(serde_json::from_value(namespace).unwrap());
}

fn remapped(mut spec: Spec) -> Spec {
    add_user_namespace(&mut spec, None);
    let range =
        || serde_json::from_value(json!([{"containerID": 0, "hostID": ROOT, "size": 65536}])).unwrap();
    linux(&mut spec).set_uid_mappings(Some(range())).set_gid_mappings(Some(range()));
    spec
}

fn give(path: &Path) {
    chown(path, Some(ROOT), Some(ROOT)).unwrap();
}

/// A bundle whose root belongs to the container's root.
fn bundle(spec: Spec) -> Bundle {
    let bundle = Bundle::new(spec);
    fs::set_permissions(bundle.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["rootfs", "rootfs/tmp", "rootfs/etc", "rootfs/root"] {
        give(&bundle.path(name));
    }
    bundle
}

/// With pipes: a peer gives the files that its streams are to the container's root, and /dev/null is the machine's.
fn run(bundle: &Bundle, runtime: &str) -> Output {
    let output = bundle.command(runtime, &["run", "ID"]).stdin(Stdio::piped()).output().unwrap();
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!((null.uid(), null.gid()), (0, 0), "{runtime} gave /dev/null away");
    output
}

/// What crun lacks on hybrid control groups is not ours to find.
fn cannot_run_here(runtime: &str, errors: &str) -> bool {
    runtime == "crun" && errors.contains("cgroup")
}

fn says(script: &str, change: impl Fn(&mut Spec), wanted: &str) {
    for runtime in runtimes() {
        let mut spec = remapped(shell(script));
        change(&mut spec);
        let output = run(&bundle(spec), runtime);
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !cannot_run_here(runtime, &errors) {
            assert_eq!(text, wanted, "{runtime}: {errors}");
        }
    }
}

#[test]
fn ids_are_those_of_the_map_and_groups_can_be_set() {
    let script = "awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u:%g / /proc/1; cat /proc/self/setgroups; grep Groups /proc/self/status";
    let groups = |spec: &mut Spec| {
        let user = json!({"uid": 0, "gid": 0, "additionalGids": [5, 6]});
        spec.process_mut().as_mut().unwrap().set_user(serde_json::from_value(user).unwrap());
    };
    let line = format!("0 {ROOT} 65536\n");
    says(script, groups, &format!("{line}{line}0\n0:0\n0:0\nallow\nGroups:\t5 6 \n"));
}

#[test]
fn another_user_of_the_container_writes_its_streams_and_its_files() {
    let script =
        "echo through > /dev/stdout; id -u; echo x > /scratch/f; stat -c %u /scratch/f; echo y > /dev/null";
    let user = |spec: &mut Spec| {
        let user = json!({"uid": 1000, "gid": 1000});
        spec.process_mut().as_mut().unwrap().set_user(serde_json::from_value(user).unwrap());
        let tmpfs =
            json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]});
        spec.mounts_mut().as_mut().unwrap().push(serde_json::from_value(tmpfs).unwrap());
    };
    says(script, user, "through\n1000\n1000\n");
}

#[test]
fn the_files_of_its_root_are_the_mapped_users_on_the_host() {
    for runtime in runtimes() {
        let bundle =
            bundle(remapped(shell("touch /tmp/mine && mknod /tmp/null c 1 3 2>/dev/null || echo no node")));
        let output = run(&bundle, runtime);
        let errors = String::from_utf8_lossy(&output.stderr);
        if cannot_run_here(runtime, &errors) {
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&output.stdout), "no node\n", "{runtime}: {errors}");
        assert_eq!(fs::metadata(bundle.path("rootfs/tmp/mine")).unwrap().uid(), ROOT, "{runtime}");
    }
}

/// The host's root owns these; to the container it is nobody.
#[test]
fn root_of_the_container_is_nobody_to_files_of_the_host() {
    for runtime in runtimes() {
        let host = tempfile::tempdir().unwrap();
        fs::set_permissions(host.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("read", 0o644), ("secret", 0o600)] {
            fs::write(host.path().join(name), "kept").unwrap();
            fs::set_permissions(host.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let script = "cat /h/read; echo; for f in /h/read /h/secret /h/new /proc/sysrq-trigger; do echo x 2>/dev/null >$f && echo wrote $f; done; cat /h/secret 2>/dev/null; chown 0 /h/read 2>/dev/null || echo refused";
        let mut spec = remapped(shell(script));
        let bind =
            json!({"destination": "/h", "type": "bind", "source": host.path(), "options": ["rbind", "rw"]});
        spec.mounts_mut().as_mut().unwrap().push(serde_json::from_value(bind).unwrap());
        let output = run(&bundle(spec), runtime);
        let errors = String::from_utf8_lossy(&output.stderr);
        if cannot_run_here(runtime, &errors) {
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\nrefused\n", "{runtime}: {errors}");
        assert_eq!(fs::read(host.path().join("read")).unwrap(), b"kept");
    }
}

#[test]
fn parameters_of_its_network_can_be_set_and_those_of_the_host_cannot() {
    let script = "cat /proc/sys/net/ipv4/ip_forward; hostname; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo refused";
    let change = |spec: &mut Spec| {
        spec.set_hostname(Some("mapped".to_owned()));
        let sysctl = [("net.ipv4.ip_forward".to_owned(), "1".to_owned())];
        linux(spec).set_sysctl(Some(sysctl.into())).set_readonly_paths(None);
    };
    says(script, change, "1\nmapped\nrefused\n");
}

#[test]
fn a_container_in_a_user_namespace_is_created_entered_and_deleted() {
    let bundle = bundle(remapped(shell("touch /tmp/first; exec sleep 1000")));
    create(&bundle, &["create", "ID"]);
    assert_eq!(bundle.status(), "created");
    bundle.ok(&["start", "ID"]);
    bundle.until("running");
    let script = "id -u; awk '{print $2}' /proc/self/uid_map; touch /tmp/second; cat /proc/1/comm";
    assert_eq!(bundle.ok(&["exec", "ID", "sh", "-c", script]), format!("0\n{ROOT}\nsleep\n"));
    assert_eq!(
        bundle.ok(&["exec", "--user", "1000", "ID", "sh", "-c", "echo a >/dev/stdout; id -u"]),
        "a\n1000\n"
    );
    assert_eq!(fs::metadata(bundle.path("rootfs/tmp/second")).unwrap().uid(), ROOT);
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn a_user_namespace_that_exists_is_joined() {
    let holder = bundle(remapped(shell("exec sleep 1000")));
    create(&holder, &["run", "-d", "ID"]);
    let state: serde_json::Value = serde_json::from_str(&holder.ok(&["state", "ID"])).unwrap();
    let path = format!("/proc/{}/ns/user", state["pid"]);
    let mut spec = shell("id -u; readlink /proc/self/ns/user; touch /tmp/mine");
    add_user_namespace(&mut spec, Some(&path));
    let joiner = bundle(spec);
    let output = run(&joiner, HAKO);
    let name = fs::read_link(&path).unwrap().display().to_string();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("0\n{name}\n"), "{errors}");
    assert_eq!(fs::metadata(joiner.path("rootfs/tmp/mine")).unwrap().uid(), ROOT);
    holder.ok(&["delete", "--force", "ID"]);
}

#[test]
fn a_mount_has_the_ids_that_are_asked_for() {
    let host = tempfile::tempdir().unwrap();
    fs::set_permissions(host.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(host.path().join("old"), "").unwrap();
    let bind = |options: &[&str]| -> Mount {
        let mount = json!({"destination": "/h", "type": "bind", "source": host.path(), "options": options});
        serde_json::from_value(mount).unwrap()
    };
    let mut spec = remapped(shell("stat -c %u /h/old; touch /h/new; stat -c %u /h/new"));
    spec.mounts_mut().as_mut().unwrap().push(bind(&["bind", "idmap"]));
    let output = run(&bundle(spec), HAKO);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n0\n", "{errors}");
    assert_eq!(fs::metadata(host.path().join("new")).unwrap().uid(), 0, "on disk it is the host's");
    let mut own = bind(&["rbind", "ridmap"]);
    let ids = || serde_json::from_value(json!([{"containerID": 0, "hostID": 77, "size": 1}])).unwrap();
    own.set_uid_mappings(Some(ids())).set_gid_mappings(Some(ids()));
    let mut spec = shell("stat -c %u:%g /h/old");
    spec.mounts_mut().as_mut().unwrap().push(own);
    let output = run(&bundle(spec), HAKO);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "77:77\n", "{errors}");
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    let range = || serde_json::from_value(json!([{"containerID": 0, "hostID": 5, "size": 1}])).unwrap();
    let mut without = shell("true");
    linux(&mut without).set_uid_mappings(Some(range()));
    let mut no_ids = shell("true");
    add_user_namespace(&mut no_ids, None);
    let mut no_root = remapped(shell("true"));
    let other = serde_json::from_value(json!([{"containerID": 1, "hostID": 5, "size": 1}])).unwrap();
    linux(&mut no_root).set_uid_mappings(Some(other));
    let mut idmap = shell("true");
    let mount = json!({"destination": "/h", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]});
    idmap.mounts_mut().as_mut().unwrap().push(serde_json::from_value(mount).unwrap());
    for (spec, word) in
        [(without, "linux.namespaces"), (no_ids, "uidMappings"), (no_root, "group 0"), (idmap, "idmap")]
    {
        let output = run(&bundle(spec), HAKO);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(word), "{word}: {errors}");
    }
}

#[tokio::test]
async fn layers_and_what_is_written_over_them_keep_the_hosts_ids() {
    let bed = Bed::with(|config| config.user = Some(map())).await;
    chown(bed.image().join("etc/passwd"), Some(33), Some(33)).unwrap();
    let script = "stat -c %u /bin/busybox /etc/passwd; echo x > /new; chown 7:8 /new; chown 44 /etc/passwd; mkdir /d; ls -ln /new | awk '{print $3, $4}'; rm /etc/passwd; mknod /tmp/n c 1 3 2>/dev/null || echo no node; awk '{print $2}' /proc/self/uid_map";
    let id = "layers";
    let mut spec = shell(script);
    linux(&mut spec).set_readonly_paths(None);
    let exit = bed.run(bed.container(id, spec)).await;
    assert_eq!(bed.log(id), format!("0\n33\n7 8\nno node\n{ROOT}\n"), "{exit:?}");
    let upper = bed.path("layers-upper");
    let owner = |name: &str| fs::metadata(upper.join(name)).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!((owner("new"), owner("d")), ((7, 8), (0, 0)));
    assert_eq!(fs::symlink_metadata(upper.join("etc/passwd")).unwrap().rdev(), 0, "a whiteout");
    assert_eq!(fs::metadata(bed.image().join("etc/passwd")).unwrap().uid(), 33);
    bed.finish().await;
}

#[tokio::test]
async fn a_sandboxs_namespaces_belong_to_its_user_namespace() {
    let bed = Bed::with(|config| {
        config.user = Some(map());
        config.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
        config.sysctls.insert("kernel.shmmax".to_owned(), "12345678".to_owned());
    })
    .await;
    // The port takes CAP_NET_BIND_SERVICE over the network namespace, the name CAP_SYS_ADMIN over that of names.
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax; hostname; hostname changed && hostname; ip addr add 10.99.0.1/32 dev lo && echo address; mount -t tmpfs none /tmp && mount -t proc none /root && cat /root/1/comm; ls -ln /dev/null /dev/pts/ptmx | awk '{print $3}'; echo 5 > /dev/shm/x && cat /dev/shm/x";
    let (code, output) = bed
        .sh_with(script, |spec| {
            let caps = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
            let sets = json!({"bounding": caps, "effective": caps, "permitted": caps});
            spec.process_mut()
                .as_mut()
                .unwrap()
                .set_capabilities(Some(serde_json::from_value(sets).unwrap()));
            linux(spec).set_seccomp(None).set_masked_paths(None).set_readonly_paths(None);
        })
        .await;
    assert_eq!((code, output.as_str()), (0, "1\n12345678\ninside\nchanged\naddress\nsh\n0\n0\n5\n"));
    bed.finish().await;
}

#[tokio::test]
async fn execs_and_terminals_are_in_the_user_namespace() {
    let bed = Bed::with(|config| config.user = Some(map())).await;
    let mut spec = shell("exec sleep 1000");
    set_args(&mut spec, &["sleep", "1000"]);
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("box", spec)).await.unwrap();
    bed.shim.start("box").await.unwrap();
    let write =
        process(&["sh", "-c", "id -u > /seen; awk '{print $2}' /proc/self/uid_map >> /seen; tty >> /seen"]);
    let size = hako_runtime::TtySize { width: 80, height: 24 };
    let started = bed.shim.exec("box", write, ExecIo::Tty { size }).await.unwrap();
    let exit = wait_exit(&mut events, "box", Some(&started.exec_id)).await;
    assert_eq!(exit.code, 0);
    let seen = bed.path("box-upper/seen");
    assert_eq!(fs::read_to_string(&seen).unwrap(), format!("0\n{ROOT}\n/dev/pts/0\n"));
    assert_eq!(fs::metadata(&seen).unwrap().uid(), 0, "on disk it is the host's");
    let started =
        bed.shim.exec("box", process(&["touch", "/again"]), ExecIo::Fds(null_streams())).await.unwrap();
    assert_eq!(wait_exit(&mut events, "box", Some(&started.exec_id)).await.code, 0);
    let uid = fs::metadata(format!("/proc/{}", started.pid)).map(|found| found.uid());
    assert!(uid.is_err(), "it ended");
    bed.shim.kill("box", 9, false).await.unwrap();
    wait_exit(&mut events, "box", None).await;
    bed.finish().await;
}

/// A sandbox whose shim is killed leaves neither processes nor mounts.
#[tokio::test]
async fn nothing_is_left_of_a_mapped_sandbox_whose_shim_was_killed() {
    let bed = Bed::with(|config| config.user = Some(map())).await;
    bed.shim.create(bed.container("box", shell("exec sleep 1000"))).await.unwrap();
    bed.shim.start("box").await.unwrap();
    let (pid, group) = (bed.shim.pid(), bed.cgroup("box"));
    let shim = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    let root = hako_cgroup::CgroupRoot::detect().unwrap();
    let group = root.open(&group).unwrap();
    group.kill_all().unwrap();
    group.delete().unwrap();
    root.open(&bed.config.cgroup).unwrap().delete().unwrap();
    bed.check_clean(pid);
}
