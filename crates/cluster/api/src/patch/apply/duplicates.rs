//! Items of an applied list that cannot be told apart: nobody could own one of them.

use super::Path;
use crate::patch::fields::{Step, parts, show};
use crate::schema::{Shape, model};
use serde_json::Value;
use std::collections::HashSet;

/// Faults that are told of one configuration.
const MAX_TOLD: usize = 10;

/// Where in an applied configuration items are there twice, in upstream's words.
pub(super) fn find(shape: &Shape, applied: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(shape, applied, &mut Path::new(), &mut found);
    found
}

fn look(shape: &Shape, value: &Value, path: &mut Path, found: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (step, inner, value) in parts(model(), shape, value).unwrap_or_default() {
        if found.len() >= MAX_TOLD {
            return;
        }
        if matches!(step, Step::Key(_) | Step::Value(_)) && !seen.insert(step.clone()) {
            let key = show(std::slice::from_ref(&step));
            found.push(format!("{}: duplicate entries for key {key}", show(path)));
            continue;
        }
        path.push(step);
        look(inner, value, path, found);
        path.pop();
    }
}
