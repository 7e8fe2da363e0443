//! Git repositories as contexts and as sources of ADD, by the machine's `git` program.
//!
//! The program runs with no configuration but ours: no hooks, no credential helpers, no prompts, and only the
//! protocols that reach another machine. Neither a Dockerfile nor a repository can make it read a file of this
//! machine or run a program.

use crate::compile::is_true;
use crate::context::Contexts;
use crate::error::BuildError;
use crate::files::Source;
use crate::ignore::Ignore;
use crate::scratch::Scratch;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_error::{Error, Kind, Result};
use hako_snapshot::remove_tree;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const SCHEMES: [&str; 4] = ["https://", "http://", "git://", "ssh://"];
/// The secret that is a password for HTTP, whoever it is for.
const TOKEN: &str = "GIT_AUTH_TOKEN";
/// The secret that is the whole value of the header `Authorization`.
const HEADER: &str = "GIT_AUTH_HEADER";
/// Who has a token for a password at the servers that know it as BuildKit sends it.
const TOKEN_USER: &str = "x-access-token";
/// How much of git's complaints an error repeats, in bytes.
const COMPLAINTS: u64 = 4096;

/// What is wanted of a repository besides its files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub keep_git_dir: Option<bool>,
    /// The commit, or its start.
    pub checksum: Option<String>,
}

/// A repository's files.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub files: Arc<Source>,
    pub path: PathBuf,
    pub commit: String,
    _dir: Scratch,
}

/// An address taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Address {
    url: String,
    reference: Option<String>,
    subdir: Option<String>,
    /// The commit, or its start, that the reference has to be at.
    checksum: Option<String>,
    keep_git_dir: Option<bool>,
    leaves_submodules: bool,
}

/// Whether a context or source is a git repository: `git://`, `ssh://`, `git@host:path`, or a web address
/// whose path ends in `.git`.
pub fn is_repository(text: &str) -> bool {
    let plain = text.split(['#', '?']).next().unwrap_or(text);
    match SCHEMES.iter().position(|scheme| plain.starts_with(scheme)) {
        Some(0 | 1) => plain.ends_with(".git"),
        Some(_) => true,
        None => {
            plain.starts_with("git@") && plain.contains(':')
                || plain.starts_with("github.com/") && plain.split('/').count() >= 3
        }
    }
}

impl Wanted {
    /// Whether that commit is the one that was asked for.
    pub(crate) fn accepts(&self, commit: &str) -> bool {
        self.checksum.as_deref().is_none_or(|wanted| commit.starts_with(wanted))
    }
}

/// `URL#REF:SUBDIR`, or `URL?ref=…&subdir=…`.
fn parse(text: &str) -> Result<Address> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut address = Address {
        url: url.into(),
        reference: filled(reference),
        subdir: filled(subdir),
        ..Address::default()
    };
    let mut is_commit = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        address.parameter(key, value, &mut is_commit).map_err(|message| {
            Error::new(Kind::Invalid, format!("{text}: the parameter {key:?} of a git address {message}"))
        })?;
    }
    if address.checksum.is_some() && (is_commit || address.reference.is_none()) {
        address.reference.clone_from(&address.checksum);
    }
    if address.url.starts_with("github.com/") {
        address.url = format!("https://{}", address.url);
    }
    let is_safe = |text: &str| !text.starts_with('-') && !text.contains(['\n', '\0']);
    if !is_safe(&address.url) || !address.reference.as_deref().is_none_or(is_safe) {
        return Err(Error::new(Kind::Invalid, format!("{text:?} is no address of a git repository")));
    }
    Ok(address)
}

