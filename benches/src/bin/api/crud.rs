//! Reads and writes as kload drives them, over one connection with 32 streams.

use crate::client::{Ask, Client};
use crate::floor;
use crate::role::Role;
use anyhow::Context as _;
use hako_benches::{Row, Target, time};
use serde_json::Value;
use std::path::{Path, PathBuf};
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
const ALL: &str = "create,get,list1,list,update,patch,delete";
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
        keep_best(&mut best, run(&kload, &role.url, &role.token, role.pid(), ALL)?);
        peak = peak.max(role.memory_mib("VmHWM")?);
    }
    let floor = lists_at_best(&kload)?;
    let mut rows: Vec<Row> = best.iter().filter_map(|phase| row(phase, &floor)).collect();
    rows.extend(floor.iter().filter_map(floor_row));
    rows.push(memory("resident memory of the API role, idle", idle, IDLE_MIB));
    rows.push(memory("peak resident memory in that workload", peak, PEAK_MIB));
    Ok(rows)
}

fn kload() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = || std::env::split_paths(&paths).map(|path| path.join("kload")).find(|path| path.is_file());
    std::env::var_os("KLOAD").map(PathBuf::from).or_else(found)
}

fn keep_best(best: &mut Vec<Value>, phases: Vec<Value>) {
    for phase in phases {
        match best.iter_mut().find(|it| it["phase"] == phase["phase"]) {
            Some(before) if rate(before) < rate(&phase) => *before = phase,
            Some(_) => {}
            None => best.push(phase),
        }
    }
}

/// The same lists, of a server that has the answer ready and does nothing else: nobody sends them faster to this
/// client on these cores.
fn lists_at_best(kload: &Path) -> anyhow::Result<Vec<Value>> {
    let role = Role::start()?;
    run(kload, &role.url, &role.token, role.pid(), "create")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = "/api/v1/namespaces/kload/configmaps";
    let list = runtime.block_on(async { Client::connect(&role).await?.ok(&Ask::get(path)).await })?;
    drop(role);
    let directory = tempfile::tempdir()?;
    let url = floor::serve(directory.path(), list.to_vec())?;
    let mut best = Vec::new();
    for _ in 0..ROUNDS {
        keep_best(&mut best, run(kload, &url, "", std::process::id(), "list1,list")?);
    }
    Ok(best)
}

fn run(kload: &Path, url: &str, token: &str, pid: u32, phases: &str) -> anyhow::Result<Vec<Value>> {
    let out = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(kload);
    command.args(["--url", url, "--token", token, "--insecure", "--json-out"]).arg(out.path());
    command.args(["--pids", &format!("api={pid}"), "crud", "--phases", phases]);
    time(&mut command)?;
    let text = std::fs::read_to_string(out.path())?;
    text.lines().map(|line| serde_json::from_str(line).context("a row of kload")).collect()
}

fn rate(phase: &Value) -> f64 {
    phase["ops_per_s"].as_f64().unwrap_or(0.0)
}

/// The peer's rate in a phase, and how many times that is promised.
fn peer(phase: &Value) -> Option<(&'static str, f64, f64)> {
    let name = phase["phase"].as_str()?;
    PEER.into_iter().find(|(peer, ..)| *peer == name)
}

fn row(phase: &Value, floor: &[Value]) -> Option<Row> {
    let (name, peer, times) = peer(phase)?;
    let floor = floor.iter().find(|it| it["phase"] == phase["phase"]);
    let floor =
        floor.map(|it| format!("; one prepared body from memory is sent {:.0} times a second", rate(it)));
    Some(Row {
        what: format!("{name}, ConfigMaps of 1 KiB (lists of 5,000)"),
        ours: rate(phase),
        peer: Some((NAME.to_owned(), peer)),
        unit: "/s",
        target: Target::RatioAtLeast(times),
        why: cost(phase) + &floor.unwrap_or_default(),
    })
}

fn floor_row(phase: &Value) -> Option<Row> {
    let (name, peer, _) = peer(phase)?;
    Some(Row {
        what: format!("floor: {name}, of a server that only sends it"),
        ours: rate(phase),
        peer: Some((NAME.to_owned(), peer)),
        unit: "/s",
        target: Target::None,
        why: cost(phase),
    })
}

fn cost(phase: &Value) -> String {
    let each = |seconds: &Value| seconds.as_f64().unwrap_or(0.0) / phase["ops"].as_f64().unwrap_or(1.0) * 1e6;
    format!(
        "each took {:.0} us of the server's and {:.0} us of the client's CPU on the cores they share; all else took \
         {:.2} s in {:.2} s",
        each(&phase["procs"]["api"]["cpu_s"]),
        each(&phase["client_cpu_s"]),
        phase["other_cpu_s"].as_f64().unwrap_or(0.0),
        phase["wall_s"].as_f64().unwrap_or(0.0)
    )
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
