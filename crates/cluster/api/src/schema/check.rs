//! An object against its type: what is unknown, what has the wrong type, what has a canonical form.

use super::decode::Decoded;
use super::facts;
use super::model::{Model, Scalar, Shape, model};
use super::place::Place;
use crate::kinds::Served;
use base64::Engine as _;
use hako_error::{Classify, Error, Kind};
use serde_json::{Map, Value};

/// What to do about unknown and duplicate members: the query parameter `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

impl FieldValidation {
    /// From the value of the query parameter; `None` if it is none of the three.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// An object that fits its type.
#[derive(Debug)]
pub struct Admitted {
    /// The object without unknown members and nulls, quantities in canonical form.
    pub object: Value,
    /// What the writer should know.
    pub warnings: Vec<String>,
}

/// Why an object does not fit its type.
#[derive(Debug, thiserror::Error)]
enum AdmitError {
    #[error("{kind} in version {version:?} cannot be handled as a {kind}: {fault}")]
    Type { kind: String, version: String, fault: String },
    #[error("{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {faults}")]
    Strict { kind: String, version: String, faults: String },
}

impl Classify for AdmitError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Fits a decoded body to the type of a kind.
///
/// # Errors
/// [`Kind::Invalid`] without causes where a value has the wrong type, or, in strict mode, where a member is unknown
/// or given twice.
pub fn admit(row: &Served, decoded: Decoded, mode: FieldValidation) -> Result<Admitted, Error> {
    let Decoded { value: mut object, duplicates } = decoded;
    let unknown = row.strategy().fit(&mut object);
    admitted(&row.kind, &row.version, object, unknown, &duplicates, mode)
}

/// Like [`admit`], for types of the model without a kind: `Scale`, `Binding`, `Eviction`, `DeleteOptions`.
///
/// # Errors
/// As [`admit`].
pub fn admit_as(
    kind: &str,
    version: &str,
    type_name: &str,
    decoded: Decoded,
    mode: FieldValidation,
) -> Result<Admitted, Error> {
    let Decoded { value: mut object, duplicates } = decoded;
    let unknown = fit(type_name, &mut object);
    admitted(kind, version, object, unknown, &duplicates, mode)
}

/// Fits an object to a type of the model; answers the paths of unknown members, which are dropped.
///
/// # Errors
/// What has the wrong type, in words.
pub(crate) fn fit(type_name: &str, object: &mut Value) -> Result<Vec<String>, String> {
    fit_at(type_name, object, Place::Root)
}

/// The same for the metadata that is at a path of an object.
///
/// # Errors
/// As [`fit`].
pub(crate) fn fit_metadata(metadata: &mut Value, path: &str) -> Result<Vec<String>, String> {
    let place = Place::Member(&Place::Root, path);
    fit_at("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", metadata, place)
}

fn fit_at(type_name: &str, value: &mut Value, place: Place<'_>) -> Result<Vec<String>, String> {
    let mut check = Check { model: model(), unknown: Vec::new() };
    let at = At { place, of: facts::short(type_name) };
    check.value(check.model.shape(type_name), value, &at)?;
    Ok(check.unknown)
}

fn admitted(
    kind: &str,
    version: &str,
    object: Value,
    unknown: Result<Vec<String>, String>,
    duplicates: &[String],
    mode: FieldValidation,
) -> Result<Admitted, Error> {
    let (kind, version) = (kind.to_owned(), version.to_owned());
    let unknown = match unknown {
        Ok(unknown) => unknown,
        Err(fault) => return Err(AdmitError::Type { kind, version, fault }.into()),
    };
    if mode == FieldValidation::Ignore {
        return Ok(Admitted { object, warnings: Vec::new() });
    }
    let mut warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    warnings.extend(duplicates.iter().map(|path| format!("duplicate field {path:?}")));
    if mode == FieldValidation::Strict && !warnings.is_empty() {
        return Err(AdmitError::Strict { kind, version, faults: warnings.join(", ") }.into());
    }
    Ok(Admitted { object, warnings })
}

struct Check {
    model: &'static Model,
    unknown: Vec<String>,
}

/// Where a value is, and the short name of the type that has it as a field.
struct At<'a> {
    place: Place<'a>,
    of: &'a str,
}

