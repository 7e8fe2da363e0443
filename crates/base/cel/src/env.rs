//! What an expression may name.

use crate::declared::{ObjectType, Shape};
use crate::{CompileError, Declared, Patterns, Program};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The type of a whole object that a mutation makes; those of its fields are called after them.
const OPEN: &str = "Object";
/// The type of an operation of a JSON patch.
const JSON_PATCH: &str = "JSONPatch";

/// The variables of expressions, in the order in which evaluations are given their values.
#[derive(Debug, Default, Clone)]
pub struct Env {
    variables: Vec<(String, Arc<Declared>)>,
    objects: HashMap<Arc<str>, Arc<ObjectType>>,
    has_mutations: bool,
    has_bind: bool,
    patterns: Option<Arc<Mutex<Patterns>>>,
}

impl Env {
    /// No variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a variable `name`, which may have dots in it.
    #[must_use]
    pub fn with(mut self, name: &str, declared: Declared) -> Self {
        let declared = Arc::new(declared);
        self.add_objects(&declared);
        self.variables.push((name.to_owned(), declared));
        self
    }

    /// With an object type that expressions may make values of.
    #[must_use]
    pub fn with_type(mut self, declared: &Declared) -> Self {
        self.add_objects(declared);
        self
    }

    /// With what mutations are written with: objects of type `Object`, `Object.spec` and so on, which have any fields;
    /// `JSONPatch`; and `jsonpatch.escapeKey`.
    #[must_use]
    pub fn for_mutations(self) -> Self {
        let text = |name: &str| (name.to_owned(), Declared::string(None), false);
        let value = ("value".to_owned(), Declared::dynamic(), false);
        let patch = Declared::object(JSON_PATCH, [text("op"), text("path"), text("from"), value]);
        Self { has_mutations: true, ..self.with_type(&patch) }
    }

    /// With the macro `cel.bind(name, value, expression)`, which few places of Kubernetes have.
    #[must_use]
    pub fn with_bind(mut self) -> Self {
        self.has_bind = true;
        self
    }

    /// Whose expressions have their patterns bounded together. Of an environment without this, each expression is bounded
    /// alone.
    #[must_use]
    pub fn with_patterns(mut self, patterns: Arc<Mutex<Patterns>>) -> Self {
        self.patterns = Some(patterns);
        self
    }

    pub(crate) fn patterns(&self) -> Arc<Mutex<Patterns>> {
        self.patterns.clone().unwrap_or_default()
    }

    pub(crate) const fn has_bind(&self) -> bool {
        self.has_bind
    }

    /// Whether objects of a type have any fields.
    pub(crate) fn is_open(&self, object: &str) -> bool {
        self.has_mutations
            && (object == OPEN || object.strip_prefix(OPEN).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Whether a function may be called; those of patches only where there are some.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.has_mutations || !name.starts_with("jsonpatch.")
    }

    fn add_objects(&mut self, declared: &Declared) {
        match &declared.shape {
            Shape::Scalar(_) => {}
            Shape::List { element, .. } => self.add_objects(element),
            Shape::Map { value, .. } => self.add_objects(value),
            Shape::Object(object) => {
                if self.objects.insert(object.name.clone(), object.clone()).is_none() {
                    for field in object.fields.values() {
                        self.add_objects(&field.declared);
                    }
                }
            }
        }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<(usize, &Arc<Declared>)> {
        let index = self.variables.iter().rposition(|(known, _)| known == name)?;
        Some((index, &self.variables[index].1))
    }

    pub(crate) fn declared(&self, index: usize) -> &Arc<Declared> {
        &self.variables[index].1
    }

    /// What an expression is about.
    pub(crate) fn first(&self) -> Option<&Arc<Declared>> {
        self.variables.first().map(|(_, declared)| declared)
    }

    pub(crate) fn object(&self, name: &str) -> Option<&Arc<ObjectType>> {
        self.objects.get(name)
    }

    /// Compiles `source`.
    ///
    /// # Errors
    /// Every fault of its syntax (the first) or of its types (all), with places.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        Program::compile(self, source)
    }
}
