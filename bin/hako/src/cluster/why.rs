//! `hako why pod/NAME`: why it is pending, restarting or unreachable, and the smallest change that would help.

use super::client;
use crate::cli::{OutputFormat, WhyArgs};
use crate::engine::EngineClient;
use crate::locate::Target;
use crate::output;
use anyhow::bail;
use hako_client::{Api, ListParams};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Event, Namespace, Node, Pod, Service,
};
use serde_json::json;
use std::process::ExitCode;

/// One reason, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    help: String,
}

impl Finding {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}

/// What the answer is drawn from.
struct Evidence {
    pod: Pod,
    events: Vec<Event>,
    /// Of all services of the namespace.
    service_events: Vec<Event>,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    namespaces: Vec<Namespace>,
    services: Vec<Service>,
    /// Names of the images that are here.
    images: Vec<String>,
}

pub(crate) async fn why(target: &Target, args: &WhyArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let name = match args.object.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => name,
        Some((kind, _)) => bail!("why explains pods so far, not {kind:?}: name one as pod/NAME"),
        None => args.object.as_str(),
    };
    let client = client(target)?;
    let (pods, services): (Api<Pod>, Api<Service>) =
        (client.namespaced(&args.namespace), client.namespaced(&args.namespace));
    let (events, nodes, all_pods): (Api<Event>, Api<Node>, Api<Pod>) =
        (client.namespaced(&args.namespace), client.all(), client.all());
    let all_namespaces: Api<Namespace> = client.all();
    let everything = ListParams::default();
    let about_it = ListParams::default().fields(format!("involvedObject.name={name}"));
    let about_services = ListParams::default().fields("involvedObject.kind=Service");
    let pod = pods.get(name).await?;
    let mut about_pod = events.list(&about_it).await?.items;
    about_pod.retain(|event| is_about(event, &pod));
    let evidence = Evidence {
        pod,
        events: about_pod,
        service_events: events.list(&about_services).await?.items,
        nodes: nodes.list(&everything).await?.items,
        pods: all_pods.list(&everything).await?.items,
        namespaces: all_namespaces.list(&everything).await?.items,
        services: services.list(&everything).await?.items,
        images: images(target).await,
    };
    let findings = explain(&evidence);
    match format {
        OutputFormat::Json => {
            let list: Vec<_> = findings
                .iter()
                .map(|finding| json!({ "what": finding.what, "help": finding.help }))
                .collect();
            output::json(&json!({ "pod": name, "namespace": args.namespace, "findings": list }));
        }
        _ => print(&evidence.pod, &findings),
    }
    Ok(ExitCode::SUCCESS)
}

/// A pod of the same name that was there before has other events.
fn is_about(event: &Event, pod: &Pod) -> bool {
    event.involved_object.uid.is_none() || event.involved_object.uid == pod.metadata.uid
}

/// What the engine has; nothing where it cannot be asked.
async fn images(target: &Target) -> Vec<String> {
    let Ok(socket) = target.engine_socket() else { return Vec::new() };
    EngineClient::new(socket).image_names().await.unwrap_or_default()
}

fn print(pod: &Pod, findings: &[Finding]) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    output::line(&format!("pod/{name} is {phase}"));
    for finding in findings {
        output::line(&format!("  {}", finding.what));
        if !finding.help.is_empty() {
            output::line(&format!("    -> {}", finding.help));
        }
    }
}

fn explain(evidence: &Evidence) -> Vec<Finding> {
    let pod = &evidence.pod;
    let mut findings = Vec::new();
    findings.extend(terminating(pod));
    let node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if node_name.is_empty() {
        findings.extend(unscheduled(evidence));
        return findings;
    }
    findings.extend(lost_node(evidence, node_name));
    let status = pod.status.clone().unwrap_or_default();
    if let Some(message) = status.message.filter(|_| status.phase.as_deref() == Some("Failed")) {
        findings.push(Finding::new(format!("failed: {message}"), ""));
    }
    let containers = status
        .init_container_statuses
        .unwrap_or_default()
        .into_iter()
        .chain(status.container_statuses.unwrap_or_default());
    for container in containers {
        findings.extend(container_trouble(evidence, &container));
    }
    findings.dedup();
    if findings.is_empty() && !is_ready(pod) {
        findings.extend(last_warning(evidence).map(|text| Finding::new(text, "")));
    }
    findings.extend(reachability(evidence));
    findings
}

