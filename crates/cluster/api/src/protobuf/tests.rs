//! Messages encoded by hand, good ones and hostile ones, and the tables against the schema model.

use super::fields::{self, Field, Kind, Message, Presence, Shape};
use super::{ProtobufError, WireError, object};
use crate::schema::{self, Scalar};
use proptest::prelude::*;
use serde_json::{Value, json};

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn int(field: u64, number: i64) -> Vec<u8> {
    [varint(field << 3), varint(number.cast_unsigned())].concat()
}

fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn message(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    bytes(field, parts.concat())
}

fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let head = message(1, &[bytes(1, api_version), bytes(2, kind)]);
    [b"k8s\0".to_vec(), head, bytes(2, raw), bytes(3, ""), bytes(4, "")].concat()
}

fn decoded(api_version: &str, kind: &str, parts: &[Vec<u8>]) -> Value {
    object(&enveloped(api_version, kind, &parts.concat())).unwrap()
}

/// What is wrong with a config map of these bytes.
fn fault(raw: &[u8]) -> ProtobufError {
    object(&enveloped("v1", "ConfigMap", raw)).unwrap_err()
}

#[test]
fn a_config_map_comes_out_as_its_json() {
    let metadata = message(1, &[bytes(1, "c"), bytes(2, ""), bytes(3, "n"), int(7, 0), bytes(8, "")]);
    let entry = |key: &str, value: &[u8]| [bytes(1, key), bytes(2, value)].concat();
    let parts = [
        metadata,
        bytes(2, entry("a", b"1")),
        bytes(2, entry("b", b"")),
        bytes(3, entry("x", &[0, 255])),
        int(4, 0),
    ];
    let wanted = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"},
        "data": {"a": "1", "b": ""}, "binaryData": {"x": "AP8="}, "immutable": false,
    });
    assert_eq!(decoded("v1", "ConfigMap", &parts), wanted);
}

#[test]
fn a_zero_stays_only_where_json_would_have_it() {
    let port = [bytes(1, ""), bytes(2, "TCP"), int(3, 80), message(4, &[int(1, 0), int(2, 0), bytes(3, "")])];
    let named = [int(3, 81), message(4, &[int(1, 1), int(2, 0), bytes(3, "web")]), int(5, 0)];
    let spec = message(2, &[message(1, &port), message(1, &named), bytes(3, ""), bytes(4, "ClusterIP")]);
    let service = decoded("v1", "Service", &[spec, bytes(3, message(1, &[]))]);
    let ports = json!([{"protocol": "TCP", "port": 80}, {"port": 81, "targetPort": "web"}]);
    assert_eq!(service["spec"], json!({"ports": ports, "type": "ClusterIP"}));
    let deployment = decoded("apps/v1", "Deployment", &[message(2, &[int(1, 0), int(5, 0)])]);
    assert_eq!(deployment["spec"], json!({"replicas": 0}));
}

#[test]
fn embedded_messages_are_the_parents_fields() {
    let volume = message(1, &[bytes(1, "v"), message(2, &[message(2, &[bytes(1, "")])])]);
    let probe =
        message(11, &[message(1, &[message(2, &[bytes(1, "/"), message(2, &[int(2, 80)])])]), int(3, 5)]);
    let limit = [bytes(1, "cpu"), message(2, &[bytes(1, "100m")])];
    let container = message(2, &[bytes(1, "c"), message(8, &[message(1, &limit)]), probe]);
    let pod =
        decoded("v1", "Pod", &[message(2, &[volume, container, int(4, 0), message(14, &[int(4, -1)])])]);
    let wanted = json!({
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{
            "name": "c", "resources": {"limits": {"cpu": "100m"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "timeoutSeconds": 5},
        }],
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"supplementalGroups": [-1]},
    });
    assert_eq!(pod["spec"], wanted);
}

#[test]
fn times_have_the_precision_of_their_type() {
    let time = |field| message(field, &[int(1, 1_200_000_000), int(2, 123_456_789)]);
    let lease = decoded(
        "coordination.k8s.io/v1",
        "Lease",
        &[message(1, &[time(9)]), message(2, &[bytes(1, "me"), int(2, 15), time(3)])],
    );
    assert_eq!(lease["metadata"]["deletionTimestamp"], "2008-01-10T21:20:00Z");
    assert_eq!(lease["spec"]["acquireTime"], "2008-01-10T21:20:00.123456Z");
    let early = message(1, &[message(9, &[int(1, i64::MIN), int(2, 0)])]);
    assert!(matches!(fault(&early), ProtobufError::Time { .. }));
}

