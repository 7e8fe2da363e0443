//! What keeps a configuration that can be read from being used.
//!
//! Owns: looking at values and at the files that are named, with the same functions that open them. Changes nothing and asks
//! no other machine.

use super::{AuthConfig, Config, Pattern, Retention, S3Config, Selection, UpstreamConfig, WebhookConfig};
use crate::auth::Auth;
use crate::events::webhook_header;
use crate::http::{read_trusted, tls_faults};
use crate::name::Repository;
use hako_error::FieldCause;
use http::Uri;
use std::net::Ipv6Addr;
use std::path::Path;

/// The faults found so far.
#[derive(Default)]
struct Found(Vec<FieldCause>);

impl Found {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let (field, message) = (field.into(), message.into());
        self.0.push(FieldCause { reason: "FieldValueInvalid".into(), message, field });
    }
}

/// Everything, each fault with its field.
pub(super) fn faults(config: &Config, dir: &Path) -> Vec<FieldCause> {
    let mut found = Found::default();
    if let Some(tls) = &config.tls {
        for (field, message) in tls_faults(tls, dir) {
            found.add(format!("tls.{field}"), message);
        }
    }
    for (field, message) in Auth::faults(&config.auth, dir) {
        found.add(format!("auth.{field}"), message);
    }
    if let AuthConfig::Token { realm: Some(realm), .. } = &config.auth
        && let Err(problem) = http_url(realm)
    {
        found.add("auth.realm", problem);
    }
    if let Some(bucket) = &config.s3 {
        s3(bucket, &mut found);
    }
    if let Some(path) = &config.audit {
        audit(path, &mut found);
    }
    upstreams(&config.upstreams, &mut found);
    for (index, rule) in config.rules.iter().enumerate() {
        repositories(&rule.repositories, &format!("rules[{index}]"), &mut found);
    }
    for (index, quota) in config.quotas.iter().enumerate() {
        repositories(&quota.repositories, &format!("quotas[{index}]"), &mut found);
    }
    for (index, immutable) in config.immutable.iter().enumerate() {
        selection(immutable, &format!("immutable_tags[{index}]"), &mut found);
    }
    for (index, rule) in config.retention.iter().enumerate() {
        retention(rule, &format!("retention[{index}]"), &mut found);
    }
    for (index, hook) in config.webhooks.iter().enumerate() {
        webhook(hook, &format!("webhooks[{index}]"), &mut found);
    }
    found.0
}

/// A URL of http or https with a host; else why it is none.
pub(crate) fn http_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") => Err("it names no host"),
        _ => Err("it is neither http nor https"),
    }
}

fn s3(bucket: &S3Config, found: &mut Found) {
    if bucket.bucket.is_empty() || bucket.bucket.contains(|one: char| one == '/' || one.is_whitespace()) {
        found.add("s3.bucket", format!("{:?} is no bucket's name", bucket.bucket));
    }
    if bucket.region.is_empty() {
        found.add("s3.region", "it is empty");
    }
    if let Some(endpoint) = &bucket.endpoint
        && let Err(problem) = http_url(endpoint)
    {
        found.add("s3.endpoint", format!("{endpoint:?}: {problem}"));
    }
    if let Some(path) = &bucket.ca_file
        && let Err(error) = read_trusted(path)
    {
        found.add("s3.ca_file", error.chain());
    }
    if let Some((_, path)) = &bucket.key {
        secret(path, "s3.secret_access_key_file".into(), found);
    }
}

/// A file with a password or key.
fn secret(path: &Path, field: String, found: &mut Found) {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => found.add(field, format!("{} is empty", path.display())),
        Ok(_) => {}
        Err(error) => found.add(field, format!("cannot read {}: {error}", path.display())),
    }
}