impl Address {
    /// One of BuildKit's parameters. Fails with what is wrong with it.
    fn parameter(&mut self, key: &str, value: &str, is_commit: &mut bool) -> Result<(), String> {
        let switch = || match value {
            "" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            value if is_true(value) => Ok(true),
            _ => Err("is true or false".to_owned()),
        };
        let settle = |known: &mut Option<String>, value: String| match known {
            Some(other) if *other != value => Err(format!("says {value:?} where {other:?} is said too")),
            _ => {
                *known = Some(value);
                Ok(())
            }
        };
        match key {
            "keep-git-dir" => self.keep_git_dir = Some(switch()?),
            "submodules" => self.leaves_submodules = !switch()?,
            "fetch-by-commit" => *is_commit = switch()?,
            "mtime" if value == "commit" => {}
            "mtime" => return Err("can only be \"commit\": files have the time of their commit".to_owned()),
            "ref" | "branch" | "tag" | "commit" | "checksum" | "subdir" if value.is_empty() => {
                return Err("needs a value".to_owned());
            }
            "ref" => settle(&mut self.reference, value.to_owned())?,
            "branch" => settle(&mut self.reference, qualified("refs/heads/", value))?,
            "tag" => settle(&mut self.reference, qualified("refs/tags/", value))?,
            "commit" | "checksum" => settle(&mut self.checksum, value.to_owned())?,
            "subdir" => settle(&mut self.subdir, value.to_owned())?,
            _ => return Err("is not known".to_owned()),
        }
        Ok(())
    }
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

/// Fetches one commit and lays its files out.
pub(crate) fn check_out(contexts: &Contexts, text: &str, wanted: &Wanted) -> Result<Checkout> {
    let address = parse(text)?;
    let dir = contexts.scratch()?;
    let authorization = Authorization::of(&address.url, contexts)?;
    let git = Git { contexts, authorization, home: dir.path().join("home"), tree: dir.path().join("tree") };
    fs::create_dir_all(&git.home).map_err(BuildError::io("create", &git.home))?;
    git.run(dir.path(), &["init", "-q", "tree"])?;
    git.run(&git.tree, &["remote", "add", "origin", "--", &address.url])?;
    git.fetch(&address)?;
    git.run(&git.tree, &["checkout", "-q", "--detach", "FETCH_HEAD"])?;
    if git.tree.join(".gitmodules").exists() && !address.leaves_submodules {
        git.run(&git.tree, &["submodule", "update", "-q", "--init", "--recursive", "--depth=1"])?;
    }
    let head = git.run(&git.tree, &["show", "-s", "--format=%H %ct", "HEAD"])?;
    let (commit, time) = head.trim().split_once(' ').unwrap_or((head.trim(), "0"));
    let own = Wanted { keep_git_dir: address.keep_git_dir, checksum: address.checksum };
    for (wanted, who) in [(wanted, "--checksum"), (&own, "the address")] {
        if !wanted.accepts(commit) {
            let wanted = wanted.checksum.as_deref().unwrap_or_default();
            let message = format!("{text} is at commit {commit}, and {who} wants {wanted}");
            return Err(Error::new(Kind::Invalid, message));
        }
    }
    if !wanted.keep_git_dir.or(own.keep_git_dir).unwrap_or(false) {
        remove_git_dirs(&git.tree, 0)?;
    }
    // A checkout's times are when it was made; the commit's say the same everywhere.
    crate::times::set(&git.tree, time.parse().unwrap_or(0))?;
    let path = subdirectory(&git.tree, address.subdir.as_deref(), text)?;
    let ignore = Ignore::default();
    Ok(Checkout {
        files: Arc::new(Source::context(&path, ignore)?),
        path,
        commit: commit.to_owned(),
        _dir: dir,
    })
}

/// What one server is told, and no other: submodules may be anybody's.
struct Authorization {
    /// Its name in git's configuration.
    key: String,
    header: String,
}

impl Authorization {
    /// From the secrets for this server alone, else from those for all.
    fn of(url: &str, contexts: &Contexts) -> Result<Option<Self>> {
        let Some((server, host)) = http_server(url) else { return Ok(None) };
        for (name, is_token) in [
            (format!("{HEADER}.{host}"), false),
            (format!("{TOKEN}.{host}"), true),
            (HEADER.to_owned(), false),
            (TOKEN.to_owned(), true),
        ] {
            let Some(secret) = contexts.ground.lent.secret(&name)? else { continue };
            let secret = String::from_utf8_lossy(&secret.0);
            let value = match secret.trim() {
                token if is_token => format!("Basic {}", STANDARD.encode(format!("{TOKEN_USER}:{token}"))),
                value => value.to_owned(),
            };
            let key = format!("http.{server}/.extraHeader");
            return Ok(Some(Self { key, header: format!("Authorization: {value}") }));
        }
        Ok(None)
    }
}

/// Scheme and authority of a web address without who asks, and the authority alone.
fn http_server(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some((format!("{scheme}://{host}"), host))
}

struct Git<'a> {
    contexts: &'a Contexts,
    authorization: Option<Authorization>,
    home: PathBuf,
    tree: PathBuf,
}

