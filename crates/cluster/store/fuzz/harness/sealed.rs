//! A value in the database under a sealed prefix: it is what was sealed under this name, was never sealed, or cannot be read.

use std::sync::{Arc, LazyLock};

use hako_store::{Embedded, Expect, Range, Sealed, Store, Write};
use tokio::runtime::{Builder, Runtime};

const NAME: &str = "sealed/a";
/// The shortest that can be sealed: the mark, the key's name, the salt.
const HEAD: usize = 44;
pub const VALUE: &str = r#"{"kind":"Secret"}"#;

struct Bed {
    runtime: Runtime,
    beneath: Arc<Embedded>,
    sealed: Sealed,
}

static BED: LazyLock<Bed> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let (beneath, sealed) = runtime.block_on(async {
        let beneath = Arc::new(Embedded::open(dir.path().join("store")).expect("a store"));
        let below: Arc<dyn Store> = Arc::clone(&beneath) as _;
        let keys = dir.path().join("keys");
        (beneath, Sealed::open(below, keys, vec!["sealed/".into()]).await.expect("a sealed store"))
    });
    // Nobody would remove it in the end; the store goes on with the file that it has.
    dir.close().expect("it goes");
    Bed { runtime, beneath, sealed }
});

/// What [`VALUE`] is sealed as.
pub fn good() -> Vec<u8> {
    static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
        BED.runtime.block_on(async {
            BED.sealed.write(Write::put(NAME, VALUE, Expect::Any)).await.expect("written");
            BED.beneath.get(NAME.as_bytes()).await.expect("a read").entry.expect("it is there").value.to_vec()
        })
    });
    GOOD.clone()
}

pub fn run(data: &[u8]) {
    let good = good();
    BED.runtime.block_on(async {
        BED.beneath.write(Write::put(NAME, data.to_vec(), Expect::Any)).await.expect("written");
        let read = BED.sealed.get(NAME.as_bytes()).await;
        let listed = BED.sealed.range(Range::all("sealed/")).await;
        match (read, listed) {
            (Ok(read), Ok(page)) => {
                assert_eq!(page.entries.first(), read.entry.as_ref());
                let value = read.entry.expect("it is there").value.clone();
                assert_eq!(
                    value,
                    if data == good { VALUE.as_bytes() } else { data },
                    "opened, and not as it was sealed"
                );
                assert!(data == good || !data.starts_with(&good[..4]) || data.len() < HEAD);
            }
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            (read, listed) => panic!("{read:?}, {listed:?}"),
        }
    });
}
