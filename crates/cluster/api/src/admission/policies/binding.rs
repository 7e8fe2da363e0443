//! Bindings: where a policy is in force, with which parameters, and what comes of its refusals.

use hako_kube::{LabelSelector, Selector};
use serde_json::Value;

use crate::admission::attributes::Attributes;
use crate::admission::matching::{Around, Criteria, texts};
use crate::admission::plugin::{name_of, text};
use crate::http::Outcome;

/// A binding of either kind of policy.
#[derive(Debug)]
pub(in crate::admission) struct Binding {
    pub name: String,
    pub policy: String,
    criteria: Criteria,
    pub(super) param_ref: Option<ParamRef>,
    /// `Deny`, `Warn`, `Audit`; only of those that validate.
    pub(super) actions: Vec<String>,
}

/// Which objects set the parameters.
#[derive(Debug)]
pub(super) struct ParamRef {
    /// Empty for that of the request.
    pub namespace: String,
    pub which: Which,
    /// Whether a request without parameters is refused; else it passes.
    pub denies_missing: bool,
}

#[derive(Debug)]
pub(super) enum Which {
    Name(String),
    Labels(Selector),
}

impl Binding {
    pub(in crate::admission) fn read(object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        Self {
            name: name_of(object).to_owned(),
            policy: text(spec, "/policyName").to_owned(),
            criteria: Criteria::of_resources(spec.get("matchResources")),
            param_ref: spec.get("paramRef").filter(|it| !it.is_null()).map(ParamRef::read),
            actions: texts(spec, "validationActions"),
        }
    }

    /// Whether the binding is about a request that its policy is about.
    pub(super) async fn is_meant(&self, attributes: &Attributes<'_>, around: &Around<'_>) -> Outcome<bool> {
        Ok(self.criteria.matched(attributes, around).await?.is_some())
    }
}

impl ParamRef {
    fn read(reference: &Value) -> Self {
        let name = text(reference, "/name");
        let which = if name.is_empty() {
            let selector = reference.get("selector").cloned().unwrap_or_default();
            let selector: LabelSelector = serde_json::from_value(selector).unwrap_or_default();
            // Selectors are checked when they are written.
            Which::Labels(selector.selector().unwrap_or_else(|_| Selector::nothing()))
        } else {
            Which::Name(name.to_owned())
        };
        Self {
            namespace: text(reference, "/namespace").to_owned(),
            which,
            denies_missing: text(reference, "/parameterNotFoundAction") != "Allow",
        }
    }
}
