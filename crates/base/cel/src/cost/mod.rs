//! What an expression costs: reckoned before it runs, counted while it runs.
//!
//! One unit is about 50 ns of an old server. The formulas are those of cel-go (`checker/cost.go`,
//! `interpreter/runtimecost.go`) and of Kubernetes (`apiserver/pkg/cel/library/cost.go`): which rules a custom
//! resource may have depends on them, so a rule is accepted here exactly if it is there.

mod actual;
mod estimate;
mod functions;

pub(crate) use actual::{actual, pattern};
pub(crate) use estimate::estimate;

pub(crate) const SELECT_OR_NAME: u64 = 1;
pub(crate) const NEW_LIST: u64 = 10;
pub(crate) const NEW_MAP: u64 = 30;
pub(crate) const NEW_OBJECT: u64 = 40;
/// For each character that is looked at.
const TRAVERSAL: f64 = 0.1;
/// For each character of a regular expression: about four of them make a state.
const PATTERN: f64 = 0.25;
/// Two of these fill the budget of an expression.
const AUTHORIZATION: u64 = 350_000;
/// Characters of the longest pattern behind a named format.
const LONGEST_FORMAT: u64 = 128;
/// Characters of the longest name of a format.
const LONGEST_NAME: u64 = 64;
/// A requirement of a selector takes two characters at least, and a list and an object.
const SELECTOR_REQUIREMENT: f64 = 0.5;

/// Units at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    pub min: u64,
    pub max: u64,
}

impl Estimate {
    pub(crate) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    pub(crate) const fn fixed(value: u64) -> Self {
        Self { min: value, max: value }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// `value` times `factor`, rounded up; floats saturate when they become integers.
fn scale(value: u64, factor: f64) -> u64 {
    (value as f64 * factor).ceil() as u64
}

/// What comparing two items costs, of which each may be looked through if they are texts.
fn pair(is_text: bool) -> f64 {
    if is_text { 2.0 + TRAVERSAL } else { 2.0 }
}

/// What reading a selector of `length` characters costs.
fn selector(length: Estimate) -> Estimate {
    let requirements = length.scaled(SELECTOR_REQUIREMENT).scaled((NEW_LIST + NEW_OBJECT) as f64);
    Estimate::fixed(NEW_LIST).plus(length.scaled(TRAVERSAL)).plus(requirements)
}
