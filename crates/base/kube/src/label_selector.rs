//! Label selectors, in the string form of query parameters and the structured form of specs.

use crate::field::{self, Faults};
use crate::names;
use hako_error::{Classify, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// All requirements have to hold; none selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    is_nothing: bool,
    requirements: Vec<Requirement>,
}

/// One demand on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is demanded of it.
    pub operator: SelectorOperator,
    /// The values to compare with.
    pub values: Vec<String>,
}

/// What a requirement demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorOperator {
    /// The value is one of those given.
    In,
    /// The label is missing or its value is none of those given.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The value is an integer greater than the one given.
    GreaterThan,
    /// The value is an integer less than the one given.
    LessThan,
}

/// The structured form, as specs write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// One requirement of the structured form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelSelectorRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

/// Why a text is no label selector.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseSelectorError {
    /// The text does not follow the grammar.
    #[error("unable to parse requirement: {detail} in {text:?}")]
    Syntax {
        /// The whole selector.
        text: String,
        /// What was expected.
        detail: String,
    },
    /// A key or value is malformed.
    #[error("unable to parse requirement: {0}")]
    Name(String),
}

impl Classify for ParseSelectorError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Selector {
    /// Selects every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object, as a missing structured selector does.
    #[must_use]
    pub fn nothing() -> Self {
        Self { is_nothing: true, requirements: Vec::new() }
    }

    /// Exactly these labels.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: SelectorOperator::In,
            values: vec![value.clone()],
        };
        Self { is_nothing: false, requirements: labels.into_iter().map(requirement).collect() }
    }

    /// Parses the string form `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
    ///
    /// # Errors
    /// Where the text does not follow the grammar or a key or value is malformed.
    pub fn parse(text: &str) -> Result<Self, ParseSelectorError> {
        Parser { text, rest: text }.parse()
    }

    /// The requirements.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects every object.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.is_nothing && self.requirements.is_empty()
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.is_nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Like [`Self::matches`] for labels that may be missing altogether.
    #[must_use]
    pub fn matches_opt(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        labels.map_or_else(|| self.matches(&BTreeMap::new()), |labels| self.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let compare = |is_wanted: fn(i64, i64) -> bool| {
            let bound = self.values.first().and_then(|bound| bound.parse().ok());
            let number = value.and_then(|value| value.parse().ok());
            number.zip(bound).is_some_and(|(number, bound)| is_wanted(number, bound))
        };
        match self.operator {
            SelectorOperator::In => value.is_some_and(|value| self.values.contains(value)),
            SelectorOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            SelectorOperator::Exists => value.is_some(),
            SelectorOperator::DoesNotExist => value.is_none(),
            SelectorOperator::GreaterThan => compare(|number, bound| number > bound),
            SelectorOperator::LessThan => compare(|number, bound| number < bound),
        }
    }
}

impl LabelSelector {
    /// The selector it stands for; an empty one selects everything.
    ///
    /// # Errors
    /// Where an operator is unknown; see [`Self::validate`] for all faults with their fields.
    pub fn selector(&self) -> Result<Selector, ParseSelectorError> {
        let mut selector = self.match_labels.as_ref().map(Selector::from_labels).unwrap_or_default();
        for expression in self.match_expressions.iter().flatten() {
            let operator = operator_of(&expression.operator).ok_or_else(|| {
                ParseSelectorError::Name(format!(
                    "{:?} is not a valid label selector operator",
                    expression.operator
                ))
            })?;
            selector.requirements.push(Requirement {
                key: expression.key.clone(),
                operator,
                values: expression.values.clone().unwrap_or_default(),
            });
        }
        Ok(selector)
    }

    /// Whether it has no requirement at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && self.match_expressions.as_ref().is_none_or(Vec::is_empty)
    }

    /// All faults of the selector at `path`.
    #[must_use]
    pub fn validate(&self, path: &str) -> Faults {
        let mut causes = Faults::new();
        let labels_path = field::child(path, "matchLabels");
        for (key, value) in self.match_labels.iter().flatten() {
            let of = |fault: String| field::invalid(&labels_path, key.as_str(), &fault);
            causes.extend(names::qualified_name(key).into_iter().map(of));
            let of = |fault: String| field::invalid(&labels_path, value.as_str(), &fault);
            causes.extend(names::label_value(value).into_iter().map(of));
        }
        for (at, expression) in self.match_expressions.iter().flatten().enumerate() {
            let path = field::index(&field::child(path, "matchExpressions"), at);
            expression.validate(&path, &mut causes);
        }
        causes
    }
}

