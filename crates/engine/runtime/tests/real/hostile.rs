//! Images and programs that try to get out.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::Path;

use hako_runtime::{CreateContainer, ExecIo, Rootfs};
use hako_sys::{open_in_root, open_or_create_in_root};
use hako_testkit::while_swapped;
use rustix::fs::OFlags;

use crate::bed::{Bed, null_streams, process, shell, wait_exit};

/// CVE-2021-30465: mount targets that are links lead to places in the image, never on the host. A root that is a directory is
/// built among the host's mounts, an overlay where they never were.
#[tokio::test]
async fn cve_2021_30465_links_in_the_image_do_not_lead_mounts_out_of_it() {
    let bed = Bed::new().await;
    let (outside, image) = (bed.path("outside"), bed.image());
    fs::create_dir(&outside).unwrap();
    symlink(&outside, image.join("data")).unwrap();
    symlink("../../../../../../../../etc", image.join("up")).unwrap();
    symlink("/run/nowhere/resolv.conf", image.join("etc/resolv.conf")).unwrap();
    fs::write(bed.path("secret"), "secret").unwrap();
    let source = bed.path("secret").display().to_string();
    let script = "cat /data/file /up/file /etc/resolv.conf; ls -d /run/nowhere";
    for rootfs in [bed.overlay("c"), Rootfs::Bind(image)] {
        let mut spec = shell(script);
        for target in ["/data/file", "/up/file", "/etc/resolv.conf"] {
            let mut mount = hako_oci::runtime::Mount::default();
            mount
                .set_destination(target.into())
                .set_typ(Some("bind".to_owned()))
                .set_source(Some((&source).into()))
                .set_options(Some(vec!["bind".to_owned()]));
            spec.mounts_mut().as_mut().unwrap().push(mount);
        }
        let exit = bed.run(CreateContainer { rootfs, ..bed.container("c", spec) }).await;
        assert_eq!((exit.code, bed.log("c").as_str()), (0, "secretsecretsecret/run/nowhere\n"));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        bed.shim.delete("c", false).await.unwrap();
        fs::remove_file(bed.path("c.log")).unwrap();
    }
    bed.finish().await;
}

