//! `--ssh`: the agents that a build is lent, of the user or made for it from files of keys.
//!
//! Keys are OpenSSH's business. An agent of ours is its `ssh-agent`, which watches over a program and ends with it:
//!
//! ```text
//! hako ──pipe──► cat ◄──looks after its parent every 10 s── ssh-agent
//! ```
//! However hako ends, the pipe ends with it, then `cat`, then the agent. (A signal for the parent's death would be lost:
//! `ssh-agent` is set-group-ID.) What hako itself ends, it ends at once.

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The agent that a mount without an id means.
const DEFAULT: &str = "default";
/// What the directories of our agents are called, before some random digits.
const PREFIX: &str = "hako-ssh-";

/// Agents by id; those of ours end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    own: Vec<Own>,
}

/// An agent made for one build.
#[derive(Debug)]
struct Own {
    dir: Locked,
    agent: OwnedFd,
    /// What the agent watches over, until its standard input ends.
    watched: Child,
}

/// A directory that is somebody's as long as it is locked.
#[derive(Debug)]
struct Locked {
    path: PathBuf,
    _lock: File,
}

impl Agents {
    /// `ID[=SOCKET|KEYFILE[,KEYFILE…]]`, repeated.
    pub(super) fn lend(all: &[String]) -> anyhow::Result<Self> {
        let mut agents = Self::default();
        for text in all {
            let (id, places) = text.split_once('=').unwrap_or((text, ""));
            let id = if id.is_empty() { DEFAULT } else { id };
            if agents.sockets.contains_key(id) {
                bail!("--ssh {text}: the id {id:?} is given twice");
            }
            let socket = agents.one(places).with_context(|| format!("--ssh {text}"))?;
            agents.sockets.insert(id.to_owned(), socket);
        }
        Ok(agents)
    }

    pub(super) fn sockets(&self) -> BTreeMap<String, PathBuf> {
        self.sockets.clone()
    }

    fn one(&mut self, places: &str) -> anyhow::Result<PathBuf> {
        if places.is_empty() {
            let socket = std::env::var("SSH_AUTH_SOCK").context("SSH_AUTH_SOCK is not set")?;
            if !is_socket(&socket)? {
                bail!("{socket} is no agent's socket; add keys to an agent with ssh-add");
            }
            return Ok(std::path::absolute(socket)?);
        }
        let places: Vec<&str> = places.split(',').collect();
        let mut keys = Vec::new();
        for place in &places {
            match (is_socket(place)?, places.as_slice()) {
                (true, [_]) => return Ok(std::path::absolute(place)?),
                (true, _) => {
                    bail!("{place} is an agent's socket, which stands alone; expected files of keys")
                }
                (false, _) => keys.push(*place),
            }
        }
        let own = Own::start(&std::env::temp_dir())?;
        let socket = own.socket();
        self.own.push(own);
        keys.iter().try_for_each(|key| add(key, &socket))?;
        Ok(socket)
    }
}

fn is_socket(path: &str) -> anyhow::Result<bool> {
    let kind = fs::metadata(path).with_context(|| path.to_owned())?.file_type();
    if kind.is_dir() {
        bail!("{path} is a directory, expected an agent's socket or a file with a key");
    }
    Ok(kind.is_socket())
}

impl Own {
    fn start(parent: &Path) -> anyhow::Result<Self> {
        sweep(parent);
        let dir = Locked::new(parent)?;
        let mut watched = Command::new("ssh-agent")
            .arg("-a")
            .arg(dir.path.join("agent"))
            .args(["sh", "-c", "echo $SSH_AGENT_PID; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start ssh-agent, which files of keys need (package openssh-client)")?;
        // Its parent says the number when it listens.
        let mut line = String::new();
        if let Some(out) = watched.stdout.take() {
            BufReader::new(out.take(64)).read_line(&mut line)?;
        }
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let agent = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(agent) = agent else {
            drop(watched.stdin.take());
            let said = watched.wait_with_output().map(|output| output.stderr).unwrap_or_default();
            bail!("ssh-agent ended before it listened: {}", String::from_utf8_lossy(&said).trim());
        };
        Ok(Self { dir, agent, watched })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path.join("agent")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.agent, Signal::KILL);
        drop(self.watched.stdin.take());
        let _ = self.watched.wait();
    }
}

impl Locked {
    /// Under a name that nobody can know before.
    fn new(parent: &Path) -> anyhow::Result<Self> {
        loop {
            let mut random = [0; 8];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
            let path = parent.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random)));
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("create {}", path.display()))?;
            // Between these two steps somebody who clears away may have taken it for one that was left.
            let lock = File::open(&path).ok().filter(is_locked);
            if let Some(lock) = lock.filter(|_| path.exists()) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

