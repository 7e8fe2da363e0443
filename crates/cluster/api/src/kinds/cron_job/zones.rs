//! The names of time zones, as the IANA database has them.

use hako_kube::field::{self, Faults};
use serde_json::Value;

/// One name a line, sorted; built in, so that a schedule means the same on every machine.
const NAMES: &str = include_str!("zones.txt");
const PART_MAX: usize = 14;

/// All faults of the name of a time zone.
pub(super) fn validate(zone: &str, path: &str, causes: &mut Faults) {
    let mut refuse = |detail: &str| causes.push(field::invalid(path, Value::from(zone), detail));
    if zone.is_empty() {
        refuse("timeZone must be nil or non-empty string");
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        refuse("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if !zone.split('/').all(is_part) || !is_known(zone) {
        refuse(&format!("unknown time zone {zone}"));
    }
}

fn is_part(part: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
    let is_sized = (1..=PART_MAX).contains(&part.len());
    is_sized && part != "." && part != ".." && !part.starts_with('-') && part.bytes().all(is_allowed)
}

fn is_known(zone: &str) -> bool {
    NAMES.lines().any(|name| name == zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_their_exact_names() {
        for zone in ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata"] {
            assert!(is_known(zone), "{zone}");
        }
        for zone in ["europe/berlin", "Mars/Base", "../etc/passwd", "Europe/", "Europe//Berlin"] {
            let mut causes = Faults::new();
            validate(zone, "z", &mut causes);
            let found: Vec<String> = causes.iter().map(field::line).collect();
            assert_eq!(found, [format!("z: Invalid value: {zone:?}: unknown time zone {zone}")]);
        }
        assert!(NAMES.lines().is_sorted());
    }
}
