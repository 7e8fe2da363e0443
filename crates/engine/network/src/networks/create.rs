//! Making and removing networks.

use super::config;
use super::ipam::{check, choose_v4, choose_v6, first};
use super::options::{self, is_link_name};
use super::parent;
use super::spec::{DEFAULT_IPAM, DEFAULT_NETWORK, Driver, Endpoint, Ipam, NetworkRequest, NetworkSpec};
use super::table::Table;
use super::{Networks, random, random_id};
use crate::error::{NetworkError, Result};
use crate::records::failed;
use hako_netlink::{IpNet, Links};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

/// Held while a subnet is chosen until it shows on a bridge: instances of one machine must not choose the same.
const LOCK_DIR: &str = "/run/hako";

impl Networks {
    /// Makes a network.
    ///
    /// # Errors
    /// `AlreadyExists` for a name that is taken, `Forbidden` for a subnet that overlaps, `Invalid` for a choice that
    /// cannot work, `Exhausted` without a free subnet, `Unimplemented` for what the kernel lacks.
    pub fn create(&self, request: NetworkRequest) -> hako_error::Result<NetworkSpec> {
        Ok(self.create_as(request, None)?)
    }

    /// The network that containers get when they ask for none; made when first needed.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn default_network(&self) -> hako_error::Result<NetworkSpec> {
        if let Ok(net) = self.table.read().find(DEFAULT_NETWORK) {
            return Ok(net.clone());
        }
        let said = [(options::ICC, "true"), (options::MASQUERADE, "true"), (options::MTU, "1500")];
        let request = NetworkRequest {
            name: DEFAULT_NETWORK.to_owned(),
            ipv4: true,
            options: said.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..NetworkRequest::default()
        };
        let bridge = format!("hd{}", self.instance);
        match self.create_as(request, Some(bridge)) {
            // Somebody else was faster.
            Err(NetworkError::NameTaken { .. }) => Ok(self.table.read().find(DEFAULT_NETWORK)?.clone()),
            other => Ok(other?),
        }
    }

    fn create_as(&self, request: NetworkRequest, bridge: Option<String>) -> Result<NetworkSpec> {
        let mut kernel = self.kernel.lock();
        let _chosen = lock()?;
        let net = self.plan(request, bridge)?;
        self.table.write().put_net(&net)?;
        hako_sys::failpoint!("network.create.recorded");
        let made = kernel.devices.make(&net).and_then(|()| {
            hako_sys::failpoint!("network.create.made");
            kernel.rules.rewrite(&self.table.read())
        });
        hako_sys::failpoint!("network.create.ruled");
        if let Err(error) = made {
            // The first error says it.
            let is_last = parent::sharing(&self.table.read(), &net).next().is_none();
            let _ = kernel.devices.unmake(&net, is_last);
            self.table.write().forget_net(&net.id)?;
            return Err(error);
        }
        Ok(net)
    }

    fn plan(&self, request: NetworkRequest, bridge: Option<String>) -> Result<NetworkSpec> {
        let table = self.table.read();
        if table.nets().any(|net| net.name == request.name) {
            return Err(NetworkError::NameTaken { name: request.name });
        }
        let id = random_id()?;
        if request.config_only {
            request.ipam.iter().try_for_each(check)?;
            return Ok(config::settings(id, request));
        }
        let request = config::inherit(&table, request)?;
        options::check(&request)?;
        check_pools(&request)?;
        let bridge = match (bridge, request.options.get(options::NAME)) {
            (Some(bridge), _) => bridge,
            (None, Some(name)) if request.driver == Driver::Bridge => own_name(&table, name)?,
            _ => format!("br-{}", &id[..12]),
        };
        let ipam = self.addresses(&table, &request)?;
        let mut net = NetworkSpec {
            id,
            name: request.name,
            driver: request.driver,
            internal: request.internal,
            attachable: request.attachable,
            ipam,
            options: request.options,
            labels: request.labels,
            created: Timestamp::now(),
            bridge,
            ipam_driver: config::ipam_driver(request.ipam_driver),
            ipam_options: request.ipam_options,
            config_only: None,
            config_from: request.config_from,
            has_own_parent: false,
        };
        if net.bridge.starts_with("hd") {
            net.options.insert(options::NAME.to_owned(), net.bridge.clone());
        }
        if net.driver != Driver::Bridge {
            net.has_own_parent = parent::plan(&table, &net, &mut Links::open()?)?;
        }
        for is_ipv6 in [false, true] {
            let is_given = net.has_gateway(is_ipv6);
            for ipam in net.ipam.iter_mut().filter(|ipam| is_given && ipam.subnet.is_ipv6() == is_ipv6) {
                ipam.gateway = ipam.gateway.or_else(|| first(ipam.subnet));
            }
        }
        Ok(net)
    }

    fn addresses(&self, table: &Table, request: &NetworkRequest) -> Result<Vec<Ipam>> {
        let mut ipam = Vec::<Ipam>::new();
        let mut taken = table.subnets();
        for (is_wanted, v6) in [(request.ipv4, false), (request.ipv6, true)] {
            let mut chosen = request.ipam.iter().filter(|it| it.subnet.is_ipv6() == v6).peekable();
            if chosen.peek().is_none() && is_wanted {
                ipam.push(automatic(self.choose(table, v6)?));
            }
            for (index, chosen) in chosen.enumerate() {
                check(chosen)?;
                if index > 0 && request.driver == Driver::Bridge {
                    return Err(NetworkError::SeveralSubnets);
                }
                if let Some(other) = taken.iter().find(|other| other.overlaps(chosen.subnet)) {
                    return Err(NetworkError::PoolOverlaps { subnet: chosen.subnet, other: *other });
                }
                taken.push(chosen.subnet);
                ipam.push(chosen.clone());
            }
        }
        Ok(ipam)
    }

    fn choose(&self, table: &Table, v6: bool) -> Result<IpNet> {
        if v6 {
            return Ok(choose_v6(random()?));
        }
        let mut taken = Links::open()?.networks()?;
        taken.extend(table.subnets());
        choose_v4(&self.pools, &taken)
    }

    /// Removes a network that nobody is connected to.
    ///
    /// # Errors
    /// `Forbidden` while somebody is, or for the network that is always there.
    pub fn remove(&self, id: &str) -> hako_error::Result<()> {
        let mut kernel = self.kernel.lock();
        let mut table = self.table.write();
        let net = table.net(id)?.clone();
        if net.is_default() {
            return Err(NetworkError::Predefined { name: net.name }.into());
        }
        let mut endpoints: Vec<String> = table.endpoints(id).map(|(_, endpoint)| shown(endpoint)).collect();
        if !endpoints.is_empty() {
            endpoints.sort_unstable();
            let endpoints = endpoints.join(", ");
            return Err(NetworkError::HasEndpoints { name: net.name, endpoints }.into());
        }
        if config::is_used(&table, &net) {
            return Err(NetworkError::ConfigInUse { name: net.name }.into());
        }
        let is_last = parent::sharing(&table, &net).next().is_none();
        table.hide_net(id);
        self.ahead.discard(id);
        hako_sys::failpoint!("network.remove.begun");
        let unmade = kernel.rules.rewrite(&table).and_then(|()| {
            hako_sys::failpoint!("network.remove.ruled");
            kernel.devices.unmake(&net, is_last)
        });
        hako_sys::failpoint!("network.remove.unmade");
        match unmade {
            Ok(()) => Ok(table.forget_net(id)?),
            Err(error) => {
                table.show_net(net);
                Err(error.into())
            }
        }
    }
}

