//! The embedded store passes the suite that every store passes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use hako_store::{Embedded, EmbeddedConfig};

async fn store() -> (Embedded, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config =
        EmbeddedConfig { progress_interval: Duration::from_millis(20), ..EmbeddedConfig::new(dir.path()) };
    (Embedded::open_with(config).unwrap(), dir)
}

hako_store::contract_suite!(store());
