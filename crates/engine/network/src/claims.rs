//! Ports of the host that no socket keeps: a list of this process, for protocols that a kernel has no sockets of.

use parking_lot::Mutex;
use rustix::fs::stat;
use rustix::io::Result;
use std::net::IpAddr;

static TAKEN: Mutex<Vec<Place>> = Mutex::new(Vec::new());

/// A port on an address, in the network namespace of that device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    namespace: (u64, u64),
    ip: IpAddr,
    port: u16,
}

impl Place {
    /// As sockets see it: an unspecified address is every one of its family.
    fn overlaps(&self, other: &Self) -> bool {
        let is_same_ip = self.ip == other.ip || self.ip.is_unspecified() || other.ip.is_unspecified();
        (self.namespace, self.port) == (other.namespace, other.port)
            && self.ip.is_ipv4() == other.ip.is_ipv4()
            && is_same_ip
    }
}

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim(Place);

impl Claim {
    /// `None` if somebody of this process has it.
    pub(crate) fn take(ip: IpAddr, port: u16) -> Result<Option<Self>> {
        let namespace = stat("/proc/thread-self/ns/net")?;
        let place = Place { namespace: (namespace.st_dev, namespace.st_ino), ip, port };
        let mut taken = TAKEN.lock();
        if taken.iter().any(|other| other.overlaps(&place)) {
            return Ok(None);
        }
        taken.push(place);
        Ok(Some(Self(place)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock();
        taken.retain(|place| *place != self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_all_addresses_is_one_of_each_and_comes_back() {
        let take = |ip: &str, port| Claim::take(ip.parse().unwrap(), port).unwrap();
        let one = take("127.0.0.1", 7).unwrap();
        assert!(take("127.0.0.1", 7).is_none() && take("0.0.0.0", 7).is_none());
        let others = [take("127.0.0.2", 7), take("127.0.0.1", 8), take("::", 7)];
        assert!(others.iter().all(Option::is_some));
        assert!(take("::1", 7).is_none());
        drop((one, others));
        assert!(take("0.0.0.0", 7).is_some());
    }
}
