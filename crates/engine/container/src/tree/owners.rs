//! Whom ids mean in a tree of a container whose users are not the host's.
//!
//! Its own files have the container's ids in its layers, and those of the host wherever it sees them while it runs. What
//! is mounted from the host has the host's always.

use crate::error::{EngineError, io};
use hako_runtime::IdMap;
use rustix::fs::fstat;
use std::os::fd::{AsFd, OwnedFd};

#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    users: Option<IdMap>,
    /// The file system whose ids are the container's already.
    inside: Option<u64>,
}

impl Owners {
    pub(super) fn of(users: Option<IdMap>, is_running: bool, root: &OwnedFd) -> Result<Self, EngineError> {
        let device = fstat(root).map_err(|error| io("look at", "a container's root")(error.into()))?.st_dev;
        Ok(Self { users, inside: (!is_running).then_some(device) })
    }

    /// The container's ids of a file that the host's users own.
    pub(super) fn to_inside(&self, device: u64, owner: (u32, u32)) -> (u32, u32) {
        match &self.users {
            Some(users) if self.inside != Some(device) => users.to_inside(owner.0, owner.1),
            _ => owner,
        }
    }

    /// The host's ids for a file of the container's users; `None` for whom the host has none.
    pub(super) fn to_host(&self, node: impl AsFd, owner: (u32, u32)) -> Option<(u32, u32)> {
        let Some(users) = &self.users else { return Some(owner) };
        match fstat(node).ok()?.st_dev {
            device if self.inside == Some(device) => Some(owner),
            _ => users.to_host(owner.0, owner.1),
        }
    }

    /// Has this thread make files as the container's root: to an overlay with other ids the host's is nobody.
    pub(super) fn make_as_root(&self) -> Result<(), EngineError> {
        match &self.users {
            Some(users) if self.inside.is_none() => {
                let (uid, gid) = users.root();
                hako_sys::set_fs_ids(uid, gid).map_err(io("make files", "in a container"))
            }
            _ => Ok(()),
        }
    }
}
