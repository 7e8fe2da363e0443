use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn names() -> ServerNames {
    ServerNames { dns: vec!["box".into()], ips: vec![IpAddr::from([10, 96, 0, 1])] }
}

#[test]
fn certificates_are_made_once_and_kept_while_they_fit() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path(), &names()).unwrap();
    let again = Pki::open(dir.path(), &names()).unwrap();
    assert_eq!(first.ca(), again.ca());
    assert_eq!(first.server().certificate, again.server().certificate);
    let wider = ServerNames { ips: vec![IpAddr::from([10, 97, 0, 1])], ..names() };
    let moved = Pki::open(dir.path(), &wider).unwrap();
    assert_ne!(moved.server().certificate, again.server().certificate);
    assert_eq!(moved.admin().certificate, again.admin().certificate);
}

#[test]
fn keys_are_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    Pki::open(dir.path(), &names()).unwrap();
    for name in ["ca.key", "apiserver.key", "admin.key"] {
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
