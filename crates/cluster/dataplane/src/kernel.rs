//! Keeps the kernel's table equal to the programmes of all services, by differences.

use crate::index::ServiceKey;
use crate::layout::{self, Table};
use crate::programme::{EntryKey, Programme};
use hako_netlink::nft::{Batch, Data, Element, Nft, Rule};
use hako_netlink::{Errno, Ipv4Net, NetlinkError};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The table in the kernel: what it holds, and what it should hold.
#[derive(Debug)]
pub(crate) struct Kernel {
    nft: Nft,
    table: String,
    services: Ipv4Net,
    programmes: HashMap<ServiceKey, Programme>,
    /// The service each wanted chain belongs to; a chain's name tells services apart.
    owners: HashMap<String, ServiceKey>,
    /// Who wants each entry. Two services may want the same one; should they differ about it, the first by name wins.
    wanted: HashMap<EntryKey, BTreeMap<ServiceKey, Option<Data>>>,
    held: HashMap<EntryKey, Option<Data>>,
    /// The rules of each chain; none if they are not known, because an earlier process wrote them.
    held_chains: HashMap<String, Option<Vec<Rule>>>,
    /// Whether base chains and sets are as this version wants them.
    is_installed: bool,
    changed: BTreeSet<EntryKey>,
    changed_chains: BTreeSet<String>,
}

impl Kernel {
    pub(crate) fn open(table: String, services: Ipv4Net) -> Result<Self, NetlinkError> {
        Ok(Self {
            nft: Nft::open()?,
            table,
            services,
            programmes: HashMap::new(),
            owners: HashMap::new(),
            wanted: HashMap::new(),
            held: HashMap::new(),
            held_chains: HashMap::new(),
            is_installed: false,
            changed: BTreeSet::new(),
            changed_chains: BTreeSet::new(),
        })
    }

    pub(crate) fn programme(&self, service: &ServiceKey) -> Option<&Programme> {
        self.programmes.get(service)
    }

    pub(crate) fn services(&self) -> Vec<ServiceKey> {
        self.programmes.keys().cloned().collect()
    }

    /// Sets what a service wants; takes effect with the next [`Self::commit`]. Returns the programme before.
    pub(crate) fn set(&mut self, service: &ServiceKey, programme: Programme) -> Option<Programme> {
        let before = self.programmes.remove(service);
        if before.as_ref() == Some(&programme) {
            self.programmes.insert(service.clone(), programme);
            return before;
        }
        for key in before.iter().flat_map(|before| before.entries.keys()) {
            if let Some(owners) = self.wanted.get_mut(key) {
                owners.remove(service);
                if owners.is_empty() {
                    self.wanted.remove(key);
                }
            }
            self.changed.insert(key.clone());
        }
        for (key, data) in &programme.entries {
            self.wanted.entry(key.clone()).or_default().insert(service.clone(), data.clone());
            self.changed.insert(key.clone());
        }
        for chain in before.iter().flat_map(|before| before.chains.keys()) {
            self.owners.remove(chain);
            self.changed_chains.insert(chain.clone());
        }
        for chain in programme.chains.keys() {
            self.owners.insert(chain.clone(), service.clone());
            self.changed_chains.insert(chain.clone());
        }
        if programme != Programme::default() {
            self.programmes.insert(service.clone(), programme);
        }
        before
    }

