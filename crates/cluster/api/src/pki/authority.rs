//! Signing.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as SigningKey, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use x509_parser::pem::Pem;

use super::{KeyPair, PkiError, files};

const DAY_SECONDS: i64 = 86_400;
const CA_SECONDS: i64 = 3650 * DAY_SECONDS;
/// An authority with less than this left is made anew at a start, with its key and its name: what it signed before
/// stays good, and so does what it signs from now on for those who only know the old certificate, until that ends.
const CA_RENEW_SECONDS: i64 = 3 * 365 * DAY_SECONDS;

/// How long certificates are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// From now on; clocks of other machines may be a day behind. None outlasts the authority.
    pub certificate: Duration,
    /// With less than this left one is made anew.
    pub renew_before: Duration,
}

impl Lifetimes {
    /// A year, and the last month of it.
    pub const DEFAULT: Self = Self {
        certificate: Duration::from_secs(365 * 86_400),
        renew_before: Duration::from_secs(30 * 86_400),
    };
}

/// The authority: its certificate and its key.
pub(super) struct Authority {
    certificate: String,
    lifetimes: Lifetimes,
    issuer: Issuer<'static, SigningKey>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// Whom a certificate names and what it is for.
#[derive(Clone, PartialEq)]
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

    fn params(&self, seconds: i64) -> CertificateParams {
        let mut params = dated(seconds);
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
    /// That in `dir/name.{crt,key}`, made if there is none.
    pub(super) fn open(dir: &Path, name: &str, lifetimes: Lifetimes) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        let found = files::read(&certificate_path)?.zip(files::read(&key_path)?);
        let (certificate, key) = match found {
            Some(found) => found,
            None => {
                let pair = make_ca(&new_name(name), new_key()?)?;
                files::write(&key_path, &pair.key, 0o600)?;
                files::write(&certificate_path, &pair.certificate, 0o644)?;
                (pair.certificate, pair.key)
            }
        };
        let damaged = |path: &Path, problem: &dyn std::fmt::Display| PkiError::Damaged {
            path: path.display().to_string(),
            problem: problem.to_string(),
        };
        let read_key = || SigningKey::from_pem(&key).map_err(|error| damaged(&key_path, &error));
        let mut certificate = certificate;
        let (name, ends) = name_and_end(&certificate)
            .ok_or_else(|| damaged(&certificate_path, &"it is no certificate of an authority with a name"))?;
        if ends - Timestamp::now().as_second() < CA_RENEW_SECONDS {
            certificate = make_ca(&name, read_key()?)?.certificate;
            files::write(&certificate_path, &certificate, 0o644)?;
            tracing::info!(path = %certificate_path.display(), "the authority is renewed");
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, read_key()?)
            .map_err(|error| damaged(&certificate_path, &error))?;
        Ok(Self { certificate, lifetimes, issuer })
    }

    pub(super) fn renew_before(&self) -> Duration {
        self.lifetimes.renew_before
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
        let left = self.ends().map_or(i64::MAX, |end| end - Timestamp::now().as_second());
        let seconds = i64::try_from(self.lifetimes.certificate.as_secs()).unwrap_or(i64::MAX).min(left);
        let certificate = purpose.params(seconds).signed_by(&key, &self.issuer).map_err(fault)?;
        Ok(KeyPair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn is_good(&self, certificate: &str, purpose: &Purpose) -> bool {
        let Some(Ok(pem)) = Pem::iter_from_buffer(certificate.as_bytes()).next() else { return false };
        let Some(Ok(ca)) = Pem::iter_from_buffer(self.certificate.as_bytes()).next() else { return false };
        let (Ok(leaf), Ok(ca)) = (pem.parse_x509(), ca.parse_x509()) else { return false };
        let ends = leaf.validity().not_after.timestamp();
        let renew_before = i64::try_from(self.lifetimes.renew_before.as_secs()).unwrap_or(i64::MAX);
        ends - Timestamp::now().as_second() > renew_before
            && purpose.is_covered_by(&leaf)
            && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }
}

/// When a certificate in PEM ends, in Unix seconds.
pub(super) fn end_of(certificate: &str) -> Option<i64> {
    let block = Pem::iter_from_buffer(certificate.as_bytes()).next()?.ok()?;
    Some(block.parse_x509().ok()?.validity().not_after.timestamp())
}

fn name_and_end(certificate: &str) -> Option<(String, i64)> {
    let block = Pem::iter_from_buffer(certificate.as_bytes()).next()?.ok()?;
    let parsed = block.parse_x509().ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some((name, parsed.validity().not_after.timestamp()))
}

fn new_name(name: &str) -> String {
    format!("hako-{name}-{}", Timestamp::now().as_second())
}

fn authority_fault(source: rcgen::Error) -> PkiError {
    PkiError::Sign { name: "the authority".into(), source }
}

fn new_key() -> Result<SigningKey, PkiError> {
    SigningKey::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(authority_fault)
}

fn make_ca(name: &str, key: SigningKey) -> Result<KeyPair, PkiError> {
    make_ca_for(name, key, CA_SECONDS)
}

fn make_ca_for(name: &str, key: SigningKey, seconds: i64) -> Result<KeyPair, PkiError> {
    let mut params = dated(seconds);
    // Another than that of the certificate before, which has the same name and key.
    params.serial_number = Some(u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(1).into());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(authority_fault)?;
    Ok(KeyPair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// From yesterday, since clocks of other machines may be behind, until so many seconds from now.
fn dated(seconds: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let now = Timestamp::now().as_second();
    let at = |second: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(second).unwrap_or(0))
    };
    params.not_before = at(now - DAY_SECONDS);
    params.not_after = at(now.saturating_add(seconds));
    params
}

/// An authority's certificate as it would be with so many seconds left.
#[cfg(test)]
pub(super) fn aged(certificate: &str, key: &str, seconds: i64) -> String {
    let (name, _) = name_and_end(certificate).unwrap();
    make_ca_for(&name, SigningKey::from_pem(key).unwrap(), seconds).unwrap().certificate
}