fn terminating(pod: &Pod) -> Option<Finding> {
    let since = pod.metadata.deletion_timestamp.as_ref()?;
    let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    Some(if finalizers.is_empty() {
        Finding::new(
            format!("it is being deleted, due at {}", since.0),
            "wait for its grace period, or delete it with --grace-period 0",
        )
    } else {
        Finding::new(
            format!("it is being deleted and waits for the finalizers {}", finalizers.join(", ")),
            "whoever set them has to finish its work",
        )
    })
}

fn unscheduled(evidence: &Evidence) -> Vec<Finding> {
    let explanation =
        hako_scheduler::explain(&evidence.pod, &evidence.nodes, &evidence.pods, &evidence.namespaces);
    let mut findings = vec![Finding::new(explanation.message, explanation.advice.join("; "))];
    findings.extend(
        explanation
            .nodes
            .into_iter()
            .map(|(node, reasons)| Finding::new(format!("node {node}: {}", reasons.join(", ")), "")),
    );
    findings
}

fn lost_node(evidence: &Evidence, name: &str) -> Option<Finding> {
    let node = evidence.nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name));
    let Some(node) = node else {
        return Some(Finding::new(
            format!("its node {name} does not exist any more"),
            "delete the pod: its controller makes another",
        ));
    };
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    (!is_ready).then(|| {
        Finding::new(
            format!("its node {name} is not Ready"),
            format!("is hako running on {name}? see `hako get node/{name} --output json`"),
        )
    })
}

fn container_trouble(evidence: &Evidence, container: &ContainerStatus) -> Vec<Finding> {
    let name = &container.name;
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
            vec![missing_image(evidence, container, &message)]
        }
        "CrashLoopBackOff" => vec![crashes(evidence, container, &message)],
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            vec![Finding::new(
                format!("container {name} cannot start: {message}"),
                "mend what the message names; the node tries again by itself",
            )]
        }
        "" if container.ready => Vec::new(),
        "" => not_ready(evidence, container),
        other => {
            if let Some(text) = newest(evidence, |event| event.reason.as_deref() == Some("FailedMount")) {
                return vec![unmounted(&text)];
            }
            let detail = last_warning(evidence).unwrap_or(message);
            vec![Finding::new(format!("container {name} waits ({other}) {detail}").trim_end(), "")]
        }
    }
}

/// A volume holds up all containers: it is told once, whoever waits for it.
fn unmounted(text: &str) -> Finding {
    Finding::new(
        format!("its containers wait for a volume: {text}"),
        "make what the message names, or mark it `optional`; the node tries again by itself",
    )
}

fn missing_image(evidence: &Evidence, container: &ContainerStatus, message: &str) -> Finding {
    let image = &container.image;
    let repository = image.rsplit_once(':').map_or(image.as_str(), |(repository, _)| repository);
    let is_close = |name: &&String| name.rsplit_once(':').is_some_and(|(known, _)| known == repository);
    let mut close: Vec<String> = evidence.images.iter().filter(is_close).cloned().collect();
    close.sort();
    close.dedup();
    let help = if close.is_empty() {
        format!(
            "build it with `hako build -t {image} DIR`, import it with `hako image import ROOTFS.tar {image}`, or mend its name"
        )
    } else {
        format!(
            "of this name there is {}; use one of these or build it with `hako build -t {image} DIR`",
            close.join(", ")
        )
    };
    // The node's own message says the same and is about pulling; others, such as a name that is none, are news.
    let reason = container.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    let detail = if reason == Some("InvalidImageName") { format!(": {message}") } else { String::new() };
    Finding::new(format!("container {}: image {image} is not here{detail}", container.name), help)
}

