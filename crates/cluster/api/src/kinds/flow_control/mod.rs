//! The kinds of `flowcontrol.apiserver.k8s.io`: what they say; `flow` does as they say.

mod flow_schema;
mod mandatory;
mod policy_rules;
mod priority_level;

pub(super) use flow_schema::ROW as FLOW_SCHEMA;
pub(crate) use mandatory::objects as mandatory_objects;
pub(super) use priority_level::ROW as PRIORITY_LEVEL;

use super::place::{Faults, Place};
use super::row::{KindRow, Scope, Subresource};
use super::{columns, conditions, meta};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// What both kinds are alike in.
const BASE: KindRow = KindRow {
    group: GROUP,
    scope: Scope::Cluster,
    prepare_update: meta::keep_status,
    prepare_part: meta::keep_all_but_the_status,
    ..KindRow::BASE
};

/// Conditions have types, each another one.
fn typed_conditions(all: &Place<'_>, faults: &mut Faults) {
    conditions::unique_types(all, faults);
    for kind in all.items().map(|condition| condition.at(&["type"])).filter(Place::is_empty) {
        faults.push(kind.required("must not be empty"));
    }
}
