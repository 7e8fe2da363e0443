//! What a build is asked for and what it tells while it runs.

use crate::check::Report;
use crate::limits::RunLimits;
use hako_error::{Error, Kind};
use hako_image::LayerForm;
use hako_names::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildRequest {
    /// The directory whose files COPY and ADD see.
    pub context: PathBuf,
    /// A git repository (`https://host/repo.git#ref:subdir`) or an address of a tar or Dockerfile to take the
    /// context from; `context` then says nothing.
    pub remote: Option<String>,
    /// The Dockerfile; relative paths start at the context. `None` for `Dockerfile`.
    pub dockerfile: Option<PathBuf>,
    /// The Dockerfile's text, where it is no file; `dockerfile` then is only what messages call it.
    pub dockerfile_text: Option<String>,
    /// The text of the .dockerignore that counts, where it is no file.
    pub ignore_text: Option<String>,
    /// Names for the image; with none it is kept without a name.
    pub tags: Vec<ImageRef>,
    /// Annotations of its manifest; of several platforms, of each.
    pub annotations: BTreeMap<String, String>,
    /// Values for ARG; `SOURCE_DATE_EPOCH` here fixes every time in the image.
    pub args: BTreeMap<String, String>,
    /// More places to copy from or to build on, by name: `dir`, `docker-image://REF`, `oci-layout://DIR`, git.
    pub contexts: BTreeMap<String, String>,
    /// What RUN --mount=type=secret gives, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of ssh agents for RUN --mount=type=ssh, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// The stage to build, by name or number; `None` for the last.
    pub target: Option<String>,
    /// `os/arch[/variant]` of the image, or of each of several; empty for this machine's.
    pub platforms: Vec<String>,
    /// Runs every step, also those whose result is known.
    pub no_cache: bool,
    /// The same for the steps of these stages only.
    pub no_cache_stages: Vec<String>,
    /// Asks the registry for newer base images.
    pub pull: bool,
    /// Labels besides those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Network of RUN steps.
    pub network: RunNetwork,
    /// Names that RUN steps know besides those of the host, with their addresses.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// What RUN steps may use.
    pub limits: RunLimits,
    /// What steps may do that they may not without being asked.
    pub allow: BTreeSet<Entitlement>,
    /// Where the result goes; with none it becomes an image of this machine.
    pub outputs: Vec<Output>,
    /// Where to look for results of steps that this machine has not.
    pub cache_from: Vec<CacheSource>,
    /// Where to put results of steps for others.
    pub cache_to: Vec<CacheExport>,
    /// Whether a list of the result's packages stands beside it.
    pub sbom: bool,
    /// Whether and how fully it is said beside the result how it was made.
    pub provenance: Option<Provenance>,
    /// Keeps what a failed RUN left as an image, for a shell in it.
    pub keep_failed: bool,
    /// Looks at the file only: no step runs.
    pub check: bool,
}

/// Reads `name:address` or `name=address`.
///
/// # Errors
/// `Invalid` for what is neither, `Unimplemented` for Docker's word for the host itself.
pub fn extra_host(text: &str) -> Result<(String, IpAddr), Error> {
    let bad = || Error::new(Kind::Invalid, format!("the extra host {text:?} is no NAME:ADDRESS"));
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if address == "host-gateway" {
        return Err(Error::new(
            Kind::Unimplemented,
            "host-gateway for a build is unimplemented: give an address",
        ));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(bad());
    }
    Ok((name.to_owned(), address.trim_matches(['[', ']']).parse().map_err(|_| bad())?))
}

/// A secret's value; never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What has to be allowed by the one who builds, not by the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Entitlement {
    /// `RUN --security=insecure`: all capabilities, no seccomp, all devices.
    #[serde(rename = "security.insecure")]
    SecurityInsecure,
    /// `RUN --network=host`.
    #[serde(rename = "network.host")]
    NetworkHost,
    /// `RUN --device`: every device, or that of one full name.
    #[serde(rename = "device")]
    Device(Option<String>),
}

impl std::str::FromStr for Entitlement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "security.insecure" => Ok(Self::SecurityInsecure),
            "network.host" => Ok(Self::NetworkHost),
            "device" => Ok(Self::Device(None)),
            other => match other.strip_prefix("device=").filter(|name| hako_cdi::is_qualified(name)) {
                Some(name) => Ok(Self::Device(Some(name.to_owned()))),
                None => Err(format!(
                    "{other:?} is no entitlement, expected security.insecure, network.host, device or \
                     device=vendor.com/class=name"
                )),
            },
        }
    }
}

/// Where a build's result goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Output {
    /// Nowhere: the steps run, and what they came to is in the cache.
    Cache,
    /// The root's files into a directory.
    Local {
        /// Where to.
        dest: PathBuf,
    },
    /// The root's files as a tar.
    Tar {
        /// Where to.
        dest: PathBuf,
    },
    /// An OCI image layout as a tar, or as a directory.
    Oci {
        /// Where to.
        dest: PathBuf,
        /// Whether it is one file.
        tar: bool,
        /// How layers are compressed; `None` for as they are stored.
        #[serde(default)]
        compression: Option<LayerForm>,
    },
    /// What `docker load` reads.
    Docker {
        /// Where to.
        dest: PathBuf,
        /// How layers are compressed; `None` for what every `docker load` reads.
        #[serde(default)]
        compression: Option<LayerForm>,
    },
    /// An image of this machine, sent to its registry if `push`.
    Image {
        /// Whether it is pushed under every name.
        push: bool,
        /// How layers are compressed on the way; `None` for what every client reads.
        #[serde(default)]
        compression: Option<LayerForm>,
    },
}

