use super::super::action::{Action, Input, ResizeOutcome, Run, StartFailure, Verdict};
use super::super::room::Answer;
use super::*;
use crate::probe::ProbeKind;
use hako_container::Exit;
use k8s_openapi::api::core::v1::{ContainerState, PodStatus};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 5));

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
}

fn id(number: u32) -> hako_names::ContainerId {
    format!("{number:064x}").parse().unwrap()
}

fn sandbox_id() -> SandboxId {
    SandboxId(id(0xffff))
}

fn pod(spec: Value) -> Arc<Pod> {
    let value = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec});
    Arc::new(serde_json::from_value(value).unwrap())
}

/// Drives a machine and remembers what it asked for.
struct Drive {
    machine: Machine,
    now: i64,
    actions: Vec<Action>,
    next_id: u32,
}

impl Drive {
    fn new(spec: Value) -> Self {
        let machine = Machine::new(pod(spec), at(0));
        let mut drive = Self { machine, now: 0, actions: Vec::new(), next_id: 1 };
        drive.input(Input::Tick);
        drive
    }

    fn up(spec: Value) -> Self {
        let mut drive = Self::new(spec);
        assert_eq!(drive.take(), ["make"]);
        drive.input(Input::SandboxMade { id: sandbox_id(), ip: Some(IP) });
        drive
    }

    fn input(&mut self, input: Input) {
        let actions = self.machine.step(input, at(self.now));
        self.actions.extend(actions);
    }

    fn after(&mut self, millis: i64) {
        self.now += millis;
        self.input(Input::Tick);
    }

    /// What was asked for since the last call, in short; events left out.
    fn take(&mut self) -> Vec<String> {
        let actions = std::mem::take(&mut self.actions);
        let short = actions.iter().filter_map(|action| match action {
            Action::MakeSandbox => Some("make".to_owned()),
            Action::RemoveSandbox(_) => Some("remove".to_owned()),
            Action::StopSandbox(_) => Some("stop sandbox".to_owned()),
            Action::Start { container, attempt, .. } => Some(format!("start {container}.{attempt}")),
            Action::Watch { .. } => None,
            Action::PostStart { container, .. } => Some(format!("postStart {container}")),
            Action::Probe { container, kind, .. } => Some(format!("probe {container} {kind:?}")),
            Action::StopProbes { .. } => None,
            Action::Stop { container, deadline, .. } => {
                let left = deadline.duration_since(at(self.now)).as_secs();
                Some(format!("stop {container} in {left}s"))
            }
            Action::Hasten { deadline } => {
                Some(format!("hasten {}s", deadline.duration_since(at(self.now)).as_secs()))
            }
            Action::Drain { deadline, .. } => {
                Some(format!("drain {}s", deadline.duration_since(at(self.now)).as_secs()))
            }
            Action::AskRoom { .. } => Some("ask".to_owned()),
            Action::Resize { container, attempt, .. } => Some(format!("resize {container}.{attempt}")),
            Action::CleanUp => Some("clean up".to_owned()),
            Action::DeleteObject => Some("delete".to_owned()),
            Action::Emit(_) => None,
        });
        short.collect()
    }

    fn started(&mut self, container: usize) {
        let attempt = self.machine.slots[container].attempt;
        let run =
            Run { attempt, id: id(self.next_id), started_at: at(self.now), image_id: "sha256:1".into() };
        self.next_id += 1;
        self.input(Input::Started { container, run });
    }

    fn exited(&mut self, container: usize, code: i32) {
        let attempt = self.machine.slots[container].attempt;
        let exit = Exit {
            code,
            signal: None,
            oom_killed: code == 137,
            error: None,
            started_at: Some(at(self.now)),
            finished_at: at(self.now),
        };
        self.input(Input::Exited { container, attempt, exit });
    }

    fn probed(&mut self, container: usize, kind: ProbeKind, verdict: Verdict) {
        let attempt = self.machine.slots[container].attempt;
        self.input(Input::Probed { container, attempt, kind, verdict });
    }

    fn delete(&mut self, grace: i64) {
        let mut pod = (*self.machine.pod).clone();
        pod.metadata.deletion_timestamp = Some(at(self.now + grace * 1000).into());
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.input(Input::Pod(Arc::new(pod)));
    }

    fn events(&self) -> Vec<String> {
        let events = self.actions.iter().filter_map(|action| match action {
            Action::Emit(event) => Some(format!("{} {}", event.reason, event.message)),
            _ => None,
        });
        events.collect()
    }

