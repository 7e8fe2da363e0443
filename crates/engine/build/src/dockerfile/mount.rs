//! `RUN --mount`.

use super::csv;
use super::instruction::{Refused, refuse};
use super::suggest::did_you_mean;

/// A `--mount` as written: its fields, variables unexpanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// The stage, image or named context that it mounts from. Has no variables.
    pub from: Option<String>,
    /// What follows `--mount=`.
    pub text: String,
    fields: Vec<(String, Option<String>)>,
}

/// A `--mount` with its variables expanded and its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Files of the context, a stage, an image.
    Bind {
        /// Where; relative ones start at the working directory.
        target: String,
        /// Where from; `None` for the context.
        from: Option<String>,
        /// The path in there; `/` for all of it.
        source: String,
        /// Whether it cannot be written. What is written is thrown away.
        is_read_only: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Where; relative ones start at the working directory.
        target: String,
        /// Which cache.
        id: String,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// What a new one starts with; `None` for nothing.
        from: Option<String>,
        /// The path in there; `/` for all of it.
        source: String,
        /// Whether it cannot be written.
        is_read_only: bool,
        /// Mode and owner of a new one.
        owner: Owner,
    },
    /// Memory.
    Tmpfs {
        /// Where; relative ones start at the working directory.
        target: String,
        /// The most it holds; `None` leaves that to the kernel.
        size_bytes: Option<u64>,
        /// Whether it cannot be written.
        is_read_only: bool,
    },
    /// A secret of the build.
    Secret {
        /// Which.
        id: String,
        /// The file; `None` if there is only a variable.
        target: Option<String>,
        /// The variable.
        env: Option<String>,
        /// Whether the step fails without it.
        is_required: bool,
        /// Mode and owner of the file.
        owner: Owner,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Which.
        id: String,
        /// The socket; `None` for `/run/buildkit/ssh_agent.N`.
        target: Option<String>,
        /// Whether the step fails without it.
        is_required: bool,
        /// Mode and owner of the socket.
        owner: Owner,
    },
}

/// Mode and owner of what a mount makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The mode's 12 bits.
    pub mode: u32,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Everybody, each with one of their own.
    Private,
    /// One after the other.
    Locked,
}

pub(super) const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
pub(super) const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];
/// Keys that may stand alone.
const SWITCHES: [&str; 5] = ["readonly", "ro", "readwrite", "rw", "required"];

impl MountFlag {
    /// Reads what follows `--mount=`. What has no variables is checked to the end.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut flag = Self { from: None, text: text.to_owned(), fields: Vec::new() };
        for field in csv::fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
                None => (field.to_ascii_lowercase(), None),
            };
            if !KEYS.contains(&key.as_str()) {
                let hint = did_you_mean(&key, KEYS);
                return refuse(format!("RUN --mount has no key {key:?}{hint}"));
            }
            if value.is_none() && !SWITCHES.contains(&key.as_str()) {
                return refuse(format!("RUN --mount: {key} needs a value, as in {key}=…"));
            }
            if key == "from" {
                if value.as_deref().is_some_and(|from| from.contains('$')) {
                    let way = "name a stage for it: FROM image AS name, with the variable in FROM";
                    return refuse(format!("RUN --mount: from cannot have variables; {way}"));
                }
                flag.from = value.clone().filter(|from| !from.is_empty());
            }
            flag.fields.push((key, value));
        }
        if !text.contains('$') {
            flag.resolve(&mut |value| Ok(value.to_owned()))?;
        }
        Ok(flag)
    }

    /// Its values, variables unexpanded.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter_map(|(_, value)| value.as_deref())
    }

    /// Expands every value and fills in what is not said (Dockerfile reference, "RUN --mount"). Fails with what is
    /// wrong.
    pub fn resolve(&self, expand: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<Mount, String> {
        let mut said = Said { from: self.from.clone(), ..Said::default() };
        for (key, value) in &self.fields {
            let value = value.as_deref().map(&mut *expand).transpose()?;
            said.take(key, value)?;
        }
        said.mount().map_err(|message| format!("RUN --mount={}: {message}", self.text))
    }
}

/// What the fields say.
#[derive(Default)]
struct Said {
    kind: Option<String>,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    is_read_only: Option<bool>,
    id: Option<String>,
    sharing: Option<Sharing>,
    is_required: Option<bool>,
    size_bytes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
}

