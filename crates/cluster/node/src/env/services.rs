//! Variables that name the services of a pod's namespace, as they were when the container started.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use std::net::IpAddr;
use std::sync::Arc;

/// The variables for `services` of the pod's namespace (or none with `enableServiceLinks: false`) and for the
/// API server, whose service is always named; `api` stands in while that service does not exist yet.
pub(crate) fn service_environment(
    services: &[Arc<Service>],
    namespace: &str,
    with_links: bool,
    api: Option<(IpAddr, u16)>,
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut has_api = false;
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or("");
        let is_api = name == "kubernetes" && service.metadata.namespace.as_deref() == Some("default");
        let is_linked = with_links && service.metadata.namespace.as_deref() == Some(namespace);
        if is_api || is_linked {
            let before = out.len();
            add(&mut out, service);
            has_api |= is_api && out.len() > before;
        }
    }
    if let (false, Some((ip, port))) = (has_api, api) {
        let port_of =
            ServicePort { name: Some("https".into()), port: i32::from(port), ..ServicePort::default() };
        add_ports(&mut out, "KUBERNETES", &ip.to_string(), &[port_of]);
    }
    out
}

fn add(out: &mut Vec<(String, String)>, service: &Service) {
    let Some(spec) = &service.spec else { return };
    let ip = spec.cluster_ip.as_deref().unwrap_or("");
    let ports = spec.ports.as_deref().unwrap_or(&[]);
    if matches!(ip, "" | "None") || ports.is_empty() {
        return;
    }
    let name = service.metadata.name.as_deref().unwrap_or("");
    add_ports(out, &shouted(name), ip, ports);
}

fn shouted(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

fn add_ports(out: &mut Vec<(String, String)>, name: &str, ip: &str, ports: &[ServicePort]) {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    out.push((format!("{name}_SERVICE_HOST"), ip.to_owned()));
    out.push((format!("{name}_SERVICE_PORT"), ports[0].port.to_string()));
    for port in ports {
        if let Some(label) = port.name.as_deref().filter(|label| !label.is_empty()) {
            let variable = format!("{name}_SERVICE_PORT_{}", shouted(label));
            out.push((variable, port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            out.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        out.push((prefix.clone(), url));
        out.push((format!("{prefix}_PROTO"), lower));
        out.push((format!("{prefix}_PORT"), port.port.to_string()));
        out.push((format!("{prefix}_ADDR"), ip.to_owned()));
    }
}
