//! The kinds of resource.k8s.io.

use super::samples::{changed, refused, sample};
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
#[expect(clippy::too_many_lines, reason = "a table of cases")]
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
                json!([{"operator": "Exists", "value": "x"}]),
                "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"x\": must be empty for operator `Exists`",
            ),
            (
                "spec.devices.requests.0.exactly.tolerations",
                json!([{"operator": "x"}]),
                "spec.devices.requests[0].exactly.tolerations[0].operator: Unsupported value: \"x\": supported values: \"Equal\", \"Exists\"",
            ),
            (
                "spec.devices.requests.0.exactly.tolerations",
                json!([{"operator": "Exists", "effect": "x"}]),
                "spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: \"x\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
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
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a name separated by a slash",
            ),
            (
                "spec.devices.constraints",
                json!([{"matchAttribute": "/model"}]),
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"\": the domain must not be empty",
            ),
            (
                "spec.devices.constraints",
                json!([{"matchAttribute": "a.io/"}]),
                "spec.devices.constraints[0].matchAttribute: Invalid value: \"\": the name must not be empty",
            ),
            (
                "spec.devices.constraints",
                json!([{"requests": ["gpu", "gpu"], "matchAttribute": "a.io/b"}]),
                "spec.devices.constraints[0].requests[1]: Duplicate value: \"gpu\"",
            ),
            (
                "spec.devices.config",
                json!([{"requests": ["gpu/a/b"], "opaque": {"driver": "a.io", "parameters": {}}}]),
                "spec.devices.config[0].requests[0]: Invalid value: \"gpu/a/b\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            ),
            (
                "spec.devices.config",
                json!([{"opaque": {"driver": "a.io", "parameters": [1]}}]),
                "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
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
fn selectors_of_devices_are_compiled() {
    let class =
        |expression: &str| changed("DeviceClass", &[("spec.selectors.0.cel.expression", json!(expression))]);
    for sound in [
        "device.driver == 'a.io' && 'model' in device.attributes['a.io']",
        "device.attributes['a.io'].model == 'big' && device.attributes['a.io'].cores > 4",
        "device.attributes['a.io'].driverVersion.isGreaterThan(semver('1.2.3'))",
        "device.capacity['a.io'].memory.compareTo(quantity('10Gi')) >= 0",
        "cel.bind(a, device.attributes['a.io'], a.one && a.two)",
        "device.attributes['a.io'].?model.orValue('none') in ['small', 'big']",
        "device.allowMultipleAllocations",
    ] {
        assert_eq!(faults("DeviceClass", class(sound)), [] as [String; 0], "{sound}");
    }
    let path = "spec.selectors[0].cel.expression";
    for (faulty, expected) in [
        ("device.driver ==", "Invalid value: \"device.driver ==\": compilation failed: "),
        ("", "Invalid value: \"\": compilation failed: "),
        (
            "cel.bind(a, device.nothing, a)",
            "Invalid value: \"cel.bind(a, device.nothing, a)\": compilation failed: ",
        ),
        ("device.nodeName == ''", "Invalid value: \"device.nodeName == ''\": compilation failed: "),
        ("node.driver == ''", "Invalid value: \"node.driver == ''\": compilation failed: "),
        (
            "device.driver",
            "Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string",
        ),
        (
            "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, device.attributes.all(e, a + b + c + d + e == '')))))",
            "Forbidden: too complex, exceeds cost limit",
        ),
    ] {
        let (found, expected) = (faults("DeviceClass", class(faulty)), format!("{path}: {expected}"));
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{expected}\nnot in {found:#?}");
    }
    let mut claim = sample("ResourceClaim");
    claim["spec"]["devices"]["requests"][0]["exactly"]["selectors"] = json!([{"cel": {"expression": "1"}}]);
    assert_eq!(
        faults("ResourceClaim", claim),
        [
            "spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: \"1\": must evaluate to bool or the unknown type, not int"
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
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
            (
                "spec.devices.0.attributes.2nd",
                json!({"bool": true}),
                "spec.devices[0].attributes[2nd]: Invalid value: \"2nd\": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
            ),
            (
                "spec.devices.0.capacity",
                json!({"a.io/": {"value": "1"}}),
                "spec.devices[0].capacity[a.io/]: Invalid value: \"\": the name must not be empty",
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

/// Each change of the one device of the sample is refused with the line named, which begins at the device.
fn refused_devices<const N: usize>(cases: [(Value, &str); N]) {
    for (members, expected) in cases {
        let mut slice = sample("ResourceSlice");
        for (name, value) in members.as_object().unwrap() {
            slice["spec"]["devices"][0][name] = value.clone();
        }
        let (found, expected) = (faults("ResourceSlice", slice), format!("spec.devices[0]{expected}"));
        assert!(found.contains(&expected), "{expected}\nnot in {found:#?}");
    }
}

#[test]
fn faulty_taints_counters_and_conditions_of_devices_are_refused_as_upstream_words_it() {
    let counters = json!({"memory": {"value": "1Gi"}});
    let many: Vec<Value> = (0..17).map(|at| json!({"key": format!("k{at}"), "effect": "None"})).collect();
    refused_devices([
        (json!({"taints": [{"key": "a"}]}), ".taints[0].effect: Required value"),
        (
            json!({"taints": [{"key": "a", "effect": "x"}]}),
            ".taints[0].effect: Unsupported value: \"x\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
        ),
        (json!({"taints": many}), ".taints: Too many: 17: must have at most 16 items"),
        (
            json!({"consumesCounters": [{"counters": counters}]}),
            ".consumesCounters[0].counterSet: Required value",
        ),
        (json!({"consumesCounters": [{"counterSet": "a"}]}), ".consumesCounters[0].counters: Required value"),
        (
            json!({"consumesCounters": [{"counterSet": "a", "counters": counters}, {"counterSet": "a", "counters": counters}]}),
            ".consumesCounters[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"bindingConditions": ["a"]}),
            ".bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions",
        ),
        (
            json!({"bindingFailureConditions": ["a"]}),
            ".bindingConditions: Invalid value: null: bindingConditions are required to use bindingFailureConditions",
        ),
        (
            json!({"bindingConditions": ["a", "a"], "bindingFailureConditions": ["b"]}),
            ".bindingConditions[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"bindingConditions": ["a"], "bindingFailureConditions": ["a"]}),
            ".bindingFailureConditions[0]: Invalid value: \"a\": bindingFailureConditions must not overlap with bindingConditions",
        ),
    ]);
    let mut sets = sample("ResourceSlice");
    sets["spec"].as_object_mut().unwrap().shift_remove("devices");
    sets["spec"]["sharedCounters"] = json!([{"name": "a", "counters": {"A": {"value": "1"}}}, {"name": "b"}]);
    let found = faults("ResourceSlice", sets);
    assert!(found[0].starts_with("spec.sharedCounters[0].counters[A]: Invalid value: \"A\": "), "{found:?}");
    assert_eq!(found[1..], ["spec.sharedCounters[1].counters: Required value"]);
}

#[test]
fn devices_say_where_they_are_in_slices_that_leave_it_to_them() {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
         `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    const NONE: &str = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set \
         to true in the ResourceSlice spec";
    refused_devices([(json!({"nodeName": "n"}), &format!(": Invalid value: null: {NONE}"))]);
    for (place, expected) in [
        (json!({"nodeName": "n"}), vec![]),
        (json!({"allNodes": true}), vec![]),
        (json!({}), vec![format!("spec.devices[0]: Required value: {ONE}")]),
        (
            json!({"nodeName": "n", "allNodes": true}),
            vec![format!("spec.devices[0]: Invalid value: \"{{`nodeName`, `allNodes`}}\": {ONE}")],
        ),
        (
            json!({"nodeName": "", "allNodes": false}),
            vec![
                "spec.devices[0].nodeName: Invalid value: \"\": must not be empty".to_owned(),
                "spec.devices[0].allNodes: Invalid value: false: must be either unset or set to true"
                    .to_owned(),
                format!("spec.devices[0]: Required value: {ONE}"),
            ],
        ),
    ] {
        let mut slice = sample("ResourceSlice");
        slice["spec"].as_object_mut().unwrap().shift_remove("nodeName");
        slice["spec"]["perDeviceNodeSelection"] = true.into();
        let mut device = place.clone();
        device["name"] = "a".into();
        slice["spec"]["devices"] = json!([device]);
        assert_eq!(faults("ResourceSlice", slice), expected, "{place}");
    }
}

#[test]
fn requests_for_a_share_of_a_capacity_follow_its_policy() {
    let of = |policy: Value| {
        let capacity = json!({"memory": {"value": "10Gi", "requestPolicy": policy}});
        json!({"allowMultipleAllocations": true, "capacity": capacity})
    };
    let policy = ".capacity[memory].requestPolicy";
    for (device, expected) in [
        (
            json!({"capacity": {"memory": {"value": "1", "requestPolicy": {"default": "1"}}}}),
            ": Forbidden: allowMultipleAllocations must be true",
        ),
        (
            of(json!({"default": "1Gi", "validValues": ["1Gi"], "validRange": {"min": "1Gi"}})),
            ": Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
        ),
        (
            of(json!({"validValues": ["1Gi"]})),
            ".default: Required value: required when validValues is defined",
        ),
        (
            of(json!({"validRange": {"min": "1Gi"}})),
            ".default: Required value: required when validRange is defined",
        ),
        (
            of(json!({"default": "1Gi", "validValues": ["2Gi", "1Gi"]})),
            ".validValues[1]: Invalid value: \"1Gi\": values must be sorted in ascending order",
        ),
        (
            of(json!({"default": "1Gi", "validValues": ["1Gi", "11Gi"]})),
            ".validValues[1]: Invalid value: \"11Gi\": option is larger than capacity value: 10Gi",
        ),
        (
            of(json!({"default": "3Gi", "validValues": ["1Gi", "2Gi"]})),
            ".validValues: Invalid value: \"3Gi\": default value is not valid according to the requestPolicy",
        ),
        (
            of(json!({"default": "1Gi", "validRange": {"max": "2Gi"}})),
            ".validRange.min: Required value: required when validRange is defined",
        ),
        (
            of(json!({"default": "1Gi", "validRange": {"min": "2Gi"}})),
            ".validRange.min: Invalid value: \"1Gi\": default is less than min: 2Gi",
        ),
        (
            of(json!({"default": "1Gi", "validRange": {"min": "1Gi", "max": "11Gi"}})),
            ".validRange.max: Invalid value: \"11Gi\": max is larger than capacity value: 10Gi",
        ),
        (
            of(json!({"default": "4Gi", "validRange": {"min": "1Gi", "step": "2Gi"}})),
            ".validRange.step: Invalid value: \"4Gi\": value is not a multiple of a given step (2Gi) from (1Gi)",
        ),
    ] {
        refused_devices([(device, &format!("{policy}{expected}"))]);
    }
    let mut slice = sample("ResourceSlice");
    let sound = of(json!({"default": "3Gi", "validRange": {"min": "1Gi", "max": "9Gi", "step": "2Gi"}}));
    for (name, value) in sound.as_object().unwrap() {
        slice["spec"]["devices"][0][name] = value.clone();
    }
    assert_eq!(faults("ResourceSlice", slice), [] as [String; 0]);
}

#[test]
fn drivers_speak_of_devices_that_a_claim_got() {
    let mut claim = made("ResourceClaim");
    let got = json!({"request": "gpu", "driver": "a.io", "pool": "p", "device": "gpu-0"});
    claim["status"] = json!({"allocation": {"devices": {"results": [got]}}});
    let is = |members: Value| {
        let mut device = json!({"driver": "a.io", "pool": "p", "device": "gpu-0"});
        for (name, value) in members.as_object().unwrap() {
            device[name] = value.clone();
        }
        json!([device])
    };
    let network = json!({"interfaceName": "eth0", "ips": ["10.0.0.7/24", "fd00::7/64"]});
    accepted_change(
        "ResourceClaim",
        &claim,
        [("/status/devices", is(json!({"data": {"a": 1}, "networkData": network})))],
    );
    let two = Value::Array(
        [is(json!({})), is(json!({}))].into_iter().flat_map(|it| it.as_array().unwrap().clone()).collect(),
    );
    refused_change(
        "ResourceClaim",
        &claim,
        [
            (
                "/status/devices",
                is(json!({"device": "gpu-1"})),
                "status.devices[0]: Invalid value: \"a.io/p/gpu-1\": must be an allocated device in the claim",
            ),
            ("/status/devices", two, "status.devices[1]: Duplicate value: \"a.io/p/gpu-0\""),
            (
                "/status/devices",
                is(json!({"data": [1]})),
                "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
            ),
            (
                "/status/devices",
                is(json!({"networkData": {"ips": ["10.0.0.7"]}})),
                "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.7\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
            ),
            (
                "/status/devices",
                is(json!({"shareID": "x"})),
                "status.devices[0].shareID: Invalid value: \"x\": uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters",
            ),
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
