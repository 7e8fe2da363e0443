//! What a container sees and may do.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;

use hako_oci::runtime::{Mount, Spec};
use hako_sys::CloneFlags;

use crate::bed::{Bed, eventually, shell};

fn mount(destination: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(ToString::to_string).collect()));
    mount
}

#[tokio::test]
async fn every_namespace_is_its_own_and_the_sandbox_shares_three() {
    let bed = Bed::new().await;
    let script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done";
    let (_, first) = bed.sh(script).await;
    let (_, second) = bed.sh(script).await;
    let host = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
    let shim = |name: &str| {
        fs::read_link(format!("/proc/{}/ns/{name}", bed.shim.pid())).unwrap().display().to_string()
    };
    let names = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];
    assert_eq!(first.lines().count(), names.len());
    for ((name, first), second) in names.iter().zip(first.lines()).zip(second.lines()) {
        assert_ne!(first, host(name));
        let is_shared = ["net", "ipc", "uts"].contains(name);
        assert_eq!(first == shim(name), is_shared, "{name}");
        // Numbers of namespaces that are gone are given again, so only what is shared can be compared.
        assert!(!is_shared || first == second, "{name}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn the_root_is_the_images_and_writes_go_to_the_upper_directory() {
    let bed = Bed::new().await;
    fs::write(bed.image().join("etc/file"), "of the image").unwrap();
    let exit = bed
        .run(
            bed.container("c", crate::bed::shell("echo changed > /etc/file; ls /; pwd; echo $HOME; echo $$")),
        )
        .await;
    assert_eq!(exit.code, 0);
    assert_eq!(bed.log("c"), "bin\ndev\netc\nproc\nroot\nsys\ntmp\n/\n/root\n1\n");
    assert_eq!(fs::read_to_string(bed.image().join("etc/file")).unwrap(), "of the image");
    assert_eq!(fs::read_to_string(bed.path("c-upper/etc/file")).unwrap(), "changed\n");
    bed.finish().await;
}

#[tokio::test]
async fn capabilities_seccomp_and_ids_are_the_specs() {
    let bed = Bed::new().await;
    let (_, status) = bed.sh("cat /proc/self/status").await;
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    for set in ["CapBnd:", "CapPrm:", "CapEff:"] {
        assert_eq!(field(&status, set), "00000000a80425fb", "{set}");
    }
    assert_eq!(field(&status, "CapInh:"), "0000000000000000");
    assert_eq!((field(&status, "Seccomp:"), field(&status, "NoNewPrivs:")), ("2".into(), "0".into()));
    let (_, status) = bed
        .sh_with("cat /proc/self/status; id; echo $HOME; echo out > /dev/stdout", |spec| {
            let process = spec.process_mut().as_mut().unwrap();
            process.set_no_new_privileges(Some(true));
            process.user_mut().set_uid(1000).set_gid(1000).set_additional_gids(Some(vec![7, 8]));
        })
        .await;
    assert_eq!(field(&status, "CapEff:"), "0000000000000000");
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
    assert_eq!(field(&status, "Groups:"), "7 8");
    assert!(status.contains("uid=1000(user) gid=1000"));
    assert!(status.ends_with("/home/user\nout\n"), "{status}");
    bed.finish().await;
}

#[tokio::test]
async fn the_default_profile_forbids_new_namespaces_and_mounts() {
    let bed = Bed::new().await;
    let (code, output) = bed
        .sh("unshare -m true; echo $?; mount -t tmpfs x /tmp; echo $?; ip link add d type dummy; echo $?")
        .await;
    assert_eq!(code, 0);
    let failures = output.lines().filter(|line| *line == "1" || *line == "2" || *line == "255").count();
    assert_eq!(failures, 3, "{output}");
    assert!(output.contains("Operation not permitted"), "{output}");
    bed.finish().await;
}

#[tokio::test]
async fn masked_paths_are_empty_and_read_only_paths_refuse_writes() {
    let bed = Bed::new().await;
    let script = "cat /proc/kcore 2>/dev/null | wc -c; cat /proc/keys | wc -c; ls /sys/firmware 2>/dev/null | wc -l; echo 1 > /proc/sys/kernel/panic || echo ro; \
                  touch /sys/x || echo ro; touch /sys/fs/cgroup/x || echo ro; ls /proc/acpi 2>&1 | wc -l";
    let (_, output) = bed.sh(script).await;
    let lines: Vec<&str> = output.lines().filter(|line| !line.contains(':')).collect();
    assert_eq!(lines[..6], ["0", "0", "0", "ro", "ro", "ro"], "{output}");
    bed.finish().await;
}

#[tokio::test]
async fn dev_has_dockers_nodes_and_only_those_can_be_opened() {
    let bed = Bed::new().await;
    let script = "ls /dev; echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; \
                  mknod /tmp/disk b 254 0; head -c 1 /tmp/disk 2>/dev/null || echo denied";
    let (_, output) = bed.sh(script).await;
    let names: Vec<&str> = output.lines().take_while(|line| *line != "4").collect();
    let expected = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    assert_eq!(names, expected, "{output}");
    // The two streams come in any order.
    assert!(output.lines().any(|line| line == "denied"), "{output}");
    bed.finish().await;
}

#[tokio::test]
async fn bind_mounts_are_read_only_when_asked_and_files_too() {
    let bed = Bed::new().await;
    fs::create_dir(bed.path("data")).unwrap();
    fs::write(bed.path("file"), "content").unwrap();
    let (data, file) = (bed.path("data").display().to_string(), bed.path("file").display().to_string());
    let script = "echo x > /rw/new && echo written; echo x > /ro/new || echo refused; cat /etc/made/file; echo x > /etc/made/file || echo refused";
    let (_, output) = bed
        .sh_with(script, |spec| {
            let mounts = spec.mounts_mut().as_mut().unwrap();
            mounts.push(mount("/rw", &data, &["rbind", "rw"]));
            mounts.push(mount("/ro", &data, &["rbind", "rro"]));
            mounts.push(mount("/etc/made/file", &file, &["bind", "ro"]));
        })
        .await;
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with("sh:")).collect();
    assert_eq!(lines, ["written", "refused", "contentrefused"].map(|line| line), "{output}");
    bed.finish().await;
}