impl LabelSelectorRequirement {
    fn validate(&self, path: &str, causes: &mut Faults) {
        let has_values = self.values.as_ref().is_some_and(|values| !values.is_empty());
        let values_path = field::child(path, "values");
        match self.operator.as_str() {
            "In" | "NotIn" if !has_values => causes
                .push(field::required(values_path, "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if has_values => causes.push(field::forbidden(
                values_path,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => causes.push(field::invalid(
                field::child(path, "operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let of = |fault: String| field::invalid(field::child(path, "key"), self.key.as_str(), &fault);
        causes.extend(names::qualified_name(&self.key).into_iter().map(of));
    }
}

fn operator_of(name: &str) -> Option<SelectorOperator> {
    Some(match name {
        "In" => SelectorOperator::In,
        "NotIn" => SelectorOperator::NotIn,
        "Exists" => SelectorOperator::Exists,
        "DoesNotExist" => SelectorOperator::DoesNotExist,
        "Gt" => SelectorOperator::GreaterThan,
        "Lt" => SelectorOperator::LessThan,
        _ => return None,
    })
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn parse(mut self) -> Result<Selector, ParseSelectorError> {
        let mut selector = Selector::default();
        self.skip_spaces();
        if self.rest.is_empty() {
            return Ok(selector);
        }
        loop {
            selector.requirements.push(self.requirement()?);
            self.skip_spaces();
            if self.rest.is_empty() {
                return Ok(selector);
            }
            if !self.take(",") {
                return Err(self.expected("',' or 'end of string'"));
            }
        }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expected(&self, what: &str) -> ParseSelectorError {
        let found: String = self.rest.chars().take(16).collect();
        ParseSelectorError::Syntax {
            text: self.text.to_owned(),
            detail: format!("found '{found}', expected: {what}"),
        }
    }

    fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let is_end = |c: char| c.is_whitespace() || matches!(c, '=' | '!' | ',' | '(' | ')' | '<' | '>');
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn key(&mut self) -> Result<String, ParseSelectorError> {
        let key = self.word();
        if key.is_empty() {
            return Err(self.expected("identifier"));
        }
        match names::qualified_name(key).first() {
            Some(fault) => Err(ParseSelectorError::Name(format!("key: Invalid value: {key:?}: {fault}"))),
            None => Ok(key.to_owned()),
        }
    }

    fn value(&mut self) -> Result<String, ParseSelectorError> {
        let value = self.word();
        match names::label_value(value).first() {
            Some(fault) => {
                Err(ParseSelectorError::Name(format!("values[0]: Invalid value: {value:?}: {fault}")))
            }
            None => Ok(value.to_owned()),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseSelectorError> {
        if self.take("!") {
            return Ok(Requirement {
                key: self.key()?,
                operator: SelectorOperator::DoesNotExist,
                values: Vec::new(),
            });
        }
        let key = self.key()?;
        self.skip_spaces();
        let (operator, values) = self.operator()?;
        Ok(Requirement { key, operator, values })
    }

    fn operator(&mut self) -> Result<(SelectorOperator, Vec<String>), ParseSelectorError> {
        use SelectorOperator::{Exists, GreaterThan, In, LessThan, NotIn};
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok((Exists, Vec::new()));
        }
        for (token, operator) in [("==", In), ("=", In), ("!=", NotIn), (">", GreaterThan), ("<", LessThan)] {
            if self.take(token) {
                return Ok((operator, vec![self.value()?]));
            }
        }
        match self.word() {
            "in" => Ok((In, self.set()?)),
            "notin" => Ok((NotIn, self.set()?)),
            _ => Err(self.expected("in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, ParseSelectorError> {
        if !self.take("(") {
            return Err(self.expected("'('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(self.expected("',', ')' or identifier"));
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, first) = (&self.key, self.values.first().map_or("", String::as_str));
        match (self.operator, self.values.len()) {
            (SelectorOperator::In, 1) => write!(f, "{key}={first}"),
            (SelectorOperator::NotIn, 1) => write!(f, "{key}!={first}"),
            (SelectorOperator::In, _) => write!(f, "{key} in ({})", self.values.join(",")),
            (SelectorOperator::NotIn, _) => write!(f, "{key} notin ({})", self.values.join(",")),
            (SelectorOperator::Exists, _) => f.write_str(key),
            (SelectorOperator::DoesNotExist, _) => write!(f, "!{key}"),
            (SelectorOperator::GreaterThan, _) => write!(f, "{key}>{first}"),
            (SelectorOperator::LessThan, _) => write!(f, "{key}<{first}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_operator_matches_as_specified() {
        let it = labels(&[("a", "b"), ("e", "x"), ("n", "5")]);
        for (text, expected) in [
            ("", true),
            ("a=b", true),
            ("a==b,e=x", true),
            ("a!=b", false),
            ("missing!=b", true),
            ("e in (x,y)", true),
            ("e notin (x, y)", false),
            ("missing notin (x)", true),
            ("a", true),
            ("!a", false),
            ("!missing", true),
            ("n>4", true),
            ("n < 5", false),
            (" a = b , !q ", true),
            ("a=", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&it), expected, "{text}");
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for text in ["=", "a=b=c", "a in x", "a in (x", "a,,b", "a b", "-=x", "a=-", ","] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printing_round_trips() {
        for text in ["a=b,c!=d,e in (x,y),f notin (z,w),g,!h", "n>4,n<9"] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.to_string(), text);
            assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }
    }

    #[test]
    fn structured_selectors_select_and_report_faults() {
        let json =
            r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"e","operator":"In","values":["x"]}]}"#;
        let structured: LabelSelector = serde_json::from_str(json).unwrap();
        assert!(structured.selector().unwrap().matches(&labels(&[("a", "b"), ("e", "x")])));
        assert!(structured.validate("spec.selector").is_empty());
        let faulty: LabelSelector =
            serde_json::from_str(r#"{"matchExpressions":[{"key":"e","operator":"In"}]}"#).unwrap();
        assert_eq!(faulty.validate("s")[0].field, "s.matchExpressions[0].values");
        assert!(!Selector::nothing().matches(&labels(&[])));
    }
}