impl Git<'_> {
    /// The one commit where the server gives it by itself, else everything and then the commit.
    fn fetch(&self, address: &Address) -> Result<()> {
        let reference = address.reference.as_deref().unwrap_or("HEAD");
        let shallow = self.run(&self.tree, &["fetch", "-q", "--no-tags", "--depth=1", "origin", reference]);
        let is_commit = reference.len() >= 7 && reference.bytes().all(|b| b.is_ascii_hexdigit());
        match shallow {
            Err(error) if is_commit && error.kind() != Kind::Cancelled => {
                self.run(
                    &self.tree,
                    &["fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"],
                )?;
                // Quietly: git's own words are of revisions and paths, and ours of the address.
                let commit = ["rev-parse", "--verify", "-q", &format!("{reference}^{{commit}}")];
                let commit = self.run(&self.tree, &commit).map_err(|error| match error.kind() {
                    Kind::Cancelled => error,
                    _ => Error::new(
                        Kind::NotFound,
                        format!("{} has no commit {reference} on any branch or tag", address.url),
                    ),
                })?;
                fs::write(self.tree.join(".git/FETCH_HEAD"), commit)
                    .map_err(BuildError::io("write", "FETCH_HEAD"))?;
                Ok(())
            }
            fetched => fetched.map(drop),
        }
    }

    fn command(&self, dir: &Path, args: &[&str]) -> Result<Command> {
        let mut command = Command::new("git");
        command.current_dir(dir).env_clear();
        for name in [
            "PATH",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "HTTPS_PROXY",
            "NO_PROXY",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("GIT_ALLOW_PROTOCOL", "http:https:git:ssh")
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new")
            .env("LC_ALL", "C");
        if let Some(agent) = self.contexts.ground.lent.ssh_agent("default")? {
            command.env("SSH_AUTH_SOCK", agent);
        }
        // By the environment: arguments are for everybody to see.
        if let Some(Authorization { key, header }) = &self.authorization {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", key)
                .env("GIT_CONFIG_VALUE_0", header);
        }
        command.args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "init.defaultBranch=main",
        ]);
        command.args([
            "-c",
            "fetch.fsckObjects=true",
            "-c",
            "core.symlinks=true",
            "-c",
            "core.autocrlf=false",
        ]);
        command.process_group(0);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs git to its end, or until the build is cancelled; returns what it wrote.
    fn run(&self, dir: &Path, args: &[&str]) -> Result<String> {
        let mut child = self.command(dir, args)?.spawn().map_err(|source| {
            let hint = "a git repository needs the program git on this machine; install it";
            Error::new(Kind::FailedPrecondition, hint).with_source(source)
        })?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (status, out, err) = std::thread::scope(|scope| {
            let out = scope.spawn(move || read_all(out));
            let err = scope.spawn(move || read_all(err));
            let status = loop {
                match child.try_wait() {
                    Ok(None) if self.contexts.ground.cancel.check().is_err() => {
                        // Whom git has started may hold its output open.
                        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                            let _ = kill_process_group(group, Signal::KILL);
                        }
                        let _ = child.wait();
                        break None;
                    }
                    Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                    Ok(Some(status)) => break Some(status),
                    Err(_) => break None,
                }
            };
            (status, out.join().unwrap_or_default(), err.join().unwrap_or_default())
        });
        self.contexts.ground.cancel.check()?;
        if status.is_some_and(|status| status.success()) {
            return Ok(out);
        }
        let what = args.first().copied().unwrap_or_default();
        Err(Error::new(Kind::Unavailable, format!("git {what} failed: {}", err.trim())))
    }
}

