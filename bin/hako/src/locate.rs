//! Where a platform keeps its state and how commands find the one that runs.
//!
//! The data directory holds all that survives; `/run/hako/INSTANCE` the sockets, whose paths must be short.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The platform that a command is meant for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    data_dir: PathBuf,
    host: Option<String>,
}

/// What a running platform says of itself in `DIR/server.json`, written when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub pid: u32,
    pub instance: String,
    pub engine_socket: PathBuf,
    /// Where docker finds the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub docker_sockets: Vec<PathBuf>,
    /// `None` where it is an engine without a cluster.
    #[serde(flatten)]
    pub cluster: Option<ClusterPlace>,
}

/// Where a platform's cluster is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClusterPlace {
    pub api: String,
    pub kubeconfig: PathBuf,
    pub node_name: String,
}

/// The link beside a platform's sockets that leads to its data directory.
pub(crate) const HOME_LINK: &str = "home";

impl Target {
    pub(crate) fn new(data_dir: PathBuf, host: Option<String>) -> Self {
        // Sockets and mounts are named by this path from other working directories too.
        let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
        Self { data_dir, host }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn server_file(&self) -> PathBuf {
        self.data_dir.join("server.json")
    }

    /// The platform that runs on the data directory.
    pub(crate) fn running(&self) -> anyhow::Result<Running> {
        let path = self.server_file();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "no platform runs on {}: start one with `hako up --data-dir {}` or name another with --data-dir",
                self.data_dir.display(),
                self.data_dir.display()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                bail!("{} may only be read by root: run this command with sudo", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; run `hako up` again", path.display()))
    }

    /// The data directory of the platform that is meant: that behind HAKO_HOST's socket, where it is given.
    pub(crate) fn home(&self) -> anyhow::Result<PathBuf> {
        if self.host.is_none() {
            return Ok(self.data_dir.clone());
        }
        let link = self.engine_socket()?.with_file_name(HOME_LINK);
        std::fs::read_link(&link).with_context(|| {
            format!(
                "HAKO_HOST names no platform of this machine ({}): name it with --data-dir",
                link.display()
            )
        })
    }

    /// The engine's socket: HAKO_HOST, or that of the platform on the data directory.
    pub(crate) fn engine_socket(&self) -> anyhow::Result<PathBuf> {
        match &self.host {
            Some(url) => match url.strip_prefix("unix://") {
                Some(path) => Ok(PathBuf::from(path)),
                None => bail!("HAKO_HOST {url:?} is not supported: only unix:///PATH is"),
            },
            None => Ok(self.running()?.engine_socket),
        }
    }

    /// The administrator's kubeconfig: KUBECONFIG's platform is never touched by accident.
    pub(crate) fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        // server.json's neighbour by the instance: the engine's socket stands in /run/hako/INSTANCE.
        let neighbour = |path: &str| Path::new(path).with_file_name("kubeconfig");
        let found = match self.host.as_deref().and_then(|url| url.strip_prefix("unix://")) {
            Some(path) => Some(neighbour(path)).filter(|file| file.exists() || !Path::new(path).exists()),
            None => self.running()?.cluster.map(|cluster| cluster.kubeconfig),
        };
        found.context(
            "only the engine runs there, and this command asks a cluster: run `hako up` without --only",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_platform_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = Target::new(dir.path().into(), None).engine_socket().unwrap_err().to_string();
        assert!(error.contains("hako up --data-dir"), "{error}");
    }

    #[test]
    fn hako_host_decides_over_the_data_directory() {
        let target = Target::new("/nowhere".into(), Some("unix:///run/hako/ab/engine.sock".into()));
        assert_eq!(target.engine_socket().unwrap(), Path::new("/run/hako/ab/engine.sock"));
        assert!(Target::new("/nowhere".into(), Some("tcp://x".into())).engine_socket().is_err());
    }

    #[test]
    fn a_socket_leads_to_its_platforms_directory_and_never_to_another() {
        let run = tempfile::tempdir().unwrap();
        let host = format!("unix://{}/engine.sock", run.path().display());
        let target = Target::new("/var/lib/other".into(), Some(host));
        assert!(target.home().unwrap_err().to_string().contains("--data-dir"));
        std::os::unix::fs::symlink("/srv/mine", run.path().join(HOME_LINK)).unwrap();
        assert_eq!(target.home().unwrap(), Path::new("/srv/mine"));
    }
}
