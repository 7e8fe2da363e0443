//! Certificates: from files, or from an authority of our own.

use crate::config::Tls;
use hako_error::{Error, Kind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What encrypts connections.
pub(crate) fn acceptor(tls: &Tls, dir: &Path) -> Result<TlsAcceptor> {
    let (chain, key) = match tls {
        Tls::Files { certificate, key } => (read_chain(certificate)?, read_key(key)?),
        Tls::Own { names } => {
            let (chain, key) = own(names, &dir.join("pki"))?;
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
            let chain = chain.map_err(invalid("the certificate"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            (chain, key.map_err(invalid("the certificate's key"))?)
        }
    };
    let mut config = server_config(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What keeps [`acceptor`] from being made, each fault with its field below `tls`. Makes nothing.
pub(crate) fn faults(tls: &Tls, dir: &Path) -> Vec<(&'static str, String)> {
    let (certificate, key) = match tls {
        Tls::Files { certificate, key } => (certificate, key),
        Tls::Own { names } => {
            let pki = dir.join("pki");
            let checked = if names.is_empty() {
                Err(Error::new(Kind::Invalid, "it names nobody"))
            } else if pki.join("ca.crt").exists() {
                own(names, &pki).map(drop)
            } else {
                CertificateParams::new(names.as_slice()).map(drop).map_err(invalid("a name"))
            };
            return checked.err().map(|error| ("own", error.chain())).into_iter().collect();
        }
    };
    match (read_chain(certificate), read_key(key)) {
        (Ok(chain), Ok(key)) => {
            let checked = server_config(chain, key).map(drop);
            checked.err().map(|error| ("key", error.chain())).into_iter().collect()
        }
        (chain, key) => {
            let fault = |field, error: Option<Error>| error.map(|error| (field, error.chain()));
            [fault("certificate", chain.err()), fault("key", key.err())].into_iter().flatten().collect()
        }
    }
}

/// The certificates of a PEM file; at least one.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(read(path)?.as_bytes()).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            let problem = format!("{} holds no certificate in PEM form", path.display());
            Err(Error::new(Kind::Invalid, problem))
        }
        Ok(chain) => Ok(chain),
        Err(error) => {
            let problem = format!("{} is no PEM file of certificates", path.display());
            Err(Error::new(Kind::Invalid, problem).with_source(error))
        }
    }
}

/// The certificates of a PEM file by which a server is believed.
pub(crate) fn read_trusted(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    hako_trust::read(read(path)?.as_bytes()).map_err(|fault| {
        Error::new(Kind::Invalid, format!("{} tells nobody to trust", path.display())).with_source(fault)
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(read(path)?.as_bytes()).map_err(|error| {
        let problem = format!("{} holds no private key in PEM form", path.display());
        Error::new(Kind::Invalid, problem).with_source(error)
    })
}

/// Fails where the key is not that of the chain's first certificate.
fn server_config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(invalid("TLS"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(invalid("the certificate with this key"))
}

fn invalid<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::new(Kind::Invalid, format!("{what} cannot be used")).with_source(error)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        Error::new(Kind::Invalid, format!("cannot read {}", path.display())).with_source(error)
    })
}

/// A certificate of this start for `names`, signed by the authority in `dir`, which is made at the first start.
fn own(names: &[String], dir: &Path) -> Result<(String, String)> {
    let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
    if !certificate_path.exists() {
        make_authority(dir, &certificate_path, &key_path)?;
    }
    let authority_key = KeyPair::from_pem(&read(&key_path)?).map_err(invalid("the authority's key"))?;
    let authority = read(&certificate_path)?;
    let issuer = Issuer::from_ca_cert_pem(&authority, authority_key).map_err(invalid("the authority"))?;
    let mut params = CertificateParams::new(names).map_err(invalid("a name of tls.own"))?;
    params.distinguished_name.push(DnType::CommonName, "hako registry");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(invalid("a new key"))?;
    let leaf = params.signed_by(&key, &issuer).map_err(invalid("a new certificate"))?;
    Ok((leaf.pem() + &authority, key.serialize_pem()))
}

/// The key is written first: a certificate that is there has its key.
fn make_authority(dir: &Path, certificate_path: &Path, key_path: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "hako registry authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(invalid("a new key"))?;
    let certificate = params.self_signed(&key).map_err(invalid("a new authority"))?;
    std::fs::create_dir_all(dir).map_err(unwritten(dir))?;
    write(key_path, &key.serialize_pem(), 0o600).map_err(unwritten(key_path))?;
    write(certificate_path, &certificate.pem(), 0o644).map_err(unwritten(certificate_path))
}

fn unwritten(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |error| Error::new(Kind::Internal, format!("cannot write {}", path.display())).with_source(error)
}

/// Whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
