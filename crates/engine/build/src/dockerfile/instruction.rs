//! The instructions and how each reads its arguments.

use super::expand::split_words;
use serde_json::Value;

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One line for the shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

/// A name with the value it gets, if any; variables unexpanded.
pub type Argument = (String, Option<String>);

/// COPY and ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Paths or patterns.
    pub sources: Vec<String>,
    /// Where to.
    pub destination: String,
    /// The stage or image to take them from; `None` for the context.
    pub from: Option<String>,
    /// `USER[:GROUP]` for everything copied.
    pub chown: Option<String>,
    /// Octal mode for everything copied.
    pub chmod: Option<String>,
    /// Whether it is ADD, which unpacks tars.
    pub is_add: bool,
}

/// What an instruction says, variables unexpanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// RUN.
    Run(Command),
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
    /// EXPOSE.
    Expose(Vec<String>),
    /// LABEL, and MAINTAINER as the label it stands for.
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
}

/// Why an instruction's arguments are refused.
pub(super) struct Refused {
    pub message: String,
    pub is_unimplemented: bool,
}

pub(super) type Parsed = Result<Instruction, Refused>;

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { message: message.into(), is_unimplemented: false })
}

fn unimplemented<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { message: message.into(), is_unimplemented: true })
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

/// Reads one instruction other than FROM.
pub(super) fn instruction(keyword: &str, rest: &str, escape: char) -> Parsed {
    let rest = rest.trim();
    if rest.is_empty() {
        return refuse(format!("{keyword} needs at least one argument"));
    }
    if matches!(keyword, "RUN" | "COPY" | "ADD") && heredoc(rest).is_some() {
        return unimplemented(
            "heredocs are not implemented; use a script in the context, or && between commands",
        );
    }
    match keyword {
        "RUN" => run(rest),
        "COPY" | "ADD" => copy(rest, keyword == "ADD"),
        "ENV" => Ok(Instruction::Env(pairs("ENV", rest, escape)?)),
        "LABEL" => Ok(Instruction::Label(pairs("LABEL", rest, escape)?)),
        "ARG" => arg(rest, escape),
        "WORKDIR" => Ok(Instruction::Workdir(rest.into())),
        "USER" => one_word("USER", rest).map(Instruction::User),
        "EXPOSE" => Ok(Instruction::Expose(split_words(rest, escape))),
        "VOLUME" => Ok(Instruction::Volume(json_words(rest).unwrap_or_else(|| split_words(rest, escape)))),
        "CMD" => Ok(Instruction::Cmd(command(rest))),
        "ENTRYPOINT" => Ok(Instruction::Entrypoint(command(rest))),
        "SHELL" => shell(rest),
        "STOPSIGNAL" => one_word("STOPSIGNAL", rest).map(Instruction::StopSignal),
        "MAINTAINER" => Ok(Instruction::Maintainer(rest.into())),
        "HEALTHCHECK" => healthcheck(rest),
        "ONBUILD" => {
            unimplemented("ONBUILD is not implemented; put the instruction into the images built on this one")
        }
        other => refuse(unknown(other)),
    }
}

