//! Definitions in the shapes that well-known projects publish: routes and gateways with conditions and rules, certificates
//! of issuers with solvers left open, workflows that hold whole pods several times, applications with lists of sources.
//! They are written for the tests, with the habits of those who generate such schemas from Go types.

use http::StatusCode;
use serde_json::{Value, json};

use super::real_size::pod_spec;
use super::{define, until};
use crate::every_kind::calls::Http;
use crate::support::World;

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const HOST: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// One definition; each version is a name, its schema, and what else it says.
fn definition(group: &str, plural: &str, kind: &str, versions: &[(&str, Value, Value)]) -> Value {
    let last = versions.len() - 1;
    let version = |(at, (name, schema, more)): (usize, &(&str, Value, Value))| {
        let mut version = json!({
            "name": name, "served": true, "storage": at == last, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
        });
        for (key, value) in more.as_object().unwrap() {
            version[key] = value.clone();
        }
        version
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "annotations": {"controller-gen.kubebuilder.io/version": "v0.19.0"}},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "listKind": format!("{kind}List"), "categories": ["published"]},
            "versions": versions.iter().enumerate().map(version).collect::<Vec<Value>>(),
        },
    })
}

/// The whole of a resource, as generators write it.
fn resource(spec: Value, status: Value) -> Value {
    let text = json!({"type": "string", "description": "More of it: see the conventions of the API."});
    json!({
        "type": "object", "required": ["spec"], "description": "One of them.",
        "properties": {"apiVersion": text, "kind": text, "metadata": {"type": "object"}, "spec": spec, "status": status},
    })
}

fn conditions() -> Value {
    let reason = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
    json!({
        "type": "object", "properties": {"conditions": {
            "type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "default": [{"lastTransitionTime": "1970-01-01T00:00:00Z", "message": "Waiting for controller", "reason": "Pending",
                "status": "Unknown", "type": "Accepted"}],
            "items": {
                "type": "object", "required": ["lastTransitionTime", "message", "reason", "status", "type"],
                "properties": {
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                    "message": {"type": "string", "maxLength": 32768},
                    "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                    "reason": {"type": "string", "maxLength": 1024, "minLength": 1, "pattern": reason},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "type": {"type": "string", "maxLength": 316},
                },
            },
        }},
    })
}

