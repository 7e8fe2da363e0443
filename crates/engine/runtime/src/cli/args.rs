//! Flags in the form Go programs take them: `--name value`, `--name=value`, `-name`, and flags before and after the
//! command.

use std::ffi::OsString;
use std::path::PathBuf;

use hako_error::{Error, Kind, Result};

/// Flags that take a value, with their short forms.
const VALUED: [(&str, &str); 17] = [
    ("root", ""),
    ("log", ""),
    ("log-format", ""),
    ("rootless", ""),
    ("criu", ""),
    ("bundle", "b"),
    ("pid-file", ""),
    ("console-socket", ""),
    ("process", "p"),
    ("cwd", ""),
    ("env", "e"),
    ("user", "u"),
    ("cap", "c"),
    ("format", "f"),
    ("preserve-fds", ""),
    ("apparmor", ""),
    ("process-label", ""),
];

/// Flags that are on or off, with their short forms.
const SWITCHES: [(&str, &str); 13] = [
    ("debug", ""),
    ("systemd-cgroup", ""),
    ("version", "v"),
    ("help", "h"),
    ("no-pivot", ""),
    ("no-new-keyring", ""),
    ("detach", "d"),
    ("all", "a"),
    ("force", ""),
    ("tty", "t"),
    ("quiet", "q"),
    ("no-new-privs", ""),
    ("keep", ""),
];

/// What was given on the command line.
#[derive(Debug, Default)]
pub(super) struct Args {
    flags: Vec<(&'static str, Option<String>)>,
    words: std::collections::VecDeque<String>,
}

impl Args {
    pub fn new(arguments: Vec<OsString>) -> Result<Self> {
        let text = |argument: OsString| {
            argument
                .into_string()
                .map_err(|bad| Error::new(Kind::Invalid, format!("argument {bad:?} is not UTF-8")))
        };
        let mut args = Self::default();
        let mut rest = arguments.into_iter().map(text);
        while let Some(argument) = rest.next() {
            let argument = argument?;
            // Behind `exec ID` everything belongs to the program.
            let is_program = args.words.len() >= 2 && args.words[0] == "exec";
            if is_program || argument == "-" || !argument.starts_with('-') {
                args.words.push_back(argument);
                continue;
            }
            if argument == "--" {
                for word in rest.by_ref() {
                    args.words.push_back(word?);
                }
                break;
            }
            let body = argument.trim_start_matches('-');
            let (name, value) =
                body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value.to_owned())));
            let is = |(long, short): &&(&str, &str)| *long == name || (!short.is_empty() && *short == name);
            // `delete -f` is force, `list -f` is format.
            let is_delete = name == "f" && args.words.front().is_some_and(|word| word == "delete");
            if is_delete {
                args.flags.push(("force", None));
            } else if let Some((long, _)) = VALUED.iter().find(is) {
                let missing = || Error::new(Kind::Invalid, format!("flag --{long} needs a value"));
                let value = match value {
                    Some(value) => value,
                    None => rest.next().ok_or_else(missing)??,
                };
                args.flags.push((long, Some(value)));
            } else if let Some((long, _)) = SWITCHES.iter().find(is) {
                if value.as_deref() != Some("false") {
                    args.flags.push((long, None));
                }
            } else {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("unknown flag {argument}; see hako runtime help"),
                ));
            }
        }
        Ok(args)
    }

    /// The last value of a flag.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.take_all(name).pop()
    }

    /// All values of a flag.
    pub fn take_all(&mut self, name: &str) -> Vec<String> {
        let of = self.flags.extract_if(.., |(known, _)| *known == name);
        of.filter_map(|(_, value)| value).collect()
    }

    pub fn take_path(&mut self, name: &str) -> Option<PathBuf> {
        self.take(name).map(PathBuf::from)
    }

    pub fn take_flag(&mut self, name: &str) -> bool {
        self.flags.extract_if(.., |(known, _)| *known == name).count() > 0
    }

    pub fn command(&mut self) -> Option<String> {
        self.words.pop_front()
    }

    /// The container's id: it becomes a name of directories and groups.
    pub fn id(&mut self) -> Result<String> {
        let id = self.words.pop_front().ok_or_else(|| Error::new(Kind::Invalid, "no container id given"))?;
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
        if id.is_empty() || id == "." || id == ".." || !id.bytes().all(is_fine) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{id:?} is not a container id; use letters, digits, '_', '+', '-' and '.'"),
            ));
        }
        Ok(id)
    }

    /// What is left.
    pub fn rest(&mut self) -> Vec<String> {
        self.words.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stand_before_and_behind_the_command_in_either_form() {
        let text = "--root /r --log-format=json exec --user 1:2 -e A=B -e C=D id prog --user x";
        let mut args = Args::new(text.split(' ').map(OsString::from).collect()).unwrap();
        assert_eq!(args.take("root").unwrap(), "/r");
        assert_eq!(args.take("log-format").unwrap(), "json");
        assert_eq!(args.take("user").unwrap(), "1:2");
        assert_eq!(args.take_all("env"), ["A=B", "C=D"]);
        assert_eq!((args.command().unwrap(), args.id().unwrap()), ("exec".into(), "id".into()));
        assert_eq!(args.rest(), ["prog", "--user", "x"]);
    }

    #[test]
    fn an_unknown_flag_and_a_bad_id_are_refused() {
        assert!(Args::new(vec!["--nonesuch".into()]).is_err());
        let mut args = Args::new(vec!["../x".into()]).unwrap();
        assert!(args.id().is_err());
    }
}
