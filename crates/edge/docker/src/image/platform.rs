//! `platform`: which of the images is meant that a name stands for. Where only one is here, it must be that.

use crate::error::{Failure, invalid, unimplemented};
use crate::params::Params;
use hako_error::{Error, Kind};
use hako_image::Image;
use hako_image::transfer::Platform;
use serde_json::Value;

/// `linux/arm64`, or the same as JSON, as clients since API 1.48 send it.
pub(super) fn wanted(params: &Params) -> Result<Option<Platform>, Failure> {
    let Some(text) = params.get("platform") else { return Ok(None) };
    if !text.starts_with('{') {
        return Ok(Some(text.parse()?));
    }
    let json: Value = serde_json::from_str(text).map_err(|error| invalid(format!("platform: {error}")))?;
    let part = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Ok(Some(Platform { os: part("os"), architecture: part("architecture"), ..Platform::host() }))
}

/// Refuses an image of another platform than the one that is asked for.
pub(super) fn check(params: &Params, image: &Image) -> Result<(), Failure> {
    let (os, architecture) = (image.config.os().to_string(), image.config.architecture().to_string());
    match wanted(params)? {
        Some(wanted) if (&wanted.os, &wanted.architecture) != (&os, &architecture) => {
            Err(Failure(Error::new(
                Kind::NotFound,
                format!(
                    "image {} is here for platform {os}/{architecture}, not for {}/{}",
                    image.display_name(),
                    wanted.os,
                    wanted.architecture
                ),
            )))
        }
        _ => Ok(()),
    }
}

/// Refuses the choice of another platform where all that there is, is taken.
pub(super) fn only_host(params: &Params) -> Result<(), Failure> {
    let host = Platform::host();
    match wanted(params)? {
        Some(wanted) if (&wanted.os, &wanted.architecture) != (&host.os, &host.architecture) => {
            Err(unimplemented("platform of another machine is unimplemented: leave it out"))
        }
        _ => Ok(()),
    }
}
