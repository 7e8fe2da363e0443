//! Authorization checks (Kubernetes' authz library).

use super::{Args, Result};
use crate::opaque::{Authorizer, Check, Decision, Opaque};
use crate::overload::{Cost, Row};
use crate::{EvalError, Value};
use std::sync::Arc;

const AUTHORIZER_STRING: &str = "kubernetes.authorization.Authorizer string";
const RESOURCE_STRING: &str = "kubernetes.authorization.ResourceCheck string";
const RESOURCE: &str = "kubernetes.authorization.ResourceCheck";
const DECISION: &str = "kubernetes.authorization.Decision";

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("authorizer_path", ".path", AUTHORIZER_STRING, "kubernetes.authorization.PathCheck", Cost::One, path),
    Row("authorizer_group", ".group", AUTHORIZER_STRING, "kubernetes.authorization.GroupCheck", Cost::One, group),
    Row("authorizer_serviceaccount", ".serviceAccount", "kubernetes.authorization.Authorizer string string", "kubernetes.authorization.Authorizer", Cost::One, service_account),
    Row("groupcheck_resource", ".resource", "kubernetes.authorization.GroupCheck string", RESOURCE, Cost::One, resource),
    Row("resourcecheck_subresource", ".subresource", RESOURCE_STRING, RESOURCE, Cost::One, |args| more(args, |check, text| check.subresource = text)),
    Row("resourcecheck_namespace", ".namespace", RESOURCE_STRING, RESOURCE, Cost::One, |args| more(args, |check, text| check.namespace = text)),
    Row("resourcecheck_name", ".name", RESOURCE_STRING, RESOURCE, Cost::One, |args| more(args, |check, text| check.name = text)),
    Row("authorizer_fieldselector", ".fieldSelector", RESOURCE_STRING, RESOURCE, Cost::Selector, |args| more(args, |check, text| check.field_selector = Some(text))),
    Row("authorizer_labelselector", ".labelSelector", RESOURCE_STRING, RESOURCE, Cost::Selector, |args| more(args, |check, text| check.label_selector = Some(text))),
    Row("pathcheck_check", ".check", "kubernetes.authorization.PathCheck string", DECISION, Cost::Check, decide),
    Row("resourcecheck_check", ".check", RESOURCE_STRING, DECISION, Cost::Check, decide),
    Row("decision_errored", ".errored", DECISION, "bool", Cost::One, |args| Ok(Value::Bool(decision(args)?.error.is_some()))),
    Row("decision_error", ".error", DECISION, "string", Cost::One, |args| Ok(Value::text(decision(args)?.error.as_deref().unwrap_or_default()))),
    Row("decision_allowed", ".allowed", DECISION, "bool", Cost::One, |args| Ok(Value::Bool(decision(args)?.allowed))),
    Row("decision_reason", ".reason", DECISION, "string", Cost::One, |args| Ok(Value::text(decision(args)?.reason.as_str()))),
];

fn authorizer<'v>(args: &'v [Value<'_>]) -> std::result::Result<&'v Arc<Authorizer>, EvalError> {
    match args.first() {
        Some(Value::Opaque(Opaque::Authorizer(authorizer))) => Ok(authorizer),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn check<'v>(args: &'v [Value<'_>]) -> std::result::Result<&'v Check, EvalError> {
    match args.first() {
        Some(Value::Opaque(
            Opaque::PathCheck(check) | Opaque::GroupCheck(check) | Opaque::ResourceCheck(check),
        )) => Ok(check),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn decision<'v>(args: &'v [Value<'_>]) -> std::result::Result<&'v Decision, EvalError> {
    match args.first() {
        Some(Value::Opaque(Opaque::Decision(decision))) => Ok(decision),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn begun(authorizer: &Arc<Authorizer>) -> Check {
    Check {
        authorizer: authorizer.clone(),
        service_account: authorizer.service_account.clone(),
        path: None,
        verb: String::new(),
        group: String::new(),
        resource: String::new(),
        subresource: String::new(),
        namespace: String::new(),
        name: String::new(),
        field_selector: None,
        label_selector: None,
    }
}

fn path<'a>(args: &[Value<'a>]) -> Result<'a> {
    let path = Args(args).text(1)?;
    if path.is_empty() {
        return Err(EvalError::data("path must not be empty".into()));
    }
    let check = Check { path: Some(path.to_owned()), ..begun(authorizer(args)?) };
    Ok(Value::Opaque(Opaque::PathCheck(Arc::new(check))))
}

fn group<'a>(args: &[Value<'a>]) -> Result<'a> {
    let check = Check { group: Args(args).text(1)?.to_owned(), ..begun(authorizer(args)?) };
    Ok(Value::Opaque(Opaque::GroupCheck(Arc::new(check))))
}

fn service_account<'a>(args: &[Value<'a>]) -> Result<'a> {
    let texts = Args(args);
    let (namespace, name) = (texts.text(1)?, texts.text(2)?);
    for (what, faults) in [
        ("namespace", hako_kube::names::dns_label(namespace)),
        ("service account name", hako_kube::names::dns_subdomain(name)),
    ] {
        if !faults.is_empty() {
            return Err(EvalError::data(format!("invalid {what}: {}", faults.join(", "))));
        }
    }
    let host = authorizer(args)?.host.clone();
    let service_account = Some((namespace.to_owned(), name.to_owned()));
    Ok(Value::Opaque(Opaque::Authorizer(Arc::new(Authorizer { host, service_account }))))
}

fn resource<'a>(args: &[Value<'a>]) -> Result<'a> {
    let check = Check { resource: Args(args).text(1)?.to_owned(), ..check(args)?.clone() };
    Ok(Value::Opaque(Opaque::ResourceCheck(Arc::new(check))))
}

fn more<'a>(args: &[Value<'a>], set: fn(&mut Check, String)) -> Result<'a> {
    let mut described = check(args)?.clone();
    set(&mut described, Args(args).text(1)?.to_owned());
    Ok(Value::Opaque(Opaque::ResourceCheck(Arc::new(described))))
}

fn decide<'a>(args: &[Value<'a>]) -> Result<'a> {
    let request = Check { verb: Args(args).text(1)?.to_owned(), ..check(args)?.clone() };
    let decision = request.authorizer.host.check(&request);
    Ok(Value::Opaque(Opaque::Decision(Arc::new(decision))))
}
