//! Kinds that are questions: the object comes back with the answer in its status.

use std::sync::Arc;

use hako_error::Kind;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::decode;
use super::metadata;
use super::ownership::Writer;
use super::pods;
use super::target::Target;
use crate::admission::{self, Operation};
use crate::auth::{Attributes, Identity, decide, token, verify_token};
use crate::http::{Accept, Failure, Outcome, Request, answer};
use crate::kinds::Question;
use crate::server::Inner;

/// Answers a question.
pub(crate) async fn ask(
    server: &Arc<Inner>,
    request: &Request,
    target: &Target,
    question: Question,
) -> Outcome {
    Accept::parse_of_object(request.header(header::ACCEPT), true)?;
    let sent = decode::object(request, &target.row)?;
    let mut object = sent.object;
    if target.row.is_namespaced() {
        metadata::place(&mut object, target)?;
    }
    if question == Question::Binding {
        return pods::bind_named(server, request, &target.namespace, object).await;
    }
    let causes = target.row.strategy().check(&object);
    if !causes.is_empty() {
        return Err(target.invalid(causes));
    }
    let writer = Writer::of(request, "");
    admission::ask_others(&writer.change(server, Operation::Create, target, None), &mut object).await?;
    let spec = object.get("spec").cloned().unwrap_or_default();
    sense(question, &spec)?;
    object["status"] = match question {
        Question::SubjectAccess => access(server, &subject(&spec), &spec).await?,
        Question::SelfAccess => access(server, &request.identity, &spec).await?,
        Question::SelfRules => rules(server, &request.identity, &spec),
        Question::SelfSubject => json!({"userInfo": user_info(&request.identity)}),
        Question::Token => review(server, &spec).await,
        Question::Binding | Question::Components => return Err(Failure::method_not_allowed()),
    };
    let mut response = answer::json(StatusCode::CREATED, &object);
    answer::warn(&mut response, &sent.warnings);
    Ok(response)
}

/// Refuses what asks about nothing.
fn sense(question: Question, spec: &Value) -> Outcome<()> {
    match question {
        Question::SelfRules if text(spec, "namespace").is_empty() => {
            Err(Failure::bad_request("no namespace on request"))
        }
        Question::Token if text(spec, "token").is_empty() => {
            Err(Failure::bad_request("token is required for TokenReview in authentication"))
        }
        _ => Ok(()),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The one that a review names.
fn subject(spec: &Value) -> Identity {
    let extra = spec.get("extra").and_then(|extra| serde_json::from_value(extra.clone()).ok());
    Identity {
        user: text(spec, "user").to_owned(),
        groups: texts(spec, "groups"),
        uid: text(spec, "uid").to_owned(),
        extra: extra.unwrap_or_default(),
    }
}

async fn access(server: &Inner, identity: &Identity, spec: &Value) -> Outcome<Value> {
    let path = spec.get("nonResourceAttributes");
    let of = spec.get("resourceAttributes").or(path).cloned().unwrap_or_default();
    let wanted = if path.is_some() {
        Attributes::Path { verb: text(&of, "verb"), path: text(&of, "path") }
    } else {
        Attributes::Resource {
            verb: text(&of, "verb"),
            group: text(&of, "group"),
            resource: text(&of, "resource"),
            subresource: text(&of, "subresource"),
            namespace: text(&of, "namespace"),
            name: text(&of, "name"),
        }
    };
    match decide(server, identity, wanted).await {
        Ok(()) => Ok(match server.rbac.read().reason(identity, wanted) {
            Some(reason) => json!({"allowed": true, "reason": reason}),
            None => json!({"allowed": true}),
        }),
        Err(error) if error.kind() == Kind::Forbidden => Ok(json!({"allowed": false})),
        Err(error) => Err(error.into()),
    }
}

/// What roles grant the sender; the fixed rules of masters are shown as one rule for all.
fn rules(server: &Inner, identity: &Identity, spec: &Value) -> Value {
    let index = server.rbac.read();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in index.rules(identity, text(spec, "namespace")) {
        let mut shown = json!(rule);
        if rule.non_resource_urls.is_empty() {
            resources.push(shown);
        } else {
            let map = shown.as_object_mut().map(std::mem::take).unwrap_or_default();
            paths.push(Value::Object(only(map, &["verbs", "nonResourceURLs"])));
        }
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if server.config.external.access.is_some() {
        status["incomplete"] = true.into();
        status["evaluationError"] = "webhook authorizer does not support user rule resolution".into();
    }
    status
}

fn only(map: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    map.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect()
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user, "groups": identity.groups});
    if !identity.uid.is_empty() {
        info["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

/// Whose token it is.
async fn review(server: &Inner, spec: &Value) -> Value {
    let mut audiences = texts(spec, "audiences");
    if audiences.is_empty() {
        audiences.push(token::ISSUER.to_owned());
    }
    match verify_token(server, text(spec, "token"), &audiences).await {
        Ok(verified) => json!({
            "authenticated": true, "user": user_info(&verified.identity), "audiences": verified.audiences,
        }),
        Err(reason) => json!({"authenticated": false, "error": reason, "user": {}}),
    }
}
