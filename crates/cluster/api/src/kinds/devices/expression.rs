//! The expressions that choose devices (KEP-4381, "CEL expressions"; `dynamic-resource-allocation/cel`).

use super::super::place::{Faults, Place};
use hako_cel::{Declared, Env, Type};
use hako_kube::field;
use std::sync::LazyLock;

const EXPRESSION_MAX: usize = 10 << 10;
/// In the units of the language's estimate.
const COST_MAX: u64 = 1_000_000;
const DRIVER_MAX: u64 = 63;
/// Domains, and names in one of them.
const FACTS_MAX: u64 = 32;
/// Of an attribute that is a text.
const TEXT_MAX: u64 = 64;
const QUANTITY: Type = Type::Opaque("kubernetes.Quantity");

static ENV: LazyLock<Env> = LazyLock::new(|| Env::new().with_bind().with("device", device()));

fn device() -> Declared {
    let by_domain = |value: Declared| Declared::map(Declared::map(value, Some(FACTS_MAX)), Some(FACTS_MAX));
    let fields = [
        ("driver", Declared::string(Some(DRIVER_MAX))),
        // Numbers, texts, versions and flags.
        ("attributes", by_domain(Declared::int_or_string(Some(TEXT_MAX)))),
        ("capacity", by_domain(Declared::of(QUANTITY))),
        ("allowMultipleAllocations", Declared::bool()),
    ];
    Declared::object("kubernetes.DRADevice", fields.map(|(name, declared)| (name.to_owned(), declared, true)))
}

/// All faults of an expression.
pub(super) fn validate(expression: &Place<'_>, faults: &mut Faults) {
    if expression.text().len() > EXPRESSION_MAX {
        faults.push(field::too_long(expression.path(), EXPRESSION_MAX));
        return;
    }
    let program = match ENV.compile(expression.text()) {
        Ok(program) => program,
        Err(error) => {
            faults.push(expression.invalid_text(&format!("compilation failed: {error}")));
            return;
        }
    };
    if !matches!(program.ty(), Type::Bool | Type::Dyn) {
        let detail = format!("must evaluate to bool or the unknown type, not {}", program.ty());
        faults.push(expression.invalid_text(&detail));
    } else if program.estimate().max > COST_MAX {
        faults.push(expression.forbidden("too complex, exceeds cost limit"));
    }
}
