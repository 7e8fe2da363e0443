//! `successPolicy`: when an indexed job counts as done before all of its pods are.

use super::super::check;
use super::super::value::{items, number};
use super::indexes;
use hako_kube::field::{self, Faults};
use serde_json::Value;

const RULES_MAX: usize = 20;
const INDEXES_MAX: usize = 64 << 10;

/// All faults of the policy of a job with so many completions.
pub(super) fn validate(policy: &Value, completions: i64, path: &str, causes: &mut Faults) {
    let (rules, path) = (items(policy, &["rules"]), field::child(path, "rules"));
    match rules.len() {
        0 => {
            let detail = "at least one rules must be specified when the successPolicy is specified";
            causes.push(field::required(&path, detail));
        }
        1..=RULES_MAX => {}
        more => causes.push(field::too_many(&path, more, RULES_MAX)),
    }
    for (index, rule) in rules.iter().enumerate() {
        self::rule(rule, completions, &field::index(&path, index), causes);
    }
}

fn rule(rule: &Value, completions: i64, path: &str, causes: &mut Faults) {
    let wanted = number(rule, &["succeededCount"]);
    let listed = rule.get("succeededIndexes").and_then(Value::as_str);
    if wanted.is_none() && listed.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        causes.push(field::required(path, detail));
    }
    let total = listed.map(|text| {
        let path = field::child(path, "succeededIndexes");
        if text.len() > INDEXES_MAX {
            causes.push(field::too_long(&path, INDEXES_MAX));
        }
        indexes::parse(text, completions).map(|list| indexes::count(&list)).unwrap_or_else(|error| {
            let detail = format!("error parsing succeededIndexes: {error}");
            causes.push(field::invalid(&path, text, &detail));
            0
        })
    });
    let Some(wanted) = wanted else { return };
    check::not_negative(rule, &["succeededCount"], path, causes);
    let path = field::child(path, "succeededCount");
    let mut at_most = |max: i64, of: &str| {
        if wanted > max {
            let detail = format!("must be less than or equal to {max} ({of})");
            causes.push(field::invalid(&path, wanted, &detail));
        }
    };
    at_most(completions, "the number of specified completions");
    if let Some(total) = total {
        at_most(total, "the number of indexes in the specified succeededIndexes field");
    }
}
