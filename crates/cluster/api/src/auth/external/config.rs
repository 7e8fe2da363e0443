//! `AuthenticationConfiguration` of `apiserver.config.k8s.io`.

use std::path::Path;

use hako_error::FieldCause;
use hako_kube::field;
use serde::Deserialize;
use serde_json::Value;

use super::oidc::Issuer;
use super::{ExternalError, read};
use crate::schema;

const GROUP: &str = "apiserver.config.k8s.io";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<Jwt>,
    anonymous: Option<Anonymous>,
}

/// Where nobody in particular may look.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Anonymous {
    pub enabled: bool,
    /// Only at these; anywhere if there are none.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    pub path: String,
}

/// One issuer of tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Jwt {
    pub issuer: IssuerAt,
    #[serde(default)]
    pub claim_validation_rules: Vec<ClaimRule>,
    #[serde(default)]
    pub claim_mappings: Mappings,
    #[serde(default)]
    user_validation_rules: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IssuerAt {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    pub certificate_authority: Option<String>,
    #[serde(default)]
    pub audiences: Vec<String>,
    #[serde(default)]
    audience_match_policy: String,
    egress_selector_type: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimRule {
    #[serde(default)]
    pub claim: String,
    #[serde(default)]
    pub required_value: String,
    #[serde(default)]
    expression: String,
    #[serde(default, rename = "message")]
    _message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mappings {
    #[serde(default)]
    pub username: Mapping,
    #[serde(default)]
    pub groups: Mapping,
    #[serde(default)]
    pub uid: Mapping,
    #[serde(default)]
    extra: Vec<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mapping {
    #[serde(default)]
    pub claim: String,
    pub prefix: Option<String>,
    #[serde(default)]
    expression: String,
}

impl Default for Anonymous {
    fn default() -> Self {
        Self { enabled: true, conditions: Vec::new() }
    }
}

impl Anonymous {
    /// Whether somebody who shows nothing is let in at a path.
    pub(crate) fn is_let_in(&self, path: &str) -> bool {
        self.enabled && (self.conditions.is_empty() || self.conditions.iter().any(|it| it.path == path))
    }
}

/// Reads and checks a file; all its faults come at once.
pub(super) fn load(path: &Path) -> Result<(Vec<Issuer>, Anonymous), ExternalError> {
    let bytes = read(path)?;
    let name = path.display().to_string();
    let form = |problem: String| ExternalError::Form { path: name.clone(), problem };
    let value = schema::decode::yaml(&bytes).map_err(|error| form(error.to_string()))?.value;
    let file: File = serde_json::from_value(value).map_err(|error| form(error.to_string()))?;
    let version = file.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
    if !matches!(version, Some("v1" | "v1beta1" | "v1alpha1")) || file.kind != "AuthenticationConfiguration" {
        return Err(form(format!("it is {:?} of {:?}", file.kind, file.api_version)));
    }
    let expressions = file.jwt.iter().enumerate().filter_map(|(index, jwt)| jwt.expression(index));
    if let Some(field) = expressions.into_iter().next() {
        return Err(ExternalError::Expression { path: name, field });
    }
    let causes = file.faults();
    if !causes.is_empty() {
        return Err(ExternalError::Invalid { path: name, causes });
    }
    let issuers: Result<Vec<Issuer>, String> = file.jwt.into_iter().map(Issuer::new).collect();
    Ok((issuers.map_err(form)?, file.anonymous.unwrap_or_default()))
}

impl Jwt {
    /// The first field that would have to be evaluated.
    fn expression(&self, index: usize) -> Option<String> {
        let mappings = &self.claim_mappings;
        for (name, mapping) in
            [("username", &mappings.username), ("groups", &mappings.groups), ("uid", &mappings.uid)]
        {
            if !mapping.expression.is_empty() {
                return Some(format!("jwt[{index}].claimMappings.{name}.expression"));
            }
        }
        if !mappings.extra.is_empty() {
            return Some(format!("jwt[{index}].claimMappings.extra[0].valueExpression"));
        }
        if !self.user_validation_rules.is_empty() {
            return Some(format!("jwt[{index}].userValidationRules[0].expression"));
        }
        let rule = self.claim_validation_rules.iter().position(|rule| !rule.expression.is_empty())?;
        Some(format!("jwt[{index}].claimValidationRules[{rule}].expression"))
    }
}

impl File {
    fn faults(&self) -> Vec<FieldCause> {
        let mut causes = Vec::new();
        for (index, jwt) in self.jwt.iter().enumerate() {
            let path = field::index("jwt", index);
            issuer(&jwt.issuer, &field::child(&path, "issuer"), &mut causes);
            if self.jwt[..index].iter().any(|other| other.issuer.url == jwt.issuer.url) {
                let at = field::child(&path, "issuer.url");
                causes.push(field::duplicate(at, jwt.issuer.url.as_str()));
            }
            for (number, rule) in jwt.claim_validation_rules.iter().enumerate() {
                if rule.claim.is_empty() {
                    let at = format!("{path}.claimValidationRules[{number}]");
                    causes.push(field::required(at, "claim or expression is required"));
                }
            }
            mappings(&jwt.claim_mappings, &field::child(&path, "claimMappings"), &mut causes);
        }
        if let Some(anonymous) = &self.anonymous
            && !anonymous.enabled
            && !anonymous.conditions.is_empty()
        {
            let detail = "enabled should be set to true when conditions are defined";
            causes.push(field::invalid("anonymous.conditions", anonymous.conditions.len(), detail));
        }
        causes
    }
}

fn issuer(issuer: &IssuerAt, path: &str, causes: &mut Vec<FieldCause>) {
    let url = field::child(path, "url");
    match issuer.url.as_str() {
        "" => causes.push(field::required(&url, "URL is required")),
        text => url_faults(text, &url, causes),
    }
    if issuer.url == crate::auth::token::ISSUER {
        causes.push(field::invalid(
            &url,
            issuer.url.as_str(),
            "URL must not overlap with disallowed issuers",
        ));
    }
    if let Some(discovery) = &issuer.discovery_url {
        let at = field::child(path, "discoveryURL");
        url_faults(discovery, &at, causes);
        if discovery.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            causes.push(field::invalid(at, discovery.as_str(), "discoveryURL must be different from URL"));
        }
    }
    let audiences = field::child(path, "audiences");
    if issuer.audiences.is_empty() {
        causes.push(field::required(&audiences, &format!("at least one {audiences} is required")));
    }
    let policy = field::child(path, "audienceMatchPolicy");
    match issuer.audience_match_policy.as_str() {
        "MatchAny" => {}
        "" if issuer.audiences.len() <= 1 => {}
        given => {
            let detail = "audienceMatchPolicy must be MatchAny when multiple audiences are specified";
            causes.push(field::invalid(policy, given, detail));
        }
    }
    if let Some(selector) = &issuer.egress_selector_type {
        let at = field::child(path, "egressSelectorType");
        causes.push(field::invalid(at, selector.as_str(), "there are no egress selectors here"));
    }
}

fn url_faults(text: &str, path: &str, causes: &mut Vec<FieldCause>) {
    let Ok(url) = text.parse::<http::Uri>() else {
        causes.push(field::invalid(path, text, "is no URL"));
        return;
    };
    if url.scheme_str() != Some("https") {
        causes.push(field::invalid(path, text, "URL scheme must be https"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        causes.push(field::invalid(path, text, "URL must not contain a username or password"));
    }
    if url.query().is_some() {
        causes.push(field::invalid(path, text, "URL must not contain a query"));
    }
    if text.contains('#') {
        causes.push(field::invalid(path, text, "URL must not contain a fragment"));
    }
}

fn mappings(mappings: &Mappings, path: &str, causes: &mut Vec<FieldCause>) {
    const PREFIX: &str =
        "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
    let username = field::child(path, "username");
    if mappings.username.claim.is_empty() {
        causes.push(field::required(&username, "claim or expression is required"));
    }
    for (name, mapping) in [("username", &mappings.username), ("groups", &mappings.groups)] {
        let at = field::child(&field::child(path, name), "prefix");
        match (mapping.claim.is_empty(), &mapping.prefix) {
            (false, None) => causes.push(field::required(at, PREFIX)),
            (true, Some(prefix)) => {
                causes.push(field::invalid(
                    at,
                    prefix.as_str(),
                    "non-empty claim name is required when prefix is set",
                ));
            }
            _ => {}
        }
    }
}
