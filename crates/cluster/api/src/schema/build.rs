//! Builds the model from the JSON schemas that come with the types, and the facts they lack.

use super::facts;
use super::model::{Field, ListKind, Model, Patch, Scalar, Shape, TypeDef};
use crate::protobuf;
use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling,
    storage, storagemigration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use k8s_openapi::schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The schemas of all served and exchanged types, by full name.
#[expect(clippy::too_many_lines, reason = "one line a kind")]
fn definitions() -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    macro_rules! add {
        ($($kind:ty),* $(,)?) => { $( let _ = generator.subschema_for::<$kind>(); )* };
    }
    add!(
        admissionregistration::v1::MutatingAdmissionPolicy,
        admissionregistration::v1::MutatingAdmissionPolicyBinding,
        admissionregistration::v1::MutatingWebhookConfiguration,
        admissionregistration::v1::ValidatingAdmissionPolicy,
        admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        admissionregistration::v1::ValidatingWebhookConfiguration,
        apiextensions::v1::CustomResourceDefinition,
        apiregistration::v1::APIService,
        apps::v1::ControllerRevision,
        apps::v1::DaemonSet,
        apps::v1::Deployment,
        apps::v1::ReplicaSet,
        apps::v1::StatefulSet,
        authentication::v1::SelfSubjectReview,
        authentication::v1::TokenRequest,
        authentication::v1::TokenReview,
        authorization::v1::LocalSubjectAccessReview,
        authorization::v1::SelfSubjectAccessReview,
        authorization::v1::SelfSubjectRulesReview,
        authorization::v1::SubjectAccessReview,
        autoscaling::v1::HorizontalPodAutoscaler,
        autoscaling::v1::Scale,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::CronJob,
        batch::v1::Job,
        certificates::v1::CertificateSigningRequest,
        coordination::v1::Lease,
        core::v1::Binding,
        core::v1::ComponentStatus,
        core::v1::ConfigMap,
        core::v1::Endpoints,
        core::v1::Event,
        core::v1::LimitRange,
        core::v1::Namespace,
        core::v1::Node,
        core::v1::PersistentVolume,
        core::v1::PersistentVolumeClaim,
        core::v1::Pod,
        core::v1::PodTemplate,
        core::v1::ReplicationController,
        core::v1::ResourceQuota,
        core::v1::Secret,
        core::v1::Service,
        core::v1::ServiceAccount,
        discovery::v1::EndpointSlice,
        events::v1::Event,
        flowcontrol::v1::FlowSchema,
        flowcontrol::v1::PriorityLevelConfiguration,
        meta::v1::DeleteOptions,
        meta::v1::Status,
        networking::v1::IPAddress,
        networking::v1::Ingress,
        networking::v1::IngressClass,
        networking::v1::NetworkPolicy,
        networking::v1::ServiceCIDR,
        node::v1::RuntimeClass,
        policy::v1::Eviction,
        policy::v1::PodDisruptionBudget,
        rbac::v1::ClusterRole,
        rbac::v1::ClusterRoleBinding,
        rbac::v1::Role,
        rbac::v1::RoleBinding,
        resource::v1::DeviceClass,
        resource::v1::ResourceClaim,
        resource::v1::ResourceClaimTemplate,
        resource::v1::ResourceSlice,
        scheduling::v1::PriorityClass,
        storage::v1::CSIDriver,
        storage::v1::CSINode,
        storage::v1::CSIStorageCapacity,
        storage::v1::StorageClass,
        storage::v1::VolumeAttachment,
        storage::v1::VolumeAttributesClass,
        storagemigration::v1beta1::StorageVersionMigration,
    );
    generator.take_definitions(false)
}

pub(super) fn build() -> Model {
    let mut definitions: Vec<(String, Value)> = definitions().into_iter().collect();
    definitions.sort_by(|one, other| one.0.cmp(&other.0));
    let names: HashMap<String, usize> =
        definitions.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    let mut builder = Builder { names };
    let mut types: Vec<TypeDef> =
        definitions.iter().map(|(name, schema)| builder.type_def(name, schema)).collect();
    protobuf::note_zeros(&mut types);
    Model { types, by_name: builder.names }
}

struct Builder {
    names: HashMap<String, usize>,
}

fn description(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or("").to_owned()
}

impl Builder {
    fn type_def(&mut self, name: &str, schema: &Value) -> TypeDef {
        let shape = match facts::short(name) {
            "IntOrString" => Shape::Scalar(Scalar::IntOrString),
            "Quantity" => Shape::Scalar(Scalar::Quantity),
            "Time" => Shape::Scalar(Scalar::Time),
            "MicroTime" => Shape::Scalar(Scalar::MicroTime),
            "FieldsV1"
            | "RawExtension"
            | "JSON"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray" => Shape::Any,
            _ => self.object(name, schema),
        };
        TypeDef {
            name: name.to_owned(),
            description: description(schema),
            shape,
            is_atomic: facts::is_atomic_type(name),
        }
    }

    fn object(&self, name: &str, schema: &Value) -> Shape {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return self.shape(name, "", schema);
        };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut fields: Vec<Field> = properties
            .iter()
            .map(|(field, schema)| Field {
                name: field.clone(),
                description: description(schema),
                // Metadata is required in the Rust types only.
                is_required: required.contains(&field.as_str()) && field != "metadata",
                shape: self.shape(name, field, schema),
                patch: facts::of(name, field).map_or(Patch::default(), |fact| fact.patch),
                default: facts::key_default(name, field).map(Value::from),
                zero: None,
                leaves_zero: false,
            })
            .collect();
        fields.sort_by(|one, other| one.name.cmp(&other.name));
        Shape::Object(fields)
    }

    fn shape(&self, type_name: &str, field: &str, schema: &Value) -> Shape {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or("");
            return self.names.get(name).map_or(Shape::Any, |at| Shape::Named(*at));
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        match schema.get("type").and_then(Value::as_str).unwrap_or("") {
            "string" => Shape::Scalar(match format {
                "byte" => Scalar::Bytes,
                "date-time" => Scalar::Time,
                _ => Scalar::Text,
            }),
            "integer" if format == "int32" => Shape::Scalar(Scalar::Int32),
            "integer" => Shape::Scalar(Scalar::Int64),
            "number" => Shape::Scalar(Scalar::Number),
            "boolean" => Shape::Scalar(Scalar::Bool),
            "array" => Shape::List {
                item: Box::new(self.inner(schema, "items")),
                kind: facts::of(type_name, field).map_or(ListKind::Atomic, |fact| fact.list.of_model()),
            },
            "object" if schema.get("additionalProperties").is_some() => Shape::Map {
                value: Box::new(self.inner(schema, "additionalProperties")),
                is_atomic: facts::is_atomic_map(type_name, field),
            },
            _ => Shape::Any,
        }
    }

    fn inner(&self, schema: &Value, name: &str) -> Shape {
        schema.get(name).map_or(Shape::Any, |inner| self.shape("", "", inner))
    }
}