    fn status(&self) -> PodStatus {
        self.machine.status(&PodStatus::default(), HOST, at(self.now))
    }

    fn state(&self, container: usize) -> String {
        let status = self.status();
        let all = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
        let state: ContainerState = all.into_iter().nth(container).unwrap().state.unwrap();
        match (state.waiting, state.running, state.terminated) {
            (Some(waiting), None, None) => waiting.reason.unwrap(),
            (None, Some(_), None) => "Running".into(),
            (None, None, Some(terminated)) => terminated.reason.unwrap(),
            other => panic!("not one state: {other:?}"),
        }
    }

    fn phase(&self) -> String {
        self.status().phase.unwrap()
    }

    fn condition(&self, kind: &str) -> bool {
        let conditions = self.status().conditions.unwrap();
        conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
    }
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "main", "image": "app"}]})
}

#[test]
fn containers_start_together_once_the_sandbox_is_up() {
    let mut drive = Drive::up(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    assert_eq!(drive.take(), ["start 0.0", "start 1.0"]);
    assert_eq!((drive.phase().as_str(), drive.state(0).as_str()), ("Pending", "ContainerCreating"));
    drive.started(0);
    assert_eq!(drive.phase(), "Pending");
    drive.started(1);
    assert_eq!(drive.phase(), "Running");
    assert!(drive.condition("Ready") && drive.condition("Initialized") && drive.condition("ContainersReady"));
    assert_eq!(drive.status().pod_ip.as_deref(), Some("10.244.0.5"));
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let mut drive = Drive::up(json!({
        "initContainers": [{"name": "first"}, {"name": "side", "restartPolicy": "Always"}, {"name": "second"}],
        "containers": [{"name": "main"}]
    }));
    assert_eq!(drive.take(), ["start 0.0"]);
    drive.started(0);
    assert_eq!((drive.state(3).as_str(), drive.condition("Initialized")), ("PodInitializing", false));
    drive.exited(0, 0);
    assert_eq!(drive.take(), ["start 1.0"]);
    drive.started(1);
    assert_eq!(drive.take(), ["start 2.0"]);
    drive.started(2);
    drive.exited(2, 1);
    assert_eq!(drive.take(), ["start 2.1"], "a failed init container is tried again");
    drive.started(2);
    drive.exited(2, 0);
    assert_eq!(drive.take(), ["start 3.0"]);
    drive.started(3);
    assert_eq!(drive.phase(), "Running");
    drive.exited(1, 0);
    assert_eq!(drive.take(), ["start 1.1"], "a sidecar always runs");
    drive.started(1);
    drive.delete(10);
    assert_eq!(drive.take(), ["drain 5s"]);
    drive.input(Input::Drained);
    assert_eq!(drive.take(), ["stop 3 in 10s"], "sidecars end after the others");
    drive.exited(3, 0);
    assert_eq!(drive.take(), ["stop 1 in 10s"]);
    drive.exited(1, 0);
    assert_eq!(drive.take(), ["clean up"]);
}

#[test]
fn a_failing_init_container_fails_a_pod_that_never_restarts() {
    let mut drive = Drive::up(json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}],
                                     "containers": [{"name": "main"}]}));
    drive.started(0);
    drive.take();
    drive.exited(0, 3);
    assert_eq!((drive.take(), drive.phase().as_str()), (vec!["stop sandbox".to_owned()], "Failed"));
}

#[test]
fn a_killed_container_restarts_at_once_and_a_crashing_one_backs_off() {
    let mut drive = Drive::up(one("Always"));
    drive.take();
    drive.started(0);
    drive.exited(0, 137);
    assert_eq!(drive.take(), ["start 0.1"]);
    assert_eq!(drive.state(0), "OOMKilled");
    drive.started(0);
    let status = drive.status().container_statuses.unwrap().remove(0);
    assert_eq!((status.restart_count, status.last_state.unwrap().terminated.unwrap().exit_code), (1, 137));
    drive.exited(0, 1);
    assert!(drive.take().is_empty());
    assert_eq!(drive.state(0), "CrashLoopBackOff");
    assert_eq!(drive.machine.wake_at(), Some(at(10_000)));
    drive.after(9_999);
    assert!(drive.take().is_empty());
    drive.after(1);
    assert_eq!(drive.take(), ["start 0.2"]);
    drive.started(0);
    drive.exited(0, 1);
    let events = drive.events();
    let text = "BackOff Back-off restarting failed container main in pod web_shop(u1)";
    assert!(events.iter().any(|event| event == text), "{events:?}");
    assert_eq!(drive.machine.wake_at(), Some(at(10_000 + 20_000)));
    assert_eq!(drive.phase(), "Running");
}

