//! Processors and memory nodes by number.

use super::super::host::HostConfig;
use crate::error::{Failure, invalid};
use std::collections::BTreeSet;

/// Beyond what any kernel counts to, so that a range cannot fill the memory.
const MOST: u32 = 8192;

/// Refuses lists that are malformed, and numbers that this machine has not.
pub(super) fn check_cpusets(host: &HostConfig) -> Result<(), Failure> {
    let online = |kind: &str| {
        std::fs::read_to_string(format!("/sys/devices/system/{kind}/online"))
            .unwrap_or_else(|_| "0".to_owned())
    };
    check(&host.cpuset_cpus, "cpuset cpus", "CPUs", || online("cpu"))?;
    check(&host.cpuset_mems, "cpuset mems", "memory nodes", || online("node"))
}

fn check(wanted: &str, field: &str, what: &str, online: impl Fn() -> String) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let asked = numbers(wanted).ok_or_else(|| invalid(format!("Invalid value {wanted} for {field}")))?;
    let online = online();
    let online = online.trim();
    match numbers(online).is_none_or(|available| asked.is_subset(&available)) {
        true => Ok(()),
        false => Err(invalid(format!(
            "Requested {what} are not available - requested {wanted}, available: {online}"
        ))),
    }
}

/// `0-1,3`.
fn numbers(text: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last > MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_well_formed_and_of_this_machine() {
        let said = |wanted| {
            let checked = check(wanted, "cpuset cpus", "CPUs", || "0-3,8\n".to_owned());
            checked.err().map(|failure| failure.0.chain()).unwrap_or_default()
        };
        for wanted in ["", "0", "0-3", "1,8"] {
            assert_eq!(said(wanted), "", "{wanted}");
        }
        assert_eq!(said("0-4"), "Requested CPUs are not available - requested 0-4, available: 0-3,8");
        for wanted in ["x", "0,", "3-1", "-1", "0-4294967295"] {
            assert_eq!(said(wanted), format!("Invalid value {wanted} for cpuset cpus"));
        }
    }
}
