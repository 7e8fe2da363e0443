//! Limit ranges of a namespace: what containers get that ask for nothing, and what nobody may ask for.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use hako_kube::quota::pod_amounts;
use hako_names::Quantity;
use serde_json::{Map, Value};

use super::super::amounts::{Amounts, amounts};
use super::{Change, Plugin, items, text};
use crate::http::Outcome;

pub(super) const PLUGIN: Plugin = Plugin {
    name: "LimitRanger",
    // What containers ask for changes through `resize` alone.
    handles: |change| {
        change.creates("", "pods")
            || change.is_of("", "pods") && change.part == "resize"
            || change.writes("", CLAIMS)
    },
    mutate: Some(|change, object| fill(change, object).boxed()),
    validate: Some(|change, object| check(change, object).boxed()),
};

const CLAIMS: &str = "persistentvolumeclaims";
const NOTE: &str = "kubernetes.io/limit-ranger";

async fn ranges(change: &Change<'_>) -> Outcome<Vec<Value>> {
    change.all("", "limitranges", change.namespace()).await
}

async fn fill(change: &Change<'_>, pod: &mut Value) -> Outcome<()> {
    if !change.is_of("", "pods") || is_ending(change) {
        return Ok(());
    }
    let mut said = Vec::new();
    for range in ranges(change).await? {
        for item in items(&range, "/spec/limits").iter().filter(|item| item["type"] == "Container") {
            for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
                for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
                {
                    said.extend(fill_container(container, what, item));
                }
            }
        }
    }
    if !said.is_empty() {
        pod["metadata"]["annotations"][NOTE] = format!("LimitRanger plugin set: {}", said.join("; ")).into();
    }
    Ok(())
}

/// Fills in what a container does not ask for itself; says what that was.
fn fill_container(container: &mut Value, what: &str, item: &Value) -> Vec<String> {
    let name = text(container, "/name").to_owned();
    let mut said = Vec::new();
    for (kind, from, word) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
        let Some(defaults) = item[from].as_object().filter(|map| !map.is_empty()) else { continue };
        let set = fill_kind(container, kind, defaults);
        if !set.is_empty() {
            let set = set.into_iter().collect::<Vec<_>>().join(", ");
            said.push(format!("{set} {word} for {what} {name}"));
        }
    }
    said
}

fn fill_kind(container: &mut Value, kind: &str, defaults: &Map<String, Value>) -> BTreeSet<String> {
    let own = &mut container["resources"][kind];
    if own.is_null() {
        *own = Value::Object(Map::new());
    }
    let Some(own) = own.as_object_mut() else { return BTreeSet::new() };
    let missing: Vec<_> = defaults.iter().filter(|(name, _)| !own.contains_key(*name)).collect();
    let set = missing.iter().map(|(name, _)| (*name).clone()).collect();
    own.extend(missing.into_iter().map(|(name, amount)| (name.clone(), amount.clone())));
    set
}

/// What is on its way out is let go however large it is.
fn is_ending(change: &Change<'_>) -> bool {
    change.old.is_some_and(|old| !text(old, "/metadata/deletionTimestamp").is_empty())
}

async fn check(change: &Change<'_>, object: &Value) -> Outcome<()> {
    if is_ending(change) {
        return Ok(());
    }
    for range in ranges(change).await? {
        let faults: Vec<String> =
            items(&range, "/spec/limits").iter().flat_map(|item| item_faults(change, object, item)).collect();
        match faults.as_slice() {
            [] => {}
            [one] => return Err(change.forbidden(one)),
            many => return Err(change.forbidden(format!("[{}]", many.join(", ")))),
        }
    }
    Ok(())
}