#[tokio::test]
async fn a_read_only_root_refuses_writes_and_keeps_its_mounts_writable() {
    let bed = Bed::new().await;
    let (_, output) = bed
        .sh_with("touch /x || echo refused; touch /dev/shm/x && echo written", |spec| {
            spec.root_mut().as_mut().unwrap().set_readonly(Some(true));
        })
        .await;
    assert!(output.contains("refused\n") && output.ends_with("written\n"), "{output}");
    bed.finish().await;
}

#[tokio::test]
async fn pod_wide_tmpfs_sysctls_and_host_name_are_the_sandboxes() {
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().join("shm");
    let bed = Bed::with(|config| {
        config.tmpfs.push(hako_runtime::TmpfsMount {
            path: path.clone(),
            size_bytes: Some(1 << 20),
            mode: 0o1777,
        });
        config.sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "80".to_owned());
    })
    .await;
    let source = path.display().to_string();
    let bind = |spec: &mut hako_oci::runtime::Spec| {
        spec.mounts_mut().as_mut().unwrap().push(mount("/shared", &source, &["rbind"]))
    };
    let (_, _) = bed.sh_with("echo shared > /shared/file", bind).await;
    let (_, output) = bed
        .sh_with(
            "cat /shared/file /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname; ip -o link | wc -l",
            bind,
        )
        .await;
    assert_eq!(output, "shared\n80\ninside\n1\n");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "the tmpfs is not on the host");
    bed.finish().await;
}

/// With the rights of the host's root, in namespaces of its own.
fn unconfined(spec: &mut Spec) {
    let all: Vec<String> = hako_sys::own_bounding_names().into_iter().map(str::to_owned).collect();
    let sets = serde_json::json!({ "bounding": all, "effective": all, "permitted": all, "inheritable": [] });
    let process = spec.process_mut().as_mut().unwrap();
    process.set_capabilities(Some(serde_json::from_value(sets).unwrap()));
    spec.linux_mut().as_mut().unwrap().set_seccomp(None).set_masked_paths(None).set_readonly_paths(None);
}

#[tokio::test]
async fn below_the_root_of_a_container_is_nothing_of_the_host() {
    let bed = Bed::new().await;
    let mut spec = shell("umount -l / && echo bare; sleep 100");
    unconfined(&mut spec);
    let pid = bed.shim.create(bed.container("c", spec)).await.unwrap();
    bed.shim.start("c").await.unwrap();
    eventually("the root is taken away", || bed.log("c") == "bare\n").await;
    let namespace = fs::File::open(format!("/proc/{pid}/ns/mnt")).unwrap();
    let look = move || {
        // With a root of its own the thread may go there.
        hako_sys::unshare(CloneFlags::NEWNS).unwrap();
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None).unwrap();
        let names: Vec<_> = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        (names, fs::write("/file", "").unwrap_err().kind())
    };
    assert_eq!(std::thread::spawn(look).join().unwrap(), (Vec::new(), ErrorKind::ReadOnlyFilesystem));
    bed.finish().await;
}

#[tokio::test]
async fn the_root_of_a_container_is_one_to_make_namespaces_from() {
    let bed = Bed::new().await;
    let script = "awk '$5 == \"/\" { print $4 }' /proc/self/mountinfo; unshare -r id -u; \
                  unshare -m sh -c 'mount -t tmpfs tmpfs /tmp && touch /tmp/x && ls /tmp'; ls /tmp; ls -d /..";
    let (_, output) = bed.sh_with(script, unconfined).await;
    // The kernel refuses a user namespace to who is in a mere chroot.
    assert_eq!(output, "/\n0\nx\n/..\n");
    bed.finish().await;
}