/// The terminator of a heredoc that starts in `text`.
pub(super) fn heredoc(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let at = text.match_indices("<<").map(|(at, _)| at).find(|at| {
        let after = text[at + 2..].trim_start_matches('-').trim_start_matches(['"', '\'']);
        let before = at.checked_sub(1).map(|before| bytes[before]);
        before != Some(b'<') && after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    })?;
    let word = text[at + 2..].trim_start_matches('-').trim_start_matches(['"', '\'']);
    Some(word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
}

fn unknown(keyword: &str) -> String {
    let close = KNOWN.iter().find(|known| {
        let mut a: Vec<u8> = known.bytes().collect();
        let mut b: Vec<u8> = keyword.bytes().collect();
        a.sort_unstable();
        b.sort_unstable();
        a == b || known.starts_with(keyword) || keyword.starts_with(**known)
    });
    match close {
        Some(known) => format!("unknown instruction {keyword}, did you mean {known}?"),
        None => format!("unknown instruction {keyword}, expected one of {}", KNOWN.join(", ")),
    }
}

fn one_word(keyword: &str, rest: &str) -> Result<String, Refused> {
    if rest.split_whitespace().count() == 1 {
        Ok(rest.to_owned())
    } else {
        refuse(format!("{keyword} takes exactly one argument"))
    }
}

fn json_words(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

/// The exec form is a JSON array of strings; anything else is a line for the shell, as Docker has it.
fn command(rest: &str) -> Command {
    json_words(rest).map_or_else(|| Command::Shell(rest.to_owned()), Command::Exec)
}

fn run(rest: &str) -> Parsed {
    if rest.starts_with("--") {
        let flag = rest.split([' ', '=']).next().unwrap_or(rest);
        return unimplemented(format!("RUN {flag} is not implemented"));
    }
    match command(rest) {
        Command::Exec(words) if words.is_empty() => refuse("RUN [] names no program"),
        command => Ok(Instruction::Run(command)),
    }
}

fn shell(rest: &str) -> Parsed {
    match json_words(rest) {
        Some(words) if !words.is_empty() => Ok(Instruction::Shell(words)),
        _ => refuse("SHELL takes a JSON array such as [\"/bin/sh\", \"-c\"]"),
    }
}

fn copy(rest: &str, is_add: bool) -> Parsed {
    let keyword = if is_add { "ADD" } else { "COPY" };
    let mut copy = Copy { is_add, ..Copy::default() };
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, tail) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        copy_flag(&mut copy, keyword, flag)?;
        rest = tail.trim_start();
    }
    let mut words = json_words(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
    let destination = words.pop();
    if words.is_empty() {
        return refuse(format!("{keyword} needs at least one source and a destination"));
    }
    if let Some(remote) = words.iter().find(|word| is_add && is_remote(word)) {
        return unimplemented(format!("ADD of {remote:?} is not implemented; fetch it in a RUN step"));
    }
    copy.sources = words;
    copy.destination = destination.unwrap_or_default();
    if copy.sources.len() > 1 && !copy.destination.ends_with('/') && !copy.destination.contains('$') {
        return refuse(format!("{keyword} of several sources needs a destination that ends in \"/\""));
    }
    Ok(Instruction::Copy(copy))
}

fn is_remote(word: &str) -> bool {
    word.contains("://") || word.starts_with("git@")
}

fn copy_flag(copy: &mut Copy, keyword: &str, flag: &str) -> Result<(), Refused> {
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    let needed = || match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok(Some(value.to_owned())),
        None => refuse(format!("{keyword} --{name} needs a value, as in --{name}=…")),
    };
    match name {
        "from" if !copy.is_add => copy.from = needed()?,
        "chown" => copy.chown = needed()?,
        "chmod" => {
            copy.chmod = needed()?;
            let mode = copy.chmod.as_deref().unwrap_or("");
            let is_octal = (3..=4).contains(&mode.len()) && mode.bytes().all(|b| matches!(b, b'0'..=b'7'));
            if !is_octal && !mode.contains('$') {
                return refuse(format!("{keyword} --chmod={mode}: expected an octal mode such as 755"));
            }
        }
        // Layers never depend on those below them here, so there is nothing to do for it.
        "link" => {}
        "parents" | "exclude" | "checksum" | "keep-git-dir" | "unpack" => {
            return unimplemented(format!("{keyword} --{name} is not implemented"));
        }
        _ => return refuse(format!("{keyword} has no flag --{name}")),
    }
    Ok(())
}

/// `key=value …`, or the old form `key value`.
fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, Refused> {
    let words = split_words(rest, escape);
    let first = words.first().map_or("", String::as_str);
    if !first.contains('=') {
        return match rest.split_once(char::is_whitespace) {
            Some((key, value)) if keyword == "ENV" || !value.trim().is_empty() => {
                Ok(vec![(key.to_owned(), value.trim().to_owned())])
            }
            _ => refuse(format!("{keyword} {first} has no value, expected {first}=value")),
        };
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => refuse(format!("{keyword}: {word:?} is not of the form key=value")),
    };
    words.iter().map(pair).collect()
}

fn arg(rest: &str, escape: char) -> Parsed {
    let argument = |word: &String| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_name {
            Ok((name.to_owned(), value))
        } else {
            refuse(format!("ARG: {name:?} is no name of a variable"))
        }
    };
    split_words(rest, escape).iter().map(argument).collect::<Result<_, _>>().map(Instruction::Arg)
}

/// `NONE`, or options and `CMD command`; durations become nanoseconds as Docker stores them.
fn healthcheck(rest: &str) -> Parsed {
    if rest.eq_ignore_ascii_case("none") {
        return Ok(Instruction::Healthcheck(serde_json::json!({"Test": ["NONE"]})));
    }
    let mut check = serde_json::Map::new();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, tail) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let (key, number) = match name {
            "interval" => ("Interval", duration_ns(value)),
            "timeout" => ("Timeout", duration_ns(value)),
            "start-period" => ("StartPeriod", duration_ns(value)),
            "start-interval" => ("StartInterval", duration_ns(value)),
            "retries" => ("Retries", value.parse().ok()),
            _ => return refuse(format!("HEALTHCHECK has no flag --{name}")),
        };
        let Some(number) = number else {
            return refuse(format!("HEALTHCHECK --{name}={value} is malformed"));
        };
        check.insert(key.into(), number.into());
        rest = tail.trim_start();
    }
    let Some((keyword, tail)) = rest.split_once(char::is_whitespace) else {
        return refuse("HEALTHCHECK needs NONE or CMD and a command");
    };
    if !keyword.eq_ignore_ascii_case("cmd") {
        return refuse("HEALTHCHECK needs NONE or CMD and a command");
    }
    let test = match command(tail.trim()) {
        Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line],
        Command::Exec(words) => [vec!["CMD".to_owned()], words].concat(),
    };
    check.insert("Test".into(), test.into());
    Ok(Instruction::Healthcheck(Value::Object(check)))
}

/// Go's durations in whole numbers: `90s`, `1m30s`, `250ms`.
fn duration_ns(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, 0_i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let (unit, scale) = [
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
        ]
        .into_iter()
        .find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(number.checked_mul(scale)?)?;
        rest = &after[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}
