//! Programs in pods that use the API with what they find in their container.

use crate::platform::{Platform, wait_until};

#[test]
fn a_program_in_a_pod_reaches_the_api_with_its_token() {
    let platform = Platform::with_busybox();
    platform.kubectl(&["create", "role", "reader", "--verb=get,list", "--resource=configmaps"]);
    platform.kubectl(&[
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--serviceaccount=default:default",
    ]);
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
        "spec": {
            "restartPolicy": "Never",
            "volumes": [{"name": "kubectl", "hostPath": {"path": kubectl()}}],
            "containers": [{
                "name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", "kubectl get configmaps -o name && kubectl auth whoami -o json && kubectl get pods"],
                "volumeMounts": [{"name": "kubectl", "mountPath": "/bin/kubectl", "readOnly": true}],
            }],
        },
    });
    let file = platform.data_dir().with_file_name("pod.json");
    std::fs::write(&file, pod.to_string()).unwrap();
    platform.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    wait_until("the program to end", || {
        let phase = platform.kubectl(&["get", "pod", "client", "-o", "jsonpath={.status.phase}"]);
        matches!(phase.as_str(), "Succeeded" | "Failed")
    });
    let said = platform.kubectl(&["logs", "client"]);
    assert!(said.contains("configmap/kube-root-ca.crt"), "{said}");
    assert!(said.contains("system:serviceaccount:default:default"), "{said}");
    assert!(said.contains("authentication.kubernetes.io/pod-name"), "{said}");
    assert!(said.contains("cannot list resource \"pods\""), "{said}");
    platform.down();
}

fn kubectl() -> String {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("kubectl"))
        .find(|path| path.is_file());
    found.expect("kubectl on the PATH").canonicalize().unwrap().to_string_lossy().into_owned()
}
