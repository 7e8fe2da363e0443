use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use rustls::{CertificateError, Error};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

const NAME: &str = "hook.example.com";

/// A server's own certificate as `openssl req -x509` makes it, valid in the years 2020 to 2029.
fn own(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

/// What is said of a certificate under a name in a year.
fn verify(
    verifier: &Arc<dyn ServerCertVerifier>,
    shown: &CertificateDer<'static>,
    name: &'static str,
    year: i32,
) -> Result<(), Error> {
    let seconds = date_time_ymd(year, 6, 1).unix_timestamp();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap()));
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(shown, &[], &name, &[], now).map(|_| ())
}

#[test]
fn an_authoritys_certificate_that_is_trusted_itself_is_believed_for_its_name_time_and_purpose() {
    let it = own(|_| {});
    let given = std::slice::from_ref(&it);
    let machine = Machine { authorities: RootCertStore::empty(), digests: vec![itself::digest(&it)] };
    let of_machine = Verifier::of(&[], machine.authorities, &machine.digests);
    for trusting in [only(given), machine_and(given), Arc::new(of_machine)] {
        assert_eq!(verify(&trusting, &it, NAME, 2025), Ok(()));
        let other_name = verify(&trusting, &it, "other.example.com", 2025).unwrap_err();
        assert!(
            matches!(other_name, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
            "{other_name:?}"
        );
        for (year, expected) in [(2019, CertificateError::NotValidYet), (2030, CertificateError::Expired)] {
            assert_eq!(verify(&trusting, &it, NAME, year), Err(expected.into()));
        }
    }
    let of_clients = own(|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let trusting = only(std::slice::from_ref(&of_clients));
    assert_eq!(verify(&trusting, &of_clients, NAME, 2025), Err(CertificateError::InvalidPurpose.into()));
}

#[test]
fn an_authoritys_certificate_that_only_looks_like_the_trusted_one_is_not_believed() {
    let (it, like_it) = (own(|_| {}), own(|_| {}));
    assert!(verify(&only(&[it]), &like_it, NAME, 2025).is_err());
}

#[test]
fn who_trusts_nobody_believes_nobody_and_who_looks_at_nothing_anybody() {
    let it = own(|_| {});
    assert_eq!(verify(&only(&[]), &it, NAME, 2025), Err(CertificateError::UnknownIssuer.into()));
    assert_eq!(verify(&anyone(), &it, "other.example.com", 2019), Ok(()));
}

#[test]
fn a_text_tells_whom_to_trust_only_if_all_of_it_can_be_trusted() {
    let (key, params) =
        (KeyPair::generate().unwrap(), CertificateParams::new(vec![NAME.to_owned()]).unwrap());
    let good = params.self_signed(&key).unwrap().pem();
    assert_eq!(read(format!("{good}{good}").as_bytes()).unwrap().len(), 2);
    assert!(matches!(read(b"").unwrap_err(), Fault::Empty));
    assert!(matches!(read(key.serialize_pem().as_bytes()).unwrap_err(), Fault::Empty));
    let damaged = good.replace("-----END", "*-----END");
    assert!(matches!(read(damaged.as_bytes()).unwrap_err(), Fault::Unreadable(_)));
    let no_certificate = key.serialize_pem().replace("PRIVATE KEY", "CERTIFICATE");
    assert!(matches!(read(format!("{good}{no_certificate}").as_bytes()).unwrap_err(), Fault::Unfit(_)));
}
