//! kubectl, as people use it, and never with `--validate=false`.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::World;

const MANIFEST: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hello, namespace: hello}
data: {greeting: hi}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello, namespace: hello, labels: {app: hello}}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: hello
        image: hello:v1
        ports: [{containerPort: 8080}]
        resources: {limits: {cpu: 100m, memory: 32Mi}}
        readinessProbe: {httpGet: {path: /, port: 8080}}
        envFrom: [{configMapRef: {name: hello}}]
---
apiVersion: v1
kind: Service
metadata: {name: hello, namespace: hello}
spec:
  type: NodePort
  selector: {app: hello}
  ports: [{port: 80, targetPort: 8080}]
";

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

#[tokio::test(flavor = "multi_thread")]
async fn the_service_kubernetes_comes_back_after_its_deletion() {
    let world = World::start().await;
    world.kubectl(&["delete", "service,endpoints,endpointslice", "kubernetes"]).await;
    for what in ["service", "endpoints", "endpointslice"] {
        let is_back = async || world.try_kubectl(&["get", what, "kubernetes"], "").await.0;
        let began = std::time::Instant::now();
        while !is_back().await {
            assert!(began.elapsed().as_secs() < 60, "waited 60 s in vain for the {what}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_then_changes_then_leaves_alone() {
    let world = World::start().await;
    let first = world.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    assert!(first.contains("deployment.apps/hello created"), "{first}");
    let again = world.kubectl_with(&["apply", "-f", "-"], MANIFEST).await;
    assert_eq!(again.matches("unchanged").count(), 4, "{again}");
    let changed = MANIFEST.replace("hello:v1", "hello:v2").replace("greeting: hi", "farewell: bye");
    let third = world.kubectl_with(&["apply", "-f", "-"], &changed).await;
    assert!(third.contains("deployment.apps/hello configured"), "{third}");
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(world.kubectl(&["-n", "hello", "get", "deploy", "hello", "-o", image]).await, "hello:v2");
    let data = world.kubectl(&["-n", "hello", "get", "cm", "hello", "-o", "jsonpath={.data}"]).await;
    assert_eq!(data, r#"{"farewell":"bye"}"#);
    let table = world.kubectl(&["-n", "hello", "get", "deploy,svc,cm", "-o", "wide"]).await;
    assert!(
        table.contains("CONTAINERS") && table.contains("hello:v2") && table.contains("NodePort"),
        "{table}"
    );
    let diff = world.kubectl_with(&["diff", "-f", "-"], &changed).await;
    assert_eq!(diff, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_reports_conflicts_and_yields_to_force() {
    let world = World::start().await;
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: one, b: one}\n";
    let two = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: two}\n";
    world.kubectl_with(&["apply", "--server-side", "--field-manager=one", "-f", "-"], one).await;
    let arguments = ["apply", "--server-side", "--field-manager=two", "-f", "-"];
    let (success, _, error) = world.try_kubectl(&arguments, two).await;
    assert!(!success && error.contains("conflict with \"one\"") && error.contains(".data.a"), "{error}");
    let forced = ["apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-"];
    world.kubectl_with(&forced, two).await;
    let less = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {}\n";
    world.kubectl_with(&["apply", "--server-side", "--field-manager=one", "-f", "-"], less).await;
    let data = world.kubectl(&["get", "cm", "c", "-o", "jsonpath={.data}"]).await;
    assert_eq!(data, r#"{"a":"two"}"#, "what one gave up goes, what two took stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_changes_work() {
    let world = World::start().await;
    world.kubectl_with(&["create", "-f", "-"], MANIFEST).await;
    world.kubectl(&["create", "serviceaccount", "default", "-n", "hello"]).await;
    let hello = |arguments: &[&'static str]| -> Vec<&'static str> { [&["-n", "hello"], arguments].concat() };
    for (arguments, said) in [
        (hello(&["scale", "deploy/hello", "--replicas=5"]), "scaled"),
        (hello(&["label", "deploy/hello", "tier=web"]), "labeled"),
        (hello(&["annotate", "deploy/hello", "note=x"]), "annotated"),
        (hello(&["patch", "deploy/hello", "-p", r#"{"spec":{"minReadySeconds":3}}"#]), "patched"),
        (
            hello(&[
                "patch",
                "deploy/hello",
                "--type=json",
                "-p",
                r#"[{"op":"remove","path":"/metadata/annotations/note"}]"#,
            ]),
            "patched",
        ),
        (
            hello(&[
                "patch",
                "svc/hello",
                "--type=merge",
                "-p",
                r#"{"spec":{"sessionAffinity":"ClientIP"}}"#,
            ]),
            "patched",
        ),
        (hello(&["set", "image", "deploy/hello", "hello=hello:v3"]), "image updated"),
        (hello(&["expose", "deploy/hello", "--name=other", "--port=80"]), "exposed"),
        (hello(&["run", "single", "--image=hello:v1"]), "created"),
        (hello(&["delete", "configmap", "hello"]), "deleted"),
    ] {
        let out = world.kubectl(&arguments).await;
        assert!(out.contains(said), "{arguments:?}: {out}");
    }
    let spec = "jsonpath={.spec.replicas} {.spec.minReadySeconds} {.metadata.labels.tier} {.metadata.annotations.note}";
    let shown = world.kubectl(&hello(&["get", "deploy", "hello", "-o", spec])).await;
    assert_eq!(shown.trim(), "5 3 web");
    let script = world.dir.path().join("edit");
    std::fs::write(&script, "#!/bin/sh\nsed -i 's/minReadySeconds: 3/minReadySeconds: 7/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let edit = [("KUBE_EDITOR", script.to_str().unwrap())];
    let out = world.kubectl_in(&hello(&["edit", "deploy/hello"]), &edit).await;
    assert!(out.contains("edited"), "{out}");
    let described = world.kubectl(&hello(&["describe", "deploy/hello"])).await;
    assert!(described.contains("MinReadySeconds:        7") && described.contains("hello:v3"), "{described}");
    let pod = world.kubectl(&hello(&["describe", "pod/single"])).await;
    assert!(pod.contains("QoS Class:"), "{pod}");
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_and_explain_need_no_flags() {
    let world = World::start().await;
    let wrong = MANIFEST.replace("replicas: 3", "replicaz: 3");
    let (success, _, error) = world.try_kubectl(&["create", "-f", "-"], &wrong).await;
    assert!(!success && error.contains("unknown field \"spec.replicaz\""), "{error}");
    let wrong = MANIFEST.replace("replicas: 3", "replicas: many");
    let (success, _, error) = world.try_kubectl(&["apply", "-f", "-"], &wrong).await;
    assert!(!success && error.contains("replicas"), "{error}");
    let explained = world.kubectl(&["explain", "deployment.spec.strategy.rollingUpdate"]).await;
    assert!(explained.contains("maxSurge") && explained.contains("maxUnavailable"), "{explained}");
    let resources = world.kubectl(&["api-resources"]).await;
    for line in ["deployments", "deploy", "endpointslices", "leases", "svc"] {
        assert!(resources.contains(line), "{line}: {resources}");
    }
    assert!(world.kubectl(&["version"]).await.contains("v1.36.0+hako"));
    assert!(world.kubectl(&["api-versions"]).await.contains("discovery.k8s.io/v1"));
    let dry = world
        .kubectl_with(
            &["apply", "--dry-run=server", "-f", "-"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\n",
        )
        .await;
    assert!(dry.contains("(server dry run)"), "{dry}");
    assert!(!world.try_kubectl(&["get", "cm", "d"], "").await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_prints_changes_as_they_come() {
    let world = World::start().await;
    let config_map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    world.kubectl_with(&["create", "-f", "-"], &config_map("a")).await;
    let (_, out, _) = {
        let watching = world.try_kubectl(&["get", "cm", "--watch", "--request-timeout=4s"], "");
        let writing = async {
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            world.kubectl_with(&["create", "-f", "-"], &config_map("late")).await
        };
        tokio::join!(watching, writing).0
    };
    assert!(out.contains("NAME") && out.contains("late"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn create_without_a_file_speaks_protobuf() {
    let world = World::start().await;
    let creations: [(&[&str], &str); 10] = [
        (&["namespace", "team"], "namespace/team created"),
        (&["configmap", "map", "--from-literal=a=1", "--from-literal=b="], "configmap/map created"),
        (&["secret", "generic", "key", "--from-literal=p=s3"], "secret/key created"),
        (
            &["secret", "docker-registry", "reg", "--docker-username=u", "--docker-password=p"],
            "secret/reg created",
        ),
        (
            &["deployment", "web", "--image=web:v1", "--port=80", "--replicas=0"],
            "deployment.apps/web created",
        ),
        (&["service", "clusterip", "web", "--tcp=80:8080"], "service/web created"),
        (&["service", "nodeport", "open", "--tcp=80:http"], "service/open created"),
        (&["service", "externalname", "far", "--external-name=example.org"], "service/far created"),
        (&["service", "clusterip", "bare", "--clusterip=None"], "service/bare created"),
        (&["serviceaccount", "robot"], "serviceaccount/robot created"),
    ];
    for (arguments, said) in creations {
        let arguments = [&["-v=8", "create"], arguments].concat();
        let (success, out, error) = world.try_kubectl(&arguments, "").await;
        assert!(success && out.contains(said), "{arguments:?}: {out}{error}");
        // What it sends, and what it is answered.
        let messages = error.matches("Content-Type: application/vnd.kubernetes.protobuf").count();
        assert_eq!(messages, 2, "{arguments:?}: {error}");
    }
    for (object, path, value) in [
        ("configmap/map", "{.data}", r#"{"a":"1","b":""}"#),
        ("secret/key", "{.data.p} {.type}", "czM= Opaque"),
        ("secret/reg", "{.type}", "kubernetes.io/dockerconfigjson"),
        ("deployment/web", "{.spec.replicas} {.spec.template.spec.containers[0].image}", "0 web:v1"),
        ("service/web", "{.spec.ports[0].targetPort} {.spec.type}", "8080 ClusterIP"),
        ("service/open", "{.spec.ports[0].targetPort} {.spec.type}", "http NodePort"),
        ("service/far", "{.spec.externalName}", "example.org"),
        ("service/bare", "{.spec.clusterIP}", "None"),
        ("namespace/team", "{.status.phase}", "Active"),
    ] {
        assert_eq!(
            world.kubectl(&["get", object, "-o", &format!("jsonpath={path}")]).await,
            value,
            "{object}"
        );
    }
    let out = world.kubectl(&["scale", "deployment/web", "--replicas=4"]).await;
    assert!(out.contains("scaled"), "{out}");
    let replicas = world.kubectl(&["get", "deployment/web", "-o", "jsonpath={.spec.replicas}"]).await;
    assert_eq!(replicas, "4");
    let (success, _, error) = world.try_kubectl(&["create", "configmap", "Map"], "").await;
    assert!(!success && error.contains("Invalid value"), "{error}");
    let (success, _, error) = world.try_kubectl(&["create", "configmap", "map"], "").await;
    assert!(!success && error.contains("already exists"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_evicts_the_pods_of_a_node() {
    let world = World::start().await;
    let objects = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n---\n\
                   apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
                   spec: {nodeName: node-1, containers: [{name: c, image: c}]}\n";
    world.kubectl_with(&["create", "-f", "-"], objects).await;
    let drain = ["drain", "node-1", "--force", "--grace-period=0", "--timeout=20s"];
    let (success, out, error) = world.try_kubectl(&drain, "").await;
    assert!(success && out.contains("pod/p evicted") && out.contains("node/node-1 drained"), "{out}{error}");
    assert!(!world.try_kubectl(&["get", "pod", "p"], "").await.0);
    let cordoned = world.kubectl(&["get", "node", "node-1", "-o", "jsonpath={.spec.unschedulable}"]).await;
    assert_eq!(cordoned, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn sorting_by_any_field_keeps_all_rows() {
    let world = World::start().await;
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: c}}]}}\n"
        )
    };
    world.kubectl_with(&["create", "-f", "-"], &[pod("a"), pod("b"), pod("c")].join("---\n")).await;
    for (name, day) in [("a", "03"), ("b", "01"), ("c", "02")] {
        let status = format!("{{\"status\":{{\"startTime\":\"2026-01-{day}T00:00:00Z\"}}}}");
        world.kubectl(&["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status]).await;
    }
    let names = |table: &str| -> Vec<String> {
        table.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
    };
    let pods = world.kubectl(&["get", "pods", "--no-headers", "--sort-by=.status.startTime"]).await;
    assert_eq!(names(&pods), ["b", "c", "a"], "{pods}");
    for (name, address) in [("x", "10.96.0.30"), ("y", "10.96.0.20")] {
        let address = format!("--clusterip={address}");
        world.kubectl(&["create", "service", "clusterip", name, "--tcp=80:80", &address]).await;
    }
    let services = world.kubectl(&["get", "svc", "--no-headers", "--sort-by=.spec.clusterIP"]).await;
    assert_eq!(names(&services), ["kubernetes", "y", "x"], "{services}");
    let event = |name: &str, day: &str| {
        format!(
            "apiVersion: v1\nkind: Event\nmetadata: {{name: {name}}}\nreason: {name}\ntype: Normal\n\
             involvedObject: {{kind: Pod, namespace: default, name: a}}\nlastTimestamp: 2026-01-{day}T00:00:00Z\n"
        )
    };
    world
        .kubectl_with(&["create", "-f", "-"], &[event("late", "09"), event("early", "08")].join("---\n"))
        .await;
    let events = world.kubectl(&["get", "events", "--no-headers", "--sort-by=.lastTimestamp"]).await;
    let (early, late) = (events.find("early").unwrap(), events.find("late").unwrap());
    assert!(early < late, "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_adds_a_container() {
    let world = World::start().await;
    world.kubectl(&["run", "p", "--image=c"]).await;
    world.kubectl(&["debug", "p", "--image=tools", "-c", "look", "--target=p", "--profile=general"]).await;
    let path = "jsonpath={.spec.ephemeralContainers[0]['name','image','targetContainerName']}";
    assert_eq!(world.kubectl(&["get", "pod", "p", "-o", path]).await, "look tools p");
}
