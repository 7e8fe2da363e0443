//! What is in an image: SPDX 2.3, from the databases of its package programs.

use super::packages::{Package, installed, system};
use crate::copy::View;
use crate::request::BuildRequest;
use crate::shared::Shared;
use hako_error::Result;
use hako_image::{NewImage, chain_id};
use hako_names::percent;
use serde_json::{Value, json};

pub(super) const PREDICATE: &str = "https://spdx.dev/Document";
const UNKNOWN: &str = "NOASSERTION";

/// The document says nothing that depends on when it is made, and no digest of a manifest: the same files have the same
/// list, however they are stored.
pub(super) fn document(shared: &Shared, request: &BuildRequest, image: &NewImage) -> Result<Value> {
    let view = View::open(shared, &image.layers)?;
    let (packages, system) = (installed(&view.source), system(&view.source).unwrap_or_default());
    let created = image.config.created().as_ref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let created = created.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let name = request.tags.first().map_or_else(|| "image".to_owned(), ToString::to_string);
    let chain = chain_id(image.layers.iter().map(|layer| layer.diff_id));
    let chain = chain.map(|id| id.hex()).unwrap_or_default();
    let root = "SPDXRef-Image";
    let mut listed = vec![json!({
        "SPDXID": root, "name": name, "downloadLocation": UNKNOWN, "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN, "licenseDeclared": UNKNOWN, "copyrightText": UNKNOWN,
        "primaryPackagePurpose": "CONTAINER",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", root)];
    for (number, package) in packages.iter().enumerate() {
        let id = format!("SPDXRef-Package-{}-{number}", package.kind);
        relations.push(relation(root, "CONTAINS", &id));
        listed.push(entry(package, &id, &system));
    }
    Ok(json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": name, "documentNamespace": format!("urn:hakobune:sbom:{chain}:{}", percent::encode(&name)),
        "creationInfo": {
            "created": created,
            "creators": [concat!("Tool: hakobune-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": listed, "relationships": relations,
    }))
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn entry(package: &Package, id: &str, system: &str) -> Value {
    let supplier = package.maintainer.as_ref().map(|who| format!("Person: {who}"));
    let mut entry = json!({
        "SPDXID": id, "name": package.name, "versionInfo": package.version, "downloadLocation": UNKNOWN,
        "filesAnalyzed": false, "licenseConcluded": UNKNOWN, "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN, "supplier": supplier.unwrap_or_else(|| UNKNOWN.into()),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": purl(package, system),
        }],
    });
    // As the database has it; whether it is an SPDX expression nobody has checked.
    if let Some(licence) = &package.licence {
        entry["licenseComments"] = format!("the package says: {licence}").into();
    }
    entry
}

/// package-url specification: `pkg:type/namespace/name@version?arch=…`.
fn purl(package: &Package, system: &str) -> String {
    let system = match (system, package.kind) {
        ("", "deb") => "debian",
        ("", _) => "alpine",
        (system, _) => system,
    };
    let (name, version) = (percent::encode(&package.name), percent::encode(&package.version));
    let mut purl = format!("pkg:{}/{system}/{name}@{version}", package.kind);
    if !package.architecture.is_empty() {
        purl.push_str(&format!("?arch={}", package.architecture));
    }
    purl
}
