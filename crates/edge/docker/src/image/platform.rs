//! `platform`: which of the images is meant that a name stands for. Where only one is here, it must be that.

use crate::error::{Failure, invalid, unimplemented};
use crate::params::Params;
use hako_error::{Error, Kind};
use hako_image::Image;
use hako_image::transfer::Platform;
use serde_json::Value;

/// `linux/arm64`, or the same as JSON, as clients since API 1.48 send it.
pub(crate) fn wanted(params: &Params) -> Result<Option<Platform>, Failure> {
    let Some(text) = params.get("platform") else { return Ok(None) };
    if !text.starts_with('{') {
        return Ok(Some(text.parse()?));
    }
    let json: Value = serde_json::from_str(text).map_err(|error| invalid(format!("platform: {error}")))?;
    let part = |name: &str| json[name].as_str().filter(|text| !text.is_empty());
    let (Some(os), Some(architecture)) = (part("os"), part("architecture")) else {
        return Err(invalid("platform: both OS and Architecture must be provided"));
    };
    Ok(Some(Platform::new(os, architecture, part("variant"))))
}

/// What an image is for.
pub(crate) fn of(image: &Image) -> Platform {
    let (os, architecture) = (image.config.os().to_string(), image.config.architecture().to_string());
    Platform::new(&os, &architecture, image.config.variant().as_deref())
}

/// Refuses an image of another platform than the one that is asked for.
pub(super) fn check(params: &Params, image: &Image) -> Result<(), Failure> {
    let here = of(image);
    match wanted(params)? {
        Some(wanted) if wanted.rank(&here).is_none() => Err(Failure(Error::new(
            Kind::NotFound,
            format!("image {} is here for platform {here}, not for {wanted}", image.display_name()),
        ))),
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
