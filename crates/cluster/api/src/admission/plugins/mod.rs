//! The plugins, one file each. Adding one is adding a file and a row.

mod certificates;
mod default_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod priority;
mod runtime_class;
mod service_account;
mod storage;
mod taint_nodes;

pub(super) use namespace_lifecycle::namespace_is_open;

use super::plugin::{Change, Operation, Plugin, Verdict, annotation, items, name_of, pass, text};

/// In upstream's order. Policies and webhooks come after all of them, where everything has been filled in, and then quotas (`super::quota`), which charge for what is about to be stored.
pub(super) static LIST: &[Plugin] = &[
    namespace_lifecycle::PLUGIN,
    limit_ranger::PLUGIN,
    service_account::PLUGIN,
    node_restriction::PLUGIN,
    taint_nodes::PLUGIN,
    pod_security::PLUGIN,
    priority::PLUGIN,
    default_toleration_seconds::PLUGIN,
    default_class::STORAGE,
    storage::IN_USE,
    storage::RESIZE,
    runtime_class::PLUGIN,
    certificates::APPROVAL,
    certificates::SIGNING,
    certificates::SUBJECT,
    default_class::INGRESS,
];
