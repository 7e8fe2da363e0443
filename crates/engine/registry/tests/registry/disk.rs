//! A disk that gets full below the records.

use crate::support::{Plain, Process};
use hako_names::Digest;
use std::fs;
use std::io::Write as _;
use std::path::Path;

const CONFIG: &str = "{listen: '127.0.0.1:0', collect_every_seconds: 86400}";
const BLOB: &[u8] = b"what all repositories have";
/// More records than fit what the file of records has room for.
const MOST: usize = 20_000;

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for piece in [1 << 16, 1 << 12, 1] {
        while file.write(&vec![1; piece]).is_ok_and(|written| written > 0) {}
    }
}

#[test]
fn records_that_could_not_be_written_are_written_once_the_disk_has_room_and_ready_says_whether_they_can_be_read()
 {
    let dir = tempfile::tempdir().unwrap();
    let registry = Process::start_on(16, dir.path(), CONFIG);
    let client = Plain::new(&registry.host);
    let status = |method: &str, path: &str, body: &[u8]| {
        client.try_send(method, path, &[], body.to_vec()).expect("the registry has ended").status
    };
    let digest = Digest::of(BLOB);
    assert_eq!(status("POST", &format!("/v2/first/blobs/uploads/?digest={digest}"), BLOB), 201);
    let (filler, records) =
        (registry.path(&dir.path().join("filler")), registry.path(&dir.path().join("metadata.redb")));
    fill(&filler);
    // Only a record each: the bytes are there.
    let name = |number: usize| format!("{number}/{}", "long/".repeat(40).trim_end_matches('/'));
    let mount = |number: usize| {
        status("POST", &format!("/v2/{}/blobs/uploads/?mount={digest}&from=first", name(number)), b"")
    };
    let refused = (0..MOST).map(|number| (number, mount(number))).find(|(_, status)| *status != 201);
    let (last, code) = refused.expect("the disk was never full");
    assert_eq!(code, 507, "repository {last}");

    let hidden = records.with_extension("hidden");
    fs::rename(&records, &hidden).unwrap();
    assert_eq!((status("GET", "/readyz", b""), status("GET", "/healthz", b"")), (503, 200));
    assert!(!records.exists(), "records were made anew");
    fs::rename(&hidden, &records).unwrap();
    fs::remove_file(&filler).unwrap();
    assert_eq!(status("GET", "/readyz", b""), 200);
    assert_eq!(mount(last), 201, "without a restart");
    for number in 0..=last {
        assert_eq!(status("HEAD", &format!("/v2/{}/blobs/{digest}", name(number)), b""), 200, "{number}");
    }
}
