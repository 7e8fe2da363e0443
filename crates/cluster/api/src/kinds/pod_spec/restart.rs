//! When a container starts again, where it says so itself.

use super::super::place::{Faults, Place};
use hako_kube::field;

const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;

/// All faults of what a container says about its restarts.
pub(super) fn validate(container: &Place<'_>, faults: &mut Faults) {
    let policy = container.at(&["restartPolicy"]);
    policy.one_of_given(&["Always", "Never", "OnFailure"], faults);
    let rules = container.at(&["restartPolicyRules"]);
    let list = Vec::from_iter(rules.items());
    if list.is_empty() {
        return;
    }
    if !policy.is_set() {
        faults.push(policy.required("must specify restartPolicy when restart rules are used"));
    }
    if list.len() > RULES_MAX {
        faults.push(field::too_many(rules.path(), list.len(), RULES_MAX));
    }
    for rule in list {
        rule.at(&["action"]).one_of(&["Restart", "RestartAllContainers"], faults);
        let codes = rule.at(&["exitCodes"]);
        if codes.is_set() {
            exit_codes(&codes, faults);
        } else {
            faults.push(codes.required("must be specified"));
        }
    }
}

fn exit_codes(codes: &Place<'_>, faults: &mut Faults) {
    codes.at(&["operator"]).one_of(&["In", "NotIn"], faults);
    let values = codes.at(&["values"]);
    match values.items().len() {
        0 => faults.push(values.required("must specify at least one value")),
        1..=CODES_MAX => {}
        more => faults.push(field::too_many(values.path(), more, CODES_MAX)),
    }
}
