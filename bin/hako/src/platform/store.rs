//! The store that was asked for: in the data directory, or on an etcd cluster.

use super::directory::DataDir;
use crate::cli::EtcdArgs;
use anyhow::{Context, bail};
use hako_store::{Embedded, Etcd, EtcdConfig, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn open(directory: &DataDir, args: &EtcdArgs) -> anyhow::Result<Arc<dyn Store>> {
    if args.etcd_servers.is_empty() {
        return embedded(directory.join("store")).await;
    }
    if directory.join("store").exists() {
        bail!(
            "{} has objects of its own in `store`, which would be hidden by those in etcd: choose another --data-dir, or \
             leave --etcd-servers out",
            directory.join("").display()
        );
    }
    let config = config(args)?;
    let at = config.endpoints.join(",");
    let connected = Etcd::connect(config).await.map_err(hako_error::Error::from);
    Ok(Arc::new(connected.with_context(|| format!("--etcd-servers {at}"))?))
}

async fn embedded(path: PathBuf) -> anyhow::Result<Arc<dyn Store>> {
    let store = tokio::task::spawn_blocking(move || Embedded::open(path)).await.context("open the store")?;
    Ok(Arc::new(store?))
}

fn config(args: &EtcdArgs) -> anyhow::Result<EtcdConfig> {
    for server in &args.etcd_servers {
        if !server.starts_with("http://") && !server.starts_with("https://") {
            bail!("--etcd-servers {server}: give an address such as https://10.0.0.1:2379");
        }
    }
    if !args.etcd_prefix.ends_with('/') {
        bail!("--etcd-prefix {}: it has to end with a slash", args.etcd_prefix);
    }
    let identity = match (&args.etcd_certfile, &args.etcd_keyfile) {
        (Some(certificate), Some(key)) => {
            Some((read("--etcd-certfile", certificate)?, read("--etcd-keyfile", key)?))
        }
        _ => None,
    };
    let interval = Some(args.etcd_compaction_interval).filter(|seconds| *seconds > 0);
    Ok(EtcdConfig {
        prefix: args.etcd_prefix.clone(),
        authority: args.etcd_cafile.as_deref().map(|path| read("--etcd-cafile", path)).transpose()?,
        identity,
        compact_every: interval.map(Duration::from_secs),
        ..EtcdConfig::new(args.etcd_servers.clone())
    })
}

fn read(option: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{option} {}", path.display()))
}
