//! kubectl, as people use it.

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn get_prints_kubectls_own_columns() {
    let world = World::start().await;
    let namespaces = world.kubectl(&["get", "ns"]).await;
    assert!(namespaces.starts_with("NAME"), "{namespaces}");
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(namespaces.contains(name), "{namespaces}");
    }
    let services = world.kubectl(&["get", "svc", "-o", "wide"]).await;
    assert!(services.contains("10.96.0.1") && services.contains("SELECTOR"), "{services}");
}
