//! `AuthenticationConfiguration` of `apiserver.config.k8s.io`.

use std::path::Path;

use serde::Deserialize;

use super::expressions::Expressions;
use super::oidc::Issuer;
use super::{ExternalError, checks, read};
use crate::schema;

const GROUP: &str = "apiserver.config.k8s.io";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    pub jwt: Vec<Jwt>,
    pub anonymous: Option<Anonymous>,
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
    pub user_validation_rules: Vec<UserRule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IssuerAt {
    pub url: String,
    #[serde(default, rename = "discoveryURL")]
    pub discovery_url: String,
    #[serde(default)]
    pub certificate_authority: String,
    #[serde(default)]
    pub audiences: Vec<String>,
    #[serde(default)]
    pub audience_match_policy: String,
    #[serde(default)]
    pub egress_selector_type: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimRule {
    #[serde(default)]
    pub claim: String,
    #[serde(default)]
    pub required_value: String,
    #[serde(default)]
    pub expression: String,
    /// What is said where the expression is false.
    #[serde(default)]
    pub message: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRule {
    #[serde(default)]
    pub expression: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mappings {
    #[serde(default)]
    pub username: Mapping,
    #[serde(default)]
    pub groups: Mapping,
    #[serde(default)]
    pub uid: UidMapping,
    #[serde(default)]
    pub extra: Vec<ExtraMapping>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mapping {
    #[serde(default)]
    pub claim: String,
    pub prefix: Option<String>,
    #[serde(default)]
    pub expression: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UidMapping {
    #[serde(default)]
    pub claim: String,
    #[serde(default)]
    pub expression: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExtraMapping {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value_expression: String,
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
    let file = parse(&bytes).map_err(form)?;
    let expressions = checks::check(&file);
    let expressions = expressions.map_err(|causes| ExternalError::Invalid { path: name.clone(), causes })?;
    let issuer = |(jwt, expressions): (Jwt, Expressions)| Issuer::new(jwt, expressions);
    let issuers: Result<Vec<Issuer>, String> = file.jwt.into_iter().zip(expressions).map(issuer).collect();
    Ok((issuers.map_err(form)?, file.anonymous.unwrap_or_default()))
}

fn parse(bytes: &[u8]) -> Result<File, String> {
    let value = schema::decode::yaml(bytes).map_err(|error| error.to_string())?.value;
    let file: File = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let version = file.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
    if !matches!(version, Some("v1" | "v1beta1" | "v1alpha1")) || file.kind != "AuthenticationConfiguration" {
        return Err(format!("it is {:?} of {:?}", file.kind, file.api_version));
    }
    Ok(file)
}