impl Said {
    fn take(&mut self, key: &str, value: Option<String>) -> Result<(), String> {
        let text = value.clone().unwrap_or_default();
        let wrong = |expected: &str| format!("RUN --mount: {key}={text}: expected {expected}");
        let number = |radix| u32::from_str_radix(&text, radix).map_err(|_| wrong("a number"));
        match key {
            "type" => {
                let kind = text.to_ascii_lowercase();
                if !TYPES.contains(&kind.as_str()) {
                    return Err(wrong(&format!("one of {}{}", TYPES.join(", "), did_you_mean(&kind, TYPES))));
                }
                self.kind = Some(kind);
            }
            "from" => {}
            "source" | "src" => self.source = value.filter(|value| !value.is_empty()),
            "target" | "dst" | "destination" => self.target = value.filter(|value| !value.is_empty()),
            "readonly" | "ro" => {
                self.is_read_only = Some(boolean(value).ok_or_else(|| wrong("true or false"))?)
            }
            "readwrite" | "rw" => {
                self.is_read_only = Some(!boolean(value).ok_or_else(|| wrong("true or false"))?)
            }
            "required" => self.is_required = Some(boolean(value).ok_or_else(|| wrong("true or false"))?),
            "id" => self.id = value.filter(|value| !value.is_empty()),
            "sharing" => {
                self.sharing = Some(match text.to_ascii_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    other => {
                        let hint = did_you_mean(other, ["shared", "private", "locked"]);
                        return Err(wrong(&format!("shared, private or locked{hint}")));
                    }
                });
            }
            "size" => self.size_bytes = Some(bytes(&text).ok_or_else(|| wrong("a size such as 64m"))?),
            "mode" => {
                let mode = number(8)?;
                self.mode =
                    Some(Some(mode).filter(|mode| *mode <= 0o7777).ok_or_else(|| wrong("an octal mode"))?);
            }
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            _ => self.env = value,
        }
        Ok(())
    }

    fn mount(self) -> Result<Mount, String> {
        let kind = self.kind.clone().unwrap_or_else(|| "bind".to_owned());
        self.check(&kind)?;
        let owner = |mode| Owner {
            mode: self.mode.unwrap_or(mode),
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
        };
        let target = || match self.target.as_deref() {
            None => Err("it needs a target".to_owned()),
            Some(target) if clean(target) == "/" => Err("its target cannot be the root".to_owned()),
            Some(target) => Ok(target.to_owned()),
        };
        let source = self.source.clone().unwrap_or_else(|| "/".to_owned());
        let is_required = self.is_required.unwrap_or(false);
        Ok(match kind.as_str() {
            "bind" => Mount::Bind {
                target: target()?,
                source,
                is_read_only: self.is_read_only.unwrap_or(true),
                from: self.from,
            },
            "cache" => Mount::Cache {
                target: target()?,
                id: self.id.clone().unwrap_or_else(|| clean(self.target.as_deref().unwrap_or_default())),
                sharing: self.sharing.unwrap_or_default(),
                source,
                is_read_only: self.is_read_only.unwrap_or(false),
                owner: owner(0o755),
                from: self.from,
            },
            "tmpfs" => Mount::Tmpfs {
                target: target()?,
                size_bytes: self.size_bytes.filter(|size| *size > 0),
                is_read_only: self.is_read_only.unwrap_or(false),
            },
            "secret" => self.secret(owner(0o400))?,
            _ => Mount::Ssh {
                id: self.id.clone().unwrap_or_else(|| "default".to_owned()),
                target: self.target.clone(),
                is_required,
                owner: owner(0o600),
            },
        })
    }

    fn secret(&self, owner: Owner) -> Result<Mount, String> {
        let named = self.source.clone().or_else(|| self.id.clone());
        let from_target = || self.target.as_deref().map(base_name);
        let id = named.or_else(from_target).ok_or("a secret needs an id or a target")?;
        let default = || self.env.is_none().then(|| format!("/run/secrets/{}", base_name(&id)));
        Ok(Mount::Secret {
            target: self.target.clone().or_else(default),
            env: self.env.clone().map(|env| if env.is_empty() { id.clone() } else { env }),
            is_required: self.is_required.unwrap_or(false),
            owner,
            id,
        })
    }

    /// Keys that a mount of that type cannot have.
    fn check(&self, kind: &str) -> Result<(), String> {
        let is = |kinds: &[&str]| kinds.contains(&kind);
        let has_owner = self.mode.is_some() || self.uid.is_some() || self.gid.is_some();
        for (key, is_set, is_allowed) in [
            ("sharing", self.sharing.is_some(), is(&["cache"])),
            ("size", self.size_bytes.is_some(), is(&["tmpfs"])),
            ("required", self.is_required.is_some(), is(&["secret", "ssh"])),
            ("env", self.env.is_some(), is(&["secret"])),
            ("from", self.from.is_some(), is(&["bind", "cache"])),
            ("source", self.source.is_some(), is(&["bind", "cache", "secret"])),
            ("mode, uid or gid", has_owner, is(&["cache", "secret", "ssh"])),
        ] {
            if is_set && !is_allowed {
                return Err(format!("a mount of type {kind} cannot have {key}"));
            }
        }
        if kind == "secret" && self.source.is_some() && self.id.is_some() {
            return Err("a secret has a source or an id, not both".to_owned());
        }
        Ok(())
    }
}

/// Go's booleans; a key alone is true.
fn boolean(value: Option<String>) -> Option<bool> {
    match value.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(_) => None,
    }
}

/// Bytes as Docker writes them: `100`, `64k`, `1.5g`, `2GiB`, each unit 1024 of the one before.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 1_u64 << shift;
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits = &fraction[..fraction.len().min(9)];
    let part = u128::from(digits.parse::<u64>().ok()?) * u128::from(scale);
    let divisor = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_add(u64::try_from(part / divisor).ok()?)
}

fn base_name(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

/// A path without empty parts, `.` and `..`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}
