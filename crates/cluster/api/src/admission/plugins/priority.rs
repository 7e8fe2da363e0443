//! Pods get the number of the priority class they name, or of the one that is for all others.

use futures::FutureExt as _;
use serde_json::Value;

use super::{Change, Operation, Plugin, Verdict, name_of, pass, text};
use crate::http::Outcome;
use crate::kinds::SYSTEM_PRIORITIES;

pub(super) const PLUGIN: Plugin = Plugin {
    name: "Priority",
    handles: |change| change.writes("", "pods") || change.is_of(GROUP, CLASSES) && change.part.is_empty(),
    mutate: Some(|change, object| match change.operation {
        _ if !change.is_of("", "pods") => pass(),
        Operation::Create => resolve(change, object).boxed(),
        _ => keep(change, object),
    }),
    validate: Some(|change, class| match change.operation {
        _ if !change.is_of(GROUP, CLASSES) => pass(),
        Operation::Delete => futures::future::ready(may_be_deleted(change)).boxed(),
        _ => one_default(change, class).boxed(),
    }),
};

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";
const PREEMPTS: &str = "PreemptLowerPriority";

/// What a class gives to a pod.
struct Given {
    class: String,
    value: i64,
    policy: String,
}

impl Given {
    fn of(class: &Value) -> Self {
        let policy = class["preemptionPolicy"].as_str().unwrap_or(PREEMPTS).to_owned();
        Self { class: name_of(class).to_owned(), value: class["value"].as_i64().unwrap_or(0), policy }
    }
}

async fn resolve(change: &Change<'_>, pod: &mut Value) -> Outcome<()> {
    let name = text(pod, "/spec/priorityClassName").to_owned();
    let given = if name.is_empty() { default(change).await? } else { named(change, &name).await? };
    if !pod["spec"].is_object() {
        return Ok(());
    }
    const COMPUTED: &str = "must not be provided in pod spec; priority admission controller computed";
    if let Some(own) = pod["spec"]["priority"].as_i64().filter(|own| *own != given.value) {
        let value = given.value;
        return Err(change.forbidden(format!(
            "the integer value of priority ({own}) {COMPUTED} {value} from the given PriorityClass name"
        )));
    }
    let policy = text(pod, "/spec/preemptionPolicy");
    if !policy.is_empty() && policy != given.policy {
        let computed = given.policy;
        return Err(change.forbidden(format!(
            "the string value of PreemptionPolicy ({policy}) {COMPUTED} {computed} from the given PriorityClass name"
        )));
    }
    if !given.class.is_empty() {
        pod["spec"]["priorityClassName"] = given.class.into();
    }
    pod["spec"]["priority"] = given.value.into();
    pod["spec"]["preemptionPolicy"] = given.policy.into();
    Ok(())
}

async fn named(change: &Change<'_>, name: &str) -> Outcome<Given> {
    let class = change.find(GROUP, CLASSES, "", name).await?;
    let class =
        class.ok_or_else(|| change.forbidden(format!("no PriorityClass with name {name} was found")))?;
    Ok(Given::of(&class))
}

/// The lowest of the classes that are for all pods without one; nothing special where there is none.
async fn default(change: &Change<'_>) -> Outcome<Given> {
    let classes = change.all(GROUP, CLASSES, "").await?;
    let defaults = classes.iter().filter(|class| class["globalDefault"] == true);
    let lowest = defaults.min_by_key(|class| class["value"].as_i64());
    Ok(lowest.map_or(Given { class: String::new(), value: 0, policy: PREEMPTS.to_owned() }, Given::of))
}

/// Clients that do not know the fields do not change them.
fn keep<'a>(change: &Change<'_>, pod: &mut Value) -> Verdict<'a> {
    for name in ["priority", "preemptionPolicy"] {
        let before = change.old.and_then(|old| old.get("spec")?.get(name));
        if let Some(before) = before.filter(|_| pod["spec"].get(name).is_none_or(Value::is_null)) {
            pod["spec"][name] = before.clone();
        }
    }
    pass()
}

async fn one_default(change: &Change<'_>, class: &Value) -> Outcome<()> {
    if class["globalDefault"] != true {
        return Ok(());
    }
    let classes = change.all(GROUP, CLASSES, "").await?;
    let other = classes.iter().find(|it| it["globalDefault"] == true && name_of(it) != name_of(class));
    match other.map(name_of) {
        Some(other) => Err(change.forbidden(format!(
            "PriorityClass {other} is already marked as default. Only one default can exist"
        ))),
        None => Ok(()),
    }
}

fn may_be_deleted(change: &Change<'_>) -> Outcome<()> {
    if SYSTEM_PRIORITIES.iter().any(|(system, ..)| *system == change.target.name) {
        return Err(change.forbidden("this is a system priority class and cannot be deleted"));
    }
    Ok(())
}
