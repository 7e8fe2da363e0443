//! Acting as somebody else: one test a documented rule.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::whoami;
use crate::support::World;

/// Somebody with a certificate, and a rule for them.
struct Actor {
    world: World,
    certificate: String,
    key: String,
}

impl Actor {
    async fn with(rules: Value) -> Self {
        let world = World::start().await;
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "actor"}, "rules": rules});
        world.kubectl_with(&["create", "-f", "-"], &role.to_string()).await;
        world
            .kubectl(&["create", "clusterrolebinding", "actor", "--clusterrole=actor", "--user=actor"])
            .await;
        let pair = world.pki.client("actor", &["crew"]).unwrap();
        Self { world, certificate: pair.certificate.clone(), key: pair.key.clone() }
    }

    async fn acts(&self, headers: &[(&str, &str)]) -> (u16, Value) {
        whoami(&self.world, Some((&self.certificate, &self.key)), None, headers).await
    }

    /// Acts once its role is known.
    async fn becomes(&self, headers: &[(&str, &str)]) -> Value {
        let began = Instant::now();
        loop {
            let (code, said) = self.acts(headers).await;
            if code == 201 {
                return said;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{headers:?}: {said}");
        }
    }

    async fn may_not(&self, headers: &[(&str, &str)], text: &str) {
        let (code, said) = self.acts(headers).await;
        assert!(code == 403 && said["message"].as_str().unwrap().contains(text), "{headers:?}: {said}");
    }
}

fn rule(group: &str, resource: &str, names: &[&str]) -> Value {
    let mut rule = json!({"verbs": ["impersonate"], "apiGroups": [group], "resources": [resource]});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_impersonated_by_name_and_keep_nothing_of_the_actor() {
    let actor = Actor::with(json!([rule("", "users", &["jane", "system:anonymous"])])).await;
    let jane = actor.becomes(&[("Impersonate-User", "jane")]).await;
    assert_eq!(jane, json!({"username": "jane", "groups": ["system:authenticated"]}));
    let text =
        "users \"joe\" is forbidden: User \"actor\" cannot impersonate resource \"users\" in API group \"\"";
    actor.may_not(&[("Impersonate-User", "joe")], text).await;
    let nobody = actor.acts(&[("Impersonate-User", "system:anonymous")]).await;
    assert_eq!(nobody.0, 403, "anonymous asks nothing, whoever that is: {nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_impersonated_one_by_one() {
    let rules = json!([
        rule("", "users", &[]),
        rule("", "groups", &["dev", "ops", "system:authenticated", "system:unauthenticated"]),
    ]);
    let actor = Actor::with(rules).await;
    let user = ("Impersonate-User", "jane");
    let both = [user, ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops")];
    let jane = actor.becomes(&both).await;
    assert_eq!(jane["groups"], json!(["dev", "ops", "system:authenticated"]));
    let (authenticated, not) =
        (("Impersonate-Group", "system:authenticated"), ("Impersonate-Group", "system:unauthenticated"));
    let jane = actor.becomes(&[user, authenticated, ("Impersonate-Group", "dev")]).await;
    assert_eq!(jane["groups"], json!(["system:authenticated", "dev"]), "once");
    let (code, said) = actor.acts(&[user, not]).await;
    assert_eq!(code, 403, "who is not authenticated asks nothing: {said}");
    let text =
        "groups \"system:masters\" is forbidden: User \"actor\" cannot impersonate resource \"groups\"";
    actor.may_not(&[user, ("Impersonate-Group", "dev"), ("Impersonate-Group", "system:masters")], text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uids_and_extras_are_impersonated_by_rules_of_their_own() {
    let group = "authentication.k8s.io";
    let rules = json!([
        rule("", "users", &[]),
        rule(group, "uids", &["u-1"]),
        rule(group, "userextras/scopes", &["view"]),
        rule(group, "userextras/acme.com/project", &[]),
    ]);
    let actor = Actor::with(rules).await;
    let user = ("Impersonate-User", "jane");
    let jane = actor.becomes(&[user, ("Impersonate-Uid", "u-1"), ("Impersonate-Extra-Scopes", "view")]).await;
    assert_eq!((&jane["uid"], &jane["extra"]), (&json!("u-1"), &json!({"scopes": ["view"]})));
    // A key with what no header's name has is percent-encoded.
    let jane = actor.becomes(&[user, ("Impersonate-Extra-Acme.com%2fproject", "a")]).await;
    assert_eq!(jane["extra"], json!({"acme.com/project": ["a"]}));
    actor.may_not(&[user, ("Impersonate-Uid", "u-2")], "cannot impersonate resource \"uids\"").await;
    let text = "cannot impersonate resource \"userextras/scopes\"";
    actor.may_not(&[user, ("Impersonate-Extra-Scopes", "edit")], text).await;
    let text = "cannot impersonate resource \"userextras/other\"";
    actor.may_not(&[user, ("Impersonate-Extra-Other", "view")], text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_accounts_are_impersonated_by_namespace_and_name() {
    let rules = json!([rule("", "serviceaccounts", &["robot"])]);
    let actor = Actor::with(rules).await;
    let robot = actor.becomes(&[("Impersonate-User", "system:serviceaccount:default:robot")]).await;
    assert_eq!(robot["username"], "system:serviceaccount:default:robot");
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(robot["groups"], groups);
    let text = "serviceaccounts \"other\" is forbidden: User \"actor\" cannot impersonate resource \
                \"serviceaccounts\" in API group \"\" in the namespace \"default\"";
    actor.may_not(&[("Impersonate-User", "system:serviceaccount:default:other")], text).await;
    actor.may_not(&[("Impersonate-User", "jane")], "cannot impersonate resource \"users\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_impersonated_without_a_user() {
    let actor = Actor::with(json!([rule("", "groups", &[]), rule("", "users", &[])])).await;
    actor.becomes(&[("Impersonate-User", "jane")]).await;
    for header in [("Impersonate-Group", "dev"), ("Impersonate-Uid", "u"), ("Impersonate-Extra-Scopes", "x")]
    {
        let (code, said) = actor.acts(&[header]).await;
        let text = "requested impersonation without specifying a user name";
        assert!(code == 400 && said["message"].as_str().unwrap().contains(text), "{header:?}: {said}");
    }
}
