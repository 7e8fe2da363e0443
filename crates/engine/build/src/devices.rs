//! Which devices a `RUN --device` means, and whether the build may have them.

use crate::dockerfile::Device;
use crate::request::Entitlement;
use hako_cdi::Devices;
use hako_error::{Error, Kind, Result};
use std::collections::BTreeSet;

/// The class that `RUN --device=CLASS` names.
const CLASS: &str = "org.mobyproject.buildkit.device.class";
/// Whether a device may be had without being allowed.
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";

/// The full names that a flag means: `vendor/class` is the first of its kind, `vendor/class=*` all, and what is no
/// device's name is a class. None for what is not there and not required.
pub(crate) fn select<'a>(known: &'a Devices, wanted: &Device) -> Result<Vec<&'a str>> {
    let mut found = by_name(known, &wanted.name);
    if found.is_empty() {
        let class = |name: &&str| known.get(name).and_then(|device| device.annotation(CLASS));
        found = known.names().filter(|name| class(name).as_deref() == Some(&*wanted.name)).collect();
    }
    match found.is_empty() && wanted.is_required {
        true => Err(Error::from(known.missing(&wanted.name))
            .context(format!("RUN --device={}: the device is required", wanted.name))),
        false => Ok(found),
    }
}

fn by_name<'a>(known: &'a Devices, wanted: &str) -> Vec<&'a str> {
    let (kind, device) = wanted.split_once('=').unwrap_or((wanted, ""));
    let mut of_kind = known.names().filter(|name| name.split_once('=').is_some_and(|(own, _)| own == kind));
    match device {
        "" => of_kind.take(1).collect(),
        "*" => of_kind.collect(),
        _ => of_kind.find(|name| *name == wanted).into_iter().collect(),
    }
}

/// Whether the build may have the device.
pub(crate) fn check_allowed(known: &Devices, name: &str, allowed: &BTreeSet<Entitlement>) -> Result<()> {
    let is_named = allowed.iter().any(|one| match one {
        Entitlement::Device(None) => true,
        Entitlement::Device(Some(device)) => device == name,
        _ => false,
    });
    let auto = known.get(name).and_then(|device| device.annotation(AUTO_ALLOW));
    // As Go reads a truth value.
    let is_auto = auto.is_some_and(|value| ["1", "t", "T", "true", "TRUE", "True"].contains(&&*value));
    match is_named || is_auto {
        true => Ok(()),
        false => {
            let message = format!("RUN --device={name} has to be allowed: build with --allow device={name}");
            Err(Error::new(Kind::Forbidden, message))
        }
    }
}
