//! Of accounts and secrets.

use super::super::place::Place;
use super::Warnings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use x509_parser::pem::Pem;

/// Of an account: an annotation that is on its way out, where it is new.
pub(in super::super) fn service_account(new: &Value, old: Option<&Value>) -> Warnings {
    const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
    let has = |object: &Value| Place::of(object).at(&["metadata", "annotations", ENFORCE]).is_set();
    if !has(new) || old.is_some_and(has) {
        return Vec::new();
    }
    let text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
    vec![format!("metadata.annotations[{ENFORCE}]: {text}")]
}

/// Of a secret: what is wrong with a certificate and its key, in Go's words.
pub(in super::super) fn secret(new: &Value, _: Option<&Value>) -> Warnings {
    let whole = Place::of(new);
    if whole.at(&["type"]).text() != "kubernetes.io/tls" {
        return Vec::new();
    }
    let data = |name: &str| STANDARD.decode(whole.at(&["data", name]).text()).unwrap_or_default();
    pair_fault(&data("tls.crt"), &data("tls.key")).into_iter().collect()
}

fn pair_fault(certificate: &[u8], key: &[u8]) -> Option<String> {
    let labels = |bytes: &[u8]| -> Vec<String> {
        Pem::iter_from_buffer(bytes).filter_map(Result::ok).map(|block| block.label).collect()
    };
    let (of_certificate, of_key) = (labels(certificate), labels(key));
    let is_key = |label: &String| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    if !of_certificate.iter().any(|label| label == "CERTIFICATE") {
        return Some(match of_certificate.as_slice() {
            [] => "tls: failed to find any PEM data in certificate input".to_owned(),
            [one] if is_key(one) => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned(),
            all => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]", all.join(" ")),
        });
    }
    if !of_key.iter().any(is_key) {
        return Some(match of_key.as_slice() {
            [] => "tls: failed to find any PEM data in key input".to_owned(),
            [one] if one == "CERTIFICATE" => {
                "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
            }
            all => format!(
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
                all.join(" ")
            ),
        });
    }
    let chain: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(certificate).filter_map(Result::ok).collect();
    if chain.first().is_none_or(|first| x509_parser::parse_x509_certificate(first).is_err()) {
        return Some("x509: malformed certificate".to_owned());
    }
    let parsed = PrivateKeyDer::from_pem_slice(key).ok();
    let signer = parsed.and_then(|key| default_provider().key_provider.load_private_key(key).ok());
    let Some(signer) = signer else { return Some("tls: failed to parse private key".to_owned()) };
    match rustls::sign::CertifiedKey::new(chain, signer).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Some("tls: private key does not match public key".to_owned())
        }
        _ => None,
    }
}
