//! `serviceaccounts/token`: authentication.k8s.io/v1 `TokenRequest`.

use std::sync::Arc;

use hako_error::FieldCause;
use hako_kube::field;
use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::encoded::{decode as decode_entry, head_value};
use super::ownership::Writer;
use super::target::Target;
use crate::admission::{self, Operation};
use crate::auth::token::{self, Bound, Reference, Wanted};
use crate::http::{Outcome, Request, answer};
use crate::kinds;
use crate::server::Inner;

const SECONDS_BY_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

/// Issues a token of an account.
pub(crate) async fn request_token(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    const TYPE_NAME: &str = "io.k8s.api.authentication.v1.TokenRequest";
    let sent = decode::any(request)?;
    let mut sent = decode::part(request, sent, "authentication.k8s.io/v1", TYPE_NAME)?;
    let entry = target.read(&*server.config.store).await?;
    let account = decode_entry(&target.row, &entry)?;
    let writer = Writer::of(request, "token");
    admission::ask_others(&writer.change(server, Operation::Create, target, None), &mut sent).await?;
    let writer = writer.settled();
    admission::validate(&writer.change(server, Operation::Create, target, None), &sent).await?;
    let seconds = sent.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    let seconds = seconds.unwrap_or(SECONDS_BY_DEFAULT);
    if let Some(cause) = fault(seconds) {
        return Err(target.invalid(vec![cause]));
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
            "name": target.name, "namespace": target.namespace, "creationTimestamp": hako_kube::time::now(),
        },
        "spec": {"audiences": shown, "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": hako_kube::time::seconds(ends)},
    });
    object["spec"]["boundObjectRef"] = sent.pointer("/spec/boundObjectRef").cloned().unwrap_or(Value::Null);
    Ok(answer::json(StatusCode::CREATED, &object))
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
    let plural = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        "Node" => "nodes",
        other => {
            let cause = field::not_supported("spec.boundObjectRef.kind", other, &["Node", "Pod", "Secret"]);
            return Err(target.invalid(vec![cause]));
        }
    };
    let row = kinds::by_resource("", "v1", plural).unwrap_or(&target.row);
    let namespace = if row.is_namespaced() { target.namespace.clone() } else { String::new() };
    let object_target = Target { row: Arc::clone(row), namespace, name: text("name").to_owned() };
    let entry = object_target.read(&*server.config.store).await?;
    let object = decode_entry(row, &entry)?;
    let found = reference(&object);
    if !uid.is_empty() && uid != found.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(object_target.conflict(&why));
    }
    Ok(match kind {
        "Pod" => {
            let account =
                object.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or("default");
            if account != target.name {
                let why = format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    target.name
                );
                let cause = field::invalid("spec.boundObjectRef", found.name, &why);
                return Err(target.invalid(vec![cause]));
            }
            Bound::Pod(found, node_of(server, &object).await?)
        }
        "Secret" => Bound::Secret(found),
        _ => Bound::Node(found),
    })
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
