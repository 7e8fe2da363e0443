//! The HTTPS server that the API asks, and the registrations that lead it here.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificate::Certificate;
use crate::{MANAGER, SERVICE, admission, conversion, site};

const PORT: u16 = 8443;

/// Registers the kind and the webhooks; what another replica has registered is the same.
pub async fn register(client: &Client, certificate: &Certificate) -> anyhow::Result<()> {
    let bundle = base64::engine::general_purpose::STANDARD.encode(&certificate.certificate);
    let namespace = client.default_namespace();
    let at = |path: &str| json!({"caBundle": bundle, "service": {"name": SERVICE, "namespace": namespace, "path": path}});
    let parameters = PatchParams::apply(MANAGER).force();
    let conversion = json!({
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": at("/convert")},
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = Patch::Apply(site::definition(conversion)?);
    definitions.patch("sites.fleet.example.com", &parameters, &definition).await?;
    let hook = |name: &str, path: &str, rule: Value| {
        json!({
            "name": name, "clientConfig": at(path), "rules": [rule], "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        })
    };
    let sites = |operations: Value| json!({"apiGroups": ["fleet.example.com"], "apiVersions": ["v2"], "resources": ["sites"], "operations": operations});
    let kind = |kind: &str, hooks: Value| {
        let version = "admissionregistration.k8s.io/v1";
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": SERVICE}, "webhooks": hooks})
    };
    let mutating = kind(
        "MutatingWebhookConfiguration",
        json!([hook("defaults.fleet.example.com", "/mutate", sites(json!(["CREATE"])))]),
    );
    let mut pods = hook(
        "pods.fleet.example.com",
        "/pods",
        json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}),
    );
    // Its own pods start without it.
    pods["namespaceSelector"] = json!({
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [namespace]}],
    });
    let checks = hook("checks.fleet.example.com", "/validate", sites(json!(["CREATE", "UPDATE", "DELETE"])));
    let validating = kind("ValidatingWebhookConfiguration", json!([checks, pods]));
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    api.patch(SERVICE, &parameters, &Patch::Apply(mutating)).await?;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    api.patch(SERVICE, &parameters, &Patch::Apply(validating)).await?;
    Ok(())
}

/// Serves until it fails.
pub async fn serve(certificate: &Certificate) -> anyhow::Result<()> {
    let chain =
        CertificateDer::pem_slice_iter(certificate.certificate.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(respond));
            if let Err(error) = served.await {
                eprintln!("a connection: {error}");
            }
        });
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let (status, text) = match answer(&path, &body) {
        Ok(answer) => (StatusCode::OK, answer.to_string()),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

fn answer(path: &str, body: &[u8]) -> anyhow::Result<Value> {
    match path {
        "/healthz" => Ok(json!("ok")),
        "/convert" => conversion::answer(serde_json::from_slice(body)?),
        "/mutate" => admission::mutate(serde_json::from_slice(body)?),
        "/validate" => admission::validate(serde_json::from_slice(body)?),
        "/pods" => admission::pods(serde_json::from_slice(body)?),
        _ => anyhow::bail!("there is nothing at {path:?}"),
    }
}
