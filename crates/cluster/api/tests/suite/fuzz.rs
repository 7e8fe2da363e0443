//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../../fuzz/harness/bodies.rs"]
mod bodies;
#[path = "../../fuzz/harness/certificates.rs"]
mod certificates;
#[path = "../../fuzz/harness/claims.rs"]
mod claims;
#[path = "../../fuzz/harness/cluster.rs"]
mod cluster;
#[path = "../../fuzz/harness/configurations.rs"]
mod configurations;
#[path = "../../fuzz/harness/conversions.rs"]
mod conversions;
#[path = "../../../../../tests/damaged.rs"]
mod damaged;
#[path = "../../fuzz/harness/issuer.rs"]
mod issuer;
#[path = "../../fuzz/harness/messages.rs"]
mod messages;
#[path = "../../fuzz/harness/ownership.rs"]
mod ownership;
#[path = "../../fuzz/harness/patches.rs"]
mod patches;
#[path = "../../fuzz/harness/protobuf.rs"]
mod protobuf;
#[path = "../../fuzz/harness/requests.rs"]
mod requests;
#[path = "../../fuzz/harness/reviews.rs"]
mod reviews;
#[path = "../../fuzz/harness/tokens.rs"]
mod tokens;

use base64::Engine as _;
use serde_json::json;

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The sample manifests.
fn samples() -> Vec<Vec<u8>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/samples");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn bodies_are_read_alike_and_come_to_no_more_than_they_are() {
    let laughs: String =
        (1..20).map(|at| format!("a{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9))).collect();
    let mut all = samples();
    all.extend(seeds(&[
        r#"{"a":{"b":[1,-2,3.5e300,true,null,"\ud83d\ude00\n"]},"a":2}"#,
        r#"{"a":1e999,"b":"\ud800"}"#,
        "[[[[[[{\"a\":[{}]}]]]]]]",
        "a: &x {b: 1}\nc: *x\n<<: *x\n",
        "a: 1\na: 2\n",
        "a: !!binary aGFrbw==\nb: ~\nc: 0x1f\nd: .inf\ne: 2026-01-01\nf: yes\ng: |\n  text\nh: >-\n  more\n",
        "? [a, b]\n: c\n1: d\ntrue: e\n",
        "--- a\n--- b\n",
    ]));
    all.push("[".repeat(5000).into_bytes());
    all.push("- ".repeat(5000).into_bytes());
    all.push("{\"a\":".repeat(5000).into_bytes());
    all.push(b"a: \"\xff\xfe\"".to_vec());
    all.push(format!("a0: &a0 [x,x,x,x,x,x,x,x,x]\n{laughs}").into_bytes());
    damaged::run(all, 1000, bodies::run);
}

const POD: &str = r#"{"metadata":{"name":"p","labels":{"a":"b"},"finalizers":["x/y"]},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"protocol":"TCP"}],"env":[{"name":"A","value":"1"}]},{"name":"d"}],"tolerations":[{"key":"k"}],"volumes":[{"name":"v","emptyDir":{}}]}}"#;

#[test]
fn patches_do_once_what_they_do() {
    let changes = [
        r#"[{"op":"test","path":"/metadata/name","value":"p"},{"op":"test","path":"/spec/containers/1/name","value":"d"}]"#,
        r#"[{"op":"add","path":"/spec/containers/-","value":{"name":"e"}},{"op":"move","from":"/spec/containers/0","path":"/spec/containers/1"},{"op":"copy","from":"/metadata","path":"/spec/a~1b~0c"},{"op":"remove","path":"/metadata/labels/a"},{"op":"replace","path":"","value":{}}]"#,
        r#"[{"op":"add","path":"/spec/containers/01","value":1},{"op":"remove","path":"/spec/containers/9999999999999999999"},{"op":"move","from":"/spec","path":"/spec/x"}]"#,
        r#"{"metadata":{"labels":{"a":null,"c":"d"},"finalizers":["z"]},"spec":null}"#,
        r#"{"spec":{"containers":[{"name":"c","image":"j","ports":[{"containerPort":80,"$patch":"delete"}],"env":[{"name":"B","value":"2"}]},{"name":"d","$patch":"delete"},{"$patch":"replace"}],"$setElementOrder/containers":[{"name":"d"},{"name":"c"}],"$retainKeys":["containers"],"tolerations":[{"key":"l"}]}}"#,
        r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/y"],"finalizers":["q"],"$setElementOrder/finalizers":["q","x/y"]},"spec":{"$patch":"replace","volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/"}}]}}"#,
        r#"{"$patch":"delete"}"#,
    ];
    let seeds = changes.map(|change| format!("{POD}\n{change}").into_bytes());
    damaged::run(seeds.into(), 4000, patches::run);
}

#[test]
fn who_applied_a_configuration_owns_what_is_in_it() {
    let owned = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","managedFields":[{"manager":"one","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}},"f:x":{"v:\"y\"":{},"i:3":{}}}}},{"manager":"three","operation":"Update","subresource":"status","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:status":{}}},{}]},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    let configurations = [
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"c"}},"spec":{"containers":[{"name":"c","image":"j","ports":[{"containerPort":80},{"containerPort":80,"protocol":"UDP"}]},{"name":"e"}],"tolerations":[{"key":"k"},{"key":"l"}]}}"#,
        r#"{"metadata":{"name":"p","finalizers":["a","b","a"],"ownerReferences":[{"uid":"1"},{"uid":"1"}]},"spec":{"containers":[{"name":"c"},{"name":"c"}],"selector":{"a":"b"},"ports":[{"port":1}]}}"#,
        r#"{"spec":{"containers":null,"template":{"spec":{"containers":[{"name":"c","env":[{"name":"A"}]}]}}}}"#,
        "{}",
    ];
    let mut all = Vec::new();
    for live in [POD, owned, "{}"] {
        all.extend(configurations.map(|configuration| format!("{live}\n{configuration}").into_bytes()));
    }
    damaged::run(all, 3000, ownership::run);
}

