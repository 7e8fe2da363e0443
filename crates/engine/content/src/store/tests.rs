use super::*;
use crate::Expected;
use hako_error::Kind;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io::Write;

fn store() -> (tempfile::TempDir, ContentStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ContentStore::open(dir.path()).unwrap();
    (dir, store)
}

fn ingests(dir: &Path) -> usize {
    fs::read_dir(dir.join("ingest")).unwrap().count()
}

#[test]
fn what_was_written_reads_back_by_its_digest() {
    let (dir, store) = store();
    let mut writer = store.writer("a test").unwrap();
    writer.write_all(b"hello ").unwrap();
    writer.append(b"world").unwrap();
    assert!(store.list().unwrap().is_empty(), "nothing is visible before commit");
    let blob = writer.commit(Digest::of(b"hello world")).unwrap();
    assert_eq!(blob.size, 11);
    assert_eq!(store.read(blob.digest).unwrap(), b"hello world");
    assert_eq!(store.list().unwrap(), [blob]);
    store.verify(blob.digest).unwrap();
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn what_is_finished_is_known_and_neither_seen_nor_kept_before_it_is_committed() {
    let (dir, store) = store();
    let lease = store.lease("build", Duration::from_secs(60)).unwrap();
    let written = || {
        let mut writer = store.writer("a layer").unwrap().under(&lease);
        writer.append(b"hello").unwrap();
        writer.finish(Expected::default()).unwrap()
    };
    let finished = written();
    assert_eq!(finished.blob(), Blob { digest: Digest::of(b"hello"), size: 5 });
    assert!(!store.exists(finished.blob().digest) && ingests(dir.path()) == 1);
    drop(finished);
    assert_eq!(ingests(dir.path()), 0);
    let blob = written().commit().unwrap();
    assert_eq!((store.list().unwrap(), ingests(dir.path())), (vec![blob], 0));
    assert_eq!(store.collect(|_| Ok(HashSet::new())).unwrap(), [], "it is under its lease");
}

#[test]
fn blobs_that_are_committed_together_are_all_there_or_leave_nothing() {
    let (dir, store) = store();
    let lease = store.lease("image", Duration::from_secs(60)).unwrap();
    let staged = |bytes: &[u8]| store.stage("a document", bytes, &lease).unwrap();
    // Two may have the same bytes.
    let all = [b"one".as_slice(), b"two", b"two"].map(|bytes| staged(bytes).unwrap());
    assert!(store.list().unwrap().is_empty());
    store.commit_all(all.into()).unwrap();
    assert_eq!((store.list().unwrap().len(), ingests(dir.path())), (2, 0));
    assert!(staged(b"one").is_none(), "it is there");
    assert_eq!(store.collect(|_| Ok(HashSet::new())).unwrap(), [], "they are under their lease");
    let all = [staged(b"three").unwrap(), staged(b"four").unwrap()];
    // Nothing can appear there any more.
    fs::remove_dir_all(dir.path().join("blobs")).unwrap();
    store.commit_all(all.into()).unwrap_err();
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn a_mismatch_names_both_sides_and_leaves_nothing() {
    let (dir, store) = store();
    let mut writer = store.writer("layer of x").unwrap();
    writer.append(b"abc").unwrap();
    let error = writer.commit(Digest::of(b"abd")).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    for part in ["layer of x", &Digest::of(b"abc").to_string(), &Digest::of(b"abd").to_string()] {
        assert!(error.chain().contains(part), "{error:?}");
    }
    let mut writer = store.writer("layer of x").unwrap();
    writer.append(b"abc").unwrap();
    let error = writer.commit(Expected { size: Some(4), digest: None }).unwrap_err();
    assert!(error.chain().contains("expected 4 bytes but got 3"), "{error:?}");
    assert!(store.list().unwrap().is_empty());
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn the_same_bytes_twice_are_one_blob() {
    let (dir, store) = store();
    let first = store.put("x", b"same", None).unwrap();
    assert_eq!(store.put("x", b"same", None).unwrap(), first);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn a_dropped_writer_and_a_dead_process_leave_no_ingest() {
    let (dir, store) = store();
    let mut writer = store.writer("x").unwrap();
    writer.append(b"half").unwrap();
    drop(writer);
    assert_eq!(ingests(dir.path()), 0);
    fs::write(dir.path().join("ingest/1-1"), b"half").unwrap();
    ContentStore::open(dir.path()).unwrap();
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn damage_on_disk_is_noticed() {
    let (_dir, store) = store();
    let blob = store.put("x", b"sound", None).unwrap();
    fs::write(store.path(blob.digest), b"rot").unwrap();
    assert_eq!(store.read(blob.digest).unwrap_err().kind(), Kind::DataLoss);
    assert_eq!(store.verify(blob.digest).unwrap_err().kind(), Kind::DataLoss);
}

#[test]
fn a_missing_blob_is_not_found_by_name() {
    let (_dir, store) = store();
    let digest = Digest::of(b"nowhere");
    for error in [store.read(digest).unwrap_err(), store.delete(digest).unwrap_err()] {
        assert!(error.is_not_found() && error.chain().contains(&digest.to_string()), "{error:?}");
    }
}

#[test]
fn collection_spares_what_is_kept_or_leased() {
    let (dir, store) = store();
    let lease = store.lease("build-1", Duration::from_secs(60)).unwrap();
    let leased = store.put("x", b"leased", Some(&lease)).unwrap();
    let kept = store.put("x", b"kept", None).unwrap();
    let loose = store.put("x", b"loose", None).unwrap();
    let collect = |store: &ContentStore| store.collect(|_| Ok(HashSet::from([kept.digest]))).unwrap();
    assert_eq!(collect(&store), [loose]);
    assert_eq!(store.delete(leased.digest).unwrap_err().kind(), Kind::FailedPrecondition);
    // Another process after a crash finds the lease again.
    let reopened = ContentStore::open(dir.path()).unwrap();
    assert!(collect(&reopened).is_empty());
    drop(lease);
    assert_eq!(collect(&store), [leased]);
}

#[test]
fn an_expired_lease_protects_nothing() {
    let (dir, store) = store();
    let lease = store.lease("old", Duration::from_secs(60)).unwrap();
    let blob = store.put("x", b"x", Some(&lease)).unwrap();
    let file = dir.path().join("leases/old.json");
    let text = format!(r#"{{"expires_unix_s":1,"blobs":["{}"]}}"#, blob.digest);
    fs::write(&file, text).unwrap();
    let reopened = ContentStore::open(dir.path()).unwrap();
    assert!(!file.exists());
    assert_eq!(reopened.collect(|_| Ok(HashSet::new())).unwrap(), [blob]);
}

#[test]
fn a_lease_id_cannot_leave_its_directory() {
    let (_dir, store) = store();
    for id in ["", "../x", ".hidden", "a/b"] {
        assert_eq!(store.lease(id, Duration::from_secs(1)).unwrap_err().kind(), Kind::Invalid, "{id}");
    }
}

/// Runs `test` in a mount namespace of its own with a 1 MiB file system; both end with the thread.
fn on_a_tiny_disk(test: impl FnOnce(&Path) + Send + 'static) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>).unwrap();
        let dir = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
        test(dir.path());
        nix::mount::umount(dir.path()).unwrap();
    };
    std::thread::spawn(run).join().unwrap();
}

#[test]
fn a_full_disk_is_exhausted_names_the_blob_and_leaves_nothing() {
    on_a_tiny_disk(|dir| {
        let store = ContentStore::open(dir).unwrap();
        let mut writer = store.writer("layer of big").unwrap();
        let error = loop {
            if let Err(error) = writer.append(&[7; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(error.kind(), Kind::Exhausted);
        assert!(error.chain().contains("layer of big"), "{error:?}");
        let error = writer.write_all(&[7; 1 << 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(writer);
        assert_eq!(ingests(dir), 0);
        assert!(store.list().unwrap().is_empty());
        store.put("small", b"fits again", None).unwrap();
    });
}

#[test]
fn what_a_full_disk_keeps_from_being_committed_leaves_nothing() {
    on_a_tiny_disk(|dir| {
        let store = ContentStore::open(dir).unwrap();
        let lease = store.lease("held", Duration::from_secs(60)).unwrap();
        let bytes = [7; 1 << 16];
        let mut writer = store.resume(Digest::of(&bytes), "layer of big").unwrap().under(&lease);
        writer.append(&bytes).unwrap();
        let filler = fs::File::create(dir.join("filler")).unwrap();
        while (&filler).write_all(&[7; 4096]).is_ok() {}
        let error = writer.commit(Digest::of(&bytes)).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
        assert_eq!(ingests(dir), 0);
    });
}

/// What a writer of `digest` finds of an earlier attempt.
fn left_of(store: &ContentStore, digest: Digest, limit: u64) -> Vec<u8> {
    let mut found = Vec::new();
    let mut writer = store.resume(digest, "again").unwrap();
    writer
        .replay(limit, |piece| {
            found.extend(piece);
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn a_known_blob_is_continued_also_by_another_process() {
    let (dir, store) = store();
    let digest = Digest::of(b"hello world");
    let mut writer = store.resume(digest, "first").unwrap();
    writer.append(b"hello").unwrap();
    drop(writer);
    let store = ContentStore::open(dir.path()).unwrap();
    assert_eq!(left_of(&store, digest, 4), b"hell", "what is too much is cut off");
    let mut writer = store.resume(digest, "second").unwrap();
    assert_eq!(writer.replay(11, |_| Ok(())).unwrap(), 4);
    writer.append(b"o world").unwrap();
    writer.commit(digest).unwrap();
    assert_eq!(store.read(digest).unwrap(), b"hello world");
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn wrong_and_discarded_bytes_are_not_continued() {
    let (dir, store) = store();
    let digest = Digest::of(b"hello");
    let mut writer = store.resume(digest, "x").unwrap();
    writer.append(b"jello").unwrap();
    writer.commit(digest).unwrap_err();
    assert_eq!(ingests(dir.path()), 0);
    let mut writer = store.resume(digest, "x").unwrap();
    writer.append(b"he").unwrap();
    writer.discard();
    drop(writer);
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn two_writers_of_one_blob_do_not_share_a_file() {
    let (dir, store) = store();
    let digest = Digest::of(b"hello");
    let mut first = store.resume(digest, "x").unwrap();
    let mut second = store.resume(digest, "x").unwrap();
    first.append(b"he").unwrap();
    second.append(b"hello").unwrap();
    second.commit(digest).unwrap();
    first.append(b"llo").unwrap();
    first.commit(digest).unwrap();
    assert_eq!(store.read(digest).unwrap(), b"hello");
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn an_old_start_of_a_blob_goes_when_the_store_is_opened() {
    let (dir, store) = store();
    let mut writer = store.resume(Digest::of(b"x"), "x").unwrap();
    writer.append(b"start").unwrap();
    drop(writer);
    let path = fs::read_dir(dir.path().join("ingest")).unwrap().next().unwrap().unwrap().path();
    let old = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
    File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    ContentStore::open(dir.path()).unwrap();
    assert_eq!(ingests(dir.path()), 0);
}

#[test]
fn what_is_touched_while_a_collection_runs_survives_it() {
    let (_dir, store) = store();
    let lease = store.lease("early", Duration::from_secs(60)).unwrap();
    let early = store.put("x", b"leased before, named and released meanwhile", Some(&lease)).unwrap();
    let loose = store.put("x", b"wanted by nobody", None).unwrap();
    let found = store.put("x", b"found here meanwhile", None).unwrap();
    let mut lease = Some(lease);
    let deleted = store
        .collect(|_| {
            // What a pull does between the question and the deletion.
            drop(lease.take());
            let other = store.lease("other", Duration::from_secs(60)).unwrap();
            other.protect(found.digest).unwrap();
            Ok(HashSet::new())
        })
        .unwrap();
    assert_eq!(deleted, [loose]);
    assert!(store.exists(early.digest) && store.exists(found.digest));
    let mut deleted = store.collect(|_| Ok(HashSet::new())).unwrap();
    deleted.sort_by_key(|blob| blob.size);
    assert_eq!(deleted, [found, early]);
}

#[test]
fn a_collection_among_candidates_looks_at_these_and_at_what_leases_let_go_of() {
    let (_dir, store) = store();
    let put = |text: &str, lease| store.put(text, text.as_bytes(), lease).unwrap();
    let lease = store.lease("pull", Duration::from_secs(60)).unwrap();
    let others: Vec<Blob> = (0..40).map(|number| put(&format!("other {number}"), None)).collect();
    let (named, leased, loose) = (put("named", None), put("leased", Some(&lease)), put("loose", None));
    let among = |candidates: &[Blob], keep: &[Blob]| {
        let mut looked_at = 0;
        let candidates: Vec<Digest> = candidates.iter().map(|blob| blob.digest).collect();
        let deleted = store.collect_among(candidates, |count| {
            looked_at = count;
            Ok(keep.iter().map(|blob| blob.digest).collect())
        });
        (looked_at, deleted.unwrap())
    };
    assert_eq!(among(&[named, leased, loose], &[named]), (3, vec![loose]));
    drop(lease);
    assert_eq!(among(&[], &[]), (1, vec![leased]), "the lease let go of it");
    assert_eq!(among(&[], &[]), (0, vec![]));
    assert_eq!(store.list().unwrap().len(), others.len() + 1, "what is no candidate is not looked at");
}

#[test]
fn a_collection_that_fails_leaves_what_it_had_to_look_at_to_the_next_one() {
    let (_dir, store) = store();
    let lease = store.lease("pull", Duration::from_secs(60)).unwrap();
    let leased = store.put("x", b"leased", Some(&lease)).unwrap();
    let loose = store.put("x", b"loose blob", None).unwrap();
    drop(lease);
    let failed = || Err(ContentError::Damaged { digest: leased.digest, actual: loose.digest }.into());
    assert!(store.collect_among([loose.digest], |_| failed()).is_err());
    assert!(store.collect(|_| failed()).is_err());
    let mut deleted = store.collect_among([], |_| Ok(HashSet::new())).unwrap();
    deleted.sort_by_key(|blob| blob.size);
    assert_eq!(deleted, [leased, loose]);
}

#[test]
fn a_blob_that_cannot_be_removed_keeps_no_other_from_going_and_is_tried_again() {
    let (_dir, store) = store();
    let all: Vec<Blob> = (0..4).map(|at| store.put("x", format!("{at}").as_bytes(), None).unwrap()).collect();
    let stuck = store.path(all[0].digest);
    // What is mounted over in this thread's namespace is busy.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some(&store.path(all[1].digest)), &stuck, none, MsFlags::MS_BIND, none).unwrap();
    assert_eq!(store.collect(|_| Ok(HashSet::new())).unwrap().len(), 3);
    assert_eq!(store.collect(|_| Ok(HashSet::new())).unwrap(), []);
    nix::mount::umount(&stuck).unwrap();
    assert_eq!(store.collect_among([], |_| Ok(HashSet::new())).unwrap(), [all[0]]);
    assert!(store.list().unwrap().is_empty());
}
