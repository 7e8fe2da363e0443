//! Whom to trust.

use std::sync::Arc;

use hako_client::Tls;
use hako_error::{Error, Kind, Result};
use hako_trust::Fault;
use rustls::client::danger::ServerCertVerifier;

/// TLS that trusts the authorities of a bundle, or those of the system if there is none. Only HTTP/1.1, as upstream:
/// over HTTP/2 all calls would go to one endpoint.
pub(super) fn trusting(ca: &[u8]) -> Result<Tls> {
    let mut config = hako_trust::client(trust(ca)?).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls::of(Arc::new(config)))
}

/// Whom a bundle says to believe.
pub(crate) fn trust(ca: &[u8]) -> Result<Arc<dyn ServerCertVerifier>> {
    if ca.is_empty() {
        return Ok(hako_trust::machine_and(&[]));
    }
    let trusted = hako_trust::read(ca).map_err(|fault| match fault {
        Fault::Empty => {
            let why = "unable to load root certificates: unable to parse bytes as PEM block";
            Error::new(Kind::Invalid, why)
        }
        fault => Error::new(Kind::Invalid, "unable to load root certificates").with_source(fault),
    })?;
    Ok(hako_trust::only(&trusted))
}
