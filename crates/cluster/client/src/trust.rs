//! Which servers are believed: those with a certificate of a trusted authority, and those whose own certificate is
//! trusted itself, also where it says that it is an authority's: what `openssl req -x509` makes says so.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Believes servers by the certificates given, of which there is at least one.
pub fn trusting(trusted: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let by_authority = by_authority.map_err(|error| Error::General(error.to_string()))?;
    Ok(Arc::new(Trusting { trusted, by_authority }))
}

#[derive(Debug)]
struct Trusting {
    trusted: Vec<CertificateDer<'static>>,
    by_authority: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.trusted.iter().any(|trusted| trusted.as_ref() == shown.as_ref()) {
            return self.by_authority.verify_server_cert(shown, intermediates, name, ocsp_response, now);
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        check_itself(shown, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Whether a certificate is valid at a time and may be a server's.
fn check_itself(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// A server's own certificate as `openssl req -x509` makes it, valid in the years 2020 to 2029.
    fn own(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["hook.example.com".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    /// What is said of a certificate under a name in a year.
    fn verify(
        trusted: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &'static str,
        year: i32,
    ) -> Result<(), Error> {
        let seconds = date_time_ymd(year, 6, 1).unix_timestamp();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap()));
        let verifier = trusting(vec![trusted.clone()]).unwrap();
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn an_authoritys_certificate_that_is_trusted_itself_is_believed_for_its_name_time_and_purpose() {
        let it = own(|_| {});
        assert_eq!(verify(&it, &it, "hook.example.com", 2025), Ok(()));
        let other_name = verify(&it, &it, "other.example.com", 2025).unwrap_err();
        assert!(
            matches!(other_name, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
            "{other_name:?}"
        );
        for (year, expected) in [(2019, CertificateError::NotValidYet), (2030, CertificateError::Expired)] {
            assert_eq!(verify(&it, &it, "hook.example.com", year), Err(expected.into()));
        }
        let of_clients = own(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!(
            verify(&of_clients, &of_clients, "hook.example.com", 2025),
            Err(CertificateError::InvalidPurpose.into())
        );
    }

    #[test]
    fn an_authoritys_certificate_that_only_looks_like_the_trusted_one_is_not_believed() {
        let (it, like_it) = (own(|_| {}), own(|_| {}));
        assert!(verify(&it, &like_it, "hook.example.com", 2025).is_err());
    }
}
