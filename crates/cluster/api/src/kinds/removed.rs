//! Versions that were served once, and what replaced them.

/// Group, version, plural (all of the group's where empty), and what to send instead.
const REMOVED: &[(&str, &str, &str, &str)] = &[
    ("admissionregistration.k8s.io", "v1alpha1", "", "admissionregistration.k8s.io/v1"),
    ("admissionregistration.k8s.io", "v1beta1", "", "admissionregistration.k8s.io/v1"),
    ("apiextensions.k8s.io", "v1beta1", "", "apiextensions.k8s.io/v1"),
    ("apiregistration.k8s.io", "v1beta1", "", "apiregistration.k8s.io/v1"),
    ("apps", "v1alpha1", "", "apps/v1"),
    ("apps", "v1beta1", "", "apps/v1"),
    ("apps", "v1beta2", "", "apps/v1"),
    ("authentication.k8s.io", "v1alpha1", "", "authentication.k8s.io/v1"),
    ("authentication.k8s.io", "v1beta1", "", "authentication.k8s.io/v1"),
    ("authorization.k8s.io", "v1beta1", "", "authorization.k8s.io/v1"),
    ("autoscaling", "v2alpha1", "", "autoscaling/v2"),
    ("autoscaling", "v2beta1", "", "autoscaling/v2"),
    ("autoscaling", "v2beta2", "", "autoscaling/v2"),
    ("batch", "v1beta1", "", "batch/v1"),
    ("batch", "v2alpha1", "", "batch/v1"),
    ("certificates.k8s.io", "v1beta1", "certificatesigningrequests", "certificates.k8s.io/v1"),
    ("coordination.k8s.io", "v1beta1", "leases", "coordination.k8s.io/v1"),
    ("discovery.k8s.io", "v1alpha1", "", "discovery.k8s.io/v1"),
    ("discovery.k8s.io", "v1beta1", "", "discovery.k8s.io/v1"),
    ("events.k8s.io", "v1beta1", "", "events.k8s.io/v1"),
    ("extensions", "v1beta1", "daemonsets", "apps/v1"),
    ("extensions", "v1beta1", "deployments", "apps/v1"),
    ("extensions", "v1beta1", "ingresses", "networking.k8s.io/v1"),
    ("extensions", "v1beta1", "networkpolicies", "networking.k8s.io/v1"),
    ("extensions", "v1beta1", "podsecuritypolicies", "the namespace labels of Pod Security admission"),
    ("extensions", "v1beta1", "replicasets", "apps/v1"),
    ("flowcontrol.apiserver.k8s.io", "v1alpha1", "", "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta1", "", "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2", "", "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3", "", "flowcontrol.apiserver.k8s.io/v1"),
    ("networking.k8s.io", "v1alpha1", "", "networking.k8s.io/v1"),
    ("networking.k8s.io", "v1beta1", "", "networking.k8s.io/v1"),
    ("node.k8s.io", "v1alpha1", "", "node.k8s.io/v1"),
    ("node.k8s.io", "v1beta1", "", "node.k8s.io/v1"),
    ("policy", "v1beta1", "poddisruptionbudgets", "policy/v1"),
    ("policy", "v1beta1", "podsecuritypolicies", "the namespace labels of Pod Security admission"),
    ("rbac.authorization.k8s.io", "v1alpha1", "", "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io", "v1beta1", "", "rbac.authorization.k8s.io/v1"),
    ("resource.k8s.io", "v1beta1", "", "resource.k8s.io/v1"),
    ("resource.k8s.io", "v1beta2", "", "resource.k8s.io/v1"),
    ("scheduling.k8s.io", "v1alpha1", "priorityclasses", "scheduling.k8s.io/v1"),
    ("scheduling.k8s.io", "v1beta1", "", "scheduling.k8s.io/v1"),
    ("storage.k8s.io", "v1alpha1", "", "storage.k8s.io/v1"),
    ("storage.k8s.io", "v1beta1", "", "storage.k8s.io/v1"),
];

/// What a client that asks for a version of old should send instead.
#[must_use]
pub fn replacement(group: &str, version: &str, plural: &str) -> Option<&'static str> {
    let is_it = |(of, at, name, _): &&(&str, &str, &str, &str)| {
        *of == group && *at == version && (name.is_empty() || *name == plural)
    };
    REMOVED.iter().find(is_it).map(|(.., instead)| *instead)
}
