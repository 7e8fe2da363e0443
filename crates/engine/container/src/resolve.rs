//! The image's configuration and the request, merged as Docker and the CRI do.

use crate::error::EngineError;
use crate::{ContainerSpec, Resolved};
use hako_oci::image::ImageConfiguration;
use std::collections::BTreeMap;

/// What a process has that is told no other. Not of the container's configuration, so that images made of it lack it too.
pub(crate) const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SIGTERM: i32 = 15;

/// What a container of this image and request runs.
///
/// | request | image | runs |
/// |---|---|---|
/// | neither | entrypoint, cmd | entrypoint + cmd |
/// | args | entrypoint, cmd | entrypoint + args |
/// | command | any | command |
/// | command, args | any | command + args |
///
/// A command of one empty word is Docker's for none: the image's is cleared with its cmd, and args run alone.
pub(crate) fn merge(spec: &ContainerSpec, image: &ImageConfiguration) -> Result<Resolved, EngineError> {
    let config = image.config().clone().unwrap_or_default();
    let entrypoint = match spec.command.is_empty() {
        true => config.entrypoint().clone().unwrap_or_default(),
        false => spec.command.clone(),
    };
    let entrypoint = if entrypoint == [""] { Vec::new() } else { entrypoint };
    let cmd = match (spec.command.is_empty(), spec.args.is_empty()) {
        (_, false) => spec.args.clone(),
        (true, true) => config.cmd().clone().unwrap_or_default(),
        (false, true) => Vec::new(),
    };
    let argv: Vec<String> = entrypoint.iter().chain(&cmd).cloned().collect();
    if argv.is_empty() {
        return Err(EngineError::NoCommand);
    }
    let mut labels: BTreeMap<String, String> =
        config.labels().clone().unwrap_or_default().into_iter().collect();
    labels.extend(spec.labels.clone());
    let mut exposed_ports = config.exposed_ports().clone().unwrap_or_default();
    exposed_ports.extend(spec.exposed_ports.iter().cloned());
    exposed_ports.sort();
    exposed_ports.dedup();
    Ok(Resolved {
        argv,
        entrypoint,
        cmd,
        env: merge_env(config.env().iter().flatten().chain(&spec.env)),
        working_dir: first([&spec.working_dir, config.working_dir().as_ref().unwrap_or(&String::new()), ""]),
        user: first([&spec.user, config.user().as_ref().unwrap_or(&String::new()), ""]),
        stop_signal: match (spec.stop_signal, config.stop_signal()) {
            (Some(signal), _) => signal,
            (None, Some(name)) if !name.is_empty() => signal_number(name)?,
            _ => SIGTERM,
        },
        labels,
        exposed_ports,
        ..Resolved::default()
    })
}

fn first(values: [&str; 3]) -> String {
    values.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_owned()
}

/// Later values win and keep the place of the first; an entry without `=` is dropped.
pub(crate) fn merge_env<'a>(entries: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    for entry in entries {
        let Some((name, _)) = entry.split_once('=') else {
            continue;
        };
        let same = |other: &String| other.split_once('=').is_some_and(|(other, _)| other == name);
        match merged.iter().position(same) {
            Some(at) => merged[at].clone_from(entry),
            None => merged.push(entry.clone()),
        }
    }
    merged
}

const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal given as number or name: `9`, `KILL`, `SIGKILL`, `SIGRTMIN+3`.
pub(crate) fn signal_number(text: &str) -> Result<i32, EngineError> {
    let bad = || EngineError::Signal { name: text.to_owned() };
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match name.strip_prefix("RTMIN") {
        Some("") => Some(34),
        Some(offset) => {
            offset.strip_prefix('+').and_then(|offset| offset.parse::<i32>().ok()).map(|offset| 34 + offset)
        }
        None => {
            let by_name =
                SIGNALS.iter().position(|signal| *signal == name).and_then(|at| i32::try_from(at + 1).ok());
            by_name.or_else(|| name.parse().ok())
        }
    };
    number.filter(|number| (1..=64).contains(number)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_oci::image::{ConfigBuilder, ImageConfigurationBuilder};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn image() -> ImageConfiguration {
        let config = ConfigBuilder::default()
            .entrypoint(words("/entry -x"))
            .cmd(words("serve"))
            .env(words("A=1 B=2"))
            .user("web")
            .working_dir("/srv")
            .stop_signal("SIGQUIT")
            .build()
            .unwrap();
        ImageConfigurationBuilder::default().config(config).build().unwrap()
    }

    #[test]
    fn command_replaces_entrypoint_and_cmd_while_args_replace_only_cmd() {
        let argv = |command: &str, args: &str| {
            let spec =
                ContainerSpec { command: words(command), args: words(args), ..ContainerSpec::default() };
            merge(&spec, &image()).unwrap().argv.join(" ")
        };
        assert_eq!(argv("", ""), "/entry -x serve");
        assert_eq!(argv("", "check"), "/entry -x check");
        assert_eq!(argv("/bin/sh", ""), "/bin/sh");
        assert_eq!(argv("/bin/sh", "-c true"), "/bin/sh -c true");
    }

    #[test]
    fn one_empty_word_clears_the_entrypoint() {
        let cleared = |args: &str| {
            let spec =
                ContainerSpec { command: vec![String::new()], args: words(args), ..ContainerSpec::default() };
            merge(&spec, &image())
        };
        let resolved = cleared("echo x").unwrap();
        assert_eq!((resolved.argv, resolved.entrypoint), (words("echo x"), Vec::new()));
        assert!(matches!(cleared(""), Err(EngineError::NoCommand)));
    }

    #[test]
    fn the_rest_of_the_request_wins_over_the_image() {
        let spec = ContainerSpec { env: words("B=3 C=4 bad"), user: "1".into(), ..ContainerSpec::default() };
        let resolved = merge(&spec, &image()).unwrap();
        assert_eq!(resolved.env, ["A=1", "B=3", "C=4"]);
        assert_eq!(
            (resolved.user.as_str(), resolved.working_dir.as_str(), resolved.stop_signal),
            ("1", "/srv", 3)
        );
    }

    #[test]
    fn no_command_anywhere_is_an_error() {
        let image = ImageConfigurationBuilder::default().build().unwrap();
        assert!(matches!(merge(&ContainerSpec::default(), &image), Err(EngineError::NoCommand)));
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let cases = [("SIGTERM", 15), ("kill", 9), ("10", 10), ("SIGRTMIN+3", 37), ("SYS", 31)];
        for (text, number) in cases {
            assert_eq!(signal_number(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "65", "SIGNOPE"] {
            assert!(signal_number(text).is_err(), "{text}");
        }
    }
}
