//! Commands about single containers, images, registries and disk space: a client of the Docker Engine API that the
//! platform serves.

mod archive;
mod attach;
mod build;
mod client;
mod credentials;
mod images;
mod list;
mod remote;
mod run;
mod system;
mod transfer;

pub(crate) use archive::{load, save};
pub(crate) use build::{BuildArgs, build, build_image, of_directory, take_output};
pub(crate) use client::{EngineClient, escape};
pub(crate) use images::{history, human_size, image, images, import_busybox, inspect, rmi, tag};
pub(crate) use list::{exec, logs, ps, rm, stop};
pub(crate) use remote::{login, logout, pull, push};
pub(crate) use run::run;
pub(crate) use system::system;
