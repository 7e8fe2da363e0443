//! What calls of functions cost at most, from the sizes of their arguments.

use super::{
    AUTHORIZATION, Estimate, LONGEST_FORMAT, LONGEST_NAME, NEW_LIST, PATTERN, TRAVERSAL, pair, selector,
};
use crate::overload::Cost;
use crate::{Type, opaque};

/// An argument: its size if that is known, its type, the size of its items, its value if it is a number.
pub(super) struct Part {
    pub size: Option<Estimate>,
    pub ty: Type,
    pub item: Option<Estimate>,
    pub literal: Option<u64>,
}

impl Part {
    fn size(&self) -> Estimate {
        self.size.unwrap_or(Estimate::UNKNOWN)
    }
}

/// The cost of a call without that of its arguments, and how large its result is.
pub(super) struct CallEstimate {
    pub cost: Estimate,
    pub size: Option<Estimate>,
}

impl CallEstimate {
    fn of(cost: Estimate) -> Self {
        Self { cost, size: None }
    }

    fn with_size(cost: Estimate, size: Estimate) -> Self {
        Self { cost, size: Some(size) }
    }
}

const ONE: Estimate = Estimate::fixed(1);
/// Octets of an address.
const ADDRESS: Estimate = Estimate { min: 4, max: 16 };

/// The cost of a function of kind `cost`. A target is what a method is called on.
pub(super) fn estimate(cost: Cost, target: Option<&Part>, args: &[Part]) -> CallEstimate {
    let arg = |index: usize| args.get(index).map_or(Estimate::UNKNOWN, Part::size);
    let on = target.map_or_else(|| arg(0), Part::size);
    match cost {
        Cost::One | Cost::IndexList | Cost::IndexMap | Cost::And | Cost::Conditional => CallEstimate::of(ONE),
        Cost::Check => CallEstimate::of(Estimate::fixed(AUTHORIZATION)),
        Cost::Selector => CallEstimate::of(selector(arg(0))),
        Cost::Affix => CallEstimate::of(arg(0).scaled(TRAVERSAL)),
        Cost::StringToBytes => {
            let size = arg(0);
            let bytes = Estimate { min: size.min, max: size.max.saturating_mul(4) };
            CallEstimate::with_size(size.scaled(TRAVERSAL), bytes)
        }
        Cost::BytesToString => {
            let size = arg(0);
            CallEstimate::with_size(size.scaled(TRAVERSAL), Estimate { min: size.min / 4, max: size.max })
        }
        Cost::Quote => quote(arg(0)),
        Cost::Format | Cost::Parse => CallEstimate::of(on.scaled(TRAVERSAL)),
        Cost::ParseTwice => CallEstimate::of(on.scaled(2.0 * TRAVERSAL)),
        Cost::ParseSameSize | Cost::Traverse => CallEstimate::with_size(on.scaled(TRAVERSAL), on),
        Cost::InList => CallEstimate::of(arg(1)),
        Cost::Compare => CallEstimate::of(compare(args)),
        Cost::Concat => CallEstimate::with_size(arg(0).plus(arg(1)).scaled(TRAVERSAL), arg(0).plus(arg(1))),
        Cost::ConcatList => CallEstimate::with_size(ONE, arg(0).plus(arg(1))),
        Cost::Matches => matches(target, args),
        Cost::Find => {
            let cost = pattern(on, arg(0));
            CallEstimate::with_size(cost, Estimate { min: 0, max: on.max })
        }
        Cost::Contains => CallEstimate::of(on.scaled(TRAVERSAL).times(arg(0).scaled(TRAVERSAL))),
        Cost::Scan => CallEstimate::of(scan(target)),
        Cost::Reverse => new_list(1.0, on),
        Cost::Slice => {
            let (start, end) = (literal(args, 0).unwrap_or(0), literal(args, 1).unwrap_or(on.max));
            new_list(1.0, Estimate::fixed(end.wrapping_sub(start)))
        }
        Cost::Range => new_list(1.0, Estimate::fixed(literal(args, 0).unwrap_or(u64::MAX))),
        Cost::Flatten => {
            let depth = args.first().map_or(1, |depth| depth.literal.unwrap_or(u64::MAX));
            new_list(depth as f64, on)
        }
        Cost::Distinct => new_list(pair(false), on.times(on)),
        Cost::Sort => args.first().or(target).map_or(CallEstimate::of(ONE), sort),
        Cost::Replace => replace(on, arg(0), arg(1)),
        Cost::Split => {
            let max = literal(args, 1).unwrap_or(on.max);
            CallEstimate::with_size(on.scaled(2.0 * TRAVERSAL), Estimate { min: 0, max })
        }
        Cost::Join => join(target, args),
        Cost::ContainsIp { parse } => {
            CallEstimate::of(ADDRESS.plus(ADDRESS).scaled(TRAVERSAL).plus(parsed(parse, arg(0))))
        }
        Cost::ContainsCidr { parse } => {
            let compared = ADDRESS.plus(ADDRESS).scaled(TRAVERSAL).plus(ADDRESS.scaled(TRAVERSAL)).plus(ONE);
            CallEstimate::of(compared.plus(parsed(parse, arg(0))))
        }
        Cost::Validate => CallEstimate::of(arg(0).scaled(TRAVERSAL).scaled(LONGEST_FORMAT as f64 * PATTERN)),
        Cost::Sets(factor) => CallEstimate::of(ONE.plus(arg(0).times(arg(1)).times(Estimate::fixed(factor)))),
    }
}

