//! `ps`.

use std::process::Command;

use hako_error::{Error, Kind, Result};

use super::args::Args;
use super::state::Home;
use super::{Global, internal, print};
use crate::prepare::cgroup_root;

pub(super) fn ps(global: &Global, args: &mut Args) -> Result<()> {
    let format = args.take("format").unwrap_or_else(|| "table".to_owned());
    let record = Home::of(&global.root, &args.id()?).load()?;
    let pids = cgroup_root()?.open(&record.cgroup)?.processes()?;
    match format.as_str() {
        "json" => print(&format!("{}\n", serde_json::json!(pids))),
        "table" => {
            let mut options = args.rest();
            if options.is_empty() {
                options.push("-ef".to_owned());
            }
            print(&rows(&output(&options)?, &pids)?)
        }
        other => Err(Error::new(Kind::Invalid, format!("format {other:?} is not known; use table or json"))),
    }
}

/// What the host's `ps` says of all processes.
fn output(options: &[String]) -> Result<String> {
    let output = Command::new("ps").args(options).output().map_err(internal("cannot run ps"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::new(Kind::Invalid, format!("ps {}: {said}", options.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The head, and the lines of these processes.
fn rows(text: &str, pids: &[u32]) -> Result<String> {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let missing = || Error::new(Kind::Invalid, "the output of ps has no column PID; ask for one");
    let column = head.split_whitespace().position(|name| name == "PID").ok_or_else(missing)?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse::<u32>().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(head).chain(lines.filter(is_ours)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_processes_are_left_out() {
        let text = "UID  PID CMD\nroot   1 init\nroot  12 sh -c 1\n";
        assert_eq!(rows(text, &[12]).unwrap(), "UID  PID CMD\nroot  12 sh -c 1\n");
        assert!(rows("USER CMD\n", &[1]).is_err());
    }
}
