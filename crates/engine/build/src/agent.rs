//! An SSH agent for a step: a socket of the step's own behind which the user's agent answers.

use crate::dockerfile::Owner;
use crate::error::BuildError;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket that passes on to an agent until it is dropped.
#[derive(Debug)]
pub(crate) struct Forwarded {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Forwarded {
    /// Listens at `path`, with that owner, for the agent at `agent`.
    pub(crate) fn listen(path: &Path, agent: &Path, owner: Owner) -> Result<Self, BuildError> {
        let failed = |source| BuildError::io("listen at", path)(source);
        // What cannot be reached is said before the step runs.
        UnixStream::connect(agent).map_err(BuildError::io("reach the ssh agent at", agent))?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(owner.mode)).map_err(failed)?;
        chown(path, Some(owner.uid), Some(owner.gid)).map_err(failed)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, agent) = (is_over.clone(), agent.to_owned());
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { return };
                let agent = agent.clone();
                std::thread::spawn(move || {
                    // A conversation that breaks off is seen by both ends.
                    let _ = UnixStream::connect(agent).and_then(|agent| join(&client, &agent));
                });
            }
        });
        Ok(Self { path: path.to_owned(), is_over, thread: Some(thread) })
    }
}

/// Copies both ways until both sides have ended.
fn join(client: &UnixStream, agent: &UnixStream) -> io::Result<()> {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &*agent);
            let _ = agent.shutdown(Shutdown::Write);
        });
        let copied = io::copy(&mut &*agent, &mut &*client);
        // The step may be gone without having closed its side.
        let _ = client.shutdown(Shutdown::Both);
        copied.map(drop)
    })
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn both_sides_hear_each_other_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (agent, socket) = (dir.path().join("agent"), dir.path().join("socket"));
        let listener = UnixListener::bind(&agent).unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().and_then(|_| listener.accept()).unwrap();
            let mut asked = String::new();
            client.read_to_string(&mut asked).unwrap();
            client.write_all(asked.to_uppercase().as_bytes()).unwrap();
        });
        let forwarded = Forwarded::listen(&socket, &agent, Owner { mode: 0o600, uid: 0, gid: 0 }).unwrap();
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(b"sign").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "SIGN");
        drop(forwarded);
        assert!(UnixStream::connect(&socket).is_err());
    }
}
