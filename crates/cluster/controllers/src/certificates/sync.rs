//! One step of a request.

use super::Controller;
use super::request::{Names, Signer};
use crate::conditions;
use crate::wiring::Key;
use hako_client::{Api, DeleteOptions, ResourceType, WriteOptions};
use hako_error::Result;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::Duration;

/// How long certificates are valid whose request does not say.
const SECONDS_BY_DEFAULT: i64 = 365 * 86_400;
/// How long requests are kept: once they are decided, and without a decision.
const KEPT_DECIDED: SignedDuration = SignedDuration::from_hours(1);
const KEPT_PENDING: SignedDuration = SignedDuration::from_hours(24);

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(request) = self.requests.get("", &key.1) else { return Ok(None) };
        let left = Timestamp::now().duration_until(ends(&request));
        let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) else {
            return self.remove(&request, &key.1).await;
        };
        let Some(signer) = Signer::named(&request.spec.signer_name) else { return Ok(Some(left)) };
        let names = Names::parse(&request.spec.request.0).unwrap_or_default();
        match state(&request) {
            State::Pending if signer == Signer::NodeClient => {
                self.approve_own(&request, &names, &key.1).await?;
            }
            State::Approved => self.sign(&request, signer, &names, &key.1).await?,
            _ => {}
        }
        Ok(Some(left))
    }

    async fn remove(&self, request: &CertificateSigningRequest, name: &str) -> Result<Option<Duration>> {
        let options = DeleteOptions { uid: request.metadata.uid.clone(), ..DeleteOptions::default() };
        let api: Api<CertificateSigningRequest> = self.client.all();
        match api.delete(name, &options).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(None),
        }
    }

    /// Approves a node's request for a certificate of its own, or a bootstrapping one for a node's, where the sender
    /// may ask for such.
    async fn approve_own(
        &self,
        request: &CertificateSigningRequest,
        names: &Names,
        name: &str,
    ) -> Result<()> {
        let usages = request.spec.usages.as_deref().unwrap_or_default();
        if Signer::NodeClient.fault(names, usages).is_some() {
            return Ok(());
        }
        let is_own = request.spec.username.as_deref() == Some(&names.common_name);
        for (subresource, who) in [("selfnodeclient", "self "), ("nodeclient", "")] {
            if (subresource == "nodeclient" || is_own) && self.may_ask(request, subresource).await? {
                let message =
                    format!("Auto approving {who}kubelet client certificate after SubjectAccessReview.");
                let mut changed = request.clone();
                add_condition(&mut changed, "Approved", "AutoApproved", &message);
                let api: Api<CertificateSigningRequest> = self.client.all();
                return settle(api.replace_subresource(name, "approval", &changed).await);
            }
        }
        Ok(())
    }

    async fn may_ask(&self, request: &CertificateSigningRequest, subresource: &str) -> Result<bool> {
        let spec = &request.spec;
        let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": spec.username, "groups": spec.groups, "uid": spec.uid, "extra": spec.extra,
            "resourceAttributes": { "group": "certificates.k8s.io", "resource": "certificatesigningrequests",
                "verb": "create", "subresource": subresource, "version": "*" },
        } });
        let resource = ResourceType::new("authorization.k8s.io", "v1", "subjectaccessreviews");
        let answer = self.client.dynamic(&resource, None).create(&review, &WriteOptions::default()).await?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// Signs what is approved; says in a condition why not.
    async fn sign(
        &self,
        request: &CertificateSigningRequest,
        signer: Signer,
        names: &Names,
        name: &str,
    ) -> Result<()> {
        let mut changed = request.clone();
        let usages = request.spec.usages.clone().unwrap_or_default();
        let text = String::from_utf8_lossy(&request.spec.request.0).into_owned();
        let seconds = request.spec.expiration_seconds.map_or(SECONDS_BY_DEFAULT, i64::from);
        let seconds = seconds.clamp(600, SECONDS_BY_DEFAULT);
        match signer.fault(names, &usages) {
            Some(fault) => add_condition(&mut changed, "Failed", "SignerValidationFailure", &fault),
            None => match self.signer.sign(&text, &usages, seconds) {
                Ok(certificate) => {
                    status(&mut changed).certificate = Some(ByteString(certificate.into_bytes()))
                }
                Err(error) => {
                    add_condition(&mut changed, "Failed", "SigningFailure", &error.chain().to_string());
                }
            },
        }
        let api: Api<CertificateSigningRequest> = self.client.all();
        settle(api.replace_status(name, &changed).await)
    }
}

/// Gone meanwhile is as good as done.
fn settle<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Approved,
    Denied,
    Failed,
    Issued,
}

fn state(request: &CertificateSigningRequest) -> State {
    let status = request.status.as_ref();
    let has = |kind: &str| conditions_of(request).any(|one| one.type_ == kind && one.status == "True");
    match () {
        () if status.is_some_and(|status| status.certificate.is_some()) => State::Issued,
        () if has("Denied") => State::Denied,
        () if has("Failed") => State::Failed,
        () if has("Approved") => State::Approved,
        () => State::Pending,
    }
}

fn conditions_of(
    request: &CertificateSigningRequest,
) -> impl Iterator<Item = &CertificateSigningRequestCondition> {
    request.status.iter().flat_map(|status| status.conditions.iter().flatten())
}

/// When a request is not kept any longer.
fn ends(request: &CertificateSigningRequest) -> Timestamp {
    let created = request.metadata.creation_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0);
    let changed =
        conditions_of(request).filter_map(|one| one.last_update_time.as_ref()).map(|time| time.0).max();
    let (since, kept) = match state(request) {
        State::Pending | State::Approved => (created, KEPT_PENDING),
        State::Denied | State::Failed | State::Issued => (changed.unwrap_or(created), KEPT_DECIDED),
    };
    since.saturating_add(kept).unwrap_or(since)
}

fn status(request: &mut CertificateSigningRequest) -> &mut CertificateSigningRequestStatus {
    request.status.get_or_insert_default()
}

fn add_condition(request: &mut CertificateSigningRequest, kind: &str, reason: &str, message: &str) {
    status(request).conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(conditions::now()),
        last_transition_time: Some(conditions::now()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn request(conditions: Value, certificate: Value) -> CertificateSigningRequest {
        let request = json!({ "metadata": { "name": "r", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "request": "", "signerName": "kubernetes.io/kube-apiserver-client" },
            "status": { "conditions": conditions, "certificate": certificate } });
        serde_json::from_value(request).unwrap()
    }

    #[test]
    fn what_is_decided_is_kept_for_an_hour_and_the_rest_for_a_day() {
        let condition = |kind: &str| json!([{ "type": kind, "status": "True", "lastUpdateTime": "2026-01-01T05:00:00Z" }]);
        for (request, expected, until) in [
            (request(json!([]), Value::Null), State::Pending, "2026-01-02T00:00:00Z"),
            (request(condition("Approved"), Value::Null), State::Approved, "2026-01-02T00:00:00Z"),
            (request(condition("Approved"), json!("eA==")), State::Issued, "2026-01-01T06:00:00Z"),
            (request(condition("Denied"), Value::Null), State::Denied, "2026-01-01T06:00:00Z"),
            (request(condition("Failed"), Value::Null), State::Failed, "2026-01-01T06:00:00Z"),
        ] {
            assert_eq!(state(&request), expected);
            assert_eq!(ends(&request).to_string(), until, "{expected:?}");
        }
    }
}
