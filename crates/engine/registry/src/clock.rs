//! Seconds since 1970, as records hold them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
