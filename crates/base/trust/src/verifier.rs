//! The one verifier of servers' certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::itself::{self, Digest};
use crate::provider;

/// Who is believed.
#[derive(Debug)]
enum Believed {
    Anyone,
    Trusted {
        themselves: Vec<Digest>,
        /// None where nobody is trusted.
        by_authority: Option<Arc<WebPkiServerVerifier>>,
    },
}

/// Says whether a server is the one that it says.
#[derive(Debug)]
pub(crate) struct Verifier {
    believed: Believed,
    /// How servers prove that a certificate's key is theirs.
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn anyone() -> Self {
        Self { believed: Believed::Anyone, algorithms: provider().signature_verification_algorithms }
    }

    /// Believes by certificates, authorities, and certificates of which only the digests are known.
    pub(crate) fn of(
        certificates: &[CertificateDer<'static>],
        mut authorities: RootCertStore,
        digests: &[Digest],
    ) -> Self {
        let mut themselves: Vec<Digest> = certificates.iter().map(|one| itself::digest(one)).collect();
        themselves.extend_from_slice(digests);
        authorities.add_parsable_certificates(certificates.iter().cloned());
        let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider());
        // Without revocation lists, all that can be wrong is that there is no authority.
        let believed = Believed::Trusted { themselves, by_authority: by_authority.build().ok() };
        Self { believed, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Believed::Trusted { themselves, by_authority } = &self.believed else {
            return Ok(ServerCertVerified::assertion());
        };
        if themselves.contains(&itself::digest(shown)) {
            verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
            itself::check(shown, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        let by_authority = by_authority.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        by_authority.verify_server_cert(shown, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
