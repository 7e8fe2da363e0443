//! `AuthenticationConfiguration`: what is refused, and who may look without showing anything.

use hako_api::{External, ExternalOptions};
use hako_error::{Classify as _, Kind};
use serde_json::{Value, json};

use super::{call, file, whoami};
use crate::support::World;

fn configuration(more: Value) -> String {
    let mut file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"});
    for (key, value) in more.as_object().unwrap() {
        file[key] = value.clone();
    }
    file.to_string()
}

fn load(content: &str) -> Result<External, hako_api::ExternalError> {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "authentication.yaml", content);
    External::load(&ExternalOptions { authentication_config: Some(path), ..ExternalOptions::default() })
}

#[test]
fn a_file_says_all_its_faults_by_field() {
    let jwt = json!([{"issuer": {"url": "http://issuer.example", "audiences": []}, "claimMappings": {"username": {"claim": "sub"}}}]);
    let error = load(&configuration(json!({"jwt": jwt}))).unwrap_err().to_string();
    for text in [
        "jwt[0].issuer.url: Invalid value: \"http://issuer.example\": URL scheme must be https",
        "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set",
    ] {
        assert!(error.contains(text), "{error} should say {text}");
    }
    assert!(load("kind: Other\napiVersion: v1\n").is_err());
    let error = load(&configuration(json!({"jwtt": []}))).unwrap_err().to_string();
    assert!(error.contains("jwtt"), "{error}");
}

