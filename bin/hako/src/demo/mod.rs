//! `hako demo`: the whole road on this machine, with the built program itself as its user would drive it.
//!
//! Owns: the nine steps and their table of timings. Does not own: anything the steps do; each goes through
//! the command line or the protocols. Invariant: whatever fails, the platform is taken down again.

mod heal;
mod leaks;
mod load;
mod roll;
mod stage;

use crate::cli::{DemoArgs, OutputFormat};
use crate::output;
use anyhow::bail;
use stage::Stage;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) async fn demo(args: &DemoArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    crate::up::require_root("demo")?;
    output::outlive_reader();
    if !args.example.join("bin/hello").is_file() {
        bail!("{} is missing: `make demo` compiles it", args.example.join("bin/hello").display());
    }
    let before = leaks::Inventory::take()?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut stage = Stage::new(args, format)?;
    let played = tokio::select! {
        played = play(&mut stage) => played,
        _ = interrupts.recv() => Err(anyhow::anyhow!("interrupted; everything is taken down")),
        _ = terminations.recv() => Err(anyhow::anyhow!("terminated; everything is taken down")),
    };
    let taken_down = stage.down().await;
    let leaked = before.leaked_since(stage.instance())?;
    stage.print_table();
    played?;
    taken_down?;
    if !leaked.is_empty() {
        bail!("left behind: {}", leaked.join(", "));
    }
    stage.say(
        "everything is taken down: no process, mount, network namespace, link, nft table or cgroup is left",
    );
    Ok(ExitCode::SUCCESS)
}

async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    stage.start().await?;
    stage.build().await?;
    stage.deploy().await?;
    stage.answer().await?;
    heal::heal(stage).await?;
    roll::scale(stage).await?;
    roll::roll(stage).await?;
    heal::crash(stage).await
}
