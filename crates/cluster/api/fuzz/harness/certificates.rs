//! What stands in objects as PEM: the octets are those of a request for a certificate, of the certificate and of the key of
//! a Secret, and of the authority that a webhook is trusted by, each as DER in PEM or, after a byte of one, as they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::requests;

pub fn run(data: &[u8]) {
    let pem = |label: &str| match data {
        [1, text @ ..] => text.to_vec(),
        der => {
            let body = STANDARD.encode(der);
            let lines: Vec<&str> =
                body.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
        }
    };
    let encoded = |label: &str| STANDARD.encode(pem(label));
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c"},
        "spec": {
            "request": encoded("CERTIFICATE REQUEST"), "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": encoded("CERTIFICATE"), "tls.key": encoded("PRIVATE KEY")},
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "c"},
        "webhooks": [{
            "name": "c.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://h.example/", "caBundle": encoded("CERTIFICATE")},
        }],
    });
    for (path, object) in [
        ("/apis/certificates.k8s.io/v1/certificatesigningrequests", request),
        ("/api/v1/namespaces/default/secrets", secret),
        ("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", webhook),
    ] {
        requests::run(format!("POST {path}\napplication/json\n{object}").as_bytes());
    }
}
