//! `POST /images/create`: a root file system becomes an image, or one is pulled.

use super::{body_reader, changes, lines, platform, readable, target};
use crate::error::{Answer, Failure, blocking, invalid};
use crate::params::Params;
use crate::{DockerState, system};
use axum::extract::{Request, State};
use hako_image::transfer::Stop;
use hako_oci::image::ImageConfiguration;
use serde_json::{Value, json};
use std::io::Read;

/// `?fromSrc=-` imports a root file system from the body, `?fromSrc=ADDRESS` from there; `?fromImage=` pulls.
pub(crate) async fn create(State(state): State<DockerState>, params: Params, request: Request) -> Answer {
    if let Some(image) = params.get("fromImage") {
        return super::pull::pull(state.clone(), image, &params, request.headers()).await;
    }
    let source = source(&params)?;
    let name = params.get("repo").filter(|repo| !repo.is_empty()).map(|_| target(&params)).transpose()?;
    let config = import_config(&params, &source)?;
    let images = state.images.clone();
    let address = (source != "-").then_some(source);
    let told = address.iter().map(|address| json!({ "status": format!("Downloading from {address}") }));
    let mut told: Vec<Value> = told.collect();
    let body = body_reader(request.into_body());
    let stop = Stop::default();
    // Dropped with the request when its client goes.
    let _on_drop = stop.on_drop();
    let image = blocking(move || {
        let tar: Box<dyn Read> = match address {
            Some(address) => Box::new(hako_build::open_address(&address)?),
            None => Box::new(body),
        };
        images.import_rootfs_until(readable(tar)?, name.into_iter().collect(), config, &stop)
    })
    .await?;
    let names = image.names.iter().map(ToString::to_string);
    names.for_each(|name| state.events.image("tag", &image.id.to_string(), &name, &image));
    state.events.image("import", &image.id.to_string(), &image.display_name(), &image);
    told.push(json!({ "status": image.id }));
    Ok(lines(&told))
}

/// `-`, or an address; one without a scheme is http's.
fn source(params: &Params) -> Result<String, Failure> {
    match params.get("fromSrc").unwrap_or_default() {
        "" => Err(invalid("fromSrc is missing: - for a tar in the body, or the address of one")),
        address if address == "-" || address.contains("://") => Ok(address.to_owned()),
        address => Ok(format!("http://{address}")),
    }
}

/// The configuration of an image of one imported layer.
fn import_config(params: &Params, source: &str) -> Result<ImageConfiguration, Failure> {
    let mut config = json!({});
    changes::apply(params, &mut config)?;
    let now = jiff::Timestamp::now().to_string();
    let imported = format!("Imported from {source}");
    let comment = params.get("message").filter(|text| !text.is_empty()).unwrap_or(&imported);
    let platform = platform::wanted(params)?;
    let architecture = platform.as_ref().map_or(system::architecture(), |platform| &platform.architecture);
    let mut whole = json!({
        "created": now, "architecture": architecture, "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": [] }, "history": [{ "created": now, "comment": comment }],
    });
    if let Some(platform) = &platform {
        if platform.os != "linux" {
            return Err(invalid(format!("operating system is not supported: {:?}", platform.os)));
        }
        if let Some(variant) = &platform.variant {
            whole["variant"] = json!(variant);
        }
    }
    serde_json::from_value(whole).map_err(|error| invalid(format!("changes: {error}")))
}
