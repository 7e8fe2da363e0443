//! The instructions and how each reads its arguments.

use super::chmod::FileMode;
use super::copy::{Copy, copy};
use super::expand::split_words;
use super::expose::port_range;
use super::flags::{Flags, split_flags};
use super::health::healthcheck;
use super::lines::{Logical, split_keyword};
use super::run::{Run, run};
use super::suggest::did_you_mean;
use serde_json::Value;

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One line for the shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

impl Command {
    /// The words to execute with that shell.
    #[must_use]
    pub fn words(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Shell(line) => [shell, std::slice::from_ref(line)].concat(),
            Self::Exec(words) => words.clone(),
        }
    }
}

/// A name with the value it gets, if any; variables unexpanded.
pub type Argument = (String, Option<String>);

/// What an instruction says, variables unexpanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// RUN.
    Run(Run),
    /// COPY or ADD.
    Copy(Copy),
    /// ENV.
    Env(Vec<(String, String)>),
    /// ARG.
    Arg(Vec<Argument>),
    /// WORKDIR.
    Workdir(String),
    /// USER.
    User(String),
    /// EXPOSE: words that may each expand to several.
    Expose(Vec<String>),
    /// LABEL.
    Label(Vec<(String, String)>),
    /// VOLUME.
    Volume(Vec<String>),
    /// CMD.
    Cmd(Command),
    /// ENTRYPOINT.
    Entrypoint(Command),
    /// SHELL.
    Shell(Vec<String>),
    /// STOPSIGNAL.
    StopSignal(String),
    /// MAINTAINER.
    Maintainer(String),
    /// HEALTHCHECK, as the configuration stores it.
    Healthcheck(Value),
    /// ONBUILD: the instruction as the configuration stores it, with its heredocs on lines of their own.
    /// [`super::triggers`] reads it when an image is built on this one.
    Onbuild(String),
}

/// Why an instruction's arguments are refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub message: String,
}

pub(super) type Parsed = Result<Instruction, Refused>;

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { message: message.into() })
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self { message }
    }
}

/// Every instruction of the language, for suggestions.
pub(super) const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Whether the instruction with that name can have here-documents.
pub(super) fn may_have_heredocs(keyword: &str) -> bool {
    ["RUN", "COPY", "ADD"].iter().any(|known| keyword.eq_ignore_ascii_case(known))
}

/// Reads one instruction other than FROM. `keyword` is upper case, `rest` what follows it.
pub(super) fn instruction(keyword: &str, rest: &str, logical: &Logical, escape: char) -> Parsed {
    if !KNOWN.contains(&keyword) {
        return refuse(unknown(keyword));
    }
    let (flags, rest) = split_flags(rest, escape);
    let rest = rest.trim();
    // The shell of a CMD without a text runs nothing, as in BuildKit.
    if rest.is_empty() && !matches!(keyword, "RUN" | "CMD" | "ENTRYPOINT") {
        return refuse(format!("{keyword} needs at least one argument"));
    }
    match keyword {
        "RUN" => return run(rest, flags, &logical.heredocs).map(Instruction::Run),
        "COPY" | "ADD" => return copy(keyword, rest, flags, &logical.heredocs).map(Instruction::Copy),
        "HEALTHCHECK" => return healthcheck(rest, flags).map(Instruction::Healthcheck),
        _ => drop(Flags::parse(keyword, flags, &[])?),
    }
    match keyword {
        "ENV" => Ok(Instruction::Env(pairs("ENV", rest, escape)?)),
        "LABEL" => Ok(Instruction::Label(pairs("LABEL", rest, escape)?)),
        "ARG" => arg(rest, escape),
        "WORKDIR" => Ok(Instruction::Workdir(rest.into())),
        "USER" => one_word("USER", rest).map(Instruction::User),
        "EXPOSE" => expose(rest),
        "VOLUME" => volume(rest),
        "CMD" => Ok(Instruction::Cmd(command(keyword, rest)?)),
        "ENTRYPOINT" => Ok(Instruction::Entrypoint(command(keyword, rest)?)),
        "SHELL" => shell(rest),
        "STOPSIGNAL" => stop_signal(rest),
        "MAINTAINER" => Ok(Instruction::Maintainer(rest.into())),
        _ => onbuild(rest, logical, escape),
    }
}

fn unknown(keyword: &str) -> String {
    let keyword: String = keyword.chars().take(40).collect();
    match did_you_mean(&keyword, KNOWN).as_str() {
        "" => format!("unknown instruction {keyword}, expected one of {}", KNOWN.join(", ")),
        hint => format!("unknown instruction {keyword}{hint}"),
    }
}

fn one_word(keyword: &str, rest: &str) -> Result<String, Refused> {
    if rest.contains(char::is_whitespace) && !rest.contains(['$', '"', '\'', '\\', '`']) {
        return refuse(format!("{keyword} takes exactly one argument"));
    }
    Ok(rest.to_owned())
}

