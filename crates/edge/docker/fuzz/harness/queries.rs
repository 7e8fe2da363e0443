//! A query: taken, or the client's fault in so many words.

use hako_docker::wire;
use hako_error::Kind;

pub fn run(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    if let Err(error) = wire::query(query) {
        let words = error.chain();
        assert!(!matches!(error.kind(), Kind::Internal | Kind::DataLoss), "{query}: {words}");
        assert!(!words.is_empty() && words.len() <= 16 * data.len() + 4096, "{} bytes", words.len());
    }
}
