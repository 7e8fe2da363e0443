//! `--device vendor.com/class=name` and `--gpus`.

use super::super::host::{DeviceRequest, HostConfig};
use crate::error::{Failure, invalid, unimplemented};
use hako_container::CdiDevice;

/// What `--gpus` asks for.
const GPUS: &str = "nvidia.com/gpu";
/// The capabilities of a request that the vendor's driver meets.
const CAPABILITIES: [&str; 9] =
    ["gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display", "ngx"];

/// The devices of all requests, by their full names.
pub(super) fn cdi_devices(host: &HostConfig) -> Result<Vec<CdiDevice>, Failure> {
    let mut devices = Vec::new();
    for request in host.device_requests.iter().flatten() {
        if request.options.as_ref().is_some_and(|options| !options.is_empty()) {
            return Err(unimplemented(
                "container field HostConfig.DeviceRequests[].Options is unimplemented: leave it out",
            ));
        }
        devices.extend(match request.driver.as_str() {
            "cdi" => named(request)?,
            _ => gpus(request)?,
        });
    }
    Ok(devices)
}

fn named(request: &DeviceRequest) -> Result<Vec<CdiDevice>, Failure> {
    let ids = request.device_ids.iter().flatten();
    ids.map(|name| match hako_cdi::is_qualified(name) {
        true => Ok(CdiDevice { name: name.clone(), refusal: String::new() }),
        false => Err(invalid(format!("unqualified CDI device {name:?}: expected vendor.com/class=name"))),
    })
    .collect()
}

fn gpus(request: &DeviceRequest) -> Result<Vec<CdiDevice>, Failure> {
    let ids: Vec<&String> = request.device_ids.iter().flatten().collect();
    if request.count != 0 && !ids.is_empty() {
        return Err(invalid("cannot set both Count and DeviceIDs on device request"));
    }
    let sets = request.capabilities.clone().unwrap_or_default();
    let refusal = refusal(request, &sets);
    let is_met = |set: &Vec<String>| {
        set.iter().any(|one| one == "gpu" || one == "nvidia")
            && set.iter().all(|one| CAPABILITIES.contains(&one.as_str()))
    };
    if !["", "nvidia"].contains(&request.driver.as_str()) || !sets.iter().any(is_met) {
        return Err(invalid(refusal));
    }
    let wanted: Vec<String> = match (request.count, ids.is_empty()) {
        (count, true) if count < 0 => vec!["all".to_owned()],
        (count, true) => (0..count).map(|index| index.to_string()).collect(),
        _ => ids.into_iter().cloned().collect(),
    };
    let device = |id: String| CdiDevice { name: format!("{GPUS}={id}"), refusal: refusal.clone() };
    Ok(wanted.into_iter().map(device).collect())
}

/// Docker's words, with lists as Go writes them.
fn refusal(request: &DeviceRequest, sets: &[Vec<String>]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| format!("[{}]", set.join(" "))).collect();
    format!("could not select device driver {:?} with capabilities: [{}]", request.driver, sets.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(request: Value) -> Result<Vec<String>, String> {
        let host = serde_json::from_value(json!({ "DeviceRequests": [request] })).unwrap();
        let devices = cdi_devices(&host).map_err(|failure| failure.0.chain())?;
        Ok(devices.into_iter().map(|device| device.name).collect())
    }

    #[test]
    fn devices_are_asked_for_by_name_number_and_count() {
        let gpu = json!([["gpu"]]);
        assert_eq!(read(json!({ "Driver": "cdi", "DeviceIDs": ["a.com/b=c"] })).unwrap(), ["a.com/b=c"]);
        assert_eq!(read(json!({ "Count": -1, "Capabilities": gpu })).unwrap(), ["nvidia.com/gpu=all"]);
        let two = ["nvidia.com/gpu=0", "nvidia.com/gpu=1"];
        assert_eq!(read(json!({ "Count": 2, "Capabilities": gpu })).unwrap(), two);
        let by_id =
            json!({ "Driver": "nvidia", "DeviceIDs": ["GPU-1"], "Capabilities": [["gpu", "utility"]] });
        assert_eq!(read(by_id).unwrap(), ["nvidia.com/gpu=GPU-1"]);
    }

    #[test]
    fn what_no_driver_meets_is_refused_in_docker_s_words() {
        let words = |request| read(request).unwrap_err();
        let other = words(json!({ "Driver": "other", "Capabilities": [["gpu", "x"], ["y"]] }));
        assert_eq!(other, "could not select device driver \"other\" with capabilities: [[gpu x] [y]]");
        assert!(words(json!({ "Count": 1 })).contains("could not select device driver \"\""));
        assert!(words(json!({ "Driver": "cdi", "DeviceIDs": ["gpu0"] })).contains("unqualified"));
        let both = json!({ "Count": 1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]] });
        assert!(words(both).contains("both Count and DeviceIDs"));
    }
}
