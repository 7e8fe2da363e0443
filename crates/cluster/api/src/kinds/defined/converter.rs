//! Who converts objects between the versions of a definition, where rewriting the `apiVersion` does not do.

use crate::webhook_client::ClientConfig;
use serde_json::Value;

/// The forms of reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReviewForm {
    V1,
    /// What an answer is and to which review, it need not say.
    V1Beta1,
}

impl ReviewForm {
    fn parse(version: &str) -> Option<Self> {
        match version {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "apiextensions.k8s.io/v1",
            Self::V1Beta1 => "apiextensions.k8s.io/v1beta1",
        }
    }
}

/// A webhook that converts objects.
#[derive(Clone, Debug)]
pub(crate) struct Converter {
    pub config: ClientConfig,
    /// The first form of those it takes that is known here.
    pub reviews: Option<ReviewForm>,
}

impl Converter {
    /// Whether the certificates by which it is trusted can be read.
    pub(crate) fn is_trustable(&self) -> bool {
        self.config.has_readable_bundle()
    }

    /// From the `conversion` of a definition; none if its strategy is no webhook.
    pub(super) fn read(conversion: &Value) -> Option<Self> {
        if conversion.get("strategy").is_none_or(|strategy| strategy != "Webhook") {
            return None;
        }
        let versions = conversion.pointer("/webhook/conversionReviewVersions").and_then(Value::as_array);
        Some(Self {
            config: ClientConfig::read(conversion.pointer("/webhook/clientConfig").unwrap_or(&Value::Null)),
            reviews: versions.into_iter().flatten().find_map(|version| ReviewForm::parse(version.as_str()?)),
        })
    }
}
