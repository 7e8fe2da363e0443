//! Patch: four formats, one loop.

use std::sync::Arc;

use hako_kube::field::Told;
use hako_kube::status::{self, Subject};
use hako_kube::{Status, field};
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;

use super::apart::Old;
use super::convert;
use super::create::store_new;
use super::decode;
use super::encoded::head_value;
use super::options::{self, OptionsOf};
use super::ownership::{self, Writer};
use super::target::Target;
use super::update::{ATTEMPTS, attempt, modify};
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds::Served;
use crate::patch;
use crate::schema::{self, Decoded, FieldValidation, Shape};
use crate::server::Inner;

/// The format of a patch, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    fn of(request: &Request) -> Outcome<Self> {
        let content_type = request.header(header::CONTENT_TYPE);
        match content_type.split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            other => Err(unsupported(
                "application/strategic-merge-patch+json, application/apply-patch+yaml",
                other,
            )),
        }
    }

    /// The same for the objects of a kind, which may not know how its lists merge.
    pub(super) fn of_kind(request: &Request, row: &Served) -> Outcome<Self> {
        match Self::of(request)? {
            Self::Strategic if !row.takes_strategic_patches => {
                Err(unsupported("application/apply-patch+yaml", request.header(header::CONTENT_TYPE)))
            }
            format => Ok(format),
        }
    }

    /// Reads a patch. As upstream has it, only that of one of the formats is called a patch where it cannot be read.
    pub(super) fn decode(self, body: &[u8]) -> Outcome<Decoded> {
        let prefix = if self == Self::Strategic { "" } else { "error decoding patch: " };
        schema::decode::json(body).map_err(|error| Failure::bad_request(format!("{prefix}{error}")))
    }

    /// What is said twice in a patch, and what an operation has no use for.
    fn strict_faults(self, patch: &Decoded) -> Vec<String> {
        const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];
        let prefix = if self == Self::Json { "json patch " } else { "" };
        let mut faults = Told::<String>::default();
        for path in &patch.duplicates {
            faults.push(|| format!("{prefix}duplicate field {path:?}"));
        }
        let operations = patch.value.as_array().filter(|_| self == Self::Json);
        for (at, operation) in operations.into_iter().flatten().enumerate() {
            let members = operation.as_object().into_iter().flatten();
            for (name, _) in members.filter(|(name, _)| !MEMBERS.contains(&name.as_str())) {
                faults.push(|| format!("{prefix}unknown field {:?}", format!("[{at}].{name}")));
            }
        }
        faults.into_all()
    }

    /// Whether a patch may read or change who owns what: one that says nothing of it leaves it as it is. Operations may
    /// copy all of the metadata.
    fn may_reach_owners(self, patch: &Value) -> bool {
        let metadata = patch.get("metadata").and_then(Value::as_object).into_iter().flatten();
        self == Self::Json || metadata.into_iter().any(|(name, _)| name.ends_with("managedFields"))
    }

    /// A patch as it is read. What is merged strategically passes through Go's own numbers, the others stay as they are written.
    pub(super) fn change(self, mut sent: Value) -> Value {
        if self == Self::Strategic {
            schema::decode::whole_numbers(&mut sent);
        }
        sent
    }

    /// What `object` becomes. Not for apply.
    pub(super) fn apply_to(self, object: &Value, change: &Value, shape: &Shape) -> Outcome<Value> {
        Ok(match self {
            Self::Json => patch::json(object, change).map_err(hako_error::Error::from)?,
            Self::Merge => patch::merge(object, change),
            Self::Strategic => {
                patch::strategic(schema::model(), shape, object, change).map_err(hako_error::Error::from)?
            }
            Self::Apply => return Err(Failure::method_not_allowed()),
        })
    }
}

fn unsupported(others: &str, given: &str) -> Failure {
    let text = format!(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json, {others}; got {given:?}"
    );
    Status::failure(415, "UnsupportedMediaType", text).into()
}

