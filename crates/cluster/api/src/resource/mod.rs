//! The one path of all kinds.
//!
//! Owns: what create, get, list, watch, update, patch and delete mean, on stored bytes; the form of answers.
//! Does not own: how kinds differ (`kinds`), rules across objects (`admission`).
//!
//! Invariant: an object is encoded once, when it is written; readers and watchers get those bytes with the
//! revision put in, and objects are decoded only to change them, to select by their fields or to print cells.

mod apart;
mod components;
mod connect;
mod conversion_counts;
mod conversions;
mod convert;
mod create;
mod decode;
mod delete;
mod encoded;
mod evict;
mod excess;
mod frames;
mod held;
mod identities;
mod items;
mod list;
mod log_options;
mod messages;
mod metadata;
mod options;
mod ownership;
mod patch;
mod pods;
mod question;
mod read;
mod render;
mod scale;
mod sections;
mod selection;
mod siblings;
mod target;
mod texts;
mod token;
mod uid;
mod unreadable;
mod update;
mod versions;
mod watch;

pub(crate) use components::{get_component, list_components};
pub(crate) use connect::admit_connection;
pub(crate) use conversion_counts::ConversionCounts;
pub(crate) use conversions::Conversions;
pub use convert::answered;
pub(crate) use convert::in_version;
pub(crate) use create::create;
pub(crate) use delete::{clear, delete, delete_collection};
pub(crate) use encoded::{decode as decode_stored, encode as encode_stored, head_value};
pub(crate) use evict::evict;
pub(crate) use frames::FrameCache;
pub(crate) use identities::{Identities, Identity};
pub(crate) use list::list;
pub(crate) use log_options::check as check_log_options;
pub(crate) use patch::patch;
pub(crate) use pods::bind;
pub(crate) use question::ask;
pub(crate) use read::get;
pub(crate) use scale::{get_scale, write_scale};
pub(crate) use target::{Target, registry_key, registry_prefix};
pub(crate) use texts::Texts;
pub(crate) use token::request_token;
pub(crate) use uid::random as random_uid;
pub(crate) use update::update;
pub(crate) use watch::watch;
