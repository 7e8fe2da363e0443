//! `--ssh`: the agents that a build is lent, of the user or made for it from files of keys.
//!
//! Keys are OpenSSH's business: an agent of ours is its `ssh-agent`, which ends with this process however that ends.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The agent that a mount without an id means.
const DEFAULT: &str = "default";
/// What the directories of our agents are called, before the number of their process.
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
    process: Child,
    dir: PathBuf,
}

impl Agents {
    /// `ID[=SOCKET|KEYFILE[,KEYFILE…]]`, repeated.
    pub(super) fn lend(all: &[String]) -> anyhow::Result<Self> {
        let mut agents = Self::default();
        for text in all {
            let (id, places) = text.split_once('=').unwrap_or((text, ""));
            let id = if id.is_empty() { DEFAULT } else { id };
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
        let own = Own::start(self.own.len())?;
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
    fn start(number: usize) -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let dir = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("create {}", dir.display()))?;
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(dir.join("agent"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        hako_sys::end_with_parent(&mut command);
        let started =
            command.spawn().context("start ssh-agent, which files of keys need (package openssh-client)");
        let process = started.inspect_err(|_| drop(fs::remove_dir(&dir)))?;
        let mut own = Self { process, dir };
        // It says where it listens when it does.
        let mut line = String::new();
        let said = own.process.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        if !said.is_some_and(|read| read.is_ok_and(|read| read > 0)) {
            bail!("ssh-agent ended before it listened");
        }
        Ok(own)
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("agent")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes what clients left that were killed: their agents have ended with them.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let Some(pid) = owner.and_then(|(pid, _)| pid.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            // Of other users it cannot be removed.
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
        let pids: Vec<u32> = agents.own.iter().map(|own| own.process.id()).collect();
        drop(agents);
        for (pid, socket) in pids.iter().zip(sockets.values()) {
            assert!(!Path::new("/proc").join(pid.to_string()).exists() && !socket.exists());
            assert!(!socket.parent().is_some_and(Path::exists));
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
    }

    #[test]
    fn what_a_client_left_that_was_killed_goes_with_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        // Above every number that a process can have.
        let (left, own) = (dir.path().join("hako-ssh-99999999-0"), std::process::id());
        let live = dir.path().join(format!("hako-ssh-{own}-0"));
        for path in [&left, &live] {
            fs::create_dir(path).expect("create");
        }
        sweep(dir.path());
        assert!(!left.exists() && live.exists());
    }
}
