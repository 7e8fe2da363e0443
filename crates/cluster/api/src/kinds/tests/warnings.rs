//! What is told and not refused.

use super::*;

fn told(kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let object = created(kind, new.clone());
    (row(kind).warnings)(&object, old)
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [
        {"name": "main", "image": "app"}, {"name": "side", "image": "app"}]}});
    merge(&mut pod["spec"], spec);
    pod
}

#[test]
fn a_pod_is_told_of_what_is_old_and_of_what_it_says_twice() {
    let main = |of: Value| {
        let mut main = json!({"name": "main", "image": "app"});
        merge(&mut main, of);
        json!({"containers": [main, {"name": "side", "image": "app", "ports": [{"containerPort": 80}]}]})
    };
    for (spec, expected) in [
        (
            json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}),
            "spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
        ),
        (
            json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
        ),
        (
            json!({"imagePullSecrets": [{"name": ""}]}),
            "spec.imagePullSecrets[0].name: invalid empty name \"\"",
        ),
        (
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
        ),
        (
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname"}]}}}),
            "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: \
             a null labelSelector results in matching no pod",
        ),
        (
            json!({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]}),
            "spec.volumes[0].gitRepo: deprecated in v1.11",
        ),
        (
            json!({"terminationGracePeriodSeconds": -1}),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ),
        (
            main(json!({"resources": {"limits": {"memory": "1500m"}, "requests": {"memory": "1"}}})),
            "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, \
             must be an integer",
        ),
        (
            main(json!({"ports": [{"containerPort": 80}]})),
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            main(json!({"ports": [{"containerPort": 80, "hostPort": 81}]})),
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        (
            main(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A):2"},
            {"name": "A", "value": "3"}]})),
            "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
        ),
    ] {
        assert_eq!(told("Pod", &pod(spec.clone()), None), [expected], "{spec}");
    }
    assert_eq!(told("Pod", &pod(json!({})), None), Vec::<String>::new());
    let twice = pod(json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}));
    assert_eq!(told("Pod", &twice, Some(&twice)), Vec::<String>::new(), "programs change pods");
}

#[test]
fn a_workload_is_told_of_its_template_when_that_changes() {
    let mut deployment = deployment(json!({}));
    let annotations = json!({"security.alpha.kubernetes.io/sysctls": "a=1"});
    deployment["spec"]["template"]["metadata"]["annotations"] = annotations;
    let path = "spec.template.metadata.annotations[security.alpha.kubernetes.io/sysctls]";
    let expected = [format!("{path}: non-functional in v1.11+; use the \"sysctls\" field instead")];
    assert_eq!(told("Deployment", &deployment, None), expected);
    let same = created("Deployment", deployment.clone());
    assert_eq!(told("Deployment", &deployment, Some(&same)), Vec::<String>::new());
    let mut other = same;
    other["spec"]["template"]["metadata"]["annotations"] = json!({});
    assert_eq!(told("Deployment", &deployment, Some(&other)), expected);
    let ingress = json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}});
    assert_eq!(
        (row("Ingress").warnings)(&ingress, None),
        [
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
        ]
    );
}
