//! `Secret`.

use super::columns::{Column, age, name};
use super::row::KindRow;
use super::value::{at, members, object_mut, set_default, text};
use crate::schema::syntax::{self, go_kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    type_name: "io.k8s.api.core.v1.Secret",
    columns: &[
        Column::NAME,
        Column::text("Type", "What the data is for."),
        Column::text("Data", "How many entries it has."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    selectable,
    selectable_fields: &["type"],
    is_sealed: true,
    warnings: super::warnings::secret,
    ..KindRow::BASE
};

/// A secret for the token of the account that the annotation names.
const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const SIZE_MAX: usize = 1 << 20;

/// The keys that a type of secret must have.
const REQUIRED: &[(&str, &[&str])] = &[
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let entries = members(object, &["data"]).count();
    vec![name(object), text(object, &["type"]).into(), entries.into(), age(object, now)]
}

/// `stringData` is for writing only: it becomes `data`.
fn default(object: &mut Value) {
    let given = object.as_object_mut().and_then(|map| map.remove("stringData"));
    if let Some(Value::Object(given)) = given
        && let Some(data) = object_mut(object, &["data"])
    {
        for (key, value) in given {
            if let Value::String(text) = value {
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }
    if let Some(map) = object.as_object_mut() {
        set_default(map, "type", "Opaque");
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    let mut size = 0;
    for (key, value) in members(object, &["data"]) {
        let path = field::key("data", key);
        let of = |fault: String| field::invalid(&path, key.as_str(), &fault);
        causes.extend(names::config_key(key).into_iter().map(of));
        size += value.as_str().map_or(0, str::len) / 4 * 3;
    }
    if size > SIZE_MAX {
        causes.push(field::too_long("data", SIZE_MAX));
    }
    let kind = text(object, &["type"]);
    let account = at(object, &["metadata", "annotations", ACCOUNT]).and_then(Value::as_str);
    if kind == ACCOUNT_TOKEN && account.is_none_or(str::is_empty) {
        causes.push(field::required(field::key("metadata.annotations", ACCOUNT), ""));
    }
    for (_, keys) in REQUIRED.iter().filter(|(name, _)| *name == kind) {
        for key in *keys {
            if at(object, &["data", key]).is_none() {
                causes.push(field::required(field::key("data", key), ""));
            }
        }
    }
    login(object, kind, &mut causes);
    causes
}

/// What types of secrets for logging in have: JSON, a key that is not empty, or a part of a name and a password.
fn login(object: &Value, kind: &str, causes: &mut Faults) {
    let get = |key: &str| at(object, &["data", key]).and_then(Value::as_str);
    match kind {
        "kubernetes.io/dockercfg" => json_object(get(".dockercfg"), ".dockercfg", causes),
        "kubernetes.io/dockerconfigjson" => {
            json_object(get(".dockerconfigjson"), ".dockerconfigjson", causes)
        }
        "kubernetes.io/ssh-auth" if get("ssh-privatekey").is_none_or(str::is_empty) => {
            causes.push(field::required("data[ssh-privatekey]", ""));
        }
        "kubernetes.io/basic-auth" if get("username").is_none() && get("password").is_none() => {
            causes.extend(["username", "password"].map(|key| field::required(field::key("data", key), "")));
        }
        _ => {}
    }
}

/// What is shown of a value is never the value; of what is wrong with it, as upstream has it, the first character that is.
fn json_object(data: Option<&str>, key: &str, causes: &mut Faults) {
    let decoded = data.and_then(|text| STANDARD.decode(text).ok());
    let Some(decoded) = decoded else { return };
    let Err(error) = serde_json::from_slice::<Option<serde_json::Map<String, Value>>>(&decoded) else {
        return;
    };
    let detail = match serde_json::from_slice::<Value>(&decoded) {
        Ok(value) => {
            format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                go_kind(&value)
            )
        }
        // Of another reader's error only its kind and place: its text may show what it found.
        Err(_) => syntax::fault(&decoded)
            .unwrap_or_else(|| format!("{:?} error at line {}", error.classify(), error.line())),
    };
    causes.push(field::invalid(field::key("data", key), "<secret contents redacted>", &detail));
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = super::config_map::immutable(new, old, &["data"]);
    if new.get("type") != old.get("type") {
        causes.push(field::invalid("type", text(new, &["type"]), "field is immutable"));
    }
    causes
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    vec![("type", text(object, &["type"]).to_owned())]
}