/// A field of an output that says how the image is written besides its compression, in BuildKit's words; annotations are
/// added to `annotations`. Returns whether it is such a field. Fails if what it asks for is not done.
pub fn image_field(
    annotations: &mut BTreeMap<String, String>,
    key: &str,
    value: &str,
) -> hako_error::Result<bool> {
    let refused = |kind, message| Err(Error::new(kind, message));
    let annotation = key.strip_prefix("annotation.").or_else(|| key.strip_prefix("annotation-manifest."));
    if let Some(name) = annotation {
        if name.is_empty() {
            return refused(
                Kind::Invalid,
                format!("the annotation {key}={value} has no name, expected annotation.NAME=VALUE"),
            );
        }
        annotations.insert(name.to_owned(), value.to_owned());
        return Ok(true);
    }
    // What is done anyway; who does not ask for it gets no less.
    match key {
        "force-compression" | "rewrite-timestamp" | "unpack" => Ok(true),
        "oci-mediatypes" if value.is_empty() || crate::compile::is_true(value) => Ok(true),
        "oci-mediatypes" => {
            let message =
                format!("{key}={value} is unimplemented: images are written in the media types of OCI");
            refused(Kind::Unimplemented, message)
        }
        "compression-level" | "platform-split" => {
            refused(Kind::Unimplemented, format!("the field {key} of an output is unimplemented"))
        }
        _ if key.starts_with("annotation-") || key.starts_with("annotation[") => {
            let message =
                format!("{key} is unimplemented: annotations are of manifests, annotation.NAME=VALUE");
            refused(Kind::Unimplemented, message)
        }
        _ => Ok(false),
    }
}

/// What is said about how a result was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// How much.
    pub mode: ProvenanceMode,
    /// Who builds, as a URI; `None` for a word that names only the program.
    pub builder_id: Option<String>,
}

/// How much of a build is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvenanceMode {
    /// What it started from, and when.
    #[default]
    Min,
    /// The Dockerfile, arguments and labels too.
    Max,
}

/// A place that results of steps are taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum CacheSource {
    /// A directory in the form of an OCI image layout.
    Local {
        /// Where it is.
        path: PathBuf,
        /// Which of its manifests.
        tag: String,
        /// The manifest itself, instead of the tag.
        digest: Option<Digest>,
    },
    /// A manifest of a registry: of a cache, or of an image that carries its own.
    Registry {
        /// Its name.
        reference: ImageRef,
    },
    /// An image that carries its own: of this machine, else of its registry.
    Inline {
        /// Its name.
        reference: ImageRef,
    },
}

/// A place that results of steps are given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum CacheTarget {
    /// A directory in the form of an OCI image layout.
    Local {
        /// Where it is.
        path: PathBuf,
        /// What the manifest is called there.
        tag: String,
    },
    /// A manifest of a registry.
    Registry {
        /// Its name.
        reference: ImageRef,
    },
    /// The image's own configuration.
    Inline,
}

/// Results of steps for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheExport {
    /// Where to.
    pub target: CacheTarget,
    /// Of which steps.
    pub mode: CacheMode,
    /// Whether what cache mounts hold goes with them.
    pub mounts: bool,
    /// Whether the build succeeds also where this does not.
    pub ignore_error: bool,
}

/// Which steps' results are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Of those whose layers the image has.
    #[default]
    Min,
    /// Of all.
    Max,
}

/// What RUN steps are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunNetwork {
    /// The builder's network, each step by a link of its own; like `None` where the builder has no network.
    #[default]
    Bridge,
    /// Nothing but a loopback of their own.
    None,
    /// The host's, with all that listens on its loopback.
    Host,
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepOutcome {
    /// It ran.
    Done,
    /// Its result was known.
    Cached,
    /// It failed; the build's error says why.
    Failed,
}

/// What happens in a build. Steps of different stages interleave; `step` tells them apart and counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildEvent {
    /// The Dockerfile was read: so many steps lie between it and the image.
    Planned {
        /// Steps of all stages that are needed.
        steps: usize,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: usize,
        /// The stage's name, or its number.
        stage: String,
        /// The instruction as it is written, on one line.
        text: String,
    },
    /// A RUN step wrote something.
    Output {
        /// Which.
        step: usize,
        /// Where to.
        stream: OutputStream,
        /// What; not necessarily whole lines.
        bytes: Vec<u8>,
    },
    /// A step ended.
    StepEnded {
        /// Which.
        step: usize,
        /// How.
        outcome: StepOutcome,
        /// How long it took.
        took: Duration,
    },
    /// Something that is allowed and probably not meant.
    Warning {
        /// The Dockerfile's line, 0 where there is none.
        line: usize,
        /// What.
        message: String,
    },
    /// What the checks find in the file of a build that is not refused for it.
    Checked {
        /// By line; never empty.
        report: Report,
    },
    /// The program of a RUN step failed, and the build with it.
    RunFailed {
        /// Which, as it was called.
        words: Vec<String>,
        /// How it ended.
        code: i32,
    },
    /// A step failed and what it left can be entered.
    Kept {
        /// The image that holds the state.
        image: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts_are_names_with_addresses() {
        let host = |text: &str| extra_host(text).map(|(name, address)| format!("{name} {address}"));
        assert_eq!(host("a:1.2.3.4").unwrap(), "a 1.2.3.4");
        assert_eq!(host("b=::1").unwrap(), "b ::1");
        assert_eq!(host("c:[fe80::1]").unwrap(), "c fe80::1");
        for bad in ["a", "a:", ":1.2.3.4", "a b:1.2.3.4", "a\nb:1.2.3.4", "a:host-gateway"] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }
}
