//! The registry's configuration: one YAML file.
//!
//! Owns: reading and checking it. Invariant: everything wrong in a file, and in what it names, is reported at once, each
//! fault with its field; nothing is served with a [`Config`] that was not examined.

mod examine;
mod pattern;
mod section;
mod upstream;

pub(crate) use examine::http_url;
pub use pattern::Pattern;
pub(crate) use pattern::any;
pub use upstream::UpstreamConfig;

use crate::registry::Limits;
use hako_error::{Classify, FieldCause, Kind};
use section::{Faults, Section};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that a file can say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Where metrics and health are told without a password and without TLS; without it, metrics are for whoever has a password.
    pub metrics_listen: Option<SocketAddr>,
    /// The bucket that blobs are in; without one they are in the registry's directory, as its records always are.
    pub s3: Option<S3Config>,
    /// How its connections are encrypted.
    pub tls: Option<Tls>,
    /// How callers prove who they are.
    pub auth: AuthConfig,
    /// Who may do what; the rights of all rules that match are added up.
    pub rules: Vec<Rule>,
    /// How many bytes a repository may have; the first entry that matches counts.
    pub quotas: Vec<Quota>,
    /// Tags that never move and are never deleted.
    pub immutable: Vec<Selection>,
    /// What is deleted by itself.
    pub retention: Vec<Retention>,
    /// Registries that this one is a cache of.
    pub upstreams: Vec<UpstreamConfig>,
    /// Where each request about a repository is written down.
    pub audit: Option<PathBuf>,
    /// Who is told of pushes, pulls and deletions.
    pub webhooks: Vec<WebhookConfig>,
    /// Bounds.
    pub limits: Limits,
    /// How often garbage is looked for.
    pub collect_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            metrics_listen: None,
            s3: None,
            tls: None,
            auth: AuthConfig::None,
            rules: Vec::new(),
            quotas: Vec::new(),
            immutable: Vec::new(),
            retention: Vec::new(),
            upstreams: Vec::new(),
            audit: None,
            webhooks: Vec::new(),
            limits: Limits::default(),
            collect_every: Duration::from_secs(30),
        }
    }
}

/// A bucket of an S3-compatible service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The service's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// Authorities to trust besides the machine's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// What all objects' names begin with.
    pub prefix: String,
    /// The access key's id, and the file with its secret; without them, the machine's role.
    pub key: Option<(String, PathBuf)>,
    /// The largest object, in bytes, that the service copies by one request; larger ones go through this process.
    pub copy_limit_bytes: u64,
}

/// What Amazon's service copies by one request.
pub const COPY_LIMIT_BYTES: u64 = 5 << 30;

/// Where certificate and key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// PEM files.
    Files {
        /// The chain, the server's certificate first.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Signed by an authority that the registry makes in its directory (`pki/ca.crt`).
    Own {
        /// Names and addresses that clients use.
        names: Vec<String>,
    },
}

/// How callers prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// Not at all: everybody may do what rules give to `anonymous`, everything without rules.
    None,
    /// Name and password with every request.
    Basic {
        /// A file that `htpasswd -B` writes.
        htpasswd: PathBuf,
        /// What clients show when they ask for a password.
        realm: String,
    },
    /// Name and password at `/token`, then a signed token.
    Token {
        /// A file that `htpasswd -B` writes.
        htpasswd: PathBuf,
        /// The registry's name in tokens.
        service: String,
        /// Who signs, in tokens.
        issuer: String,
        /// The token endpoint's URL; by default `/token` at the host that the client asked.
        realm: Option<String>,
        /// How long a token is good.
        lifetime: Duration,
    },
}

/// What somebody may do with a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Read.
    pub pull: bool,
    /// Write.
    pub push: bool,
    /// Delete.
    pub delete: bool,
}

/// Rights of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which repositories.
    pub repositories: Vec<Pattern>,
    /// Names; `*` is whoever proved a name, `anonymous` is everybody.
    pub users: Vec<String>,
    /// What they may do.
    pub rights: Rights,
}

/// A bound of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which repositories; each has the bound for itself.
    pub repositories: Vec<Pattern>,
    /// The bytes of all its blobs together.
    pub bytes: u64,
}