/// What a container's end says, and what would help against it.
fn ended(evidence: &Evidence, container: &ContainerStatus, last: &ContainerStateTerminated) -> Finding {
    let (name, pod) = (&container.name, evidence.pod.metadata.name.as_deref().unwrap_or_default());
    let reason = last.reason.as_deref().unwrap_or("Error");
    let what = match container.restart_count {
        0 => format!("container {name} ended with exit code {} ({reason})", last.exit_code),
        count => {
            format!(
                "container {name} restarted {count} times; it last ended with exit code {} ({reason})",
                last.exit_code
            )
        }
    };
    let liveness = newest(evidence, |event| {
        event.reason.as_deref() == Some("Unhealthy") && speaks_of(event, "Liveness")
    });
    let help = match (reason, last.exit_code, liveness) {
        ("OOMKilled", ..) => "it needs more memory than its limit: raise resources.limits.memory".to_owned(),
        (_, 127, _) => "its command does not exist in the image: check command and args".to_owned(),
        (_, 126, _) => "its command cannot be executed: check its mode and its interpreter".to_owned(),
        (_, 0, _) => {
            "it ended by itself: a server must stay in the foreground, or use restartPolicy OnFailure"
                .to_owned()
        }
        (_, 137 | 143, Some(text)) => {
            format!("its liveness probe had it killed ({text}): check the probe's path, port and times")
        }
        _ if container.restart_count > 0 => {
            format!("read why with `hako logs pod/{pod} --container {name} --previous`")
        }
        _ => format!("read why with `hako logs pod/{pod} --container {name}`"),
    };
    Finding::new(what, help)
}

fn speaks_of(event: &Event, probe: &str) -> bool {
    event.message.as_deref().is_some_and(|message| message.starts_with(probe))
}

fn crashes(evidence: &Evidence, container: &ContainerStatus, message: &str) -> Finding {
    match container.last_state.as_ref().and_then(|state| state.terminated.as_ref()) {
        Some(last) => ended(evidence, container, last),
        None => Finding::new(
            format!("container {} restarts again and again: {message}", container.name),
            format!(
                "read its output with `hako logs pod/{} --previous`",
                evidence.pod.metadata.name.as_deref().unwrap_or_default()
            ),
        ),
    }
}

fn not_ready(evidence: &Evidence, container: &ContainerStatus) -> Vec<Finding> {
    match &container.state {
        Some(ContainerState { running: Some(_), .. }) => {
            let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let mut findings: Vec<Finding> =
                before.map(|last| ended(evidence, container, last)).into_iter().collect();
            findings.push(unready(evidence, &container.name));
            findings
        }
        Some(ContainerState { terminated: Some(last), .. }) if last.exit_code != 0 => {
            vec![ended(evidence, container, last)]
        }
        _ => Vec::new(),
    }
}

/// A container that runs and is not Ready: which of its probes says so.
fn unready(evidence: &Evidence, name: &str) -> Finding {
    let failing = |probe: &str| {
        newest(evidence, |event| event.reason.as_deref() == Some("Unhealthy") && speaks_of(event, probe))
    };
    let probes = [
        (
            "Readiness",
            "it gets no traffic until its readiness probe succeeds: check the probe's path and port, and what the program listens on",
        ),
        (
            "Startup",
            "its other probes wait until the startup probe succeeds; after failureThreshold failures it is restarted",
        ),
        (
            "Liveness",
            "after failureThreshold failures it is restarted: check the probe's path, port and times",
        ),
    ];
    for (probe, help) in probes {
        if let Some(text) = failing(probe) {
            return Finding::new(format!("container {name} runs, but its probe fails: {text}"), help);
        }
    }
    Finding::new(
        format!("container {name} runs, but is not ready yet"),
        "it gets no traffic until its readiness probe succeeds",
    )
}

