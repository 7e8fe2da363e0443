//! Credentials for registries, in Docker's own file and by its helper programs, so that who logged in with docker
//! is logged in here too.
//!
//! ```text
//! $DOCKER_CONFIG/config.json or ~/.docker/config.json
//!   credHelpers.HOST, else credsStore   ->  docker-credential-NAME get|store|erase, on its standard input
//!   else auths.HOST.auth                ->  base64 of NAME:PASSWORD
//! ```
//!
//! Invariant: a secret is in the file (mode 0600), in a pipe or in memory, never in a log, an argument or an error.

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hako_build::NewFile;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Docker Hub's key in the file, kept from its first API.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// A helper's user name where the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper says, with exit code 1, when it has nothing: part of the helpers' protocol.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Who somebody is to one registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Password { username: String, password: String },
    IdentityToken(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// Docker's configuration file; all of it that we do not know stays as it is.
pub(crate) struct DockerConfig {
    path: PathBuf,
    value: Value,
}

impl Login {
    /// As the engine's API takes it, in `X-Registry-Auth` and in the body of `/auth`.
    pub(crate) fn json(&self, server: &str) -> Value {
        match self {
            Self::Password { username, password } => {
                json!({ "username": username, "password": password, "serveraddress": server })
            }
            Self::IdentityToken(token) => json!({ "identitytoken": token, "serveraddress": server }),
        }
    }

    /// The content of `X-Registry-Auth`.
    pub(crate) fn header(&self, server: &str) -> String {
        URL_SAFE.encode(self.json(server).to_string())
    }
}

/// The file's key for a registry.
pub(crate) fn key(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    }
}

/// The host of a key, which people also write as a URL.
fn host(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or_default()
}

impl DockerConfig {
    /// The user's file; one that is not there is empty.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let directory = match std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
            Some(directory) => PathBuf::from(directory),
            None => std::env::home_dir().context("find the home directory: set HOME")?.join(".docker"),
        };
        Self::read(&directory.join("config.json"))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let value = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .ok()
                .filter(Value::is_object)
                .with_context(|| format!("{} is not a JSON object", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => json!({}),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        Ok(Self { path: path.to_owned(), value })
    }

    /// The program that keeps the credentials of this registry, if one does.
    fn helper(&self, key: &str) -> anyhow::Result<Option<String>> {
        let named = self.value["credHelpers"][key].as_str().or(self.value["credHelpers"][host(key)].as_str());
        let name = named.or(self.value["credsStore"].as_str()).filter(|name| !name.is_empty());
        match name {
            Some(name) if name.contains('/') => {
                bail!("{}: credential helper {name:?} is not a plain name", self.path.display())
            }
            name => Ok(name.map(|name| format!("docker-credential-{name}"))),
        }
    }

    /// The credentials for a registry, if any are kept.
    pub(crate) fn login(&self, registry: &str) -> anyhow::Result<Option<Login>> {
        let key = key(registry);
        if let Some(helper) = self.helper(key)? {
            return from_helper(&helper, key);
        }
        let Some(auths) = self.value["auths"].as_object() else { return Ok(None) };
        let entry = auths.get(key).or_else(|| {
            // Also as a URL, with whatever path.
            auths.iter().find(|(other, _)| host(other) == host(key)).map(|(_, entry)| entry)
        });
        let Some(entry) = entry else { return Ok(None) };
        if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
            return Ok(Some(Login::IdentityToken(token.to_owned())));
        }
        let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (username, password) = pair.with_context(|| {
            format!("{}: auth of {key} is not base64 of NAME:PASSWORD, log in again", self.path.display())
        })?;
        // Docker ends what it writes with a zero byte at times.
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Login::Password { username: username.to_owned(), password }))
    }

    /// Keeps credentials; says where.
    pub(crate) fn store(mut self, registry: &str, login: &Login) -> anyhow::Result<String> {
        let key = key(registry).to_owned();
        if let Some(helper) = self.helper(&key)? {
            let (username, secret) = match login {
                Login::Password { username, password } => (username.as_str(), password),
                Login::IdentityToken(token) => (TOKEN_USER, token),
            };
            let entry = json!({ "ServerURL": key, "Username": username, "Secret": secret });
            let said = run_helper(&helper, "store", &entry.to_string())?;
            if let Err(said) = said {
                bail!("{helper} did not keep the credentials: {said}");
            }
            return Ok(helper);
        }
        let entry = match login {
            Login::Password { username, password } => {
                json!({ "auth": STANDARD.encode(format!("{username}:{password}")) })
            }
            Login::IdentityToken(token) => json!({ "auth": "", "identitytoken": token }),
        };
        if !self.value["auths"].is_object() {
            self.value["auths"] = json!({});
        }
        self.value["auths"][key] = entry;
        self.write()?;
        Ok(self.path.display().to_string())
    }

    /// Forgets credentials; whether there were any.
    pub(crate) fn erase(mut self, registry: &str) -> anyhow::Result<bool> {
        let key = key(registry).to_owned();
        let mut had_any = false;
        if let Some(helper) = self.helper(&key)? {
            had_any = from_helper(&helper, &key)?.is_some();
            if had_any && let Err(said) = run_helper(&helper, "erase", &key)? {
                bail!("{helper} did not forget the credentials: {said}");
            }
        }
        if let Some(auths) = self.value["auths"].as_object_mut() {
            let before = auths.len();
            auths.retain(|other, _| host(other) != host(&key));
            if auths.len() != before {
                had_any = true;
                self.write()?;
            }
        }
        Ok(had_any)
    }

    /// Neither a crash nor a reader meets half a file; a link to where the file is kept stays one.
    fn write(&self) -> anyhow::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let text = format!("{:#}\n", self.value);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(directory)?;
            let new = NewFile::create(&self.path, 0o600)?;
            new.file().write_all(text.as_bytes())?;
            new.finish_durably()
        };
        write().with_context(|| format!("write {}", self.path.display()))
    }
}