/// Some tags of some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which repositories.
    pub repositories: Vec<Pattern>,
    /// Which tags.
    pub tags: Vec<Pattern>,
}

/// What is deleted by itself: of the tags selected, those that neither `keep_last` nor `keep_for` keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Which tags it is about.
    pub of: Selection,
    /// Tags that are never deleted by it.
    pub except: Vec<Pattern>,
    /// So many, the youngest, stay.
    pub keep_last: Option<u64>,
    /// What is younger stays.
    pub keep_for: Option<Duration>,
    /// Whether manifests without a tag that nothing refers to go too.
    pub untagged: bool,
    /// Only say what would be deleted.
    pub dry_run: bool,
}

/// Who is told of pushes, pulls and deletions of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where events are posted.
    pub url: String,
    /// Further headers, `NAME: VALUE`.
    pub headers: Vec<String>,
    /// Authorities to trust besides the machine's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Which of `push`, `pull`, `delete`.
    pub actions: Vec<String>,
    /// How often an event is tried again.
    pub retries: u64,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// Why a configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no YAML.
    #[error("the configuration is not YAML")]
    Syntax {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Fields are wrong.
    #[error("the configuration has {}: {}", count(faults), list(faults))]
    Fields {
        /// All of them.
        faults: Vec<FieldCause>,
    },
}

fn count(faults: &[FieldCause]) -> String {
    if faults.len() == 1 { "a fault".into() } else { format!("{} faults", faults.len()) }
}

fn list(faults: &[FieldCause]) -> String {
    let faults: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    faults.join("; ")
}

impl Classify for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn causes(&self) -> Vec<FieldCause> {
        match self {
            Self::Syntax { .. } => Vec::new(),
            Self::Fields { faults } => faults.clone(),
        }
    }
}

impl Config {
    /// Reads a file's text; whether what it says can work is for [`Config::examine`] to find.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let (config, faults) = Self::read(text)?;
        unless(faults).map(|()| config)
    }

    /// Reads a file's text and looks at what it says and names, as a registry in `dir` would use it: all faults at once.
    pub fn load(text: &str, dir: &Path) -> Result<Self, ConfigError> {
        let (config, mut faults) = Self::read(text)?;
        let read = faults.len();
        for fault in examine::faults(&config, dir) {
            // What could not be read is not looked at.
            if !faults[..read].iter().any(|known| known.field == fault.field) {
                faults.push(fault);
            }
        }
        unless(faults).map(|()| config)
    }

    /// Looks for everything that would keep a registry in `dir` from starting or from doing what is said: patterns, URLs,
    /// names, and the files that are named. Changes nothing.
    pub fn examine(&self, dir: &Path) -> Result<(), ConfigError> {
        unless(examine::faults(self, dir))
    }

    fn read(text: &str) -> Result<(Self, Vec<FieldCause>), ConfigError> {
        let options = serde_saphyr::options! {
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED_MAX },
            budget: serde_saphyr::budget! { max_recorded_anchor_events: ALIASED_MAX },
        };
        let value: serde_json::Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| ConfigError::Syntax { source: Box::new(error) })?;
        let faults = Faults::default();
        let mut root = Section::of(String::new(), value, &faults);
        let default = Self::default();
        let config = Self {
            listen: root.parsed("listen", ADDRESS).unwrap_or(default.listen),
            metrics_listen: root.parsed("metrics_listen", ADDRESS),
            s3: root.section("s3").map(s3),
            tls: root.section("tls").and_then(tls),
            auth: root.section("auth").map_or(AuthConfig::None, auth),
            rules: root.sections("rules").into_iter().map(rule).collect(),
            quotas: root.sections("quotas").into_iter().map(quota).collect(),
            immutable: root.sections("immutable_tags").into_iter().map(selection).collect(),
            retention: root.sections("retention").into_iter().map(retention).collect(),
            upstreams: root.sections("upstreams").into_iter().map(UpstreamConfig::read).collect(),
            audit: root.text("audit_file").map(PathBuf::from),
            webhooks: root.sections("webhooks").into_iter().map(webhook).collect(),
            limits: root.section("limits").map_or(default.limits, limits),
            collect_every: seconds(&mut root, "collect_every_seconds", default.collect_every),
        };
        root.end();
        Ok((config, faults.take()))
    }
}

