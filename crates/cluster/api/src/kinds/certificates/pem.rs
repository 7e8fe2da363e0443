//! Requests and certificates in PEM: whether they are what they say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

/// Why a request cannot be signed.
pub(super) fn request_fault(encoded: &str) -> Option<String> {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let block = Pem::iter_from_buffer(&bytes).next().and_then(Result::ok);
    let Some(block) = block.filter(|block| block.label == "CERTIFICATE REQUEST") else {
        return Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    match X509CertificationRequest::from_der(&block.contents) {
        Err(error) => Some(format!("x509: malformed certificate request: {error}")),
        Ok((_, request)) => request.verify_signature().err().map(|error| format!("x509: {error}")),
    }
}

/// The organizations in the subject of a request, which become groups.
pub(crate) fn requested_organizations(encoded: &str) -> Vec<String> {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let Some(Ok(block)) = Pem::iter_from_buffer(&bytes).next() else { return Vec::new() };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.contents) else { return Vec::new() };
    let names = request.certification_request_info.subject.iter_organization();
    names.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect()
}

/// Why issued certificates cannot be used.
pub(super) fn certificate_fault(encoded: &str) -> Option<String> {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    if has_headers(&bytes) {
        return Some("no PEM block headers are permitted".to_owned());
    }
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(&bytes).map_while(Result::ok) {
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if let Err(error) = block.parse_x509() {
            return Some(format!("x509: malformed certificate: {error}"));
        }
        blocks += 1;
    }
    (blocks == 0).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

/// RFC 1421, section 4.6: `name: value` before the content.
fn has_headers(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut is_inside = false;
    for line in text.lines() {
        match line {
            _ if line.starts_with("-----BEGIN ") => is_inside = true,
            _ if line.starts_with("-----END ") => is_inside = false,
            _ if is_inside && line.contains(':') => return true,
            _ => {}
        }
    }
    false
}
