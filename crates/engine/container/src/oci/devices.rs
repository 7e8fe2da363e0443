//! Devices of the host.

use crate::Device;
use crate::error::EngineError;
use hako_oci::runtime::LinuxDeviceType;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

pub(super) fn device_number(device: &Device) -> Result<(LinuxDeviceType, i64, i64), EngineError> {
    let bad = || EngineError::Value {
        what: "device",
        value: device.host_path.display().to_string(),
        expected: "a character or block device of the host",
    };
    let meta = std::fs::metadata(&device.host_path).map_err(|_| bad())?;
    let typ = match meta.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return Err(bad()),
    };
    let number = meta.rdev();
    Ok((typ, i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number))))
}
