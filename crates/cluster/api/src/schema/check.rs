//! An object against its type: what is unknown, what has the wrong type, what has a canonical form.

use super::canonical;
use super::decode::{self, Decoded, Step, Written};
use super::facts;
use super::model::{Model, Scalar, Shape, model};
use super::named;
use super::syntax::go_kind;
use crate::kinds::Served;
use hako_error::{Classify, Error, Kind};
use hako_kube::Precision;
use hako_kube::field::{Path, Told};
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
    #[error(
        "{kind} in version {version:?} cannot be handled as a {kind}: the paths of its fields would take more than \
         {PATHS_MAX} bytes; have shorter names around many values"
    )]
    Paths { kind: String, version: String },
}

/// Bytes that the paths of all values of an object may take: who owns what is reckoned by path, and a name of a megabyte
/// around a hundred thousand values would take all memory.
const PATHS_MAX: usize = 64 * 1024 * 1024;

/// Bytes of the paths of all values below `above` bytes of path.
fn paths_length(value: &Value, above: usize) -> usize {
    match value {
        Value::Object(members) => members.iter().fold(above, |sum, (name, value)| {
            sum.saturating_add(paths_length(value, above + name.len() + 1))
        }),
        Value::Array(items) => {
            items.iter().fold(above, |sum, value| sum.saturating_add(paths_length(value, above + 1)))
        }
        _ => above,
    }
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
    let Decoded { value: mut object, duplicates, numbers } = decoded;
    if paths_length(&object, 0) > PATHS_MAX {
        let (kind, version) = (row.kind.to_string(), row.version.to_string());
        return Err(AdmitError::Paths { kind, version }.into());
    }
    let written = numbers.iter().try_for_each(|number| put(row.shape(), &mut object, number));
    let unknown = written.and_then(|()| row.strategy().fit(&mut object));
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
    let Decoded { value: mut object, duplicates, numbers } = decoded;
    let shape = model().shape(type_name);
    let written = numbers.iter().try_for_each(|number| put(shape, &mut object, number));
    let unknown = written.and_then(|()| fit(type_name, &mut object));
    admitted(kind, version, object, unknown, &duplicates, mode)
}

/// Puts a number as it is written where that counts: an amount keeps its form, and an integer has no exponent.
fn put(shape: &Shape, object: &mut Value, number: &Written) -> Result<(), String> {
    let (model, mut shape, mut value) = (model(), shape, object);
    let (mut of, mut fields) = ("", Vec::new());
    for step in &number.path {
        of = model.type_of(shape).map_or(of, |named| facts::short(&named.name));
        let (inner, at) = match (model.resolve(shape), step) {
            (Shape::Object(_), Step::Name(name)) => {
                fields.push(name.as_str());
                (model.field(shape, name).map(|field| &field.shape), value.get_mut(name))
            }
            (Shape::Map { value: inner, .. }, Step::Name(name)) => (Some(&**inner), value.get_mut(name)),
            (Shape::List { item, .. }, Step::Item(at)) => (Some(&**item), value.get_mut(*at)),
            _ => return Ok(()),
        };
        let (Some(inner), Some(at)) = (inner, at) else { return Ok(()) };
        (shape, value) = (inner, at);
    }
    // Of members given twice the last counts, which may be another.
    if value.as_f64().is_none() || value.as_f64() != number.text.parse().ok() {
        return Ok(());
    }
    let wanted = match model.resolve(shape) {
        Shape::Scalar(Scalar::Quantity) => {
            *value = number.text.as_str().into();
            return Ok(());
        }
        Shape::Scalar(Scalar::Int32 | Scalar::IntOrString) => "int32",
        Shape::Scalar(Scalar::Int64) => "int64",
        _ => return Ok(()),
    };
    Err(format!(
        "json: cannot unmarshal number {} into Go struct field {of}.{} of type {wanted}",
        number.text,
        fields.join(".")
    ))
}

