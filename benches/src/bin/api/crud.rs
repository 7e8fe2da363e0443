//! Reads and writes as kload drives them, over one connection with 32 streams.

use crate::role::Role;
use anyhow::Context as _;
use hako_benches::{Row, Target, time};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What etcd 3.4.23 with kube-apiserver 1.20.2 reached on two cores in its best undisturbed runs with the same program
/// (its README): phase, answers a second, and how many times that is promised.
const PEER: [(&str, f64, f64); 7] = [
    ("create", 3239.0, 4.0),
    ("get", 7133.0, 5.0),
    ("list1", 14.0, 10.0),
    ("list", 18.0, 10.0),
    ("update", 2701.0, 4.0),
    ("patch", 2455.0, 4.0),
    ("delete", 2877.0, 4.0),
];
const NAME: &str = "etcd + kube-apiserver, recorded";
/// Best of so many runs, as the peer's figures are.
const ROUNDS: usize = 3;
const IDLE_MIB: f64 = 40.0;
const PEAK_MIB: f64 = 150.0;

pub fn crud() -> anyhow::Result<Vec<Row>> {
    let Some(kload) = kload() else {
        println!("crud: kload is neither in KLOAD nor on the PATH: not measured");
        return Ok(Vec::new());
    };
    let (mut best, mut peak, mut idle) = (Vec::<Value>::new(), 0.0_f64, f64::MAX);
    for _ in 0..ROUNDS {
        let role = Role::start()?;
        std::thread::sleep(Duration::from_secs(2));
        idle = idle.min(role.memory_mib("VmRSS")?);
        for phase in run(&kload, &role)? {
            match best.iter_mut().find(|it| it["phase"] == phase["phase"]) {
                Some(before) if rate(before) < rate(&phase) => *before = phase,
                Some(_) => {}
                None => best.push(phase),
            }
        }
        peak = peak.max(role.memory_mib("VmHWM")?);
    }
    let mut rows: Vec<Row> = best.iter().filter_map(row).collect();
    rows.push(memory("resident memory of the API role, idle", idle, IDLE_MIB));
    rows.push(memory("peak resident memory in that workload", peak, PEAK_MIB));
    Ok(rows)
}

fn kload() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = || std::env::split_paths(&paths).map(|path| path.join("kload")).find(|path| path.is_file());
    std::env::var_os("KLOAD").map(PathBuf::from).or_else(found)
}

fn run(kload: &PathBuf, role: &Role) -> anyhow::Result<Vec<Value>> {
    let out = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(kload);
    command.args(["--url", &role.url, "--token", &role.token, "--insecure", "--json-out"]).arg(out.path());
    command.args(["--pids", &format!("api={}", role.pid()), "crud"]);
    time(&mut command)?;
    let text = std::fs::read_to_string(out.path())?;
    text.lines().map(|line| serde_json::from_str(line).context("a row of kload")).collect()
}

fn rate(phase: &Value) -> f64 {
    phase["ops_per_s"].as_f64().unwrap_or(0.0)
}

fn row(phase: &Value) -> Option<Row> {
    let name = phase["phase"].as_str()?;
    let (_, peer, times) = PEER.iter().find(|(peer, ..)| *peer == name)?;
    let each = |seconds: &Value| seconds.as_f64().unwrap_or(0.0) / phase["ops"].as_f64().unwrap_or(1.0) * 1e6;
    Some(Row {
        what: format!("{name}, ConfigMaps of 1 KiB (lists of 5,000)"),
        ours: rate(phase),
        peer: Some((NAME.to_owned(), *peer)),
        unit: "/s",
        target: Target::RatioAtLeast(*times),
        why: format!(
            "each took {:.0} us of the server's and {:.0} us of the client's CPU on the cores they share; all else took \
             {:.2} s in {:.2} s",
            each(&phase["procs"]["api"]["cpu_s"]),
            each(&phase["client_cpu_s"]),
            phase["other_cpu_s"].as_f64().unwrap_or(0.0),
            phase["wall_s"].as_f64().unwrap_or(0.0)
        ),
    })
}

fn memory(what: &str, ours: f64, bound: f64) -> Row {
    Row {
        what: what.to_owned(),
        ours,
        peer: None,
        unit: "MiB",
        target: Target::AtMost(bound),
        why: String::new(),
    }
}