#[test]
fn what_is_written_in_protobuf_is_read_as_what_it_was() {
    let decoded =
        |sample: Vec<u8>| hako_api::schema::decode::yaml(&sample).unwrap().value.to_string().into_bytes();
    let mut all: Vec<Vec<u8>> = samples().into_iter().map(decoded).collect();
    all.extend(seeds(&[
        r#"{"kind":"PodList","apiVersion":"v1","metadata":{"remainingItemCount":3},"items":[{},{"spec":{"containers":[null]}}]}"#,
        r#"{"kind":"ConfigMap","apiVersion":"v1","data":{"a":null,"b":""},"binaryData":{"c":"AA==","d":null},"immutable":false}"#,
        r#"{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","spec":{"renewTime":"0001-01-01T00:00:00.123456789+23:59","leaseTransitions":-9223372036854775808}}"#,
        r#"{"kind":"ControllerRevision","apiVersion":"apps/v1","data":[1e400,{"a":[null]}],"revision":18446744073709551615}"#,
        r#"{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","spec":{"versions":[{"schema":{"openAPIV3Schema":{"items":[{"not":{}},null],"maximum":1e300,"minimum":-0.0,"enum":[null,1,"a"],"additionalProperties":{"additionalProperties":false},"dependencies":{"a":["b",null],"c":{},"d":null},"default":null}}}]}}"#,
        r#"{"kind":"Service","apiVersion":"v1","spec":{"ports":[{"targetPort":-1},{"targetPort":"web"}]}}"#,
    ]));
    damaged::run(all, 6000, messages::run);
}

/// A message in protobuf: fields with their numbers.
fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(field, bytes)| [&[field << 3 | 2, bytes.len() as u8], *bytes].concat()).collect()
}

fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let head = message(&[(1, api_version.as_bytes()), (2, kind.as_bytes())]);
    [b"k8s\0".to_vec(), message(&[(1, &head), (2, raw), (3, b""), (4, b"")])].concat()
}

