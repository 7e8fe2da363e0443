//! Constructors of field causes in the API's words, so that every validator says the same thing the same way; and the
//! way to a field in objects that strangers wrote, which may be far longer than what is at its end.

use hako_error::FieldCause;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;

/// Appends a name to a path.
#[must_use]
pub fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Appends a list index to a path.
#[must_use]
pub fn index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Appends a map key to a path.
#[must_use]
pub fn key(path: &str, key: &str) -> String {
    format!("{path}[{key}]")
}

/// The way to a value from the root of an object: a chain through the callers, made into text only where somebody is
/// told. A walk that wrote every path would copy a name of a megabyte for each of the values below it.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    Root,
    /// A member of what is at the path before.
    Member(&'a Path<'a>, &'a str),
    /// A value of a map at the path before.
    Key(&'a Path<'a>, &'a str),
    /// An item of what is at the path before.
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    const fn is_root(&self) -> bool {
        matches!(self, Self::Root)
    }
}

/// As messages show it: `spec.containers[0].name`.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(above, name) if above.is_root() => f.write_str(name),
            Self::Member(above, name) => write!(f, "{above}.{name}"),
            Self::Key(above, name) => write!(f, "{above}[{name}]"),
            Self::Item(above, at) => write!(f, "{above}[{at}]"),
        }
    }
}

/// Bytes that are told of what is wrong with one object.
const MOST_TOLD: usize = 1024 * 1024;

/// What is told of an object, up to a limit: what is wrong with one that was made for it may be as long as its length
/// times its length.
#[derive(Debug)]
pub struct Told<T> {
    all: Vec<T>,
    room: usize,
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { all: Vec::new(), room: MOST_TOLD }
    }
}

impl Told<FieldCause> {
    /// Tells of one more fault, if there is room.
    pub fn push(&mut self, cause: impl FnOnce() -> FieldCause) {
        self.put(cause, |cause| cause.field.len() + cause.message.len());
    }

    /// Several that were found elsewhere.
    pub fn extend(&mut self, causes: impl IntoIterator<Item = FieldCause>) {
        causes.into_iter().for_each(|cause| self.push(|| cause));
    }

    /// All that was told; if there was more, the last one says so.
    #[must_use]
    pub fn into_all(mut self) -> Vec<FieldCause> {
        if self.is_full() {
            self.all
                .push(forbidden("<nil>", "there is more wrong than is shown; correct these faults first"));
        }
        self.all
    }
}

impl Told<String> {
    /// Tells of one more path, if there is room.
    pub fn push(&mut self, path: impl FnOnce() -> String) {
        self.put(path, String::len);
    }

    /// All that was told.
    #[must_use]
    pub fn into_all(self) -> Vec<String> {
        self.all
    }
}

impl<T> Told<T> {
    fn put(&mut self, make: impl FnOnce() -> T, bytes: impl FnOnce(&T) -> usize) {
        if self.is_full() {
            return;
        }
        let one = make();
        // What is empty takes a place too.
        self.room = self.room.saturating_sub(bytes(&one) + size_of::<T>());
        self.all.push(one);
    }

    /// Whether nothing more is told.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Whether nothing was told.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The faults of an object, of which the first are kept and the others forgotten. Each list of them has that limit, so that
/// also what is put together from many of them stays small.
#[derive(Debug, Default)]
pub struct Faults(Told<FieldCause>);

impl Faults {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Told { all: Vec::new(), room: MOST_TOLD })
    }

    /// One more.
    pub fn push(&mut self, cause: FieldCause) {
        self.0.push(|| cause);
    }

    /// Whether no more are kept, so that none need be looked for.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.0.is_full()
    }
}

impl Extend<FieldCause> for Faults {
    fn extend<T: IntoIterator<Item = FieldCause>>(&mut self, causes: T) {
        let mut causes = causes.into_iter();
        while !self.is_full() {
            let Some(cause) = causes.next() else { return };
            self.push(cause);
        }
    }
}

impl FromIterator<FieldCause> for Faults {
    fn from_iter<T: IntoIterator<Item = FieldCause>>(causes: T) -> Self {
        let mut faults = Self::new();
        faults.extend(causes);
        faults
    }
}

impl<const N: usize> From<[FieldCause; N]> for Faults {
    fn from(causes: [FieldCause; N]) -> Self {
        causes.into_iter().collect()
    }
}

impl IntoIterator for Faults {
    type Item = FieldCause;
    type IntoIter = std::vec::IntoIter<FieldCause>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.all.into_iter()
    }
}

impl Deref for Faults {
    type Target = [FieldCause];

    fn deref(&self) -> &Self::Target {
        &self.0.all
    }
}

impl<const N: usize> PartialEq<[FieldCause; N]> for Faults {
    fn eq(&self, other: &[FieldCause; N]) -> bool {
        self.0.all == other
    }
}

fn cause(reason: &str, field: impl Into<String>, message: String) -> FieldCause {
    FieldCause { reason: reason.to_owned(), message, field: field.into() }
}

fn with_detail(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {detail}") }
}