/// Checks that somebody gives out addresses of the families asked for.
fn check_pools(request: &NetworkRequest) -> Result<()> {
    if request.driver == Driver::Bridge && !request.ipv4 && !request.ipv6 {
        return Err(NetworkError::NoFamily);
    }
    match request.ipam_driver.as_str() {
        "" | DEFAULT_IPAM => Ok(()),
        "null" if !request.ipam.is_empty() => Err(NetworkError::NullPool),
        "null" if request.ipv4 => Err(NetworkError::NoPool { family: "ipv4" }),
        "null" if request.ipv6 => Err(NetworkError::NoPool { family: "ipv6" }),
        "null" => Ok(()),
        name => Err(NetworkError::NoIpamDriver { name: name.to_owned() }),
    }
}

/// An endpoint by the name of its sandbox and its short id.
fn shown(endpoint: &Endpoint) -> String {
    let name = endpoint.names.first().map_or("", String::as_str);
    format!("name:{name:?} id:{:?}", &endpoint.id[..12])
}

fn automatic(subnet: IpNet) -> Ipam {
    Ipam { subnet, gateway: None, range: None, aux: BTreeMap::new(), chosen: false }
}

fn own_name(table: &Table, name: &str) -> Result<String> {
    if !is_link_name(name) {
        return Err(NetworkError::BadOption { name: options::NAME, value: name.to_owned() });
    }
    if table.nets().any(|net| net.bridge == name) || Links::open()?.find(name)?.is_some() {
        return Err(NetworkError::BridgeTaken { name: name.to_owned() });
    }
    Ok(name.to_owned())
}

fn lock() -> Result<File> {
    let dir = Path::new(LOCK_DIR);
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let path = dir.join("nets.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    file.lock().map_err(failed("lock", &path))?;
    Ok(file)
}
