//! Which fields of its variables an expression names.

use crate::ast::{Expr, Kind, Literal};
use crate::check::{Checked, Name};

/// Each `variable.field`, also in `has(variable.field)` and as `variable.?field`, by the place of the variable.
pub(crate) fn selected(checked: &Checked, expr: &Expr) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    walk(checked, expr, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn walk(checked: &Checked, expr: &Expr, found: &mut Vec<(usize, String)>) {
    let variable = |operand: &Expr| match checked.names[operand.id as usize] {
        Some(Name::Variable(index)) => Some(index),
        _ => None,
    };
    let mut each = |expr: &Expr| walk(checked, expr, found);
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select(select) => {
            each(&select.operand);
            found.extend(variable(&select.operand).map(|index| (index, select.field.clone())));
        }
        Kind::Call(call) => {
            call.target.iter().chain(&call.args).for_each(each);
            if let ("_?._", [operand, field]) = (call.function.as_str(), call.args.as_slice())
                && let Kind::Literal(Literal::String(field)) = &field.kind
            {
                found.extend(variable(operand).map(|index| (index, field.clone())));
            }
        }
        Kind::List(elements) => elements.iter().for_each(|element| each(&element.value)),
        Kind::Map(entries) => entries.iter().for_each(|entry| {
            each(&entry.key);
            each(&entry.value);
        }),
        Kind::Struct(object) => object.fields.iter().for_each(|(_, value, _)| each(value)),
        Kind::Fold(fold) => {
            [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result].into_iter().for_each(each);
        }
        Kind::Bind(bind) => [&bind.init, &bind.result].into_iter().for_each(each),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Declared, Env};

    fn names(source: &str, field: &str) -> bool {
        let env = Env::new().with("other", Declared::dynamic()).with("claims", Declared::dynamic());
        env.compile(source).unwrap().selects(1, field)
    }

    #[test]
    fn fields_of_a_variable_are_found_wherever_they_are_named() {
        for source in [
            "claims.email",
            "claims.email.domain == 'x'",
            "has(claims.email)",
            "claims.?email.orValue('')",
            "[1, claims.email]",
            "{'a': claims.email}",
            "other.list.exists(one, one == claims.email)",
            "other.a ? 'x' : string(claims.email)",
        ] {
            assert!(names(source, "email"), "{source}");
            assert!(!names(source, "mail"), "{source}");
        }
        for source in
            ["claims['email']", "other.email", "other.list.map(claims, claims.email)", "'claims.email'"]
        {
            assert!(!names(source, "email"), "{source}");
        }
    }
}
