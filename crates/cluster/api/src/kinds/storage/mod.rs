//! The kinds of `storage.k8s.io`.
//!
//! Owns: classes of storage, drivers, and what is attached where, as they are written. Does not own: any volume.
//! Invariant: what a driver or class is called never changes.

pub(super) mod attachment;
pub(super) mod attributes_class;
pub(super) mod capacity;
pub(super) mod class;
pub(super) mod driver;
pub(super) mod node;

use super::check;
use super::value::{members, text};
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::Value;

const GROUP: &str = "storage.k8s.io";
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_SIZE_MAX: usize = 256 << 10;

/// The name of a class, marked if it is the default one.
fn class_name(object: &Value, annotations: &[&str]) -> Value {
    let is_true = |name: &&str| text(object, &["metadata", "annotations", name]) == "true";
    let mark = if annotations.iter().any(is_true) { " (default)" } else { "" };
    format!("{}{mark}", text(object, &["metadata", "name"])).into()
}

/// Faults of the name of who makes volumes of a class, in whatever case it is written.
fn provisioner(object: &Value, member: &str, causes: &mut Faults) {
    let name = text(object, &[member]).to_lowercase();
    if name.is_empty() {
        causes.push(field::required(member, ""));
    } else {
        check::syntax(names::qualified_name(&name), &name, member, causes);
    }
}

/// Faults of the parameters for a driver.
fn parameters(object: &Value, causes: &mut Faults) {
    const PATH: &str = "parameters";
    if members(object, &[PATH]).count() > PARAMETERS_MAX {
        causes.push(field::too_long(PATH, PARAMETERS_MAX));
        return;
    }
    if members(object, &[PATH]).any(|(name, _)| name.is_empty()) {
        causes.push(field::invalid(PATH, "", "field can not be empty."));
    }
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().unwrap_or("").len();
    if members(object, &[PATH]).map(size).sum::<usize>() > PARAMETERS_SIZE_MAX {
        causes.push(field::too_long(PATH, PARAMETERS_SIZE_MAX));
    }
}

/// Faults of a change of members that a class keeps.
fn kept(new: &Value, old: &Value, names: &[&str]) -> Faults {
    let changed = names.iter().filter(|name| new.get(name) != old.get(name));
    changed.map(|name| field::forbidden(*name, &format!("updates to {name} are forbidden."))).collect()
}
