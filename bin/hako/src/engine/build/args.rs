//! The flags of `hako build`.

use crate::cli::OutputFormat;
use clap::{Args, ValueEnum};
use std::ffi::OsString;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A live view on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// One line an event, the same every time
    Plain,
    /// A live view
    Tty,
    /// The builder's own events, one JSON object a line
    Rawjson,
    /// Nothing but why a build failed
    Quiet,
}

#[derive(Args, Debug, Default)]
pub(crate) struct BuildArgs {
    /// The context: a directory, a git or web address, or - for a tar or Dockerfile on standard input
    #[arg(default_value = ".", value_name = "CONTEXT")]
    pub context: String,
    /// The image's name (repeat for more)
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,
    /// The Dockerfile, relative to the context, or - for standard input [default: Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,
    /// Set a build argument; without a value it is taken from the environment
    #[arg(long = "build-arg", value_name = "KEY[=VALUE]")]
    pub build_args: Vec<String>,
    /// Another place to copy from or build on: DIR, docker-image://NAME, oci-layout://DIR or a git address
    #[arg(long = "build-context", value_name = "NAME=SOURCE")]
    pub build_contexts: Vec<String>,
    /// A secret for RUN --mount=type=secret: id=ID[,src=FILE|,env=VARIABLE]
    #[arg(long = "secret", value_name = "SECRET")]
    pub secrets: Vec<String>,
    /// An agent for RUN --mount=type=ssh, or one made of files of keys [default socket: $SSH_AUTH_SOCK]
    #[arg(long = "ssh", value_name = "ID[=SOCKET|KEY,…]")]
    pub ssh: Vec<String>,
    /// Build this stage only
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Build for this platform, or for several (repeat or separate by commas)
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Do not use results of earlier builds, or not those of these stages
    #[arg(long, value_name = "STAGES", num_args = 0..=1, require_equals = true, default_missing_value = "", value_delimiter = ',')]
    pub no_cache: Option<Vec<String>>,
    /// The same as --no-cache=STAGES, as buildx calls it
    #[arg(long, value_name = "STAGES", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Take results of steps from elsewhere: NAME, type=registry|inline,ref=NAME or type=local,src=DIR
    #[arg(long, value_name = "SOURCE")]
    pub cache_from: Vec<String>,
    /// Give results of steps to others: type=registry,ref=NAME, type=local,dest=DIR or type=inline
    #[arg(long, value_name = "TARGET")]
    pub cache_to: Vec<String>,
    /// Put a list of the result's packages beside it
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub sbom: Option<String>,
    /// Say beside the result how it was made: true, false, mode=min|max[,builder-id=URI]
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub provenance: Option<String>,
    /// Either of them: type=sbom or type=provenance[,mode=min|max]
    #[arg(long, value_name = "ATTESTATION")]
    pub attest: Vec<String>,
    /// Ask the registry for newer base images
    #[arg(long)]
    pub pull: bool,
    /// Add a label
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// The network of RUN steps: default, none or host
    #[arg(long, default_value = "default", value_name = "MODE")]
    pub network: String,
    /// Tell RUN steps the address of a name
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    pub extra_hosts: Vec<String>,
    /// Allow steps what they may not: security.insecure, network.host, device[=vendor.com/class=name]
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,
    /// Where the result goes: type=local|tar|oci|docker|image|registry|cacheonly[,dest=PATH][,push=true][,compression=FORM]
    // Also as `--output`, which is every command's: [`take_output`].
    #[arg(short = 'o', long = "to", value_name = "OUTPUT")]
    pub outputs: Vec<String>,
    /// Push the image: the same as -o type=registry
    #[arg(long)]
    pub push: bool,
    /// Keep the image on this machine, also where it goes elsewhere: the same as -o type=docker
    #[arg(long)]
    pub load: bool,
    /// Write the image's id into this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<std::path::PathBuf>,
    /// Write digests and names as JSON into this file
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<std::path::PathBuf>,
    /// Print the image's id alone, and why a build failed
    #[arg(short, long, conflicts_with = "progress")]
    pub quiet: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "STYLE")]
    pub progress: ProgressStyle,
    /// Check the Dockerfile and build nothing
    #[arg(long)]
    pub check: bool,
    /// What to do when a RUN fails: shell starts one in what the step left
    #[arg(long, value_parser = ["shell"], value_name = "ACTION")]
    pub on_error: Option<String>,
    #[command(flatten)]
    pub limits: super::limits::LimitArgs,
}

impl BuildArgs {
    pub(super) fn style(&self) -> ProgressStyle {
        if self.quiet { ProgressStyle::Quiet } else { self.progress }
    }
}

/// `hako build --output type=…` and `--output DIR` mean what docker's do; the formats of results stay what
/// `--output` is for every command.
pub(crate) fn take_output(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let Some(build) = words.iter().position(|word| word == "build") else { return words };
    let is_format = |text: &str| <OutputFormat as ValueEnum>::from_str(text, true).is_ok();
    for at in build + 1..words.len() {
        let Some(word) = words[at].to_str() else { continue };
        let is_alone = word == "--output";
        let value = match word.strip_prefix("--output=") {
            Some(value) => Some(value),
            None => words.get(at + 1).filter(|_| is_alone).and_then(|next| next.to_str()),
        };
        if let Some(value) = value.filter(|value| !is_format(value)) {
            words[at] = if is_alone { "--to".into() } else { format!("--to={value}").into() };
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_of_a_build_is_told_from_a_format() {
        let taken = |text: &str| -> String {
            let words = take_output(text.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(taken("hako build --output type=tar,dest=x ."), "hako build --to type=tar,dest=x .");
        assert_eq!(taken("hako build --output=out ."), "hako build --to=out .");
        assert_eq!(taken("hako build --output json ."), "hako build --output json .");
        assert_eq!(taken("hako ps --output wide"), "hako ps --output wide");
    }
}