fn audit(path: &Path, found: &mut Found) {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !dir.is_dir() {
        found.add("audit_file", format!("the directory {} is not there", dir.display()));
    } else if path.file_name().is_none() || path.is_dir() {
        found.add("audit_file", format!("{} is a directory", path.display()));
    } else if path.exists()
        && let Err(error) = std::fs::OpenOptions::new().append(true).open(path)
    {
        found.add("audit_file", format!("cannot write {}: {error}", path.display()));
    }
}

fn upstreams(upstreams: &[UpstreamConfig], found: &mut Found) {
    for (index, upstream) in upstreams.iter().enumerate() {
        let at = format!("upstreams[{index}]");
        let (registry, prefix) = (&upstream.registry, &upstream.prefix);
        if !is_registry(registry) {
            let problem = format!(
                "{registry:?} is no registry; expected a host and perhaps a port, such as docker.io or registry.example.org:5000"
            );
            found.add(format!("{at}.registry"), problem);
        }
        if !prefix.is_empty() && prefix.parse::<Repository>().is_err() {
            found.add(format!("{at}.prefix"), format!("no repository can be below {prefix:?}"));
        }
        if let Some(first) = upstreams[..index].iter().position(|other| other.prefix == *prefix) {
            found.add(format!("{at}.prefix"), format!("{prefix:?} is the prefix of upstreams[{first}] too"));
        }
        if let Some(path) = &upstream.ca_file
            && let Err(error) = read_trusted(path)
        {
            found.add(format!("{at}.ca_file"), error.chain());
        }
        if let Some(path) = &upstream.password_file {
            secret(path, format!("{at}.password_file"), found);
        }
    }
}

/// A host name or address, perhaps with a port.
fn is_registry(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let has_port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return has_port && address.parse::<Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    port.is_none_or(is_port) && host.split('.').all(is_label)
}

/// Patterns of repositories; a list without any would select nothing.
fn repositories(patterns: &[Pattern], at: &str, found: &mut Found) {
    let is_allowed =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '.' | '_' | '-' | '/');
    if patterns.is_empty() {
        found.add(format!("{at}.repositories"), "an empty list stands for nothing; leave it out for all");
    }
    those(patterns, is_allowed, &format!("{at}.repositories"), found);
}

fn tags(patterns: &[Pattern], field: &str, found: &mut Found) {
    let is_allowed = |one: char| one.is_ascii_alphanumeric() || matches!(one, '.' | '_' | '-');
    those(patterns, is_allowed, field, found);
}

fn those(patterns: &[Pattern], is_allowed: fn(char) -> bool, field: &str, found: &mut Found) {
    for fault in patterns.iter().filter_map(|pattern| pattern.fault(is_allowed)) {
        found.add(field, fault);
    }
}

fn selection(of: &Selection, at: &str, found: &mut Found) {
    repositories(&of.repositories, at, found);
    let field = format!("{at}.tags");
    if of.tags.is_empty() {
        found.add(field.as_str(), "an empty list stands for nothing; leave it out for all");
    }
    tags(&of.tags, &field, found);
}

fn retention(rule: &Retention, at: &str, found: &mut Found) {
    selection(&rule.of, at, found);
    tags(&rule.except, &format!("{at}.except"), found);
}

fn webhook(hook: &WebhookConfig, at: &str, found: &mut Found) {
    if let Err(problem) = http_url(&hook.url) {
        found.add(format!("{at}.url"), format!("{:?}: {problem}", hook.url));
    }
    for problem in hook.headers.iter().filter_map(|text| webhook_header(text).err()) {
        found.add(format!("{at}.headers"), problem);
    }
    if let Some(path) = &hook.ca_file
        && let Err(error) = read_trusted(path)
    {
        found.add(format!("{at}.ca_file"), error.chain());
    }
    for action in hook.actions.iter().filter(|action| !["push", "pull", "delete"].contains(&action.as_str()))
    {
        found.add(format!("{at}.actions"), format!("{action:?} is none of push, pull, delete"));
    }
    if hook.timeout.is_zero() {
        found.add(format!("{at}.timeout_seconds"), "no webhook answers within 0 seconds");
    }
}