/// Objects as client-go's typed clients send them.
fn protobuf_seeds() -> Vec<Vec<u8>> {
    let metadata = message(&[(1, b"p"), (3, b"default"), (11, &message(&[(1, b"a"), (2, b"b")]))]);
    let port = [message(&[(1, b"http"), (4, b"TCP")]), vec![3 << 3, 80]].concat();
    let container = message(&[(1, b"c"), (2, b"i"), (6, &port)]);
    let spec = message(&[(2, &container), (3, b"Always")]);
    let template = message(&[(1, &metadata), (2, &spec)]);
    let map = message(&[(1, &metadata), (2, &message(&[(1, b"k"), (2, b"v")]))]);
    let deployment = [vec![1 << 3, 2], message(&[(3, &template)])].concat();
    let deployment = message(&[(1, &metadata), (2, &deployment)]);
    vec![
        enveloped("v1", "ConfigMap", &map),
        enveloped("v1", "Pod", &template),
        enveloped("v1", "Secret", &map),
        enveloped("apps/v1", "Deployment", &deployment),
        enveloped("v1", "DeleteOptions", &[1 << 3, 5]),
        enveloped("example.com/v1", "Unknown", &[7 << 3 | 3, 7 << 3 | 4, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ]
}

#[test]
fn protobuf_is_an_object_or_none() {
    damaged::run(protobuf_seeds(), 6000, protobuf::run);
}

fn continue_token(json: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
}

#[test]
fn every_request_has_an_answer() {
    let in_default = "/api/v1/namespaces/default";
    let gets = [
        "/api/v1/pods?limit=1&labelSelector=a%3Db,c+in+(d,e),!f,g%3E1&fieldSelector=spec.nodeName!%3Dx".to_owned(),
        format!("{in_default}/configmaps?resourceVersion=1&resourceVersionMatch=Exact&limit=500"),
        format!("/api/v1/namespaces?limit=2&continue={}", continue_token(r#"{"v":1,"rev":3,"start":"/registry/namespaces/default"}"#)),
        format!("/api/v1/namespaces?continue={}", continue_token(r#"{"v":2,"rev":-1,"start":"\u0000"}"#)),
        format!("{in_default}/services/kubernetes/proxy/a/../b?x=y"),
        "/apis/apps/v1/deployments?watch=1&resourceVersion=0&allowWatchBookmarks=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan".to_owned(),
        "/api/v1/namespaces/kube-system/status".to_owned(),
        "/apis/autoscaling/v2beta2/namespaces/a%2Fb/horizontalpodautoscalers/%E2%98%83".to_owned(),
        "/openapi/v3/apis/apps/v1?hash=x".to_owned(),
        "/readyz/store?verbose&exclude=etcd".to_owned(),
        "//api///v1//nodes/x/proxy".to_owned(),
    ];
    let mut all: Vec<Vec<u8>> = gets.iter().map(|path| format!("GET {path}\n\n").into_bytes()).collect();
    let writes = [
        ("POST", format!("{in_default}/pods?fieldValidation=Strict&pretty=true"), "application/json", POD.to_owned()),
        ("POST", format!("{in_default}/configmaps"), "application/yaml", "metadata: {generateName: a}\ndata: {b: c}\n".to_owned()),
        ("PUT", "/api/v1/namespaces/default".to_owned(), "application/json", r#"{"metadata":{"name":"default","resourceVersion":"1"}}"#.to_owned()),
        ("PATCH", "/api/v1/namespaces/default".to_owned(), "application/json-patch+json", r#"[{"op":"add","path":"/metadata/labels/a","value":"b"}]"#.to_owned()),
        ("PATCH", format!("{in_default}/services/kubernetes"), "application/strategic-merge-patch+json", r#"{"spec":{"ports":[{"port":443,"$patch":"delete"},{"port":1}]}}"#.to_owned()),
        ("PATCH", format!("{in_default}/services/kubernetes/status"), "application/merge-patch+json", r#"{"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}}"#.to_owned()),
        ("PATCH", format!("{in_default}/configmaps/x?fieldManager=m&force=true"), "application/apply-patch+yaml", "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n".to_owned()),
        ("DELETE", format!("{in_default}/endpoints?labelSelector=a"), "application/json", r#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":-1,"preconditions":{"uid":"x"},"propagationPolicy":"Foreground"}"#.to_owned()),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned(), "application/json", r#"{"spec":{"user":"a","resourceAttributes":{"verb":"get","resource":"pods"}}}"#.to_owned()),
        ("POST", "/apis/apps/v1/namespaces/default/deployments".to_owned(), "application/json", crate::contract::deployment("d").to_string()),
    ];
    all.extend(
        writes.map(|(method, path, kind, body)| format!("{method} {path}\n{kind}\n{body}").into_bytes()),
    );
    for body in protobuf_seeds() {
        let head = format!("POST {in_default}/pods\napplication/vnd.kubernetes.protobuf\n");
        all.push([head.into_bytes(), body].concat());
    }
    damaged::run(all, 2500, requests::run);
}

#[test]
fn answers_of_webhooks_say_the_same_each_time_and_bring_no_more_than_they_hold() {
    let encode = |patch: &str| base64::engine::general_purpose::STANDARD.encode(patch);
    let answer = |response: &str| {
        format!(
            "{{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{{\"uid\":\"705ab4f5-6393-11e8-b7cc-42010a800002\",{response}}}}}"
        )
    };
    let patched = |patch: &str| {
        answer(&format!("\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":{:?}", encode(patch)))
    };
    let doubling = format!("[{}]", vec![r#"{"op":"copy","from":"/spec","path":"/spec/x"}"#; 30].join(","));
    let answers = [
        answer("\"allowed\":true,\"warnings\":[\"w\"],\"auditAnnotations\":{\"a\":\"b\"}"),
        answer(
            "\"allowed\":false,\"status\":{\"code\":418,\"message\":\"no\",\"details\":{\"causes\":[{\"field\":\"x\"}]}}",
        ),
        patched(
            r#"[{"op":"add","path":"/metadata/labels/c","value":"d"},{"op":"remove","path":"/spec/containers/0"}]"#,
        ),
        patched(&doubling),
        patched("[]"),
        "{\"response\":{\"allowed\":true,\"patch\":\"W10=\"}}".to_owned(),
    ];
    let seeds = answers.map(|answer| format!("{POD}\n{answer}").into_bytes());
    damaged::run(seeds.into(), 4000, reviews::run);
}

#[test]
fn answers_of_conversion_webhooks_bring_what_was_asked_for_and_leave_the_metadata() {
    let object = |version: &str, more: &str| {
        format!(
            "{{\"apiVersion\":\"g.io/{version}\",\"kind\":\"Tab\",\"metadata\":{{\"name\":\"a\",\"uid\":\"u\",\"labels\":{{\"a\":\"b\"}}{more}}},\"spec\":{{}}}}"
        )
    };
    let answer = |objects: &str| {
        format!(
            "{{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"ConversionReview\",\"response\":{{\"uid\":\"705ab4f5-6393-11e8-b7cc-42010a800002\",\"result\":{{\"status\":\"Success\"}},\"convertedObjects\":[{objects}]}}}}"
        )
    };
    let sent = format!("[{},{}]", object("v1", ""), object("v1", ",\"generation\":3"));
    let good = [object("v2", ",\"generation\":9"), object("v2", ",\"annotations\":{\"x\":\"y\"}")].join(",");
    let bad = [
        object("v2", ""),
        "null,[]".into(),
        "{\"apiVersion\":\"g.io/v2\",\"kind\":\"Tab\",\"metadata\":null},{\"apiVersion\":\"g.io/v2\"}".into(),
        format!("{},{}", object("v1", ""), object("v2", ",\"labels\":[]")),
    ];
    let mut seeds = vec![format!("{sent}\n{}", answer(&good)), format!("{sent}\n{{\"response\":{{}}}}")];
    seeds.extend(bad.map(|objects| format!("{sent}\n{}", answer(&objects))));
    damaged::run(seeds.into_iter().map(String::into_bytes).collect(), 4000, conversions::run);
}

#[test]
fn only_a_token_as_it_was_issued_is_somebodys() {
    let good = tokens::good();
    let (head, rest) = good.split_once('.').unwrap();
    let none = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let mut all = seeds(&[
        good,
        "abc123.0123456789abcdef",
        &format!("{none}.{rest}"),
        &format!("{none}.{}.", rest.split_once('.').unwrap().0),
        &format!("{head}.{rest}."),
        &format!("{good}="),
        "",
        "..",
    ]);
    all.push(vec![b'\xff'; 3]);
    damaged::run(all, 1500, tokens::run);
}

#[test]
fn a_token_of_an_issuer_is_somebody_by_its_signature_alone() {
    let bodies: Vec<String> = [
        json!({}),
        json!({"aud": ["a", "cluster"], "nbf": 1, "roles": ["a", "b"], "a": 7}),
        json!({"roles": "a", "email_verified": false, "a": {"b": [1.5e300, null]}}),
        json!({"sub": "x".repeat(5000), "exp": -1, "depth": ["x"]}),
        json!({"sub": null, "exp": "tomorrow", "iss": "https://other.example"}),
    ]
    .map(claims::claims)
    .into();
    let depth = format!("{{\"depth\":{}", "[".repeat(5000));
    let texts = bodies.iter().map(String::as_str).chain(["", "null", "[]", "{", &depth]);
    let mut all: Vec<Vec<u8>> = texts.map(|text| [&[1], text.as_bytes()].concat()).collect();
    all.push(vec![1, b'"', 0xff, b'"']);
    let token = claims::signed(bodies[0].as_bytes());
    let rest = token.split_once('.').expect("a head").1.to_owned();
    let none = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k"}"#);
    let forged =
        [token, format!("{none}.{rest}"), format!("{secret}.{rest}"), "a.b.c".into(), "x".repeat(20_000)];
    all.extend(forged.map(|token| [&[0], token.as_bytes()].concat()));
    claims::SEEDS.get_or_init(|| vec![bodies[0].clone().into_bytes()]);
    damaged::run(all, 1000, claims::run);
}

const AUTHENTICATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://a.example
    discoveryURL: https://b.example/x
    audiences: [a, b]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: "claims.?email_verified.orValue(true) == true", message: m}
  claimMappings:
    username: {expression: "'a:' + claims.email"}
    groups: {claim: roles, prefix: "a:"}
    uid: {claim: sub}
    extra: [{key: example.com/a, valueExpression: "claims.roles.map(r, r + 'x')"}]
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: m}
anonymous: {enabled: true, conditions: [{path: /livez}]}
"#;

const AUDIT: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [a]
  userGroups: ["system:nodes"]
  verbs: [get, "*"]
  resources: [{group: "", resources: [pods/*, secrets], resourceNames: [x]}]
  namespaces: [default, ""]
- {level: None, nonResourceURLs: [/healthz*, /version]}
- {level: RequestResponse, omitManagedFields: true}
"#;

#[test]
fn files_that_configure_the_server_are_read_or_refused_in_so_many_words() {
    let as_json = hako_api::schema::decode::yaml(AUTHENTICATION.as_bytes()).unwrap().value.to_string();
    let many = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{}]\n",
        "{issuer: {}},".repeat(64)
    );
    let all = seeds(&[
        AUTHENTICATION,
        AUDIT,
        &as_json,
        &many,
        &AUTHENTICATION.replace("expression: ", "expression: &x "),
        &AUDIT.replace("rules:", "x: &x [*x]\nrules:"),
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n",
    ]);
    damaged::run(all, 400, configurations::run);
}

#[test]
fn what_is_no_certificate_is_told() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:a");
    let request = params.serialize_request(&key).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let as_text = |text: String| [&[1], text.as_bytes()].concat();
    let all = vec![
        request.der().to_vec(),
        certificate.der().to_vec(),
        key.serialize_der(),
        as_text(request.pem().unwrap()),
        as_text([certificate.pem(), certificate.pem()].concat()),
        as_text(key.serialize_pem()),
        as_text("-----BEGIN X-----\n-----END X-----\n".to_owned()),
    ];
    damaged::run(all, 300, certificates::run);
}
