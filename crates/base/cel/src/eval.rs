//! Runs a plan, counting what it costs.
//!
//! INVARIANT: every step of a loop costs at least one unit, so the limit ends every evaluation.

use crate::cost::{self, NEW_LIST, NEW_MAP, NEW_OBJECT, SELECT_OR_NAME};
use crate::overload::Overload;
use crate::plan::{FoldOp, Op};
use crate::value::{Key, List, Map, Text};
use crate::{EvalError, Value, work};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where an evaluation reads its variables, by their place in the environment.
pub trait Variables<'a> {
    /// The value of variable `index`, which may be made only now.
    ///
    /// # Errors
    /// When it has none; the expression fails with that.
    fn get(&self, index: usize) -> Result<Value<'a>, EvalError>;
}

impl<'a> Variables<'a> for [Value<'a>] {
    fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
        <[Value<'a>]>::get(self, index).cloned().ok_or_else(|| EvalError::NoSuchAttribute(index.to_string()))
    }
}

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub(crate) struct Evaluation<'v, 'a, V: Variables<'a> + ?Sized> {
    variables: &'v V,
    locals: Vec<Value<'a>>,
    pub cost: u64,
    limit: u64,
}

impl<'v, 'a, V: Variables<'a> + ?Sized> Evaluation<'v, 'a, V> {
    pub(crate) fn new(variables: &'v V, limit: u64) -> Self {
        Self { variables, locals: Vec::new(), cost: 0, limit }
    }

    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::CostExceeded) } else { Ok(()) }
    }

    pub(crate) fn run(&mut self, op: &'a Op) -> Outcome<'a> {
        match op {
            Op::Constant(value) => Ok(value.clone()),
            Op::ConstantList(value) => {
                self.charge(NEW_LIST)?;
                Ok(value.clone())
            }
            Op::Variable(index) => {
                self.charge(SELECT_OR_NAME)?;
                self.variables.get(*index)?.checked()
            }
            Op::Local(slot) => {
                self.charge(SELECT_OR_NAME)?;
                self.locals[*slot].clone().checked()
            }
            Op::Field { operand, name } => {
                let operand = self.run(operand)?;
                self.charge(SELECT_OR_NAME)?;
                field(&operand, name)
            }
            Op::Has { operand, name } => Ok(Value::Bool(present(&self.run(operand)?, name)?)),
            Op::OptionalField { operand, name } => {
                let operand = self.run(operand)?;
                self.charge(SELECT_OR_NAME)?;
                optional_field(&operand, name)
            }
            Op::Index { operand, index, optional } => {
                let (operand, index) = (self.run(operand)?, self.run(index)?);
                self.charge(SELECT_OR_NAME)?;
                index_of(&operand, &index, *optional)
            }
            Op::And(parts) => self.logical(parts, false),
            Op::Or(parts) => self.logical(parts, true),
            Op::Conditional(parts) => match self.run(&parts[0])? {
                Value::Bool(true) => self.run(&parts[1]),
                Value::Bool(false) => self.run(&parts[2]),
                _ => Err(EvalError::NoSuchOverload),
            },
            Op::NotStrictlyFalse(inner) => self.not_strictly_false(inner),
            Op::Matches { text, regex, length } => self.matches(text, regex, *length),
            Op::Call { overloads, args } => self.call(overloads, args),
            Op::List(items) => {
                let items = self.items(items)?;
                self.charge(NEW_LIST)?;
                Ok(Value::list(items))
            }
            Op::Map(entries) => self.map(entries),
            Op::Struct { name, fields } => self.structure(name, fields),
            Op::Fold(fold) => self.fold(fold),
            Op::Bind { init, result } => self.bind(init, result),
            Op::Append { slot, items } => self.append(*slot, items),
            Op::Insert { slot, args } => self.insert(*slot, args),
        }
    }

    fn matches(&mut self, text: &'a Op, regex: &regex::Regex, length: u64) -> Outcome<'a> {
        let text = self.run(text)?;
        let Value::String(text) = &text else { return Err(EvalError::NoSuchOverload) };
        self.charge(cost::pattern(crate::value::characters(text) as u64, length))?;
        Ok(Value::Bool(regex.is_match(text)))
    }

    fn bind(&mut self, init: &'a Op, result: &'a Op) -> Outcome<'a> {
        let value = self.run(init)?;
        self.charge(NEW_LIST)?;
        self.locals.push(value);
        let result = self.run(result);
        self.locals.pop();
        result
    }

    /// `&&` and `||`: the side that decides hides an error of the other (langdef.md, "Logical Operators").
    fn logical(&mut self, parts: &'a [Op; 2], decisive: bool) -> Outcome<'a> {
        let left = self.run(&parts[0]);
        match &left {
            Ok(Value::Bool(value)) if *value == decisive => return left,
            Err(error) if error.is_final() => return left,
            _ => {}
        }
        let right = self.run(&parts[1]);
        match (&left, &right) {
            (_, Ok(Value::Bool(value))) if *value == decisive => right,
            (_, Err(error)) if error.is_final() => right,
            (Err(_), _) => left,
            (_, Err(_)) => right,
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decisive)),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn not_strictly_false(&mut self, inner: &'a Op) -> Outcome<'a> {
        let value = self.run(inner);
        self.charge(1)?;
        match value {
            Err(error) if error.is_final() => Err(error),
            Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
            _ => Ok(Value::Bool(true)),
        }
    }

    fn call(&mut self, overloads: &[&'static Overload], args: &'a [Op]) -> Outcome<'a> {
        match args {
            [one] => {
                let one = self.run(one)?;
                self.applied(overloads, &[one])
            }
            [one, other] => {
                let values = [self.run(one)?, self.run(other)?];
                self.applied(overloads, &values)
            }
            args => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.run(arg)?);
                }
                self.applied(overloads, &values)
            }
        }
    }

    fn applied(&mut self, overloads: &[&'static Overload], values: &[Value<'a>]) -> Outcome<'a> {
        let overload = overloads.iter().find(|overload| overload.takes(values));
        let overload = overload.ok_or(EvalError::NoSuchOverload)?;
        let result = (overload.apply)(values);
        match &result {
            Ok(value) => {
                work::take(value.weight());
                self.charge(cost::actual(overload, values, value))?;
            }
            Err(_) => self.charge(1)?,
        }
        if work::is_spent() { Err(EvalError::CostExceeded) } else { result }
    }

    fn items(&mut self, items: &'a [(Op, bool)]) -> Result<Vec<Value<'a>>, EvalError> {
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items {
            let value = self.run(item)?;
            if *optional {
                values.extend(unwrapped(value)?);
            } else {
                values.push(value);
            }
        }
        Ok(values)
    }

    fn map(&mut self, entries: &'a [(Op, Op, bool)]) -> Outcome<'a> {
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.run(key)?;
            let key = Key::of(&key).ok_or(EvalError::NoSuchOverload)?;
            let value = self.run(value)?;
            let value = if *optional { unwrapped(value)? } else { Some(value) };
            if let Some(value) = value
                && map.insert(key.clone(), value).is_some()
            {
                return Err(EvalError::data(format!("Failed with repeated key: {}", shown(&key))));
            }
        }
        self.charge(NEW_MAP)?;
        Ok(Value::Map(Map::Shared(Arc::new(map))))
    }

    fn structure(&mut self, name: &Arc<str>, fields: &'a [(String, Op, bool)]) -> Outcome<'a> {
        let mut made = BTreeMap::new();
        for (field, value, optional) in fields {
            let value = self.run(value)?;
            let value = if *optional { unwrapped(value)? } else { Some(value) };
            if let Some(value) = value {
                made.insert(Key::String(Text::Borrowed(field)), value);
            }
        }
        self.charge(NEW_OBJECT)?;
        Ok(Value::Map(Map::Made(name.clone(), Arc::new(made))))
    }

    fn fold(&mut self, fold: &'a FoldOp) -> Outcome<'a> {
        let range = self.run(&fold.range)?;
        let accumulator = self.run(&fold.init)?;
        let slot = self.locals.len();
        self.locals.push(accumulator);
        let looped = self.each(&range, fold, slot);
        self.locals.truncate(slot + 1);
        let result = looped.and_then(|()| self.run(&fold.result));
        self.locals.truncate(slot);
        result
    }

    fn each(&mut self, range: &Value<'a>, fold: &'a FoldOp, slot: usize) -> Result<(), EvalError> {
        match range {
            Value::List(list) => {
                for (index, item) in list.iter().enumerate() {
                    let (first, second) =
                        if fold.two { (Value::Int(index as i64), Some(item)) } else { (item, None) };
                    if !self.step(first, second, fold, slot)? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                for (key, value) in map.entries() {
                    if !self.step(key.value(), fold.two.then_some(value), fold, slot)? {
                        break;
                    }
                }
                Ok(())
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    /// One turn of a loop; whether another follows.
    fn step(
        &mut self,
        first: Value<'a>,
        second: Option<Value<'a>>,
        fold: &'a FoldOp,
        slot: usize,
    ) -> Result<bool, EvalError> {
        self.locals.truncate(slot + 1);
        self.locals.push(first);
        self.locals.extend(second);
        if !matches!(self.run(&fold.condition)?, Value::Bool(true)) {
            return Ok(false);
        }
        // An error of one turn of `all` or `exists` may be hidden by another turn.
        self.locals[slot] = match self.run(&fold.step) {
            Ok(value) => value,
            Err(error) if error.is_final() => return Err(error),
            Err(error) => Value::Fault(Arc::new(error)),
        };
        Ok(true)
    }

    fn append(&mut self, slot: usize, items: &'a [(Op, bool)]) -> Outcome<'a> {
        let items = self.items(items)?;
        self.charge(SELECT_OR_NAME + NEW_LIST + 1)?;
        match std::mem::replace(&mut self.locals[slot], Value::Null).checked()? {
            Value::List(List::Shared(mut list)) => {
                Arc::make_mut(&mut list).extend(items);
                Ok(Value::List(List::Shared(list)))
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn insert(&mut self, slot: usize, args: &'a [Op]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.run(arg)?);
        }
        self.charge(SELECT_OR_NAME + 1)?;
        let entries = match values.as_slice() {
            [Value::Map(map)] => map.entries(),
            [key, value] => vec![(Key::of(key).ok_or(EvalError::NoSuchOverload)?, value.clone())],
            _ => return Err(EvalError::NoSuchOverload),
        };
        let Value::Map(Map::Shared(mut map)) =
            std::mem::replace(&mut self.locals[slot], Value::Null).checked()?
        else {
            return Err(EvalError::NoSuchOverload);
        };
        let into = Arc::make_mut(&mut map);
        for (key, value) in entries {
            if into.insert(key.clone(), value).is_some() {
                return Err(EvalError::DuplicateKey(shown(&key)));
            }
        }
        Ok(Value::Map(Map::Shared(map)))
    }
}

fn unwrapped(value: Value<'_>) -> Result<Option<Value<'_>>, EvalError> {
    match value {
        Value::Optional(inner) => Ok(inner.map(|value| (*value).clone())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn name_key(name: &str) -> Key<'_> {
    Key::String(Text::Borrowed(name))
}

fn field<'a>(operand: &Value<'a>, name: &'a str) -> Outcome<'a> {
    match operand {
        Value::Map(map) => {
            map.get(&name_key(name)).ok_or_else(|| EvalError::NoSuchKey(name.to_owned()))?.checked()
        }
        Value::Optional(_) => optional_field(operand, name),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn optional_field<'a>(operand: &Value<'a>, name: &'a str) -> Outcome<'a> {
    match operand {
        Value::Map(map) => match map.get(&name_key(name)) {
            Some(value) => Ok(Value::some(value.checked()?)),
            None => Ok(Value::Optional(None)),
        },
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => optional_field(inner, name),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn present(operand: &Value<'_>, name: &str) -> Result<bool, EvalError> {
    match operand {
        Value::Map(map) => Ok(map.has(name)),
        Value::Optional(None) => Ok(false),
        Value::Optional(Some(inner)) => present(inner, name),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn index_of<'a>(operand: &Value<'a>, index: &Value<'a>, optional: bool) -> Outcome<'a> {
    let found = match operand {
        Value::List(list) => at(list, index),
        Value::Map(map) => {
            let key = Key::of(index).ok_or(EvalError::NoSuchOverload)?;
            map.get(&key).ok_or_else(|| EvalError::NoSuchKey(shown(&key)))
        }
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => return index_of(inner, index, true),
        _ => Err(EvalError::NoSuchOverload),
    };
    match found {
        Ok(value) if optional => Ok(Value::some(value.checked()?)),
        Err(EvalError::NoSuchKey(_) | EvalError::IndexOutOfBounds(_)) if optional => {
            Ok(Value::Optional(None))
        }
        found => found?.checked(),
    }
}

fn at<'a>(list: &List<'a>, index: &Value<'a>) -> Outcome<'a> {
    let index = match index {
        Value::Int(index) => *index,
        Value::Uint(index) => i64::try_from(*index).unwrap_or(i64::MAX),
        Value::Double(index) if index.fract() == 0.0 && index.abs() < 9.0e15 => *index as i64,
        _ => return Err(EvalError::NoSuchOverload),
    };
    let place = usize::try_from(index).ok();
    place.and_then(|place| list.get(place)).ok_or(EvalError::IndexOutOfBounds(index))
}

fn shown(key: &Key<'_>) -> String {
    match key {
        Key::Bool(value) => value.to_string(),
        Key::Int(value) => value.to_string(),
        Key::Uint(value) => value.to_string(),
        Key::String(text) => text.to_string(),
    }
}
