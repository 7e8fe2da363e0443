//! Whether the expressions of a policy fit the types that it is about: noted in its status when it is written, refused never
//! (`apiserver/pkg/admission/plugin/policy/validating/typechecking.go`).

use std::collections::{HashMap, HashSet};

use hako_cel::{Declared, ListKind};
use hako_kube::{GroupVersion, GroupVersionKind};
use serde_json::{Value, json};

use crate::admission::evaluation::Variable;
use crate::admission::matching::texts;
use crate::admission::plugin::{items, text};
use crate::kinds::admission_expressions::Names;
use crate::kinds::{Kinds, Served};
use crate::resource::Target;
use crate::schema::{self, Scalar, Shape};

/// How many types a policy is checked with.
const TYPES: usize = 10;
/// How deep a type is looked into, those aside that it names.
const DEPTH: usize = 16;

/// Notes in a policy that is about to be stored what its expressions are warned of.
pub(crate) fn note(kinds: &Kinds, target: &Target, object: &mut Value) {
    if !target.row.is("admissionregistration.k8s.io", "validatingadmissionpolicies") {
        return;
    }
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let generation = number("/metadata/generation").unwrap_or(1);
    if number("/status/observedGeneration").is_some_and(|observed| observed >= generation) {
        return;
    }
    let warnings = warnings(kinds, object);
    let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    if !object.get("status").is_some_and(Value::is_object) {
        object["status"] = json!({});
    }
    object["status"]["observedGeneration"] = generation.into();
    object["status"]["typeChecking"] = checked;
}

fn warnings(kinds: &Kinds, policy: &Value) -> Vec<Value> {
    let types: Vec<_> =
        types(kinds, policy).into_iter().map(|row| (row.gvk(), names(kinds, policy, row))).collect();
    let mut all = Vec::new();
    for (index, validation) in items(policy, "/spec/validations").iter().enumerate() {
        for part in ["expression", "messageExpression"] {
            let source = text(validation, &format!("/{part}"));
            let faults: Vec<_> =
                types.iter().filter_map(|(kind, names)| fault(kind, names, source)).collect();
            if !source.is_empty() && !faults.is_empty() {
                let field = format!("spec.validations[{index}].{part}");
                all.push(json!({"fieldRef": field, "warning": faults.join("\n")}));
            }
        }
    }
    all
}

fn fault(kind: &GroupVersionKind, names: &Names, source: &str) -> Option<String> {
    names.compile(source).err().map(|why| format!("{kind}: {why}\n"))
}

/// What expressions of a policy may name when it is about objects of a kind.
fn names(kinds: &Kinds, policy: &Value, row: &Served) -> Names {
    let params = policy.pointer("/spec/paramKind").filter(|kind| !kind.is_null()).map(|kind| {
        let version = GroupVersion::parse(text(kind, "/apiVersion"));
        let found = version.and_then(|it| kinds.by_kind(&it.group, &it.version, text(kind, "/kind")));
        found.map_or_else(Declared::dynamic, |row| declared(row))
    });
    let mut names = Names::of_types(declared(row), params);
    Variable::compile_all(&mut names, items(policy, "/spec/variables"));
    names
}

/// The kinds that the rules of a policy name without stars.
fn types<'k>(kinds: &'k Kinds, policy: &Value) -> Vec<&'k Served> {
    let mut found: Vec<&Served> = Vec::new();
    for rule in items(policy, "/spec/matchConstraints/resourceRules") {
        let (groups, versions) = (texts(rule, "apiGroups"), texts(rule, "apiVersions"));
        let resources = texts(rule, "resources");
        if [&groups, &versions].iter().any(|list| list.iter().any(|it| it.contains('*'))) {
            continue;
        }
        for group in &groups {
            for version in &versions {
                for resource in resources.iter().filter(|resource| !resource.contains(['*', '/'])) {
                    let row = kinds.by_resource(group, version, resource).map(|row| &**row);
                    found.extend(row.filter(|row| !found.iter().any(|it| it.gvk() == row.gvk())));
                }
            }
        }
    }
    found.sort_by_key(|row| row.gvk());
    found.truncate(TYPES);
    found
}

fn declared(row: &Served) -> Declared {
    Types::default().of(row.shape(), &row.type_name, DEPTH)
}

/// Types of the schema model, each declared once: expressions know a type by its name, so that there is one of each.
#[derive(Default)]
struct Types {
    made: HashMap<&'static str, Declared>,
    /// Those that are being made: what holds itself is not looked into again.
    making: HashSet<&'static str>,
}

impl Types {
    /// A shape as a type; `name` is that of the type which has it.
    fn of(&mut self, shape: &Shape, name: &str, depth: usize) -> Declared {
        if depth == 0 {
            return Declared::dynamic();
        }
        match shape {
            Shape::Any | Shape::Open(_) => Declared::dynamic(),
            Shape::Named(_) => self.named(shape),
            Shape::Object(fields) => {
                let mut field = |field: &schema::Field| {
                    let inner = format!("{name}.{}", field.name);
                    (field.name.clone(), self.of(&field.shape, &inner, depth - 1), field.is_required)
                };
                let fields: Vec<_> = fields.iter().map(&mut field).collect();
                Declared::object(name, fields)
            }
            Shape::List { item, .. } => {
                let item = self.of(item, &format!("{name}.@idx"), depth - 1);
                Declared::list(item, None, ListKind::Atomic)
            }
            Shape::Map { value, .. } => {
                Declared::map(self.of(value, &format!("{name}.@elem"), depth - 1), None)
            }
            Shape::Scalar(scalar) => of_scalar(*scalar),
        }
    }

    fn named(&mut self, shape: &Shape) -> Declared {
        let Some(ty) = schema::model().type_of(shape) else { return Declared::dynamic() };
        if let Some(made) = self.made.get(&*ty.name) {
            return made.clone();
        }
        if !self.making.insert(&ty.name) {
            return Declared::dynamic();
        }
        let made = self.of(&ty.shape, &ty.name, DEPTH);
        self.making.remove(&*ty.name);
        self.made.insert(&ty.name, made.clone());
        made
    }
}

fn of_scalar(scalar: Scalar) -> Declared {
    match scalar {
        Scalar::Text | Scalar::Quantity => Declared::string(None),
        Scalar::Bytes => Declared::bytes(None),
        Scalar::Time | Scalar::MicroTime => Declared::date_time(),
        Scalar::Int32 | Scalar::Int64 => Declared::int(),
        Scalar::Number => Declared::double(),
        Scalar::Bool => Declared::bool(),
        Scalar::IntOrString => Declared::int_or_string(None),
    }
}
