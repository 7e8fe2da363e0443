//! Where the Docker API listens.
//!
//! A socket that a crash left is replaced; one that somebody answers on is not: it is another engine's.

use anyhow::{Context, bail};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// The data directory whose engine is the machine's.
const DEFAULT_DATA: &str = "/var/lib/hako";
/// Where the machine's engine is found.
const WELL_KNOWN: &str = "/run/hako/docker.sock";
/// Who may use it besides root, as with Docker.
const GROUP: &str = "docker";

/// What the API listens on.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listeners: Vec<UnixListener>,
    /// Those for docker, which `hako down` removes.
    pub(super) docker: Vec<PathBuf>,
}

/// The instance's own socket and those for docker.
pub(super) fn open_all(own_path: &Path, data_dir: &Path, asked: &[PathBuf]) -> anyhow::Result<Sockets> {
    let mut sockets = docker(data_dir, asked)?;
    sockets.listeners.push(own(own_path)?);
    Ok(sockets)
}

/// Removes sockets of a platform that has ended. One that somebody answers on is another engine's by now.
pub(super) fn remove(paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths.iter().filter(|path| UnixStream::connect(path).is_err()) {
        clear(path)?;
    }
    Ok(())
}

/// In a directory that nobody else uses.
fn own(path: &Path) -> anyhow::Result<UnixListener> {
    clear(path)?;
    UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))
}

/// The sockets that were asked for, and the well-known one of the default data directory.
fn docker(data_dir: &Path, asked: &[PathBuf]) -> anyhow::Result<Sockets> {
    // `hako down` works in another directory.
    let docker = asked.iter().map(std::path::absolute).collect::<std::io::Result<Vec<_>>>()?;
    let listeners = docker.iter().map(|path| open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut sockets = Sockets { listeners, docker };
    let well_known = Path::new(WELL_KNOWN);
    if data_dir == Path::new(DEFAULT_DATA) && !asked.iter().any(|path| path == well_known) {
        match open(well_known) {
            Ok(listener) => {
                sockets.listeners.push(listener);
                sockets.docker.push(well_known.to_owned());
            }
            // Nobody asked for it: the platform does without.
            Err(error) => tracing::warn!("{error:#}"),
        }
    }
    Ok(sockets)
}

fn open(path: &Path) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        bail!("another engine answers on {}: stop it, or choose another --docker-socket", path.display());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    clear(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    let protect = || -> std::io::Result<()> {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        chown(path, Some(0), Some(group().unwrap_or(0)))
    };
    protect().with_context(|| format!("protect {}", path.display()))?;
    Ok(listener)
}

/// Removes a socket; anything else that lies there is somebody's.
fn clear(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("look at {}", path.display())),
        Ok(meta) if meta.file_type().is_socket() => {
            std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
        }
        Ok(_) => bail!("{} is no socket: choose another --docker-socket", path.display()),
    }
}

/// The number of the group `docker`, group(5).
fn group() -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(GROUP))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_answers_is_somebody_else_s_and_one_that_does_not_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/docker.sock");
        let first = open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let refused = open(&path).unwrap_err().to_string();
        assert!(refused.contains("another engine answers"), "{refused}");
        drop(first);
        drop(open(&path).unwrap());
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert!(open(&file).unwrap_err().to_string().contains("is no socket"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    }
}
