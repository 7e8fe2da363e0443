//! The certificate that all replicas show: whoever is first makes it and keeps it in a Secret.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

const NAME: &str = "site-operator-tls";

pub struct Certificate {
    /// As PEM; it vouches for itself.
    pub certificate: String,
    pub key: String,
}

pub async fn shared(client: &Client, service: &str) -> anyhow::Result<Certificate> {
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let name = format!("{service}.{}.svc", client.default_namespace());
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![name])?.self_signed(&key)?;
    let secret = serde_json::from_value(json!({
        "metadata": {"name": NAME}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()},
    }))?;
    let secret = match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => secrets.get(NAME).await?,
        other => other?,
    };
    let text = |name: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(name)).context("a Secret without it")?;
        anyhow::Ok(String::from_utf8(value.0.clone())?)
    };
    Ok(Certificate { certificate: text("tls.crt")?, key: text("tls.key")? })
}
