//! `MutatingAdmissionPolicy`: what it changes, by configurations that are applied and by JSON patches
//! (`apiserver/pkg/admission/plugin/policy/mutating`).

use std::sync::Arc;
use std::time::Instant;

use hako_cel::Value as Cel;
use serde_json::{Map, Value};

use super::{Invocation, Misconfigured, Policy, refusal};
use crate::admission::attributes::Attributes;
use crate::admission::conditions::Met;
use crate::admission::counts::{Enforced, ErrorType};
use crate::admission::evaluation::{Activation, BUDGET, Expression, OUT_OF_BUDGET};
use crate::admission::fit::{self, restore};
use crate::admission::judge::Judge;
use crate::admission::matching::Around;
use crate::admission::plugin::{Change, items, name_of, text};
use crate::admission::registered::Bound;
use crate::admission::reinvocation::Turns;
use crate::http::{Failure, Outcome};
use crate::patch::{self, JsonPatchError};

/// A policy, compiled.
#[derive(Debug)]
pub(in crate::admission) struct Mutating {
    pub policy: Policy,
    mutations: Vec<Mutation>,
    is_reinvoked: bool,
}

#[derive(Debug)]
enum Mutation {
    Apply(Expression),
    Patch(Expression),
}

/// What a mutation is about to do.
enum Step {
    /// The conditions are not met.
    Skip,
    Apply(Value),
    Patch(Value),
    Failed(String, ErrorType),
}

/// Why a mutation was not made.
enum Fault {
    /// That counts as its policy says.
    Policy(String),
    /// That ends the request, whatever the policy says.
    Ours(Failure),
}

/// An invocation, to be known in another round: policy, binding, namespace and name of its parameter.
pub(in crate::admission) type Key = (String, String, String, String);

impl Mutating {
    pub(in crate::admission) fn read(object: &Value) -> Self {
        let (policy, names) = Policy::read(object);
        let names = names.for_mutations();
        let mutation = |it: &Value| match text(it, "/patchType") {
            "JSONPatch" => Mutation::Patch(Expression::compile(&names, text(it, "/jsonPatch/expression"))),
            _ => Mutation::Apply(Expression::compile(&names, text(it, "/applyConfiguration/expression"))),
        };
        Self {
            policy,
            mutations: items(object, "/spec/mutations").iter().map(mutation).collect(),
            is_reinvoked: text(object, "/spec/reinvocationPolicy") == "IfNeeded",
        }
    }
}

impl Mutation {
    fn step<'a>(&'a self, activation: &Activation<'a>) -> Step {
        let (Self::Apply(expression) | Self::Patch(expression)) = self;
        let mut budget = BUDGET;
        let value = match activation.evaluate(expression, &mut budget) {
            Err(_) => return Step::Failed(OUT_OF_BUDGET.to_owned(), ErrorType::OutOfBudget),
            Ok(Err(why)) => {
                let error = ErrorType::of(&why);
                return Step::Failed(why, error);
            }
            Ok(Ok(value)) => value,
        };
        let made = match self {
            Self::Apply(_) => configuration(&value).map(Step::Apply),
            Self::Patch(_) => operations(&value).map(Step::Patch),
        };
        made.unwrap_or_else(|why| Step::Failed(why, ErrorType::Invalid))
    }
}

fn configuration(value: &Cel<'_>) -> Result<Value, String> {
    misnamed(value)?;
    let made = value.to_json().map_err(|error| error.to_string())?;
    if made.is_object() {
        Ok(made)
    } else {
        Err("unsupported return type from ApplyConfiguration expression".to_owned())
    }
}

/// Names of types have to be those of the fields they stand in.
fn misnamed(value: &Cel<'_>) -> Result<(), String> {
    match value.misnamed_objects().as_slice() {
        [] => Ok(()),
        faults => Err(format!("type mismatch: {}", faults.join("\n"))),
    }
}

/// A list of `JSONPatch` as a JSON patch.
fn operations(value: &Cel<'_>) -> Result<Value, String> {
    let Cel::List(list) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let mut all = Vec::new();
    for item in list.iter() {
        if let Some(inner) = item.member("value") {
            misnamed(&inner)?;
        }
        let made = item.to_json().map_err(|error| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
        })?;
        let Value::Object(made) = made else {
            return Err(
                "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned()
            );
        };
        all.push(Value::Object(operation(made)));
    }
    Ok(Value::Array(all))
}

/// An empty `from` is none.
fn operation(mut made: Map<String, Value>) -> Map<String, Value> {
    if made.get("from").is_some_and(|from| from == "") {
        made.shift_remove("from");
    }
    made
}

/// Lets every policy change the object.
pub(in crate::admission) async fn mutate(
    change: &Change<'_>,
    object: &mut Value,
    turns: &mut Turns<Key>,
) -> Outcome<()> {
    let all = change.server.registered.mutating();
    let attributes = Attributes { change, object: Some(object) };
    if all.is_empty() || attributes.is_exempt() || attributes.is_question() {
        return Ok(());
    }
    turns.begin(object);
    let around = Around::of(change);
    let mut refused = Vec::new();
    for bound in all.iter() {
        apply(bound, change, object, &around, turns, &mut refused).await?;
    }
    turns.end(object);
    if refused.is_empty() {
        return Ok(());
    }
    Err(refusal(change, refused.first().map(String::as_str), "Invalid", 403, &refused))
}

