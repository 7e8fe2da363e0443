//! Owners, modes and bounds of volumes as their containers see them.

use crate::machine::on_machine;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

fn pod(security: Value, mounts: &[&str], volumes: Value) -> Value {
    let mounts: Vec<Value> =
        mounts.iter().map(|name| json!({"name": name, "mountPath": format!("/{name}")})).collect();
    json!({"securityContext": security, "containers": [{"volumeMounts": mounts}], "volumes": volumes})
}

#[test]
fn empty_directories_belong_to_the_pods_group_and_memory_is_bounded() {
    on_machine(|machine| async move {
        let volumes = json!([
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
        ]);
        let security = json!({"fsGroup": 2000, "runAsUser": 1000, "runAsGroup": 3000});
        let script = "id -G; for d in /disk /memory; do stat -c '%n %A %a %u %g' $d; touch $d/new; \
                      stat -c '%u %g' $d/new; done; \
                      dd if=/dev/zero of=/memory/big bs=1024 count=2048 2>/dev/null || echo full; \
                      stat -c %s /memory/big; stat -f -c %T /memory";
        let said = machine.run("grouped", pod(security, &["disk", "memory"], volumes), script).await;
        let want = "3000 2000\n/disk drwxrwsrwx 2777 0 2000\n1000 2000\n/memory drwxrwsrwx 2777 0 2000\n1000 2000\n\
                    full\n1048576\ntmpfs\n";
        assert_eq!(said, want);

        let volumes =
            json!([{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]);
        let script = "stat -c '%a %u %g' /disk /memory";
        let said = machine.run("plain", pod(json!({}), &["disk", "memory"], volumes), script).await;
        assert_eq!(said, "777 0 0\n777 0 0\n");
    });
}

#[test]
fn files_of_objects_can_be_read_by_the_pods_group_and_not_be_written() {
    on_machine(|machine| async move {
        let meta = |name: &str| json!({"name": name, "namespace": "default"});
        machine.create::<ConfigMap>(json!({"metadata": meta("conf"), "data": {"a": "A"}})).await;
        machine.create::<Secret>(json!({"metadata": meta("key"), "data": {"s": "aHVzaA=="}})).await;
        let volumes = json!([
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
            {"name": "down", "downwardAPI": {"items": [
                {"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "both", "projected": {"defaultMode": 0o200, "sources": [{"configMap": {"name": "conf"}}]}}
        ]);
        let names = ["conf", "key", "down", "both"];
        let files = "/conf/a /key/s /down/n /both/a";
        let script = format!(
            "stat -c '%a %u %g' /conf /key; stat -L -c '%a %u %g' /conf/..data {files}; cat {files}; \
             touch /conf/b 2>/dev/null || echo read-only"
        );
        let security = json!({"fsGroup": 2000, "runAsUser": 1000});
        let said = machine.run("grouped", pod(security, &names, volumes.clone()), &script).await;
        let want = "2777 0 2000\n2777 0 2000\n2755 0 2000\n644 0 2000\n440 0 2000\n644 0 2000\n640 0 2000\nAhushgroupedA\
                    read-only\n";
        assert_eq!(said, want);

        let script = format!("stat -L -c '%a %u %g' {files}; touch /conf/b 2>/dev/null || echo read-only");
        let said = machine.run("plain", pod(json!({}), &names, volumes), &script).await;
        assert_eq!(said, "644 0 0\n400 0 0\n644 0 0\n200 0 0\nread-only\n");
    });
}
