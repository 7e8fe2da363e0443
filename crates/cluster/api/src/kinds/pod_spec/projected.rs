//! Projected volumes: several sources of files in one directory.

use super::super::place::{Faults, Place};
use super::{Owner, files, non_reserved_path};
use hako_kube::{field, names};
use std::collections::HashSet;

const KINDS: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
const TOKEN_MIN: i64 = 600;
const TOKEN_MAX: i64 = 1 << 32;

/// All faults of a projected volume.
pub(super) fn validate(volume: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    files::mode(&volume.at(&["defaultMode"]), faults);
    let mut paths: HashSet<&str> = HashSet::new();
    for source in volume.at(&["sources"]).items() {
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| source.at(&[kind]).is_set()).collect();
        for kind in &given {
            let place = source.at(&[kind]);
            one(&place, kind, volume, owner, faults);
            for (path, of) in made(&place, kind) {
                if !paths.insert(path) {
                    faults.push(field::invalid(volume.path(), of, "conflicting duplicate paths"));
                }
            }
        }
        if given.len() > 1 {
            faults.push(source.forbidden("may not specify more than 1 volume type per source"));
        }
    }
}

/// The files of a source, each with what names it in a conflict.
fn made<'a>(source: &Place<'a>, kind: &str) -> Vec<(&'a str, &'a str)> {
    let items = Vec::from_iter(source.at(&["items"]).items());
    let paths = items.iter().map(|item| item.at(&["path"]).text()).filter(|path| !path.is_empty());
    match kind {
        "secret" | "configMap" => paths.map(|path| (path, source.at(&["name"]).text())).collect(),
        "downwardAPI" => paths.map(|path| (path, path)).collect(),
        "clusterTrustBundle" => vec![(source.at(&["path"]).text(), source.at(&["path"]).text())],
        "podCertificate" => {
            let members = ["credentialBundlePath", "keyPath", "certificateChainPath"];
            let paths = members.map(|member| source.at(&[member]).text());
            paths.into_iter().filter(|path| !path.is_empty()).map(|path| (path, path)).collect()
        }
        _ => Vec::new(),
    }
}

fn one(place: &Place<'_>, kind: &str, volume: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    match kind {
        "secret" | "configMap" => files::named(place, "name", faults),
        "downwardAPI" => files::downward(place, faults),
        "serviceAccountToken" => token(place, volume, owner, faults),
        "clusterTrustBundle" => trust(place, faults),
        _ => certificate(place, faults),
    }
}

fn token(place: &Place<'_>, volume: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    let seconds = place.at(&["expirationSeconds"]);
    if seconds.number() < TOKEN_MIN {
        faults.push(seconds.invalid_number("may not specify a duration less than 10 minutes"));
    }
    if seconds.number() > TOKEN_MAX {
        faults.push(seconds.invalid_number("may not specify a duration larger than 2^32 seconds"));
    }
    // The original says the path of the volume here, not of its source.
    let path = volume.at(&["path"]).with(place.at(&["path"]).value);
    if path.is_empty() {
        faults.push(path.required(""));
    } else {
        non_reserved_path(&path, faults);
    }
    if owner.is_pod && owner.account.is_empty() {
        faults.push(place.forbidden("must not be specified when serviceAccountName is not set"));
    }
}

fn trust(place: &Place<'_>, faults: &mut Faults) {
    let (name, signer) = (place.at(&["name"]), place.at(&["signerName"]));
    match (name.is_set(), signer.is_set()) {
        (true, true) => faults.push(place.invalid("only one of name and signerName may be used")),
        (false, false) => faults.push(place.required("either name or signerName must be specified")),
        (true, false) => {
            if name.is_empty() {
                faults.push(name.required("must be a valid object name"));
            }
            let plain = name.text().rsplit(':').next().unwrap_or("");
            let of =
                |fault: &String| name.invalid_text(&format!("not a valid clustertrustbundlename: {fault}"));
            faults.extend(names::dns_subdomain(plain).iter().map(of));
            let selector = place.at(&["labelSelector"]);
            if selector.is_set() {
                faults.push(selector.invalid("labelSelector must be unset if name is specified"));
            }
        }
        (false, true) => {
            if signer.is_empty() {
                faults.push(signer.required("must be a valid signer name"));
            }
            place.at(&["labelSelector"]).selector(faults);
        }
    }
    let path = place.at(&["path"]);
    if path.is_empty() {
        faults.push(path.required(""));
    }
    non_reserved_path(&path, faults);
}

fn certificate(place: &Place<'_>, faults: &mut Faults) {
    const KEYS: [&str; 7] =
        ["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA2048", "RSA3072", "RSA4096"];
    const SECONDS_MIN: i64 = 3600;
    const SECONDS_MAX: i64 = 91 * 24 * 3600;
    let signer = place.at(&["signerName"]);
    if signer.is_empty() {
        faults.push(signer.required(""));
    }
    place.at(&["keyType"]).one_of(&KEYS, faults);
    let seconds = place.at(&["maxExpirationSeconds"]);
    if seconds.is_set() && seconds.number() < SECONDS_MIN {
        faults.push(seconds.invalid(&format!("if provided, maxExpirationSeconds must be >= {SECONDS_MIN}")));
    }
    if seconds.number() > SECONDS_MAX {
        faults.push(seconds.invalid(&format!("if provided, maxExpirationSeconds must be <= {SECONDS_MAX}")));
    }
    let members = ["credentialBundlePath", "keyPath", "certificateChainPath"];
    for path in members.iter().map(|member| place.at(&[member])).filter(|path| !path.is_empty()) {
        non_reserved_path(&path, faults);
    }
    if members.iter().all(|member| place.at(&[member]).is_empty()) {
        let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        faults.push(place.required(detail));
    }
}