const ADDRESS: &str = "an address with a port";
/// Nodes that aliases stand for in a file: what is written to be read comes nowhere near, and what is not would take a second.
const ALIASED_MAX: usize = 10_000;

fn unless(faults: Vec<FieldCause>) -> Result<(), ConfigError> {
    if faults.is_empty() { Ok(()) } else { Err(ConfigError::Fields { faults }) }
}

fn seconds(section: &mut Section, name: &str, default: Duration) -> Duration {
    section.number(name).map_or(default, Duration::from_secs)
}

fn s3(mut section: Section) -> S3Config {
    let key = match (section.text("access_key_id"), section.text("secret_access_key_file")) {
        (Some(id), Some(file)) => Some((id, file.into())),
        (None, None) => None,
        _ => {
            section.fault("access_key_id", "access_key_id and secret_access_key_file go together");
            None
        }
    };
    let config = S3Config {
        bucket: section.required_text("bucket"),
        region: section.text("region").unwrap_or_else(|| "us-east-1".into()),
        endpoint: section.text("endpoint"),
        ca_file: section.text("ca_file").map(PathBuf::from),
        prefix: section.text("prefix").unwrap_or_default(),
        key,
        copy_limit_bytes: section.bytes("copy_limit_bytes").unwrap_or(COPY_LIMIT_BYTES),
    };
    section.end();
    config
}

fn tls(mut section: Section) -> Option<Tls> {
    let tls = match section.texts("own") {
        Some(names) => Some(Tls::Own { names }),
        None => Some(Tls::Files {
            certificate: section.required_text("certificate").into(),
            key: section.required_text("key").into(),
        }),
    };
    section.end();
    tls
}

fn auth(mut section: Section) -> AuthConfig {
    let kind = section.required_text("kind");
    let auth = match kind.as_str() {
        "none" => AuthConfig::None,
        "basic" => AuthConfig::Basic {
            htpasswd: section.required_text("htpasswd").into(),
            realm: section.text("realm").unwrap_or_else(|| "registry".into()),
        },
        "token" => AuthConfig::Token {
            htpasswd: section.required_text("htpasswd").into(),
            service: section.text("service").unwrap_or_else(|| "registry".into()),
            issuer: section.text("issuer").unwrap_or_else(|| "hako".into()),
            realm: section.text("realm"),
            lifetime: seconds(&mut section, "lifetime_seconds", Duration::from_secs(300)),
        },
        other => {
            section.fault("kind", format!("{other:?} is none of none, basic, token"));
            AuthConfig::None
        }
    };
    section.end();
    auth
}

fn rule(mut section: Section) -> Rule {
    let mut rights = Rights::default();
    for right in section.texts("rights").unwrap_or_default() {
        match right.as_str() {
            "pull" => rights.pull = true,
            "push" => rights.push = true,
            "delete" => rights.delete = true,
            other => section.fault("rights", format!("{other:?} is none of pull, push, delete")),
        }
    }
    let users = section.texts("users").unwrap_or_else(|| vec!["*".into()]);
    let rule = Rule { repositories: section.patterns("repositories"), users, rights };
    section.end();
    rule
}

fn quota(mut section: Section) -> Quota {
    let repositories = section.patterns("repositories");
    let bytes = section.bytes("bytes").unwrap_or_else(|| {
        section.fault("bytes", "is required");
        0
    });
    section.end();
    Quota { repositories, bytes }
}

fn selection(mut section: Section) -> Selection {
    let selection =
        Selection { repositories: section.patterns("repositories"), tags: section.patterns("tags") };
    section.end();
    selection
}

fn retention(mut section: Section) -> Retention {
    let of = Selection { repositories: section.patterns("repositories"), tags: section.patterns("tags") };
    let except = section.texts("except").unwrap_or_default().into_iter().map(Pattern::new).collect();
    let retention = Retention {
        of,
        except,
        keep_last: section.number("keep_last"),
        keep_for: section.number("keep_days").map(|days| Duration::from_secs(days.saturating_mul(86_400))),
        untagged: section.flag("untagged"),
        dry_run: section.flag("dry_run"),
    };
    if retention.keep_last.is_none() && retention.keep_for.is_none() && !retention.untagged {
        section.fault("keep_last", "a retention rule needs keep_last, keep_days or untagged");
    }
    section.end();
    retention
}

