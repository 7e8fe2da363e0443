//! The scheduler: pods created at once until the last is bound, on nodes that nobody runs.

use crate::pods::create_until;
use crate::process::{Busy, Platform};
use hako_benches::{Row, Target};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, PostParams};
use serde_json::{from_value, json};
use std::path::Path;

const NODES: usize = 20;
const PODS: usize = 1000;

pub fn scheduler(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let platform = Platform::start(hako)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = platform.client().await?;
        let nodes: Api<Node> = Api::all(client.clone());
        for index in 0..NODES {
            register(&nodes, &format!("nobody-{index}")).await?;
        }
        let pods = (0..PODS).map(pod).collect::<Result<Vec<_>, _>>()?;
        let busy = Busy::start()?;
        let took = create_until(&Api::default_namespaced(client), &pods, is_bound).await?;
        Ok(vec![Row {
            what: format!("{PODS} pods created at once and bound to {NODES} nodes"),
            ours: PODS as f64 / (took / 1000.0),
            peer: None,
            unit: "pods/s",
            target: Target::None,
            why: format!("the machine's cores were {:.0} % busy, by the client too", busy.percent()?),
        }])
    })
}

/// A node with room for its share of the pods and a little.
async fn register(nodes: &Api<Node>, name: &str) -> anyhow::Result<()> {
    let room = json!({ "cpu": "64", "memory": "256Gi", "pods": (PODS / NODES + 10).to_string() });
    let status = json!({ "capacity": room, "allocatable": room });
    let node = from_value(
        json!({ "metadata": { "name": name, "labels": { "bench": "nobody" } }, "status": status }),
    )?;
    let mut created: Node = nodes.create(&PostParams::default(), &node).await?;
    created.status = node.status;
    nodes.replace_status(name, &PostParams::default(), &created).await?;
    Ok(())
}

/// It tolerates that its node is never Ready.
fn pod(index: usize) -> Result<Pod, serde_json::Error> {
    from_value(json!({
        "metadata": { "name": format!("bound-{index}") },
        "spec": {
            "nodeSelector": { "bench": "nobody" },
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "c",
                "image": "busybox",
                "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
            }],
        },
    }))
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}
