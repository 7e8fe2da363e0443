//! Versions of the interface, and which one each field came with.

use crate::spec::{Edits, Spec};

/// Major and minor; the patch has always been 0.
type Version = (u32, u32);

const KNOWN: [(&str, Version); 10] = [
    ("0.1.0", (0, 1)),
    ("0.2.0", (0, 2)),
    ("0.3.0", (0, 3)),
    ("0.4.0", (0, 4)),
    ("0.5.0", (0, 5)),
    ("0.6.0", (0, 6)),
    ("0.7.0", (0, 7)),
    ("0.8.0", (0, 8)),
    ("1.0.0", (1, 0)),
    ("1.1.0", (1, 1)),
];

/// The version of that name.
pub(crate) fn known(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    KNOWN.iter().find(|(name, _)| *name == text).map(|(_, version)| *version)
}

/// The first field that is newer than the version the file names, with the version that it came with.
pub(crate) fn too_new(spec: &Spec, version: Version) -> Option<(&'static str, &'static str)> {
    let class = spec.kind.split_once('/').map_or("", |(_, class)| class);
    let edits = || spec.devices.iter().map(|device| &device.container_edits).chain([&spec.container_edits]);
    let has = |asks: fn(&Edits) -> bool| edits().any(asks);
    let uses = [
        ("a type of a mount", "0.4.0", has(|edits| edits.mounts.iter().any(|mount| mount.r#type.is_some()))),
        ("hostPath", "0.5.0", has(|edits| edits.device_nodes.iter().any(|node| node.host_path.is_some()))),
        (
            "a device's name that begins with a digit",
            "0.5.0",
            spec.devices.iter().any(|device| device.name.starts_with(|first: char| first.is_ascii_digit())),
        ),
        (
            "annotations",
            "0.6.0",
            !spec.annotations.is_empty() || spec.devices.iter().any(|device| !device.annotations.is_empty()),
        ),
        ("a class with a dot", "0.6.0", class.contains('.')),
        ("additionalGids", "0.7.0", has(|edits| !edits.additional_gids.is_empty())),
        ("intelRdt", "0.7.0", has(|edits| edits.intel_rdt.is_some())),
        ("netDevices", "1.1.0", has(|edits| !edits.net_devices.is_empty())),
    ];
    let newer = uses
        .into_iter()
        .find(|(_, since, is_used)| *is_used && known(since).is_some_and(|since| since > version));
    newer.map(|(field, since, _)| (field, since))
}
