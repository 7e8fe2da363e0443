//! What a container's environment is: values, references and the names of services.
//!
//! Owns: the order and precedence of sources, `$(NAME)` expansion, fields of the pod and of its resources.
//! Does not own: reading ConfigMaps and Secrets; the caller fetches what [`references`] names.
//! Invariant: building an environment is pure; the same inputs give the same environment.

mod expand;
mod fields;
mod services;

pub(crate) use expand::expand;
pub(crate) use fields::{PodFacts, field, resource};
pub(crate) use services::service_environment;

use crate::tokens::{Token, TokenWish};
use hako_error::{Classify, Kind};
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, Secret};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Why a container's configuration cannot be made now; the pod waits with `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum EnvError {
    /// The referenced object does not exist.
    #[error("{kind} {name:?} not found")]
    ObjectMissing { kind: &'static str, name: String },
    /// The object exists and has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyMissing { kind: &'static str, namespace: String, name: String, key: String },
    /// A Secret's value is not text.
    #[error("value of key {key} in {kind} {name} is not valid UTF-8, an environment variable must be text")]
    NotText { kind: &'static str, name: String, key: String },
    /// The field reference is none we know.
    #[error("field path {0:?} is not supported in a downward reference")]
    Field(String),
    /// The resource reference is none we know.
    #[error("resource {0:?} is not supported in a resource reference")]
    Resource(String),
    /// A source this node does not know.
    #[error("environment variable {name} uses {what}, which this node does not support")]
    Unsupported { name: String, what: &'static str },
}

impl Classify for EnvError {
    fn kind(&self) -> Kind {
        match self {
            Self::ObjectMissing { .. } | Self::KeyMissing { .. } => Kind::NotFound,
            Self::NotText { .. } | Self::Field(_) | Self::Resource(_) => Kind::Invalid,
            Self::Unsupported { .. } => Kind::Unimplemented,
        }
    }
}

/// What was found: ConfigMaps and Secrets by name, all of the pod's namespace, and tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Referenced {
    /// ConfigMaps by name.
    pub(crate) config_maps: HashMap<String, Arc<ConfigMap>>,
    /// Secrets by name.
    pub(crate) secrets: HashMap<String, Arc<Secret>>,
    /// Tokens of the pod's account, or why there is none.
    pub(crate) tokens: HashMap<TokenWish, Result<Token, String>>,
}

impl Referenced {
    fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Option<&ConfigMap>, EnvError> {
        found(self.config_maps.get(name), "configmap", name, optional)
    }

    fn secret(&self, name: &str, optional: Option<bool>) -> Result<Option<&Secret>, EnvError> {
        found(self.secrets.get(name), "secret", name, optional)
    }
}

fn found<'a, T>(
    object: Option<&'a Arc<T>>,
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a T>, EnvError> {
    match object {
        Some(object) => Ok(Some(object)),
        None if optional == Some(true) => Ok(None),
        None => Err(EnvError::ObjectMissing { kind, name: name.to_owned() }),
    }
}

/// Names of the objects an environment or a volume reads, and the tokens it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// ConfigMaps by name.
    pub(crate) config_maps: BTreeSet<String>,
    /// Secrets by name.
    pub(crate) secrets: BTreeSet<String>,
    /// Tokens of the pod's account.
    pub(crate) tokens: BTreeSet<TokenWish>,
}

/// What `container`'s environment refers to.
pub(crate) fn references(container: &Container) -> References {
    let mut names = References::default();
    for source in container.env_from.iter().flatten() {
        names.config_maps.extend(source.config_map_ref.iter().map(|r| r.name.clone()));
        names.secrets.extend(source.secret_ref.iter().map(|r| r.name.clone()));
    }
    let sources = container.env.iter().flatten().filter_map(|v| v.value_from.as_ref());
    for source in sources {
        let config_map = source.config_map_key_ref.iter().map(|r| r.name.clone());
        names.config_maps.extend(config_map);
        names.secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    names
}

/// An environment in the order it was defined; a later definition of a name replaces the earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    names: Vec<String>,
    values: HashMap<String, String>,
}

