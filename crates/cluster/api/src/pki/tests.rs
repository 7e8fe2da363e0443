use super::*;
use std::os::unix::fs::PermissionsExt as _;
use x509_parser::pem::Pem;

fn names() -> ServerNames {
    ServerNames { dns: vec!["box".into()], ips: vec![IpAddr::from([10, 96, 0, 1])] }
}

#[test]
fn certificates_are_made_once_and_kept_while_they_fit() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path(), &names()).unwrap();
    let again = Pki::open(dir.path(), &names()).unwrap();
    assert_eq!(first.ca(), again.ca());
    assert_eq!(first.server().pair().certificate, again.server().pair().certificate);
    let wider = ServerNames { ips: vec![IpAddr::from([10, 97, 0, 1])], ..names() };
    let moved = Pki::open(dir.path(), &wider).unwrap();
    assert_ne!(moved.server().pair().certificate, again.server().pair().certificate);
    assert_eq!(moved.admin().certificate, again.admin().certificate);
}

#[test]
fn keys_are_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    Pki::open(dir.path(), &names()).unwrap();
    for name in ["ca.key", "front-proxy-ca.key", "front-proxy-client.key", "apiserver.key", "admin.key"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_damaged_authority_is_named_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    Pki::open(dir.path(), &names()).unwrap();
    std::fs::write(dir.path().join("ca.key"), "rubbish").unwrap();
    let error = Pki::open(dir.path(), &names()).unwrap_err();
    assert_eq!(error.kind(), Kind::DataLoss);
    assert!(error.to_string().contains("ca.key"), "{error}");
}

/// A certificate in PEM, for its checks.
fn ends(certificate: &str) -> i64 {
    end_of(certificate).unwrap()
}

#[test]
fn what_nears_its_end_is_renewed_for_whoever_shows_it_and_in_its_files() {
    let dir = tempfile::tempdir().unwrap();
    // Good for an hour, and near its end from the beginning.
    let lifetimes =
        Lifetimes { certificate: Duration::from_secs(3600), renew_before: Duration::from_secs(7200) };
    let pki = Pki::open_with(dir.path(), &names(), lifetimes).unwrap();
    let node = pki.node_server_renewed("n1", &[]).unwrap();
    let all =
        || [pki.server().pair(), node.pair(), pki.admin_now(), pki.api_client(), pki.front_proxy().pair()];
    let before = all();
    let mut renewals = pki.renewals();
    assert_eq!(pki.renew().unwrap(), 5);
    assert!(renewals.has_changed().unwrap());
    renewals.mark_unchanged();
    let after = all();
    for (old, new) in before.iter().zip(&after) {
        assert_ne!(old.certificate, new.certificate);
        assert_ne!(old.key, new.key);
    }
    let file = std::fs::read_to_string(dir.path().join("apiserver.crt")).unwrap();
    assert_eq!(file, pki.server().pair().certificate);
    drop(pki);
    // With lifetimes as usual nothing that was just made is near its end.
    let pki = Pki::open(dir.path(), &names()).unwrap();
    assert_eq!(pki.renew().unwrap(), 0);
    let year = 365 * 86_400;
    assert!((ends(&pki.server().pair().certificate) - Timestamp::now().as_second() - year).abs() < 600);
}

#[test]
fn an_authority_near_its_end_is_renewed_with_its_key_and_name_so_that_all_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let old = Pki::open(dir.path(), &names()).unwrap();
    // The same authority as if it had been made nine years ago.
    let key = std::fs::read_to_string(dir.path().join("ca.key")).unwrap();
    let aged = authority::aged(old.ca(), &key, 365 * 86_400);
    std::fs::write(dir.path().join("ca.crt"), &aged).unwrap();
    let new = Pki::open(dir.path(), &names()).unwrap();
    assert_ne!(new.ca(), aged);
    assert!(ends(new.ca()) - Timestamp::now().as_second() > 9 * 365 * 86_400);
    assert_eq!(old.server().pair().certificate, new.server().pair().certificate, "still good");
    // Whoever trusts either certificate takes what was and what will be signed.
    let signed_now = new.client("jane", &[]).unwrap();
    for ca in [&aged[..], new.ca()] {
        for leaf in [&signed_now.certificate, &old.admin().certificate] {
            let [ca, leaf] =
                [ca, leaf].map(|pem| Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap());
            let (ca, leaf) = (ca.parse_x509().unwrap(), leaf.parse_x509().unwrap());
            assert_eq!(leaf.issuer(), ca.subject());
            leaf.verify_signature(Some(ca.public_key())).unwrap();
        }
    }
}

#[test]
fn no_certificate_outlasts_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let lifetimes = Lifetimes {
        certificate: Duration::from_secs(20 * 365 * 86_400),
        renew_before: Duration::from_secs(86_400),
    };
    let pki = Pki::open_with(dir.path(), &names(), lifetimes).unwrap();
    assert!(ends(&pki.server().pair().certificate) <= ends(pki.ca()));
}
