//! What functions are: their overloads with types, costs and code, in tables.

use crate::{EvalError, Type, Value, functions, types};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The code of an overload; arguments are of its types.
pub(crate) type Apply = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// A line of a library's table: id, name (with a dot before it when it is called on a value), types of the
/// parameters, type of the result, cost and code.
pub(crate) struct Row(
    pub &'static str,
    pub &'static str,
    pub &'static str,
    pub &'static str,
    pub Cost,
    pub Apply,
);

/// How the cost of a call is reckoned, before (`cost/estimate.rs`) and while it runs (`cost/actual.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    One,
    /// A check of the authorizer: two of them fill the budget of an expression.
    Check,
    Selector,
    /// `startsWith` and `endsWith`: what they look for.
    Affix,
    StringToBytes,
    BytesToString,
    Quote,
    Format,
    InList,
    /// The smaller of the two values.
    Compare,
    Concat,
    ConcatList,
    Matches,
    Contains,
    /// Each item once.
    Scan,
    /// A list of as many items as the result has.
    Reverse,
    Slice,
    Range,
    Flatten,
    /// Each item with each other one.
    Distinct,
    /// The same, of the list it is called on or of the argument; texts are looked through.
    Sort,
    /// The argument once, and the result is as long.
    ParseSameSize,
    /// The argument once.
    Parse,
    /// The argument twice.
    ParseTwice,
    /// The string it is called on once, and the result is as long.
    Traverse,
    Replace,
    Split,
    Join,
    Find,
    ContainsIp {
        parse: bool,
    },
    ContainsCidr {
        parse: bool,
    },
    Validate,
    IndexList,
    IndexMap,
    /// Each item of one list with each of the other, so many times.
    Sets(u64),
    And,
    Conditional,
}

/// One form of a function.
pub(crate) struct Overload {
    pub id: &'static str,
    pub function: &'static str,
    pub member: bool,
    pub params: Vec<Type>,
    pub result: Type,
    pub cost: Cost,
    pub apply: Apply,
}

impl std::fmt::Debug for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

impl Overload {
    fn from_row(row: &Row) -> Self {
        let Row(id, name, params, result, cost, apply) = *row;
        let member = name.starts_with('.');
        Self {
            id,
            function: name.strip_prefix('.').unwrap_or(name),
            member,
            params: params.split_whitespace().map(types::parse).collect(),
            result: types::parse(result),
            cost,
            apply,
        }
    }

    pub(crate) fn takes(&self, args: &[Value<'_>]) -> bool {
        self.params.len() == args.len() && self.params.iter().zip(args).all(|(param, arg)| arg.is_of(param))
    }
}

/// All functions that every expression has, by name: the language's own and those of Kubernetes' base environment.
pub(crate) static LIBRARY: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut library: HashMap<_, Vec<Overload>> = HashMap::new();
    for row in functions::TABLES.iter().copied().flatten() {
        let overload = Overload::from_row(row);
        library.entry(overload.function).or_default().push(overload);
    }
    library
});
