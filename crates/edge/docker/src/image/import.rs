//! `POST /images/create`: a root file system becomes an image, or one is pulled.

use super::{body_reader, changes, lines, platform, target};
use crate::error::{Answer, Failure, blocking, invalid, unimplemented};
use crate::params::Params;
use crate::{DockerState, system};
use axum::extract::{Request, State};
use hako_oci::image::ImageConfiguration;
use serde_json::json;

/// `?fromSrc=-` imports a root file system from the body; `?fromImage=` pulls.
pub(crate) async fn create(State(state): State<DockerState>, params: Params, request: Request) -> Answer {
    if let Some(image) = params.get("fromImage") {
        return super::pull::pull(state.clone(), image, &params, request.headers()).await;
    }
    if params.get("fromSrc") != Some("-") {
        return Err(unimplemented(
            "importing from an address is unimplemented: send the tar as the body with fromSrc=-",
        ));
    }
    let name = match params.get("repo") {
        Some(_) => target(&params)?,
        None => return Err(invalid("repo is missing: name the image that is to be made")),
    };
    let config = import_config(&params)?;
    let images = state.images.clone();
    let body = body_reader(request.into_body());
    let image = blocking(move || images.import_rootfs(body, &name, config)).await?;
    let names = image.names.iter().map(ToString::to_string);
    names.for_each(|name| state.events.image("tag", &image.id.to_string(), &name, &image));
    state.events.image("import", &image.id.to_string(), &image.display_name(), &image);
    Ok(lines(&[json!({ "status": image.id })]))
}

/// The configuration of an image of one imported layer.
fn import_config(params: &Params) -> Result<ImageConfiguration, Failure> {
    let mut config = json!({});
    changes::apply(params, &mut config)?;
    let now = jiff::Timestamp::now().to_string();
    let comment = params.get("message").unwrap_or("Imported from -");
    let platform = platform::wanted(params)?;
    let architecture = platform.as_ref().map_or(system::architecture(), |platform| &platform.architecture);
    let whole = json!({
        "created": now, "architecture": architecture, "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": [] }, "history": [{ "created": now, "comment": comment }],
    });
    serde_json::from_value(whole).map_err(|error| invalid(format!("changes: {error}")))
}
