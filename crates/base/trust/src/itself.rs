//! A certificate that is trusted itself.

use rustls::CertificateError;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// By which a certificate is known again: of the machine's hundred and more, the whole would be kept for nothing.
pub(crate) type Digest = [u8; 32];

pub(crate) fn digest(certificate: &[u8]) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref());
    digest
}

/// Whether a certificate is valid at a time and may be a server's.
pub(crate) fn check(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) = X509Certificate::from_der(shown).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds < certificate.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet);
    }
    if seconds > certificate.validity().not_after.timestamp() {
        return Err(CertificateError::Expired);
    }
    let usage = certificate.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match usage.is_none_or(|usage| usage.value.any || usage.value.server_auth) {
        true => Ok(()),
        false => Err(CertificateError::InvalidPurpose),
    }
}
