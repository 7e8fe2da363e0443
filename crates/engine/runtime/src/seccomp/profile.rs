//! The default profile, from its data file.

use hako_oci::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use hako_sys::capability_bit;

const DATA: &str = include_str!("default_profile.txt");

/// One line of the data file.
#[derive(Debug, Default)]
struct Line<'a> {
    name: &'a str,
    when: Option<u64>,
    unless: Option<u64>,
    argument: Option<LinuxSeccompArg>,
    errno: Option<u32>,
}

/// The default profile for a container with these capabilities (bit n for capability n).
#[must_use]
pub fn default_profile(capabilities: u64) -> LinuxSeccomp {
    let (mut plain, mut rules) = (Vec::new(), Vec::new());
    for line in DATA.lines().filter_map(parse) {
        let is_meant = line.when.is_none_or(|bit| capabilities & bit != 0)
            && line.unless.is_none_or(|bit| capabilities & bit == 0);
        match (is_meant, &line.argument, line.errno) {
            (false, ..) => {}
            (true, None, None) => plain.push(line.name.to_owned()),
            (true, ..) => rules.push(rule(vec![line.name.to_owned()], line.argument, line.errno)),
        }
    }
    rules.insert(0, rule(plain, None, None));
    let architectures =
        if cfg!(target_arch = "aarch64") { Arch::ScmpArchAarch64 } else { Arch::ScmpArchX86_64 };
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(1_u32)
        .architectures(vec![architectures])
        .syscalls(rules)
        .build()
        .unwrap_or_default()
}

fn rule(names: Vec<String>, argument: Option<LinuxSeccompArg>, errno: Option<u32>) -> LinuxSyscall {
    let action =
        if errno.is_some() { LinuxSeccompAction::ScmpActErrno } else { LinuxSeccompAction::ScmpActAllow };
    let mut builder = LinuxSyscallBuilder::default().names(names).action(action);
    if let Some(errno) = errno {
        builder = builder.errno_ret(errno);
    }
    if let Some(argument) = argument {
        builder = builder.args(vec![argument]);
    }
    builder.build().unwrap_or_default()
}

fn parse(line: &str) -> Option<Line<'_>> {
    let mut words = line.split('#').next()?.split_whitespace();
    let mut parsed = Line { name: words.next()?, ..Line::default() };
    while let Some(word) = words.next() {
        match word {
            "when" => parsed.when = capability_bit(words.next()?),
            "unless" => parsed.unless = capability_bit(words.next()?),
            "errno" => parsed.errno = words.next()?.parse().ok(),
            argument => parsed.argument = Some(parse_argument(argument, &mut words)?),
        }
    }
    Some(parsed)
}

fn parse_argument<'a>(argument: &str, words: &mut impl Iterator<Item = &'a str>) -> Option<LinuxSeccompArg> {
    let index: usize = argument.strip_prefix("arg")?.parse().ok()?;
    let builder = LinuxSeccompArgBuilder::default().index(index);
    let builder = match words.next()? {
        "==" => builder.op(LinuxSeccompOperator::ScmpCmpEq).value(number(words.next()?)?),
        "!=" => builder.op(LinuxSeccompOperator::ScmpCmpNe).value(number(words.next()?)?),
        "&" => {
            let mask = number(words.next()?)?;
            words.next().filter(|word| *word == "==")?;
            builder.op(LinuxSeccompOperator::ScmpCmpMaskedEq).value(mask).value_two(number(words.next()?)?)
        }
        _ => return None,
    };
    builder.build().ok()
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_data_file_is_understood() {
        let lines = DATA.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        for line in lines {
            let parsed = parse(line).unwrap_or_else(|| panic!("{line}"));
            let words = line.split_whitespace().count();
            let is_plain = parsed.when.is_none() && parsed.unless.is_none() && parsed.argument.is_none();
            assert_eq!(is_plain, words == 1, "{line}");
        }
    }

    #[test]
    fn capabilities_open_their_system_calls() {
        let names = |profile: LinuxSeccomp| -> Vec<String> {
            profile.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
        };
        assert!(!names(default_profile(0)).contains(&"mount".to_owned()));
        let admin = capability_bit("SYS_ADMIN").unwrap();
        assert!(names(default_profile(admin)).contains(&"mount".to_owned()));
    }
}
