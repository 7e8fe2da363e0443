//! The body of a container that is to be made: taken, or the client's fault in so many words, the same each time.

use std::sync::LazyLock;

use hako_docker::wire;
use hako_error::Kind;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

pub fn run(data: &[u8]) {
    let judged = || RUNTIME.block_on(wire::container(data)).map_err(|error| (error.kind(), error.chain()));
    let first = judged();
    assert_eq!(first, judged());
    if let Err((kind, words)) = first {
        assert!(!matches!(kind, Kind::Internal | Kind::DataLoss | Kind::Unavailable), "{kind:?}: {words}");
        assert!(!words.is_empty() && words.len() <= 16 * data.len() + 4096, "{} bytes", words.len());
    }
}
