//! Flags in the form Go programs take them: `--name value`, `--name=value`, `-name`, those of all commands before the
//! command and its own behind it.

use std::ffi::OsString;
use std::path::PathBuf;

use hako_error::{Error, Kind, Result};

use super::flags;

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
        let mut rest = arguments.into_iter().map(text).collect::<Result<Vec<_>>>()?.into_iter();
        let mut args = Self::default();
        while let Some(argument) = rest.next() {
            if args.takes_as_word(&argument) {
                args.words.push_back(argument);
            } else if argument == "--" {
                args.words.extend(rest.by_ref());
            } else {
                args.flag(&argument, &mut rest)?;
            }
        }
        Ok(args)
    }

    fn takes_as_word(&self, argument: &str) -> bool {
        // Behind `exec ID` everything belongs to the program.
        let is_program = self.words.len() >= 2 && flags::is_program(&self.words[0]);
        // A command that is refused or not there is told as such, whatever comes with it.
        let is_refused = self.words.front().is_some_and(|command| {
            flags::of(command).is_none() || flags::is_refused(command) && !is_help(argument)
        });
        is_program || is_refused || argument == "-" || !argument.starts_with('-')
    }

    fn flag(&mut self, argument: &str, rest: &mut impl Iterator<Item = String>) -> Result<()> {
        let invalid = |text: String| Error::new(Kind::Invalid, text);
        let table = match self.words.front() {
            None => flags::GLOBAL,
            Some(command) => flags::of(command).unwrap_or_default(),
        };
        let table = table.iter().chain(&flags::OF_ALL);
        let body = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or(argument);
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        let mut table = table.filter(|flag| flag.name == name || flag.short == name);
        let Some(flag) = table.next().filter(|_| !name.is_empty()) else {
            let of = self.words.front().map_or_else(String::new, |command| format!(" of {command}"));
            return Err(invalid(format!("unknown flag {argument}{of}; see hako runtime help")));
        };
        let value = match (flag.takes_value, value) {
            (true, Some(value)) => Some(value.to_owned()),
            (true, None) => {
                Some(rest.next().ok_or_else(|| invalid(format!("flag --{} needs a value", flag.name)))?)
            }
            (false, None | Some("true")) => None,
            (false, Some("false")) => return Ok(()),
            (false, Some(value)) => {
                return Err(invalid(format!("flag --{} is on or off, not {value:?}", flag.name)));
            }
        };
        self.flags.push((flag.name, value));
        Ok(())
    }

    /// The last value of a flag.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.take_all(name).pop()
    }

    /// All values of a flag. A switch of that name is another: `--rootless auto spec --rootless`.
    pub fn take_all(&mut self, name: &str) -> Vec<String> {
        let of = self.flags.extract_if(.., |(known, value)| *known == name && value.is_some());
        of.filter_map(|(_, value)| value).collect()
    }

    pub fn take_path(&mut self, name: &str) -> Option<PathBuf> {
        self.take(name).map(PathBuf::from)
    }

    pub fn take_flag(&mut self, name: &str) -> bool {
        self.flags.extract_if(.., |(known, value)| *known == name && value.is_none()).count() > 0
    }

    /// The last value of a flag, as a number.
    pub fn take_number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let bad = |_| Error::new(Kind::Invalid, format!("flag --{name} takes a number, not {text:?}"));
        text.parse().map(Some).map_err(bad)
    }

    /// Whether this is the command.
    pub fn is_command(&self, name: &str) -> bool {
        self.words.front().is_some_and(|word| word == name)
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

    /// The container's id, and nothing after it.
    pub fn only_id(&mut self) -> Result<String> {
        let id = self.id()?;
        self.is_done().map(|()| id)
    }

    /// Refuses words nothing was made of.
    pub fn is_done(&self) -> Result<()> {
        match self.words.front() {
            Some(word) => Err(Error::new(Kind::Invalid, format!("{word:?} is one argument too many"))),
            None => Ok(()),
        }
    }

    /// What is left.
    pub fn rest(&mut self) -> Vec<String> {
        self.words.drain(..).collect()
    }
}

fn is_help(argument: &str) -> bool {
    matches!(argument.trim_start_matches('-'), "help" | "h")
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
    fn a_flag_of_another_command_is_refused() {
        let parse = |text: &str| Args::new(text.split(' ').map(OsString::from).collect());
        assert!(parse("kill --all id 9").is_ok());
        for text in ["start --all id", "kill --bundle x id", "--bundle x run id", "delete --force=maybe id"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("delete -f id").unwrap().take_flag("force"));
        assert_eq!(parse("list -f json").unwrap().take("format").unwrap(), "json");
        assert!(!parse("delete --force=false id").unwrap().take_flag("force"));
    }

    #[test]
    fn each_command_has_help_and_a_switch_is_no_value_of_its_name() {
        let parse = |text: &str| Args::new(text.split(' ').map(OsString::from).collect()).unwrap();
        for text in ["create --help", "checkpoint -h", "start id -h", "--help", "exec -h id sh"] {
            assert!(parse(text).take_flag("help"), "{text}");
        }
        for text in ["exec id sh -h", "nonesuch --help", "restore --image-path x"] {
            assert!(!parse(text).take_flag("help"), "{text}");
        }
        let mut args = parse("--rootless auto spec --rootless");
        assert_eq!(args.take("rootless").unwrap(), "auto");
        assert!(args.take_flag("rootless"));
    }

    #[test]
    fn an_unknown_flag_and_a_bad_id_are_refused() {
        assert!(Args::new(vec!["--nonesuch".into()]).is_err());
        let mut args = Args::new(vec!["../x".into()]).unwrap();
        assert!(args.id().is_err());
    }
}
