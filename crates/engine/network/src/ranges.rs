//! Ranges of addresses that nobody else on the machine uses.

use crate::error::{NetworkError, Result};
use crate::records::{failed, write_whole};
use hako_netlink::{Ipv4Net, Links};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The pod and service ranges of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// The cluster's pod addresses, a /16.
    pub pods: Ipv4Net,
    /// This node's share of them, a /24.
    pub node: Ipv4Net,
    /// Service addresses, a /16.
    pub services: Ipv4Net,
}

impl Ranges {
    /// The node's own address on its bridge.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        first(self.node)
    }

    /// The address of the service that leads to the API server.
    #[must_use]
    pub fn api_service(&self) -> Ipv4Addr {
        first(self.services)
    }
}

/// The first address after the one that names the network.
fn first(net: Ipv4Net) -> Ipv4Addr {
    net.nth(1).unwrap_or(net.base())
}

/// What is kept of them: in the instance's own directory and, for the other instances to see, in a shared one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Claim {
    pods: String,
    services: String,
    state_dir: PathBuf,
}

impl Claim {
    fn ranges(&self) -> Option<Ranges> {
        let pods: Ipv4Net = self.pods.parse().ok()?;
        let services = self.services.parse().ok()?;
        Some(Ranges { pods, node: Ipv4Net::new(pods.base(), 24), services })
    }
}

/// The second octets that are tried for 10.x.0.0/16: first those that Kubernetes' own tools use.
fn candidates(first: u8, last: u8) -> impl Iterator<Item = Ipv4Net> {
    (first..=last).map(|octet| Ipv4Net::new(Ipv4Addr::new(10, octet, 0, 0), 16))
}

pub(crate) fn choose(instance: &str, state_dir: &Path, run_dir: &Path, moves: bool) -> Result<Ranges> {
    let shared = run_dir.join("ranges");
    fs::create_dir_all(&shared).map_err(failed("create", &shared))?;
    fs::create_dir_all(state_dir).map_err(failed("create", state_dir))?;
    let _lock = lock(&run_dir.join("ranges.lock"))?;
    let others = claims(&shared, instance)?;
    let own = state_dir.join("ranges.json");
    let known = read(&own)?;
    let ranges = match known.as_ref().and_then(Claim::ranges) {
        Some(ranges) => match still_ours(ranges, &others) {
            Err(NetworkError::RangeTaken { range, other }) if moves => {
                tracing::warn!(%range, other, "another instance has the range of this one now: choose another");
                free(&others)?
            }
            found => found?,
        },
        None => free(&others)?,
    };
    let claim = Claim {
        pods: ranges.pods.to_string(),
        services: ranges.services.to_string(),
        state_dir: state_dir.to_owned(),
    };
    let bytes =
        serde_json::to_vec(&claim).map_err(|source| NetworkError::Damaged { path: own.clone(), source })?;
    // What is so already needs no room: a platform starts also where its disk is full.
    if known.as_ref() != Some(&claim) {
        write_whole(&own, &bytes)?;
    }
    write_whole(&shared.join(format!("{instance}.json")), &bytes)?;
    Ok(ranges)
}

pub(crate) fn recorded(state_dir: &Path) -> Result<Option<Ranges>> {
    Ok(read(&state_dir.join("ranges.json"))?.as_ref().and_then(Claim::ranges))
}

/// Takes an instance's claim away.
pub(crate) fn release(instance: &str, state_dir: &Path, run_dir: &Path) {
    for path in [state_dir.join("ranges.json"), run_dir.join("ranges").join(format!("{instance}.json"))] {
        let _ = fs::remove_file(path);
    }
}

fn lock(path: &Path) -> Result<File> {
    let file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(failed("open", path))?;
    file.lock().map_err(failed("lock", path))?;
    Ok(file)
}