#[test]
fn policies_say_whether_an_end_is_the_end() {
    for (policy, code, actions, phase) in [
        ("Never", 0, vec!["stop sandbox"], "Succeeded"),
        ("Never", 1, vec!["stop sandbox"], "Failed"),
        ("OnFailure", 0, vec!["stop sandbox"], "Succeeded"),
        ("OnFailure", 1, vec!["start 0.1"], "Running"),
        ("Always", 0, vec!["start 0.1"], "Running"),
    ] {
        let mut drive = Drive::up(one(policy));
        drive.started(0);
        drive.take();
        drive.exited(0, code);
        assert_eq!(
            (drive.take(), drive.phase().as_str()),
            (actions.iter().map(|a| (*a).to_owned()).collect(), phase),
            "{policy} {code}"
        );
    }
}

#[test]
fn a_finished_pod_is_cleaned_up_when_it_is_deleted() {
    let mut drive = Drive::up(one("Never"));
    drive.started(0);
    drive.exited(0, 0);
    drive.take();
    drive.input(Input::SandboxStopped);
    assert!(!drive.condition("Ready"));
    drive.delete(30);
    assert_eq!(drive.take(), ["clean up"]);
    drive.input(Input::CleanedUp);
    assert_eq!(drive.take(), ["delete"]);
    drive.input(Input::Deleted);
    assert_eq!(drive.machine.stage, Stage::Gone);
}

#[test]
fn deletion_drains_before_it_stops_and_a_shorter_grace_hastens() {
    let mut drive = Drive::up(one("Always"));
    drive.started(0);
    drive.take();
    drive.delete(30);
    assert_eq!(drive.take(), ["drain 15s"]);
    drive.now += 2_000;
    drive.input(Input::Drained);
    assert_eq!(drive.take(), ["stop 0 in 28s"]);
    drive.delete(5);
    assert_eq!(drive.take(), ["hasten 5s"]);
    drive.exited(0, 0);
    assert_eq!(drive.take(), ["clean up"]);
    assert_eq!(drive.phase(), "Succeeded");
    drive.input(Input::CleanedUp);
    assert_eq!(drive.take(), ["delete"]);
}

#[test]
fn a_pod_whose_object_is_gone_ends_at_once_and_writes_nothing() {
    let mut drive = Drive::up(one("Always"));
    drive.started(0);
    drive.take();
    drive.input(Input::Gone);
    assert_eq!(drive.take(), ["drain 0s"]);
    drive.input(Input::Drained);
    assert_eq!(drive.take(), ["stop 0 in 0s"]);
    drive.exited(0, 137);
    drive.input(Input::CleanedUp);
    assert_eq!((drive.take(), drive.machine.stage), (vec!["clean up".to_owned()], Stage::Gone));
}

#[test]
fn a_pod_deleted_while_its_sandbox_is_made_waits_for_it() {
    let mut drive = Drive::new(one("Always"));
    drive.take();
    drive.delete(30);
    assert!(drive.take().is_empty());
    drive.input(Input::SandboxMade { id: sandbox_id(), ip: Some(IP) });
    assert_eq!(drive.take(), ["clean up"]);
}

#[test]
fn a_container_started_during_deletion_is_stopped() {
    let mut drive = Drive::up(one("Always"));
    drive.take();
    drive.delete(30);
    assert!(drive.take().is_empty(), "nothing runs, nothing to drain, but a start is under way");
    drive.started(0);
    assert_eq!(drive.take(), ["stop 0 in 30s"]);
}

#[test]
fn probes_rule_readiness_and_restarts() {
    let probe = json!({"httpGet": {"port": 80}, "terminationGracePeriodSeconds": 3});
    let mut drive = Drive::up(json!({"containers": [
        {"name": "main", "startupProbe": {"tcpSocket": {"port": 1}}, "readinessProbe": {"tcpSocket": {"port": 1}}, "livenessProbe": probe}]}));
    drive.take();
    drive.started(0);
    assert_eq!(drive.take(), ["probe 0 Startup"]);
    assert!(!drive.condition("Ready"));
    drive.probed(0, ProbeKind::Startup, Verdict::Success);
    assert_eq!(drive.take(), ["probe 0 Readiness", "probe 0 Liveness"]);
    drive.probed(0, ProbeKind::Readiness, Verdict::Success);
    assert!(drive.condition("Ready"));
    drive.probed(0, ProbeKind::Readiness, Verdict::Failing("x".into()));
    assert!(drive.condition("Ready"));
    drive.probed(0, ProbeKind::Readiness, Verdict::Failure("statuscode: 500".into()));
    assert!(!drive.condition("Ready"));
    assert!(drive.events().contains(&"Unhealthy Readiness probe failed: statuscode: 500".to_owned()));
    drive.probed(0, ProbeKind::Liveness, Verdict::Failure("dead".into()));
    assert!(
        drive
            .events()
            .contains(&"Killing Container main failed liveness probe, will be restarted".to_owned())
    );
    assert_eq!(drive.take(), ["stop 0 in 3s"]);
    drive.exited(0, 143);
    assert_eq!(drive.take(), ["start 0.1"]);
}

