//! The same work with kubectls of many years, and what newer ones can do besides.

use std::path::PathBuf;

use crate::programs;
use crate::support::World;

/// A kubectl, its minor version, and the server it works on.
struct Kubectl {
    program: PathBuf,
    minor: u32,
    world: World,
}

async fn does_its_work(minor: u32, program: PathBuf) {
    let kubectl = Kubectl { program, minor, world: World::start().await };
    kubectl.writes_and_reads().await;
    kubectl.applies_and_compares().await;
    kubectl.changes_workloads().await;
    kubectl.tends_nodes().await;
    kubectl.asks_about_rights().await;
    kubectl.looks_at_everything().await;
    kubectl.uses_what_is_newer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_1_20_of_debian_does_its_work() {
    does_its_work(20, programs::debian_kubectl()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_1_28_does_its_work() {
    does_its_work(28, programs::layer(28).join("kubectl")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: the oldest, the newest and one between suffice each time"]
async fn kubectl_1_30_does_its_work() {
    does_its_work(30, programs::layer(30).join("kubectl")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: the oldest, the newest and one between suffice each time"]
async fn kubectl_1_33_does_its_work() {
    does_its_work(33, programs::layer(33).join("kubectl")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: the oldest, the newest and one between suffice each time"]
async fn kubectl_1_36_does_its_work() {
    does_its_work(36, programs::layer(36).join("kubectl")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_1_37_does_its_work() {
    does_its_work(37, programs::layer(37).join("kubectl")).await;
}

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: 'app:1', ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\n\
                    apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: team}\n\
                    spec: {nodeName: n1, containers: [{name: c, image: c}]}\n";

impl Kubectl {
    async fn attempt(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let arguments = [&["-n", "team"], arguments].concat();
        self.world.try_program(&self.program, &arguments, input, &[]).await
    }

    async fn with(&self, arguments: &[&str], input: &str) -> String {
        let (success, out, error) = self.attempt(arguments, input).await;
        assert!(success, "kubectl 1.{} {arguments:?}: {out}{error}", self.minor);
        out
    }

    /// Runs it; the output has to hold the words.
    async fn says(&self, line: &str, words: &str) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let out = self.with(&arguments, "").await;
        assert!(out.contains(words), "kubectl 1.{} {line}: {out}", self.minor);
    }

    /// Runs it, which has to fail with these words.
    async fn is_refused(&self, line: &str, words: &str) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let (success, out, error) = self.attempt(&arguments, "").await;
        assert!(!success && error.contains(words), "kubectl 1.{} {line}: {out}{error}", self.minor);
    }

    async fn writes_and_reads(&self) {
        self.says("create namespace team", "namespace/team created").await;
        self.says("create serviceaccount default", "serviceaccount/default created").await;
        self.says("create configmap m --from-literal=a=1", "configmap/m created").await;
        self.says("get configmap m -o yaml", "a: \"1\"").await;
        self.says("get cm m -o jsonpath={.data.a}", "1").await;
        self.says("get cm -o custom-columns=X:.metadata.name", "m").await;
        self.says("label cm m tier=web", "labeled").await;
        self.says("get cm -l tier=web -o name", "configmap/m").await;
        self.says("get cm --field-selector metadata.name=m --no-headers", "m").await;
        self.says("annotate cm m note=x", "annotated").await;
        self.says(r#"patch cm m -p {"data":{"b":"2"}}"#, "patched").await;
        self.says(r#"patch cm m --type=merge -p {"data":{"b":null}}"#, "patched").await;
        self.says(r#"patch cm m --type=json -p [{"op":"add","path":"/data/c","value":"3"}]"#, "patched")
            .await;
        self.says("get cm m -o jsonpath={.data}", r#"{"a":"1","c":"3"}"#).await;
        let changed = self.with(&["get", "cm", "m", "-o", "json"], "").await.replace(r#""3""#, r#""4""#);
        self.with(&["replace", "-f", "-"], &changed).await;
        self.says("get cm m -o jsonpath={.data.c}", "4").await;
        self.says("delete cm m", "deleted").await;
        self.is_refused("get cm m", "configmaps \"m\" not found").await;
        self.is_refused("create configmap Big", "Invalid value").await;
    }

    async fn applies_and_compares(&self) {
        let created = self.with(&["apply", "-f", "-"], WEB).await;
        assert!(created.contains("deployment.apps/web created"), "{created}");
        let again = self.with(&["apply", "-f", "-"], WEB).await;
        assert!(again.contains("deployment.apps/web unchanged"), "kubectl 1.{}: {again}", self.minor);
        let other = WEB.replace("replicas: 3", "replicas: 4");
        let (success, out, error) = self.attempt(&["diff", "-f", "-"], &other).await;
        assert!(!success && out.contains("+  replicas: 4"), "kubectl 1.{}: {out}{error}", self.minor);
        let dry = self.with(&["apply", "--dry-run=server", "-f", "-"], &other).await;
        assert!(dry.contains("configured (server dry run)"), "{dry}");
        self.says("get deployment web -o jsonpath={.spec.replicas}", "3").await;
        let server_side = ["apply", "--server-side", "--force-conflicts", "--field-manager=me", "-f", "-"];
        let applied = self.with(&server_side, &other).await;
        assert!(applied.contains("serverside-applied"), "{applied}");
        let one_more = ["apply", "--server-side", "--field-manager=you", "-f", "-"];
        let (success, _, error) = self.attempt(&one_more, WEB).await;
        assert!(!success && error.contains(".spec.replicas"), "kubectl 1.{}: {error}", self.minor);
        let wrong = WEB.replace("replicas: 3", "replicaz: 3");
        let (success, _, error) = self.attempt(&["apply", "-f", "-"], &wrong).await;
        assert!(!success && error.contains("replicaz"), "kubectl 1.{}: {error}", self.minor);
    }

    async fn changes_workloads(&self) {
        self.says("scale deployment web --replicas=5", "scaled").await;
        self.says("get deployment web -o jsonpath={.spec.replicas}", "5").await;
        self.says("autoscale deployment web --max=7 --cpu-percent=50", "autoscaled").await;
        self.says("get hpa web -o jsonpath={.spec.maxReplicas}", "7").await;
        self.says("set image deployment/web c=app:2", "image updated").await;
        self.says("rollout pause deployment/web", "paused").await;
        self.says("rollout resume deployment/web", "resumed").await;
        self.says("rollout restart deployment/web", "restarted").await;
        self.says("expose deployment web --name=other --port=80", "exposed").await;
        self.says("run single --image=app:1", "created").await;
        self.says("create job j --image=app:1", "created").await;
        self.makes_a_cron_job().await;
        self.says("create secret generic s --from-literal=p=x", "created").await;
        self.says("create quota q --hard=pods=100", "created").await;
        self.says("create role r --verb=get --resource=pods", "created").await;
        self.says("create rolebinding r --role=r --user=jane", "created").await;
        self.says("describe deployment web", "app:2").await;
        self.says("describe service web", "Selector:").await;
        self.says("describe hpa web", "Reference:").await;
        self.says("describe quota q", "Resource").await;
        self.says("delete hpa,job,quota --all", "deleted").await;
    }

    /// Before 1.21 it sends a version that is gone, and is told of the one that replaced it.
    async fn makes_a_cron_job(&self) {
        let create = "create cronjob c --image=app:1 --schedule=@hourly";
        if self.minor < 21 {
            return self
                .is_refused(create, "cronjobs of batch/v1beta1 are no longer served, use batch/v1")
                .await;
        }
        self.says(create, "created").await;
        self.says("create job k --from=cronjob/c", "created").await;
    }

    async fn tends_nodes(&self) {
        self.with(&["create", "-f", "-"], NODE).await;
        self.says("cordon n1", "cordoned").await;
        self.says("get node n1", "SchedulingDisabled").await;
        self.says("uncordon n1", "uncordoned").await;
        self.says("taint node n1 a=b:NoSchedule", "tainted").await;
        self.says("get node n1 -o jsonpath={.spec.taints[?(@.key=='a')].effect}", "NoSchedule").await;
        self.says("taint node n1 a-", "untainted").await;
        self.says("drain n1 --force --grace-period=0 --timeout=30s", "pod/p evicted").await;
        self.is_refused("get pod p", "not found").await;
        self.says("describe node n1", "Unschedulable:      true").await;
        self.is_refused("top node", "Metrics API not available").await;
    }

    async fn asks_about_rights(&self) {
        self.says("auth can-i create pods", "yes").await;
        self.says("auth can-i get pods --as=jane", "yes").await;
        let (_, no, _) = self.attempt(&["auth", "can-i", "delete", "pods", "--as=jane"], "").await;
        assert!(no.contains("no"), "{no}");
        self.says("auth can-i --list", "*.*").await;
        self.says("auth can-i --list --as=jane", "pods").await;
        self.with(&["create", "-f", "-"], &certificate_request()).await;
        self.says("certificate approve csr", "approved").await;
        self.says("get csr csr", "Approved").await;
    }

    async fn looks_at_everything(&self) {
        self.says("version", "v1.36.0+hako").await;
        self.says("api-versions", "apps/v1").await;
        self.says("api-resources", "deployments").await;
        self.says("cluster-info", "is running at").await;
        self.says("get --raw /readyz?verbose", "readyz check passed").await;
        self.says("get --raw /api/v1/namespaces/team/services/web", "\"clusterIP\"").await;
        self.says("explain pod.spec.containers.image", "Container image name").await;
        self.says("explain deployment.spec.strategy --recursive", "maxSurge").await;
        self.says("get events", "").await;
        self.says("get all", "deployment.apps/web").await;
        self.says("get pods -A -o wide", "NOMINATED NODE").await;
        self.says("get nodes,sc,pv,pvc,ing,netpol,sa,roles,leases -A", "NAME").await;
    }

    async fn uses_what_is_newer(&self) {
        if self.minor < 24 {
            return;
        }
        self.says("events", "").await;
        self.says("create token default", "ey").await;
        self.says("wait deployment/web --for=jsonpath={.spec.replicas}=5 --timeout=20s", "condition met")
            .await;
        self.says("wait pod/none --for=delete --timeout=20s", "").await;
        self.says("get deployment web --subresource=scale -o jsonpath={.spec.replicas}", "5").await;
        self.says("debug single --image=tools -c look --profile=general", "").await;
        self.says("get pod single -o jsonpath={.spec.ephemeralContainers[0].name}", "look").await;
        self.says("auth whoami", "system:masters").await;
    }
}

/// A request for a certificate that anybody with its key can make.
fn certificate_request() -> String {
    let pem = rcgen_request();
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(pem)
    };
    format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: csr}}\n\
         spec: {{request: {encoded}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}\n"
    )
}

fn rcgen_request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}
