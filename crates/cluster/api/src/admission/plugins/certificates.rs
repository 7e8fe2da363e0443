//! Who approves and who signs needs the right to do so for the signer, and nobody becomes a master by a request.

use futures::FutureExt as _;
use serde_json::Value;

use super::{Change, Plugin, text};
use crate::auth::{Attributes, is_allowed};
use crate::http::Outcome;
use crate::kinds;

pub(super) const APPROVAL: Plugin = Plugin {
    name: "CertificateApproval",
    handles: |change| change.is_of(GROUP, PLURAL) && change.part == "approval",
    validate: Some(|change, request| {
        futures::future::ready(may(change, request, "approve", "approve")).boxed()
    }),
    ..Plugin::BASE
};

pub(super) const SIGNING: Plugin = Plugin {
    name: "CertificateSigning",
    handles: |change| change.is_of(GROUP, PLURAL) && change.part == "status",
    validate: Some(|change, request| {
        let of = |object: Option<&Value>, name: &str| {
            let value = object.and_then(|it| it.get("status")?.get(name).cloned());
            value.filter(|value| *value != "" && value.as_array().is_none_or(|list| !list.is_empty()))
        };
        let is_same = |name: &str| of(change.old, name) == of(Some(request), name);
        let verdict = match is_same("certificate") && is_same("conditions") {
            true => Ok(()),
            false => may(change, request, "sign", "sign"),
        };
        futures::future::ready(verdict).boxed()
    }),
    ..Plugin::BASE
};

pub(super) const SUBJECT: Plugin = Plugin {
    name: "CertificateSubjectRestriction",
    handles: |change| change.creates(GROUP, PLURAL),
    validate: Some(|change, request| futures::future::ready(no_master(change, request)).boxed()),
    ..Plugin::BASE
};

const GROUP: &str = "certificates.k8s.io";
const PLURAL: &str = "certificatesigningrequests";
const MASTERS: &str = "system:masters";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// For the signer itself, or for all of its domain.
fn may(change: &Change<'_>, request: &Value, verb: &str, what: &str) -> Outcome<()> {
    let of = change.old.unwrap_or(request);
    let signer = text(of, "/spec/signerName");
    let domain = format!("{}/*", signer.split('/').next().unwrap_or(""));
    let index = change.server.rbac.read();
    let is_granted = [signer, domain.as_str()].iter().any(|&name| {
        let wanted = Attributes::Resource {
            verb,
            group: GROUP,
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
        };
        is_allowed(&index, change.identity, wanted)
    });
    if is_granted {
        return Ok(());
    }
    Err(change.forbidden(format!("user not permitted to {what} requests with signerName {signer:?}")))
}

fn no_master(change: &Change<'_>, request: &Value) -> Outcome<()> {
    if text(request, "/spec/signerName") != CLIENT_SIGNER {
        return Ok(());
    }
    let groups = kinds::requested_organizations(text(request, "/spec/request"));
    if groups.iter().any(|group| group == MASTERS) {
        return Err(
            change.forbidden(format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"))
        );
    }
    Ok(())
}
