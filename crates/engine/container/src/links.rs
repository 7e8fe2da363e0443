//! What Docker's `--link` in the default network tells by the environment: where the other is, and its variables.

use crate::container::ContainerObject;
use crate::core::Core;
use hako_network::DEFAULT_NETWORK;
use hako_oci::runtime::Spec;
use std::net::IpAddr;

impl Core {
    /// Adds the variables of a container's links, as the linked containers are now.
    pub(crate) fn add_link_variables(&self, container: &ContainerObject, spec: &mut Spec) {
        let variables = self.link_variables(container);
        let Some(mut process) = spec.process().clone().filter(|_| !variables.is_empty()) else { return };
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(variables);
        process.set_env(Some(env));
        spec.set_process(Some(process));
    }

    fn link_variables(&self, container: &ContainerObject) -> Vec<String> {
        let own_name = container.status.read().name.clone();
        let wanted = container.sandbox.wanted.read().clone();
        let mut variables = Vec::new();
        for link in
            wanted.endpoints.iter().filter(|it| it.network == DEFAULT_NETWORK).flat_map(|it| &it.links)
        {
            let Ok(target) = self.container(&link.container) else { continue };
            let Some(ip) = target.sandbox.view().ip else { continue };
            let prefix = link.alias.to_uppercase().replace(['-', '.'], "_");
            variables.push(format!("{prefix}_NAME=/{own_name}/{}", link.alias));
            variables.extend(port_variables(&prefix, ip.into(), &target.record.resolved.exposed_ports));
            let others = target.record.resolved.env.iter();
            let told = others.filter(|one| !one.starts_with("PATH=") && !one.starts_with("HOME="));
            variables.extend(told.map(|one| format!("{prefix}_ENV_{one}")));
        }
        variables
    }
}

fn port_variables(prefix: &str, ip: IpAddr, exposed: &[String]) -> Vec<String> {
    let mut ports: Vec<(u16, &str)> = exposed
        .iter()
        .filter_map(|text| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            Some((port.parse().ok()?, protocol))
        })
        .collect();
    ports.sort_unstable();
    let mut variables = Vec::new();
    if let Some((port, protocol)) = ports.first() {
        variables.push(format!("{prefix}_PORT={protocol}://{ip}:{port}"));
    }
    for (port, protocol) in ports {
        let name = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        variables.push(format!("{name}={protocol}://{ip}:{port}"));
        variables.push(format!("{name}_ADDR={ip}"));
        variables.push(format!("{name}_PORT={port}"));
        variables.push(format!("{name}_PROTO={protocol}"));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_tells_every_port_and_the_lowest_first() {
        let exposed = ["8080/tcp".to_owned(), "53/udp".to_owned()];
        let told = port_variables("DB", "172.17.0.2".parse().unwrap(), &exposed);
        assert_eq!(told[0], "DB_PORT=udp://172.17.0.2:53");
        assert!(told.contains(&"DB_PORT_8080_TCP_ADDR=172.17.0.2".to_owned()) && told.len() == 9);
    }
}