#[test]
fn news_of_an_earlier_run_changes_nothing() {
    let mut drive = Drive::up(one("Always"));
    drive.started(0);
    drive.exited(0, 1);
    drive.started(0);
    drive.take();
    drive.input(Input::Probed {
        container: 0,
        attempt: 0,
        kind: ProbeKind::Liveness,
        verdict: Verdict::Failure("old".into()),
    });
    assert!(drive.take().is_empty());
}

#[test]
fn a_failing_post_start_hook_restarts_the_container() {
    let hook = json!({"postStart": {"exec": {"command": ["false"]}}});
    let mut drive = Drive::up(json!({"containers": [{"name": "main", "lifecycle": hook}]}));
    drive.take();
    drive.started(0);
    assert_eq!(drive.take(), ["postStart 0"]);
    assert!(!drive.condition("Ready"));
    drive.input(Input::PostStart { container: 0, attempt: 0, result: Err("exit 1".into()) });
    assert_eq!(drive.take(), ["stop 0 in 30s"]);
}

#[test]
fn a_container_that_cannot_be_configured_waits_and_tries_again() {
    let mut drive = Drive::up(one("Always"));
    drive.take();
    drive.input(Input::StartFailed {
        container: 0,
        attempt: 0,
        failure: StartFailure::Retry {
            reason: "CreateContainerConfigError",
            message: "configmap \"x\" not found".into(),
        },
    });
    assert_eq!((drive.state(0).as_str(), drive.phase().as_str()), ("CreateContainerConfigError", "Pending"));
    drive.input(Input::Objects);
    assert_eq!(drive.take(), ["start 0.0"], "at once when the object appears");
    for want in ["ErrImagePull", "ImagePullBackOff"] {
        drive.input(Input::StartFailed {
            container: 0,
            attempt: 0,
            failure: StartFailure::Retry { reason: "ErrImagePull", message: "no such image".into() },
        });
        if want == "ImagePullBackOff" {
            assert_eq!(drive.state(0), want);
        }
        drive.take();
        drive.after(300_000);
        assert_eq!(drive.take(), ["start 0.0"]);
    }
}

#[test]
fn a_lost_sandbox_is_made_anew_once_its_containers_have_ended() {
    let mut drive = Drive::up(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "main"}]}));
    drive.started(0);
    drive.exited(0, 0);
    drive.started(1);
    drive.take();
    drive.input(Input::SandboxLost);
    assert!(drive.take().is_empty());
    drive.exited(1, 137);
    assert_eq!(drive.take(), ["remove"]);
    drive.input(Input::SandboxStopped);
    assert_eq!(drive.take(), ["make"]);
    drive.input(Input::SandboxMade { id: sandbox_id(), ip: Some(IP) });
    assert_eq!(drive.take(), ["start 0.1"]);
    drive.started(0);
    drive.exited(0, 0);
    assert_eq!(drive.take(), ["start 1.1"]);
}

#[test]
fn sandbox_failures_are_told_and_tried_again_more_and_more_slowly() {
    let mut drive = Drive::new(one("Always"));
    drive.take();
    drive.input(Input::SandboxFailed {
        reason: "FailedMount",
        message: "volume \"v\": nfs is not supported".into(),
    });
    let status = drive.status().container_statuses.unwrap().remove(0);
    let waiting = status.state.unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
    assert!(waiting.message.unwrap().contains("nfs"));
    drive.after(499);
    assert!(drive.take().is_empty());
    drive.after(1);
    assert_eq!(drive.take(), ["make"]);
}

