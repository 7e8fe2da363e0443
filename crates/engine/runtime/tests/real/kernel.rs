//! Clocks, schedulers and what else of the kernel a process is given, beside runc and crun where they know it.

use std::fs;
use std::process::{Command, Output, Stdio};

use hako_oci::runtime::{Linux, Spec};
use serde_json::{Value, json};

use crate::bed::shell;
use crate::bundle::{Bundle, HAKO, create};

/// Seconds that no machine has been up.
const OFFSET: u64 = 1_000_000_000;
/// Whether the time since boot is later than that.
const IS_LATE: &str = "awk '{print ($1 > 1000000000)}' /proc/uptime";

fn linux(spec: &mut Spec) -> &mut Linux {
    spec.linux_mut().as_mut().unwrap()
}

fn add_time_namespace(spec: &mut Spec, namespace: Value) {
    linux(spec).namespaces_mut().as_mut().unwrap().push(serde_json::from_value(namespace).unwrap());
}

fn late(script: &str) -> Spec {
    let mut spec = shell(script);
    add_time_namespace(&mut spec, json!({"type": "time"}));
    let offsets = json!({"boottime": {"secs": OFFSET}, "monotonic": {"secs": OFFSET, "nanosecs": 1}});
    linux(&mut spec).set_time_offsets(Some(serde_json::from_value(offsets).unwrap()));
    spec
}

fn run(bundle: &Bundle, runtime: &str) -> Output {
    bundle.command(runtime, &["run", "ID"]).stdin(Stdio::null()).output().unwrap()
}

