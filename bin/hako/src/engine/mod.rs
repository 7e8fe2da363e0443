//! Commands about single containers and images: a client of the Docker Engine API that the platform serves.

mod attach;
mod build;
mod client;
mod images;
mod list;
mod run;

pub(crate) use build::{build, build_image};
pub(crate) use client::{EngineClient, escape};
pub(crate) use images::{image, images, import_busybox};
pub(crate) use list::{exec, logs, ps, rm, stop};
pub(crate) use run::run;