async fn apply(
    bound: &Bound<Mutating>,
    change: &Change<'_>,
    object: &mut Value,
    around: &Around<'_>,
    turns: &mut Turns<Key>,
    refused: &mut Vec<String>,
) -> Outcome<()> {
    let policy = &bound.policy.policy;
    let attributes = Attributes { change, object: Some(object) };
    let Some(matched) = policy.matched(&attributes, around).await? else { return Ok(()) };
    let (invocations, faults) = policy.invocations(&attributes, around, &matched, &bound.bindings).await;
    for fault in faults.iter().filter(|_| !policy.is_lenient) {
        let by = match fault.binding {
            Some(binding) => denied_by(&policy.name, &binding.name),
            None => format!("policy {:?} denied request", policy.name),
        };
        refused.push(format!("{by}: {}", fault.shown()));
    }
    if invocations.is_empty() {
        return Ok(());
    }
    // Read before the object changes: it does not change where it is.
    around.namespace(&attributes).await?;
    for invocation in &invocations {
        invoke(&bound.policy, invocation, change, object, around, turns, refused).await?;
    }
    Ok(())
}

fn denied_by(policy: &str, binding: &str) -> String {
    format!("policy '{policy}' with binding '{binding}' denied request")
}

async fn invoke(
    mutating: &Mutating,
    invocation: &Invocation<'_>,
    change: &Change<'_>,
    object: &mut Value,
    around: &Around<'_>,
    turns: &mut Turns<Key>,
    refused: &mut Vec<String>,
) -> Outcome<()> {
    let (policy, binding) = (&mutating.policy, invocation.binding);
    let param = invocation.param.as_ref();
    let in_namespace = param.map_or("", |param| crate::resource::head_value(param, "namespace"));
    let key: Key = (
        policy.name.clone(),
        binding.name.clone(),
        in_namespace.to_owned(),
        param.map_or("", name_of).to_owned(),
    );
    if !turns.is_due(&key) {
        return Ok(());
    }
    let before = object.clone();
    for (index, mutation) in mutating.mutations.iter().enumerate() {
        let began = Instant::now();
        let count = |error: ErrorType| {
            let names = (policy.name.as_str(), binding.name.as_str());
            change.server.admission_counts.policy(names, error, Enforced::Mutation, began.elapsed());
        };
        let step = step(mutating, mutation, index == 0, invocation, change, object, around).await?;
        let outcome = match step {
            Step::Skip => return Ok(()),
            Step::Failed(why, error) => Err((why, error)),
            step => match take(invocation, change, object, step).await {
                Err(Fault::Ours(failure)) => {
                    count(ErrorType::Invalid);
                    return Err(failure);
                }
                Err(Fault::Policy(why)) => Err((why, ErrorType::Invalid)),
                Ok(()) => Ok(()),
            },
        };
        count(outcome.as_ref().map_or_else(|(_, error)| *error, |()| ErrorType::None));
        match outcome {
            Err((why, _)) if !policy.is_lenient => {
                refused.push(format!("{}: {why}", denied_by(&policy.name, &binding.name)));
            }
            _ => {}
        }
    }
    restore(change, &before, object);
    turns.invoked(key, before != *object, mutating.is_reinvoked);
    Ok(())
}

/// What a mutation says of the object as it is now. The conditions count once, before the first.
async fn step(
    mutating: &Mutating,
    mutation: &Mutation,
    is_first: bool,
    invocation: &Invocation<'_>,
    change: &Change<'_>,
    object: &Value,
    around: &Around<'_>,
) -> Outcome<Step> {
    let attributes = Attributes { change, object: Some(object) };
    let namespace = around.namespace(&attributes).await?;
    let versioned = match attributes.versioned(invocation.matched).await {
        Ok(versioned) => versioned,
        Err(failure) => {
            let fault = Misconfigured::converted(invocation, &failure);
            return Ok(Step::Failed(fault.shown(), ErrorType::Invalid));
        }
    };
    let request = Value::Object(versioned.request());
    let judge = Arc::new(Judge::default());
    loop {
        let step = {
            let activation = Activation::new(&versioned, &request, &judge);
            let param = invocation.param.as_ref();
            let activation = activation.with(namespace, param, &mutating.policy.variables);
            let met = if is_first { mutating.policy.met(&activation) } else { Met::Yes };
            match met {
                Met::Yes => mutation.step(&activation),
                Met::No => Step::Skip,
                Met::Unknown(why) => Step::Failed(why, ErrorType::Invalid),
            }
        };
        if !judge.is_open() {
            return Ok(step);
        }
        drop(step);
        judge.settle(change).await;
    }
}

/// Does to the object what a mutation says.
async fn take(
    invocation: &Invocation<'_>,
    change: &Change<'_>,
    object: &mut Value,
    step: Step,
) -> Result<(), Fault> {
    let attributes = Attributes { change, object: Some(object) };
    let versioned = attributes.versioned(invocation.matched).await.map_err(Fault::Ours)?;
    let made = match step {
        Step::Apply(configuration) => {
            let made = fit::overlay(&versioned, &configuration);
            made.map_err(|why| Fault::Policy(format!("error applying patch: {why}")))?
        }
        Step::Patch(patch) => match patch::json(versioned.object(), &patch) {
            Ok(made) => {
                fit::same_kind(versioned.object(), &made).map_err(Fault::Ours)?;
                fit::decoded(change, invocation.matched, made).map_err(Fault::Ours)?
            }
            // A test that finds another value means that there is nothing to do.
            Err(JsonPatchError::Untrue { .. }) => return Ok(()),
            Err(error) => return Err(Fault::Policy(format!("JSON Patch: {}", error.why()))),
        },
        Step::Skip | Step::Failed(..) => return Ok(()),
    };
    let made = invocation.matched.back(change, made).await.map_err(Fault::Ours)?;
    let unfit = |failure: Failure| Fault::Policy(failure.status().message.clone());
    *object = fit::admitted(change, made).map_err(unfit)?;
    Ok(())
}