/// Fits an object to a type of the model; answers the paths of unknown members, which are dropped.
///
/// # Errors
/// What has the wrong type, in words.
pub(crate) fn fit(type_name: &str, object: &mut Value) -> Result<Vec<String>, String> {
    fit_at(type_name, object, Path::Root)
}

/// The same for the metadata that is at a path of an object.
///
/// # Errors
/// As [`fit`].
pub(crate) fn fit_metadata(metadata: &mut Value, path: &str) -> Result<Vec<String>, String> {
    let path = Path::Member(&Path::Root, path);
    fit_at("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", metadata, path)
}

fn fit_at(type_name: &str, value: &mut Value, path: Path<'_>) -> Result<Vec<String>, String> {
    let mut check = Check { model: model(), unknown: Told::default() };
    let at = At { path, field: path, of: facts::short(type_name), within: 0 };
    check.value(check.model.shape(type_name), value, &at)?;
    Ok(check.unknown.into_all())
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
    unknown: Told<String>,
}

/// Where a value is.
struct At<'a> {
    path: Path<'a>,
    /// The fields that lead there, without places in lists and keys of maps.
    field: Path<'a>,
    /// The short name of the type that has the last of them.
    of: &'a str,
    /// In how many lists and maps within that field it is.
    within: usize,
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
                self.members(find, map, &At { of, ..*at })
            }
            (Shape::Map { value: inner, .. }, Value::Object(map)) => self.entries(inner, map, at),
            (Shape::List { item, .. }, Value::Array(items)) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.fill(item, value);
                    self.value(
                        item,
                        value,
                        &At { path: Path::Item(&at.path, index), within: at.within + 1, ..*at },
                    )?;
                }
                Ok(())
            }
            (Shape::Scalar(scalar), value) => self.scalar(*scalar, value, at),
            (_, value) => Err(self.mismatch(shape, value, at)),
        }
    }

    fn entries(&mut self, inner: &Shape, map: &mut Map<String, Value>, at: &At<'_>) -> Result<(), String> {
        for (name, value) in map.iter_mut() {
            self.fill(inner, value);
            self.value(
                inner,
                value,
                &At { path: Path::Member(&at.path, name), within: at.within + 1, ..*at },
            )?;
        }
        map.retain(|_, value| !value.is_null());
        Ok(())
    }

    fn members<'a>(
        &mut self,
        find: impl Fn(&str) -> Option<&'a Shape>,
        map: &mut Map<String, Value>,
        at: &At<'_>,
    ) -> Result<(), String> {
        let mut outcome = Ok(());
        map.retain(|name, value| {
            let path = Path::Member(&at.path, name);
            match find(name) {
                None => {
                    self.unknown.push(|| path.to_string());
                    return false;
                }
                Some(_) if value.is_null() => return false,
                Some(_) if outcome.is_err() => {}
                Some(shape) => {
                    let field = Path::Member(&at.field, name);
                    outcome = self.value(shape, value, &At { path, field, of: at.of, within: 0 });
                }
            }
            !value.is_null()
        });
        outcome
    }

    /// Gives an entry of a map or an item of a list that is null the value that Go has there: `label:` in YAML is the
    /// empty text. A field that is null is not set.
    fn fill(&self, shape: &Shape, value: &mut Value) {
        if !value.is_null() {
            return;
        }
        *value = match self.model.resolve(shape) {
            Shape::Object(_) | Shape::Map { .. } => Value::Object(Map::new()),
            Shape::List { .. } => Value::Array(Vec::new()),
            Shape::Scalar(Scalar::Text | Scalar::Bytes) => "".into(),
            Shape::Scalar(Scalar::Quantity) => "0".into(),
            Shape::Scalar(Scalar::Bool) => false.into(),
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString) => 0.into(),
            _ => return,
        };
    }

    fn scalar(&self, scalar: Scalar, value: &mut Value, at: &At<'_>) -> Result<(), String> {
        let is_sound = match scalar {
            Scalar::Text | Scalar::Bytes | Scalar::Time | Scalar::MicroTime => value.is_string(),
            Scalar::Bool => value.is_boolean(),
            Scalar::Number => value.is_number(),
            Scalar::Int64 => value.is_i64(),
            Scalar::Int32 => is_int32(value),
            // It reads itself, whatever it is.
            Scalar::Quantity => true,
            Scalar::IntOrString => value.is_string() || is_int32(value),
        };
        if !is_sound {
            return Err(self.mismatch(&Shape::Scalar(scalar), value, at));
        }
        match scalar {
            Scalar::Quantity => canonical::quantity(value),
            Scalar::Time => canonical::time(value, Precision::Seconds),
            Scalar::MicroTime => canonical::time(value, Precision::Micros),
            Scalar::Bytes => canonical::bytes(value),
            Scalar::Number => {
                decode::whole_numbers(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn mismatch(&self, shape: &Shape, value: &Value, at: &At<'_>) -> String {
        let of_integer = matches!(shape, Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString));
        let given = match value {
            Value::Number(number) if of_integer => format!("number {number}"),
            other => go_kind(other).to_owned(),
        };
        let last = match at.field {
            Path::Member(_, name) => name,
            _ => "",
        };
        // Who reads itself tells of what it is made of.
        let named = match shape {
            Shape::Scalar(Scalar::IntOrString | Scalar::Time | Scalar::MicroTime) => None,
            _ => named::of(at.of, last, at.within),
        };
        let wanted = named.map_or_else(|| self.go_type(shape), str::to_owned);
        let names = at.field.to_string();
        if names.is_empty() {
            return format!("json: cannot unmarshal {given} into Go value of type {wanted}");
        }
        format!("json: cannot unmarshal {given} into Go struct field {}.{names} of type {wanted}", at.of)
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
                // Times read themselves, from texts.
                Scalar::Text | Scalar::Time | Scalar::MicroTime => "string",
                Scalar::Bytes => "[]uint8",
                Scalar::Int32 => "int32",
                Scalar::Int64 => "int64",
                Scalar::Number => "float64",
                Scalar::Bool => "bool",
                Scalar::IntOrString => "int32",
                Scalar::Quantity => "resource.Quantity",
            }
            .to_owned(),
            _ => "struct".to_owned(),
        }
    }
}

