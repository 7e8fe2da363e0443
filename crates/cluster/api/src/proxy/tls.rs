//! TLS to pods and services: their certificates are their own affair, and nobody here could say whose they should be.

use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;

/// The configuration for servers of which only the address is known.
pub(super) fn unverified() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> =
        LazyLock::new(|| Arc::new(hako_trust::client(hako_trust::anyone()).with_no_client_auth()));
    Arc::clone(&CONFIG)
}
