//! Signing what others ask for with keys of their own.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::PkiError;
use super::authority::{Authority, end_of};

/// Clocks of other machines may be behind.
const BACKDATED_SECONDS: i64 = 300;

impl Authority {
    /// A certificate with the names and the key of a request, for the uses named and so many seconds at most; it does
    /// not outlast the authority's own.
    pub(super) fn sign_request(
        &self,
        request: &str,
        usages: &[String],
        seconds: i64,
    ) -> Result<String, PkiError> {
        let fault = |source| PkiError::Sign { name: "a signing request".to_owned(), source };
        let mut asked = CertificateSigningRequestParams::from_pem(request).map_err(fault)?;
        let now = Timestamp::now().as_second();
        let end = now.saturating_add(seconds).min(self.ends().unwrap_or(i64::MAX));
        let at = |second: i64| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(second).unwrap_or(0))
        };
        asked.params.not_before = at(now - BACKDATED_SECONDS);
        asked.params.not_after = at(end);
        asked.params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        asked.params.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        asked.params.use_authority_key_identifier_extension = true;
        Ok(asked.signed_by(self.issuer()).map_err(fault)?.pem())
    }

    /// When its own certificate ends.
    pub(super) fn ends(&self) -> Option<i64> {
        end_of(self.certificate())
    }
}

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "digital signature" | "signing" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match usage {
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        _ => return None,
    })
}
