//! Create, start, kill, delete; exec; adoption.

use hako_error::Kind;
use hako_runtime::{ContainerStatus, ExecIo, Shim};

use crate::bed::{Bed, eventually, null_streams, process, set_args, shell, wait_exit};

#[tokio::test]
async fn a_container_runs_and_reports_its_exit() {
    let bed = Bed::new().await;
    let exit = bed.run(bed.container("c", shell("echo hello; exit 7"))).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert_eq!(bed.log("c"), "hello\n");
    assert_eq!(Shim::read_exit(&bed.config.state_dir, "c").unwrap(), Some(exit.clone()));
    let states = bed.shim.state().await.unwrap();
    assert_eq!(states[0].status, ContainerStatus::Stopped);
    assert_eq!(states[0].exit, Some(exit));
    bed.shim.delete("c", false).await.unwrap();
    assert!(bed.shim.state().await.unwrap().is_empty());
    assert_eq!(Shim::read_exit(&bed.config.state_dir, "c").unwrap(), None);
    bed.finish().await;
}

#[tokio::test]
async fn nothing_of_the_program_runs_before_start() {
    let bed = Bed::new().await;
    bed.shim.create(bed.container("c", shell("echo ran"))).await.unwrap();
    assert_eq!(bed.shim.state().await.unwrap()[0].status, ContainerStatus::Created);
    assert_eq!(bed.log("c"), "");
    let mut events = bed.shim.events();
    bed.shim.start("c").await.unwrap();
    assert_eq!(wait_exit(&mut events, "c", None).await.code, 0);
    assert_eq!(bed.log("c"), "ran\n");
    bed.finish().await;
}

#[tokio::test]
async fn a_running_container_is_killed_and_cannot_be_deleted_before() {
    let bed = Bed::new().await;
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("c", shell("sleep 1000 & sleep 1000"))).await.unwrap();
    bed.shim.start("c").await.unwrap();
    assert_eq!(bed.shim.delete("c", false).await.unwrap_err().kind(), Kind::FailedPrecondition);
    assert_eq!(bed.shim.shutdown(false).await.unwrap_err().kind(), Kind::FailedPrecondition);
    bed.shim.kill("c", 9, false).await.unwrap();
    let exit = wait_exit(&mut events, "c", None).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert_eq!(bed.shim.kill("c", 15, false).await.unwrap_err().kind(), Kind::FailedPrecondition);
    assert_eq!(bed.shim.kill("none", 15, false).await.unwrap_err().kind(), Kind::NotFound);
    bed.finish().await;
}

#[tokio::test]
async fn a_missing_program_and_one_without_execute_bit_are_told_apart() {
    let bed = Bed::new().await;
    std::fs::write(bed.image().join("bin/data"), "text").unwrap();
    for (program, kind, text) in [
        ("nonesuch", Kind::NotFound, "executable file not found in $PATH"),
        ("/bin/nonesuch", Kind::NotFound, "no such file or directory"),
        ("data", Kind::Forbidden, "permission denied"),
        ("/etc", Kind::Forbidden, "is a directory"),
    ] {
        let mut spec = shell("");
        set_args(&mut spec, &[program]);
        let error = bed.shim.create(bed.container("c", spec)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{program}: {error}");
        assert!(error.to_string().contains(text), "{program}: {error}");
        assert!(bed.shim.state().await.unwrap().is_empty());
    }
    bed.finish().await;
}

#[tokio::test]
async fn an_exec_runs_in_the_container_with_its_own_streams() {
    let bed = Bed::new().await;
    let mut events = bed.shim.events();
    bed.shim.create(bed.container("c", shell("echo here > /tmp/mark; sleep 1000"))).await.unwrap();
    let early = bed.shim.exec("c", process(&["true"]), ExecIo::Fds(null_streams())).await.unwrap_err();
    assert_eq!(early.kind(), Kind::FailedPrecondition);
    bed.shim.start("c").await.unwrap();
    let mark = bed.path("c-upper/tmp/mark");
    eventually("the container wrote its mark", || std::fs::read(&mark).is_ok_and(|text| !text.is_empty()))
        .await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let [null, _, error] = null_streams();
    let io = ExecIo::Fds([null, writer.into(), error]);
    let script = "cat /tmp/mark; hostname; readlink /proc/self; grep Seccomp: /proc/self/status; exit 3";
    let started = bed.shim.exec("c", process(&["sh", "-c", script]), io).await.unwrap();
    let exit = wait_exit(&mut events, "c", Some(&started.exec_id)).await;
    assert_eq!(exit.code, 3);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["here", "inside"]);
    assert!(lines[2].parse::<u32>().unwrap() < 100, "a pid of the container's namespace");
    assert!(lines[3].ends_with('2'), "under the container's seccomp profile");
    let missing = bed.shim.exec("c", process(&["nonesuch"]), ExecIo::Fds(null_streams())).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    let long = bed.shim.exec("c", process(&["sleep", "1000"]), ExecIo::Fds(null_streams())).await.unwrap();
    bed.shim.kill_exec("c", &long.exec_id, 15).await.unwrap();
    assert_eq!(wait_exit(&mut events, "c", Some(&long.exec_id)).await.code, 143);
    bed.finish().await;
}

