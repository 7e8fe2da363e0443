//! Passwords: a file of `name:$2y$…` lines, as `htpasswd -B` writes.

use super::{Credentials, Refused};
use bcrypt::HashParts;
use hako_error::{Error, Kind, Result};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// How long a password that was right is believed again without the cost of bcrypt.
const BELIEVED: Duration = Duration::from_secs(60);
/// Checks at once: bcrypt is slow by purpose, and must not take all processors.
const CHECKS: usize = 2;
/// Passwords that are remembered.
const REMEMBERED: usize = 4096;
/// The end of a hash of nothing anybody knows.
const NOBODY: &str = "abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";

/// The file, read again when it changed.
#[derive(Debug)]
pub(super) struct Passwords {
    path: PathBuf,
    state: Mutex<State>,
    checks: Semaphore,
}

struct State {
    changed: Option<SystemTime>,
    users: Arc<HashMap<String, String>>,
    /// Digest of name, hash and password → until when it is believed.
    believed: HashMap<[u8; 32], Instant>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} users", self.users.len())
    }
}

impl Passwords {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let users = Arc::new(read(path)?);
        let state = State { changed: changed(path), users, believed: HashMap::new() };
        Ok(Self { path: path.into(), state: Mutex::new(state), checks: Semaphore::new(CHECKS) })
    }

    /// The name, if the password is right.
    pub(super) async fn check(&self, credentials: Credentials) -> Result<String, Refused> {
        let Credentials { user, password } = credentials;
        let hash = self.hash(&user);
        let key = hash.as_ref().map(|hash| {
            let text = format!("{user}\0{hash}\0{password}");
            let mut key = [0; 32];
            key.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
            key
        });
        if key.is_some_and(|key| self.is_believed(key)) {
            return Ok(user);
        }
        let Ok(_turn) = self.checks.acquire().await else { return Err(Refused) };
        let hash = hash.unwrap_or_else(|| nobody(&self.state.lock().users));
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        match (key, checked) {
            (Some(key), Ok(Ok(true))) => {
                self.believe(key);
                Ok(user)
            }
            _ => Err(Refused),
        }
    }

    /// What changes when the user's password does; `None` if there is no such user.
    pub(super) fn version(&self, user: &str) -> Option<String> {
        self.hash(user).map(|hash| hex(&digest(&SHA256, hash.as_bytes()).as_ref()[..8]))
    }

    fn hash(&self, user: &str) -> Option<String> {
        let mut state = self.state.lock();
        let now = changed(&self.path);
        if now != state.changed {
            match read(&self.path) {
                Ok(users) => {
                    state.users = Arc::new(users);
                    state.believed.clear();
                    state.changed = now;
                }
                Err(error) => tracing::warn!(error = %error.chain(), "keeping the users read before"),
            }
        }
        state.users.get(user).cloned()
    }

    fn is_believed(&self, key: [u8; 32]) -> bool {
        self.state.lock().believed.get(&key).is_some_and(|until| *until > Instant::now())
    }

    fn believe(&self, key: [u8; 32]) {
        let mut state = self.state.lock();
        if state.believed.len() >= REMEMBERED {
            state.believed.clear();
        }
        state.believed.insert(key, Instant::now() + BELIEVED);
    }
}

/// What an unknown name is compared with, so that it takes as long as a wrong password of those whose is the dearest.
fn nobody(users: &HashMap<String, String>) -> String {
    let costs = users.values().filter_map(|hash| hash.parse::<HashParts>().ok());
    let cost = costs.map(|parts| parts.get_cost()).max().unwrap_or(bcrypt::DEFAULT_COST);
    format!("$2b${cost:02}${NOBODY}")
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> Result<HashMap<String, String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Kind::Invalid, format!("cannot read the passwords {}", path.display())).with_source(error)
    })?;
    parse(&text, path).map_err(|faults| Error::new(Kind::Invalid, faults.join("; ")))
}

/// What is wrong with a file, each line for itself.
pub(super) fn faults(path: &Path) -> Vec<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path).err().unwrap_or_default(),
        Err(error) => vec![format!("cannot read the passwords {}: {error}", path.display())],
    }
}

fn parse(text: &str, path: &Path) -> Result<HashMap<String, String>, Vec<String>> {
    let (mut users, mut faults) = (HashMap::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            Some((user, hash)) if !user.is_empty() && hash.parse::<HashParts>().is_ok() => {
                users.insert(user.to_owned(), hash.to_owned());
            }
            said => faults.push(format!(
                "line {} of {} is not NAME:BCRYPT-HASH ({}); write it with htpasswd -B",
                index + 1,
                path.display(),
                kind_of(said)
            )),
        }
    }
    if faults.is_empty() { Ok(users) } else { Err(faults) }
}

/// What a line that is not used holds; never the hash itself.
fn kind_of(line: Option<(&str, &str)>) -> &'static str {
    match line {
        None => "it has no colon",
        Some(("", _)) => "it has no name",
        Some((_, hash)) if hash.starts_with("$apr1$") => "the hash is $apr1$, MD5",
        Some((_, hash)) if hash.starts_with("{SHA}") => "the hash is {SHA}, SHA-1",
        Some((_, hash)) if hash.starts_with("$2") => "the bcrypt hash is damaged",
        Some(_) => "the hash is of another kind",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_costs_as_much_as_the_dearest_of_those_that_are_known() {
        let hash = |cost| bcrypt::hash("secret", cost).unwrap();
        let users = HashMap::from([("alice".to_owned(), hash(4)), ("bob".to_owned(), hash(6))]);
        let nobody = nobody(&users);
        assert_eq!(nobody.parse::<HashParts>().unwrap().get_cost(), 6);
        assert!(!bcrypt::verify("secret", &nobody).unwrap(), "it is not even compared");
    }
}
