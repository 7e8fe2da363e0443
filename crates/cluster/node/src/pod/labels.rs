//! The labels on the engine's objects: what of a pod survives `kill -9`.

use hako_container::Filter;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

pub(crate) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(crate) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(crate) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Which run of the container it is, from 0.
pub(crate) const ATTEMPT: &str = "io.hako.container.attempt";
/// Restarts in a row, from which the back-off goes on.
pub(crate) const RESTARTS: &str = "io.hako.container.restarts";

/// The labels of `pod`'s sandbox.
pub(crate) fn of_sandbox(pod: &Pod) -> BTreeMap<String, String> {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    BTreeMap::from([
        (POD_NAME.to_owned(), text(&meta.name)),
        (POD_NAMESPACE.to_owned(), text(&meta.namespace)),
        (POD_UID.to_owned(), text(&meta.uid)),
    ])
}

/// The labels of one run of a container.
pub(crate) fn of_container(pod: &Pod, name: &str, attempt: u32, restarts: u32) -> BTreeMap<String, String> {
    let mut labels = of_sandbox(pod);
    labels.insert(CONTAINER_NAME.to_owned(), name.to_owned());
    labels.insert(ATTEMPT.to_owned(), attempt.to_string());
    labels.insert(RESTARTS.to_owned(), restarts.to_string());
    labels
}

/// Everything of the pod `uid`; of any pod without one.
pub(crate) fn filter(uid: Option<&str>) -> Filter {
    Filter {
        labels: BTreeMap::from([(POD_UID.to_owned(), uid.unwrap_or("").to_owned())]),
        ..Filter::default()
    }
}