fn said(spec: Spec) -> String {
    let output = run(&Bundle::new(spec), HAKO);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What we say of a spec that we do not run.
fn refused(spec: Spec) -> String {
    let bundle = Bundle::new(spec);
    fs::create_dir(bundle.path("state")).unwrap();
    let output = run(&bundle, HAKO);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    bundle.check_clean();
    text
}

fn is_there(runtime: &&str) -> bool {
    Command::new(runtime).arg("--version").stdout(Stdio::null()).status().is_ok()
}

#[test]
fn a_time_namespace_has_clocks_of_its_own_for_all_that_enter_it() {
    let bundle = Bundle::new(late("exec sleep 1000"));
    create(&bundle, &["create", "--pid-file", "pid", "ID"]);
    bundle.ok(&["start", "ID"]);
    assert_eq!(bundle.ok(&["exec", "ID", "sh", "-c", IS_LATE]), "1\n");
    let pid = fs::read_to_string(bundle.path("pid")).unwrap();
    let mut joining = shell(IS_LATE);
    add_time_namespace(&mut joining, json!({"type": "time", "path": format!("/proc/{pid}/ns/time")}));
    assert_eq!(said(joining), "1\n");
    assert_eq!(said(shell(IS_LATE)), "0\n");
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn a_time_namespace_of_a_user_namespace_has_clocks_of_its_own() {
    let mut spec = late(IS_LATE);
    add_time_namespace(&mut spec, json!({"type": "user"}));
    let range = || serde_json::from_value(json!([{"containerID": 0, "hostID": 0, "size": 65536}])).unwrap();
    linux(&mut spec).set_uid_mappings(Some(range())).set_gid_mappings(Some(range()));
    assert_eq!(said(spec), "1\n");
}

#[test]
fn offsets_of_clocks_take_a_time_namespace_and_are_of_two_clocks() {
    let offsets = |clock: &str| Some(serde_json::from_value(json!({clock: {"secs": 1}})).unwrap());
    let mut without = shell("true");
    linux(&mut without).set_time_offsets(offsets("boottime"));
    assert!(refused(without).contains("linux.timeOffsets"));
    let mut other = late("true");
    linux(&mut other).set_time_offsets(offsets("realtime"));
    assert!(refused(other).contains("use monotonic or boottime"));
}

#[test]
fn a_process_is_scheduled_as_it_asks_for() {
    let asks = |script: &str, field: &str, value: Value| {
        let mut whole = serde_json::to_value(shell(script)).unwrap();
        whole["process"][field] = value;
        serde_json::from_value::<Spec>(whole).unwrap()
    };
    // The priority and the policy, of awk itself.
    let script = "awk '{print $19, $41}' /proc/self/stat";
    assert_eq!(said(asks(script, "scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}))), "5 3\n");
    assert_eq!(said(asks(script, "scheduler", json!({"policy": "SCHED_IDLE"}))), "0 5\n");
    let io = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    assert_eq!(said(asks("/bin/busybox ionice", "ioPriority", io)), "best-effort: prio 6\n");
    let wrong = json!({"policy": "SCHED_BATCH", "nice": 40});
    assert!(refused(asks("true", "scheduler", wrong)).contains("process.scheduler.nice"));
    let wrong = json!({"class": "IOPRIO_CLASS_BE", "priority": 8});
    assert!(refused(asks("true", "ioPriority", wrong)).contains("process.ioPriority.priority"));
}

#[test]
fn a_personality_is_seen_by_the_container_and_what_enters_it() {
    let mut spec = shell("/bin/busybox uname -m; exec sleep 1000");
    linux(&mut spec).set_personality(Some(serde_json::from_value(json!({"domain": "LINUX32"})).unwrap()));
    let bundle = Bundle::new(spec);
    create(&bundle, &["create", "ID"]);
    bundle.ok(&["start", "ID"]);
    let native = String::from_utf8(Command::new("uname").arg("-m").output().unwrap().stdout).unwrap();
    let inside = bundle.ok(&["exec", "ID", "/bin/busybox", "uname", "-m"]);
    assert_ne!(inside, native);
    let deadline = std::time::Instant::now() + crate::bed::DEADLINE;
    while fs::read_to_string(bundle.path("out")).unwrap() != inside {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn another_major_version_is_refused_and_a_newer_minor_one_runs() {
    for (version, runs) in
        [("1.0.0", true), ("1.99.0", true), ("2.0.0", false), ("0.9.0", false), ("x", false)]
    {
        let mut spec = shell("true");
        spec.set_version(version.to_owned());
        match runs {
            true => assert_eq!(said(spec), ""),
            false => assert!(refused(spec).contains("is not known"), "{version}"),
        }
    }
    for runtime in ["crun"].iter().filter(|name| is_there(name)) {
        let mut spec = shell("true");
        spec.set_version("2.0.0".to_owned());
        assert!(!run(&Bundle::new(spec), runtime).status.success());
    }
}

#[test]
fn the_name_of_the_domain_is_a_parameter_and_that_of_the_host_is_not() {
    for runtime in std::iter::once(HAKO).chain(["runc"].into_iter().filter(is_there)) {
        let with = |name: &str| {
            let mut spec = shell("cat /proc/sys/kernel/domainname");
            linux(&mut spec).set_sysctl(Some([(name.to_owned(), "here".to_owned())].into()));
            run(&Bundle::new(spec), runtime)
        };
        assert_eq!(String::from_utf8_lossy(&with("kernel.domainname").stdout), "here\n", "{runtime}");
        let refused = with("kernel.hostname");
        let words = String::from_utf8_lossy(&refused.stderr).replace('\\', "");
        let wanted =
            r#"sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field"#;
        assert!(!refused.status.success() && words.contains(wanted), "{runtime}: {words}");
    }
}

#[test]
fn what_came_with_later_versions_is_refused_by_name() {
    for (part, field, value) in [
        ("linux", "memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})),
        ("linux", "netDevices", json!({"eth0": {"name": "eth1"}})),
        ("process", "execCPUAffinity", json!({"initial": "0"})),
    ] {
        let mut whole = serde_json::to_value(shell("true")).unwrap();
        whole[part][field] = value;
        assert!(refused(serde_json::from_value(whole).unwrap()).contains(field), "{field}");
    }
}
