//! Steps that break things: a killed process, a deleted pod, and a killed platform.

use super::load::Load;
use super::stage::{Stage, is_ready, wait};
use anyhow::{Context, bail};
use hako_client::DeleteOptions;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::time::Instant;

pub(super) async fn heal(stage: &mut Stage) -> anyhow::Result<()> {
    let pods = stage.pods()?;
    let all = pods.list(&Default::default()).await?.items;
    let names: Vec<String> = all.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    let (killed, deleted) = (names.first().context("no pod")?, names.get(1).context("only one pod")?);

    let uid = all[0].metadata.uid.clone().unwrap_or_default();
    let process =
        processes(stage.instance())?.into_iter().find(|process| belongs_to(process.pid, &uid, killed));
    let process = process.with_context(|| format!("no process of pod {killed} found"))?;
    let began = Instant::now();
    kill_process(Pid::from_raw(process.pid).context("a pid is not 0")?, Signal::KILL)
        .with_context(|| format!("kill {}", process.pid))?;
    wait("the killed container to come back", async || {
        let pod = pods.get(killed).await?;
        let restarts = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .map(|one| one.restart_count)
            .sum::<i32>();
        Ok(restarts >= 1 && is_ready(&pod))
    })
    .await?;
    stage.record(
        "heal",
        &format!("process {} of {killed} killed: restarted and Ready after", process.pid),
        began.elapsed(),
    );

    let began = Instant::now();
    pods.delete(deleted, &DeleteOptions::default()).await?;
    wait("a new pod in the place of the deleted one", async || {
        let now = pods.list(&Default::default()).await?.items;
        Ok(now
            .iter()
            .any(|pod| is_ready(pod) && pod.metadata.name.as_ref().is_some_and(|name| !names.contains(name))))
    })
    .await?;
    stage.record("heal", &format!("pod {deleted} deleted: another Ready after"), began.elapsed());
    stage.wait_for_replicas(3).await
}

pub(super) async fn crash(stage: &mut Stage) -> anyhow::Result<()> {
    let (address, _) = stage.addresses().await?;
    let before = processes(stage.instance())?;
    let load = Load::start(address, 8);
    let pid = i32::try_from(stage.running()?.pid)?;
    kill_process(Pid::from_raw(pid).context("a pid is not 0")?, Signal::KILL)
        .with_context(|| format!("kill hako, pid {pid}"))?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let began = Instant::now();
    let said = stage.up().await?;
    stage.observe("crash", "hako killed and started again under load; it says", &said);
    stage.record("crash", "start to Ready with everything adopted", began.elapsed());
    stage.wait_for_replicas(3).await?;
    let after = processes(stage.instance())?;
    let report = load.finish().await;
    if before != after {
        bail!("the processes changed over the crash: {before:?} before, {after:?} after");
    }
    stage.observe("crash", "containers with the same PIDs as before", &after.len().to_string());
    stage.observe("crash", "requests answered meanwhile", &report.answered.to_string());
    stage.observe("crash", "requests failed meanwhile", &report.failed().to_string());
    if report.failed() > 0 {
        bail!("requests failed while hako was down: {:?}", report.failures);
    }
    Ok(())
}

/// A process and when it started, in clock ticks since boot: the pair never comes twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: i32,
    started: u64,
}

/// The processes in the cgroups of a platform's containers.
fn processes(instance: &str) -> anyhow::Result<BTreeSet<Process>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").context("read /proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // sandbox and container below the platform's group; shims stand one level higher
        let is_container = cgroups.lines().any(|line| {
            line.split_once(&format!("/hako-{instance}/"))
                .is_some_and(|(_, rest)| rest.split('/').filter(|part| !part.is_empty()).count() >= 2)
        });
        if let Some(started) = is_container.then(|| start_time(pid)).flatten() {
            found.insert(Process { pid, started });
        }
    }
    Ok(found)
}

/// Field 22 of /proc/PID/stat, proc_pid_stat(5); the name before it may contain anything.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a process's host name is the pod's: each pod has a UTS namespace of its own, read through its environment.
fn belongs_to(pid: i32, uid: &str, pod: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let host = format!("HOSTNAME={pod}");
    let by_environment = environment.split(|byte| *byte == 0).any(|variable| variable == host.as_bytes());
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    by_environment || (!uid.is_empty() && cgroups.contains(uid))
}