    /// Applies all that was set, in one transaction. After a refusal the table is read back and tried once more, for
    /// somebody else may have changed it; if that fails too, everything is tried again with the next commit.
    pub(crate) fn commit(&mut self) -> Result<(), NetlinkError> {
        if self.is_installed && self.try_commit().is_ok() {
            return Ok(());
        }
        self.adopt()?;
        match self.try_commit() {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                tracing::info!(table = self.table, "the table is another version's and is replaced");
                self.forget_held();
                self.replace()
            }
            other => other,
        }
    }

    fn try_commit(&mut self) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(&self.table);
        if !self.is_installed {
            layout::install(&mut batch, self.services);
        }
        self.commit_batch(batch)
    }

    fn replace(&mut self) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(&self.table);
        batch.add_table().delete_table();
        layout::install(&mut batch, self.services);
        self.commit_batch(batch)
    }

    /// Chains come before the entries that lead to them, and go after those.
    fn commit_batch(&mut self, mut batch: Batch) -> Result<(), NetlinkError> {
        let changed = std::mem::take(&mut self.changed);
        let chains = std::mem::take(&mut self.changed_chains);
        let chains: Vec<(String, Option<Vec<Rule>>)> = chains
            .into_iter()
            .map(|name| (self.wanted_chain(&name).cloned(), name))
            .map(|(rules, name)| (name, rules))
            .collect();
        for (name, rules) in &chains {
            if let Some(rules) = rules
                && self.held_chains.get(name).is_none_or(|held| held.as_ref() != Some(rules))
            {
                layout::write_chain(&mut batch, name, None, rules);
            }
        }
        let (gone, new) = self.differences(&changed);
        for (table, elements) in &gone {
            batch.delete_elements(table.name(), elements);
        }
        for (table, elements) in &new {
            batch.add_elements(table.name(), elements);
        }
        for (name, rules) in &chains {
            if rules.is_none() && self.held_chains.contains_key(name) {
                batch.flush_chain(name).delete_chain(name);
            }
        }
        let result = self.nft.commit(batch);
        match &result {
            Ok(()) => self.note(changed, chains),
            Err(_) => {
                self.is_installed = false;
            }
        }
        result
    }

    fn wanted_chain(&self, name: &str) -> Option<&Vec<Rule>> {
        self.programmes.get(self.owners.get(name)?)?.chains.get(name)
    }

    fn wanted_entry(&self, key: &EntryKey) -> Option<&Option<Data>> {
        self.wanted.get(key)?.values().next()
    }

    /// Elements to delete and to add, by table.
    fn differences(&self, changed: &BTreeSet<EntryKey>) -> (Elements, Elements) {
        let (mut gone, mut new) = (Elements::new(), Elements::new());
        for key in changed {
            let (held, wanted) = (self.held.get(key), self.wanted_entry(key));
            if held == wanted {
                continue;
            }
            if held.is_some() {
                gone.entry(key.0).or_default().push(Element::key(key.1.clone()));
            }
            if let Some(data) = wanted {
                new.entry(key.0).or_default().push(Element { key: key.1.clone(), data: data.clone() });
            }
        }
        (gone, new)
    }

    fn note(&mut self, changed: BTreeSet<EntryKey>, chains: Vec<(String, Option<Vec<Rule>>)>) {
        self.is_installed = true;
        for key in changed {
            match self.wanted_entry(&key).cloned() {
                Some(data) => self.held.insert(key, data),
                None => self.held.remove(&key),
            };
        }
        for (name, rules) in chains {
            match rules {
                Some(rules) => self.held_chains.insert(name, Some(rules)),
                None => self.held_chains.remove(&name),
            };
        }
    }

    /// Reads what the kernel holds, whoever wrote it; everything counts as changed.
    fn adopt(&mut self) -> Result<(), NetlinkError> {
        self.forget_held();
        if self.nft.tables(&self.table)?.contains(&self.table) {
            for table in Table::ALL {
                match self.nft.elements(&self.table, table.name()) {
                    Ok(entries) => {
                        self.held.extend(entries.into_iter().map(|entry| ((table, entry.key), entry.data)));
                    }
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
            let chains = self.nft.chains(&self.table)?;
            self.held_chains =
                chains.into_iter().filter(|name| !layout::is_base(name)).map(|name| (name, None)).collect();
        }
        self.changed.extend(self.held.keys().cloned());
        self.changed_chains.extend(self.held_chains.keys().cloned());
        Ok(())
    }

    /// Counts everything wanted as not there.
    fn forget_held(&mut self) {
        self.is_installed = false;
        self.held.clear();
        self.held_chains.clear();
        self.changed = self.wanted.keys().cloned().collect();
        self.changed_chains =
            self.programmes.values().flat_map(|programme| programme.chains.keys()).cloned().collect();
    }

    pub(crate) fn delete(&mut self) -> Result<(), NetlinkError> {
        self.forget_held();
        self.nft.delete_table(&self.table)
    }
}

type Elements = BTreeMap<Table, Vec<Element>>;
