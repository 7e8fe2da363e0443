//! Expressions of an `AuthenticationConfiguration`, by tokens of an issuer.

use serde_json::{Value, json};

use super::oidc::Bed;
use super::{call, whoami};

/// An issuer whose tokens' `sub` is the user, and what is said besides.
async fn bed(mut more: Value) -> Bed {
    if more.pointer("/claimMappings/username").is_none() {
        more["claimMappings"]["username"] = json!({"claim": "sub", "prefix": ""});
    }
    Bed::with(more).await
}

/// The member of the user that the claims make; none where the token is nobody's.
async fn made(bed: &Bed, changes: Value, member: &str) -> Option<Value> {
    bed.user(changes).await.map(|user| user[member].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_what_an_expression_makes_of_claims() {
    let text = "claims.email_verified ? 'oidc:' + claims.email.split('@')[0] : 'sub:' + claims.sub";
    let bed = bed(json!({"claimMappings": {"username": {"expression": text}}})).await;
    assert_eq!(made(&bed, json!({}), "username").await, Some("oidc:jane".into()));
    assert_eq!(made(&bed, json!({"email_verified": false}), "username").await, Some("sub:7".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_makes_no_name_lets_nobody_in() {
    let bed = bed(json!({"claimMappings": {"username": {"expression": "claims.name"}}})).await;
    assert_eq!(made(&bed, json!({"name": "jane"}), "username").await, Some("jane".into()));
    for name in [json!(5), json!(["jane"]), json!(null), json!(""), json!({}), json!(true)] {
        assert_eq!(bed.user(json!({"name": name})).await, None, "{name}");
    }
    assert_eq!(bed.user(json!({})).await, None, "there is no such claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_a_text_or_a_list_of_texts_of_an_expression() {
    let bed = bed(json!({"claimMappings": {"groups": {"expression": "claims.teams"}}})).await;
    let all = "system:authenticated";
    for (teams, groups) in [
        (json!("dev"), json!(["dev", all])),
        (json!(["dev", "ops"]), json!(["dev", "ops", all])),
        (json!(["dev", "", "ops"]), json!(["dev", "ops", all])),
        (json!([]), json!([all])),
        (json!(""), json!([all])),
        (json!(null), json!([all])),
    ] {
        assert_eq!(made(&bed, json!({"teams": teams}), "groups").await, Some(groups), "{teams}");
    }
    for teams in [json!(5), json!(["dev", 5]), json!([["dev"]]), json!({"a": "b"}), json!(["dev", null])] {
        assert_eq!(bed.user(json!({"teams": teams})).await, None, "{teams}");
    }
    assert_eq!(bed.user(json!({})).await, None, "there is no such claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_expressions_make_are_groups_too() {
    let text = "claims.roles.filter(role, role != 'ops').map(role, 'oidc:' + role) + (has(claims.team) ? [claims.team] : [])";
    let bed = bed(json!({"claimMappings": {"groups": {"expression": text}}})).await;
    let groups = made(&bed, json!({"team": "blue"}), "groups").await;
    assert_eq!(groups, Some(json!(["oidc:dev", "blue", "system:authenticated"])));
    assert_eq!(made(&bed, json!({}), "groups").await, Some(json!(["oidc:dev", "system:authenticated"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_value_is_no_text_until_it_is_taken_out() {
    let wrapped = bed(json!({"claimMappings": {"groups": {"expression": "claims.?roles"}}})).await;
    assert_eq!(wrapped.user(json!({})).await, None);
    let taken = bed(json!({"claimMappings": {"groups": {"expression": "claims.?teams.orValue([])"}}})).await;
    assert_eq!(made(&taken, json!({}), "groups").await, Some(json!(["system:authenticated"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uid_is_a_text_of_an_expression() {
    let bed = bed(json!({"claimMappings": {"uid": {"expression": "claims.id"}}})).await;
    assert_eq!(made(&bed, json!({"id": "u-1"}), "uid").await, Some("u-1".into()));
    for id in [json!(5), json!(["u"]), json!(null)] {
        assert_eq!(bed.user(json!({"id": id})).await, None, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extras_are_by_key_and_those_without_a_value_are_not_there() {
    let extra = json!([
        {"key": "example.com/tenant", "valueExpression": "claims.tenant"},
        {"key": "example.com/roles", "valueExpression": "claims.roles"},
    ]);
    let bed = bed(json!({"claimMappings": {"extra": extra}})).await;
    let roles = json!(["dev", "ops"]);
    let both = json!({"example.com/tenant": ["t"], "example.com/roles": roles});
    assert_eq!(made(&bed, json!({"tenant": "t"}), "extra").await, Some(both));
    for none in [json!(""), json!([]), json!([""]), json!(null)] {
        let extra = made(&bed, json!({"tenant": none}), "extra").await;
        assert_eq!(extra, Some(json!({"example.com/roles": roles})), "{none}");
    }
    assert_eq!(bed.user(json!({"tenant": {"a": "b"}})).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_a_rule_is_false_of_are_nobody_s() {
    let rules = json!([
        {"claim": "hd", "requiredValue": "example.com"},
        {"expression": "claims.exp - claims.nbf <= 86400", "message": "tokens are good for a day at most"},
        {"expression": "claims.?email_verified.orValue(true) == true", "message": "the address has to be verified"},
    ]);
    let bed = bed(json!({"claimValidationRules": rules})).await;
    let now = 1_000_000_000;
    assert_eq!(made(&bed, json!({"nbf": now, "exp": 4_000_000_000_u64}), "username").await, None);
    let exp = made_exp(&bed);
    assert!(bed.user(json!({"nbf": exp - 3600, "exp": exp})).await.is_some());
    assert!(bed.user(json!({"nbf": exp - 3600, "exp": exp, "email_verified": false})).await.is_none());
    assert!(bed.user(json!({"nbf": exp - 3600, "exp": exp, "hd": "example.org"})).await.is_none());
    assert!(bed.user(json!({})).await.is_none(), "a rule about a claim that is not there has no value");
}

/// When a token of the issuer that has just been made ends.
fn made_exp(bed: &Bed) -> u64 {
    bed.claims(json!({}))["exp"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_a_rule_is_false_of_are_nobody() {
    let rules = json!([
        {"expression": "!user.username.startsWith('system:')", "message": "names of the system are not given away"},
        {"expression": "user.groups.all(group, !group.startsWith('system:'))"},
        {"expression": "user.uid == '' && size(user.extra) == 0 || user.extra['example.com/a'] == ['b']"},
    ]);
    let mappings = json!({
        "groups": {"expression": "claims.roles"}, "uid": {"expression": "claims.?id.orValue('')"},
        "extra": [{"key": "example.com/a", "valueExpression": "claims.?a.orValue('')"}],
    });
    let bed = bed(json!({"claimMappings": mappings, "userValidationRules": rules})).await;
    assert!(bed.user(json!({})).await.is_some(), "what there is none of is empty");
    assert!(bed.user(json!({"id": "u", "a": "b"})).await.is_some());
    assert!(bed.user(json!({"id": "u", "a": "c"})).await.is_none());
    assert!(bed.user(json!({"sub": "system:admin"})).await.is_none());
    assert!(bed.user(json!({"roles": ["dev", "system:masters"]})).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_a_token_says_which_rule_is_broken_and_why() {
    let rules = json!([{"expression": "claims.hd == 'example.com'", "message": "the domain is ours alone"}]);
    let users = json!([{"expression": "user.username != '9'", "message": "nine is taken"}]);
    let bed = bed(json!({"claimValidationRules": rules, "userValidationRules": users})).await;
    for (changes, wanted) in [
        (
            json!({"hd": "example.org"}),
            "oidc: error evaluating claim validation expression: validation expression 'claims.hd == 'example.com'' failed: the domain is ours alone",
        ),
        (
            json!({"sub": "9"}),
            "oidc: error evaluating user info validation rule: validation expression 'user.username != '9'' failed: nine is taken",
        ),
        (
            json!({"hd": 5}),
            "oidc: error evaluating claim validation expression: validation expression 'claims.hd == 'example.com'' failed: the domain is ours alone",
        ),
    ] {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": bed.token(changes)},
        });
        let admin = bed.world.pki.admin();
        let admin = Some((admin.certificate.as_str(), admin.key.as_str()));
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let (code, said) = call(&bed.world, admin, None, &[], ("POST", path), Some(review)).await;
        assert_eq!((code, said["status"]["error"].as_str()), (201, Some(wanted)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_costs_too_much_lets_nobody_in() {
    let text = "claims.list.all(a, claims.list.all(b, claims.list.all(c, a + b + c >= 0))) ? 'a' : 'b'";
    let bed = bed(json!({"claimMappings": {"username": {"expression": text}}})).await;
    assert_eq!(made(&bed, json!({"list": [1, 2, 3]}), "username").await, Some("a".into()));
    let list: Vec<u32> = (0..1000).collect();
    let (code, said) = whoami(&bed.world, None, Some(&bed.token(json!({"list": list}))), &[]).await;
    assert_eq!(code, 401, "{said}");
}