pub(super) fn blank_separated(rest: &str) -> Vec<String> {
    rest.split([' ', '\t', '\r', '\u{b}', '\u{c}'])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether the arguments are a JSON array, of whatever.
pub(super) fn is_json(rest: &str) -> bool {
    matches!(json_words("", rest), Ok(Some(_)) | Err(_))
}

/// The words of a JSON array of strings. What is no JSON at all is `None`, for it to be read in the other form;
/// an array of anything else is refused.
pub(super) fn json_words(keyword: &str, rest: &str) -> Result<Option<Vec<String>>, Refused> {
    let rest = rest.trim_start();
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(items) = serde_json::from_str::<Vec<Value>>(rest) else {
        return Ok(None);
    };
    let words = items.into_iter().map(|item| match item {
        Value::String(word) => Ok(word),
        other => refuse(format!("{keyword} takes a JSON array of strings, {other} is none")),
    });
    words.collect::<Result<_, _>>().map(Some)
}

/// The exec form is a JSON array of strings; what is no JSON is a line for the shell.
pub(super) fn command(keyword: &str, rest: &str) -> Result<Command, Refused> {
    Ok(json_words(keyword, rest)?.map_or_else(|| Command::Shell(rest.to_owned()), Command::Exec))
}

fn shell(rest: &str) -> Parsed {
    match json_words("SHELL", rest)? {
        Some(words) if !words.is_empty() => Ok(Instruction::Shell(words)),
        _ => refuse("SHELL takes a JSON array such as [\"/bin/sh\", \"-c\"]"),
    }
}

/// What has no variables is checked at once.
fn expose(rest: &str) -> Parsed {
    let words = blank_separated(rest);
    for word in words.iter().filter(|word| !word.contains(['$', '"', '\'', '\\'])) {
        port_range(word)?;
    }
    Ok(Instruction::Expose(words))
}

fn volume(rest: &str) -> Parsed {
    let words = json_words("VOLUME", rest)?.unwrap_or_else(|| blank_separated(rest));
    if words.is_empty() || words.iter().any(|word| word.trim().is_empty()) {
        return refuse("VOLUME needs a path, an empty one is none");
    }
    Ok(Instruction::Volume(words.iter().map(|word| word.trim().to_owned()).collect()))
}

/// A number from 1 to 64, or a name with or without `SIG`.
fn stop_signal(rest: &str) -> Parsed {
    if !rest.contains(['$', '"', '\'', '\\']) {
        check_signal(rest)?;
    }
    one_word("STOPSIGNAL", rest).map(Instruction::StopSignal)
}

const SIGNALS: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "UNUSED",
];

/// Fails with the reason if the text is no signal of Linux.
pub fn check_signal(text: &str) -> Result<(), String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = name.strip_prefix("RTMIN").or_else(|| name.strip_prefix("RTMAX"));
    let is_real_time = real_time.is_some_and(|offset| {
        offset.is_empty()
            || offset
                .strip_prefix(['+', '-'])
                .is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=30).contains(&n)))
    });
    let is_number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if is_number || is_real_time || SIGNALS.contains(&name) {
        return Ok(());
    }
    let hint = did_you_mean(name, SIGNALS);
    Err(format!("{text:?} is no signal, expected a name such as SIGTERM or a number{hint}"))
}

/// `key=value …`, or the old form `key value`.
fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, Refused> {
    let words = split_words(rest, escape);
    let first = words.first().map_or("", String::as_str);
    if !first.contains('=') {
        let (key, value) = split_keyword(rest);
        return if value.is_empty() {
            refuse(format!("{keyword} {first} has no value, expected {first}=value"))
        } else {
            Ok(vec![(key.to_owned(), value.to_owned())])
        };
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => refuse(format!("{keyword}: {word:?} is not of the form key=value")),
    };
    words.iter().map(pair).collect()
}

fn arg(rest: &str, escape: char) -> Parsed {
    let argument = |word: &String| match word.split_once('=') {
        Some(("", _)) => refuse(format!("ARG: {word:?} has no name before its value")),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word.clone(), None)),
    };
    split_words(rest, escape).iter().map(argument).collect::<Result<_, _>>().map(Instruction::Arg)
}

/// The instruction is checked now, so that who builds on the image does not find its faults.
fn onbuild(rest: &str, logical: &Logical, escape: char) -> Parsed {
    let (keyword, arguments) = split_keyword(rest);
    let keyword = keyword.to_ascii_uppercase();
    match keyword.as_str() {
        "ONBUILD" => return refuse("ONBUILD ONBUILD is not allowed: triggers do not set triggers"),
        "FROM" | "MAINTAINER" => return refuse(format!("{keyword} is not allowed as a trigger of ONBUILD")),
        _ => {}
    }
    instruction(&keyword, arguments, logical, escape)?;
    let mut text = rest.to_owned();
    for heredoc in &logical.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    Ok(Instruction::Onbuild(text))
}

/// Fails if a mode without variables is none.
pub(super) fn check_mode(keyword: &str, mode: &str) -> Result<(), Refused> {
    if mode.contains(['$', '"', '\'', '\\']) {
        return Ok(());
    }
    FileMode::parse(mode)
        .map(drop)
        .map_err(|message| Refused { message: format!("{keyword} --chmod={message}") })
}
