//! A compiled expression.

use crate::eval::{Evaluation, Variables};
use crate::plan::Op;
use crate::{CompileError, Env, Estimate, EvalError, Type, Value, check, cost, parse, plan, selected, work};

/// An expression that may be evaluated any number of times, by any number of threads.
#[derive(Debug)]
pub struct Program {
    op: Op,
    ty: Type,
    estimate: Estimate,
    uses: Vec<bool>,
    selected: Vec<(usize, String)>,
}

/// The outcome of an evaluation, and what it cost.
#[derive(Debug)]
pub struct Evaluated<'a> {
    pub result: Result<Value<'a>, EvalError>,
    pub cost: u64,
}

impl Program {
    pub(crate) fn compile(env: &Env, source: &str) -> Result<Self, CompileError> {
        let characters: Vec<char> = source.chars().collect();
        let (mut expr, nodes) = parse::parse(&characters, env.has_bind())
            .map_err(|issue| CompileError::new(&characters, &[issue]))?;
        let checked =
            check::check(env, &mut expr, nodes).map_err(|issues| CompileError::new(&characters, &issues))?;
        let mut uses = Vec::new();
        for name in checked.names.iter().flatten() {
            if let check::Name::Variable(index) = name {
                uses.resize(uses.len().max(index + 1), false);
                uses[*index] = true;
            }
        }
        Ok(Self {
            op: plan::plan(&checked, &expr),
            ty: checked.types[expr.id as usize].clone(),
            estimate: cost::estimate(env, &checked, &expr),
            uses,
            selected: selected::selected(&checked, &expr),
        })
    }

    /// The type of the result.
    #[must_use]
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// What an evaluation costs, from the sizes that variables are declared with.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// Whether the expression reads variable `index` of its environment.
    #[must_use]
    pub fn uses(&self, index: usize) -> bool {
        self.uses.get(index).copied().unwrap_or(false)
    }

    /// Whether the expression names `field` of variable `index` of its environment, were it only to ask for its presence.
    #[must_use]
    pub fn selects(&self, index: usize, field: &str) -> bool {
        self.selected.iter().any(|(of, name)| *of == index && name == field)
    }

    /// Evaluates with `variables`, giving up when it costs more than `limit`.
    pub fn evaluate<'a, V: Variables<'a> + ?Sized>(&'a self, variables: &V, limit: u64) -> Evaluated<'a> {
        let mut evaluation = Evaluation::new(variables, limit);
        let (result, besides) = work::limited(|| evaluation.run(&self.op));
        Evaluated { result, cost: evaluation.cost.saturating_add(besides) }
    }
}
