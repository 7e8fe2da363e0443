//! Where one crate's trait is another crate's type: the dataplane keeps connections away from the node's pods, the
//! API's authority signs for the controllers.

use async_trait::async_trait;
use hako_api::pki::Pki;
use hako_controllers::CertificateSigner;
use hako_dataplane::Dataplane;
use hako_error::{Error, Kind, Result};
use hako_node::EndpointDrain;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::time::Instant;

/// The dataplane as the node's drain.
pub(super) struct Drain(pub Arc<Dataplane>);

/// The platform's authority as the controllers' signer.
#[derive(Debug)]
pub(super) struct Signer(pub Arc<Pki>);

impl CertificateSigner for Signer {
    fn sign(&self, request_pem: &str, usages: &[String], seconds: i64) -> Result<String> {
        self.0.sign_request(request_pem, usages, seconds)
    }
}

fn v4(ip: IpAddr) -> Result<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => {
            Err(Error::new(Kind::Unimplemented, format!("pod address {ip}: IPv6 pods are not built yet")))
        }
    }
}

#[async_trait]
impl EndpointDrain for Drain {
    async fn withdraw(&self, ip: IpAddr, deadline: Instant) -> Result<()> {
        let withdrawn = self.0.withdraw(v4(ip)?, deadline.into_std()).await?;
        if withdrawn.open_connections > 0 {
            tracing::info!(%ip, open = withdrawn.open_connections, "connections outlived their share of the grace period");
        }
        Ok(())
    }

    async fn readmit(&self, ip: IpAddr) -> Result<()> {
        self.0.readmit(v4(ip)?).await
    }
}
