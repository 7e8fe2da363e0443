//! A request to build: taken, or the client's fault in so many words.

use hako_docker::wire;
use hako_error::Kind;

pub fn run(data: &[u8]) {
    if let Err(error) = wire::solve(data) {
        let words = error.chain();
        assert!(!matches!(error.kind(), Kind::Internal | Kind::DataLoss), "{words}");
        assert!(!words.is_empty() && words.len() <= 16 * data.len() + 4096, "{} bytes", words.len());
    }
}
