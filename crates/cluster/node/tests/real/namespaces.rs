//! Namespaces that a pod shares, among its containers or with the host.

use crate::machine::on_machine;
use serde_json::json;

#[test]
fn containers_see_each_others_processes_where_the_pod_says_so() {
    on_machine(|machine| async move {
        let side =
            json!({"name": "side", "image": "busybox", "command": ["httpd", "-f", "-p", "127.0.0.1:99"]});
        let pod = |is_shared: bool| json!({"shareProcessNamespace": is_shared, "containers": [{}, side]});
        let script = "until pidof httpd >/dev/null; do usleep 10000; done; cat /proc/1/comm; kill $(pidof httpd); \
                      while pidof httpd >/dev/null; do usleep 10000; done; echo gone";
        assert_eq!(machine.run("shared", pod(true), script).await, "hako-pause\ngone\n");
        let script = "until wget -q -O /dev/null http://127.0.0.1:99/etc/hosts; do usleep 10000; done; \
                      pidof httpd || echo alone";
        let said = machine.run("private", pod(false), script).await;
        assert!(said.ends_with("alone\n"), "{said}");
    });
}

#[test]
fn a_pod_is_in_the_hosts_namespaces_where_it_says_so() {
    on_machine(|machine| async move {
        let link = |kind: &str| {
            let link = std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap();
            format!("{}\n", link.display())
        };
        for (field, kind) in [("hostPID", "pid"), ("hostIPC", "ipc"), ("hostNetwork", "net")] {
            for is_host in [true, false] {
                let name = format!("{kind}-{is_host}");
                let script = format!("readlink /proc/self/ns/{kind}");
                let said = machine.run(&name, json!({field: is_host, "containers": [{}]}), &script).await;
                assert_eq!(said == link(kind), is_host, "{field}: {said}");
            }
        }
    });
}
