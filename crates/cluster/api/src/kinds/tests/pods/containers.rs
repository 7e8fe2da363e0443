//! Containers: where variables come from, probes and hooks, resources and claims, restarts.

use super::*;

fn env(source: Value) -> Value {
    container(json!({"env": [{"name": "A", "valueFrom": source}]}))
}

fn probed(name: &str, probe: Value) -> Value {
    container(json!({ name: probe }))
}

#[test]
fn faulty_containers_are_refused_as_upstream_words_them() {
    refused_exactly([
        (
            container(json!({"image": " i"})),
            &[
                "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
            ][..],
        ),
        (
            container(json!({"terminationMessagePolicy": "x"})),
            &[
                "spec.containers[0].terminationMessagePolicy: Unsupported value: \"x\": supported values: \"File\", \"FallbackToLogsOnError\"",
            ],
        ),
        (
            pod(json!({"initContainers": [{"name": "c", "image": "i"}]})),
            &["spec.initContainers[0].name: Duplicate value: \"c\""],
        ),
        (
            pod(json!({"initContainers": [{"name": "i", "image": "i", "lifecycle": {}}]})),
            &[
                "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            container(
                json!({"ports": [{"name": "http", "containerPort": 1}, {"name": "http", "containerPort": 2}, {"name": "HTTP"}]}),
            ),
            &[
                "spec.containers[0].ports[1].name: Duplicate value: \"http\"",
                "spec.containers[0].ports[2].name: Invalid value: \"HTTP\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.containers[0].ports[2].name: Invalid value: \"HTTP\": must contain at least one letter (a-z)",
                "spec.containers[0].ports[2].containerPort: Required value",
            ],
        ),
        (
            container(
                json!({"ports": [{"containerPort": 1, "hostPort": 1}, {"containerPort": 2, "hostPort": 1}]}),
            ),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//1\""],
        ),
    ]);
    let mut host = container(json!({"ports": [{"containerPort": 1, "hostPort": 2}]}));
    host["spec"]["hostNetwork"] = true.into();
    refused_exactly([(
        host,
        &[
            "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true",
        ][..],
    )]);
    let template = deployment(json!({}));
    let mut padded = template.clone();
    padded["spec"]["template"]["spec"]["containers"][0]["image"] = " i".into();
    assert_eq!(faults("Deployment", padded), Vec::<String>::new(), "blanks are refused in pods alone");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn variables_come_from_what_there_is() {
    const AT: &str = "spec.containers[0].env[0].valueFrom";
    let at = |rest: &str| -> &'static [&'static str] {
        let line: &'static str = Box::leak(format!("{AT}{rest}").into_boxed_str());
        Box::leak(vec![line].into_boxed_slice())
    };
    refused_exactly([
        (
            env(json!({})),
            at(
                ": Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ),
        ),
        (
            env(
                json!({"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}}),
            ),
            at(": Invalid value: \"\": may not have more than one field specified at a time"),
        ),
        (env(json!({"fieldRef": {}})), at(".fieldRef.fieldPath: Required value")),
        (
            env(json!({"fieldRef": {"fieldPath": "metadata.whoops"}})),
            at(
                ".fieldRef.fieldPath: Invalid value: \"metadata.whoops\": error converting fieldPath: field label not supported: metadata.whoops",
            ),
        ),
        (
            env(json!({"fieldRef": {"fieldPath": "metadata.labels"}})),
            at(
                ".fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ),
        ),
        (
            env(json!({"fieldRef": {"fieldPath": "metadata.name['a']"}})),
            at(".fieldRef: Invalid value: \"metadata.name\": does not support subscript"),
        ),
        (
            env(json!({"resourceFieldRef": {"resource": "limits.x"}})),
            at(
                ".resourceFieldRef.resource: Unsupported value: \"limits.x\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
            ),
        ),
        (
            env(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}})),
            at(
                ".resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
            ),
        ),
        (env(json!({"secretKeyRef": {"name": "a"}})), at(".secretKeyRef.key: Required value")),
        (
            env(json!({"fileKeyRef": {"volumeName": "v", "path": "a", "key": "b"}})),
            at(".fileKeyRef.volumeName: Not found: \"v\""),
        ),
    ]);
    refused_exactly([
        (
            container(json!({"envFrom": [{}]})),
            &[
                "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ][..],
        ),
        (
            container(json!({"envFrom": [{"configMapRef": {}}]})),
            &["spec.containers[0].envFrom[0].configMapRef.name: Required value"],
        ),
    ]);
    let found = faults("Pod", env(json!({"fieldRef": {"fieldPath": "metadata.labels['a b']"}})));
    assert!(found[0].starts_with(&format!("{AT}.fieldRef: Invalid value: \"a b\": name part ")), "{found:?}");
    sound(env(json!({"fieldRef": {"fieldPath": "metadata.annotations['Example.com/A']"}})));
    sound(env(json!({"resourceFieldRef": {"resource": "limits.hugepages-2Mi", "divisor": "1Ki"}})));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn probes_and_hooks_have_one_sound_handler() {
    let tcp = |more: Value| {
        let mut probe = json!({"tcpSocket": {"port": 80}});
        merge(&mut probe, more);
        probe
    };
    let stopped = |hook: Value, more: Value| {
        let mut pod = container(json!({"lifecycle": {"preStop": hook}}));
        merge(&mut pod["spec"], more);
        pod
    };
    refused_exactly([
        (
            probed("livenessProbe", tcp(json!({"exec": {"command": ["a"]}}))),
            &[
                "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ][..],
        ),
        (
            probed("startupProbe", json!({"exec": {}})),
            &["spec.containers[0].startupProbe.exec.command: Required value"],
        ),
        (
            probed("livenessProbe", tcp(json!({"successThreshold": 2}))),
            &["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            probed("readinessProbe", tcp(json!({"periodSeconds": -1}))),
            &[
                "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            probed("readinessProbe", tcp(json!({"terminationGracePeriodSeconds": 3}))),
            &[
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes",
            ],
        ),
        (
            probed("livenessProbe", tcp(json!({"terminationGracePeriodSeconds": 0}))),
            &[
                "spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
            ],
        ),
        (
            probed(
                "livenessProbe",
                json!({"httpGet": {"port": 0, "scheme": "x", "httpHeaders": [{"name": "a b", "value": ""}]}}),
            ),
            &[
                "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: \"x\": supported values: \"HTTP\", \"HTTPS\"",
                "spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            stopped(json!({}), json!({})),
            &["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"],
        ),
        (
            stopped(json!({"sleep": {"seconds": 31}}), json!({})),
            &[
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (
            container(json!({"lifecycle": {"stopSignal": "SIGUSR1"}})),
            &[
                "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
            ],
        ),
    ]);
    sound(stopped(json!({"sleep": {"seconds": 60}}), json!({"terminationGracePeriodSeconds": 60})));
    sound(probed("livenessProbe", json!({"grpc": {"port": 80}})));
}

#[test]
fn resources_are_those_of_the_platform_or_fully_named() {
    let with = |resources: Value| container(json!({ "resources": resources }));
    refused_exactly([
        (
            with(json!({"limits": {"pods": "1"}})),
            &[
                "spec.containers[0].resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
                "spec.containers[0].resources.requests[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ][..],
        ),
        (
            with(json!({"requests": {"example.com/gpu": "1"}})),
            &[
                "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
            ],
        ),
        (
            with(json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}})),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2",
            ],
        ),
        (
            with(json!({"limits": {"example.com/gpu": "500m"}})),
            &[
                "spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer",
                "spec.containers[0].resources.requests[example.com/gpu]: Invalid value: \"500m\": must be an integer",
            ],
        ),
        (
            with(json!({"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}})),
            &[
                "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
            ],
        ),
        (
            with(json!({"limits": {"hugepages-2Mi": "4Mi"}})),
            &["spec.containers[0].resources: Forbidden: HugePages require cpu or memory"],
        ),
        (
            with(json!({"claims": [{"name": "gpu"}]})),
            &[
                "spec.containers[0].resources.claims[0]: Not found: \"gpu\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
        (
            pod(json!({"overhead": {"pods": "1"}})),
            &[
                "spec.overhead.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ],
        ),
        (
            container(json!({"resizePolicy": [{"resourceName": "x", "restartPolicy": "y"}]})),
            &[
                "spec.containers[0].resizePolicy: Unsupported value: \"x\": supported values: \"cpu\", \"memory\"",
                "spec.containers[0].resizePolicy: Unsupported value: \"y\": supported values: \"NotRequired\", \"RestartContainer\"",
            ],
        ),
    ]);
}

#[test]
fn a_pod_as_a_whole_requires_at_least_what_its_containers_do() {
    let with = |whole: Value, own: Value| {
        let mut pod = container(json!({ "resources": own }));
        pod["spec"]["resources"] = whole;
        pod
    };
    refused_exactly([
        (
            with(json!({"requests": {"cpu": "1"}}), json!({"requests": {"cpu": "2"}})),
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            ][..],
        ),
        (
            with(
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}),
                json!({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}),
            ),
            &[
                "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod limits of 1",
            ],
        ),
        (
            with(json!({"requests": {"ephemeral-storage": "1"}}), json!({})),
            &[
                "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
            ],
        ),
    ]);
}

#[test]
fn claims_are_named_once_and_used_once() {
    let claim = |more: Value| {
        let mut claim = json!({"name": "gpu", "resourceClaimName": "a"});
        merge(&mut claim, more);
        claim
    };
    let used = |claims: Value| {
        let mut pod = container(json!({"resources": {"claims": claims}}));
        pod["spec"]["resourceClaims"] = json!([claim(json!({}))]);
        pod
    };
    refused_exactly([
        (
            pod(json!({"resourceClaims": [claim(json!({})), claim(json!({}))]})),
            &["spec.resourceClaims[1].name: Duplicate value: \"gpu\""][..],
        ),
        (
            pod(json!({"resourceClaims": [{"name": "gpu"}]})),
            &[
                "spec.resourceClaims[0]: Invalid value: {\"name\":\"gpu\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ],
        ),
        (
            used(json!([{"name": "gpu", "request": "a"}, {"name": "gpu"}])),
            &["spec.containers[0].resources.claims[1]: Duplicate value: \"gpu\""],
        ),
        (
            used(json!([{"name": "gpu", "request": "a"}, {"name": "gpu", "request": "a"}])),
            &["spec.containers[0].resources.claims[1]: Duplicate value: \"gpu/a\""],
        ),
        (
            used(json!([{"name": "x"}])),
            &[
                "spec.containers[0].resources.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims: gpu",
            ],
        ),
    ]);
    sound(used(json!([{"name": "gpu", "request": "a"}, {"name": "gpu", "request": "b"}])));
}

#[test]
fn restarts_of_one_container_have_rules() {
    let ruled = |rule: Value| container(json!({"restartPolicy": "Never", "restartPolicyRules": [rule]}));
    refused_exactly([
        (
            container(json!({"restartPolicy": "x"})),
            &[
                "spec.containers[0].restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            ][..],
        ),
        (
            container(
                json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]}),
            ),
            &[
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
            ],
        ),
        (
            ruled(json!({"action": "x", "exitCodes": {"operator": "In", "values": [3]}})),
            &[
                "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"x\": supported values: \"Restart\", \"RestartAllContainers\"",
            ],
        ),
        (
            ruled(json!({"action": "Restart", "exitCodes": {"values": [3]}})),
            &[
                "spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"\": supported values: \"In\", \"NotIn\"",
            ],
        ),
    ]);
    sound(ruled(json!({"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0]}})));
}