impl Check {
    fn value(&mut self, shape: &Shape, value: &mut Value, at: &At<'_>) -> Result<(), String> {
        let model = self.model;
        let of = model.type_of(shape).map_or(at.of, |named| facts::short(&named.name));
        match (model.resolve(shape), value) {
            (Shape::Any | Shape::Open(_) | Shape::Named(_), _) => Ok(()),
            (Shape::Object(fields), Value::Object(map)) => {
                let find = |name: &str| {
                    let found = fields.binary_search_by(|field| field.name.as_str().cmp(name));
                    found.ok().map(|index| &fields[index].shape)
                };
                self.members(find, map, &At { place: at.place, of })
            }
            (Shape::Map { value: inner, .. }, Value::Object(map)) => {
                self.members(|_| Some(inner), map, &At { place: at.place, of })
            }
            (Shape::List { item, .. }, Value::Array(items)) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.value(item, value, &At { place: Place::Item(&at.place, index), of: at.of })?;
                }
                Ok(())
            }
            (Shape::Scalar(scalar), value) => self.scalar(*scalar, value, at),
            (_, value) => Err(self.mismatch(shape, value, at)),
        }
    }

    fn members<'a>(
        &mut self,
        find: impl Fn(&str) -> Option<&'a Shape>,
        map: &mut Map<String, Value>,
        at: &At<'_>,
    ) -> Result<(), String> {
        let mut dropped = Vec::new();
        for (name, value) in map.iter_mut() {
            let place = Place::Member(&at.place, name);
            match find(name) {
                None => {
                    self.unknown.push(place.path());
                    dropped.push(name.clone());
                }
                Some(_) if value.is_null() => dropped.push(name.clone()),
                Some(shape) => self.value(shape, value, &At { place, of: at.of })?,
            }
        }
        for name in dropped {
            map.shift_remove(&name);
        }
        Ok(())
    }

    fn scalar(&self, scalar: Scalar, value: &mut Value, at: &At<'_>) -> Result<(), String> {
        let is_sound = match scalar {
            Scalar::Text | Scalar::Bytes | Scalar::Time => value.is_string(),
            Scalar::Bool => value.is_boolean(),
            Scalar::Number => value.is_number(),
            Scalar::Int64 => whole(value).is_some(),
            Scalar::Int32 => whole(value).is_some_and(|number| i32::try_from(number).is_ok()),
            Scalar::IntOrString | Scalar::Quantity => value.is_string() || value.is_number(),
        };
        if !is_sound {
            return Err(self.mismatch(&Shape::Scalar(scalar), value, at));
        }
        match (scalar, &*value) {
            (Scalar::Quantity, _) => canonical(value),
            (Scalar::Int32 | Scalar::Int64, Value::Number(number)) if number.is_f64() => {
                *value = whole(value).into();
                Ok(())
            }
            (Scalar::Time, Value::String(text)) if hako_kube::time::parse(text).is_none() => Err(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
            )),
            (Scalar::Bytes, Value::String(text)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                decoded
                    .map(|_| ())
                    .map_err(|error| format!("illegal base64 data in {}: {error}", at.place.path()))
            }
            _ => Ok(()),
        }
    }

    fn mismatch(&self, shape: &Shape, value: &Value, at: &At<'_>) -> String {
        let given = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) => match shape {
                Shape::Scalar(Scalar::Int32 | Scalar::Int64) => format!("number {number}"),
                _ => "number".to_owned(),
            },
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let wanted = self.go_type(shape);
        let names = at.place.names();
        if names.is_empty() {
            return format!("json: cannot unmarshal {given} into Go value of type {wanted}");
        }
        format!(
            "json: cannot unmarshal {given} into Go struct field {}.{names} of type {wanted} (at {})",
            at.of,
            at.place.path()
        )
    }

    fn go_type(&self, shape: &Shape) -> String {
        if let Some(named) = self.model.type_of(shape) {
            let mut parts = named.name.rsplit('.');
            let (name, version) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            return format!("{version}.{name}");
        }
        match shape {
            Shape::List { item, .. } => format!("[]{}", self.go_type(item)),
            Shape::Map { value, .. } => format!("map[string]{}", self.go_type(value)),
            Shape::Scalar(scalar) => match scalar {
                Scalar::Text => "string",
                Scalar::Bytes => "[]uint8",
                Scalar::Time => "v1.Time",
                Scalar::Int32 => "int32",
                Scalar::Int64 => "int64",
                Scalar::Number => "float64",
                Scalar::Bool => "bool",
                Scalar::IntOrString => "intstr.IntOrString",
                Scalar::Quantity => "resource.Quantity",
            }
            .to_owned(),
            _ => "struct".to_owned(),
        }
    }
}

