//! TLS to aggregated servers: whom to trust, and the certificate by which they trust what is said of the sender.

use std::sync::Arc;

use hako_error::Result;
use rustls::ClientConfig;

use crate::pki::Issued;
use crate::webhook_client;

/// Trusts the authorities of a bundle, those of the system if there is none, or anybody. Only HTTP/1.1: over HTTP/2 all
/// requests would go to one endpoint.
pub(super) fn config(ca: &[u8], is_insecure: bool, own: &Arc<Issued>) -> Result<Arc<ClientConfig>> {
    let verifier = if is_insecure { hako_trust::anyone() } else { webhook_client::trust(ca)? };
    let mut config = hako_trust::client(verifier).with_client_cert_resolver(Arc::<Issued>::clone(own));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
