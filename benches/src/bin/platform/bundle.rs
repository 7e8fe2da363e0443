//! An OCI bundle with /bin/true and a new network namespace: create, start, exit, delete.

use hako_benches::{Row, Target, has, median, ms};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub fn bundle(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    make_bundle(directory.path())?;
    let mut runtimes: Vec<(&str, Vec<PathBuf>)> = vec![("hako", vec![hako.into(), "runtime".into()])];
    for peer in ["crun", "runc"] {
        if has(peer) {
            runtimes.push((peer, vec![peer.into()]));
        }
    }
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); runtimes.len()];
    // Turn and turn about, so that what disturbs the machine disturbs all alike.
    for round in 0..60 {
        for (index, (name, command)) in runtimes.iter().enumerate() {
            let id = format!("bench-{name}-{round}");
            samples[index].push(life(command, directory.path(), &id)?);
        }
    }
    let ours = median(samples.remove(0));
    let namespaces = namespaces()?;
    let row = |index: usize, target| Row {
        what: format!("bundle /bin/true create, start, exit, delete ({})", runtimes[index + 1].0),
        ours,
        peer: Some((runtimes[index + 1].0.into(), median(samples[index].clone()))),
        unit: "ms",
        target,
        why: format!(
            "{namespaces:.1} ms go into the kernel's own work on such namespaces, which every runtime pays; the rest \
             is three starts of the program, the control groups and the root file system"
        ),
    };
    Ok((0..samples.len())
        .map(|index| row(index, if index == 0 { Target::RatioAtMost(0.8) } else { Target::None }))
        .collect())
}

/// What making and leaving the same namespaces costs without any runtime; milliseconds.
fn namespaces() -> anyhow::Result<f64> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "/bin/true"]);
        hako_benches::time(&mut command)
    };
    Ok(median((0..60).map(|_| unshare()).collect::<anyhow::Result<_>>()?))
}

fn make_bundle(directory: &Path) -> anyhow::Result<()> {
    let rootfs = directory.join("rootfs");
    for name in ["bin", "proc", "dev", "sys", "tmp"] {
        std::fs::create_dir_all(rootfs.join(name))?;
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/true"))?;
    hako_benches::time(Command::new("crun").arg("spec").current_dir(directory))?;
    let path = directory.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["process"]["args"] = json!(["/bin/true"]);
    config["process"]["terminal"] = json!(false);
    std::fs::write(path, config.to_string())?;
    Ok(())
}

fn life(runtime: &[PathBuf], bundle: &Path, id: &str) -> anyhow::Result<f64> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&runtime[0]);
        command.args(&runtime[1..]).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let pid_file = bundle.join("pid");
    let began = Instant::now();
    let run = |command: &mut Command| -> anyhow::Result<()> {
        let status = command.status()?;
        anyhow::ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    };
    run(command(&["create", "--bundle"]).arg(bundle).arg("--pid-file").arg(&pid_file).arg(id))?;
    run(command(&["start"]).arg(id))?;
    let pid: u32 = std::fs::read_to_string(&pid_file)?.trim().parse()?;
    while is_running(pid) {
        std::thread::sleep(Duration::from_micros(100));
    }
    run(command(&["delete"]).arg(id))?;
    Ok(ms(began.elapsed()))
}

/// The container's process is not our child: it is gone, or a zombie that init has not asked for yet.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
