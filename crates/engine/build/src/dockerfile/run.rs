//! RUN.

use super::csv;
use super::flags::{Flags, Takes};
use super::heredoc::{Heredoc, heredoc};
use super::instruction::{Refused, json_words, refuse};
use super::mount::MountFlag;
use super::suggest::did_you_mean;

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What runs.
    pub program: Program,
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--device`, in order.
    pub devices: Vec<Device>,
}

/// What a RUN executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A text for the shell. Heredocs of it are in it, for the shell to read.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A heredoc that starts with `#!`: a file of that name (BuildKit: read-only in `/dev/pipes`, mode 0755) that
    /// is executed without a shell.
    Script {
        /// The file's name.
        name: String,
        /// Its text.
        content: String,
    },
}

impl Program {
    /// The words to execute with that shell; of a script only the file's name.
    #[must_use]
    pub fn words(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Shell(line) => [shell, std::slice::from_ref(line)].concat(),
            Self::Exec(words) => words.clone(),
            Self::Script { name, .. } => vec![format!("{SCRIPTS}/{name}")],
        }
    }
}

/// Where [`Program::Script`] expects its file.
pub const SCRIPTS: &str = "/dev/pipes";

/// `--network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// What the build has.
    #[default]
    Default,
    /// Only a loopback.
    None,
    /// The host's.
    Host,
}

/// `--security`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// As every step.
    #[default]
    Sandbox,
    /// With all rights; the build must allow it.
    Insecure,
}

/// `--device`: a CDI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `vendor/class`, `vendor/class=name`, or a class by annotation.
    pub name: String,
    /// Whether the step fails without it.
    pub is_required: bool,
}

pub(super) const FLAGS: [(&str, Takes); 4] =
    [("mount", Takes::List), ("network", Takes::Text), ("security", Takes::Text), ("device", Takes::List)];

pub(super) fn run(rest: &str, flags: Vec<String>, heredocs: &[Heredoc]) -> Result<Run, Refused> {
    let flags = Flags::parse("RUN", flags, &FLAGS)?;
    let network = match flags.text("network").as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => {
            let hint = did_you_mean(other, ["default", "none", "host"]);
            return refuse(format!("RUN --network={other}: expected default, none or host{hint}"));
        }
    };
    let security = match flags.text("security").as_deref() {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => {
            let hint = did_you_mean(other, ["sandbox", "insecure"]);
            return refuse(format!("RUN --security={other}: expected sandbox or insecure{hint}"));
        }
    };
    Ok(Run {
        program: program(rest, heredocs)?,
        mounts: flags.all("mount").map(MountFlag::parse).collect::<Result<_, _>>()?,
        network,
        security,
        devices: flags.all("device").map(device).collect::<Result<_, _>>()?,
    })
}

fn program(rest: &str, heredocs: &[Heredoc]) -> Result<Program, Refused> {
    if let Some(words) = json_words("RUN", rest)? {
        return if words.is_empty() { refuse("RUN [] names no program") } else { Ok(Program::Exec(words)) };
    }
    if rest.is_empty() {
        return refuse("RUN needs at least one argument");
    }
    let Some(first) = heredocs.first() else {
        return Ok(Program::Shell(rest.to_owned()));
    };
    let is_alone = heredocs.len() == 1 && heredoc(rest).is_some_and(|alone| alone.name == first.name);
    if !is_alone {
        // The shell reads them itself, so it gets them as they are written.
        let mut text = rest.to_owned();
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        return Ok(Program::Shell(text));
    }
    let content = first.text();
    if content.starts_with("#!") {
        return Ok(Program::Script { name: first.name.clone(), content });
    }
    Ok(Program::Shell(content))
}

fn device(text: &str) -> Result<Device, Refused> {
    let mut device = Device { name: String::new(), is_required: false };
    for field in csv::fields(text)? {
        let (key, value) = field.split_once('=').unwrap_or((&field, ""));
        match (key.to_ascii_lowercase().as_str(), value) {
            ("required", "" | "true" | "1") => device.is_required = true,
            ("required", "false" | "0") => device.is_required = false,
            ("name", value) if device.name.is_empty() => value.clone_into(&mut device.name),
            _ if device.name.is_empty() => device.name.clone_from(&field),
            _ => return refuse(format!("RUN --device={text}: {field:?} is neither a name nor required")),
        }
    }
    if device.name.is_empty() {
        return refuse(format!("RUN --device={text} names no device"));
    }
    Ok(device)
}