/// A file with one issuer that is fine but for what is given.
fn with_jwt(more: Value) -> String {
    let mut jwt = json!({
        "issuer": {"url": "https://issuer.example", "audiences": ["a"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    });
    for (key, value) in more.as_object().unwrap() {
        match (value.as_object(), jwt.get_mut(key)) {
            (Some(members), Some(had)) => {
                members.iter().for_each(|(name, value)| had[name] = value.clone());
            }
            _ => jwt[key] = value.clone(),
        }
    }
    configuration(json!({"jwt": [jwt]}))
}

/// Each file is refused by what is wrong with it.
fn refused(cases: &[(Value, &str)]) {
    for (more, wanted) in cases {
        let error = load(&with_jwt(more.clone())).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        let error = error.to_string();
        let said = error.split_once(" is invalid: ").map_or("", |(_, said)| said);
        assert!(said.starts_with(wanted), "{more}: {said} should begin with {wanted}");
    }
}

#[test]
fn where_an_issuer_is_is_checked_as_upstream_does() {
    let at = |issuer: Value| json!({"issuer": issuer});
    refused(&[
        (at(json!({"url": ""})), "jwt[0].issuer.url: Required value"),
        (
            at(json!({"url": "https://kubernetes.default.svc.cluster.local"})),
            "jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc.cluster.local\": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc.cluster.local]",
        ),
        (
            at(json!({"discoveryURL": "https://issuer.example/"})),
            "jwt[0].issuer.discoveryURL: Invalid value: \"https://issuer.example/\": discoveryURL must be different from URL",
        ),
        (
            at(json!({"discoveryURL": "http://x.example/?y"})),
            "jwt[0].issuer.discoveryURL: Invalid value: \"http://x.example/?y\": URL scheme must be https, jwt[0].issuer.discoveryURL: Invalid value: \"http://x.example/?y\": URL must not contain a query",
        ),
        (at(json!({"audiences": ["a", ""]})), "jwt[0].issuer.audiences[1]: Required value"),
        (
            at(json!({"audiences": ["a", "a"], "audienceMatchPolicy": "MatchAny"})),
            "jwt[0].issuer.audiences[1]: Duplicate value: \"a\"",
        ),
        (
            at(json!({"audiences": ["a", "b"]})),
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
        ),
        (
            at(json!({"audienceMatchPolicy": "MatchAll"})),
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"MatchAll\": audienceMatchPolicy must be empty or MatchAny for single audience",
        ),
        (
            at(
                json!({"certificateAuthority": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}),
            ),
            "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": ",
        ),
        (
            at(json!({"certificateAuthority": "none"})),
            "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": ",
        ),
        (
            at(json!({"egressSelectorType": "etcd"})),
            "jwt[0].issuer.egressSelectorType: Invalid value: \"etcd\": egress selector must be either controlplane or cluster",
        ),
        (
            at(json!({"egressSelectorType": "cluster"})),
            "jwt[0].issuer.egressSelectorType: Invalid value: \"cluster\": there are no egress selectors here",
        ),
    ]);
}

#[test]
fn issuers_and_their_documents_are_each_named_once_and_64_at_most() {
    let jwt = |url: &str, discovery: &str| {
        json!({
            "issuer": {"url": url, "discoveryURL": discovery, "audiences": ["a"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        })
    };
    let twice =
        [jwt("https://a.example", "https://b.example"), jwt("https://a.example", "https://b.example")];
    let error = load(&configuration(json!({"jwt": twice}))).unwrap_err().to_string();
    for text in [
        "jwt[1].issuer.url: Duplicate value: \"https://a.example\"",
        "jwt[1].issuer.discoveryURL: Duplicate value: \"https://b.example\"",
    ] {
        assert!(error.contains(text), "{error} should say {text}");
    }
    let many: Vec<Value> = (0..65).map(|at| jwt(&format!("https://{at}.example"), "")).collect();
    let error = load(&configuration(json!({"jwt": many}))).unwrap_err().to_string();
    assert!(error.ends_with("jwt: Too many: 65: must have at most 64 items"), "{error}");
    load(&configuration(json!({"jwt": many[..64]}))).unwrap();
}

#[test]
fn claims_are_checked_by_one_claim_or_by_one_expression() {
    let rule = |rule: Value| json!({"claimValidationRules": [rule]});
    let path = "jwt[0].claimValidationRules";
    for (more, wanted) in [
        (rule(json!({})), format!("{path}[0]: Required value: claim or expression is required")),
        (
            rule(json!({"claim": "a", "expression": "true"})),
            format!("{path}[0]: Invalid value: \"a\": claim and expression can't both be set"),
        ),
        (
            rule(json!({"claim": "a", "requiredValue": "b", "message": "m"})),
            format!("{path}[0].message: Invalid value: \"m\": may not be specified when claim is set"),
        ),
        (
            rule(json!({"expression": "true", "requiredValue": "b"})),
            format!(
                "{path}[0].requiredValue: Invalid value: \"b\": may not be specified when expression is set"
            ),
        ),
        (
            json!({"claimValidationRules": [{"claim": "a"}, {"claim": "a"}]}),
            format!("{path}[1].claim: Duplicate value: \"a\""),
        ),
        (
            json!({"claimValidationRules": [{"expression": "true"}, {"expression": "true"}]}),
            format!("{path}[1].expression: Duplicate value: \"true\""),
        ),
        (
            rule(json!({"expression": "claims.admin"})),
            format!("{path}[0].expression: Invalid value: \"claims.admin\": must evaluate to bool"),
        ),
        (
            rule(json!({"expression": "user.username == 'a'"})),
            format!(
                "{path}[0].expression: Invalid value: \"user.username == 'a'\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'user'"
            ),
        ),
    ] {
        refused(&[(more, &wanted)]);
    }
}

#[test]
fn names_groups_and_uids_are_of_a_claim_or_of_an_expression() {
    let map = |mappings: Value| json!({"claimMappings": mappings});
    refused(&[
        (
            map(json!({"username": {}})),
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            map(json!({"username": {"claim": "a", "expression": "claims.a"}})),
            "jwt[0].claimMappings.username: Invalid value: \"\": claim and expression can't both be set",
        ),
        (
            map(json!({"username": {"expression": "claims.a", "prefix": "p"}})),
            "jwt[0].claimMappings.username.prefix: Invalid value: \"p\": may not be specified when expression is set",
        ),
        (
            map(json!({"groups": {"claim": "a"}})),
            "jwt[0].claimMappings.groups.prefix: Required value: prefix is required when claim is set",
        ),
        (
            map(json!({"groups": {"claim": "a", "prefix": "", "expression": "claims.a"}})),
            "jwt[0].claimMappings.groups: Invalid value: \"\": claim and expression can't both be set",
        ),
        (
            map(json!({"uid": {"claim": "a", "expression": "claims.a"}})),
            "jwt[0].claimMappings.uid: Invalid value: \"\": claim and expression can't both be set",
        ),
        (
            map(json!({"uid": {"expression": "claims."}})),
            "jwt[0].claimMappings.uid.expression: Invalid value: \"claims.\": compilation failed: ERROR: <input>:1:8: Syntax error",
        ),
    ]);
    let error = load(&with_jwt(map(json!({"uid": {"claim": "a", "prefix": "p"}})))).unwrap_err().to_string();
    assert!(error.contains("unknown field `prefix`"), "{error}");
    load(&with_jwt(map(json!({"groups": {"expression": "claims.a"}, "uid": {"expression": "claims.b"}}))))
        .unwrap();
}

#[test]
fn keys_of_what_else_is_known_of_a_user_are_small_of_a_domain_and_not_of_kubernetes() {
    let extra = |extra: Value| json!({"claimMappings": {"extra": extra}});
    let one = |key: &str| extra(json!([{"key": key, "valueExpression": "claims.a"}]));
    let path = "jwt[0].claimMappings.extra";
    let reserved = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
    for (more, wanted) in [
        (one(""), format!("{path}[0].key: Required value")),
        (one("foo"), format!("{path}[0].key: Invalid value: \"foo\": must be a domain-prefixed path")),
        (one("a.io/"), format!("{path}[0].key: Invalid value: \"a.io/\": must be a domain-prefixed path")),
        (
            one("a_b.io/c"),
            format!("{path}[0].key: Invalid value: \"a_b.io/c\": a lowercase RFC 1123 subdomain")
                .replace("a_b.io/c", "a_b.io"),
        ),
        (one("a.io/\u{e4}"), format!("{path}[0].key: Invalid value: \"\u{e4}\": Invalid path")),
        (one("a.io/B"), format!("{path}[0].key: Invalid value: \"a.io/B\": must be lowercase")),
        (one("k8s.io/a"), format!("{path}[0].key: Invalid value: \"k8s.io/a\": {reserved}")),
        (
            one("a.kubernetes.io/a"),
            format!("{path}[0].key: Invalid value: \"a.kubernetes.io/a\": {reserved}"),
        ),
        (
            extra(
                json!([{"key": "a.io/b", "valueExpression": "''"}, {"key": "a.io/b", "valueExpression": "'x'"}]),
            ),
            format!("{path}[1].key: Duplicate value: \"a.io/b\""),
        ),
        (extra(json!([{"key": "a.io/b"}])), format!("{path}[0].valueExpression: Required value")),
        (
            extra(json!([{"key": "a.io/b", "valueExpression": "nothing"}])),
            format!("{path}[0].valueExpression: Invalid value: \"nothing\": compilation failed: "),
        ),
    ] {
        refused(&[(more, &wanted)]);
    }
    load(&with_jwt(one("notk8s.io/a"))).unwrap();
}

#[test]
fn a_name_that_is_an_address_wants_it_verified_somewhere() {
    let map = |username: &str| json!({"claimMappings": {"username": {"expression": username}}});
    let wanted = "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression";
    for text in
        ["claims.email", "'a:' + claims.email", "claims.?email.orValue('')", "has(claims.email) ? 'a' : 'b'"]
    {
        refused(&[(
            map(text),
            &format!("jwt[0].claimMappings.username.expression: Invalid value: {text:?}: {wanted}"),
        )]);
    }
    let rule = json!([{"expression": "claims.?email_verified.orValue(true) == true"}]);
    let extra = json!([{"key": "a.io/b", "valueExpression": "string(claims.email_verified)"}]);
    for (username, more) in [
        ("claims.email_verified ? claims.email : claims.sub", json!({})),
        ("claims.sub", json!({})),
        ("claims['email']", json!({})),
        ("claims.email", json!({"claimValidationRules": rule})),
        ("claims.email", json!({"claimMappings": {"extra": extra}})),
    ] {
        let mut all = more;
        all["claimMappings"]["username"] = json!({"expression": username});
        load(&with_username(all)).unwrap();
    }
}

/// The same where the user's name is given too.
fn with_username(mut more: Value) -> String {
    more["issuer"] = json!({"url": "https://issuer.example", "audiences": ["a"]});
    configuration(json!({"jwt": [more]}))
}

#[test]
fn rules_for_users_are_expressions_about_users() {
    let rules = |rules: Value| json!({"userValidationRules": rules});
    let path = "jwt[0].userValidationRules";
    for (more, wanted) in [
        (rules(json!([{"message": "m"}])), format!("{path}[0].expression: Required value")),
        (
            rules(json!([{"expression": "true"}, {"expression": "true"}])),
            format!("{path}[1].expression: Duplicate value: \"true\""),
        ),
        (
            rules(json!([{"expression": "user.username"}])),
            format!("{path}[0].expression: Invalid value: \"user.username\": must evaluate to bool"),
        ),
        (
            rules(json!([{"expression": "user.name == ''"}])),
            format!(
                "{path}[0].expression: Invalid value: \"user.name == ''\": compilation failed: ERROR: <input>:1:5: undefined field 'name'"
            ),
        ),
        (
            rules(json!([{"expression": "claims.a == ''"}])),
            format!(
                "{path}[0].expression: Invalid value: \"claims.a == ''\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'claims'"
            ),
        ),
    ] {
        refused(&[(more, &wanted)]);
    }
    let wrong =
        load(&with_jwt(rules(json!([{"expression": "true", "claim": "a"}])))).unwrap_err().to_string();
    assert!(wrong.contains("unknown field `claim`"), "{wrong}");
}

#[test]
fn conditions_are_of_those_who_are_let_in() {
    let anonymous = json!({"enabled": false, "conditions": [{"path": "/livez"}]});
    let error = load(&configuration(json!({"anonymous": anonymous}))).unwrap_err().to_string();
    let wanted =
        "anonymous.conditions: Invalid value: 1: enabled should be set to true when conditions are defined";
    assert!(error.contains(wanted), "{error}");
}

#[test]
fn all_versions_of_the_file_are_read_alike() {
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let text = with_jwt(json!({"userValidationRules": [{"expression": "user.uid == ''"}]}));
        load(&text.replace("k8s.io/v1\"", &format!("k8s.io/{version}\""))).unwrap();
    }
}

async fn with_anonymous(anonymous: Value) -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "authentication.yaml", &configuration(json!({"anonymous": anonymous})));
    let options = ExternalOptions { authentication_config: Some(path), ..ExternalOptions::default() };
    World::start_external(&options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_is_let_in_only_where_the_file_says() {
    let world = with_anonymous(json!({"enabled": true, "conditions": [{"path": "/livez"}]})).await;
    let get = async |path: &'static str| call(&world, None, None, &[], ("GET", path), None).await.0;
    assert_eq!((get("/livez").await, get("/version").await), (200, 401));
    let world = with_anonymous(json!({"enabled": false})).await;
    assert_eq!(call(&world, None, None, &[], ("GET", "/livez"), None).await.0, 401);
    let admin = world.pki.admin();
    let (code, user) = whoami(&world, Some((&admin.certificate, &admin.key)), None, &[]).await;
    assert_eq!((code, &user["username"]), (201, &json!("hako-admin")));
}
