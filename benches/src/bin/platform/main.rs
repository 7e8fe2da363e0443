//! The platform's figures beside those of the peers that are installed: `platform HAKO`.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

mod bundle;
mod docker;
mod engine;
mod floor;
mod kernel;
mod operator;
mod pods;
mod process;
mod run;
mod scheduler;
mod start;
mod upstream;

use anyhow::Context;
use hako_benches::Row;
use std::path::PathBuf;

/// Set in the process that measures with mounts of its own.
const INSIDE: &str = "HAKO_BENCH_INSIDE";

/// crun refuses to work where a version 2 tree is mounted beside version 1: all runtimes are measured without it.
fn in_own_mounts(hako: &std::path::Path) -> anyhow::Result<bool> {
    let script = "umount -l /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(std::env::current_exe()?).arg(hako).arg("bundle");
    Ok(command.env(INSIDE, "1").status()?.success())
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).is_some_and(|word| word == "follow") {
        return operator::follow();
    }
    let hako = PathBuf::from(std::env::args_os().nth(1).context("usage: platform HAKO [NAME...]")?)
        .canonicalize()?;
    let only: Vec<String> = std::env::args().skip(2).collect();
    type Bench = fn(&std::path::Path) -> anyhow::Result<Vec<Row>>;
    let benches: [(&str, Bench); 8] = [
        // First, while this process has one thread: it starts copies of itself.
        ("kernel", kernel::kernel),
        ("start", start::start),
        ("bundle", bundle::bundle),
        ("run", run::run),
        ("engine", engine::engine),
        ("pods", pods::pods),
        ("operator", operator::operator),
        ("scheduler", scheduler::scheduler),
    ];
    let mut failed = false;
    for (name, bench) in benches {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        if name == "bundle" && std::env::var_os(INSIDE).is_none() {
            failed |= !in_own_mounts(&hako)?;
            continue;
        }
        match bench(&hako) {
            Ok(rows) => rows.iter().for_each(Row::print),
            Err(error) => {
                println!("{name}: could not be measured: {error:#}");
                failed = true;
            }
        }
    }
    if failed { anyhow::bail!("not everything could be measured") } else { Ok(()) }
}
