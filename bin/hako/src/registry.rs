//! `hako registry`: the distribution registry as a program of its own.

use crate::locate::Target;
use anyhow::Context;
use clap::{Args, Subcommand};
use hako_registry::{Config, Service};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Serve images to every client that speaks OCI distribution 1.1; SIGTERM ends it
    Serve(ServeArgs),
    /// Check the records and bytes of a registry that does not run; ends with 1 if anything is wrong
    Check(CheckArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Its configuration, where that names a bucket: the bytes there are looked at too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where it keeps everything [default: DATA_DIR/registry]
    #[arg(long, value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// Also hash every blob
    #[arg(long)]
    pub deep: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The configuration: authentication, rights, TLS, quotas, retention (YAML; see docs/registry.md)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where it listens, whatever the configuration says [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where it keeps everything [default: DATA_DIR/registry]
    #[arg(long, value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// Only check the configuration and the files that it names; says all faults at once
    #[arg(long)]
    pub check: bool,
}

/// Runs one of the commands.
pub(crate) async fn registry(target: &Target, command: RegistryCommand) -> anyhow::Result<ExitCode> {
    match command {
        RegistryCommand::Serve(args) => serve(target, args).await,
        RegistryCommand::Check(args) => check(target, args).await,
    }
}

async fn check(target: &Target, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let dir = args.storage.unwrap_or_else(|| target.data_dir().join("registry"));
    anyhow::ensure!(dir.join("metadata.redb").exists(), "{} holds no registry", dir.display());
    let bucket = args.config.map(|path| load(&path, &dir)).transpose()?.and_then(|config| config.s3);
    let checked = match bucket {
        Some(bucket) => hako_registry::check_bucket(&dir, &bucket, args.deep).await?,
        None => tokio::task::spawn_blocking(move || hako_registry::check(&dir, args.deep)).await??,
    };
    if checked.is_blind {
        crate::output::error(
            "only the records were looked at: the bytes are in a bucket, name it with --config",
        );
    }
    for fault in &checked.faults {
        crate::output::error(fault);
    }
    crate::output::line(&format!(
        "{} blobs, {} bytes, {} faults",
        checked.blobs,
        checked.bytes,
        checked.faults.len()
    ));
    Ok(if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(path: &Path, dir: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Config::load(&text, dir).with_context(|| path.display().to_string())
}

async fn serve(target: &Target, args: ServeArgs) -> anyhow::Result<ExitCode> {
    hako_runtime::raise_descriptor_limit();
    let dir = args.storage.unwrap_or_else(|| target.data_dir().join("registry"));
    let mut config = match &args.config {
        Some(path) => load(path, &dir)?,
        None => Config::default(),
    };
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if args.check {
        crate::output::line("the configuration is good");
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let service = Service::start(config, dir).await?;
    crate::output::line(&format!("registry listens on {}", service.address()));
    if let Some(address) = service.metrics_address() {
        crate::output::line(&format!("metrics at http://{address}/metrics"));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    service.stop().await;
    Ok(ExitCode::SUCCESS)
}
