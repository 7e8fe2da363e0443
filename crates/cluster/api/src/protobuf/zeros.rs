//! Of the fields of built-in types, those that a Go program always has, and with what value: structs that are no
//! pointers, and what its JSON has even if it is zero.
//!
//! The original compares objects in that form to tell who owns what: a field of this kind is never new in an object that
//! is there.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::fields::{Field, KINDS, Kind, Message, Or, Presence, Shape};
use crate::schema;

/// The lists that JSON has even if they are empty, besides those that are required.
const KEPT_LISTS: &[(&str, &str)] = &[
    ("AllocatedDeviceStatus", "conditions"),
    ("CSINodeDriver", "topologyKeys"),
    ("ClusterRole", "rules"),
    ("ContainerImage", "names"),
    ("CustomResourceDefinitionStatus", "conditions"),
    ("CustomResourceDefinitionStatus", "storedVersions"),
    ("DeviceClaim", "requests"),
    ("EndpointSlice", "endpoints"),
    ("EndpointSlice", "ports"),
    ("HorizontalPodAutoscalerStatus", "currentMetrics"),
    ("ProjectedVolumeSource", "sources"),
    ("ResourcePolicyRule", "namespaces"),
    ("Role", "rules"),
    ("TokenRequestSpec", "audiences"),
];

/// Notes the zeros of all fields of all types that belong to a kind.
pub(crate) fn note(types: &mut [schema::TypeDef]) {
    let mut seen = HashSet::new();
    for (api_version, kind, message) in KINDS {
        let Some(at) = types.iter().position(|it| is_of(&it.name, api_version, kind)) else { continue };
        let mut left = vec![(at, *message)];
        while let Some((at, message)) = left.pop() {
            if seen.insert(at) {
                note_type(&mut types[at], message, &mut left);
            }
        }
    }
}

/// Whether a type is that of a kind: `io.k8s.api.rbac.v1.Role` is `Role` of `rbac.authorization.k8s.io/v1`.
fn is_of(type_name: &str, api_version: &str, kind: &str) -> bool {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or(group);
    let mut parts = type_name.rsplit('.');
    parts.next() == Some(kind) && parts.next() == Some(version) && parts.next() == Some(group)
}

fn note_type(of: &mut schema::TypeDef, message: &'static Message, left: &mut Vec<(usize, &'static Message)>) {
    let schema::Shape::Object(fields) = &mut of.shape else { return };
    let inlined = message.fields.iter().flat_map(|field| match field.shape {
        Shape::Inline(inner) => inner.fields,
        _ => &[],
    });
    let type_name = of.name.rsplit('.').next().unwrap_or("");
    for of_message in message.fields.iter().chain(inlined) {
        let Some(field) = fields.iter_mut().find(|field| field.name == of_message.name) else { continue };
        let is_kept = of_message.presence == Presence::Kept
            || field.is_required
            || KEPT_LISTS.contains(&(type_name, of_message.name));
        field.zero = zero(of_message, is_kept);
        field.leaves_zero = !is_kept && leaves_zero(of_message);
        let (Shape::One(kind) | Shape::List(kind) | Shape::Map(kind)) = of_message.shape else { continue };
        if let (Kind::Message(inner), Some(at)) = (kind, named(&field.shape)) {
            left.push((at, inner));
        }
    }
}

fn named(shape: &schema::Shape) -> Option<usize> {
    match shape {
        schema::Shape::Named(at) => Some(*at),
        schema::Shape::List { item: inner, .. } | schema::Shape::Map { value: inner, .. } => named(inner),
        _ => None,
    }
}

/// What Go's JSON has of a field that nobody set.
fn zero(field: &Field, is_kept: bool) -> Option<Value> {
    // The time of creation is the one struct that is left out where it is zero.
    if field.presence == Presence::Nullable || field.name == "creationTimestamp" {
        return None;
    }
    match field.shape {
        Shape::One(Kind::Message(_) | Kind::SchemaOr(Or::List | Or::Texts | Or::Flag, _)) => Some(json!({})),
        Shape::One(Kind::Time | Kind::MicroTime | Kind::Json) => Some(Value::Null),
        Shape::One(Kind::IntOrText) => Some(json!(0)),
        Shape::One(Kind::Quantity) => Some(json!("0")),
        Shape::One(Kind::Text) => is_kept.then(|| json!("")),
        Shape::One(Kind::Int | Kind::Double) => is_kept.then(|| json!(0)),
        Shape::One(Kind::Flag) => is_kept.then(|| json!(false)),
        Shape::One(Kind::Bytes | Kind::Texts) | Shape::List(_) | Shape::Map(_) => {
            is_kept.then_some(Value::Null)
        }
        Shape::Inline(_) => None,
    }
}

/// Whether Go's JSON lacks a field that is zero, unless it is kept: it has all structs, and what pointers lead to.
fn leaves_zero(field: &Field) -> bool {
    let is_plain = match field.shape {
        Shape::One(kind) => {
            matches!(kind, Kind::Text | Kind::Int | Kind::Double | Kind::Flag | Kind::Bytes | Kind::Texts)
        }
        Shape::List(_) | Shape::Map(_) => true,
        Shape::Inline(_) => false,
    };
    is_plain && field.presence == Presence::Written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model;

    fn zero_of(type_name: &str, field: &str) -> Option<Value> {
        let of = model().field(model().shape(type_name), field).unwrap();
        of.zero.clone()
    }

    #[test]
    fn what_a_program_always_has_is_known_of_every_type() {
        let cases = [
            ("io.k8s.api.apps.v1.Deployment", "spec", Some(json!({}))),
            ("io.k8s.api.apps.v1.Deployment", "metadata", Some(json!({}))),
            ("io.k8s.api.apps.v1.DeploymentSpec", "strategy", Some(json!({}))),
            ("io.k8s.api.apps.v1.DeploymentSpec", "selector", None),
            ("io.k8s.api.apps.v1.DeploymentSpec", "replicas", None),
            ("io.k8s.api.apps.v1.StatefulSetSpec", "serviceName", Some(json!(""))),
            ("io.k8s.api.core.v1.PodSpec", "containers", Some(Value::Null)),
            ("io.k8s.api.core.v1.PodSpec", "volumes", None),
            ("io.k8s.api.core.v1.PodSpec", "securityContext", None),
            ("io.k8s.api.core.v1.Container", "resources", Some(json!({}))),
            ("io.k8s.api.core.v1.ServicePort", "targetPort", Some(json!(0))),
            ("io.k8s.api.core.v1.ResourceFieldSelector", "divisor", Some(json!("0"))),
            ("io.k8s.api.core.v1.PodCondition", "lastProbeTime", Some(Value::Null)),
            ("io.k8s.api.rbac.v1.ClusterRole", "rules", Some(Value::Null)),
            ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp", None),
            ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "labels", None),
        ];
        for (type_name, field, wanted) in cases {
            assert_eq!(zero_of(type_name, field), wanted, "{field} of {type_name}");
        }
    }
}