fn item_faults(change: &Change<'_>, object: &Value, item: &Value) -> Vec<String> {
    let of = text(item, "/type");
    let bounds = Bounds::of(item, of);
    match (of, change.is_of("", "pods")) {
        ("Container", true) => {
            let lists = ["/spec/containers", "/spec/initContainers"];
            let containers = lists.iter().flat_map(|list| items(object, list));
            containers
                .flat_map(|container| {
                    let resources = &container["resources"];
                    bounds.faults(&amounts(&resources["requests"]), &amounts(&resources["limits"]))
                })
                .collect()
        }
        ("Pod", true) => bounds.faults(&pod_amounts(object, "requests"), &pod_amounts(object, "limits")),
        ("PersistentVolumeClaim", false) => {
            bounds.request_faults(&amounts(&object["spec"]["resources"]["requests"]))
        }
        _ => Vec::new(),
    }
}

/// The bounds of one item of a limit range.
struct Bounds<'a> {
    of: &'a str,
    min: Amounts,
    max: Amounts,
    ratio: BTreeMap<String, Quantity>,
}

impl<'a> Bounds<'a> {
    fn of(item: &Value, of: &'a str) -> Self {
        let ratio = amounts(&item["maxLimitRequestRatio"]);
        Self { of, min: amounts(&item["min"]), max: amounts(&item["max"]), ratio }
    }

    fn faults(&self, requests: &Amounts, limits: &Amounts) -> Vec<String> {
        let mut faults = self.min_faults(requests, limits);
        for (name, max) in &self.max {
            let head = format!("maximum {name} usage per {} is {max}", self.of);
            match (requests.get(name), limits.get(name)) {
                (_, None) => faults.push(format!("{head}.  No limit is specified")),
                (_, Some(limit)) if limit > max => faults.push(format!("{head}, but limit is {limit}")),
                (Some(request), _) if request > max => {
                    faults.push(format!("{head}, but request is {request}"))
                }
                _ => {}
            }
        }
        for (name, ratio) in &self.ratio {
            faults.extend(self.ratio_fault(name, *ratio, requests.get(name), limits.get(name)));
        }
        faults
    }

    /// For claims, which have no limits.
    fn request_faults(&self, requests: &Amounts) -> Vec<String> {
        let mut faults = self.min_faults(requests, &Amounts::new());
        for (name, max) in &self.max {
            let head = format!("maximum {name} usage per {} is {max}", self.of);
            match requests.get(name) {
                None => faults.push(format!("{head}.  No request is specified")),
                Some(request) if request > max => faults.push(format!("{head}, but request is {request}")),
                Some(_) => {}
            }
        }
        faults
    }

    fn min_faults(&self, requests: &Amounts, limits: &Amounts) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, min) in &self.min {
            let head = format!("minimum {name} usage per {} is {min}", self.of);
            match (requests.get(name), limits.get(name)) {
                (None, _) => faults.push(format!("{head}.  No request is specified")),
                (Some(request), _) if request < min => {
                    faults.push(format!("{head}, but request is {request}"))
                }
                (_, Some(limit)) if limit < min => faults.push(format!("{head}, but limit is {limit}")),
                _ => {}
            }
        }
        faults
    }

    fn ratio_fault(
        &self,
        name: &str,
        ratio: Quantity,
        request: Option<&Quantity>,
        limit: Option<&Quantity>,
    ) -> Option<String> {
        let head = format!("{name} max limit to request ratio per {} is {ratio}", self.of);
        let given = |amount: Option<&Quantity>| amount.filter(|amount| !amount.is_zero()).copied();
        let Some(request) = given(request) else {
            return Some(format!("{head}, but no request is specified or request is 0"));
        };
        let Some(limit) = given(limit) else {
            return Some(format!("{head}, but no limit is specified or limit is 0"));
        };
        // limit / request > ratio, in whole thousandths.
        let is_over =
            i128::from(limit.millis()) * 1000 > i128::from(request.millis()) * i128::from(ratio.millis());
        #[expect(clippy::cast_precision_loss, reason = "shown to people")]
        let shown = limit.millis() as f64 / request.millis() as f64;
        is_over.then(|| format!("{head}, but provided ratio is {shown:.6}"))
    }
}