fn last_warning(evidence: &Evidence) -> Option<String> {
    newest(evidence, |event| event.type_.as_deref() == Some("Warning"))
}

fn newest(evidence: &Evidence, wanted: impl Fn(&Event) -> bool) -> Option<String> {
    let event = evidence
        .events
        .iter()
        .filter(|event| wanted(event))
        .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))?;
    Some(format!(
        "{}: {}",
        event.reason.as_deref().unwrap_or_default(),
        event.message.as_deref().unwrap_or_default()
    ))
}

/// Which services lead to the pod, and whether they send it anything now.
fn reachability(evidence: &Evidence) -> Vec<Finding> {
    let selecting = selecting(evidence);
    let mut findings = match (selecting.is_empty(), is_ready(&evidence.pod)) {
        (true, true) => vec![Finding::new(
            "it is Ready; no service selects it",
            "if it should be reached, give a Service the pod's labels as selector",
        )],
        (false, true) => vec![Finding::new(
            format!("it is Ready and answers for the service {}", selecting.join(", ")),
            "",
        )],
        (false, false) => vec![Finding::new(
            format!("the service {} sends it nothing until it is Ready", selecting.join(", ")),
            "",
        )],
        (true, false) => Vec::new(),
    };
    findings.extend(selecting.iter().filter_map(|service| node_port_in_use(evidence, service)));
    findings
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Names of the services whose selector the pod matches.
fn selecting(evidence: &Evidence) -> Vec<&str> {
    let labels = evidence.pod.metadata.labels.clone().unwrap_or_default();
    let selects = |service: &&Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let services = evidence.services.iter().filter(selects);
    services.filter_map(|service| service.metadata.name.as_deref()).collect()
}

/// What the last event about a service's node port says, if it says that somebody else has it.
fn node_port_in_use(evidence: &Evidence, service: &str) -> Option<Finding> {
    let about = |event: &&Event| {
        event.involved_object.name.as_deref() == Some(service)
            && matches!(event.reason.as_deref(), Some("NodePortInUse" | "NodePortServed"))
    };
    let last = evidence
        .service_events
        .iter()
        .filter(about)
        .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))?;
    let message = last.message.as_deref().unwrap_or_default();
    (last.reason.as_deref() == Some("NodePortInUse"))
        .then(|| Finding::new(format!("service {service}: {message}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn evidence(pod: Value) -> Evidence {
        let node = json!({ "metadata": { "name": "n" }, "status": { "conditions": [{ "type": "Ready", "status": "True" }], "images": [{ "names": ["web:v1"] }] } });
        let service = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" } } });
        Evidence {
            pod: serde_json::from_value(pod).unwrap(),
            events: Vec::new(),
            service_events: Vec::new(),
            nodes: vec![serde_json::from_value(node).unwrap()],
            pods: Vec::new(),
            namespaces: Vec::new(),
            services: vec![serde_json::from_value(service).unwrap()],
            images: vec!["web:v1".into(), "other:v2".into()],
        }
    }

    fn pod(status: Value) -> Value {
        json!({ "metadata": { "name": "p", "labels": { "app": "web" } }, "spec": { "nodeName": "n", "containers": [] }, "status": status })
    }

    #[test]
    fn a_missing_image_names_those_that_are_there() {
        let status = json!({ "containerStatuses": [{ "name": "c", "image": "web:v2", "imageID": "", "ready": false, "restartCount": 0, "state": { "waiting": { "reason": "ImagePullBackOff" } } }] });
        let findings = explain(&evidence(pod(status)));
        assert!(findings[0].what.contains("image web:v2 is not here"), "{findings:?}");
        assert!(findings[0].help.contains("there is web:v1;"), "{findings:?}");
    }

    #[test]
    fn an_oom_kill_asks_for_more_memory() {
        let status = json!({ "containerStatuses": [{ "name": "c", "image": "web", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } }] });
        let findings = explain(&evidence(pod(status)));
        assert!(findings[0].help.contains("resources.limits.memory"), "{findings:?}");
        assert!(findings[1].what.contains("sends it nothing"), "{findings:?}");
    }

    #[test]
    fn a_failing_liveness_probe_is_told_from_a_readiness_probe() {
        let status = json!({ "containerStatuses": [{ "name": "c", "image": "web", "imageID": "", "ready": false, "restartCount": 1,
            "state": { "running": {} }, "lastState": { "terminated": { "exitCode": 137, "reason": "Error" } } }] });
        let mut evidence = evidence(pod(status));
        let event = json!({ "metadata": {}, "involvedObject": {}, "reason": "Unhealthy", "message": "Liveness probe failed: refused" });
        evidence.events = vec![serde_json::from_value(event).unwrap()];
        let findings = explain(&evidence);
        assert!(findings[0].help.contains("liveness probe had it killed"), "{findings:?}");
        assert!(findings[1].help.contains("failureThreshold"), "{findings:?}");
    }

    #[test]
    fn events_of_an_earlier_pod_of_the_name_are_not_its_own() {
        let event = |uid: &str| -> Event {
            let event =
                json!({ "metadata": {}, "involvedObject": { "name": "p", "uid": uid }, "type": "Warning" });
            serde_json::from_value(event).unwrap()
        };
        let now: Pod = serde_json::from_value(json!({ "metadata": { "name": "p", "uid": "2" } })).unwrap();
        assert!(!is_about(&event("1"), &now));
        assert!(is_about(&event("2"), &now));
    }

    #[test]
    fn a_volume_that_cannot_be_mounted_is_told_once_with_what_helps() {
        let waiting = |name: &str| {
            json!({ "name": name, "image": "web", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": "ContainerCreating" } } })
        };
        let status = json!({ "containerStatuses": [waiting("a"), waiting("b")] });
        let mut evidence = evidence(pod(status));
        let event = json!({ "metadata": {}, "involvedObject": {}, "type": "Warning", "reason": "FailedMount",
            "message": "volume \"v\": secret \"s\" not found" });
        evidence.events = vec![serde_json::from_value(event).unwrap()];
        let findings = explain(&evidence);
        assert_eq!(
            findings.iter().filter(|finding| finding.what.contains("secret")).count(),
            1,
            "{findings:?}"
        );
        assert!(findings[0].help.contains("optional"), "{findings:?}");
    }

    #[test]
    fn a_ready_pod_says_whom_it_answers_for() {
        let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }], "containerStatuses": [{ "name": "c", "image": "web", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} } }] });
        let findings = explain(&evidence(pod(status)));
        assert_eq!(findings, [Finding::new("it is Ready and answers for the service web", "")]);
    }

    #[test]
    fn a_node_port_that_somebody_else_has_is_told_until_it_is_served() {
        let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        let mut evidence = evidence(pod(status));
        let event = |reason: &str, minute: u8| {
            let event = json!({ "metadata": {}, "involvedObject": { "kind": "Service", "name": "web" }, "reason": reason,
                "message": "node port 30080/tcp is not served", "lastTimestamp": format!("2026-11-20T20:{minute:02}:00Z") });
            serde_json::from_value::<Event>(event).unwrap()
        };
        evidence.service_events = vec![event("NodePortInUse", 5)];
        let findings = explain(&evidence);
        assert!(findings[1].what.contains("service web: node port 30080/tcp is not served"), "{findings:?}");
        evidence.service_events.push(event("NodePortServed", 7));
        assert_eq!(explain(&evidence).len(), 1);
    }

    #[test]
    fn a_pod_on_a_vanished_node_says_so() {
        let mut lost = pod(json!({}));
        lost["spec"]["nodeName"] = json!("gone");
        assert!(explain(&evidence(lost))[0].what.contains("gone does not exist"));
    }
}