/// A value as messages show it: texts quoted, all else as JSON.
#[must_use]
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// The field must be given; `detail` may be empty.
#[must_use]
pub fn required(field: impl Into<String>, detail: &str) -> FieldCause {
    cause("FieldValueRequired", field, with_detail("Required value".into(), detail))
}

/// The value can never be accepted.
#[must_use]
pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> FieldCause {
    let head = format!("Invalid value: {}", show(&value.into()));
    cause("FieldValueInvalid", field, with_detail(head, detail))
}

/// The value can never be accepted; it is too large to be shown.
#[must_use]
pub fn invalid_without_value(field: impl Into<String>, detail: &str) -> FieldCause {
    cause("FieldValueInvalid", field, with_detail("Invalid value".into(), detail))
}

/// The value is none of the allowed ones.
#[must_use]
pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> FieldCause {
    let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    let head = format!("Unsupported value: {}", show(&value.into()));
    let detail =
        if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
    cause("FieldValueNotSupported", field, with_detail(head, &detail))
}

/// The value was given before.
#[must_use]
pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> FieldCause {
    cause("FieldValueDuplicate", field, format!("Duplicate value: {}", show(&value.into())))
}

/// The field may not be set or changed now.
#[must_use]
pub fn forbidden(field: impl Into<String>, detail: &str) -> FieldCause {
    cause("FieldValueForbidden", field, with_detail("Forbidden".into(), detail))
}

/// What the value refers to does not exist.
#[must_use]
pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> FieldCause {
    cause("FieldValueNotFound", field, format!("Not found: {}", show(&value.into())))
}

/// The value has more than `max` bytes.
#[must_use]
pub fn too_long(field: impl Into<String>, max: usize) -> FieldCause {
    cause("FieldValueTooLong", field, format!("Too long: may not be more than {max} bytes"))
}

/// The list has more than `max` items.
#[must_use]
pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> FieldCause {
    cause("FieldValueTooMany", field, format!("Too many: {actual}: must have at most {max} items"))
}

/// The value has the wrong JSON type.
#[must_use]
pub fn type_invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> FieldCause {
    let head = format!("Invalid value: {}", show(&value.into()));
    cause("FieldValueTypeInvalid", field, with_detail(head, detail))
}

/// `field: message`, as one line shows a cause.
#[must_use]
pub fn line(cause: &FieldCause) -> String {
    if cause.field.is_empty() { cause.message.clone() } else { format!("{}: {}", cause.field, cause.message) }
}

/// All causes on one line: one as it is, several in brackets.
#[must_use]
pub fn lines(causes: &[FieldCause]) -> String {
    let mut seen = HashSet::with_capacity(causes.len());
    let all: Vec<String> = causes.iter().map(line).filter(|text| seen.insert(text.clone())).collect();
    match all.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_messages_show_it() {
        let root = Path::Root;
        let (spec, first) = (Path::Member(&root, "spec"), Path::Item(&root, 0));
        let list = Path::Member(&spec, "containers");
        let item = Path::Item(&list, 3);
        let name = Path::Member(&item, "name");
        assert_eq!(name.to_string(), "spec.containers[3].name");
        assert_eq!(Path::Key(&list, "a.b").to_string(), "spec.containers[a.b]");
        assert_eq!((first.to_string().as_str(), root.to_string().as_str()), ("[0]", ""));
    }

    #[test]
    fn what_is_told_of_one_object_has_an_end() {
        let mut told = Told::<FieldCause>::default();
        let name = "n".repeat(1000);
        (0..10_000).for_each(|at| told.push(|| required(index(&name, at), "")));
        assert!(told.is_full());
        let all = told.into_all();
        assert!(all.len() < 1100, "{}", all.len());
        assert!(line(&all[all.len() - 1]).contains("there is more wrong than is shown"));
        let mut paths = Told::<String>::default();
        (0..10_000).for_each(|_| paths.push(|| name.clone()));
        assert!(paths.into_all().len() < 1100);
    }

    #[test]
    fn faults_are_looked_for_until_there_are_enough() {
        let (mut looked, name) = (0, "n".repeat(1000));
        let found = (0..10_000).map(|at| {
            looked += 1;
            required(index(&name, at), "")
        });
        let many: Faults = found.collect();
        assert!(many.is_full() && many.len() < 1100 && looked == many.len(), "{looked}, {}", many.len());
        let mut all = Faults::from([required("a", "")]);
        all.extend(many);
        assert!(all.is_full() && all.len() < 1100, "{}", all.len());
    }

    #[test]
    fn causes_read_as_the_api_words_them() {
        assert_eq!(line(&required("spec.containers", "")), "spec.containers: Required value");
        assert_eq!(
            line(&not_supported("spec.restartPolicy", "x", &["Always", "Never"])),
            "spec.restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"Never\""
        );
        assert_eq!(line(&invalid("a", 7, "must be even")), "a: Invalid value: 7: must be even");
        assert_eq!(
            lines(&[required("a", ""), forbidden("b", "no")]),
            "[a: Required value, b: Forbidden: no]"
        );
    }
}
