//! The paths of printer columns: kubectl's JSONPath (Kubernetes documentation, "JSONPath Support"), as far as a column
//! that shows one value can use it.

use serde_json::Value;

/// Steps of one path at most; more are no use to anybody.
const STEPS_MAX: usize = 64;

/// A path as it is written and as it is walked.
#[derive(Clone, Debug)]
pub(crate) struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Member(String),
    /// From the end where it is negative.
    Item(i64),
    /// All members or items.
    All,
    /// The members of that name at any depth.
    Below(String),
    Filter(Filter),
}

/// `?(@.path op literal)`, or `?(@.path)`.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    path: Vec<Step>,
    test: Option<(Operator, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let steps = Parser { rest: text }.steps()?;
        Ok(Self { text: text.to_owned(), steps })
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The first value at the path.
    pub(super) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        first(&self.steps, value)
    }
}

fn first<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    let [step, rest @ ..] = steps else { return Some(value) };
    match step {
        Step::Member(name) => first(rest, value.get(name)?),
        Step::Item(at) => {
            let items = value.as_array()?;
            let at = if *at < 0 { at.checked_add_unsigned(items.len() as u64)? } else { *at };
            first(rest, items.get(usize::try_from(at).ok()?)?)
        }
        Step::All => children(value).find_map(|child| first(rest, child)),
        Step::Filter(filter) => {
            value.as_array()?.iter().filter(|item| filter.holds(item)).find_map(|item| first(rest, item))
        }
        Step::Below(name) => below(name, rest, value),
    }
}

fn below<'v>(name: &str, rest: &[Step], value: &'v Value) -> Option<&'v Value> {
    let here = value.get(name).and_then(|value| first(rest, value));
    here.or_else(|| children(value).find_map(|child| below(name, rest, child)))
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let found = first(&self.path, item);
        let Some((operator, wanted)) = &self.test else { return found.is_some() };
        let Some(found) = found else { return false };
        let order = match (found, wanted) {
            (Value::Number(found), Value::Number(wanted)) => found.as_f64().partial_cmp(&wanted.as_f64()),
            (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
            _ => None,
        };
        match operator {
            Operator::Equal => found == wanted || order.is_some_and(std::cmp::Ordering::is_eq),
            Operator::Unequal => found != wanted && order.is_none_or(std::cmp::Ordering::is_ne),
            Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Operator::AtMost => order.is_some_and(std::cmp::Ordering::is_le),
            Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Operator::AtLeast => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        while let Some(first) = self.rest.chars().next() {
            if steps.len() == STEPS_MAX {
                return Err(format!("a path has at most {STEPS_MAX} steps"));
            }
            if self.takes("..") {
                steps.push(Step::Below(self.name()?));
            } else if self.takes(".") {
                if self.rest.is_empty() || self.rest.starts_with('[') {
                    continue;
                }
                steps.push(if self.takes("*") { Step::All } else { Step::Member(self.name()?) });
            } else if first == '[' {
                steps.push(self.brackets()?);
            } else {
                return Err(format!("unexpected {first:?}"));
            }
        }
        Ok(steps)
    }

    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A name up to what ends it; a backslash takes that meaning away.
    fn name(&mut self) -> Result<String, String> {
        let (mut name, mut chars) = (String::new(), self.rest.char_indices());
        let mut end = self.rest.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => name.extend(chars.next().map(|(_, char)| char)),
                '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ' => {
                    end = at;
                    break;
                }
                char => name.push(char),
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() { Err("a name is missing".to_owned()) } else { Ok(name) }
    }

    fn brackets(&mut self) -> Result<Step, String> {
        let inner = self.within()?;
        if inner == "*" {
            return Ok(Step::All);
        }
        if let Some(filter) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
            return filter_of(filter.trim()).map(Step::Filter);
        }
        if let Some(name) = quoted(inner) {
            return Ok(Step::Member(name));
        }
        let number = inner.parse().map_err(|_| format!("[{inner}] is no name, number or filter"))?;
        Ok(Step::Item(number))
    }

    /// What is in the brackets that the rest begins with.
    fn within(&mut self) -> Result<&'t str, String> {
        let (mut depth, mut quote) = (0_usize, None);
        for (at, char) in self.rest.char_indices() {
            match (char, quote) {
                (char, Some(open)) if char == open => quote = None,
                ('\'' | '"', None) => quote = Some(char),
                ('[', None) => depth += 1,
                (']', None) => {
                    depth -= 1;
                    if depth == 0 {
                        let inner = &self.rest[1..at];
                        self.rest = &self.rest[at + 1..];
                        return Ok(inner.trim());
                    }
                }
                _ => {}
            }
        }
        Err("a bracket is not closed".to_owned())
    }
}

fn quoted(text: &str) -> Option<String> {
    let of = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    of('\'').or_else(|| of('"')).map(|inner| inner.replace("\\", ""))
}

fn filter_of(text: &str) -> Result<Filter, String> {
    let path = text.strip_prefix('@').ok_or_else(|| format!("the filter {text:?} does not begin with @"))?;
    let mut parser = Parser { rest: path };
    let end = outside_of_quotes(path).unwrap_or(path.len());
    let (before, after) = path.split_at(end);
    parser.rest = before.trim_end();
    let path = parser.steps()?;
    let after = after.trim_start();
    if after.is_empty() {
        return Ok(Filter { path, test: None });
    }
    let found = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, after.strip_prefix(sign)?)));
    let (operator, literal) = found.ok_or_else(|| format!("{after:?} does not begin with an operator"))?;
    let literal = literal.trim();
    let value = match quoted(literal) {
        Some(text) => Value::String(text),
        None => serde_json::from_str(literal).map_err(|_| format!("{literal:?} is no value"))?,
    };
    Ok(Filter { path, test: Some((operator, value)) })
}

/// Where the first operator is.
fn outside_of_quotes(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, char)| {
        match (char, quote) {
            (char, Some(open)) if char == open => quote = None,
            ('\'' | '"', None) => quote = Some(char),
            ('=' | '!' | '<' | '>', None) => return Some(at),
            _ => {}
        }
        None
    })
}
