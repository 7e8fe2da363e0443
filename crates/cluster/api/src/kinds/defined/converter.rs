//! Who converts objects between the versions of a definition, where rewriting the `apiVersion` does not do.

use crate::webhook_client::ClientConfig;
use serde_json::Value;

/// The form of reviews that is spoken here.
const REVIEW_VERSION: &str = "v1";

/// A webhook that converts objects.
#[derive(Clone, Debug)]
pub(crate) struct Converter {
    pub config: ClientConfig,
    /// Whether it takes reviews in the form that is spoken here.
    pub takes_reviews: bool,
}

impl Converter {
    /// From the `conversion` of a definition; none if its strategy is no webhook.
    pub(super) fn read(conversion: &Value) -> Option<Self> {
        if conversion.get("strategy").is_none_or(|strategy| strategy != "Webhook") {
            return None;
        }
        let versions = conversion.pointer("/webhook/conversionReviewVersions").and_then(Value::as_array);
        Some(Self {
            config: ClientConfig::read(conversion.pointer("/webhook/clientConfig").unwrap_or(&Value::Null)),
            takes_reviews: versions.into_iter().flatten().any(|version| version == REVIEW_VERSION),
        })
    }
}
