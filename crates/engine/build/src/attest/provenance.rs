//! How an image was made: SLSA provenance v1.

use super::Began;
use crate::compile::is_predefined;
use crate::platform::Platform;
use crate::request::{BuildRequest, Provenance, ProvenanceMode};
use crate::shared::Shared;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// How the parameters are to be read: as those of `hako build`.
const BUILD_TYPE: &str = "urn:hakobune:build:dockerfile:v1";
/// Who builds, where the one who asks does not say.
const BUILDER: &str = "urn:hakobune:builder";

/// With `SOURCE_DATE_EPOCH` no clock is in it: two builds of the same inputs say the same.
pub(super) fn predicate(
    shared: &Shared,
    request: &BuildRequest,
    began: &Began,
    platform: &Platform,
    wanted: &Provenance,
) -> Value {
    let epoch = shared.epoch_unix_s.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let (started, finished) = match epoch {
        Some(epoch) => (epoch, epoch),
        None => (began.at, jiff::Timestamp::now()),
    };
    let dependencies: Vec<Value> =
        began.materials.iter().map(|(uri, digest)| dependency(uri, digest)).collect();
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": parameters(shared, request, began, platform, wanted.mode),
            "internalParameters": {"builderPlatform": Platform::own().to_string()},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {
                "id": wanted.builder_id.as_deref().unwrap_or(BUILDER),
                "version": {"hakobune": env!("CARGO_PKG_VERSION")},
            },
            "metadata": {"startedOn": started.to_string(), "finishedOn": finished.to_string()},
        },
    })
}

fn dependency(uri: &str, digest: &str) -> Value {
    let uri = without_secrets(uri);
    match digest.split_once(':') {
        Some((algorithm, hex)) => json!({"uri": uri, "digest": {algorithm: hex}}),
        // A commit.
        None => json!({"uri": uri, "digest": {"sha1": digest}}),
    }
}

/// Values that people gave are in mode=max only; of secrets and agents only their ids are, in no mode their values.
fn parameters(
    shared: &Shared,
    request: &BuildRequest,
    began: &Began,
    platform: &Platform,
    mode: ProvenanceMode,
) -> Value {
    // The Dockerfile by its place in the context, never a path of this machine.
    let path = Path::new(&shared.file);
    let path = if path.is_absolute() { path.file_name().map_or(path, Path::new) } else { path };
    let mut source = Map::from_iter([("path".to_owned(), json!(path.to_string_lossy()))]);
    source.extend(request.remote.iter().map(|remote| ("uri".to_owned(), json!(without_secrets(remote)))));
    let mut parameters = json!({"configSource": source, "request": {"target": request.target, "platform": platform.to_string()}});
    if mode == ProvenanceMode::Max {
        parameters["configSource"]["text"] = began.text.clone().into();
        let told = &mut parameters["request"];
        // Proxies are no part of the result, and their addresses may have passwords.
        let args = request.args.iter().filter(|(name, _)| !is_predefined(name));
        told["args"] = json!(args.collect::<BTreeMap<_, _>>());
        told["labels"] = json!(request.labels);
        told["secrets"] = json!(request.secrets.keys().collect::<Vec<_>>());
        told["ssh"] = json!(request.ssh.keys().collect::<Vec<_>>());
    }
    parameters
}

/// An address without the user and password that may stand in it.
fn without_secrets(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) =
                rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_addresses_are_not_told() {
        assert_eq!(without_secrets("https://me:pass@host/a@b#main"), "https://host/a@b#main");
        assert_eq!(without_secrets("git@host:a.git"), "git@host:a.git");
    }

    #[test]
    fn a_dependency_is_named_by_its_kind_of_digest() {
        assert_eq!(dependency("a", "sha256:0f")["digest"]["sha256"], "0f");
        assert_eq!(dependency("a", "0f")["digest"]["sha1"], "0f");
    }
}
