//! What becomes of writes and deletions, in the words and codes that clients know: one test a documented rule.

mod apply;
mod apply_parts;
mod delete;
mod evict;
mod options;
mod owners;
mod update;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::support::World;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// An answer as it came over HTTPS.
#[derive(Debug)]
pub struct Said {
    pub code: u16,
    /// The texts of `Warning` headers.
    pub warnings: Vec<String>,
    pub body: Value,
}

impl Said {
    /// The refusal has to have this code and say so.
    #[track_caller]
    pub fn refuses(&self, code: u16, text: &str) {
        let message = self.body["message"].as_str().unwrap_or("");
        assert!(self.code == code && message.contains(text), "{code} {text}\nis not {self:?}");
    }

    #[track_caller]
    pub fn is(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        self.body
    }
}

/// Asks as the administrator.
pub async fn ask(world: &World, method: &str, path: &str, body: &Value) -> Said {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    ask_as(world, method, path, kind, body).await
}

pub async fn ask_as(world: &World, method: &str, path: &str, kind: &str, body: &Value) -> Said {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    ask_text(world, method, path, kind, &text).await
}

async fn ask_text(world: &World, method: &str, path: &str, kind: &str, text: &str) -> Said {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let response = world.outside().send(request.body(Bytes::from(text.to_owned())).unwrap()).await.unwrap();
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.map(|it| it.to_str().unwrap().to_owned()).collect();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Said { code, warnings, body: serde_json::from_slice(&body).unwrap_or_default() }
}
