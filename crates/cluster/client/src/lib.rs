//! The client of the Kubernetes-compatible API: one trait, in-process and HTTP transports, same semantics.
//!
//! Owns: requests and their parameters, typed and dynamic access ([`Api`], [`DynamicApi`]), decoding of
//! errors and watches, shared caches ([`Informers`]), work queues ([`WorkQueue`]) and events ([`Recorder`]).
//! Does not own: what the server does with a request; no admission, validation or defaulting happens here.
//!
//! Invariant: nothing above [`Transport`] can tell whether the server is in the same process.

mod api;
mod client;
mod dynamic;
mod error;
mod http_transport;
mod informer;
mod informers;
mod kubeconfig;
mod params;
mod query;
mod queue;
mod recorder;
mod transport;
mod watch;

pub use api::{Api, List, Object};
pub use client::Client;
pub use dynamic::{DynamicApi, ResourceType};
pub use error::{ClientError, is_expired};
pub use http_transport::{Dial, HttpTransport, Tls};
pub use informer::{Change, Changes, Informer};
pub use informers::Informers;
pub use kubeconfig::Kubeconfig;
pub use params::{DeleteOptions, ListParams, Patch, Propagation, WriteOptions};
pub use queue::{Work, WorkQueue};
pub use recorder::{EventType, Recorder, reference_to};
pub use transport::{Body, Transport, body_from, empty_body};
pub use watch::{WatchEvent, WatchStream};