fn webhook(mut section: Section) -> WebhookConfig {
    let all = || ["push", "pull", "delete"].map(str::to_owned).to_vec();
    let actions = section.texts("actions").unwrap_or_else(all);
    for action in actions.iter().filter(|action| !all().contains(action)) {
        section.fault("actions", format!("{action:?} is none of push, pull, delete"));
    }
    let webhook = WebhookConfig {
        url: section.required_text("url"),
        headers: section.texts("headers").unwrap_or_default(),
        ca_file: section.text("ca_file").map(PathBuf::from),
        actions,
        retries: section.number("retries").unwrap_or(10),
        timeout: seconds(&mut section, "timeout_seconds", Duration::from_secs(10)),
    };
    section.end();
    webhook
}

fn limits(mut section: Section) -> Limits {
    let default = Limits::default();
    let mut count =
        |name: &str| section.number(name).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let uploads = count("uploads").unwrap_or(default.uploads);
    let uploads_each = count("uploads_each").unwrap_or_else(|| Limits::usual_part(uploads));
    let limits = Limits {
        lease: seconds(&mut section, "lease_seconds", default.lease),
        upload_idle: seconds(&mut section, "upload_idle_seconds", default.upload_idle),
        uploads,
        uploads_each,
    };
    section.end();
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_stand_for_what_somebody_writes_and_for_no_more() {
        let rule = |users: &str| format!("- {{repositories: a, users: {users}, rights: [pull]}}\n");
        let aliased = format!("rules:\n{}{}", rule("&them [jane]"), rule("*them"));
        assert_eq!(Config::parse(&aliased).unwrap().rules[1].users, ["jane"]);
        let all = vec!["*a"; ALIASED_MAX + 1].join(",");
        let refused = Config::parse(&format!("a: &a x\nb: [{all}]\n")).unwrap_err();
        assert!(matches!(refused, ConfigError::Syntax { .. }), "{refused}");
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(
            "listen: 0.0.0.0:5001\n\
             metrics_listen: 127.0.0.1:9000\n\
             tls: {own: [registry.test, 127.0.0.1]}\n\
             auth: {kind: token, htpasswd: /etc/users, lifetime_seconds: 60}\n\
             rules:\n\
             - {repositories: 'team/**', users: [alice], rights: [pull, push]}\n\
             - {users: anonymous, rights: [pull]}\n\
             quotas: [{repositories: ['**'], bytes: 1Ki}]\n\
             immutable_tags: [{tags: 'v*'}]\n\
             retention: [{keep_last: 3, keep_days: 7, except: [latest], dry_run: true}]\n\
             limits: {lease_seconds: 5}\n",
        )
        .unwrap();
        assert_eq!(config.listen.port(), 5001);
        assert_eq!(config.metrics_listen.map(|address| address.port()), Some(9000));
        assert_eq!(config.rules[0].rights, Rights { pull: true, push: true, delete: false });
        assert_eq!(config.rules[1].users, ["anonymous"]);
        assert_eq!(config.quotas[0].bytes, 1024);
        assert_eq!(config.retention[0].keep_for, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(config.limits.lease, Duration::from_secs(5));
        assert!(Config::parse("").is_ok() && Config::parse("{}").is_ok());
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let error = Config::parse(
            "listen: nowhere\nmetrics_listen: '9000'\nauth: {kind: magic}\nrules: [{rights: [fly]}]\nquotas: [{}]\n\
             tls: {certificate: /x}\nretention: [{}]\nlimits: {uploads: -1}\nunknown: 1\n",
        )
        .unwrap_err();
        let fields: Vec<String> = error.causes().into_iter().map(|fault| fault.field).collect();
        for field in [
            "listen",
            "metrics_listen",
            "auth.kind",
            "rules[0].rights",
            "quotas[0].bytes",
            "tls.key",
            "retention[0].keep_last",
            "limits.uploads",
            "unknown",
        ] {
            assert!(fields.iter().any(|one| one == field), "{field} in {fields:?}");
        }
        assert!(matches!(Config::parse("a: ["), Err(ConfigError::Syntax { .. })));
    }
}