impl Environment {
    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Defines `name`.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        if self.values.insert(name.clone(), value.into()).is_none() {
            self.names.push(name);
        }
    }

    /// `NAME=value` lines in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |name: &String| format!("{name}={}", self.values[name]);
        self.names.iter().map(line).collect()
    }
}

/// The environment of `container`: names of services, then `envFrom`, then `env`, each over the one before.
pub(crate) fn build(
    container: &Container,
    facts: &PodFacts<'_>,
    services: &[(String, String)],
    referenced: &Referenced,
) -> Result<Environment, EnvError> {
    let mut environment = Environment::default();
    for (name, value) in services {
        environment.set(name, value);
    }
    for source in container.env_from.iter().flatten() {
        add_all(&mut environment, source, referenced)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, container, facts, referenced, &environment)? {
            environment.set(&variable.name, value);
        }
    }
    Ok(environment)
}

fn add_all(to: &mut Environment, source: &EnvFromSource, referenced: &Referenced) -> Result<(), EnvError> {
    let prefix = source.prefix.as_deref().unwrap_or("");
    if let Some(reference) = &source.config_map_ref
        && let Some(map) = referenced.config_map(&reference.name, reference.optional)?
    {
        for (key, value) in map.data.iter().flatten().filter(|(key, _)| is_name(key)) {
            to.set(format!("{prefix}{key}"), value);
        }
    }
    if let Some(reference) = &source.secret_ref
        && let Some(secret) = referenced.secret(&reference.name, reference.optional)?
    {
        for (key, value) in secret.data.iter().flatten().filter(|(key, _)| is_name(key)) {
            to.set(format!("{prefix}{key}"), text("secret", &reference.name, key, &value.0)?);
        }
    }
    Ok(())
}

/// Since 1.30 every printable ASCII character but `=` may be in a name; keys that break this are left out.
fn is_name(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

fn text(kind: &'static str, name: &str, key: &str, bytes: &[u8]) -> Result<String, EnvError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| EnvError::NotText {
        kind,
        name: name.to_owned(),
        key: key.to_owned(),
    })
}

/// `None` when an optional reference has nothing to offer: the variable is then not defined at all.
fn value_of(
    variable: &EnvVar,
    container: &Container,
    facts: &PodFacts<'_>,
    referenced: &Referenced,
    so_far: &Environment,
) -> Result<Option<String>, EnvError> {
    if let Some(source) = &variable.value_from {
        return value_from(variable, source, container, facts, referenced);
    }
    let raw = variable.value.as_deref().unwrap_or("");
    Ok(Some(expand(raw, |name| so_far.get(name))))
}

fn value_from(
    variable: &EnvVar,
    source: &EnvVarSource,
    container: &Container,
    facts: &PodFacts<'_>,
    referenced: &Referenced,
) -> Result<Option<String>, EnvError> {
    if let Some(reference) = &source.field_ref {
        return field(facts, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return resource(facts, container, reference).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let Some(map) = referenced.config_map(&reference.name, reference.optional)? else {
            return Ok(None);
        };
        let value = map.data.as_ref().and_then(|data| data.get(&reference.key)).cloned();
        return or_missing(value, "ConfigMap", facts, &reference.name, &reference.key, reference.optional);
    }
    if let Some(reference) = &source.secret_key_ref {
        let Some(secret) = referenced.secret(&reference.name, reference.optional)? else {
            return Ok(None);
        };
        let value = secret.data.as_ref().and_then(|data| data.get(&reference.key));
        let value = value.map(|v| text("Secret", &reference.name, &reference.key, &v.0)).transpose()?;
        return or_missing(value, "Secret", facts, &reference.name, &reference.key, reference.optional);
    }
    let what = match source.file_key_ref {
        Some(_) => "fileKeyRef",
        None => "an empty valueFrom",
    };
    Err(EnvError::Unsupported { name: variable.name.clone(), what })
}

fn or_missing(
    value: Option<String>,
    kind: &'static str,
    facts: &PodFacts<'_>,
    name: &str,
    key: &str,
    optional: Option<bool>,
) -> Result<Option<String>, EnvError> {
    if value.is_none() && optional != Some(true) {
        return Err(EnvError::KeyMissing {
            kind,
            namespace: facts.pod.metadata.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
            key: key.to_owned(),
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