fn gateway() -> Value {
    let listener = json!({
        "type": "object", "required": ["name", "port", "protocol"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": NAME},
            "hostname": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": HOST},
            "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
            "protocol": {"type": "string", "maxLength": 255},
            "allowedRoutes": {"type": "object", "default": {"namespaces": {"from": "Same"}}, "properties": {
                "namespaces": {"type": "object", "default": {"from": "Same"}, "properties": {
                    "from": {"type": "string", "default": "Same", "enum": ["All", "Selector", "Same"]},
                    "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
                        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}}}}}},
            "tls": {"type": "object", "properties": {
                "mode": {"type": "string", "default": "Terminate", "enum": ["Terminate", "Passthrough"]},
                "options": {"type": "object", "maxProperties": 16,
                    "additionalProperties": {"type": "string", "minLength": 0, "maxLength": 4096}}}},
        },
    });
    let once = "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && \
        (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))";
    let spec = json!({
        "type": "object", "required": ["gatewayClassName", "listeners"],
        "properties": {
            "gatewayClassName": {"type": "string", "minLength": 1, "maxLength": 253,
                "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "the class is immutable"}]},
            "addresses": {"type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                "x-kubernetes-validations": [{"message": "IPAddress values must be unique",
                    "rule": "self.all(a1, a1.type == 'IPAddress' && has(a1.value) ? self.exists_one(a2, a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true)"}],
                "items": {"type": "object", "properties": {
                    "type": {"type": "string", "default": "IPAddress", "minLength": 1, "maxLength": 253},
                    "value": {"type": "string", "maxLength": 253}},
                    "oneOf": [
                        {"properties": {"type": {"enum": ["IPAddress"]}, "value": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}}},
                        {"properties": {"type": {"not": {"enum": ["IPAddress"]}}}}]}},
            "listeners": {"type": "array", "minItems": 1, "maxItems": 64, "items": listener,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-validations": [
                    {"message": "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
                        "rule": "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)"},
                    {"message": "Combination of port, protocol and hostname must be unique for each listener", "rule": once}]},
        },
    });
    let columns = json!([
        {"name": "Class", "type": "string", "jsonPath": ".spec.gatewayClassName"},
        {"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    let schema = resource(spec, conditions());
    let old = json!({"additionalPrinterColumns": columns, "deprecated": true, "deprecationWarning": "use v1 of gateways"});
    let new = json!({"additionalPrinterColumns": columns});
    definition(
        "gateway.example.com",
        "gateways",
        "Gateway",
        &[("v1beta1", schema.clone(), old), ("v1", schema, new)],
    )
}

fn listener(name: &str, port: u16, protocol: &str) -> Value {
    json!({"name": name, "port": port, "protocol": protocol})
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one definition, step by step")]
async fn gateways_have_unique_listeners_and_conditions_that_wait() {
    const GATEWAYS: &str = "/apis/gateway.example.com/v1/namespaces/default/gateways";
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &gateway()).await;
    let gateway = |spec: &Value| json!({"apiVersion": "gateway.example.com/v1", "kind": "Gateway", "metadata": {"name": "g"}, "spec": spec});
    for (spec, expected) in [
        (
            json!({"gatewayClassName": "c", "listeners": []}),
            "spec.listeners: Invalid value: 0: spec.listeners in body should have at least 1 items",
        ),
        (
            json!({"gatewayClassName": "c", "listeners": [listener("a", 80, "HTTP"), listener("b", 80, "HTTP")]}),
            "spec.listeners: Invalid value: Combination of port, protocol and hostname must be unique for each listener",
        ),
        (
            json!({"gatewayClassName": "c", "listeners": [{"name": "a", "port": 80, "protocol": "TCP", "tls": {}}]}),
            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
        ),
        (
            json!({"gatewayClassName": "c", "listeners": [listener("a", 80, "HTTP")], "addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.1"}]}),
            "spec.addresses: Invalid value: IPAddress values must be unique",
        ),
        (
            json!({"gatewayClassName": "c", "listeners": [listener("a", 80, "HTTP")], "addresses": [{"value": "here"}]}),
            "\"spec.addresses[0]\" must validate one and only one schema (oneOf). Found none valid",
        ),
    ] {
        let (code, status) = http.call("POST", GATEWAYS, JSON, &gateway(&spec)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
        assert!(status["message"].as_str().unwrap().contains(expected), "{expected}: {status}");
    }
    let spec = json!({
        "gatewayClassName": "c", "addresses": [{"value": "::1"}, {"type": "Hostname", "value": "here"}],
        "listeners": [listener("a", 80, "HTTP"), listener("b", 81, "HTTP")],
    });
    let made = http.ok("POST", &format!("{GATEWAYS}?fieldValidation=Strict"), JSON, &gateway(&spec)).await;
    assert_eq!(made["spec"]["listeners"][0]["allowedRoutes"], json!({"namespaces": {"from": "Same"}}));
    assert!(made["status"].is_null(), "a default in the status waits for a status");
    let status = json!({"status": {}});
    let told =
        http.ok("PATCH", &format!("{GATEWAYS}/g/status"), "application/merge-patch+json", &status).await;
    assert_eq!(told["status"]["conditions"][0]["reason"], "Pending");
    let table = world.kubectl(&["get", "gateways.v1.gateway.example.com"]).await;
    let words: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..3], ["g", "c", "Unknown"], "{table}");
    let change = json!({"spec": {"gatewayClassName": "d"}});
    let (code, status) =
        http.call("PATCH", &format!("{GATEWAYS}/g"), "application/merge-patch+json", &change).await;
    assert!(
        code == StatusCode::UNPROCESSABLE_ENTITY && status.to_string().contains("the class is immutable"),
        "{status}"
    );
    // Two who apply listeners of their own do not meet.
    for (manager, name, port) in [("one", "x", 90), ("two", "y", 91)] {
        let mine = gateway(&json!({"listeners": [listener(name, port, "HTTP")], "gatewayClassName": "c"}));
        http.ok("PATCH", &format!("{GATEWAYS}/g?fieldManager={manager}"), APPLY, &mine).await;
    }
    let listeners =
        http.ok("GET", &format!("{GATEWAYS}/g"), "", &Value::Null).await["spec"]["listeners"].clone();
    assert_eq!(listeners.as_array().unwrap().len(), 4);
    let (_, _, warned) = world.try_kubectl(&["get", "gateways.v1beta1.gateway.example.com"], "").await;
    assert!(warned.contains("Warning: use v1 of gateways"), "{warned}");
}

