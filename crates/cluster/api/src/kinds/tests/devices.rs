//! The kinds of resource.k8s.io.

use super::samples::{refused, sample};
use super::*;

fn made(kind: &str) -> Value {
    created(kind, sample(kind))
}

#[test]
fn a_claim_asks_for_one_device_unless_it_says_otherwise() {
    let exactly = json!({"deviceClassName": "sample", "allocationMode": "ExactCount", "count": 1});
    assert_eq!(made("ResourceClaim")["spec"]["devices"]["requests"][0]["exactly"], exactly);
    assert_eq!(made("ResourceClaimTemplate")["spec"]["spec"]["devices"]["requests"][0]["exactly"], exactly);
    let mut all = sample("ResourceClaim");
    all["spec"]["devices"]["requests"][0]["exactly"]["allocationMode"] = "All".into();
    let all = created("ResourceClaim", all);
    assert_eq!(all["spec"]["devices"]["requests"][0]["exactly"].get("count"), None);
    assert_eq!(row("ResourceClaim").check_create(&all), []);
}

#[test]
fn faulty_claims_for_devices_are_refused_as_upstream_words_it() {
    let many: Vec<Value> =
        (0..33).map(|at| json!({"name": format!("r{at}"), "exactly": {"deviceClassName": "a"}})).collect();
    refused(
        "ResourceClaim",
        [
            (
                "spec.devices.requests.0.exactly",
                Value::Null,
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ),
            (
                "spec.devices.requests.0.firstAvailable",
                json!([{"name": "a", "deviceClassName": "a"}]),
                "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
            ),
            (
                "spec.devices.requests.0.exactly.deviceClassName",
                json!(""),
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
            ),
            (
                "spec.devices.requests.0.exactly.count",
                json!(-1),
                "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero",
            ),
            (
                "spec.devices.requests.0.exactly.allocationMode",
                json!("x"),
                "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"x\": supported values: \"All\", \"ExactCount\"",
            ),
            (
                "spec.devices.requests.0.exactly.selectors",
                json!([{}]),
                "spec.devices.requests[0].exactly.selectors[0].cel: Required value",
            ),
            (
                "spec.devices.requests.0.exactly.tolerations",
                json!([{"operator": "Equal"}]),
                "spec.devices.requests[0].exactly.tolerations[0].operator: Invalid value: \"Equal\": must be `Exists` when key is empty",
            ),
            (
                "spec.devices.requests",
                json!(many),
                "spec.devices.requests: Too many: 33: must have at most 32 items",
            ),
            (
                "spec.devices.config",
                json!([{"requests": ["x"], "opaque": {"driver": "a.io", "parameters": {}}}]),
                "spec.devices.config[0].requests[0]: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            ),
            ("spec.devices.config", json!([{}]), "spec.devices.config[0].opaque: Required value"),
            (
                "spec.devices.constraints",
                json!([{"matchAttribute": "model"}]),
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": must include a domain",
            ),
        ],
    );
}

#[test]
fn what_a_claim_asks_for_and_got_stays() {
    let claim = made("ResourceClaim");
    let mut new = claim.clone();
    new["spec"]["devices"] = json!({});
    assert!(update_faults("ResourceClaim", &claim, &new)[0].ends_with("field is immutable"));
    let got = |device: &str| json!({"devices": {"results": [{"request": "gpu", "driver": "a.io", "pool": "p", "device": device}]}});
    let user = json!([{"resource": "pods", "name": "p", "uid": "1"}]);
    accepted_change(
        "ResourceClaim",
        &claim,
        [("/status", json!({"allocation": got("gpu-0"), "reservedFor": user}))],
    );
    refused_change(
        "ResourceClaim",
        &claim,
        [
            (
                "/status/reservedFor",
                user.clone(),
                "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
            ),
            (
                "/status/allocation",
                json!({"devices": {"results": [{"request": "x", "driver": "a.io", "pool": "p", "device": "d"}]}}),
                "status.allocation.devices.results[0].request: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            ),
        ],
    );
    let mut allocated = claim;
    allocated["status"] = json!({ "allocation": got("gpu-0") });
    let mut new = allocated.clone();
    new["status"]["allocation"] = got("gpu-1");
    assert!(
        update_faults("ResourceClaim", &allocated, &new)[0].starts_with("status.allocation: Invalid value: ")
    );
}

#[test]
fn faulty_classes_of_devices_are_refused_as_upstream_words_it() {
    refused(
        "DeviceClass",
        [
            ("spec.selectors", json!([{}]), "spec.selectors[0].cel: Required value"),
            (
                "spec.selectors.0.cel.expression",
                json!("x".repeat(10_241)),
                "spec.selectors[0].cel.expression: Too long: may not be more than 10240 bytes",
            ),
            ("spec.config", json!([{"opaque": {}}]), "spec.config[0].opaque.driver: Required value"),
            (
                "spec.extendedResourceName",
                json!("cpu"),
                "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
            ),
        ],
    );
}

#[test]
fn faulty_slices_are_refused_as_upstream_words_it() {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    refused(
        "ResourceSlice",
        [
            ("spec.driver", json!(""), "spec.driver: Required value"),
            ("spec.pool.name", json!(""), "spec.pool.name: Required value"),
            (
                "spec.pool.resourceSliceCount",
                json!(0),
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
            ),
            ("spec.nodeName", Value::Null, leak(format!("spec: Required value: {ONE}"))),
            (
                "spec.allNodes",
                json!(true),
                leak(format!(
                    "spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": {ONE}, but multiple fields are set"
                )),
            ),
            (
                "spec.allNodes",
                json!(false),
                "spec.allNodes: Invalid value: false: must be either unset or set to true",
            ),
            (
                "spec.devices.0.attributes.model",
                json!({}),
                "spec.devices[0].attributes[model]: Invalid value: \"\": exactly one value must be specified",
            ),
            (
                "spec.devices.0.attributes.version.version",
                json!("1.2"),
                "spec.devices[0].attributes[version].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
            ),
            (
                "spec.devices",
                json!([{"name": "a"}, {"name": "a"}]),
                "spec.devices[1]: Duplicate value: \"a\"",
            ),
        ],
    );
    refused_change(
        "ResourceSlice",
        &made("ResourceSlice"),
        [
            ("/spec/driver", json!("b.io"), "spec.driver: Invalid value: \"b.io\": field is immutable"),
            ("/spec/pool/name", json!("b"), "spec.pool.name: Invalid value: \"b\": field is immutable"),
            ("/spec/nodeName", json!("b"), "spec.nodeName: Invalid value: \"b\": field is immutable"),
        ],
    );
}

#[test]
fn devices_and_claims_print_as_kubectl_shows_them() {
    let mut claim = made("ResourceClaim");
    assert_eq!(cells("ResourceClaim", &claim), ["sample", "pending", "<unknown>"]);
    claim["status"] = json!({"allocation": {}, "reservedFor": [{}]});
    assert_eq!(cells("ResourceClaim", &claim)[1], "allocated,reserved");
    claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(cells("ResourceClaim", &claim)[1], "deleted,allocated,reserved");
    assert_eq!(
        cells("ResourceSlice", &made("ResourceSlice")),
        ["sample", "node-1", "gpus.example.com", "node-1", "<unknown>"]
    );
    assert_eq!(cells("DeviceClass", &made("DeviceClass")), ["sample", "<unknown>"]);
}
