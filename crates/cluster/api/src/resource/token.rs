//! `serviceaccounts/token`: authentication.k8s.io/v1 `TokenRequest`.

use std::sync::Arc;

use hako_error::FieldCause;
use hako_kube::field;
use hako_kube::status::{self, Subject};
use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::encoded::{decode as decode_entry, head_value};
use super::ownership::Writer;
use super::target::Target;
use crate::admission::{self, Operation};
use crate::auth::token::{self, Bound, Reference, Wanted};
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds;
use crate::server::Inner;

const KIND: &str = "TokenRequest";
const SECONDS_BY_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

/// Issues a token of an account.
pub(crate) async fn request_token(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    const TYPE_NAME: &str = "io.k8s.api.authentication.v1.TokenRequest";
    let sent = decode::any(request, "TokenRequest")?;
    let mut sent = decode::part(request, sent, "authentication.k8s.io/v1", TYPE_NAME)?;
    let entry = target.read(&*server.config.store).await?;
    let account = decode_entry(&target.row, &entry)?;
    is_of(&sent, target, &account)?;
    let writer = Writer::of(request, "token");
    admission::ask_others(&writer.change(server, Operation::Create, target, None), &mut sent).await?;
    let writer = writer.settled();
    admission::validate(&writer.change(server, Operation::Create, target, None), &sent).await?;
    let seconds = sent.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let seconds = seconds.unwrap_or(SECONDS_BY_DEFAULT);
    if let Some(cause) = fault(seconds) {
        return Err(invalid("", cause));
    }
    let bound = match sent.pointer("/spec/boundObjectRef").filter(|it| !it.is_null()) {
        Some(reference) => Some(bound(server, target, reference).await?),
        None => None,
    };
    let audiences = sent.pointer("/spec/audiences").and_then(Value::as_array);
    let audiences: Vec<String> =
        audiences.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let shown = if audiences.is_empty() { vec![token::ISSUER.to_owned()] } else { audiences.clone() };
    let wanted = Wanted {
        namespace: target.namespace.clone(),
        account: reference(&account),
        audiences,
        seconds,
        bound,
    };
    let (token, ends) = token::issue(&server.config.pki, wanted)?;
    let mut object = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": target.name, "namespace": target.namespace, "uid": head_value(&account, "uid"),
            "creationTimestamp": hako_kube::time::now(),
        },
        "spec": {"audiences": shown, "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": hako_kube::time::seconds(ends)},
    });
    object["spec"]["boundObjectRef"] = sent.pointer("/spec/boundObjectRef").cloned().unwrap_or(Value::Null);
    Ok(answer::json(StatusCode::CREATED, &object))
}

/// What a request says of its account has to be so.
fn is_of(sent: &Value, target: &Target, account: &Value) -> Outcome<()> {
    for (name, is) in [("name", &target.name), ("namespace", &target.namespace)] {
        let said = head_value(sent, name);
        if !said.is_empty() && said != is {
            let why = format!("must match the service account {name} if specified");
            return Err(invalid(&target.name, field::invalid(format!("metadata.{name}"), said, &why)));
        }
    }
    let (said, is) = (head_value(sent, "uid"), head_value(account, "uid"));
    if !said.is_empty() && said != is {
        let why = format!(
            "the UID in the token request ({said}) does not match the UID of the service account ({is})"
        );
        let subject = Subject { resource: KIND.to_owned(), ..subject(&target.name) };
        return Err(Failure::about(&status::conflict(&subject, &why), &subject));
    }
    Ok(())
}

fn subject(name: &str) -> Subject {
    let (group, kind) = ("authentication.k8s.io".to_owned(), KIND.to_owned());
    Subject { group, kind, name: name.to_owned(), ..Subject::default() }
}

fn invalid(name: &str, cause: FieldCause) -> Failure {
    let subject = subject(name);
    Failure::about(&status::invalid(&subject, [cause]), &subject)
}

fn fault(seconds: i64) -> Option<FieldCause> {
    let path = "spec.expirationSeconds";
    if seconds < SECONDS_MIN {
        return Some(field::invalid(path, seconds, "may not specify a duration less than 10 minutes"));
    }
    (seconds > SECONDS_MAX)
        .then(|| field::invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
}

fn reference(object: &Value) -> Reference {
    Reference { name: head_value(object, "name").to_owned(), uid: head_value(object, "uid").to_owned() }
}

/// The object with which the token ends: it has to be there, and the one that is meant.
async fn bound(server: &Inner, target: &Target, wanted: &Value) -> Outcome<Bound> {
    let text = |name: &str| wanted.get(name).and_then(Value::as_str).unwrap_or("");
    let (kind, uid) = (text("kind"), text("uid"));
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let plural = match (group, kind) {
        ("", "Pod") => "pods",
        ("", "Secret") => "secrets",
        ("", "Node") => "nodes",
        _ => {
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Failure::bad_request(why));
        }
    };
    let row = kinds::by_resource("", "v1", plural).unwrap_or(&target.row);
    let namespace = if row.is_namespaced() { target.namespace.clone() } else { String::new() };
    let object_target = Target { row: Arc::clone(row), namespace, name: text("name").to_owned() };
    let entry = object_target.read(&*server.config.store).await?;
    let object = decode_entry(row, &entry)?;
    let found = reference(&object);
    let is = found.uid.clone();
    let bound = match kind {
        "Pod" => {
            let account =
                object.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
            if account != target.name {
                let why = format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    target.name
                );
                return Err(Failure::bad_request(why));
            }
            Bound::Pod(found, node_of(server, &object).await?)
        }
        "Secret" => Bound::Secret(found),
        _ => Bound::Node(found),
    };
    if !uid.is_empty() && uid != is {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        // As upstream has it, the resource is the kind.
        let subject = Subject { resource: kind.to_owned(), ..object_target.subject() };
        return Err(Failure::about(&status::conflict(&subject, &why), &subject));
    }
    Ok(bound)
}

async fn node_of(server: &Inner, pod: &Value) -> Outcome<Option<Reference>> {
    let name = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or("");
    let Some(row) = kinds::by_resource("", "v1", "nodes").filter(|_| !name.is_empty()) else {
        return Ok(None);
    };
    let target = Target { row: Arc::clone(row), namespace: String::new(), name: name.to_owned() };
    match server.config.store.get(&target.key()).await?.entry {
        Some(entry) => Ok(Some(reference(&decode_entry(row, &entry)?))),
        None => Ok(None),
    }
}
