//! `LimitRange`.

use super::columns::{Column, name};
use super::row::KindRow;
use super::value::{each_mut, items, members, object_mut, set_default, text};
use super::{check, resource_names};
use hako_kube::{
    field::{self, Faults},
    names,
};
use hako_names::Quantity;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::collections::HashSet;

pub(super) const ROW: KindRow = KindRow {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    type_name: "io.k8s.api.core.v1.LimitRange",
    columns: &[
        Column::NAME,
        Column { kind: "date", ..Column::text("Created At", "When the object was created.") },
    ],
    cells,
    default,
    validate,
    ..KindRow::BASE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, &["metadata", "creationTimestamp"]).into()]
}

/// What a container gets that says nothing follows from what it may have at most and has to have at least.
fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    for item in each_mut(spec, "limits") {
        if item.get("type") != Some(&json!("Container")) {
            continue;
        }
        for (into, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            fill(item, into, from);
        }
    }
}

fn fill(item: &mut Map<String, Value>, into: &str, from: &str) {
    let from = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
    if from.is_empty() {
        return;
    }
    set_default(item, into, json!({}));
    if let Some(into) = item.get_mut(into).and_then(Value::as_object_mut) {
        from.into_iter().for_each(|(name, amount)| set_default(into, &name, amount));
    }
}

const PARTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    let limits = items(object, &["spec", "limits"]);
    let mut seen = HashSet::new();
    for (index, limit) in limits.iter().enumerate() {
        let path = field::index("spec.limits", index);
        let kind = text(limit, &["type"]);
        self::kind(kind, &field::child(&path, "type"), &mut causes);
        if !seen.insert(kind) {
            causes.push(field::duplicate(field::child(&path, "type"), kind));
        }
        item(kind, limit, &path, &mut causes);
    }
    causes
}

fn kind(kind: &str, path: &str, causes: &mut Faults) {
    let complaints = names::qualified_name(kind);
    let is_sound = complaints.is_empty();
    check::syntax(complaints, kind, path, causes);
    let is_standard = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
    if is_sound && !kind.contains('/') && !is_standard {
        causes.push(field::invalid(path, kind, "must be a standard limit type or fully qualified"));
    }
}

fn item(kind: &str, limit: &Value, path: &str, causes: &mut Faults) {
    let mut resources = BTreeSet::new();
    for part in PARTS {
        let path = field::child(path, part);
        let is_default = part.starts_with("default");
        let part = [part];
        let mut amounts = members(limit, &part).peekable();
        if kind == "Pod" && is_default {
            if amounts.peek().is_some() {
                causes.push(field::forbidden(path, "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, _) in amounts {
            let path = field::key(&path, name);
            match kind {
                "Pod" | "Container" => resource_names::of_container(name, &path, causes),
                _ => resource_names::resource(name, &path, causes),
            }
            resources.insert(name.as_str());
        }
    }
    let has_storage = |part: &str| limit[part].get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !has_storage("min") && !has_storage("max") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        causes.push(field::required(field::child(path, "limits"), detail));
    }
    for name in resources {
        Amounts::of(limit, name, kind == "Pod").check(path, causes);
    }
}

/// All that an item says about one resource.
struct Amounts<'a> {
    name: &'a str,
    min: Option<Quantity>,
    max: Option<Quantity>,
    default: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

impl<'a> Amounts<'a> {
    fn of(limit: &Value, name: &'a str, is_pod: bool) -> Self {
        let get = |part: &str| check::quantity(limit[part].get(name));
        Self {
            name,
            min: get("min"),
            max: get("max"),
            default: get("default").filter(|_| !is_pod),
            request: get("defaultRequest").filter(|_| !is_pod),
            ratio: get("maxLimitRequestRatio"),
        }
    }

    fn check(&self, path: &str, causes: &mut Faults) {
        // Which two are in order, what they are called, and which of them, of which part, is shown.
        let pairs = [
            (self.min, "min value", self.max, "max value", "min", self.min),
            (self.min, "min value", self.request, "default request value", "defaultRequest", self.request),
            (self.request, "default request value", self.max, "max value", "defaultRequest", self.request),
            (
                self.request,
                "default request value",
                self.default,
                "default limit value",
                "defaultRequest",
                self.request,
            ),
            (self.min, "min value", self.default, "default value", "default", self.min),
            (self.default, "default value", self.max, "max value", "default", self.max),
        ];
        for (less, less_name, more, more_name, part, shown) in pairs {
            if let (Some(less), Some(more), Some(shown)) = (less, more, shown)
                && less > more
            {
                let detail = format!("{less_name} {less} is greater than {more_name} {more}");
                causes.push(field::invalid(self.at(path, part), shown.to_string(), &detail));
            }
        }
        self.ratio(path, causes);
        if let (Some(default), Some(request)) = (self.default, self.request)
            && default != request
            && !resource_names::may_overcommit(self.name)
        {
            let name = self.name;
            let detail =
                format!("default value {default} must equal to defaultRequest value {request} in {name}");
            causes.push(field::invalid(self.at(path, "defaultRequest"), request.to_string(), &detail));
        }
    }

    fn at(&self, path: &str, part: &str) -> String {
        field::key(&field::child(path, part), self.name)
    }

    fn ratio(&self, path: &str, causes: &mut Faults) {
        let Some(ratio) = self.ratio else { return };
        let path = self.at(path, "maxLimitRequestRatio");
        if ratio.millis() < 1000 {
            let detail = format!("ratio {ratio} is less than 1");
            causes.push(field::invalid(&path, ratio.to_string(), &detail));
        }
        if let (Some(min), Some(max)) = (self.min, self.max) {
            let limit = max.millis() as f64 / min.millis() as f64;
            if ratio.millis() as f64 / 1000.0 > limit {
                let detail = format!("ratio {ratio} is greater than max/min = {limit:.6}");
                causes.push(field::invalid(&path, ratio.to_string(), &detail));
            }
        }
    }
}
