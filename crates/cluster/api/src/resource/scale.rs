//! The `scale` of workloads.

use std::sync::Arc;

use hako_kube::Status;
use hako_kube::status::Subject;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::apart::Old;
use super::convert;
use super::create::Stored;
use super::decode;
use super::encoded::{decode as decode_entry, decode_at};
use super::options::{self, OptionsOf};
use super::ownership::{self, Writer};
use super::patch::{Format, unfit};
use super::target::Target;
use super::update::modify;
use crate::admission::{self, Operation};
use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds::{Served, scale};
use crate::schema::{self, Decoded, FieldValidation};
use crate::server::Inner;

const PART: &str = "scale";
const TYPE_NAME: &str = "io.k8s.api.autoscaling.v1.Scale";

/// Reads the scale of an object.
pub(crate) async fn get_scale(server: &Inner, target: &Target) -> Outcome {
    let entry = target.read(&*server.config.store).await?;
    let entry = convert::shown(server, &target.row, entry).await?;
    let object = decode_entry(&target.row, &entry)?;
    let paths = target.row.strategy().scale_paths();
    readable(paths, &object)?;
    if !scale::is_set(paths, &object) {
        let path = format!(".{}", paths.wanted.join("."));
        let text = format!("Internal error occurred: the spec replicas field {path:?} does not exist");
        return Err(Status::failure(500, "InternalError", text).into());
    }
    Ok(answer::json(StatusCode::OK, &scale::of(paths, &object)))
}

/// What is of another type than a scale has it cannot be told in one; nobody else is to blame for that than the object.
fn readable(paths: &scale::Paths, object: &Value) -> Outcome<()> {
    match scale::fault(paths, object) {
        Some(text) => Err(Status::failure(500, "", text).into()),
        None => Ok(()),
    }
}

/// Replaces or patches the scale of an object.
pub(crate) async fn write_scale(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let row = &target.row;
    let is_dry_run = options::is_dry_run(request, options_of(request, row)?)?;
    let replicas = admitted(server, request, target, &wanted(request, row)?).await?;
    let stored = match request.method == Method::PATCH && Format::of_kind(request, row)? == Format::Apply {
        true => apply(server, request, target, is_dry_run, replicas).await?,
        false => change(server, request, target, is_dry_run, replicas).await?,
    };
    let object = match stored {
        Stored::Bytes(stored, revision) => decode_at(&target.row, &stored, revision)?,
        Stored::Value(object) => *object,
    };
    Ok(answer::json(StatusCode::OK, &scale::of(target.row.strategy().scale_paths(), &object)))
}

async fn change(
    server: &Arc<Inner>,
    request: &Request,
    target: &Target,
    is_dry_run: bool,
    replicas: Option<Value>,
) -> Outcome<Stored> {
    let writer = Writer::of(request, "").owning_through(PART).settled();
    let (wanted, paths) = (wanted(request, &target.row)?, target.row.strategy().scale_paths());
    modify(server, target, &writer, is_dry_run, |Old { object: old, .. }| {
        readable(paths, old)?;
        let mut scale = wanted(&scale::to_change(paths, old))?;
        if let Some(replicas) = &replicas {
            scale["spec"]["replicas"] = replicas.clone();
        }
        not_empty(paths, &scale)?;
        let mut new = old.clone();
        scale::apply(paths, &mut new, &scale).map_err(|causes| target.invalid(causes))?;
        if let Some(version) = scale.pointer("/metadata/resourceVersion") {
            new["metadata"]["resourceVersion"] = version.clone();
        }
        Ok(new)
    })
    .await
}

