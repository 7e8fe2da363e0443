//! The objects that set a policy's parameters, as they are in the store now.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Policy;
use super::binding::{Binding, ParamRef, Which};
use crate::admission::plugin::Change;
use crate::http::Failure;
use crate::kinds::Served;

/// Why there are no parameters.
pub(super) enum Fault {
    Policy(String),
    Binding(String),
}

/// With what the policy is to judge a request under a binding, one after the other; nothing is one of them where
/// there are no parameters, and none if those that are missing let it pass.
pub(super) async fn of(
    change: &Change<'_>,
    namespace: &str,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, Fault> {
    let Some(kind) = &policy.param_kind else { return Ok(vec![None]) };
    let kinds = change.server.kinds.now();
    let row = kinds
        .by_kind(&kind.group, &kind.version, &kind.kind)
        .ok_or_else(|| Fault::Policy(format!("failed to find resource referenced by paramKind: '{kind}'")))?;
    let Some(reference) = &binding.param_ref else { return Ok(vec![None]) };
    let namespace = place(row, reference, namespace).map_err(|why| Fault::Binding(why.to_owned()))?;
    let failed = |failure: Failure| Fault::Binding(failure.status().message.clone());
    let found = match &reference.which {
        Which::Name(name) => {
            let found = change.find_of(row, namespace, name).await.map_err(failed)?;
            found.into_iter().collect()
        }
        Which::Labels(selector) => {
            let mut all = change.all_of(row, namespace).await.map_err(failed)?;
            all.retain(|object| selector.matches(&labels(object)));
            all
        }
    };
    if found.is_empty() && reference.denies_missing {
        let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
        return Err(Fault::Binding(why.to_owned()));
    }
    Ok(found.into_iter().map(Some).collect())
}

/// The namespace that parameters are looked for in.
fn place<'r>(row: &Served, reference: &'r ParamRef, of_request: &'r str) -> Result<&'r str, &'static str> {
    match (row.is_namespaced(), reference.namespace.as_str(), of_request) {
        (true, "", "") => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
        }
        (true, "", namespace) | (true, namespace, _) => Ok(namespace),
        (false, "", _) => Ok(""),
        (false, ..) => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`"),
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").cloned().unwrap_or_default();
    serde_json::from_value(labels).unwrap_or_default()
}
