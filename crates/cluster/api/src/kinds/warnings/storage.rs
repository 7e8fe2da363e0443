//! Of volumes, claims and classes.

use super::super::place::Place;
use super::{Warnings, fraction, old_label};
use hako_kube::names;
use serde_json::Value;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const OLD_CLASS: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";
/// Sources of volumes that are there no more: the field, what it is called, and since when.
const OLD_SOURCES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Of a volume.
pub(in super::super) fn volume(new: &Value, _: Option<&Value>) -> Warnings {
    let (whole, spec) = (Place::of(new), Place::of(new).at(&["spec"]));
    let mut out = Vec::new();
    super::annotation(&whole.at(&["metadata"]), CLASS, OLD_CLASS, &mut out);
    let reclaim = spec.at(&["persistentVolumeReclaimPolicy"]);
    if reclaim.text() == "Recycle" {
        out.push(format!(
            "{}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            reclaim.path()
        ));
    }
    for term in spec.at(&["nodeAffinity", "required", "nodeSelectorTerms"]).items() {
        for rule in term.at(&["matchExpressions"]).items() {
            key(&rule.at(&["key"]), &mut out);
            for value in rule.at(&["values"]).items() {
                let of = |fault: &String| format!("{}: {} is invalid, {fault}", value.path(), value.text());
                out.extend(names::label_value(value.text()).iter().map(of));
            }
        }
    }
    let old = OLD_SOURCES.iter().filter(|(field, ..)| spec.at(&[*field]).is_set());
    out.extend(old.map(|(_, name, text)| format!("spec.{name}: {text}")));
    out
}

/// Of a claim.
pub(in super::super) fn claim(new: &Value, _: Option<&Value>) -> Warnings {
    let (whole, mut out) = (Place::of(new), Vec::new());
    super::annotation(&whole.at(&["metadata"]), CLASS, OLD_CLASS, &mut out);
    of_claim(&whole.at(&["spec"]), &mut out);
    out
}

/// Of the spec of a claim.
pub(super) fn of_claim(spec: &Place<'_>, out: &mut Warnings) {
    for list in ["requests", "limits"] {
        let amounts = spec.at(&["resources", list]).entries();
        amounts.filter(|(name, _)| *name == "storage").for_each(|(_, amount)| fraction(&amount, out));
    }
}

/// Of a storage class.
pub(in super::super) fn class(new: &Value, _: Option<&Value>) -> Warnings {
    let terms = Place::of(new).at(&["allowedTopologies"]).items();
    let rules = terms.flat_map(|term| term.at(&["matchLabelExpressions"]).items());
    let of = |rule: Place<'_>| {
        let key = rule.at(&["key"]);
        old_label(key.text()).map(|text| format!("{}: {text}", key.path()))
    };
    rules.filter_map(of).collect()
}

/// Of what a driver says that it can hold.
pub(in super::super) fn capacity(new: &Value, _: Option<&Value>) -> Warnings {
    let (selector, mut out) = (Place::of(new).at(&["nodeTopology"]), Vec::new());
    selector.at(&["matchExpressions"]).items().for_each(|rule| key(&rule.at(&["key"]), &mut out));
    for (name, _) in selector.at(&["matchLabels"]).entries() {
        out.extend(old_label(name).map(|text| format!("nodeTopology.matchLabels.{name}: {text}")));
    }
    out
}

fn key(key: &Place<'_>, out: &mut Warnings) {
    out.extend(old_label(key.text()).map(|text| format!("{}: {} is {text}", key.path(), key.text())));
}