fn literal(args: &[Part], index: usize) -> Option<u64> {
    args.get(index).and_then(|arg| arg.literal)
}

fn quote(size: Estimate) -> CallEstimate {
    let (min, max) = (size.min.saturating_add(2), size.max.saturating_mul(2).saturating_add(2));
    CallEstimate::with_size(size.scaled(TRAVERSAL), Estimate { min, max })
}

fn sort(compared: &Part) -> CallEstimate {
    let is_text = match &compared.ty {
        Type::List(item) => matches!(**item, Type::String | Type::Bytes | Type::Dyn),
        _ => true,
    };
    let size = compared.size();
    new_list(pair(is_text), size.times(size))
}

/// A list that is made in `factor` steps for each of its items.
fn new_list(factor: f64, size: Estimate) -> CallEstimate {
    CallEstimate::with_size(size.scaled(factor).plus(ONE).plus(Estimate::fixed(NEW_LIST)), size)
}

fn parsed(parse: bool, length: Estimate) -> Estimate {
    if parse { length.scaled(TRAVERSAL) } else { Estimate::default() }
}

fn pattern(text: Estimate, pattern: Estimate) -> Estimate {
    text.plus(ONE).scaled(TRAVERSAL).times(pattern.scaled(PATTERN))
}

fn matches(target: Option<&Part>, args: &[Part]) -> CallEstimate {
    let cost = match (target, args) {
        (Some(text), [expression]) => pattern(text.size(), expression.size()),
        (None, [text, expression]) => pattern(text.size(), expression.size()),
        _ => ONE,
    };
    CallEstimate::of(cost)
}

fn compare(args: &[Part]) -> Estimate {
    let [left, right] = args else { return ONE };
    match (&left.ty, &right.ty) {
        (Type::Opaque(opaque::FORMAT), Type::Opaque(_)) => {
            return Estimate { min: 1, max: LONGEST_NAME }.scaled(TRAVERSAL);
        }
        (Type::Opaque(opaque::URL), Type::Opaque(_)) => {
            let max = right.size.map_or(1, |size| size.max);
            return Estimate { min: 1, max }.scaled(TRAVERSAL);
        }
        (Type::Opaque(_), Type::Opaque(_)) => return ONE,
        _ => {}
    }
    let smaller = left.size().max.min(right.size().max);
    Estimate { min: u64::from(smaller > 0), max: smaller }.scaled(TRAVERSAL)
}

/// Each item once; items that are texts are compared through.
fn scan(target: Option<&Part>) -> Estimate {
    let Some(target) = target else { return ONE };
    match &target.ty {
        Type::List(item) => {
            let mut each = ONE;
            if matches!(**item, Type::String | Type::Bytes) {
                each = each.plus(target.item.unwrap_or(Estimate::UNKNOWN).scaled(TRAVERSAL));
            }
            target.size().times(each)
        }
        Type::String => target.size().scaled(TRAVERSAL),
        _ => target.size(),
    }
}

fn join(target: Option<&Part>, args: &[Part]) -> CallEstimate {
    let Some(target) = target else { return CallEstimate::of(ONE) };
    let count = target.size();
    let mut size = count.times(target.item.unwrap_or(Estimate::UNKNOWN));
    if let Some(separator) = args.first() {
        let between = Estimate { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
        size = size.plus(separator.size().times(between));
    }
    CallEstimate::with_size(size.scaled(TRAVERSAL), size)
}

/// How often, at least and at most, and what of the text stays.
fn replace(text: Estimate, from: Estimate, to: Estimate) -> CallEstimate {
    let (mut count, mut kept) = (Estimate::default(), Estimate::default());
    if from.min == 0 {
        // An empty text is found around every character.
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if to.max <= from.min {
        kept.max = text.max;
    } else {
        count.max = (text.max as f64 / from.min as f64).ceil() as u64;
    }
    if from.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if from.max <= to.min {
        kept.min = text.min;
    } else {
        count.min = (text.min as f64 / from.max as f64).ceil() as u64;
    }
    CallEstimate::with_size(text.scaled(2.0 * TRAVERSAL), count.times(to).plus(kept))
}
