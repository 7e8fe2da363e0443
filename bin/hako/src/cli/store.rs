//! What keeps the cluster's objects: commands about it, and options of `hako up`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// An etcd cluster instead of the store in the data directory. Named as kube-apiserver names them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EtcdArgs {
    /// Keep objects in this etcd cluster instead of in the data directory (several by commas)
    #[arg(long, value_name = "URL", value_delimiter = ',', conflicts_with = "only")]
    pub etcd_servers: Vec<String>,
    /// The authority that signed etcd's certificates
    #[arg(long, value_name = "FILE", requires = "etcd_servers")]
    pub etcd_cafile: Option<PathBuf>,
    /// The certificate that shows etcd who we are
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
    /// What all keys in etcd are below
    #[arg(long, value_name = "PREFIX", default_value = "/hako/", requires = "etcd_servers")]
    pub etcd_prefix: String,
    /// How often etcd is asked to forget what is older than that; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "etcd_servers")]
    pub etcd_compaction_interval: u64,
}

impl EtcdArgs {
    /// The files by the option that names them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let all = [
            ("--etcd-cafile", &self.etcd_cafile),
            ("--etcd-certfile", &self.etcd_certfile),
            ("--etcd-keyfile", &self.etcd_keyfile),
        ];
        all.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)))
    }
}

#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// The file to write; whoever has it has the cluster and its secrets, so only root may read it
    pub file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// A file that `hako backup` wrote
    pub file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Show how many objects there are of which kind, and what they take
    Size,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Seal all Secrets with a new key and forget the old one, while everything goes on
    RotateKey(RotateKeyArgs),
    /// List the keys that Secrets are sealed with by their ids
    Keys,
}

#[derive(Args, Debug)]
pub(crate) struct RotateKeyArgs {
    /// Do not wait until everything is sealed with the new key
    #[arg(long)]
    pub no_wait: bool,
}