fn read_all(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = Read::by_ref(&mut stream).take(COMPLAINTS).read_to_end(&mut bytes);
        // The rest is read so that the program does not wait for a reader.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `.git` of the repository and of its submodules.
fn remove_git_dirs(dir: &Path, depth: usize) -> Result<(), BuildError> {
    for entry in fs::read_dir(dir).map_err(BuildError::io("list", dir))?.flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if entry.file_name() == ".git" {
            let removed = if is_dir { remove_tree(&path) } else { fs::remove_file(&path) };
            removed.map_err(BuildError::io("remove", &path))?;
        } else if is_dir && depth < 256 {
            remove_git_dirs(&path, depth + 1)?;
        }
    }
    Ok(())
}

/// A directory of the checkout; links cannot lead out of it.
fn subdirectory(tree: &Path, subdir: Option<&str>, text: &str) -> Result<PathBuf> {
    let missing = |_| Error::new(Kind::NotFound, format!("{text}: the repository has no such directory"));
    let root = tree.canonicalize().map_err(missing)?;
    let Some(subdir) = subdir else { return Ok(root) };
    let path = root.join(crate::files::clean(subdir)).canonicalize().map_err(missing)?;
    if path.starts_with(&root) && path.is_dir() {
        Ok(path)
    } else {
        Err(missing(std::io::ErrorKind::NotADirectory.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_other_sources() {
        for yes in [
            "https://h/a/b.git",
            "https://h/a/b.git#v1:sub",
            "git://h/x",
            "ssh://git@h/x",
            "git@h:x/y",
            "github.com/a/b",
        ] {
            assert!(is_repository(yes), "{yes}");
        }
        for no in ["https://h/a.tar", "dir", ".", "./a.git", "git@", "file:///etc/x.git", "github.com"] {
            assert!(!is_repository(no), "{no}");
        }
    }

    #[test]
    fn a_server_is_told_from_the_rest_of_an_address() {
        let told = |url| http_server(url).map(|(server, host)| format!("{server} {host}"));
        assert_eq!(
            told("https://me:pw@h.example:8443/a/b.git").unwrap(),
            "https://h.example:8443 h.example:8443"
        );
        assert_eq!(told("http://h/r.git").unwrap(), "http://h h");
        assert!(told("ssh://h/r.git").is_none() && told("git@h:r.git").is_none());
    }

    #[test]
    fn an_address_has_a_reference_and_a_directory() {
        let parsed = parse("https://h/r.git#main:a/b").unwrap();
        assert_eq!((parsed.reference.as_deref(), parsed.subdir.as_deref()), (Some("main"), Some("a/b")));
        assert_eq!(parse("https://h/r.git?ref=v1&subdir=x").unwrap().subdir.as_deref(), Some("x"));
        assert_eq!(parse("https://h/r.git").unwrap().reference, None);
        let parsed =
            parse("https://h/r.git?tag=v1&commit=0a1b&submodules=false&keep-git-dir&mtime=commit").unwrap();
        assert_eq!(
            (parsed.reference.as_deref(), parsed.checksum.as_deref()),
            (Some("refs/tags/v1"), Some("0a1b"))
        );
        assert_eq!((parsed.keep_git_dir, parsed.leaves_submodules), (Some(true), true));
        assert_eq!(parse("git://h/r?branch=b").unwrap().reference.as_deref(), Some("refs/heads/b"));
        for by_commit in ["git://h/r?checksum=0a1b", "git://h/r?branch=b&checksum=0a1b&fetch-by-commit=1"] {
            assert_eq!(parse(by_commit).unwrap().reference.as_deref(), Some("0a1b"), "{by_commit}");
        }
        for bad in [
            "https://h/r.git#--upload-pack=x",
            "-x",
            "https://h/r.git?evil=1",
            "https://h/r.git?ref=--upload-pack=x",
            "https://h/r.git?checksum=-x",
            "https://h/r.git?ref=",
            "https://h/r.git?ref=a&tag=b",
            "https://h/r.git?ref=a#b",
            "https://h/r.git?subdir=a#:b",
            "https://h/r.git?submodules=maybe",
            "https://h/r.git?mtime=checkout",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
