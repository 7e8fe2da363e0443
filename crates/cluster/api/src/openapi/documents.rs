//! Documents that were asked for, by what stands for their content: one that is found is never out of date.

use super::Document;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of documents that are remembered; the last one always is.
const REMEMBERED: usize = 24 << 20;

/// Documents by what stands for their content, those made last at the end.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<VecDeque<(String, Arc<Document>)>>);

impl Documents {
    /// The document under a key, made if it is not there.
    pub(super) fn get(&self, key: String, make: impl FnOnce() -> Document) -> Arc<Document> {
        if let Some((_, document)) = self.0.lock().iter().find(|(its, _)| *its == key) {
            return Arc::clone(document);
        }
        // Not under the lock: others need not wait for this one.
        let document = Arc::new(make());
        let mut all = self.0.lock();
        all.push_back((key, Arc::clone(&document)));
        let size = |all: &VecDeque<(String, Arc<Document>)>| -> usize {
            all.iter().map(|(_, document)| document.bytes.len()).sum()
        };
        while all.len() > 1 && size(&all) > REMEMBERED {
            all.pop_front();
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_made_once_and_the_oldest_go_first() {
        let documents = Documents::default();
        let mut made = 0;
        let mut get = |key: &str, bytes: usize| {
            documents.get(key.to_owned(), || {
                made += 1;
                Document::new(vec![0; bytes])
            });
            made
        };
        assert_eq!((get("a", 10), get("a", 10), get("b", 10)), (1, 1, 2));
        assert_eq!(get("large", REMEMBERED), 3);
        assert_eq!((get("large", REMEMBERED), get("a", 10)), (3, 4));
    }
}
