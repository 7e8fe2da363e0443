//! What other people wrote, against the whole platform.

use crate::platform::{Platform, output, repository, run, wait_until};
use std::process::Command;

#[test]
fn kubectl_drives_the_example() {
    let platform = Platform::start();
    platform.deploy_example();
    assert!(platform.kubectl(&["get", "nodes"]).contains(" Ready "));
    let pods = platform.kubectl(&["-n", "hello", "get", "pods", "-o", "wide"]);
    assert_eq!(pods.matches("1/1").count(), 3, "{pods}");
    assert!(pods.lines().next().unwrap().contains("READINESS GATES"), "{pods}");
    let name = platform.kubectl(&["-n", "hello", "get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);

    assert!(platform.kubectl(&["-n", "hello", "logs", &name]).contains("listens on port 8080"));
    assert_eq!(
        platform.kubectl(&["-n", "hello", "exec", &name, "--", "/bin/busybox", "cat", "/etc/hello/greeting"]),
        "welcome aboard"
    );
    let failed = output(platform.kubectl_command().args([
        "-n",
        "hello",
        "exec",
        &name,
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        "exit 5",
    ]));
    assert_eq!(failed.status.code(), Some(5));
    let described = platform.kubectl(&["-n", "hello", "describe", "pod", &name]);
    for words in ["hello:v1", "Readiness:", "Limits:", "Started"] {
        assert!(described.contains(words), "{described}");
    }

    let ip =
        platform.kubectl(&["-n", "hello", "get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"]);
    wait_until("the service", || {
        output(Command::new("curl").args(["-sf", "--max-time", "2", &format!("http://{ip}/")]))
            .status
            .success()
    });

    platform.kubectl(&["-n", "hello", "set", "image", "deployment/hello", "hello=hello:v2"]);
    platform.kubectl(&["-n", "hello", "rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert!(run(Command::new("curl").args(["-sf", &format!("http://{ip}/")])).starts_with("hello v2"));
    platform.kubectl(&["-n", "hello", "rollout", "undo", "deployment/hello"]);
    platform.kubectl(&["-n", "hello", "rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert!(run(Command::new("curl").args(["-sf", &format!("http://{ip}/")])).starts_with("hello v1"));

    platform.kubectl(&["-n", "hello", "scale", "deployment/hello", "--replicas=5"]);
    platform.kubectl(&["-n", "hello", "rollout", "status", "deployment/hello", "--timeout=60s"]);
    platform.kubectl(&["delete", "namespace", "hello", "--timeout=60s"]);
    assert!(platform.container_processes().is_empty());
    platform.down();
}

#[test]
fn names_resolve_inside_pods() {
    let platform = Platform::start();
    platform.deploy_example();
    platform.kubectl(&[
        "-n",
        "hello",
        "run",
        "client",
        "--image=busybox",
        "--restart=Never",
        "--command",
        "--",
        "sleep",
        "1000",
    ]);
    platform.kubectl(&["-n", "hello", "wait", "pod/client", "--for=condition=Ready", "--timeout=60s"]);
    let inside =
        |command: &[&str]| platform.kubectl(&[&["-n", "hello", "exec", "client", "--"], command].concat());
    // A static busybox has no resolver of the C library: its own nslookup asks what the file says.
    let resolv_conf = inside(&["cat", "/etc/resolv.conf"]);
    assert!(
        resolv_conf.contains("search hello.svc.cluster.local svc.cluster.local cluster.local"),
        "{resolv_conf}"
    );
    let ip =
        platform.kubectl(&["-n", "hello", "get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"]);
    let answer = inside(&["nslookup", "hello.hello.svc.cluster.local"]);
    assert!(answer.contains(&ip), "{ip} is not in {answer}");
    let (pid, _) = platform.container_processes().into_iter().next().unwrap();
    let mut curl = Command::new("nsenter");
    curl.args([
        "--net",
        "--target",
        &pid.to_string(),
        "curl",
        "-sf",
        "--max-time",
        "5",
        &format!("http://{ip}/"),
    ]);
    assert!(run(&mut curl).starts_with("hello v1"), "from inside a pod");
    let unknown = output(platform.kubectl_command().args([
        "-n",
        "hello",
        "exec",
        "client",
        "--",
        "nslookup",
        "nobody.hello.svc.cluster.local",
    ]));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("NXDOMAIN"), "{unknown:?}");
    platform.down();
}

#[test]
fn the_commands_for_those_without_kubectl_suffice() {
    let platform = Platform::start();
    platform.build_example();
    let example = repository().join("examples/hello");
    let applied = platform.run(&["apply", "-f", example.to_str().unwrap()]);
    assert!(applied.contains("deployment.apps/hello created"), "{applied}");
    wait_until("three Ready pods", || {
        platform.run(&["get", "pods", "-n", "hello"]).matches("1/1").count() == 3
    });
    assert!(
        platform.run(&["apply", "-f", example.to_str().unwrap()]).contains("deployment.apps/hello unchanged")
    );
    let names = platform.run(&["get", "pods", "-n", "hello", "--output", "name"]);
    let pod = names.lines().next().unwrap();
    assert!(platform.run(&["logs", pod, "-n", "hello"]).contains("listens on port"));
    assert!(platform.run(&["why", pod, "-n", "hello"]).contains("answers for the service hello"));
    platform.run(&["scale", "deployment/hello", "-n", "hello", "--replicas", "1"]);
    wait_until("one pod", || {
        platform.run(&["get", "pods", "-n", "hello", "--output", "name"]).lines().count() == 1
    });
    platform.run(&["delete", "-f", example.to_str().unwrap()]);
    assert!(platform.container_processes().is_empty());
    platform.down();
}

#[test]
fn the_crate_kube_creates_watches_and_deletes() {
    use futures::{StreamExt, TryStreamExt};
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{Api, DeleteParams, LogParams, PostParams, WatchEvent, WatchParams};

    let platform = Platform::with_busybox();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(platform.kubeconfig()).unwrap();
    runtime.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let pods: Api<Pod> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "talker" },
            "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "busybox", "command": ["sh", "-c", "echo said; exit 4"] }] },
        }));
        let mut events = pods.watch(&WatchParams::default(), "0").await.unwrap().boxed();
        pods.create(&PostParams::default(), &pod.unwrap()).await.unwrap();
        let ended = async {
            while let Some(event) = events.try_next().await.unwrap() {
                if let WatchEvent::Modified(pod) = event
                    && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed")
                {
                    return pod;
                }
            }
            panic!("the watch ended");
        };
        let pod = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await.expect("the pod to fail");
        let code = pod.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap().exit_code;
        assert_eq!(code, 4);
        assert_eq!(pods.logs("talker", &LogParams::default()).await.unwrap(), "said\n");
        pods.delete("talker", &DeleteParams::default()).await.unwrap();
        wait_gone(&pods).await;
    });
    drop(runtime);
    platform.down();
}

async fn wait_gone(pods: &kube::Api<k8s_openapi::api::core::v1::Pod>) {
    for _ in 0..3000 {
        if pods.get_opt("talker").await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the pod is still there");
}
