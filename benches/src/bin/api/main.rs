//! The API role beside the recorded figures of etcd and kube-apiserver: `api [crud | watchers | definitions | custom |
//! kubectl]...`.
//!
//! The recorded figures are of two cores. On another machine the ratios say little, the CPU for each answer still does.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

mod client;
mod crud;
mod custom;
mod definitions;
mod floor;
mod kubectl;
mod role;
mod serve;
mod watchers;

use anyhow::Context as _;
use hako_benches::Row;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let only: Vec<String> = arguments.by_ref().collect();
    if only.first().is_some_and(|word| word == "serve") {
        return serve::serve(only.get(1).context("serve DIRECTORY")?.as_ref());
    }
    type Bench = fn() -> anyhow::Result<Vec<Row>>;
    let benches: [(&str, Bench); 5] = [
        ("crud", crud::crud),
        ("watchers", watchers::watchers),
        ("definitions", definitions::definitions),
        ("custom", custom::custom),
        ("kubectl", kubectl::kubectl),
    ];
    let mut failed = false;
    for (name, bench) in benches {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        match bench() {
            Ok(rows) => rows.iter().for_each(Row::print),
            Err(error) => {
                println!("{name}: could not be measured: {error:#}");
                failed = true;
            }
        }
    }
    if failed { anyhow::bail!("not everything could be measured") } else { Ok(()) }
}
