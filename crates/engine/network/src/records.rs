//! Who has which address: in memory, and one small file for each attachment.
//!
//! The files have to survive the process, not the machine: after a reboot no link they speak of exists. So they are
//! renamed into place and not synced.

use crate::attachment::Attachment;
use crate::error::{NetworkError, Result};
use hako_netlink::Ipv4Net;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// All attachments, and where the search for a free address goes on.
#[derive(Debug)]
pub(crate) struct Records {
    dir: PathBuf,
    subnet: Ipv4Net,
    by_id: HashMap<String, Attachment>,
    by_ip: HashMap<Ipv4Addr, String>,
    /// The offset given out last: free addresses are taken in turn, so that one just freed rests the longest.
    cursor: u32,
}

impl Records {
    /// Reads what was recorded; a file that is no whole record is what a crash left and is removed.
    pub(crate) fn open(state_dir: &Path, subnet: Ipv4Net) -> Result<Self> {
        if subnet.prefix() > 30 {
            return Err(NetworkError::SubnetTooSmall { subnet });
        }
        let dir = state_dir.join("attachments");
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let mut records = Self {
            cursor: read_cursor(state_dir),
            dir,
            subnet,
            by_id: HashMap::new(),
            by_ip: HashMap::new(),
        };
        for entry in fs::read_dir(&records.dir).map_err(failed("list", &records.dir))? {
            let path = entry.map_err(failed("list", &records.dir))?.path();
            match fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Attachment>(&bytes).ok()) {
                Some(attachment) => records.insert(attachment),
                None => fs::remove_file(&path).map_err(failed("remove", &path))?,
            }
        }
        match records.by_id.values().find(|attachment| !subnet.contains(attachment.ip)) {
            Some(Attachment { id, ip, .. }) => {
                Err(NetworkError::OutsideSubnet { id: id.clone(), ip: *ip, subnet })
            }
            None => Ok(records),
        }
    }

    fn insert(&mut self, attachment: Attachment) {
        self.by_ip.insert(attachment.ip, attachment.id.clone());
        self.by_id.insert(attachment.id.clone(), attachment);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Attachment> {
        self.by_id.get(id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Attachment> {
        self.by_id.values()
    }

    /// Takes the next free address for `id` in memory; the gateway has the first, the last is for broadcasts.
    pub(crate) fn allocate(&mut self, id: &str) -> Result<Ipv4Addr> {
        let count = u32::try_from(self.subnet.len() - 3).unwrap_or(u32::MAX - 3);
        let start = self.cursor.max(1) - 1;
        for step in 0..count {
            let offset = (start + step) % count + 2;
            let Some(ip) = self.subnet.nth(offset) else {
                continue;
            };
            if !self.by_ip.contains_key(&ip) {
                self.cursor = offset;
                self.by_ip.insert(ip, id.to_owned());
                write_cursor(&self.dir, offset);
                return Ok(ip);
            }
        }
        Err(NetworkError::NoFreeAddress { subnet: self.subnet })
    }

    /// Gives an address back that never was recorded.
    pub(crate) fn release(&mut self, ip: Ipv4Addr) {
        self.by_ip.remove(&ip);
    }

    pub(crate) fn record(&mut self, attachment: &Attachment) -> Result<()> {
        let path = self.path(&attachment.id);
        let bytes = serde_json::to_vec(attachment)
            .map_err(|source| NetworkError::Damaged { path: path.clone(), source })?;
        write_whole(&path, &bytes)?;
        self.insert(attachment.clone());
        Ok(())
    }

    pub(crate) fn forget(&mut self, id: &str) -> Result<()> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(NetworkError::State { action: "remove", path, source });
            }
            _ => {}
        }
        if let Some(attachment) = self.by_id.remove(id) {
            self.by_ip.remove(&attachment.ip);
        }
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }
}

/// Writes a file that is there as a whole or not at all, whenever the process dies.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).map_err(failed("write", &partial))?;
    fs::rename(&partial, path).map_err(failed("write", path))
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetworkError {
    let path = path.to_owned();
    move |source| NetworkError::State { action, path, source }
}

fn read_cursor(state_dir: &Path) -> u32 {
    fs::read_to_string(state_dir.join("cursor")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// A lost cursor only makes an address come back sooner, so a failure here is none.
fn write_cursor(dir: &Path, cursor: u32) {
    if let Some(state_dir) = dir.parent()
        && let Err(error) = fs::write(state_dir.join("cursor"), cursor.to_string())
    {
        tracing::debug!(%error, "could not keep the address cursor");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(id: &str, ip: Ipv4Addr) -> Attachment {
        Attachment {
            id: id.into(),
            ip,
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            prefix: 29,
            mac: "02:00:00:00:00:01".into(),
            link: "hv00000001".into(),
            ports: vec![],
        }
    }

    #[test]
    fn addresses_are_taken_in_turn_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let subnet = "10.0.0.0/29".parse().unwrap();
        let mut records = Records::open(dir.path(), subnet).unwrap();
        let first = records.allocate("a").unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 0, 0, 2));
        records.release(first);
        assert_eq!(records.allocate("b").unwrap(), Ipv4Addr::new(10, 0, 0, 3));
        let mut records = Records::open(dir.path(), subnet).unwrap();
        let rest: Vec<_> = (0..5).map(|n| records.allocate(&n.to_string()).unwrap().octets()[3]).collect();
        assert_eq!(rest, [4, 5, 6, 2, 3]);
        assert!(matches!(records.allocate("x"), Err(NetworkError::NoFreeAddress { .. })));
    }

    #[test]
    fn records_come_back_and_torn_ones_vanish() {
        let dir = tempfile::tempdir().unwrap();
        let subnet = "10.0.0.0/29".parse().unwrap();
        let mut records = Records::open(dir.path(), subnet).unwrap();
        let ip = records.allocate("a").unwrap();
        records.record(&attachment("a", ip)).unwrap();
        fs::write(dir.path().join("attachments/b.json"), b"{\"id\":").unwrap();
        let records = Records::open(dir.path(), subnet).unwrap();
        assert_eq!(records.all().map(|attachment| attachment.ip).collect::<Vec<_>>(), [ip]);
        assert!(!dir.path().join("attachments/b.json").exists());
        let elsewhere = Records::open(dir.path(), "10.1.0.0/24".parse().unwrap());
        assert!(matches!(elsewhere, Err(NetworkError::OutsideSubnet { .. })));
    }
}
