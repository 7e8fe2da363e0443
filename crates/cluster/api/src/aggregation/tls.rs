//! TLS to aggregated servers: whom to trust, and the certificate by which they trust what is said of the sender.

use std::sync::Arc;

use hako_error::{Error, Kind, Result};
use rustls::ClientConfig;

use crate::pki::Issued;
use crate::{proxy, webhook_client};

/// Trusts the authorities of a bundle, those of the system if there is none, or anybody. Only HTTP/1.1: over HTTP/2 all
/// requests would go to one endpoint.
pub(super) fn config(ca: &[u8], is_insecure: bool, own: &Arc<Issued>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Internal, "TLS configuration").with_source(error))?;
    let builder = if is_insecure {
        builder.dangerous().with_custom_certificate_verifier(proxy::any_server())
    } else {
        webhook_client::trust(builder, ca)?
    };
    let mut config = builder.with_client_cert_resolver(Arc::<Issued>::clone(own));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