/// What is applied to a scale is applied to the replicas of the object, whose fields are owned.
async fn apply(
    server: &Arc<Inner>,
    request: &Request,
    target: &Target,
    is_dry_run: bool,
    replicas: Option<Value>,
) -> Outcome<Stored> {
    let writer = Writer::applying(request, "").owning_through(PART).settled();
    let (sent, wanted) = (decode::yaml(&request.body)?, wanted(request, &target.row)?);
    let (force, paths) = (request.query.flag("force"), target.row.strategy().scale_paths());
    let configuration = json!({
        "apiVersion": target.row.api_version(), "kind": *target.row.kind, "metadata": {"name": target.name},
    });
    modify(server, target, &writer, is_dry_run, |before| {
        let old = &before.object;
        readable(paths, old)?;
        let scale = wanted(&scale::to_change(paths, old))?;
        not_empty(paths, &scale)?;
        scale::apply(paths, &mut old.clone(), &scale).map_err(|causes| target.invalid(causes))?;
        let mut configuration = configuration.clone();
        let replicas = replicas.as_ref().or_else(|| sent.pointer("/spec/replicas"));
        if let Some(replicas) = replicas.filter(|replicas| !replicas.is_null()) {
            scale::set(paths, &mut configuration, replicas.clone());
        }
        ownership::applied(&writer, target, Some(&before.whole()), &configuration, force)
    })
    .await
}

/// What has no replicas cannot be left without.
fn not_empty(paths: &scale::Paths, scale: &Value) -> Outcome<()> {
    if scale::is_unset(scale) {
        let path = format!(".{}", paths.wanted.join("."));
        return Err(Failure::bad_request(format!("the spec replicas field {path:?} cannot be empty")));
    }
    Ok(())
}

/// Asks webhooks and policies about the scale as it is about to be; the replicas, if one of them changes those.
async fn admitted(
    server: &Inner,
    request: &Request,
    target: &Target,
    wanted: &Change,
) -> Outcome<Option<Value>> {
    let entry = target.read(&*server.config.store).await?;
    let entry = convert::shown(server, &target.row, entry).await?;
    let (paths, object) = (target.row.strategy().scale_paths(), decode_entry(&target.row, &entry)?);
    readable(paths, &object)?;
    let old = scale::of(paths, &object);
    let sent = wanted(&old)?;
    let (writer, mut admitted) = (Writer::of(request, "scale"), sent.clone());
    let change = writer.change(server, Operation::Update, target, Some(&old));
    admission::ask_others(&change, &mut admitted).await?;
    let replicas = |scale: &Value| scale.pointer("/spec/replicas").cloned();
    Ok(replicas(&admitted).filter(|_| replicas(&admitted) != replicas(&sent)))
}

fn options_of(request: &Request, row: &Served) -> Outcome<OptionsOf> {
    if request.method == Method::PUT {
        return Ok(OptionsOf::Update);
    }
    Ok(if Format::of_kind(request, row)? == Format::Apply { OptionsOf::Apply } else { OptionsOf::Patch })
}

/// From the scale as it is to the scale as it should be.
type Change = Box<dyn Fn(&Value) -> Outcome<Value> + Send + Sync>;

fn wanted(request: &Request, row: &Served) -> Outcome<Change> {
    let mode = decode::validation(request)?;
    if request.method == Method::PUT {
        let mut sent = decode::any(request, "Scale")?;
        decode::set_type(&mut sent, "autoscaling/v1", "Scale")?;
        let sent = fitted(sent, mode)?;
        return Ok(Box::new(move |_| Ok(sent.clone())));
    }
    let format = Format::of_kind(request, row)?;
    if format == Format::Apply {
        let mut change = decode::yaml(&request.body)?;
        decode::set_type(&mut change, "autoscaling/v1", "Scale")?;
        let shape = schema::model().shape(TYPE_NAME);
        crate::patch::apply::fits(shape, &change)
            .map_err(|error| ownership::not_applied(error, &Subject::default()))?;
        return Ok(Box::new(move |scale| fitted(crate::patch::merge(scale, &change), mode)));
    }
    let change = format.change(format.decode(&request.body)?.value);
    Ok(Box::new(move |scale| {
        let new = format.apply_to(scale, &change, schema::model().shape(TYPE_NAME))?;
        let made = new.to_string();
        fitted(new, mode).map_err(|failure| unfit(&failure, made))
    }))
}

/// A scale as its type has it: what is no number must not be taken for none.
fn fitted(value: Value, mode: FieldValidation) -> Outcome<Value> {
    let decoded = Decoded::of(value);
    Ok(schema::admit_as("Scale", "v1", TYPE_NAME, decoded, mode)?.object)
}