/// The whole number a value is; `1.0` is one too.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15)?;
        format!("{number:.0}").parse().ok()
    })
}

fn canonical(value: &mut Value) -> Result<(), String> {
    let text = match &*value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let quantity: hako_names::Quantity = text.parse().map_err(|_| {
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            .to_owned()
    })?;
    *value = quantity.to_string().into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::kinds::{self, Kinds};

    fn admit_json(kind: &str, text: &str, mode: FieldValidation) -> Result<Admitted, Error> {
        let row = Kinds::built_in().all().iter().find(|row| row.kind == kind).unwrap();
        admit(row, decode::json(text.as_bytes()).unwrap(), mode)
    }

    #[test]
    fn unknown_and_duplicate_members_are_found_with_their_paths() {
        let text =
            r#"{"metadata":{"name":"a","foo":1},"spec":{"containers":[{"name":"c","name":"d","bar":true}]}}"#;
        let admitted = admit_json("Pod", text, FieldValidation::Warn).unwrap();
        assert_eq!(
            admitted.warnings,
            [
                "unknown field \"metadata.foo\"",
                "unknown field \"spec.containers[0].bar\"",
                "duplicate field \"spec.containers[0].name\"",
            ]
        );
        assert_eq!(admitted.object["spec"]["containers"][0], serde_json::json!({"name": "d"}));
        let error = admit_json("Pod", text, FieldValidation::Strict).unwrap_err();
        assert!(error.to_string().starts_with(
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"metadata.foo\", "
        ));
        assert!(admit_json("Pod", text, FieldValidation::Ignore).unwrap().warnings.is_empty());
    }

    #[test]
    fn wrong_types_name_the_field() {
        let text = r#"{"spec":{"template":{"spec":{"containers":[{"ports":[{"containerPort":"x"}]}]}}}}"#;
        let error = admit_json("Deployment", text, FieldValidation::Warn).unwrap_err();
        assert!(
            error.to_string().contains(
                "json: cannot unmarshal string into Go struct field \
                 ContainerPort.spec.template.spec.containers.ports.containerPort of type int32"
            ),
            "{error}"
        );
        for text in [
            r#"{"spec":{"replicas":1.5}}"#,
            r#"{"spec":[]}"#,
            r#"{"metadata":{"labels":{"a":1}}}"#,
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
        ] {
            assert!(admit_json("Deployment", text, FieldValidation::Ignore).is_err(), "{text}");
        }
    }

    #[test]
    fn nulls_vanish_and_quantities_become_canonical() {
        let text = r#"{"metadata":{"creationTimestamp":null},"spec":{"containers":[{"name":"c","resources":
            {"limits":{"cpu":0.5,"memory":"1024Ki"}},"args":null}]}}"#;
        let admitted = admit_json("Pod", text, FieldValidation::Strict).unwrap();
        assert_eq!(
            admitted.object,
            serde_json::json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources":
                {"limits": {"cpu": "500m", "memory": "1Mi"}}}]}})
        );
    }

    #[test]
    fn every_row_has_a_type_and_every_fact_a_field() {
        for row in kinds::table() {
            assert!(model().named(row.type_name).is_some(), "{}", row.type_name);
        }
        let shape = model().shape("io.k8s.api.core.v1.PodSpec");
        let containers = model().field(shape, "containers").unwrap();
        assert_eq!(containers.patch.key, Some("name"));
        assert!(!model().is_atomic(&containers.shape));
        assert!(model().is_atomic(&model().field(shape, "tolerations").unwrap().shape));
    }

    #[test]
    fn yaml_decodes_like_json() {
        let decoded = decode::yaml(b"a: 1\nb:\n- x\n- {c: true}\n").unwrap();
        assert_eq!(decoded.value, serde_json::json!({"a": 1, "b": ["x", {"c": true}]}));
        assert!(decode::yaml(b"a: 1\na: 2\n").is_err());
        assert!(decode::yaml(b"a: [").is_err());
    }
}
