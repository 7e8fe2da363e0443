//! The identities of the few objects that every request asks about: the account and the pod that its token is of, and
//! the namespace that it creates something in, and the definition of its kind.

use std::collections::HashMap;
use std::sync::Arc;

use hako_kube::Head;
use hako_store::{Entry, Revision};
use jiff::Timestamp;
use parking_lot::RwLock;

/// Objects remembered; one more, and all are read anew.
const REMEMBERED: usize = 1024;

/// Of objects by their key what was read of them at a revision, which never comes again with something else.
#[derive(Debug, Default)]
pub(crate) struct Identities(RwLock<HashMap<Box<[u8]>, Known>>);

#[derive(Debug)]
struct Known {
    modified: Revision,
    identity: Identity,
}

/// Who an object is over time, and its `deletionTimestamp` if it is on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub uid: Arc<str>,
    pub deleted: Option<Timestamp>,
}

impl Identities {
    /// The identity of a stored object.
    ///
    /// # Errors
    /// As [`Head::identity`].
    pub(crate) fn of(&self, entry: &Entry) -> Result<Identity, serde_json::Error> {
        if let Some(known) = self.0.read().get(&entry.key[..]).filter(|it| it.modified == entry.modified) {
            return Ok(known.identity.clone());
        }
        let (uid, deleted) = Head::identity(&entry.value)?;
        let identity = Identity { uid: uid.into(), deleted };
        let known = Known { modified: entry.modified, identity: identity.clone() };
        let mut all = self.0.write();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        // A copy, because the entry's own key would keep all of the entry.
        all.insert(entry.key[..].into(), known);
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn entry(key: &str, modified: u64, uid: &str) -> Entry {
        Entry {
            key: Bytes::from(key.to_owned()),
            value: Bytes::from(format!(r#"{{"metadata":{{"uid":"{uid}"}}}}"#)),
            created: Revision(1),
            modified: Revision(modified),
            lease: None,
        }
    }

    #[test]
    fn an_object_is_read_once_and_again_when_it_has_changed() {
        let identities = Identities::default();
        assert_eq!(&*identities.of(&entry("a", 1, "x")).unwrap().uid, "x");
        assert_eq!(&*identities.of(&entry("a", 1, "not read")).unwrap().uid, "x");
        assert_eq!(&*identities.of(&entry("b", 1, "y")).unwrap().uid, "y");
        assert_eq!(&*identities.of(&entry("a", 2, "z")).unwrap().uid, "z");
        let ending = Entry {
            value: Bytes::from_static(
                br#"{"metadata":{"uid":"z","deletionTimestamp":"2026-01-02T03:04:05Z"}}"#,
            ),
            ..entry("a", 3, "z")
        };
        let deleted = identities.of(&ending).unwrap().deleted;
        assert_eq!(deleted, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_read_is_not_remembered() {
        let identities = Identities::default();
        let damaged = Entry { value: Bytes::from_static(b"{"), ..entry("a", 1, "") };
        assert!(identities.of(&damaged).is_err());
        assert_eq!(&*identities.of(&entry("a", 1, "x")).unwrap().uid, "x");
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let identities = Identities::default();
        for at in 0..=REMEMBERED {
            identities.of(&entry(&at.to_string(), 1, "x")).unwrap();
        }
        assert_eq!(identities.0.read().len(), 1);
    }
}