/// Changes part of an object, or of one of its parts.
pub(crate) async fn patch(server: &Arc<Inner>, request: &Request, target: &Target, part: &str) -> Outcome {
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let format = Format::of_kind(request, &target.row)?;
    if format == Format::Apply {
        return apply(server, request, target, part).await;
    }
    let is_dry_run = options::is_dry_run(request, OptionsOf::Patch)?;
    let sent = format.decode(&request.body)?;
    let mode = decode::validation(request)?;
    let strict = if mode == FieldValidation::Ignore { Vec::new() } else { format.strict_faults(&sent) };
    let change = format.change(sent.value);
    let writer = Writer::of(request, part);
    let shape = target.row.shape();
    let warnings = Mutex::new(Vec::new());
    let is_about_owners = format.may_reach_owners(&change);
    let made = |old: &Old| Ok::<_, Failure>(format.apply_to(&old.whole(), &change, shape)?.to_string());
    let apply = |old: &Old| {
        let whole = is_about_owners.then(|| old.whole());
        let seen = whole.as_ref().unwrap_or(&old.object);
        let new = format.apply_to(seen, &change, shape)?;
        if mode == FieldValidation::Strict && !strict.is_empty() {
            let text = format!("strict decoding error: {}", strict.join(", "));
            return Err(unfit(&Failure::bad_request(text), made(old)?));
        }
        let sent = match decode::admit(request, &target.row, new) {
            Err(failure) if failure.is(400) => return Err(unfit(&failure, made(old)?)),
            other => other?,
        };
        *warnings.lock() = sent.warnings;
        Ok(sent.object)
    };
    let stored = modify(server, target, &writer, is_dry_run, apply).await?;
    let mut response = stored.render(target, form, StatusCode::OK)?;
    answer::warn(&mut response, &strict);
    answer::warn(&mut response, &warnings.into_inner());
    Ok(response)
}

/// What a patch makes of an object does not fit its type: as upstream has it the patch is at fault.
pub(super) fn unfit(failure: &Failure, made: String) -> Failure {
    let subject = Subject::default();
    let cause = field::invalid("patch", made, &failure.status().message);
    Failure::about(&status::invalid(&subject, vec![cause]), &subject)
}

/// Applies a configuration: creates the object or merges into it, by field ownership.
async fn apply(server: &Arc<Inner>, request: &Request, target: &Target, part: &str) -> Outcome {
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let is_dry_run = options::is_dry_run(request, OptionsOf::Apply)?;
    let force = request.query.flag("force");
    let writer = Writer::applying(request, part);
    let configuration = decode::yaml(&request.body)?;
    patch::apply::fits(target.row.shape(), &configuration)
        .map_err(|error| ownership::not_applied(error, &target.subject()))?;
    let sent = decode::admit(request, &target.row, configuration)?;
    for _ in 0..ATTEMPTS {
        let (code, stored) = match server.config.store.get(&target.key()).await?.entry {
            Some(entry) => {
                let shown = convert::shown(server, &target.row, Arc::clone(&entry)).await?;
                let old = Old::decode(&target.row, &shown)?;
                let live = old.whole();
                let new =
                    ownership::applied_across(server, &writer, target, &live, &sent.object, force).await?;
                (StatusCode::OK, attempt(server, target, &writer, is_dry_run, &entry, &old, new).await?)
            }
            None if !part.is_empty() => return Err(target.not_found()),
            None => {
                let uid = head_value(&sent.object, "uid");
                if !uid.is_empty() {
                    return Err(target.conflict(&format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    )));
                }
                let new = ownership::applied(&writer, target, None, &sent.object, force)?;
                let created = match store_new(server, target, new, &writer, is_dry_run).await {
                    Err(failure) if failure.is(409) => None,
                    other => Some(other?),
                };
                (StatusCode::CREATED, created)
            }
        };
        if let Some(stored) = stored {
            let mut response = stored.render(target, form, code)?;
            answer::warn(&mut response, &sent.warnings);
            return Ok(response);
        }
    }
    Err(target.modified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_patch_says_twice_or_in_vain_is_told() {
        let faults = |format: Format, body: &str| {
            format.strict_faults(&schema::decode::json(body.as_bytes()).unwrap())
        };
        let twice = r#"{"data": {"a": "1", "a": "2"}}"#;
        assert_eq!(faults(Format::Merge, twice), [r#"duplicate field "data.a""#]);
        assert_eq!(faults(Format::Strategic, twice), [r#"duplicate field "data.a""#]);
        let operations = r#"[{"op": "add", "path": "/a", "value": 1, "values": 2}, {"op": "test", "op": "remove", "path": "/a"}]"#;
        let told = [r#"json patch duplicate field "[1].op""#, r#"json patch unknown field "[0].values""#];
        assert_eq!(faults(Format::Json, operations), told);
        assert_eq!(faults(Format::Merge, r#"{"values": 2}"#), [""; 0]);
    }
}
