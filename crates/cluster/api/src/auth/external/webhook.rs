//! Webhooks: whose token it is, and who may do what.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hako_client::{HttpTransport, Kubeconfig, Transport as _};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use super::ExternalError;
use super::cache::Cache;
use crate::auth::{Attributes, Identity};

const TIME: Duration = Duration::from_secs(30);
const BYTES_MAX: usize = 1 << 20;
/// How long answers are good: upstream's times.
const TOKEN_KEPT: Duration = Duration::from_secs(120);
const ALLOWED_KEPT: Duration = Duration::from_secs(300);
const REFUSED_KEPT: Duration = Duration::from_secs(30);

/// Who is asked.
#[derive(Debug)]
pub(crate) struct Hook {
    transport: HttpTransport,
    path: String,
}

/// Says whose token it is.
#[derive(Debug)]
pub(crate) struct TokenWebhook {
    hook: Hook,
    kept: Cache<Result<(Identity, Vec<String>), String>>,
}

/// Says who may do what.
#[derive(Debug)]
pub(crate) struct AccessWebhook {
    hook: Hook,
    kept: Cache<Result<(), String>>,
}

/// Why a webhook has not taken something.
#[derive(Debug)]
pub(crate) struct Refused {
    pub why: String,
    /// It may take it later: nobody is there, or has the time.
    pub may_pass: bool,
}

impl Hook {
    /// Reads the kubeconfig that says where it is.
    pub(crate) fn open(path: &Path) -> Result<Self, ExternalError> {
        let fault = |problem: String| ExternalError::Webhook { path: path.display().to_string(), problem };
        let config = Kubeconfig::read(path).map_err(|error| fault(error.chain()))?;
        let uri: http::Uri =
            config.server.parse().map_err(|_| fault(format!("server {:?} is no URL", config.server)))?;
        let transport = HttpTransport::from_kubeconfig(&config).map_err(|error| fault(error.chain()))?;
        Ok(Self { transport, path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned() })
    }

    /// Sends a review; the answer's status.
    async fn ask(&self, review: &Value) -> Result<Value, String> {
        let body = self.send(Bytes::from(review.to_string())).await.map_err(|refused| refused.why)?;
        let review: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        Ok(review.get("status").cloned().unwrap_or_default())
    }

    /// Sends JSON; the body of the answer.
    pub(crate) async fn send(&self, body: Bytes) -> Result<Bytes, Refused> {
        let passing = |why: String| Refused { why, may_pass: true };
        let answer = async {
            let request = Request::post(&self.path)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json")
                .body(body)
                .map_err(|error| Refused { why: error.to_string(), may_pass: false })?;
            let response = self.transport.call(request).await.map_err(|error| passing(error.chain()))?;
            let status = response.status();
            if !status.is_success() {
                let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                return Err(Refused { why: format!("the webhook answers {status}"), may_pass });
            }
            let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
            Ok(body.map_err(|error| passing(error.to_string()))?.to_bytes())
        };
        tokio::time::timeout(TIME, answer)
            .await
            .unwrap_or_else(|_| Err(passing("the webhook does not answer".to_owned())))
    }
}

impl TokenWebhook {
    pub(super) fn open(path: &Path) -> Result<Self, ExternalError> {
        Ok(Self { hook: Hook::open(path)?, kept: Cache::default() })
    }

    /// Whose token it is, and for which of the audiences; the reason if it is nobody's.
    pub(crate) async fn verify(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), String> {
        let question = format!("{audiences:?}{token}");
        if let Some(answer) = self.kept.get(&question) {
            return answer;
        }
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        });
        // A failure of the webhook says nothing about the token and is not kept.
        let status = self.hook.ask(&review).await?;
        let answer = verdict(&status, audiences);
        self.kept.put(&question, answer.clone(), TOKEN_KEPT);
        answer
    }
}

fn verdict(status: &Value, audiences: &[String]) -> Result<(Identity, Vec<String>), String> {
    if status["authenticated"] != true {
        let reason = status["error"].as_str().filter(|text| !text.is_empty());
        return Err(reason.unwrap_or("the webhook does not know the token").to_owned());
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let user = &status["user"];
    let name = user["username"].as_str().unwrap_or("");
    if name.is_empty() {
        return Err("the webhook names no user".to_owned());
    }
    // One that does not know audiences speaks for those of the API.
    let of = texts(&status["audiences"]);
    let shared: Vec<String> = if of.is_empty() {
        audiences.to_vec()
    } else {
        of.into_iter().filter(|it| audiences.contains(it)).collect()
    };
    if shared.is_empty() {
        return Err("the token is for other audiences".to_owned());
    }
    let mut identity = Identity::new(name, &[]);
    identity.groups = texts(&user["groups"]);
    if !identity.groups.iter().any(|group| group == "system:authenticated") {
        identity.groups.push("system:authenticated".to_owned());
    }
    identity.uid = user["uid"].as_str().unwrap_or("").to_owned();
    identity.extra = serde_json::from_value(user["extra"].clone()).unwrap_or_default();
    Ok((identity, shared))
}

impl AccessWebhook {
    pub(super) fn open(path: &Path) -> Result<Self, ExternalError> {
        Ok(Self { hook: Hook::open(path)?, kept: Cache::default() })
    }

    /// Whether somebody may do something; why not. A webhook that fails allows nothing.
    pub(crate) async fn judge(&self, identity: &Identity, wanted: Attributes<'_>) -> Result<(), String> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec(identity, wanted),
        });
        let question = review.to_string();
        if let Some(answer) = self.kept.get(&question) {
            return answer;
        }
        let status = match self.hook.ask(&review).await {
            Ok(status) => status,
            Err(why) => {
                tracing::warn!(why, "the authorization webhook failed");
                return Err(String::new());
            }
        };
        let is_allowed = status["allowed"] == true && status["denied"] != true;
        let answer =
            if is_allowed { Ok(()) } else { Err(status["reason"].as_str().unwrap_or("").to_owned()) };
        let time = if is_allowed { ALLOWED_KEPT } else { REFUSED_KEPT };
        self.kept.put(&question, answer.clone(), time);
        answer
    }
}

fn spec(identity: &Identity, wanted: Attributes<'_>) -> Value {
    let mut spec = json!({"user": identity.user, "groups": identity.groups, "uid": identity.uid, "extra": identity.extra});
    match wanted {
        Attributes::Path { verb, path } => {
            spec["nonResourceAttributes"] = json!({"verb": verb, "path": path});
        }
        Attributes::Resource { verb, group, resource, subresource, namespace, name } => {
            spec["resourceAttributes"] = json!({
                "verb": verb, "group": group, "version": "*", "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            });
        }
    }
    spec
}