/// Whether the lock of a directory is ours now.
fn is_locked(dir: &File) -> bool {
    flock(dir, FlockOperation::NonBlockingLockExclusive).is_ok()
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what clients of this user left that were killed: nobody holds its lock any more.
fn sweep(parent: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // What stands here may be anybody's: a link is not followed.
        let is_own = |metadata: fs::Metadata| metadata.is_dir() && metadata.uid() == user;
        if !is_named || !entry.metadata().is_ok_and(is_own) {
            continue;
        }
        // The lock is held until it is gone.
        if let Some(_lock) = File::open(entry.path()).ok().filter(is_locked) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Gives the agent a key. By standard input, for which a file's mode does not matter.
fn add(key: &str, socket: &Path) -> anyhow::Result<()> {
    let file = File::open(key).with_context(|| format!("open {key}"))?;
    let mut command = Command::new("ssh-add");
    command.args(["-q", "-"]).env("SSH_AUTH_SOCK", socket).stdin(file);
    // Nobody is asked for a passphrase: a build is no place to type one.
    command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", "none");
    let done = command.output().context("start ssh-add (package openssh-client)")?;
    if !done.status.success() {
        bail!(
            "{key} has no key that can be used as it is: expected a private key without a passphrase; one with a \
             passphrase goes into an agent with ssh-add"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(dir: &Path, name: &str, passphrase: &str) -> String {
        let path = dir.join(name).display().to_string();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f", &path])
            .output()
            .expect("ssh-keygen");
        assert!(made.status.success(), "{made:?}");
        path
    }

    fn listed(socket: &Path) -> usize {
        let listed =
            Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", socket).output().expect("ssh-add");
        String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains("ED25519")).count()
    }

    fn refused(text: &str) -> String {
        format!("{:#}", Agents::lend(&[text.to_owned()]).expect_err(text))
    }

    #[test]
    fn files_of_keys_are_in_an_agent_that_ends_with_the_build() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = format!("{},{}", key(dir.path(), "one", ""), key(dir.path(), "two", ""));
        let agents =
            Agents::lend(&[format!("default={keys}"), format!("alone={}", key(dir.path(), "three", ""))]);
        let agents = agents.expect("agents");
        let sockets = agents.sockets();
        assert_eq!((listed(&sockets["default"]), listed(&sockets["alone"])), (2, 1));
        let ended = |own: &Own| pidfd_send_signal(&own.agent, Signal::CONT).is_err();
        assert!(!agents.own.iter().any(ended));
        let copies: Vec<OwnedFd> =
            agents.own.iter().map(|own| own.agent.try_clone().expect("a copy")).collect();
        drop(agents);
        for (agent, socket) in copies.iter().zip(sockets.values()) {
            // It is a readable descriptor when the process has ended.
            let mut poll = [rustix::event::PollFd::new(agent, rustix::event::PollFlags::IN)];
            assert_eq!(rustix::event::poll(&mut poll, None), Ok(1));
            assert!(!socket.exists() && !socket.parent().is_some_and(Path::exists));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let locked = key(dir.path(), "locked", "secret words");
        let said = refused(&format!("id={locked}"));
        assert!(said.contains(&locked) && said.contains("without a passphrase"), "{said}");
        let text = dir.path().join("text").display().to_string();
        fs::write(&text, "no key").expect("write");
        assert!(refused(&format!("id={text}")).contains("has no key"));
        assert!(refused("id=/no/such/place").contains("/no/such/place: No such file"));
        assert!(refused(&format!("id={}", dir.path().display())).contains("is a directory"));
        let socket = dir.path().join("socket").display().to_string();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
        assert!(refused(&format!("id={socket},{text}")).contains("stands alone"));
        let twice = [format!("id={socket}"), format!("id={socket}")];
        assert!(format!("{:#}", Agents::lend(&twice).expect_err("twice")).contains("is given twice"));
    }

    #[test]
    fn an_agent_that_cannot_listen_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let long = dir.path().join("x".repeat(100));
        fs::create_dir(&long).expect("create");
        let error =
            format!("{:#}", Own::start(&long).expect_err("a name of a socket is no longer than 107 bytes"));
        assert!(
            error.starts_with("ssh-agent ended before it listened: ") && error.contains("too long"),
            "{error}"
        );
        assert_eq!(fs::read_dir(&long).expect("read").count(), 0);
    }

    #[test]
    fn what_a_client_left_that_was_killed_goes_with_the_next_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let live = Locked::new(dir.path()).expect("a directory");
        fs::create_dir(at("hako-ssh-empty")).expect("create");
        for path in [at("hako-ssh-left"), at("other")] {
            fs::create_dir(&path).expect("create");
            fs::write(path.join("agent"), "").expect("write");
        }
        fs::write(live.path.join("agent"), "").expect("write");
        std::os::unix::fs::symlink(at("other"), at("hako-ssh-link")).expect("link");
        sweep(dir.path());
        assert!(!at("hako-ssh-left").exists() && !at("hako-ssh-empty").exists());
        assert!(live.path.join("agent").exists() && at("other/agent").exists());
    }
}
