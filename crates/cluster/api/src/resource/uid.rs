//! UIDs of new objects.

use std::cell::RefCell;

use rustix::rand::GetRandomFlags;
use uuid::{Builder, Uuid};

const BYTES: usize = 16;
/// How many UIDs the kernel is asked for at once.
const AT_ONCE: usize = 64;

thread_local! {
    /// Random UUIDs for those who come. Each is used once; none is a secret.
    static MADE: RefCell<Vec<[u8; BYTES]>> = const { RefCell::new(Vec::new()) };
}

/// A random UUID (version 4). Asking the kernel for each of them takes as long as encoding a small object.
pub(crate) fn random() -> Uuid {
    let bytes = MADE.with_borrow_mut(|made| {
        made.pop().unwrap_or_else(|| {
            made.extend(many());
            // Where there is no randomness to be had at once, the library waits for it.
            made.pop().unwrap_or_else(|| Uuid::new_v4().into_bytes())
        })
    });
    Builder::from_random_bytes(bytes).into_uuid()
}

fn many() -> Vec<[u8; BYTES]> {
    let mut bytes = [0; BYTES * AT_ONCE];
    match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(length) => bytes[..length].as_chunks::<BYTES>().0.to_vec(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_uid_comes_twice_on_any_thread_and_all_are_random_uuids() {
        let threads = (0..4).map(|_| std::thread::spawn(|| (0..1000).map(|_| random()).collect::<Vec<_>>()));
        let threads: Vec<_> = threads.collect();
        let mut all = HashSet::new();
        for uid in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert_eq!(uid.get_version_num(), 4);
            assert_eq!(uid.get_variant(), uuid::Variant::RFC4122);
            assert!(all.insert(uid));
        }
        assert_eq!(all.len(), 4000);
    }
}