/// CVE-2021-30465 and its kin: whatever an image's links say, a path is found, and made, below the root.
#[test]
fn cve_2021_30465_links_lead_nowhere_but_below_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, root) = (dir.path().join("outside"), dir.path().join("root"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    fs::create_dir_all(root.join("dir")).unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../../outside", root.join("dir/relative")).unwrap();
    symlink("/", root.join("dir/root")).unwrap();
    let fd = fs::File::open(&root).unwrap();
    for path in ["/absolute/file", "/dir/relative/file", "/../outside/file"] {
        assert!(open_in_root(fd.as_fd(), Path::new(path), OFlags::PATH).is_err(), "{path}");
    }
    let found = open_in_root(fd.as_fd(), Path::new("/dir/root/../.."), OFlags::PATH).unwrap();
    assert_eq!(rustix::fs::fstat(found).unwrap().st_ino, root.metadata().unwrap().ino());
    for path in ["/absolute/made", "/dir/relative/made/deep", "/../outside/again"] {
        open_or_create_in_root(fd.as_fd(), Path::new(path), false).unwrap();
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
    assert!(root.join("outside/made/deep").is_file() && root.join("outside/again").is_file());
}

/// CVE-2024-45310: while places of mounts are made in a volume, whoever shares it puts a link on the way, and empty files and
/// directories would be made on the host.
#[test]
fn cve_2024_45310_a_link_that_comes_on_the_way_makes_nothing_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
    fs::create_dir_all(volume.join("a")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, volume.join("b")).unwrap();
    let root = fs::File::open(dir.path()).unwrap();
    while_swapped(&volume.join("a"), &volume.join("b"), || {
        for round in 0..4000 {
            let path = format!("/volume/a/made-{}/{round}", round % 7);
            // It may be refused, when what was found is no directory any more.
            let _ = open_or_create_in_root(root.as_fd(), Path::new(&path), round % 2 == 0);
        }
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
    let made = [volume.join("a"), volume.join("b")].iter().any(|name| name.join("made-1").is_dir());
    assert!(made, "nothing was made in the volume either");
}

/// CVE-2025-31133: files are masked with the null device, which whoever made the container's /dev may have replaced by a link
/// to what was to be hidden.
#[tokio::test]
async fn cve_2025_31133_what_is_masked_is_not_masked_by_what_the_container_calls_the_null_device() {
    let bed = Bed::new().await;
    let dev = bed.path("dev");
    fs::create_dir(&dev).unwrap();
    symlink("/secret", dev.join("null")).unwrap();
    fs::write(bed.image().join("secret"), "secret\n").unwrap();
    fs::write(bed.image().join("masked"), "masked\n").unwrap();
    for rootfs in [bed.overlay("c"), Rootfs::Bind(bed.image())] {
        let mut spec = shell("readlink /dev/null; cat /masked; test -c /masked && echo hidden");
        let mounts = spec.mounts_mut().as_mut().unwrap();
        mounts.retain(|mount| !mount.destination().starts_with("/dev"));
        let mut mount = hako_oci::runtime::Mount::default();
        mount
            .set_destination("/dev".into())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(dev.clone()))
            .set_options(Some(vec!["bind".to_owned()]));
        mounts.push(mount);
        spec.linux_mut().as_mut().unwrap().set_masked_paths(Some(vec!["/masked".to_owned()]));
        let exit = bed.run(CreateContainer { rootfs, ..bed.container("c", spec) }).await;
        assert_eq!((exit.code, bed.log("c").as_str()), (0, "/secret\nhidden\n"));
        bed.shim.delete("c", false).await.unwrap();
        fs::remove_file(bed.path("c.log")).unwrap();
    }
    bed.finish().await;
}

#[tokio::test]
async fn an_image_whose_proc_is_a_link_is_refused() {
    let bed = Bed::new().await;
    symlink("/tmp", bed.image().join("proc")).unwrap();
    let error = bed.shim.create(bed.container("c", shell("true"))).await.unwrap_err();
    assert!(error.to_string().contains("/proc in the image is a symbolic link"), "{error}");
    bed.finish().await;
}

/// CVE-2024-21626: neither a descriptor nor a working directory of the host reaches the program.
#[tokio::test]
async fn cve_2024_21626_no_descriptor_of_ours_reaches_the_program() {
    let leak = fs::File::open("/").unwrap();
    // As one that a careless caller leaves open to all its children.
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let bed = Bed::new().await;
    let (_, output) = bed.sh("ls /proc/self/fd").await;
    // The fourth is the one ls reads the directory with.
    assert_eq!(output, "0\n1\n2\n3\n");
    let descriptors = (3..32).chain([leak.as_raw_fd()]).map(|number| format!("/proc/self/fd/{number}"));
    for cwd in descriptors {
        let id = crate::bed::unique("c");
        let mut spec = shell("pwd; ls");
        spec.process_mut().as_mut().unwrap().set_cwd((&cwd).into());
        assert!(bed.shim.create(bed.container(&id, spec)).await.is_err(), "{cwd}");
    }
    bed.finish().await;
}

/// CVE-2019-5736: the host's executable, reached by a program that names it as its own, cannot be written.
#[tokio::test]
async fn cve_2019_5736_our_executable_cannot_be_overwritten_from_inside() {
    let own = tempfile::tempdir().unwrap();
    let copy = own.path().join("hako");
    fs::copy("/proc/self/exe", &copy).unwrap();
    let bed = Bed::with(|config| config.exe = copy).await;
    // While it runs it is busy in any case; what counts is a link kept until it does not.
    let link = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(format!("/proc/{}/exe", bed.shim.pid()));
    let link = link.unwrap();
    bed.finish().await;
    let path = format!("/proc/self/fd/{}", link.as_raw_fd());
    let refused = fs::OpenOptions::new().write(true).open(path).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

/// CVE-2016-9962: the init and exec'd processes cannot be looked into before they became their program.
#[tokio::test]
async fn cve_2016_9962_a_process_that_enters_shows_nothing_to_those_inside() {
    let bed = Bed::new().await;
    let script =
        "while :; do for p in /proc/[0-9]*; do case $p in /proc/1) ;; *) readlink $p/exe; esac; done; done";
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("c", shell(script))).await.unwrap();
    bed.shim.start("c").await.unwrap();
    // Events of the execs must not crowd out the container's.
    for _ in 0..50 {
        bed.shim.exec("c", process(&["true"]), ExecIo::Fds(null_streams())).await.unwrap();
    }
    bed.shim.kill("c", 9, false).await.unwrap();
    wait_exit(&mut events, "c", None).await;
    for line in bed.log("c").lines() {
        assert!(line == "/bin/busybox" || line.is_empty(), "{line}");
    }
    bed.finish().await;
}

/// CVE-2025-52565: the terminal is bound onto /dev/console, which an image without a mount of its own at /dev chooses. It is
/// bound where that leads in the image.
#[tokio::test]
async fn cve_2025_52565_a_console_that_is_a_link_leads_nowhere_on_the_host() {
    let bed = Bed::new().await;
    let (outside, image) = (bed.path("outside"), bed.image());
    fs::write(&outside, "untouched").unwrap();
    fs::create_dir(image.join("dev")).unwrap();
    symlink(&outside, image.join("dev/console")).unwrap();
    for rootfs in [bed.overlay("c"), Rootfs::Bind(image)] {
        let mut spec = shell("echo > /dev/console; test -c /dev/console && echo bound");
        spec.mounts_mut().as_mut().unwrap().retain(|mount| {
            !matches!(mount.destination().to_str(), Some("/dev" | "/dev/shm" | "/dev/mqueue"))
        });
        let mut container = CreateContainer { rootfs, ..bed.container("c", spec) };
        container.stdio.tty = true;
        let exit = bed.run(container).await;
        assert_eq!(exit.code, 0, "{}", bed.log("c"));
        assert!(bed.log("c").contains("bound"), "{}", bed.log("c"));
        bed.shim.delete("c", false).await.unwrap();
        fs::remove_file(bed.path("c.log")).unwrap();
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    bed.finish().await;
}

/// CVE-2022-0492: whoever mounts a hierarchy of version 1 sets its release agent, which the host runs.
#[tokio::test]
async fn cve_2022_0492_a_container_mounts_no_hierarchy() {
    let bed = Bed::new().await;
    let script = "mkdir /m; mount -t cgroup -o memory none /m 2>/dev/null && echo mounted; \
                  unshare -U -r -m true 2>/dev/null && echo unshared; \
                  for f in $(ls -d /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent 2>/dev/null); do \
                  echo x > $f 2>/dev/null && echo wrote; done; echo end";
    let (_, output) = bed.sh(script).await;
    assert_eq!(output, "end\n");
    bed.finish().await;
}
