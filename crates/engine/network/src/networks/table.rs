//! What is known of networks and sandboxes: in memory, and a small file for each.
//!
//! ```text
//! <state>/nets/<id>.json         a network; written before the kernel hears of it, removed after
//! <state>/members/<sandbox>.json what a sandbox has of networks; the same
//! ```

use super::spec::{Endpoint, Member, NetworkSpec};
use crate::error::{NetworkError, Result};
use crate::records::{failed, write_whole};
use hako_netlink::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Table {
    nets_dir: PathBuf,
    members_dir: PathBuf,
    nets: BTreeMap<String, NetworkSpec>,
    members: HashMap<String, Member>,
    /// By network. INVARIANT: equals what the members have; who looks for something free need not ask them all.
    taken: HashMap<String, Taken>,
}

/// What members have of a network.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) addresses: HashSet<IpAddr>,
    /// Their links on the host.
    pub(super) links: HashSet<String>,
}

impl Table {
    pub(super) fn open(state_dir: &Path) -> Result<Self> {
        let (nets_dir, members_dir) = (state_dir.join("nets"), state_dir.join("members"));
        let nets: HashMap<String, NetworkSpec> = read_all(&nets_dir)?;
        let mut members: HashMap<String, Member> = read_all(&members_dir)?;
        for member in members.values_mut() {
            member.endpoints.retain(|endpoint| nets.contains_key(&endpoint.network));
        }
        let (nets, taken) = (nets.into_iter().collect(), HashMap::new());
        let mut table = Self { nets_dir, members_dir, nets, members, taken };
        let all: Vec<Member> = table.members.values().cloned().collect();
        all.iter().for_each(|member| table.take(member));
        Ok(table)
    }

    fn take(&mut self, member: &Member) {
        for endpoint in &member.endpoints {
            let taken = self.taken.entry(endpoint.network.clone()).or_default();
            taken.addresses.extend(endpoint.addresses.iter().map(|address| address.ip));
            taken.links.extend(Some(&endpoint.link).filter(|link| !link.is_empty()).cloned());
        }
    }

    fn let_go(&mut self, member: &Member) {
        for endpoint in &member.endpoints {
            let Some(taken) = self.taken.get_mut(&endpoint.network) else { continue };
            for address in &endpoint.addresses {
                taken.addresses.remove(&address.ip);
            }
            taken.links.remove(&endpoint.link);
            if taken.links.is_empty() && taken.addresses.is_empty() {
                self.taken.remove(&endpoint.network);
            }
        }
    }

    pub(super) fn nets(&self) -> impl Iterator<Item = &NetworkSpec> {
        self.nets.values()
    }

    pub(super) fn net(&self, id: &str) -> Result<&NetworkSpec> {
        self.nets.get(id).ok_or_else(|| NetworkError::NoNetwork { name: id.to_owned() })
    }

    /// By id, by name, by unique prefix of the id, in this order.
    pub(super) fn find(&self, wanted: &str) -> Result<&NetworkSpec> {
        if let Some(net) = self.nets.get(wanted).or_else(|| self.nets().find(|net| net.name == wanted)) {
            return Ok(net);
        }
        let missing = || NetworkError::NoNetwork { name: wanted.to_owned() };
        let mut found = self.nets().filter(|net| !wanted.is_empty() && net.id.starts_with(wanted));
        match (found.next(), found.next()) {
            (Some(net), None) => Ok(net),
            (Some(_), Some(_)) => Err(NetworkError::AmbiguousNetwork { prefix: wanted.to_owned() }),
            (None, _) => Err(missing()),
        }
    }

    pub(super) fn put_net(&mut self, net: &NetworkSpec) -> Result<()> {
        write(&self.nets_dir.join(format!("{}.json", net.id)), net)?;
        self.nets.insert(net.id.clone(), net.clone());
        Ok(())
    }

    pub(super) fn forget_net(&mut self, id: &str) -> Result<()> {
        remove(&self.nets_dir.join(format!("{id}.json")))?;
        self.nets.remove(id);
        Ok(())
    }

    /// Takes a network out of what rules are made from; its record stays until it is forgotten.
    pub(super) fn hide_net(&mut self, id: &str) {
        self.nets.remove(id);
    }

    /// Takes back [`Self::hide_net`].
    pub(super) fn show_net(&mut self, net: NetworkSpec) {
        self.nets.insert(net.id.clone(), net);
    }

    pub(super) fn member(&self, sandbox: &str) -> Option<&Member> {
        self.members.get(sandbox)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    pub(super) fn put_member(&mut self, sandbox: &str, member: Member) -> Result<()> {
        write(&self.members_dir.join(format!("{sandbox}.json")), &member)?;
        self.forget(sandbox);
        self.take(&member);
        self.members.insert(sandbox.to_owned(), member);
        Ok(())
    }

    pub(super) fn forget_member(&mut self, sandbox: &str) -> Result<()> {
        remove(&self.members_dir.join(format!("{sandbox}.json")))?;
        self.forget(sandbox);
        Ok(())
    }

    fn forget(&mut self, sandbox: &str) {
        if let Some(member) = self.members.remove(sandbox) {
            self.let_go(&member);
        }
    }

    /// The endpoints in a network, with the sandboxes they belong to.
    pub(super) fn endpoints<'t>(&'t self, net: &'t str) -> impl Iterator<Item = (&'t String, &'t Endpoint)> {
        self.members.iter().flat_map(move |(sandbox, member)| {
            member.endpoints.iter().filter(move |it| it.network == net).map(move |it| (sandbox, it))
        })
    }

    /// What members have of a network; `None` without members.
    pub(super) fn taken(&self, net: &str) -> Option<&Taken> {
        self.taken.get(net)
    }

    pub(super) fn subnets(&self) -> Vec<IpNet> {
        let used = self.nets().filter(|net| net.config_only.is_none());
        used.flat_map(|net| net.ipam.iter().map(|ipam| ipam.subnet)).collect()
    }

    /// The endpoint that leads a sandbox's default route and gets its published ports.
    pub(super) fn gateway<'t>(&'t self, member: &'t Member) -> Option<&'t Endpoint> {
        let ways_out = member.endpoints.iter().filter_map(|endpoint| {
            let net = self.nets.get(&endpoint.network).filter(|net| !net.is_internal())?;
            Some((std::cmp::Reverse(endpoint.priority), &net.name, endpoint))
        });
        ways_out.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))).map(|(.., endpoint)| endpoint)
    }
}

/// Reads a directory of records; a file that is no whole record is what a crash left and is removed.
fn read_all<T: DeserializeOwned>(dir: &Path) -> Result<HashMap<String, T>> {
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let mut records = HashMap::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json").map(str::to_owned));
        let record = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match name.zip(record) {
            Some((name, record)) => drop(records.insert(name, record)),
            None => fs::remove_file(&path).map_err(failed("remove", &path))?,
        }
    }
    Ok(records)
}

fn write(path: &Path, record: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(record)
        .map_err(|source| NetworkError::Damaged { path: path.to_owned(), source })?;
    write_whole(path, &bytes)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(source)),
        _ => Ok(()),
    }
}
