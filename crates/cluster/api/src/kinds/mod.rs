//! The served kinds as data: one row each, and the few functions in which kinds differ.
//!
//! Owns: names, scope, verbs, subresources, table columns, defaults, validation and what a writer may not set; the
//! table of the program's own kinds, and the registry of all that are served ([`Kinds`]).
//! Does not own: requests, storage, admission across objects; the generic path calls the functions of a row.
//!
//! Invariant: the functions of a kind are pure; adding a kind is adding a file and a row. Where a kind comes from is
//! known here and nowhere else.

mod addresses;
mod admission_registration;
mod api_service;
mod autoscaling;
mod binding;
mod certificates;
mod check;
mod columns;
mod component_status;
mod conditions;
mod config_map;
mod controller_revision;
mod cron_job;
pub(crate) mod custom_resource;
mod daemon_set;
mod defined;
mod deployment;
mod devices;
mod diff;
mod endpoint_slice;
mod endpoints;
mod event;
mod event_v1;
mod flow_control;
mod job;
mod lease;
mod limit_range;
mod meta;
mod namespace;
mod networking;
mod node;
mod place;
mod pod;
mod pod_annotations;
mod pod_disruption_budget;
mod pod_gates;
mod pod_parts;
mod pod_spec;
mod pod_state;
mod pod_status;
mod pod_template;
mod pod_update;
mod priority_class;
mod rbac;
mod registry;
mod removed;
mod replica_set;
mod replication_controller;
mod resource_names;
mod resource_quota;
mod review;
mod row;
mod runtime_class;
pub(crate) mod scale;
mod secret;
mod served;
mod service;
mod service_account;
mod stateful_set;
mod storage;
mod storage_version_migration;
mod strategy;
mod value;
mod volume;
mod warnings;
mod webhooks;
mod workload;
mod write_rules;

#[cfg(test)]
mod tests;

pub(crate) use admission_registration::expressions as admission_expressions;
pub(crate) use certificates::requested_organizations;
pub use columns::Column;
pub use defined::of_definition;
pub(crate) use defined::{Converter, Definition, Names, ReviewForm, kept as kept_of, served as served_of};
pub(crate) use flow_control::mandatory_objects;
pub(crate) use priority_class::SYSTEM as SYSTEM_PRIORITIES;
pub(crate) use registry::Registry;
pub use registry::{Kinds, by_kind, by_resource};
pub use removed::replacement;
pub use row::{KindRow, PartWrite, Question, Scope, Stored, Subresource};
pub use served::{Name, Part, Served, TableColumn};
pub(crate) use strategy::Strategy;
pub(crate) use write_rules::Dependents;

/// What is wrong with a binding, wherever it is sent.
pub(crate) fn binding_faults(binding: &serde_json::Value) -> hako_kube::field::Faults {
    binding::validate(binding)
}

/// What is wrong with the labels and annotations of an object.
pub(crate) fn label_faults(object: &serde_json::Value) -> hako_kube::field::Faults {
    let mut faults = hako_kube::field::Faults::new();
    meta::labels(object, &["metadata", "labels"], "metadata.labels", &mut faults);
    meta::annotations(object, "metadata.annotations", &mut faults);
    faults
}

/// The program's own kinds, in the order discovery lists them.
#[must_use]
pub fn table() -> &'static [KindRow] {
    TABLE
}

static TABLE: &[KindRow] = &[
    binding::ROW,
    component_status::ROW,
    config_map::ROW,
    endpoints::ROW,
    event::ROW,
    limit_range::ROW,
    namespace::ROW,
    node::ROW,
    volume::claim::ROW,
    volume::whole::ROW,
    pod::ROW,
    pod_template::ROW,
    replication_controller::ROW,
    resource_quota::ROW,
    secret::ROW,
    service_account::ROW,
    service::ROW,
    controller_revision::ROW,
    daemon_set::ROW,
    deployment::ROW,
    replica_set::ROW,
    stateful_set::ROW,
    autoscaling::V1,
    autoscaling::V2,
    cron_job::ROW,
    job::ROW,
    lease::ROW,
    endpoint_slice::ROW,
    devices::class::ROW,
    devices::claim::ROW,
    devices::template::ROW,
    devices::slice::ROW,
    storage::driver::ROW,
    storage::node::ROW,
    storage::capacity::ROW,
    storage::class::ROW,
    storage::attachment::ROW,
    storage::attributes_class::ROW,
    storage_version_migration::ROW,
    networking::INGRESS,
    networking::INGRESS_CLASS,
    networking::IP_ADDRESS,
    networking::NETWORK_POLICY,
    networking::SERVICE_CIDR,
    pod_disruption_budget::ROW,
    priority_class::ROW,
    runtime_class::ROW,
    certificates::ROW,
    api_service::ROW,
    custom_resource::ROW,
    admission_registration::VALIDATING_WEBHOOKS,
    admission_registration::MUTATING_WEBHOOKS,
    admission_registration::VALIDATING_POLICY,
    admission_registration::VALIDATING_BINDING,
    admission_registration::MUTATING_POLICY,
    admission_registration::MUTATING_BINDING,
    flow_control::FLOW_SCHEMA,
    flow_control::PRIORITY_LEVEL,
    event_v1::ROW,
    review::SELF_SUBJECT,
    review::TOKEN,
    review::LOCAL_SUBJECT_ACCESS,
    review::SELF_ACCESS,
    review::SELF_RULES,
    review::SUBJECT_ACCESS,
    rbac::CLUSTER_ROLE_BINDING,
    rbac::CLUSTER_ROLE,
    rbac::ROLE_BINDING,
    rbac::ROLE,
];
