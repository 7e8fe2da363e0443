//! `events`: counters and out-of-memory kills, in runc's JSON.

use std::time::{Duration, Instant};

use hako_cgroup::{Cgroup, IoStat, Stats};
use hako_error::{Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::args::Args;
use super::state::{Home, Phase, Record};
use super::{Global, internal, print};
use crate::oom::Oom;
use crate::prepare::cgroup_root;

/// How often counters are shown unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn events(global: &Global, args: &mut Args) -> Result<()> {
    let interval = args.take("interval").map_or(Ok(INTERVAL), |text| duration(&text))?;
    let is_once = args.take_flag("stats");
    let id = args.only_id()?;
    let home = Home::of(&global.root, &id);
    let record = home.load()?;
    if home.phase(&record) == Phase::Stopped {
        return Err(Error::new(Kind::FailedPrecondition, format!("container {id} is not running")));
    }
    let group = cgroup_root()?.open(&record.cgroup)?;
    show(&id, &group)?;
    if is_once { Ok(()) } else { follow(&record, &group, interval) }
}

fn show(id: &str, group: &Cgroup) -> Result<()> {
    print(&format!("{}\n", json!({"type": "stats", "id": id, "data": data(&group.stats()?)})))
}

/// Until the container ends.
fn follow(record: &Record, group: &Cgroup, interval: Duration) -> Result<()> {
    let failed = || internal(format!("cannot watch container {}", record.id));
    let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw);
    let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return Ok(()) };
    let oom = group.oom_file().and_then(|(counter, control)| Oom::watch(counter, control).ok());
    let mut kills = oom.as_ref().map_or(0, |(oom, _)| oom.kills());
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(std::io::Error::other).map_err(failed())?;
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(oom.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left))).map_err(|errno| failed()(errno.into()))?;
        let has_ended = !fds[0].revents().is_empty();
        if let Some((oom, fd)) = &oom {
            if fds[1].revents().contains(PollFlags::IN) {
                let mut drained = [0; 4096];
                let _spurious = rustix::io::read(fd, &mut drained);
            }
            let now = oom.kills();
            for _ in kills..now {
                print(&format!("{}\n", json!({"type": "oom", "id": record.id})))?;
            }
            kills = now;
        }
        if has_ended {
            return Ok(());
        }
        if Instant::now() >= next {
            show(&record.id, group)?;
            next = Instant::now() + interval;
        }
    }
}

fn data(stats: &Stats) -> Value {
    let memory = |key: &str| stats.memory.get(key).copied().unwrap_or(0);
    let entry = |limit: Option<u64>, usage: u64, max: u64, failures: u64| json!({"limit": limit.unwrap_or(u64::MAX), "usage": usage, "max": max, "failcnt": failures});
    let hugetlb: serde_json::Map<String, Value> = stats
        .hugetlb
        .iter()
        .map(|(size, usage)| (size.clone(), json!({"usage": usage, "failcnt": 0})))
        .collect();
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu_ns,
                "percpu": stats.per_cpu_ns,
                "kernel": stats.cpu_system_ns,
                "user": stats.cpu_user_ns,
            },
            "throttling": {
                "periods": stats.throttling.periods,
                "throttledPeriods": stats.throttling.throttled,
                "throttledTime": stats.throttling.throttled_ns,
            },
        },
        "memory": {
            "cache": memory("cache").max(memory("file")),
            "usage": entry(stats.memory_limit, stats.memory_usage, stats.memory_peak, stats.memory_failures),
            "swap": entry(None, stats.memory_usage + stats.swap_usage, 0, 0),
            "kernel": entry(None, memory("kernel"), 0, 0),
            "kernelTCP": entry(None, memory("sock"), 0, 0),
            "raw": stats.memory,
        },
        "pids": {"current": stats.pids, "limit": stats.pids_limit.unwrap_or(0)},
        "blkio": {
            "ioServiceBytesRecursive": block(&stats.io, |one| one.bytes),
            "ioServicedRecursive": block(&stats.io, |one| one.requests),
        },
        "hugetlb": hugetlb,
    })
}

fn block(all: &[IoStat], value: impl Fn(&IoStat) -> u64) -> Vec<Value> {
    let one = |stat: &IoStat| {
        let device = stat.device;
        json!({"major": device.major, "minor": device.minor, "op": stat.operation, "value": value(stat)})
    };
    all.iter().map(one).collect()
}

/// A time as Go programs take it: `5s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration> {
    let bad =
        || Error::new(Kind::Invalid, format!("{text:?} is no time above 0; write it as in 5s or 500ms"));
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let end = rest.find(|one: char| !one.is_ascii_digit() && one != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        let unit = &rest[end..];
        let length = unit.find(|one: char| one.is_ascii_digit()).unwrap_or(unit.len());
        let seconds = match &unit[..length] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        rest = &unit[length..];
    }
    if total.is_zero() { Err(bad()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("1.5s").unwrap(), Duration::from_millis(1500));
        for bad in ["", "5", "0s", "s", "5 s", "-1s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