fn from_helper(helper: &str, key: &str) -> anyhow::Result<Option<Login>> {
    let said = match run_helper(helper, "get", key)? {
        Ok(said) => said,
        Err(said) if said.trim() == NOT_FOUND => return Ok(None),
        Err(said) => bail!("{helper} gave no credentials for {key}: {said}"),
    };
    let entry: Value =
        serde_json::from_str(&said).ok().with_context(|| format!("{helper} did not answer with JSON"))?;
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    Ok(Some(match text("Username") {
        user if user == TOKEN_USER => Login::IdentityToken(text("Secret")),
        username => Login::Password { username, password: text("Secret") },
    }))
}

/// One call of a credential helper: what it says on standard output, `Err` where its exit code is not 0.
fn run_helper(helper: &str, verb: &str, input: &str) -> anyhow::Result<Result<String, String>> {
    let mut child = Command::new(helper)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("run the credential helper {helper}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that has ended already says why by its exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("run the credential helper {helper}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(if output.status.success() { Ok(said) } else { Err(said.trim().to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn password(username: &str, password: &str) -> Login {
        Login::Password { username: username.into(), password: password.into() }
    }

    fn config(directory: &tempfile::TempDir, value: &Value) -> DockerConfig {
        let path = directory.path().join("config.json");
        std::fs::write(&path, value.to_string()).unwrap();
        DockerConfig::read(&path).unwrap()
    }

    #[test]
    fn what_is_stored_is_found_private_and_beside_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let open = || DockerConfig::read(&directory.path().join("config.json")).unwrap();
        config(&directory, &json!({ "detachKeys": "ctrl-e", "auths": { "old.example": {} } }));
        open().store("reg.example:5000", &password("me", "a:b")).unwrap();
        open().store("docker.io", &Login::IdentityToken("t".into())).unwrap();
        let mode = std::fs::metadata(open().path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(open().login("reg.example:5000").unwrap() == Some(password("me", "a:b")));
        assert!(open().login("docker.io").unwrap() == Some(Login::IdentityToken("t".into())));
        assert!(open().login("other.example").unwrap().is_none());
        assert!(open().value["auths"][DOCKER_HUB].is_object());
        assert!(open().erase("reg.example:5000").unwrap());
        assert!(!open().erase("reg.example:5000").unwrap());
        assert_eq!(open().value["detachKeys"], "ctrl-e");
        assert!(open().value["auths"]["old.example"].is_object());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_kept_elsewhere_is_written_there() {
        let directory = tempfile::tempdir().unwrap();
        let (kept, link) = (directory.path().join("dotfiles.json"), directory.path().join("config.json"));
        std::fs::write(&kept, "{}").unwrap();
        std::os::unix::fs::symlink("dotfiles.json", &link).unwrap();
        DockerConfig::read(&link).unwrap().store("reg.example", &password("me", "pw")).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let kept = DockerConfig::read(&kept).unwrap();
        assert!(kept.login("reg.example").unwrap() == Some(password("me", "pw")));
    }

    #[test]
    fn dockers_own_forms_of_entries_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let auth = STANDARD.encode("me:pw\0");
        let auths = json!({ "https://reg.example/v2/": { "auth": auth }, "bad.example": { "auth": "%%" } });
        let config = config(&directory, &json!({ "auths": auths }));
        assert!(config.login("reg.example").unwrap() == Some(password("me", "pw")));
        assert!(config.login("bad.example").unwrap_err().to_string().contains("bad.example"));
        let path = directory.path().join("broken.json");
        std::fs::write(&path, "[]").unwrap();
        assert!(DockerConfig::read(&path).is_err());
    }

    #[test]
    fn a_helper_keeps_what_it_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        let script = format!(
            "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nget) cat >/dev/null; cat {0} 2>/dev/null || {{ echo '{NOT_FOUND}'; exit 1; }};;\nerase) rm {0};;\nesac\n",
            kept.display()
        );
        // Named by its path here; the file's own names are plain and looked up in PATH.
        let helper = directory.path().join("helper");
        std::fs::write(&helper, script).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o700)).unwrap();
        let helper = helper.to_str().unwrap();
        assert!(from_helper(helper, "h").unwrap().is_none());
        let entry = json!({ "ServerURL": "h", "Username": "me", "Secret": "pw" });
        run_helper(helper, "store", &entry.to_string()).unwrap().unwrap();
        assert!(from_helper(helper, "h").unwrap() == Some(password("me", "pw")));
        run_helper(helper, "erase", "h").unwrap().unwrap();
        assert!(from_helper(helper, "h").unwrap().is_none());
        let config =
            config(&directory, &json!({ "credsStore": "x", "credHelpers": { "h": "../evil", "g": "y" } }));
        assert_eq!(config.helper("g").unwrap().unwrap(), "docker-credential-y");
        assert_eq!(config.helper("f").unwrap().unwrap(), "docker-credential-x");
        assert!(config.helper("h").is_err());
    }
}
