//! A registry that this one is a cache of.

use super::section::Section;
use hako_error::{Error, Kind, Result};
use hako_image::remote::{Credentials, PlainHttp, RemoteOptions};
use std::path::PathBuf;
use std::time::Duration;

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Repositories below this are cached: `docker.io` makes `docker.io/library/x` a cache of `library/x` there.
    /// Nothing stands for all others, as Docker's `registry-mirrors` asks.
    pub prefix: String,
    /// The registry: host and perhaps port.
    pub registry: String,
    /// Who we are there.
    pub username: Option<String>,
    /// Where the password is.
    pub password_file: Option<PathBuf>,
    /// An authority to trust besides the machine's own.
    pub ca_file: Option<PathBuf>,
    /// Whether TLS may be missing.
    pub plain_http: PlainHttp,
    /// How long a tag is believed without asking again.
    pub fresh: Duration,
    /// How long what nobody pulls stays.
    pub keep: Duration,
}

impl UpstreamConfig {
    /// An upstream with the usual times.
    #[must_use]
    pub fn new(prefix: impl Into<String>, registry: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            registry: registry.into(),
            username: None,
            password_file: None,
            ca_file: None,
            plain_http: PlainHttp::default(),
            fresh: Duration::from_secs(300),
            keep: Duration::from_secs(7 * 86_400),
        }
    }

    pub(super) fn read(mut section: Section) -> Self {
        let registry = section.required_text("registry");
        let prefix = section.text("prefix").unwrap_or_default();
        let mut config = Self::new(prefix.trim_matches('/'), registry);
        config.username = section.text("username");
        config.password_file = section.text("password_file").map(PathBuf::from);
        config.ca_file = section.text("ca_file").map(PathBuf::from);
        config.plain_http = match section.text("plain_http").as_deref() {
            None | Some("loopback") => PlainHttp::Loopback,
            Some("never") => PlainHttp::Never,
            Some("allowed") => PlainHttp::Allowed,
            Some("only") => PlainHttp::Only,
            Some(other) => {
                section.fault("plain_http", format!("{other:?} is none of never, loopback, allowed, only"));
                PlainHttp::Never
            }
        };
        config.fresh = section.number("fresh_seconds").map_or(config.fresh, Duration::from_secs);
        config.keep = section
            .number("keep_days")
            .map_or(config.keep, |days| Duration::from_secs(days.saturating_mul(86_400)));
        if config.username.is_some() != config.password_file.is_some() {
            section.fault("username", "username and password_file go together");
        }
        section.end();
        config
    }

    /// How the upstream is spoken to. Few and short repetitions: the cache has an answer of its own.
    pub(crate) fn options(&self) -> Result<RemoteOptions> {
        let credentials = match (&self.username, &self.password_file) {
            (Some(username), Some(path)) => {
                let password = std::fs::read_to_string(path).map_err(|error| {
                    Error::new(Kind::Invalid, format!("cannot read {}", path.display())).with_source(error)
                })?;
                Credentials::Basic { username: username.clone(), password: password.trim_end().to_owned() }
            }
            _ => Credentials::Anonymous,
        };
        Ok(RemoteOptions {
            credentials,
            plain_http: self.plain_http,
            ca_files: self.ca_file.iter().cloned().collect(),
            retries: 1,
            longest_wait: Duration::from_secs(2),
            ..RemoteOptions::default()
        })
    }
}
