//! What files a configMap, secret, downwardAPI or projected volume shows.

use super::VolumeError;
use super::files::{FileSet, VolumeFile};
use crate::env::{PodFacts, Referenced, References, field, resource};
use crate::tokens::TokenWish;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use std::path::PathBuf;

const DEFAULT_MODE: u32 = 0o644;
const PRIVATE_MODE: u32 = 0o600;
/// How long a token lives whose volume does not say.
const TOKEN_SECONDS: i64 = 3600;

/// Whether `volume` is one whose files are made from objects of the API.
pub(crate) fn is_made_of_files(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The objects that the volumes of a pod read.
pub(crate) fn references(volumes: &[Volume]) -> References {
    let mut names = References::default();
    for volume in volumes {
        names.config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        let secret = volume.secret.iter().filter_map(|source| source.secret_name.clone());
        names.secrets.extend(secret);
        let sources = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        for source in sources {
            names.config_maps.extend(source.config_map.iter().map(|source| source.name.clone()));
            names.secrets.extend(source.secret.iter().map(|source| source.name.clone()));
            names.tokens.extend(source.service_account_token.iter().map(wish));
        }
    }
    names
}

/// The files of `volume`.
pub(crate) fn files(
    volume: &Volume,
    facts: &PodFacts<'_>,
    referenced: &Referenced,
) -> Result<FileSet, VolumeError> {
    let builder = Builder { facts, referenced };
    let mut out = FileSet::new();
    if let Some(source) = &volume.config_map {
        let items = source.items.as_deref();
        builder.config_map(&mut out, &source.name, items, source.optional, mode(source.default_mode))?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or("");
        let items = source.items.as_deref();
        builder.secret(&mut out, name, items, source.optional, mode(source.default_mode))?;
    } else if let Some(source) = &volume.downward_api {
        let items = source.items.as_deref().unwrap_or(&[]);
        builder.downward(&mut out, items, mode(source.default_mode))?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            builder.projection(&mut out, &volume.name, projection, mode(source.default_mode))?;
        }
    }
    Ok(out)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(DEFAULT_MODE) & 0o777
}

struct Builder<'a> {
    facts: &'a PodFacts<'a>,
    referenced: &'a Referenced,
}

impl Builder<'_> {
    fn config_map(
        &self,
        out: &mut FileSet,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: u32,
    ) -> Result<(), VolumeError> {
        let object = Object { kind: "configmap", name, optional: optional == Some(true) };
        let entries = self.referenced.config_maps.get(name).map(|map| config_map_entries(map));
        object.select(out, entries, items, mode)
    }

    fn secret(
        &self,
        out: &mut FileSet,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: u32,
    ) -> Result<(), VolumeError> {
        let object = Object { kind: "secret", name, optional: optional == Some(true) };
        let entries = self.referenced.secrets.get(name).map(|secret| secret_entries(secret));
        object.select(out, entries, items, mode)
    }

    fn downward(
        &self,
        out: &mut FileSet,
        items: &[DownwardAPIVolumeFile],
        default_mode: u32,
    ) -> Result<(), VolumeError> {
        for item in items {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(reference), _) => field(self.facts, &reference.field_path)?,
                (None, Some(reference)) => resource(self.facts, &Container::default(), reference)?,
                (None, None) => String::new(),
            };
            let file = VolumeFile {
                bytes: value.into_bytes(),
                mode: item.mode.map_or(default_mode, |m| mode(Some(m))),
                user: None,
            };
            out.insert(PathBuf::from(&item.path), file);
        }
        Ok(())
    }

    /// A token is for its pod alone, where that can be told: by the user all run as, or by the group of volumes.
    fn token(
        &self,
        out: &mut FileSet,
        volume: &str,
        source: &ServiceAccountTokenProjection,
        mode: u32,
    ) -> Result<(), VolumeError> {
        let wish = wish(source);
        let why = match self.referenced.tokens.get(&wish) {
            Some(Ok(token)) => {
                let user = one_user(self.facts.pod);
                let is_private = user.is_some() || super::fs_group(self.facts.pod).is_some();
                let mode = if is_private { PRIVATE_MODE } else { mode };
                let bytes = token.text.clone().into_bytes();
                out.insert(PathBuf::from(&source.path), VolumeFile { bytes, mode, user });
                return Ok(());
            }
            Some(Err(why)) => why.clone(),
            None => "it was not asked for".to_owned(),
        };
        Err(VolumeError::NoToken { volume: volume.to_owned(), why })
    }

    fn projection(
        &self,
        out: &mut FileSet,
        volume: &str,
        source: &VolumeProjection,
        mode: u32,
    ) -> Result<(), VolumeError> {
        let unsupported =
            |source_kind| VolumeError::UnsupportedSource { volume: volume.to_owned(), source_kind };
        if let Some(map) = &source.config_map {
            self.config_map(out, &map.name, map.items.as_deref(), map.optional, mode)?;
        }
        if let Some(secret) = &source.secret {
            self.secret(out, &secret.name, secret.items.as_deref(), secret.optional, mode)?;
        }
        if let Some(downward) = &source.downward_api {
            self.downward(out, downward.items.as_deref().unwrap_or(&[]), mode)?;
        }
        if let Some(source) = &source.service_account_token {
            self.token(out, volume, source, mode)?;
        }
        if source.cluster_trust_bundle.is_some() {
            return Err(unsupported("clusterTrustBundle"));
        }
        if source.pod_certificate.is_some() {
            return Err(unsupported("podCertificate"));
        }
        Ok(())
    }
}