#[test]
fn deletion_options_go_by_any_group() {
    let parts = [int(1, 0), message(2, &[bytes(1, "u")]), bytes(4, "Background")];
    let options = decoded("apps/v1", "DeleteOptions", &parts);
    let uid = json!({"uid": "u"});
    assert_eq!((&options["gracePeriodSeconds"], &options["preconditions"]), (&json!(0), &uid));
    let eviction =
        decoded("policy/v1", "Eviction", &[message(1, &[bytes(1, "p")]), message(2, &[int(1, 3)])]);
    assert_eq!(eviction["deleteOptions"], json!({"gracePeriodSeconds": 3}));
}

#[test]
fn unknown_fields_are_skipped_and_parts_are_merged() {
    let group =
        [varint(99 << 3 | 3), int(1, 7), varint(98 << 3 | 3), varint(98 << 3 | 4), varint(99 << 3 | 4)];
    let fixed = [varint(97 << 3 | 5), vec![0; 4], varint(96 << 3 | 1), vec![0; 8]];
    let parts = [message(1, &[bytes(1, "c")]), group.concat(), fixed.concat(), message(1, &[bytes(3, "n")])];
    let object = decoded("v1", "ConfigMap", &parts);
    assert_eq!(object["metadata"], json!({"name": "c", "namespace": "n"}));
    let packed = message(2, &[message(14, &[bytes(4, [varint(5), varint(300)].concat())])]);
    assert_eq!(
        decoded("v1", "Pod", &[packed])["spec"]["securityContext"]["supplementalGroups"],
        json!([5, 300])
    );
}

