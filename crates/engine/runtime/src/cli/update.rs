//! `update`: a running container's limits, from a file or from flags.

use std::fs;
use std::io::Read;

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use super::args::Args;
use super::state::{Home, Phase};
use super::{Global, internal};
use crate::plan::resource_limits;
use crate::prepare::cgroup_root;

/// Flags and what they are in a spec: (flag, object, field).
const NUMBERS: [(&str, &str, &str); 9] = [
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-idle", "cpu", "idle"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("pids-limit", "pids", "limit"),
];

const BYTES: [(&str, &str); 5] = [
    ("memory", "limit"),
    ("memory-reservation", "reservation"),
    ("memory-swap", "swap"),
    ("kernel-memory", "kernel"),
    ("kernel-memory-tcp", "kernelTCP"),
];

const SETS: [(&str, &str); 2] = [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")];

pub(super) fn update(global: &Global, args: &mut Args) -> Result<()> {
    let file = args.take("resources");
    let id = args.only_id()?;
    let home = Home::of(&global.root, &id);
    let record = home.load()?;
    if home.phase(&record) == Phase::Stopped {
        return Err(Error::new(Kind::FailedPrecondition, format!("container {id} is not running")));
    }
    let resources = match file {
        Some(path) => read(&path)?,
        None => from_flags(args)?,
    };
    let resources: LinuxResources = serde_json::from_value(resources).map_err(|error| {
        Error::new(Kind::Invalid, "the limits are not those of a spec").with_source(error)
    })?;
    let limits = resource_limits(&resources)?;
    cgroup_root()?.open(&record.cgroup)?.set(&limits)?;
    Ok(())
}

fn read(path: &str) -> Result<Value> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        path => fs::read_to_string(path).map(|whole| text = whole),
    };
    read.map_err(internal(format!("cannot read {path}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::new(Kind::Invalid, format!("{path} is not JSON")).with_source(error))
}

fn from_flags(args: &mut Args) -> Result<Value> {
    for flag in ["l3-cache-schema", "mem-bw-schema"] {
        if args.take(flag).is_some() {
            return Err(Error::new(Kind::Unimplemented, format!("--{flag} is not supported; drop the flag")));
        }
    }
    let mut all: Map<String, Value> = Map::new();
    let mut put = |object: &str, field: &str, value: Value| {
        all.entry(object).or_insert_with(|| json!({}))[field] = value;
    };
    for (flag, field) in BYTES {
        if let Some(text) = args.take(flag) {
            put("memory", field, json!(bytes(flag, &text)?));
        }
    }
    for (flag, object, field) in NUMBERS {
        if let Some(number) = args.take_number::<i64>(flag)? {
            put(object, field, json!(number));
        }
    }
    for (flag, field) in SETS {
        if let Some(text) = args.take(flag) {
            put("cpu", field, json!(text));
        }
    }
    if all.is_empty() {
        return Err(Error::new(Kind::Invalid, "no limit is given; see hako runtime help"));
    }
    Ok(Value::Object(all))
}

/// `512`, `64M`, `1g`, `-1`.
fn bytes(flag: &str, text: &str) -> Result<i64> {
    let bad =
        || Error::new(Kind::Invalid, format!("--{flag} takes bytes, such as 512, 64M or -1, not {text:?}"));
    let lower = text.to_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let lower = lower.strip_suffix('i').unwrap_or(lower);
    let (digits, shift) = match lower.chars().last() {
        Some('k') => (&lower[..lower.len() - 1], 10),
        Some('m') => (&lower[..lower.len() - 1], 20),
        Some('g') => (&lower[..lower.len() - 1], 30),
        Some('t') => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let number: i64 = digits.parse().map_err(|_| bad())?;
    match number {
        -1 => Ok(-1),
        0.. => number.checked_mul(1 << shift).ok_or_else(bad),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        let all = ["512", "64M", "1g", "2KiB", "-1", "0"].map(|text| bytes("memory", text).unwrap());
        assert_eq!(all, [512, 64 << 20, 1 << 30, 2048, -1, 0]);
        for bad in ["", "x", "-2", "1e3", "9223372036854775807k"] {
            assert!(bytes("memory", bad).is_err(), "{bad:?}");
        }
    }
}
