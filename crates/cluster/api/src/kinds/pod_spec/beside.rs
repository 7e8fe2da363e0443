//! What containers refer to of what is beside them, by name: each container has as many references as it likes, and each
//! is looked up once.

use super::super::place::Place;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// What a pod has beside a container.
#[derive(Debug)]
pub(super) struct Beside<'a> {
    /// The volumes. Of a name that is there twice, the first counts.
    pub(super) volumes: HashMap<&'a str, &'a Value>,
    /// The claims, in the order of their names.
    pub(super) claims: Vec<&'a str>,
    /// The containers that are not ephemeral.
    pub(super) containers: HashSet<&'a str>,
}

impl<'a> Beside<'a> {
    pub(super) fn of(spec: &Place<'a>) -> Self {
        let items = |list: &str| spec.value.get(list).and_then(Value::as_array).into_iter().flatten();
        let name = |item: &'a Value| item.get("name").and_then(Value::as_str).unwrap_or("");
        let mut claims: Vec<&str> =
            items("resourceClaims").map(name).filter(|name| !name.is_empty()).collect();
        claims.sort_unstable();
        Self {
            volumes: items("volumes").rev().map(|volume| (name(volume), volume)).collect(),
            claims,
            containers: ["containers", "initContainers"].into_iter().flat_map(items).map(name).collect(),
        }
    }
}

/// Whether a member of a volume is said.
pub(super) fn is_set(volume: &Value, member: &str) -> bool {
    volume.get(member).is_some_and(|member| !member.is_null())
}
