//! Signing.

use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as SigningKey, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use x509_parser::pem::Pem;

use super::{KeyPair, PkiError, files};

const DAY_SECONDS: i64 = 86_400;
const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;
/// Certificates with less than this left are made anew.
const RENEW_DAYS: i64 = 30;

/// The authority: its certificate and its key.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, SigningKey>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// Whom a certificate names and what it is for.
pub(super) struct Purpose {
    common_name: String,
    organizations: Vec<String>,
    alternatives: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
}

impl Purpose {
    pub(super) fn client(user: &str, groups: &[&str]) -> Self {
        Self {
            common_name: user.to_owned(),
            organizations: groups.iter().map(|&group| group.to_owned()).collect(),
            alternatives: Vec::new(),
            usage: ExtendedKeyUsagePurpose::ClientAuth,
        }
    }

    pub(super) fn server(name: &str, dns: &[String], ips: &[IpAddr]) -> Self {
        let mut alternatives: Vec<SanType> =
            dns.iter().filter_map(|name| name.as_str().try_into().ok().map(SanType::DnsName)).collect();
        alternatives.extend(ips.iter().copied().map(SanType::IpAddress));
        Self {
            common_name: name.to_owned(),
            organizations: Vec::new(),
            alternatives,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = dated(LEAF_DAYS);
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        for organization in &self.organizations {
            params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
        }
        params.subject_alt_names.clone_from(&self.alternatives);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// Whether a certificate still names all that this purpose names.
    fn is_covered_by(&self, certificate: &x509_parser::certificate::X509Certificate<'_>) -> bool {
        use x509_parser::extensions::GeneralName;
        let names = certificate.subject_alternative_name().ok().flatten();
        let has = |wanted: &SanType| {
            names.iter().flat_map(|names| &names.value.general_names).any(|name| match (name, wanted) {
                (GeneralName::DNSName(name), SanType::DnsName(wanted)) => *name == wanted.as_str(),
                (GeneralName::IPAddress(bytes), SanType::IpAddress(IpAddr::V4(ip))) => *bytes == ip.octets(),
                (GeneralName::IPAddress(bytes), SanType::IpAddress(IpAddr::V6(ip))) => *bytes == ip.octets(),
                _ => false,
            })
        };
        self.alternatives.iter().all(has)
    }
}

impl Authority {
    pub(super) fn open(dir: &Path) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let found = files::read(&certificate_path)?.zip(files::read(&key_path)?);
        let (certificate, key) = match found {
            Some(found) => found,
            None => {
                let pair = make_ca()?;
                files::write(&key_path, &pair.key, 0o600)?;
                files::write(&certificate_path, &pair.certificate, 0o644)?;
                (pair.certificate, pair.key)
            }
        };
        let damaged = |path: &Path, problem: &dyn std::fmt::Display| PkiError::Damaged {
            path: path.display().to_string(),
            problem: problem.to_string(),
        };
        let key = SigningKey::from_pem(&key).map_err(|error| damaged(&key_path, &error))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|error| damaged(&certificate_path, &error))?;
        Ok(Self { certificate, issuer })
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, SigningKey> {
        &self.issuer
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The pair in `dir/name.{crt,key}`, made anew if it is missing, near its end, or not what is wanted.
    pub(super) fn pair(&self, dir: &Path, name: &str, purpose: &Purpose) -> Result<KeyPair, PkiError> {
        let (certificate_path, key_path) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        if let Some((certificate, key)) = files::read(&certificate_path)?.zip(files::read(&key_path)?)
            && self.is_good(&certificate, purpose)
        {
            return Ok(KeyPair { certificate, key });
        }
        let pair = self.sign(purpose)?;
        files::write(&key_path, &pair.key, 0o600)?;
        files::write(&certificate_path, &pair.certificate, 0o644)?;
        Ok(pair)
    }

    pub(super) fn sign(&self, purpose: &Purpose) -> Result<KeyPair, PkiError> {
        let fault = |source| PkiError::Sign { name: purpose.common_name.clone(), source };
        let key = SigningKey::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
        let certificate = purpose.params().signed_by(&key, &self.issuer).map_err(fault)?;
        Ok(KeyPair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn is_good(&self, certificate: &str, purpose: &Purpose) -> bool {
        let Some(Ok(pem)) = Pem::iter_from_buffer(certificate.as_bytes()).next() else { return false };
        let Some(Ok(ca)) = Pem::iter_from_buffer(self.certificate.as_bytes()).next() else { return false };
        let (Ok(leaf), Ok(ca)) = (pem.parse_x509(), ca.parse_x509()) else { return false };
        let ends = leaf.validity().not_after.timestamp();
        ends - Timestamp::now().as_second() > RENEW_DAYS * DAY_SECONDS
            && purpose.is_covered_by(&leaf)
            && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }
}

fn make_ca() -> Result<KeyPair, PkiError> {
    let fault = |source| PkiError::Sign { name: "the authority".into(), source };
    let mut params = dated(CA_DAYS);
    params.distinguished_name.push(DnType::CommonName, format!("hako-ca-{}", Timestamp::now().as_second()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = SigningKey::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
    let certificate = params.self_signed(&key).map_err(fault)?;
    Ok(KeyPair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Whole days, beginning yesterday: clocks of other machines may be behind.
fn dated(days: i64) -> CertificateParams {
    let today = Timestamp::now().as_second() / DAY_SECONDS * DAY_SECONDS;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let day = |unix_seconds: i64| {
        let date =
            Timestamp::from_second(unix_seconds).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        let number = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), number(date.month()), number(date.day()))
    };
    params.not_before = day(today - DAY_SECONDS);
    params.not_after = day(today + days * DAY_SECONDS);
    params
}
