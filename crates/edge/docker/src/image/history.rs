//! `GET /images/{name}/history`.

use super::{find, platform, tags};
use crate::DockerState;
use crate::error::{Answer, blocking};
use crate::params::Params;
use axum::Json;
use axum::response::IntoResponse;
use hako_image::Image;
use serde_json::{Value, json};

/// The configuration's history, newest first, each entry with the size of its layer.
pub(super) async fn history(state: &DockerState, name: &str, params: &Params) -> Answer {
    let image = find(state, name).await?;
    platform::check(params, &image)?;
    let (sizes, images, measured) = (state.sizes.clone(), state.images.clone(), image.clone());
    let unpacked = blocking(move || Ok(sizes.unpacked(&images, &measured))).await?;
    Ok(Json(entries(&image, &unpacked)).into_response())
}

fn entries(image: &Image, unpacked: &[u64]) -> Vec<Value> {
    let layers = image.layers.iter().zip(unpacked);
    // A layer that is not unpacked has no other size than that of its blob.
    let mut sizes = layers.map(|(layer, bytes)| if *bytes > 0 { *bytes } else { layer.size });
    let entry = |created: &Value, size: u64, created_by: &Value, comment: &Value| {
        let created = created.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        json!({
            "Id": "<missing>", "Created": created.map_or(0, |created| created.as_second()),
            "CreatedBy": created_by.as_str().unwrap_or_default(), "Tags": null, "Size": size,
            "Comment": comment.as_str().unwrap_or_default(),
        })
    };
    let recorded = image.raw_config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut shown: Vec<Value> = Vec::new();
    for one in recorded {
        let is_empty = one["empty_layer"].as_bool().unwrap_or(false);
        let size = if is_empty { 0 } else { sizes.next().unwrap_or(0) };
        shown.push(entry(&one["created"], size, &one["created_by"], &one["comment"]));
    }
    // OCI image specification, "history" is optional: layers without an entry are shown for their sizes.
    let unrecorded: Vec<u64> = sizes.collect();
    for size in unrecorded {
        shown.push(entry(&image.raw_config["created"], size, &Value::Null, &Value::Null));
    }
    shown.reverse();
    if let Some(newest) = shown.first_mut() {
        newest["Id"] = json!(image.id);
        newest["Tags"] = json!(tags(image));
    }
    shown
}
