//! A file that configures the server: as an `AuthenticationConfiguration` and as a `Policy` of the audit. Either is read, or
//! refused with the same words each time, of which there are no more than the file is worth.

use std::path::Path;

use hako_api::{Audit, AuditOptions, External, ExternalOptions};

/// Bytes of what is said, beside what is said of a byte of the file.
const HEAD: usize = 1 << 16;
const EACH: usize = 256;

pub fn run(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file.yaml");
    std::fs::write(&path, data).expect("a file is written");
    for read in [authentication, audit] {
        let (said, again) = (read(&path), read(&path));
        assert_eq!(said, again);
        let length = said.map_or(0, |said| said.len());
        assert!(length <= HEAD + EACH * data.len(), "{length} bytes are said of {}", data.len());
    }
}

fn authentication(path: &Path) -> Option<String> {
    let options =
        ExternalOptions { authentication_config: Some(path.to_owned()), ..ExternalOptions::default() };
    External::load(&options).err().map(|error| error.to_string())
}

/// The log cannot be opened, so that nothing is begun where the policy is good.
fn audit(path: &Path) -> Option<String> {
    let log = Some(path.with_file_name("no/such/directory/log"));
    let options = AuditOptions { policy: Some(path.to_owned()), log, ..AuditOptions::default() };
    Audit::open(&options).err().map(|error| error.to_string())
}
