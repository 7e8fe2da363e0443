//! What `/metrics` tells, in the names of kube-apiserver.
//!
//! Owns: counts of requests by what they were about ([`requests`]), of objects ([`objects`]) and of this process
//! ([`process`]), of the time that expressions take ([`cel`]), and the text they are told in.
//! Does not own: the counts of flow control, which keeps them beside what it counts.
//!
//! Invariant: labels are names from the table of kinds or fixed ones, never a client's words, so that no client can
//! make the page grow.

pub(crate) mod cel;
mod histogram;
mod objects;
mod page;
mod process;
mod requests;
mod summary;
mod text;

pub(crate) use histogram::Histogram;
pub(crate) use objects::Objects;
pub(crate) use page::{page, slis};
pub(crate) use requests::{Key, Requests};
pub(crate) use summary::Summary;
pub(crate) use text::{CONTENT_TYPE, Text};
