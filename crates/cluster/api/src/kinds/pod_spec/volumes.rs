//! The volumes of a pod: each has a name and exactly one source.

use super::super::meta;
use super::super::place::{Faults, Place};
use super::super::volume::{claim, source};
use super::{Owner, files};
use hako_kube::{field, names};
use std::collections::HashSet;

/// Every source, in the order in which a second one is told from the first.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// All faults of the volumes of a pod or template.
pub(super) fn validate(volumes: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    let volumes = Vec::from_iter(volumes.items());
    let mut seen: HashSet<&str> = HashSet::new();
    let made: HashSet<String> = made_here(&volumes, owner);
    for volume in &volumes {
        if faults.is_full() {
            return;
        }
        let given = SOURCES.iter().filter(|kind| volume.at(&[kind]).is_set());
        for (index, kind) in given.clone().enumerate() {
            if index > 0 {
                faults.push(source::second(volume, kind));
            } else {
                one(volume, kind, owner, faults);
            }
        }
        if given.count() == 0 {
            faults.push(volume.required("must specify a volume type"));
        }
        let name = volume.at(&["name"]);
        name.check_required(names::dns_label, faults);
        if !seen.insert(name.text()) {
            faults.push(name.duplicate());
        }
        let claim = volume.at(&["persistentVolumeClaim", "claimName"]);
        if made.contains(claim.text()) {
            faults.push(claim.invalid("must not reference a PVC that gets created for an ephemeral volume"));
        }
    }
}

/// The claims that the pod makes itself; they are none that it finds.
fn made_here(volumes: &[Place<'_>], owner: Owner<'_>) -> HashSet<String> {
    let are_made =
        volumes.iter().filter(|volume| !owner.pod.is_empty() && volume.at(&["ephemeral"]).is_set());
    are_made.map(|volume| format!("{}-{}", owner.pod, volume.at(&["name"]).text())).collect()
}

fn one(volume: &Place<'_>, kind: &str, owner: Owner<'_>, faults: &mut Faults) {
    let place = volume.at(&[kind]);
    match kind {
        "emptyDir" => empty(&place, faults),
        "gitRepo" => {
            let (repository, directory) = (place.at(&["repository"]), place.at(&["directory"]));
            if repository.is_empty() {
                faults.push(repository.required(""));
            }
            super::local_path(&directory, faults);
        }
        "configMap" => files::named(&place, "name", faults),
        "secret" => files::named(&place, "secretName", faults),
        "downwardAPI" => files::downward(&place, faults),
        "projected" => super::projected::validate(&place, owner, faults),
        "persistentVolumeClaim" => {
            let name = place.at(&["claimName"]);
            if name.is_empty() {
                faults.push(name.required(""));
            }
        }
        "ephemeral" => ephemeral(volume, owner, faults),
        "image" => image(&place, owner, faults),
        _ => {
            let holder = source::Holder::Pod(volume.at(&["name"]).text());
            source::one(volume, kind, holder, faults);
        }
    }
}

fn empty(place: &Place<'_>, faults: &mut Faults) {
    let limit = place.at(&["sizeLimit"]);
    if limit.text().starts_with('-') {
        faults.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
    }
    let medium = place.at(&["medium"]);
    let is_known =
        matches!(medium.text(), "" | "Memory" | "HugePages") || medium.text().starts_with("HugePages-");
    if !is_known {
        faults.push(medium.not_supported(&["", "HugePages", "Memory"]));
    }
}

fn ephemeral(volume: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    const ALLOWED: [&str; 3] = ["annotations", "labels", "creationTimestamp"];
    let template = volume.at(&["ephemeral", "volumeClaimTemplate"]);
    if !template.is_set() {
        return faults.push(template.required(""));
    }
    let metadata = template.at(&["metadata"]);
    meta::annotations(template.value, &field::child(&metadata.path(), "annotations"), faults);
    meta::labels(template.value, &["metadata", "labels"], &field::child(&metadata.path(), "labels"), faults);
    let names = metadata.value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let foreign = names.filter(|name| !ALLOWED.contains(name));
    faults.extend(foreign.map(|name| metadata.at(&[name]).forbidden("cannot be set")));
    let spec = template.at(&["spec"]);
    claim::validate_spec(spec.value, &spec.path(), faults);
    let name = volume.at(&["name"]);
    if !owner.pod.is_empty() && !name.is_empty() {
        let claim = format!("{}-{}", owner.pod, name.text());
        let of = |fault: &String| name.invalid(&format!("PVC name {claim:?}: {fault}"));
        faults.extend(names::dns_subdomain(&claim).iter().map(of));
    }
}

fn image(place: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    let (reference, policy) = (place.at(&["reference"]), place.at(&["pullPolicy"]));
    if owner.is_pod && reference.is_empty() {
        faults.push(reference.required(""));
    }
    if policy.is_empty() {
        faults.push(policy.required(""));
    } else {
        policy.one_of(&["Always", "IfNotPresent", "Never"], faults);
    }
}
