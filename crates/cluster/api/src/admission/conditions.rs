//! Match conditions: whether a webhook or policy is asked at all
//! (`apiserver/pkg/admission/plugin/webhook/matchconditions`).

use hako_cel::Value as Cel;
use serde_json::Value;

use super::evaluation::{Activation, CONDITIONS_BUDGET, Expression, OUT_OF_BUDGET};
use crate::kinds::admission_expressions::Names;

/// How conditions come out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    Yes,
    No,
    /// Some fail and none is false.
    Unknown(String),
}

/// Compiles the conditions of a webhook or policy.
pub(super) fn compile(owner: &Value, names: &Names) -> Vec<Expression> {
    let list = owner.get("matchConditions").and_then(Value::as_array);
    let text =
        |condition: &Value| condition.get("expression").and_then(Value::as_str).unwrap_or("").to_owned();
    list.into_iter().flatten().map(|condition| Expression::compile(names, &text(condition))).collect()
}

/// Whether all hold: one that is false decides, whatever others do.
pub(super) fn met<'a>(conditions: &'a [Expression], activation: &Activation<'a>) -> Met {
    let (mut budget, mut faults) = (CONDITIONS_BUDGET, Vec::<String>::new());
    for condition in conditions {
        match activation.evaluate(condition, &mut budget) {
            Err(_) => return Met::Unknown(OUT_OF_BUDGET.to_owned()),
            Ok(Ok(Cel::Bool(false))) => return Met::No,
            Ok(Ok(_)) => {}
            Ok(Err(fault)) if !faults.contains(&fault) => faults.push(fault),
            Ok(Err(_)) => {}
        }
    }
    match faults.as_slice() {
        [] => Met::Yes,
        [fault] => Met::Unknown(fault.clone()),
        faults => Met::Unknown(format!("[{}]", faults.join(", "))),
    }
}