#[test]
fn a_pod_over_its_deadline_fails() {
    let mut drive = Drive::up(json!({"activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 4,
                                     "containers": [{"name": "main"}]}));
    drive.started(0);
    drive.take();
    assert_eq!(drive.machine.wake_at(), Some(at(60_000)));
    drive.after(60_000);
    assert_eq!(drive.take(), ["drain 2s"]);
    drive.input(Input::Drained);
    drive.exited(0, 0);
    assert_eq!(drive.take(), ["stop 0 in 4s", "stop sandbox"]);
    let status = drive.status();
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_changed_image_replaces_the_container() {
    let mut drive = Drive::up(one("Never"));
    drive.started(0);
    drive.take();
    let mut pod = (*drive.machine.pod).clone();
    pod.spec.as_mut().unwrap().containers[0].image = Some("app:v2".into());
    drive.input(Input::Pod(Arc::new(pod)));
    assert_eq!(drive.take(), ["stop 0 in 30s"]);
    drive.exited(0, 0);
    assert_eq!(drive.take(), ["start 0.1"]);
}

#[test]
fn transition_times_change_only_with_the_status() {
    let mut drive = Drive::up(one("Always"));
    drive.started(0);
    let first = drive.status();
    drive.now += 60_000;
    let again = drive.machine.status(&first, HOST, at(drive.now));
    assert_eq!(first, again);
    drive.exited(0, 1);
    let down = drive.machine.status(&again, HOST, at(drive.now));
    let time = |status: &PodStatus, kind: &str| {
        let conditions = status.conditions.as_ref().unwrap();
        conditions.iter().find(|c| c.type_ == kind).unwrap().last_transition_time.clone().unwrap().0
    };
    assert_eq!((time(&down, "Ready"), time(&down, "Initialized")), (at(60_000), at(0)));
}

#[test]
fn the_node_going_down_stops_pods_and_keeps_their_objects() {
    let mut drive = Drive::up(one("Always"));
    drive.started(0);
    drive.take();
    drive.input(Input::Shutdown { deadline: at(2_000) });
    assert_eq!(drive.take(), ["drain 1s"]);
    drive.input(Input::Drained);
    drive.exited(0, 0);
    drive.input(Input::CleanedUp);
    assert_eq!(
        (drive.take(), drive.machine.stage),
        (vec!["stop 0 in 2s".to_owned(), "clean up".to_owned()], Stage::Gone)
    );
}

#[test]
fn a_container_that_is_added_runs_once_beside_the_others() {
    let mut drive = Drive::up(json!({"containers": [{"name": "main"}]}));
    drive.take();
    drive.started(0);
    let debugged = json!({"containers": [{"name": "main"}],
                          "ephemeralContainers": [{"name": "look", "image": "i", "targetContainerName": "main"}]});
    drive.input(Input::Pod(pod(debugged)));
    assert_eq!(drive.take(), ["start 1.0"]);
    drive.started(1);
    let status = drive.status();
    let shown = &status.ephemeral_container_statuses.as_ref().unwrap()[0];
    assert!(shown.name == "look" && shown.state.as_ref().unwrap().running.is_some());
    assert_eq!(status.container_statuses.unwrap().len(), 1);
    assert!(drive.condition("Ready"), "it does not count");
    drive.exited(1, 1);
    assert!(drive.take().is_empty(), "it is not started again");
    assert_eq!(drive.phase(), "Running");
    assert!(drive.condition("Ready"));
}

fn sized(cpu: &str, memory: &str, policy: Value) -> Value {
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({"containers": [{"name": "main", "resizePolicy": policy,
                           "resources": {"requests": amounts, "limits": amounts}}]})
}

fn applied(drive: &Drive) -> String {
    let status = drive.status().container_statuses.unwrap().remove(0);
    status.resources.unwrap().limits.unwrap()["cpu"].0.clone()
}

fn allocated(drive: &Drive) -> String {
    let status = drive.status().container_statuses.unwrap().remove(0);
    status.allocated_resources.unwrap()["cpu"].0.clone()
}

/// Reason and message of the condition while it holds.
fn pending(drive: &Drive) -> Option<(String, String)> {
    let conditions = drive.status().conditions.unwrap();
    let condition = conditions.into_iter().find(|condition| condition.type_ == "PodResizePending")?;
    Some((condition.reason?, condition.message?))
}

#[test]
fn resources_of_a_running_container_change_in_place() {
    let mut drive = Drive::up(sized("1", "1Gi", Value::Null));
    drive.take();
    drive.started(0);
    assert_eq!(applied(&drive), "1");
    drive.input(Input::Pod(pod(sized("2", "1Gi", Value::Null))));
    assert_eq!(drive.take(), ["ask"]);
    assert_eq!(allocated(&drive), "1");
    drive.input(Input::Room(Answer::Granted));
    assert_eq!(drive.take(), ["resize 0.0"]);
    assert!(drive.condition("PodResizeInProgress"));
    assert_eq!(
        (applied(&drive).as_str(), allocated(&drive).as_str()),
        ("1", "2"),
        "not yet what it will have"
    );
    drive.input(Input::Resized { container: 0, attempt: 0, outcome: ResizeOutcome::Done });
    assert_eq!(applied(&drive), "2");
    assert!(!drive.condition("PodResizeInProgress"));
    assert!(drive.events().iter().any(|event| event.starts_with("ResizeCompleted")));
}

#[test]
fn a_resize_the_node_can_never_grant_is_not_asked_for_again() {
    let mut drive = Drive::up(sized("1", "1Gi", Value::Null));
    drive.take();
    drive.started(0);
    drive.input(Input::Pod(pod(sized("99", "1Gi", Value::Null))));
    assert_eq!(drive.take(), ["ask"]);
    drive.input(Input::Room(Answer::Infeasible("not that much".into())));
    assert_eq!(pending(&drive), Some(("Infeasible".into(), "not that much".into())));
    assert!(!drive.condition("PodResizeInProgress"));
    drive.input(Input::Freed);
    drive.after(600_000);
    assert!(drive.take().is_empty());
    drive.input(Input::Pod(pod(sized("1", "1Gi", Value::Null))));
    assert!(drive.take().is_empty() && pending(&drive).is_none(), "nothing is wished for any more");
}

#[test]
fn a_deferred_resize_is_asked_for_again_when_there_is_room_or_after_a_while() {
    let mut drive = Drive::up(sized("1", "1Gi", Value::Null));
    drive.take();
    drive.started(0);
    drive.input(Input::Pod(pod(sized("2", "1Gi", Value::Null))));
    drive.take();
    drive.input(Input::Room(Answer::Deferred("not now".into())));
    assert_eq!(pending(&drive), Some(("Deferred".into(), "not now".into())));
    assert!(drive.take().is_empty());
    drive.input(Input::Freed);
    assert_eq!(drive.take(), ["ask"]);
    drive.input(Input::Room(Answer::Deferred("not yet".into())));
    assert_eq!(drive.machine.wake_at(), Some(at(180_000)));
    drive.after(179_000);
    assert!(drive.take().is_empty());
    // A container that ends meanwhile starts with what the pod holds.
    drive.exited(0, 1);
    drive.after(1_000);
    assert!(drive.take().contains(&"ask".to_owned()));
    let slot = &drive.machine.slots[0];
    assert_eq!(drive.machine.granted_to(slot).limits.unwrap()["cpu"].0, "1");
    drive.input(Input::Room(Answer::Granted));
    assert!(pending(&drive).is_none());
    assert_eq!(allocated(&drive), "2");
}

#[test]
fn a_resize_that_failed_is_tried_again() {
    let mut drive = Drive::up(sized("1", "1Gi", Value::Null));
    drive.take();
    drive.started(0);
    drive.input(Input::Pod(pod(sized("2", "1Gi", Value::Null))));
    drive.input(Input::Room(Answer::Granted));
    drive.take();
    drive.input(Input::Resized { container: 0, attempt: 0, outcome: ResizeOutcome::Failed("busy".into()) });
    let conditions = drive.status().conditions.unwrap();
    let failed = conditions.iter().find(|condition| condition.type_ == "PodResizeInProgress").unwrap();
    assert_eq!((failed.reason.as_deref(), failed.message.as_deref()), (Some("Error"), Some("busy")));
    drive.after(9_000);
    assert!(drive.take().is_empty());
    drive.after(1_000);
    assert_eq!(drive.take(), ["resize 0.0"]);
}

#[test]
fn a_container_that_wants_it_starts_anew_with_its_resources() {
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let mut drive = Drive::up(sized("1", "1Gi", policy.clone()));
    drive.take();
    drive.started(0);
    drive.input(Input::Pod(pod(sized("1", "2Gi", policy))));
    assert_eq!(drive.take(), ["ask"]);
    drive.input(Input::Room(Answer::Granted));
    assert_eq!(drive.take(), ["stop 0 in 30s"]);
    drive.exited(0, 137);
    assert_eq!(drive.take(), ["start 0.1"]);
    drive.started(0);
    assert!(drive.take().is_empty() && !drive.condition("PodResizeInProgress"));
}