fn read(path: &Path) -> Result<Option<Claim>> {
    match fs::read(path) {
        Ok(bytes) => {
            let claim = serde_json::from_slice(&bytes);
            claim.map(Some).map_err(|source| NetworkError::Damaged { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NetworkError::State { action: "read", path: path.to_owned(), source }),
    }
}

/// The directories and ranges of the other instances; a claim whose instance is gone is removed.
fn claims(shared: &Path, instance: &str) -> Result<Vec<(String, Ranges)>> {
    let mut claims = Vec::new();
    for entry in fs::read_dir(shared).map_err(failed("list", shared))? {
        let path = entry.map_err(failed("list", shared))?.path();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name == instance {
            continue;
        }
        let claim = read(&path).ok().flatten().filter(|claim| claim.state_dir.join("ranges.json").exists());
        // The platform's directory, in which its networks' is one of several.
        let home = |claim: &Claim| claim.state_dir.parent().unwrap_or(&claim.state_dir).display().to_string();
        match claim.and_then(|claim| Some((claim.ranges()?, home(&claim)))) {
            Some((ranges, home)) => claims.push((home, ranges)),
            None => fs::remove_file(&path).map_err(failed("remove", &path))?,
        }
    }
    Ok(claims)
}

fn still_ours(ranges: Ranges, others: &[(String, Ranges)]) -> Result<Ranges> {
    for range in [ranges.pods, ranges.services] {
        if let Some((other, _)) = others.iter().find(|(_, other)| overlaps(range, other)) {
            return Err(NetworkError::RangeTaken { range, other: other.clone() });
        }
    }
    Ok(ranges)
}

fn overlaps(range: Ipv4Net, other: &Ranges) -> bool {
    range.overlaps(other.pods) || range.overlaps(other.services)
}

fn free(others: &[(String, Ranges)]) -> Result<Ranges> {
    let mut links = Links::open()?;
    let routes = links.routes()?.into_iter().map(|route| route.destination).filter(|net| net.prefix() > 0);
    let addresses = links.addresses()?.into_iter().map(|address| Ipv4Net::new(address.ip, address.prefix));
    let taken: Vec<Ipv4Net> = routes.chain(addresses).collect();
    let is_free = |range: &Ipv4Net| {
        !taken.iter().any(|net| net.overlaps(*range))
            && !others.iter().any(|(_, other)| overlaps(*range, other))
    };
    let pods = candidates(244, 254)
        .chain(candidates(160, 243))
        .find(is_free)
        .ok_or(NetworkError::NoFreeRange { what: "pod" })?;
    let services = candidates(96, 159).find(is_free).ok_or(NetworkError::NoFreeRange { what: "service" })?;
    Ok(Ranges { pods, node: Ipv4Net::new(pods.base(), 24), services })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_get_ranges_of_their_own_and_keep_them() {
        let run = tempfile::tempdir().unwrap();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let choose = |n: usize| choose(["aaaaaa", "bbbbbb"][n], dirs[n].path(), run.path(), false).unwrap();
        let (first, second) = (choose(0), choose(1));
        assert!(!first.pods.overlaps(second.pods) && !first.services.overlaps(second.services));
        assert!(first.pods.contains(first.node.base()) && first.node.prefix() == 24);
        assert_eq!((choose(0), choose(1)), (first, second));
    }

    #[test]
    fn an_instance_that_has_its_ranges_needs_no_room_for_them() {
        let (run, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let choose = || choose("aaaaaa", dir.path(), run.path(), false);
        let first = choose().unwrap();
        // In the way of every write.
        fs::create_dir(dir.path().join("ranges.partial")).unwrap();
        assert_eq!(choose().unwrap(), first);
        fs::remove_file(dir.path().join("ranges.json")).unwrap();
        choose().unwrap_err();
    }

    /// What instances have told each other is gone with the machine's restart, and who starts first chooses first.
    #[test]
    fn a_range_that_another_took_meanwhile_is_left_to_it_or_told_with_its_directory() {
        let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let dirs = homes.each_ref().map(|home| home.path().join("network"));
        let first = choose("aaaaaa", &dirs[0], before.path(), false).unwrap();
        assert_eq!(choose("bbbbbb", &dirs[1], after.path(), false).unwrap(), first);
        let error = choose("aaaaaa", &dirs[0], after.path(), false).unwrap_err().to_string();
        let other = homes[1].path().display();
        let next = format!("`hako down --purge --data-dir {other}`");
        assert!(error.contains(&first.pods.to_string()) && error.contains(&next), "{error}");
        assert_eq!(recorded(&dirs[0]).unwrap(), Some(first));
        let moved = choose("aaaaaa", &dirs[0], after.path(), true).unwrap();
        assert!(!moved.pods.overlaps(first.pods) && !moved.services.overlaps(first.services));
        assert_eq!(choose("aaaaaa", &dirs[0], after.path(), false).unwrap(), moved);
    }

    #[test]
    fn the_range_of_an_instance_that_is_gone_is_free_again() {
        let run = tempfile::tempdir().unwrap();
        let gone = tempfile::tempdir().unwrap();
        let first = choose("aaaaaa", gone.path(), run.path(), false).unwrap();
        drop(gone);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(choose("bbbbbb", dir.path(), run.path(), false).unwrap(), first);
    }
}
