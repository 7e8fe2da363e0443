//! The `scale` of workloads.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::Value;

use super::create::Stored;
use super::decode;
use super::encoded::{decode as decode_entry, decode_at};
use super::options::{self, OptionsOf};
use super::ownership::Writer;
use super::patch::Format;
use super::target::Target;
use super::update::modify;
use crate::http::{Outcome, Request, answer};
use crate::kinds::scale;
use crate::server::Inner;

const TYPE_NAME: &str = "io.k8s.api.autoscaling.v1.Scale";

/// Reads the scale of an object.
pub(crate) async fn get_scale(server: &Inner, target: &Target) -> Outcome {
    let entry = target.read(&*server.config.store).await?;
    Ok(answer::json(StatusCode::OK, &scale::of(&decode_entry(target.row, &entry)?)))
}

/// Replaces or patches the scale of an object.
pub(crate) async fn write_scale(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let writer = Writer::of(request, "");
    let wanted = wanted(request)?;
    let is_dry_run = options::is_dry_run(request, options_of(request)?)?;
    let stored = modify(server, target, &writer, is_dry_run, |old| {
        let scale = wanted(&scale::of(old))?;
        let mut new = old.clone();
        scale::apply(&mut new, &scale).map_err(|causes| target.invalid(causes))?;
        if let Some(version) = scale.pointer("/metadata/resourceVersion") {
            new["metadata"]["resourceVersion"] = version.clone();
        }
        Ok(new)
    })
    .await?;
    let object = match stored {
        Stored::Bytes(stored, revision) => decode_at(target.row, &stored, revision)?,
        Stored::Value(object) => *object,
    };
    Ok(answer::json(StatusCode::OK, &scale::of(&object)))
}

fn options_of(request: &Request) -> Outcome<OptionsOf> {
    if request.method == Method::PUT {
        return Ok(OptionsOf::Update);
    }
    Ok(if Format::of(request)? == Format::Apply { OptionsOf::Apply } else { OptionsOf::Patch })
}

/// From the scale as it is to the scale as it should be.
type Change = Box<dyn Fn(&Value) -> Outcome<Value> + Send + Sync>;

fn wanted(request: &Request) -> Outcome<Change> {
    if request.method == Method::PUT {
        let mut sent = decode::any(request)?;
        decode::set_type(&mut sent, "autoscaling/v1", "Scale")?;
        return Ok(Box::new(move |_| Ok(sent.clone())));
    }
    let format = Format::of(request)?;
    let change = decode::yaml(&request.body)?;
    Ok(Box::new(move |scale| match format {
        Format::Apply => Ok(crate::patch::merge(scale, &change)),
        format => format.apply_to(scale, &change, TYPE_NAME),
    }))
}