/// Whether it is a whole number of 32 bits. In JSON `1.0` is none, as to Go; in YAML and in a strategic patch it is read as one
/// before ([`decode::whole_numbers`](super::decode::whole_numbers)).
fn is_int32(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

#[cfg(test)]
mod tests {
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
            error.to_string().ends_with(
                "json: cannot unmarshal string into Go struct field \
                 ContainerPort.spec.template.spec.containers.ports.containerPort of type int32"
            ),
            "{error}"
        );
        let text = r#"{"metadata":{"labels":{"a":1}}}"#;
        let error = admit_json("Deployment", text, FieldValidation::Warn).unwrap_err().to_string();
        let told =
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string";
        assert!(error.ends_with(told), "{error}");
        let text = r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":99999999999}}}}"#;
        let error = admit_json("Deployment", text, FieldValidation::Warn).unwrap_err().to_string();
        let told = "json: cannot unmarshal number 99999999999 into Go struct field \
                    RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32";
        assert!(error.ends_with(told), "{error}");
        for text in [
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":1.5}}}}"#,
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":true}}}}"#,
            r#"{"spec":{"replicas":1.5}}"#,
            r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":1.0}}}}"#,
            r#"{"spec":{"template":{"spec":{"activeDeadlineSeconds":1e3}}}}"#,
            r#"{"spec":[]}"#,
            r#"{"metadata":{"labels":{"a":1}}}"#,
            r#"{"metadata":{"labels":[]}}"#,
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
        ] {
            assert!(admit_json("Deployment", text, FieldValidation::Ignore).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_types_name_the_type_that_go_programs_have() {
        for (kind, text, told) in [
            (
                "Service",
                r#"{"spec":{"type":5}}"#,
                "number into Go struct field ServiceSpec.spec.type of type v1.ServiceType",
            ),
            (
                "PersistentVolumeClaim",
                r#"{"spec":{"accessModes":"ReadWriteOnce"}}"#,
                "string into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type []v1.PersistentVolumeAccessMode",
            ),
            (
                "PersistentVolumeClaim",
                r#"{"spec":{"accessModes":[true]}}"#,
                "bool into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type v1.PersistentVolumeAccessMode",
            ),
            (
                "Pod",
                r#"{"spec":{"containers":[{"resources":{"limits":"1"}}]}}"#,
                "string into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList",
            ),
            (
                "Pod",
                r#"{"metadata":{"uid":1}}"#,
                "number into Go struct field ObjectMeta.metadata.uid of type types.UID",
            ),
        ] {
            let error = admit_json(kind, text, FieldValidation::Warn).unwrap_err().to_string();
            assert!(error.ends_with(told), "{error}");
        }
    }

    #[test]
    fn a_quantity_of_any_wrong_type_is_no_quantity_and_spaces_around_one_are_none() {
        let of = |cpu: &str| {
            format!(
                r#"{{"spec":{{"containers":[{{"name":"c","resources":{{"limits":{{"cpu":{cpu}}}}}}}]}}}}"#
            )
        };
        for cpu in ["true", "{}", "[1]", r#""""#, r#""x""#] {
            let error = admit_json("Pod", &of(cpu), FieldValidation::Warn).unwrap_err().to_string();
            let told = "Pod in version \"v1\" cannot be handled as a Pod: quantities must match the regular expression \
                        '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
            assert_eq!(error, told, "{cpu}");
        }
        let admitted = admit_json("Pod", &of(r#"" 1 ""#), FieldValidation::Warn).unwrap().object;
        assert_eq!(admitted["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
    }

    #[test]
    fn a_number_with_an_exponent_stays_as_it_is_written() {
        let text = r#"{"spec":{"containers":[{"name":"1e9","resources":{"limits":{"cpu":1e3,"memory":2.0E6,"x.io/y":1000.0}}}],
            "terminationGracePeriodSeconds":30}}"#;
        let admitted = admit_json("Pod", text, FieldValidation::Strict).unwrap().object;
        let limits = &admitted["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(*limits, serde_json::json!({"cpu": "1e3", "memory": "2e6", "x.io/y": "1k"}));
        let twice = r#"{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":1e3,"cpu":2}}}]}}"#;
        let admitted = admit_json("Pod", twice, FieldValidation::Warn).unwrap().object;
        assert_eq!(admitted["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
        let text = r#"{"spec":{"template":{"spec":{"containers":[{"ports":[{},{"containerPort":8E1}]}]}}}}"#;
        let error = admit_json("Deployment", text, FieldValidation::Ignore).unwrap_err().to_string();
        let told = "json: cannot unmarshal number 8E1 into Go struct field \
                    ContainerPort.spec.template.spec.containers.ports.containerPort of type int32";
        assert!(error.ends_with(told), "{error}");
    }

    #[test]
    fn a_whole_number_is_written_without_a_fraction_in_json_and_anyhow_in_yaml() {
        let error =
            admit_json("Deployment", r#"{"spec":{"replicas":1.0}}"#, FieldValidation::Warn).unwrap_err();
        let told = "json: cannot unmarshal number 1.0 into Go struct field DeploymentSpec.spec.replicas of type int32";
        assert!(error.to_string().contains(told), "{error}");
        let row = Kinds::built_in().all().iter().find(|row| row.kind == "Deployment").unwrap();
        let text = b"spec: {replicas: 1.0, progressDeadlineSeconds: 1e3, strategy: {rollingUpdate: {maxSurge: 2.0}}}";
        let sent = decode::yaml(text).unwrap();
        let admitted = admit(row, sent, FieldValidation::Strict).unwrap().object;
        let whole = serde_json::json!({"replicas": 1, "progressDeadlineSeconds": 1000,
            "strategy": {"rollingUpdate": {"maxSurge": 2}}});
        assert_eq!(admitted["spec"], whole);
        assert!(admit(row, decode::yaml(b"spec: {replicas: 1.5}").unwrap(), FieldValidation::Warn).is_err());
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
    fn a_null_in_a_map_or_a_list_is_the_value_that_is_nothing() {
        let text = r#"{"metadata":{"labels":{"a":null},"annotations":null},"spec":{"nodeSelector":{"node-role/worker":null},
            "containers":[{"name":"c","args":["x",null],"env":[null],"resources":{"limits":{"cpu":null}}},null]}}"#;
        let admitted = admit_json("Pod", text, FieldValidation::Strict).unwrap();
        assert_eq!(
            admitted.object,
            serde_json::json!({"metadata": {"labels": {"a": ""}}, "spec": {"nodeSelector": {"node-role/worker": ""},
                "containers": [{"name": "c", "args": ["x", ""], "env": [{}], "resources": {"limits": {"cpu": "0"}}}, {}]}})
        );
        let admitted = admit_json("Secret", r#"{"data":{"a":null}}"#, FieldValidation::Strict).unwrap();
        assert_eq!(admitted.object["data"], serde_json::json!({"a": ""}));
    }

    #[test]
    fn numbers_are_kept_to_the_last_digit() {
        for text in
            ["3.4028234663852886e38", "1.2345678912345679e-12", "0.30000000000000004", "0.12345678901234567"]
        {
            let decoded = decode::json(text.as_bytes()).unwrap().value;
            assert_eq!(decoded.as_f64(), text.parse().ok(), "{text}: {decoded}");
        }
    }

    #[test]
    fn a_whole_number_among_those_with_fractions_is_written_without_one() {
        let schema = r#"{"type":"number","minimum":1e3,"maximum":2000.0,"multipleOf":0.5}"#;
        let text =
            format!(r#"{{"spec":{{"versions":[{{"name":"v1","schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#);
        let admitted = admit_json("CustomResourceDefinition", &text, FieldValidation::Strict).unwrap().object;
        let schema = &admitted["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let wanted = r#"{"type":"number","minimum":1000,"maximum":2000,"multipleOf":0.5}"#;
        assert_eq!(schema.to_string(), wanted);
    }

    #[test]
    fn bytes_may_be_broken_into_lines() {
        let text = "{\"data\":{\"a\":\"aGVs\\r\\nbG8=\\n\"}}";
        let admitted = admit_json("Secret", text, FieldValidation::Strict).unwrap();
        assert_eq!(admitted.object["data"]["a"], "aGVsbG8=");
        assert!(admit_json("Secret", r#"{"data":{"a":"aGVs bG8="}}"#, FieldValidation::Strict).is_err());
    }

    #[test]
    fn unknown_members_without_end_are_dropped_at_once_and_told_within_bounds() {
        let members: Vec<String> = (0..200_000).map(|at| format!("\"u{at}\":{{}}")).collect();
        let text = format!("{{\"spec\":{{{}}}}}", members.join(","));
        let admitted = admit_json("Pod", &text, FieldValidation::Warn).unwrap();
        assert_eq!(admitted.object["spec"], serde_json::json!({}));
        assert!(admitted.warnings.len() < 100_000);
    }

    #[test]
    fn names_around_many_values_are_not_long() {
        let values = vec!["0"; 100_000].join(",");
        let of = |length: usize| format!("{{\"spec\":{{\"{}\":[{values}]}}}}", "n".repeat(length));
        let error = admit_json("Pod", &of(1_000), FieldValidation::Warn).unwrap_err();
        assert!(error.to_string().contains("have shorter names around many values"), "{error}");
        assert!(admit_json("Pod", &of(100), FieldValidation::Warn).is_ok());
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
        let decoded = decode::yaml(b"a: 0400\nb: 0o644\nc: '0400'\nd: 08\n").unwrap();
        let octal = serde_json::json!({"a": 256, "b": 420, "c": "0400", "d": 8});
        assert_eq!(decoded.value, octal, "numbers are YAML 1.1's");
        assert!(decode::yaml(b"a: 1\na: 2\n").is_err());
        assert!(decode::yaml(b"a: [").is_err());
    }
}