/// What a source of a volume asks for; the API has filled in how long.
fn wish(source: &ServiceAccountTokenProjection) -> TokenWish {
    TokenWish {
        audience: source.audience.clone().unwrap_or_default(),
        seconds: source.expiration_seconds.unwrap_or(TOKEN_SECONDS),
    }
}

/// The user that all containers of a pod run as, if it is one and the pod says so.
fn one_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let own = |container: &Container| container.security_context.as_ref().and_then(|it| it.run_as_user);
    let mut users = containers.map(|container| own(container).or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

type Entries = Vec<(String, Vec<u8>)>;

fn config_map_entries(map: &ConfigMap) -> Entries {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

fn secret_entries(secret: &Secret) -> Entries {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// A ConfigMap or Secret that a volume shows.
struct Object<'a> {
    kind: &'static str,
    name: &'a str,
    /// Neither it nor any key has to be there.
    optional: bool,
}

impl Object<'_> {
    /// Adds all entries under their keys, or only the listed ones under their paths.
    fn select(
        &self,
        out: &mut FileSet,
        entries: Option<Entries>,
        items: Option<&[KeyToPath]>,
        default_mode: u32,
    ) -> Result<(), VolumeError> {
        let (kind, name) = (self.kind, self.name.to_owned());
        let Some(entries) = entries else {
            return self.unless_optional(VolumeError::ObjectMissing { kind, name });
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            let file =
                |(key, bytes)| (PathBuf::from(key), VolumeFile { bytes, mode: default_mode, user: None });
            out.extend(entries.into_iter().map(file));
            return Ok(());
        };
        for item in items {
            let Some((_, bytes)) = entries.iter().find(|(key, _)| *key == item.key) else {
                let (name, key) = (name.clone(), item.key.clone());
                self.unless_optional(VolumeError::KeyMissing { kind, name, key })?;
                continue;
            };
            let mode = item.mode.map_or(default_mode, |m| mode(Some(m)));
            out.insert(PathBuf::from(&item.path), VolumeFile { bytes: bytes.clone(), mode, user: None });
        }
        Ok(())
    }

    fn unless_optional(&self, error: VolumeError) -> Result<(), VolumeError> {
        if self.optional { Ok(()) } else { Err(error) }
    }
}
