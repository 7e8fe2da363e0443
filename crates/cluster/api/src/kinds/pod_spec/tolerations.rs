//! Tolerations: which taints of nodes a pod bears.

use super::super::place::{Faults, Place};
use hako_kube::{field, names};

/// All faults of tolerations.
pub(super) fn validate(tolerations: &Place<'_>, faults: &mut Faults) {
    for toleration in tolerations.items() {
        if faults.is_full() {
            return;
        }
        let (key, operator) = (toleration.at(&["key"]), toleration.at(&["operator"]));
        let effect = toleration.at(&["effect"]);
        key.check_given(names::qualified_name, faults);
        if key.is_empty() && operator.text() != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            faults.push(operator.invalid_text(detail));
        }
        if toleration.at(&["tolerationSeconds"]).is_set() && effect.text() != "NoExecute" {
            faults.push(effect.invalid_text("effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        value(&toleration, &operator, faults);
        if !effect.is_empty() {
            effect.one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"], faults);
        }
    }
}

/// The original names the operator and shows the value.
fn value(toleration: &Place<'_>, operator: &Place<'_>, faults: &mut Faults) {
    let value = toleration.at(&["value"]).text();
    let complaints = match operator.text() {
        "" | "Equal" => names::label_value(value),
        "Exists" if !value.is_empty() => vec!["value must be empty when `operator` is 'Exists'".to_owned()],
        "Exists" => Vec::new(),
        _ => return faults.push(operator.not_supported(&["Equal", "Exists"])),
    };
    if !complaints.is_empty() {
        faults.push(field::invalid(operator.path(), value, &complaints.join(";")));
    }
}