/// The engine of this test is another process, killed with SIGKILL while its container runs.
#[tokio::test]
async fn an_engine_killed_and_started_again_adopts_its_containers() {
    let bed = Bed::new().await;
    let status = std::process::Command::new("/proc/self/exe")
        .args(["--exact", "lifecycle::the_engine_that_is_killed", "--ignored", "--nocapture"])
        .env("BED", bed.directory.path())
        .env("INSTANCE", &bed.instance)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let state = bed.path("other");
    // One exited while no engine was there, one runs.
    eventually("the exit is on record", || Shim::read_exit(&state, "short").unwrap().is_some()).await;
    let adopted = Shim::connect(&bed.path("o")).await.unwrap();
    let states = adopted.state().await.unwrap();
    let find = |id: &str| states.iter().find(|state| state.id == id).unwrap();
    assert_eq!(find("short").exit.as_ref().unwrap().code, 5);
    assert_eq!(find("long").status, ContainerStatus::Running);
    let mut events = adopted.events();
    let exec =
        adopted.exec("long", process(&["sh", "-c", "kill 1"]), ExecIo::Fds(null_streams())).await.unwrap();
    assert_eq!(wait_exit(&mut events, "long", Some(&exec.exec_id)).await.code, 0);
    adopted.kill("long", 9, false).await.unwrap();
    assert_eq!(wait_exit(&mut events, "long", None).await.code, 137);
    for id in ["short", "long"] {
        adopted.delete(id, false).await.unwrap();
    }
    adopted.shutdown(false).await.unwrap();
    assert_eq!(Shim::connect(&bed.path("o")).await.unwrap_err().kind(), Kind::NotFound);
    bed.finish().await;
}

#[tokio::test]
async fn a_stopped_shim_is_woken_when_it_is_adopted() {
    let bed = Bed::new().await;
    bed.shim.create(bed.container("c", shell("exit 3"))).await.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(bed.shim.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let adopted = Shim::connect(&bed.config.socket).await.unwrap();
    let mut events = adopted.events();
    adopted.start("c").await.unwrap();
    assert_eq!(wait_exit(&mut events, "c", None).await.code, 3);
    bed.finish().await;
}

/// No engine has a hand in it, so that nothing is left running where none is up. A program that becomes another user by itself is left
/// to the next engine: the kernel takes the word back then.
#[tokio::test]
async fn a_container_whose_shim_is_killed_ends_with_it() {
    for (uid, init) in [(0_u32, false), (1000, false), (0, true)] {
        let bed = Bed::new().await;
        let mut spec = shell("sleep 1000");
        let user = hako_oci::runtime::UserBuilder::default().uid(uid).gid(uid).build().unwrap();
        spec.process_mut().as_mut().unwrap().set_user(user);
        let mut container = bed.container("c", spec);
        container.init = init;
        let pid = bed.shim.create(container).await.unwrap();
        bed.shim.start("c").await.unwrap();
        let exe = format!("/proc/{pid}/exe");
        assert!(std::fs::read_link(&exe).is_ok());
        let shim = rustix::process::Pid::from_raw(i32::try_from(bed.shim.pid()).unwrap()).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        crate::bed::eventually("it ends", || std::fs::read_link(&exe).is_err()).await;
    }
}

#[tokio::test]
#[ignore = "is run by the test above, in a process of its own"]
async fn the_engine_that_is_killed() {
    let Some(directory) = std::env::var_os("BED") else { return };
    let directory = std::path::PathBuf::from(directory);
    let bed = Bed::with(|config| {
        config.socket = directory.join("o");
        config.state_dir = directory.join("other");
        config.cgroup = format!("{}/other", std::env::var("INSTANCE").unwrap());
    })
    .await;
    // The root is to outlive this process.
    let rootfs = hako_runtime::Rootfs::Bind(directory.join("image"));
    for (id, script) in [("short", "sleep 0.3; exit 5"), ("long", "sleep 1000")] {
        let mut container = bed.container(id, shell(script));
        container.rootfs = rootfs.clone();
        container.stdio.log = None;
        bed.shim.create(container).await.unwrap();
        bed.shim.start(id).await.unwrap();
    }
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_shim_stays_below_a_mebibyte_of_private_memory() {
    let bed = Bed::new().await;
    for number in 0..3 {
        let id = format!("c{number}");
        bed.shim.create(bed.container(&id, shell("sleep 1000"))).await.unwrap();
        bed.shim.start(&id).await.unwrap();
    }
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", bed.shim.pid())).unwrap();
    let dirty = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    let kib: u64 = dirty.trim().trim_end_matches(" kB").trim().parse().unwrap();
    // A test binary is not optimised and is relocated at start; the promise is the release build's.
    let limit = if std::env::var_os("HAKO_SHIM_EXE").is_some() { 1024 } else { 4096 };
    assert!(kib < limit, "{kib} KiB");
    bed.finish().await;
}
