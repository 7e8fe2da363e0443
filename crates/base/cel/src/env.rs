//! What an expression may name.

use crate::declared::{ObjectType, Shape};
use crate::{CompileError, Declared, Program};
use std::collections::HashMap;
use std::sync::Arc;

/// The variables of expressions, in the order in which evaluations are given their values.
#[derive(Debug, Default, Clone)]
pub struct Env {
    variables: Vec<(String, Arc<Declared>)>,
    objects: HashMap<Arc<str>, Arc<ObjectType>>,
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
