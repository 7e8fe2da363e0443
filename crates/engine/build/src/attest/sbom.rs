//! What is in an image: SPDX 2.3, from what its packages left there.

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
    let (packages, system) = (installed(&view.source)?, system(&view.source).unwrap_or_default());
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

/// package-url specification: `pkg:type/namespace/name@version?arch=…`, with what each type says of names.
fn purl(package: &Package, system: &str) -> String {
    let name = match (package.kind, system) {
        ("deb", "") => format!("debian/{}", package.name),
        ("apk", "") => format!("alpine/{}", package.name),
        ("deb" | "apk", system) => format!("{system}/{}", package.name),
        ("pypi", _) => package.name.to_ascii_lowercase().replace('_', "-"),
        _ => package.name.clone(),
    };
    let name: Vec<String> = name.split('/').map(percent::encode).collect();
    let mut purl = format!("pkg:{}/{}@{}", package.kind, name.join("/"), percent::encode(&package.version));
    if !package.architecture.is_empty() {
        purl.push_str(&format!("?arch={}", package.architecture));
    }
    purl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_spelled_as_their_types_want() {
        let purl = |kind: &'static str, name: &str| {
            let package = Package { name: name.into(), version: "1+b".into(), kind, ..Package::default() };
            purl(&package, "")
        };
        assert_eq!(purl("deb", "libx"), "pkg:deb/debian/libx@1%2Bb");
        assert_eq!(purl("pypi", "Typing_Extensions"), "pkg:pypi/typing-extensions@1%2Bb");
        assert_eq!(purl("npm", "@scope/name"), "pkg:npm/%40scope/name@1%2Bb");
        assert_eq!(purl("golang", "golang.org/x/sys"), "pkg:golang/golang.org/x/sys@1%2Bb");
    }
}