#[test]
fn hostile_bytes_are_refused() {
    let wire = |raw: &[u8]| match fault(raw) {
        ProtobufError::Wire(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(wire(&[0x80]), WireError::TruncatedVarint);
    assert_eq!(wire(&[0xff; 11]), WireError::LongVarint);
    assert_eq!(wire(&[0x0a, 0x05, 0x00]), WireError::TruncatedField { length: 5, left: 1 });
    let huge = [vec![0x0a], varint(u64::MAX)].concat();
    assert_eq!(wire(&huge), WireError::TruncatedField { length: u64::MAX, left: 0 });
    assert_eq!(wire(&[0x00, 0x00]), WireError::Number(0));
    assert_eq!(wire(&[0x0e]), WireError::Type(6));
    assert_eq!(wire(&[0x0c]), WireError::Group);
    assert_eq!(wire(&vec![0x9b; 100_000]), WireError::LongVarint);
    assert_eq!(wire(&vec![0x0b; 100_000]), WireError::Group, "groups nest no deeper than the limit");
    assert!(matches!(fault(&int(1, 1)), ProtobufError::Mismatch { field: "metadata" }));
    assert!(matches!(fault(&message(1, &[bytes(1, [0xff])])), ProtobufError::Text { field: "name" }));
    let deep = "[".repeat(100_000);
    let managed = message(1, &[message(17, &[message(7, &[bytes(1, deep)])])]);
    assert!(matches!(fault(&managed), ProtobufError::Json { field: "fieldsV1", .. }));
}

#[test]
fn lists_in_maps_come_out_as_lists() {
    let values = [bytes(1, "b"), bytes(1, "c")].concat();
    let extra = [bytes(1, "a"), bytes(2, values)].concat();
    let parts = [message(2, &[bytes(1, b"x"), bytes(6, extra), bytes(7, "s.io/x"), int(8, 0)])];
    assert_eq!(
        decoded("certificates.k8s.io/v1", "CertificateSigningRequest", &parts)["spec"],
        json!({"request": "eA==", "extra": {"a": ["b", "c"]}, "signerName": "s.io/x", "expirationSeconds": 0})
    );
}

#[test]
fn a_message_within_itself_ends_at_the_limit() {
    static INNER: Message = Message {
        fields: &[Field {
            number: 1,
            name: "inner",
            shape: Shape::One(Kind::Message(&INNER)),
            presence: Presence::Kept,
        }],
    };
    let nested = |levels| (0..levels).fold(Vec::new(), |inner, _| bytes(1, inner));
    assert!(super::decode::object(&INNER, &nested(20)).is_ok());
    let error = super::decode::object(&INNER, &nested(1000)).unwrap_err();
    assert!(matches!(error, ProtobufError::Depth { .. }), "{error}");
}

#[test]
fn an_envelope_has_to_be_one() {
    assert!(matches!(object(b"{}"), Err(ProtobufError::Envelope)));
    assert!(matches!(object(b""), Err(ProtobufError::Envelope)));
    let error = object(&enveloped("v1", "Nope", b"")).unwrap_err();
    assert!(matches!(error, ProtobufError::UnknownKind { .. }), "{error}");
    let packed = [enveloped("v1", "Pod", b""), bytes(3, "gzip")].concat();
    assert!(matches!(object(&packed), Err(ProtobufError::Content { .. })));
    let short = enveloped("v1", "Pod", b"abc");
    assert!(matches!(object(&short[..short.len() - 5]), Err(ProtobufError::Wire(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = object(&[b"k8s\0", raw.as_slice()].concat());
        for kind in ["Pod", "Node", "Service"] {
            let _ = object(&enveloped("v1", kind, &raw));
        }
    }
}

/// The message of an object, out of its envelope.
fn written(object: &Value) -> Vec<u8> {
    let message = super::converted(object.to_string().as_bytes()).unwrap().expect("a kind with messages");
    let head = enveloped(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap(), b"");
    // Content (two bytes here), encoding and type come after the names.
    let names = head.len() - 6;
    assert_eq!(message[..names], head[..names]);
    assert_eq!(message[message.len() - 4..], [0x1a, 0, 0x22, 0]);
    match super::wire::Reader::new(&message[names..]).field().unwrap() {
        Some((2, super::wire::Wire::Bytes(raw))) => raw.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Of an object without metadata.
fn no_metadata() -> Vec<u8> {
    message(
        1,
        &[
            bytes(1, ""),
            bytes(2, ""),
            bytes(3, ""),
            bytes(4, ""),
            bytes(5, ""),
            bytes(6, ""),
            int(7, 0),
            bytes(8, ""),
        ],
    )
}

#[test]
fn what_is_no_pointer_in_go_is_written_even_if_it_is_zero() {
    let map =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"b": "", "a": "1"}, "immutable": null});
    let entry = |key: &str, value: &str| message(2, &[bytes(1, key), bytes(2, value)]);
    assert_eq!(written(&map), [no_metadata(), entry("a", "1"), entry("b", "")].concat());
    let map =
        json!({"immutable": false, "kind": "ConfigMap", "binaryData": {"x": "AP8="}, "apiVersion": "v1"});
    let entry = message(3, &[bytes(1, "x"), bytes(2, [0, 255])]);
    assert_eq!(written(&map), [no_metadata(), entry, int(4, 0)].concat());
}

#[test]
fn numbers_or_texts_times_and_quantities_are_written_as_messages() {
    let ports = json!([{"port": 1, "targetPort": "web"}, {"port": 2, "targetPort": -1}, {"port": 3}]);
    let service = json!({"kind": "Service", "apiVersion": "v1", "spec": {"ports": ports}});
    let target = |kind, number, text: &str| message(4, &[int(1, kind), int(2, number), bytes(3, text)]);
    let port =
        |port, target: Vec<u8>| message(1, &[bytes(1, ""), bytes(2, ""), int(3, port), target, int(5, 0)]);
    let ports =
        [port(1, target(1, 0, "web")), port(2, target(0, -1, "")), port(3, target(0, 0, ""))].concat();
    let raw = written(&service);
    let at = raw.windows(ports.len()).position(|window| window == ports);
    assert!(at.is_some(), "{raw:?}");
    let lease = json!({
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
        "spec": {"acquireTime": "1969-12-31T23:59:59.123456789Z", "renewTime": "2008-01-10T22:20:00.5+01:00"},
    });
    let spec = [
        message(3, &[int(1, -1), int(2, 123_456_000)]),
        message(4, &[int(1, 1_200_000_000), int(2, 500_000_000)]),
    ];
    assert_eq!(written(&lease), [no_metadata(), message(2, &spec)].concat());
    let quota = json!({
        "kind": "ResourceQuota", "apiVersion": "v1", "spec": {"hard": {"pods": "4", "cpu": "100m"}},
    });
    let hard = |key: &str, text: &str| message(1, &[bytes(1, key), message(2, &[bytes(1, text)])]);
    let spec = message(2, &[hard("cpu", "100m"), hard("pods", "4")]);
    assert_eq!(written(&quota), [no_metadata(), spec, bytes(3, "")].concat());
}

#[test]
fn a_list_and_an_event_are_what_they_are_made_of() {
    let item = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1"}});
    let list = json!({
        "kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [item, item],
    });
    let metadata = message(1, &[bytes(1, ""), bytes(2, "7"), bytes(3, "")]);
    let items = bytes(2, written(&item)).repeat(2);
    assert_eq!(written(&list), [metadata, items].concat());
    let object = vec![7; 300];
    let event = [bytes(1, "ADDED"), message(2, &[bytes(1, &object)])].concat();
    let length = u32::try_from(event.len()).unwrap().to_be_bytes();
    assert_eq!(super::frame("ADDED", &object), [length.to_vec(), event].concat());
}

#[test]
fn an_object_that_is_not_what_it_says_is_refused() {
    for (data, fault) in [
        (json!({"a": 1}), "field data"),
        (json!([]), "field data has a list"),
        (json!({"a": {}}), "field data"),
    ] {
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": data}).to_string();
        let error = super::converted(object.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(fault), "{error}");
    }
    let late =
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"creationTimestamp": "never"}}).to_string();
    assert!(super::converted(late.as_bytes()).is_err());
    for other in ["", "[]", "{}", r#"{"kind":"Nope","apiVersion":"v1"}"#, r#"{"kind":7}"#] {
        assert!(super::converted(other.as_bytes()).unwrap().is_none(), "{other}");
    }
}

#[test]
fn every_built_in_kind_has_a_message() {
    for row in crate::kinds::Kinds::built_in().all() {
        assert!(
            super::Typed::of(row.api_version(), &row.kind).is_some(),
            "{} {}",
            row.api_version(),
            row.kind
        );
    }
}

#[test]
fn the_tables_have_the_fields_of_the_schema_model_and_no_others() {
    let mut found = Found::default();
    for (api_version, kind, message) in fields::KINDS {
        let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
        let group = group.split('.').next().unwrap();
        let end = format!(".{group}.{version}.{kind}");
        let model = schema::model();
        let named = model.types().iter().find(|it| it.name.ends_with(&end)).expect(&end);
        compare(message, &named.shape, kind, &mut found);
    }
    assert!(found.faults.is_empty(), "{:#?}", found.faults);
}

fn resolve(shape: &'static schema::Shape) -> &'static schema::Shape {
    schema::model().resolve(shape)
}

/// A message's fields and those of the messages in it that are not in JSON.
fn flat(message: &Message) -> Vec<&'static Field> {
    assert!(message.fields.is_sorted_by(|a, b| a.number < b.number), "{message:?}");
    let inner = |field: &'static Field| match field.shape {
        Shape::Inline(inner) => flat(inner),
        _ => vec![field],
    };
    message.fields.iter().flat_map(inner).collect()
}

