//! Log drivers and their options.

use super::super::host::LogConfig;
use super::bytes;
use crate::error::{Failure, invalid, unimplemented};
use hako_container::LogSettings;

pub(super) fn log_settings(config: Option<&LogConfig>) -> Result<LogSettings, Failure> {
    let mut settings = LogSettings::default();
    let Some(config) = config else { return Ok(settings) };
    if !matches!(config.r#type.as_str(), "" | "json-file" | "local") {
        return Err(unimplemented(format!(
            "log driver {:?} is unimplemented: use json-file or local",
            config.r#type
        )));
    }
    for (name, value) in config.config.iter().flatten() {
        let bad = || invalid(format!("log option {name}={value} is not valid"));
        match name.as_str() {
            "max-size" => settings.max_size = bytes(value).filter(|size| *size > 0).ok_or_else(bad)?,
            "max-file" => {
                settings.max_files = value.parse().ok().filter(|count| *count > 0).ok_or_else(bad)?
            }
            _ => {
                return Err(unimplemented(format!(
                    "log option {name} is unimplemented: use max-size or max-file"
                )));
            }
        }
    }
    Ok(settings)
}