/// Issuers whose solvers are left open, and certificates that are selected by their issuer.
fn certificate() -> Value {
    let spec = json!({
        "type": "object", "required": ["issuerRef", "secretName"],
        "properties": {
            "secretName": {"type": "string"},
            "duration": {"type": "string"},
            "dnsNames": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "string"}},
            "issuerRef": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "kind": {"type": "string"}, "group": {"type": "string"}}},
            "privateKey": {"type": "object", "properties": {
                "algorithm": {"type": "string", "enum": ["RSA", "ECDSA", "Ed25519"]}, "size": {"type": "integer"},
                "rotationPolicy": {"type": "string", "enum": ["Never", "Always"]}}},
            "usages": {"type": "array", "items": {"type": "string", "enum": ["signing", "digital signature", "server auth"]}},
            "solver": {"type": "object", "properties": {
                "webhook": {"type": "object", "required": ["groupName"], "properties": {
                    "groupName": {"type": "string"}, "config": {"x-kubernetes-preserve-unknown-fields": true}}}}},
            "limit": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}],
                "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"},
        },
    });
    let selectable = [".spec.issuerRef.name", ".spec.issuerRef.kind", ".spec.secretName"];
    let selectable = selectable.map(|path| json!({"jsonPath": path}));
    let more = json!({
        "selectableFields": selectable,
        "additionalPrinterColumns": [
            {"name": "Secret", "type": "string", "jsonPath": ".spec.secretName"},
            {"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name", "priority": 1}],
    });
    let mut first = spec.clone();
    first["properties"]["organization"] = json!({"type": "array", "items": {"type": "string"}});
    definition(
        "certs.example.com",
        "certificates",
        "Certificate",
        &[("v1alpha2", resource(first, conditions()), json!({})), ("v1", resource(spec, conditions()), more)],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_leave_solvers_open_and_are_selected_by_their_issuer() {
    const CERTIFICATES: &str = "/apis/certs.example.com/v1/namespaces/default/certificates";
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &certificate()).await;
    let config = json!({"any": [{"deep": null}, 1.5, "x"], "secret": {"name": "n"}});
    for (name, issuer, limit) in [("a", "ca", json!(5)), ("b", "acme", json!("1.5Gi"))] {
        let made = json!({
            "apiVersion": "certs.example.com/v1", "kind": "Certificate", "metadata": {"name": name},
            "spec": {"secretName": name, "issuerRef": {"name": issuer, "kind": "Issuer"}, "usages": ["server auth"], "limit": limit,
                "solver": {"webhook": {"groupName": "g", "config": config}}},
        });
        let made = http.ok("POST", &format!("{CERTIFICATES}?fieldValidation=Strict"), JSON, &made).await;
        assert_eq!((&made["spec"]["solver"]["webhook"]["config"], &made["spec"]["limit"]), (&config, &limit));
    }
    let selected = world
        .kubectl(&[
            "get",
            "certificates",
            "--field-selector",
            "spec.issuerRef.name=acme,spec.issuerRef.kind=Issuer",
            "-o",
            "name",
        ])
        .await;
    assert_eq!(selected.trim(), "certificate.certs.example.com/b");
    for (change, expected) in [
        (json!({"limit": "lots"}), "spec.limit"),
        (json!({"limit": true}), "spec.limit: Invalid value: \"boolean\""),
        (json!({"usages": ["server auth", "anything"]}), "spec.usages[1]: Unsupported value: \"anything\""),
        (json!({"issuerRef": {"name": null}}), "spec.issuerRef.name: Required value"),
    ] {
        let (code, status) = http
            .call(
                "PATCH",
                &format!("{CERTIFICATES}/a"),
                "application/merge-patch+json",
                &json!({"spec": change}),
            )
            .await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
        assert!(status["message"].as_str().unwrap().contains(expected), "{expected}: {status}");
    }
    // What only the older version knows is not kept.
    let older = "/apis/certs.example.com/v1alpha2/namespaces/default/certificates";
    let old = json!({
        "apiVersion": "certs.example.com/v1alpha2", "kind": "Certificate", "metadata": {"name": "old"},
        "spec": {"secretName": "s", "issuerRef": {"name": "ca"}, "organization": ["o"]},
    });
    http.ok("POST", older, JSON, &old).await;
    assert!(
        http.ok("GET", &format!("{older}/old"), "", &Value::Null).await["spec"]["organization"].is_null()
    );
    let explained = world.kubectl(&["explain", "certificate.spec.privateKey", "--recursive"]).await;
    assert!(explained.contains("rotationPolicy") && explained.contains("ECDSA"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one definition, step by step")]
async fn workflows_that_hold_whole_pods_several_times_are_served() {
    const WORKFLOWS: &str = "/apis/flows.example.com/v1alpha1/namespaces/default/workflows";
    let world = World::start().await;
    let http = Http::new(&world);
    let pod = pod_spec(&http).await;
    let template = json!({
        "type": "object", "properties": {
            "name": {"type": "string"},
            "container": pod["properties"]["containers"]["items"],
            "sidecars": pod["properties"]["containers"],
            "initContainers": pod["properties"]["initContainers"],
            "volumes": pod["properties"]["volumes"],
            "steps": {"type": "array", "items": {"type": "array", "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "template": {"type": "string"},
                "withItems": {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}},
                "arguments": {"type": "object", "properties": {"parameters": {"type": "array", "items": {
                    "type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
                        "value": {"x-kubernetes-int-or-string": true}}}}}}}}}},
            "manifest": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    let spec = json!({"type": "object", "properties": {
        "entrypoint": {"type": "string"}, "templates": {"type": "array", "items": template},
        "templateDefaults": template, "podSpecPatch": pod,
        "ttl": {"type": "object", "properties": {"after": {"type": "integer", "format": "int32"}}},
    }});
    let open = json!({"type": "object", "x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": true});
    let schema = resource(spec, open);
    let versions = [("v1", schema.clone(), json!({})), ("v1alpha1", schema, json!({}))];
    let definition = definition("flows.example.com", "workflows", "Workflow", &versions);
    let size = definition.to_string().len();
    assert!(size > 1_500_000, "{size} bytes");
    world.kubectl_with(&["create", "-f", "-"], &definition.to_string()).await;
    world.kubectl(&["wait", "--for=condition=Established", "crd/workflows.flows.example.com"]).await;
    let step = json!({
        "name": "s", "template": "t", "withItems": [1, "two", {"three": [null]}],
        "arguments": {"parameters": [{"name": "p", "value": 3}, {"name": "q", "value": "x"}]},
    });
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "m-"}, "data": {"a": "b"}});
    let workflow = json!({
        "apiVersion": "flows.example.com/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"},
        "spec": {"entrypoint": "t", "templates": [
            {"name": "t", "steps": [[step]], "manifest": manifest, "container": {"name": "main", "image": "i", "ports": [{"containerPort": 80}]}},
        ]},
    });
    let made = http.ok("POST", &format!("{WORKFLOWS}?fieldValidation=Strict"), JSON, &workflow).await;
    let template = &made["spec"]["templates"][0];
    assert_eq!((&template["steps"][0][0], &template["manifest"]), (&step, &manifest));
    assert_eq!(template["container"]["ports"][0]["protocol"], "TCP");
    let wrong = json!([{"op": "replace", "path": "/spec/templates/0/manifest/kind", "value": 1}]);
    let (code, status) =
        http.call("PATCH", &format!("{WORKFLOWS}/w"), "application/json-patch+json", &wrong).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
    assert!(status["message"].as_str().unwrap().contains("spec.templates[0].manifest.kind"), "{status}");
    let told = json!({"status": {"nodes": {"w-1": {"phase": "Running", "children": ["w-2"]}}}});
    let told =
        http.ok("PATCH", &format!("{WORKFLOWS}/w/status"), "application/merge-patch+json", &told).await;
    assert_eq!(
        (&told["status"]["nodes"]["w-1"]["phase"], &told["metadata"]["generation"]),
        (&json!("Running"), &json!(1))
    );
    let explained = world.kubectl(&["explain", "workflow.spec.templates.sidecars.livenessProbe"]).await;
    assert!(explained.contains("failureThreshold"), "{explained}");
    world.kubectl(&["delete", "crd", "workflows.flows.example.com"]).await;
    until("it is gone", async || {
        http.call("GET", WORKFLOWS, "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
}

/// Applications with either one source or several, and what they once did.
fn application() -> Value {
    let source = json!({"type": "object", "required": ["repoURL"], "properties": {
        "repoURL": {"type": "string"}, "path": {"type": "string"}, "targetRevision": {"type": "string"},
        "helm": {"type": "object", "properties": {
            "valuesObject": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "parameters": {"type": "array", "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "value": {"type": "string"}, "forceString": {"type": "boolean"}}}}}},
    }});
    let spec = json!({
        "type": "object", "required": ["destination", "project"],
        "properties": {
            "project": {"type": "string"}, "source": source, "sources": {"type": "array", "items": source},
            "destination": {"type": "object", "properties": {
                "server": {"type": "string"}, "name": {"type": "string"}, "namespace": {"type": "string"}}},
            "syncPolicy": {"type": "object", "properties": {
                "automated": {"type": "object", "properties": {"prune": {"type": "boolean"}, "selfHeal": {"type": "boolean"}}},
                "retry": {"type": "object", "properties": {"limit": {"type": "integer", "format": "int64"},
                    "backoff": {"type": "object", "properties": {"factor": {"type": "integer", "format": "int64"}}}}}}},
            "revisionHistoryLimit": {"type": "integer", "format": "int64"},
        },
        "oneOf": [{"required": ["source"]}, {"required": ["sources"]}],
    });
    let status = json!({"type": "object", "properties": {
        "health": {"type": "object", "properties": {"status": {"type": "string"}}},
        "history": {"type": "array", "items": {"type": "object", "required": ["deployedAt", "id"], "properties": {
            "deployedAt": {"type": "string", "format": "date-time"}, "id": {"type": "integer", "format": "int64"}}}},
    }});
    let columns = json!({
        "additionalPrinterColumns": [{"name": "Health Status", "type": "string", "jsonPath": ".status.health.status"}],
        "subresources": {},
    });
    definition(
        "apps.example.com",
        "applications",
        "Application",
        &[("v1alpha1", resource(spec, status), columns)],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_have_one_source_or_several_and_a_status_that_is_not_apart() {
    const APPLICATIONS: &str = "/apis/apps.example.com/v1alpha1/namespaces/default/applications";
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &application()).await;
    let source = json!({"repoURL": "https://example.com/r", "helm": {"valuesObject": {"a": {"b": [1]}}}});
    let application = |spec: Value| {
        json!({
            "apiVersion": "apps.example.com/v1alpha1", "kind": "Application", "metadata": {"name": "a"}, "spec": spec,
            "status": {"health": {"status": "Healthy"}},
        })
    };
    for (sources, found) in [
        (json!({}), "Found none valid"),
        (json!({"source": source, "sources": [source]}), "Found 2 valid alternatives"),
    ] {
        let mut spec = sources;
        (spec["project"], spec["destination"]) = ("p".into(), json!({}));
        let (code, status) = http.call("POST", APPLICATIONS, JSON, &application(spec)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
        let expected = format!("\"spec\" must validate one and only one schema (oneOf). {found}");
        assert!(status["message"].as_str().unwrap().contains(&expected), "{status}");
    }
    let made = application(json!({"project": "p", "destination": {}, "source": source}));
    let made = http.ok("POST", APPLICATIONS, JSON, &made).await;
    assert_eq!((&made["spec"]["source"], &made["status"]["health"]["status"]), (&source, &json!("Healthy")));
    let late = json!({"status": {"history": [{"id": 1, "deployedAt": "never"}]}});
    let (code, status) =
        http.call("PATCH", &format!("{APPLICATIONS}/a"), "application/merge-patch+json", &late).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
    assert!(status["message"].as_str().unwrap().contains("status.history[0].deployedAt"), "{status}");
    let table = world.kubectl(&["get", "applications"]).await;
    assert!(table.contains("HEALTH STATUS") && table.contains("Healthy"), "{table}");
}