/// What a comparison has found so far.
#[derive(Default)]
struct Found {
    faults: Vec<String>,
    /// The messages it has been through: a schema has schemas in it.
    seen: std::collections::HashSet<*const Message>,
}

fn compare(message: &Message, shape: &'static schema::Shape, path: &str, found: &mut Found) {
    if !found.seen.insert(message) {
        return;
    }
    // What has no members may be anything there.
    if message.fields.is_empty() && matches!(resolve(shape), schema::Shape::Any) {
        return;
    }
    let schema::Shape::Object(members) = resolve(shape) else {
        return found.faults.push(format!("{path} is no object in the model"));
    };
    let fields = flat(message);
    // The type of an object is around it, not in it.
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    let is_type = |name: &str| matches!(name, "apiVersion" | "kind") && !has("apiVersion") && !has("kind");
    for member in members.iter().filter(|member| !is_type(&member.name)) {
        let path = format!("{path}.{}", member.name);
        match fields.iter().find(|field| field.name == member.name) {
            Some(field) => compare_field(field, resolve(&member.shape), &path, found),
            None => found.faults.push(format!("{path} is missing in the table")),
        }
    }
    for field in fields {
        if !members.iter().any(|member| member.name == field.name) {
            found.faults.push(format!("{path}.{} is not in the model", field.name));
        }
    }
}

fn compare_field(field: &Field, shape: &'static schema::Shape, path: &str, found: &mut Found) {
    let (kind, shape) = match (field.shape, shape) {
        (Shape::List(kind), schema::Shape::List { item, .. }) => (kind, resolve(item)),
        (Shape::Map(kind), schema::Shape::Map { value, .. }) => (kind, resolve(value)),
        (Shape::One(kind), shape) => (kind, shape),
        (table, model) => return found.faults.push(format!("{path}: {table:?} but {model:?}")),
    };
    let is_same = match (kind, shape) {
        (Kind::Message(message), shape) => return compare(message, shape, path, found),
        (Kind::Json | Kind::SchemaOr(..), schema::Shape::Any) => true,
        (Kind::Texts, schema::Shape::List { item, .. }) => {
            matches!(resolve(item), schema::Shape::Scalar(Scalar::Text))
        }
        (kind, schema::Shape::Scalar(scalar)) => matches!(
            (kind, scalar),
            (Kind::Text, Scalar::Text)
                | (Kind::Int, Scalar::Int32 | Scalar::Int64)
                | (Kind::Flag, Scalar::Bool)
                | (Kind::Double, Scalar::Number)
                | (Kind::Bytes, Scalar::Bytes)
                | (Kind::IntOrText, Scalar::IntOrString)
                | (Kind::Quantity, Scalar::Quantity)
                | (Kind::Time, Scalar::Time)
                | (Kind::MicroTime, Scalar::MicroTime)
        ),
        _ => false,
    };
    if !is_same {
        found.faults.push(format!("{path}: {kind:?} but {shape:?}"));
    }
}
