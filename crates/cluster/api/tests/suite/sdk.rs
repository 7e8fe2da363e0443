//! Clients of other languages and helm: a life with each.

use std::path::Path;

use crate::programs;
use crate::support::World;

async fn script(world: &World, program: &Path, file: &str, environment: &[(&str, &str)]) {
    let path = format!("{}/tests/sdk/{file}", env!("CARGO_MANIFEST_DIR"));
    let (success, out, error) = world.try_program(program, &[&path], "", environment).await;
    assert!(success && out.ends_with("done\n"), "{file}: {out}{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_lives_through_a_namespace() {
    let python = programs::python("kubernetes", "37.0.2");
    script(&World::start().await, &python, "life.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_lives_through_a_namespace() {
    let packages = programs::node("@kubernetes/client-node", "1.4.0");
    let world = World::start().await;
    let ca = world.dir.path().join("pki/ca.crt");
    let environment =
        [("PACKAGES", packages.to_str().unwrap()), ("NODE_EXTRA_CA_CERTS", ca.to_str().unwrap())];
    script(&world, Path::new("node"), "life.mjs", &environment).await;
}

const CHART: [(&str, &str); 4] = [
    ("Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.2.3\nappVersion: \"4.5\"\n"),
    ("values.yaml", "replicas: 2\ngreeting: hello\n"),
    (
        "templates/all.yaml",
        r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  labels: {helm.sh/chart: "{{ .Chart.Name }}-{{ .Chart.Version }}"}
data: {greeting: {{ .Values.greeting | quote }}, version: {{ .Capabilities.KubeVersion.Version | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: c, image: "app:1"}]}
---
{{- if .Capabilities.APIVersions.Has "networking.k8s.io/v1/Ingress" }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: {{ .Release.Name }}}
spec: {defaultBackend: {service: {name: {{ .Release.Name }}, port: {number: 80}}}}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "{{ .Release.Namespace }}-{{ .Release.Name }}"}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
"#,
    ),
    ("templates/NOTES.txt", "installed {{ .Release.Name }}\n"),
];

/// A release is installed, upgraded, rolled back and removed.
async fn helm_lives_through_a_release(minor: u32) {
    let helm = programs::layer(minor).join("helm");
    let world = World::start().await;
    let chart = world.dir.path().join("app");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    for (file, text) in CHART {
        std::fs::write(chart.join(file), text).unwrap();
    }
    let chart = chart.to_str().unwrap();
    let ok = async |arguments: &[&str]| {
        let arguments = [arguments, &["-n", "team"]].concat();
        let (success, out, error) = world.try_program(&helm, &arguments, "", &[]).await;
        assert!(success, "helm {arguments:?}: {out}{error}");
        out
    };
    let field = async |object: &str, path: &str| {
        let path = format!("jsonpath={path}");
        world.kubectl(&["-n", "team", "get", object, "-o", &path]).await
    };
    let installed = ok(&["install", "web", chart, "--create-namespace"]).await;
    assert!(installed.contains("STATUS: deployed") && installed.contains("installed web"), "{installed}");
    assert_eq!(field("configmap/web", "{.data.greeting} {.data.version}").await, "hello v1.36.0+hako");
    assert_eq!(field("ingress/web", "{.spec.defaultBackend.service.name}").await, "web");
    ok(&["upgrade", "web", chart, "--set", "replicas=5,greeting=bye"]).await;
    assert_eq!(field("deployment/web", "{.spec.replicas}").await, "5");
    let history = ok(&["history", "web"]).await;
    assert!(history.contains("superseded") && history.contains("Upgrade complete"), "{history}");
    ok(&["rollback", "web", "1"]).await;
    assert_eq!(field("deployment/web", "{.spec.replicas}").await, "2");
    assert_eq!(field("configmap/web", "{.data.greeting}").await, "hello");
    assert!(ok(&["get", "manifest", "web"]).await.contains("kind: Ingress"));
    assert!(ok(&["list"]).await.contains("app-1.2.3"));
    ok(&["uninstall", "web"]).await;
    let left =
        world.kubectl(&["-n", "team", "get", "deployment,ingress,configmap,secret", "-o", "name"]).await;
    assert!(!left.contains("web"), "{left}");
    assert!(!world.try_kubectl(&["get", "clusterrole", "team-web"], "").await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_3_lives_through_a_release() {
    helm_lives_through_a_release(28).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_4_lives_through_a_release() {
    helm_lives_through_a_release(37).await;
}
