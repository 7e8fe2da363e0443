//! CertificateSigningRequests: what nodes may always have is approved, what is approved is signed, and what is over
//! goes after a while. Wakes on the request, and when its time is over.
//!
//! | signer | approved here | signed when |
//! |---|---|---|
//! | `kubernetes.io/kube-apiserver-client` | no | it is for a client |
//! | `kubernetes.io/kube-apiserver-client-kubelet` | where the sender may ask for it | it names a node, for a client |
//! | `kubernetes.io/kubelet-serving` | no | it names a node and its addresses, for a server |

mod request;
mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use hako_error::Result;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use std::fmt::Debug;
use std::sync::Arc;

const WORKERS: usize = 2;

/// The cluster's certificate authority.
pub trait CertificateSigner: Debug + Send + Sync + 'static {
    /// Signs a request in PEM: a certificate in PEM for these uses, valid for so many seconds at most.
    fn sign(&self, request_pem: &str, usages: &[String], seconds: i64) -> Result<String>;
}

pub(crate) struct Controller {
    client: Client,
    requests: Informer<CertificateSigningRequest>,
    signer: Arc<dyn CertificateSigner>,
}

pub(crate) async fn run(client: Client, informers: Informers, signer: Arc<dyn CertificateSigner>) {
    let controller = Controller { client, requests: informers.get(), signer };
    let queue = WorkQueue::new();
    tokio::join!(
        wiring::follow(controller.requests.clone(), queue.clone(), |one: &CertificateSigningRequest| vec![
            wiring::key(one)
        ]),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
