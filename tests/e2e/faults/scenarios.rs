//! What the daemon is at when it dies: what is there before, the operation, and how it goes on afterwards.

use super::api::{Api, answers};
use crate::platform::wait_until;
use serde_json::{Value, json};
use std::process::Command;

pub struct Scenario {
    pub name: &'static str,
    /// The points it passes: a whole name, or a beginning that ends with a dot.
    pub points: &'static [&'static str],
    /// Points that what is there before passes already, once.
    pub passed: &'static [&'static str],
    pub prepare: fn(&Api),
    /// May end in the middle.
    pub act: fn(&Api) -> std::io::Result<()>,
    /// The same again, and a look at what came of it.
    pub again: fn(&Api),
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "create",
        points: &["container.create.", "volume.create.", "volume.fill.", "snapshot.make."],
        passed: &[],
        prepare: network,
        act: |api| post(api, "/containers/create?name=box", container(json!({}))),
        again: |api| {
            if !api.has("/containers/box/json") {
                create(api);
            }
            start(api);
        },
    },
    Scenario {
        name: "create a volume",
        points: &["volume.create."],
        passed: &[],
        prepare: |_| {},
        act: |api| post(api, "/volumes/create", json!({ "Name": "vol" })),
        again: |api| {
            api.post("/volumes/create", json!({ "Name": "vol" }));
            assert!(api.has("/volumes/vol"));
        },
    },
    Scenario {
        name: "remove a volume",
        points: &["volume.remove."],
        passed: &[],
        prepare: |api| drop(api.post("/volumes/create", json!({ "Name": "vol" }))),
        act: |api| delete(api, "/volumes/vol"),
        again: |api| {
            api.delete("/volumes/vol");
            assert!(!api.has("/volumes/vol"));
        },
    },
    Scenario {
        name: "start",
        points: &["container.start.", "network.connect.", "network.publish."],
        passed: &[],
        prepare: created,
        act: |api| post(api, "/containers/box/start", Value::Null),
        again: start,
    },
    Scenario {
        name: "restart",
        points: &["container.start.", "sandbox.down.", "sandbox.down.detached", "sandbox.down.group"],
        passed: &["container.start."],
        prepare: running,
        act: |api| post(api, "/containers/box/restart?t=5", Value::Null),
        again: |api| {
            api.post("/containers/box/restart?t=5", Value::Null);
            works(api);
        },
    },
    Scenario {
        name: "start after start",
        points: &["network.ahead."],
        passed: &[],
        prepare: running,
        // It dies behind the answer, or at the next one.
        act: |api| (0..5).try_for_each(|_| post(api, "/containers/box/restart?t=0", Value::Null)),
        again: |api| {
            api.post("/containers/box/restart?t=0", Value::Null);
            works(api);
        },
    },
    Scenario {
        name: "stop",
        points: &[
            "container.stop.",
            "container.exit.",
            "sandbox.down.",
            "sandbox.down.detached",
            "sandbox.down.group",
            "network.release.",
        ],
        passed: &[],
        prepare: running,
        act: |api| post(api, "/containers/box/stop?t=5", Value::Null),
        again: |api| {
            api.post("/containers/box/stop?t=5", Value::Null);
            assert_eq!(state(api)["Status"], "exited");
            start(api);
        },
    },
    Scenario {
        name: "stop without grace",
        points: &["container.stop.killed"],
        passed: &[],
        prepare: running,
        // A signal that ends nothing: by SIGTERM it may be gone before it would be killed.
        act: |api| post(api, "/containers/box/stop?t=0&signal=SIGCONT", Value::Null),
        again: |api| {
            api.post("/containers/box/stop?t=0", Value::Null);
            assert_eq!(state(api)["Status"], "exited");
            start(api);
        },
    },
    Scenario {
        name: "kill",
        points: &["container.kill."],
        passed: &[],
        prepare: running,
        act: |api| post(api, "/containers/box/kill", Value::Null),
        again: |api| {
            if state(api)["Running"] == true {
                // It may end before this comes.
                let _ = api.call("POST", "/containers/box/kill", &Value::Null);
            }
            wait_until("the end of what was killed", || state(api)["Status"] == "exited");
            start(api);
        },
    },
    Scenario {
        name: "start again by policy",
        points: &["container.restart.", "container.exit."],
        passed: &[],
        prepare: |api| running_as(api, json!({ "RestartPolicy": { "Name": "always" } })),
        act: end_inside,
        again: |api| {
            wait_until("the container to run again", || state(api)["Status"] == "running");
            works(api);
        },
    },
    Scenario {
        name: "remove",
        points: &[
            "container.remove.",
            "snapshot.remove.",
            "volume.remove.",
            "sandbox.down.detached",
            "sandbox.down.group",
        ],
        passed: &[],
        prepare: running,
        act: |api| delete(api, "/containers/box?force=1&v=1"),
        again: |api| {
            api.delete("/containers/box?force=1&v=1");
            assert!(!api.has("/containers/box/json"));
        },
    },
    Scenario {
        name: "remove what has no volume of its own",
        points: &["container.remove.", "container.remove.freed", "snapshot.remove.", "network.release."],
        passed: &[],
        prepare: |api| {
            network(api);
            api.post("/containers/create?name=box", without_own_volumes());
            start(api);
        },
        act: |api| delete(api, "/containers/box?force=1&v=1"),
        again: |api| {
            api.delete("/containers/box?force=1&v=1");
            assert!(!api.has("/containers/box/json"));
        },
    },
    Scenario {
        name: "remove what exited",
        points: &["container.remove.", "network.release."],
        passed: &[],
        prepare: |api| running_as(api, json!({ "AutoRemove": true })),
        act: end_inside,
        again: |api| wait_until("the container to be gone", || !api.has("/containers/box/json")),
    },
    Scenario {
        name: "exec",
        points: &["container.exec."],
        passed: &["container.exec."],
        prepare: running,
        act: |api| api.try_exec("box", "true").map(drop),
        again: works,
    },
    Scenario {
        name: "pause",
        points: &["container.pause."],
        passed: &[],
        prepare: running,
        act: |api| post(api, "/containers/box/pause", Value::Null),
        again: |api| {
            if state(api)["Paused"] != true {
                api.post("/containers/box/pause", Value::Null);
            }
            api.post("/containers/box/unpause", Value::Null);
            works(api);
        },
    },
    Scenario {
        name: "unpause",
        points: &["container.unpause."],
        passed: &[],
        prepare: |api| {
            running(api);
            api.post("/containers/box/pause", Value::Null);
        },
        act: |api| post(api, "/containers/box/unpause", Value::Null),
        again: |api| {
            if state(api)["Paused"] == true {
                api.post("/containers/box/unpause", Value::Null);
            }
            works(api);
        },
    },
    Scenario {
        name: "rename",
        points: &["container.rename."],
        passed: &[],
        prepare: running,
        act: |api| post(api, "/containers/box/rename?name=crate", Value::Null),
        again: |api| {
            if api.has("/containers/crate/json") {
                api.post("/containers/crate/rename?name=box", Value::Null);
            }
            assert!(!api.has("/containers/crate/json"));
            works(api);
        },
    },
    Scenario {
        name: "update",
        points: &["container.update."],
        passed: &[],
        prepare: running,
        act: |api| post(api, "/containers/box/update", json!({ "Memory": SMALLER, "MemorySwap": SMALLER })),
        again: |api| {
            assert_eq!(inspect(api)["HostConfig"]["Memory"], limit(api), "told and in force");
            api.post("/containers/box/update", json!({ "Memory": SMALLER, "MemorySwap": SMALLER }));
            assert_eq!((&inspect(api)["HostConfig"]["Memory"], limit(api)), (&json!(SMALLER), SMALLER));
        },
    },
    Scenario {
        name: "commit",
        points: &["container.hold.", "image.commit."],
        passed: &[],
        prepare: running,
        act: |api| post(api, "/commit?container=box&repo=made", Value::Null),
        again: |api| {
            works(api);
            api.post("/commit?container=box&repo=made", Value::Null);
            let made = json!({ "Image": "made", "Cmd": ["true"], "HostConfig": { "NetworkMode": "none" } });
            api.post("/containers/create?name=made", made);
            api.post("/containers/made/start", Value::Null);
            api.delete("/containers/made?force=1");
        },
    },
    Scenario {
        name: "build",
        points: &["build.ahead.", "build.settle.", "build.later."],
        passed: &[],
        prepare: |_| {},
        // It dies behind the answer, where results of steps are left that the image did not need.
        act: |api| build(api).map(drop),
        again: |api| {
            let said = build(api).unwrap();
            assert!(!said.contains("errorDetail"), "{said}");
            // Both copies; what they copy is not needed then.
            let said = build(api).unwrap();
            assert_eq!(said.matches("Using cache").count(), 2, "{said}");
            let script = "cmp /one/Dockerfile /two/Dockerfile && grep -q stage /one/Dockerfile";
            let built = json!({
                "Image": "built", "Cmd": ["sh", "-c", script], "HostConfig": { "NetworkMode": "none" },
            });
            api.post("/containers/create?name=built", built);
            api.post("/containers/built/start", Value::Null);
            assert_eq!(api.post("/containers/built/wait", Value::Null)["StatusCode"], 0);
            api.delete("/containers/built");
            api.delete("/images/built");
            api.post("/build/prune", Value::Null);
        },
    },
    Scenario {
        name: "make a network",
        points: &["network.create."],
        passed: &[],
        prepare: |_| {},
        act: |api| post(api, "/networks/create", json!({ "Name": "net" })),
        again: |api| {
            if !api.has("/networks/net") {
                network(api);
            }
            create(api);
            start(api);
        },
    },
    Scenario {
        name: "remove a network",
        points: &["network.remove."],
        passed: &[],
        prepare: network,
        act: |api| delete(api, "/networks/net"),
        again: |api| {
            if api.has("/networks/net") {
                api.delete("/networks/net");
            }
            network(api);
            create(api);
            start(api);
        },
    },
    Scenario {
        name: "connect",
        points: &["container.connect.", "network.connect."],
        passed: &["network.connect."],
        prepare: with_another_network,
        act: |api| post(api, "/networks/other/connect", json!({ "Container": "box" })),
        again: |api| {
            if inspect(api)["NetworkSettings"]["Networks"]["other"].is_null() {
                api.post("/networks/other/connect", json!({ "Container": "box" }));
            }
            assert_eq!(addresses(api), 2);
            works(api);
        },
    },
    Scenario {
        name: "disconnect",
        points: &["container.disconnect.", "network.disconnect."],
        passed: &[],
        prepare: |api| {
            with_another_network(api);
            api.post("/networks/other/connect", json!({ "Container": "box" }));
        },
        act: |api| post(api, "/networks/net/disconnect", json!({ "Container": "box" })),
        again: |api| {
            if !inspect(api)["NetworkSettings"]["Networks"]["net"].is_null() {
                api.post("/networks/net/disconnect", json!({ "Container": "box" }));
            }
            assert_eq!(addresses(api), 1);
            let networks = inspect(api)["NetworkSettings"]["Networks"].clone();
            let way = api.exec("box", "ip route show default");
            assert!(way.contains(networks["other"]["Gateway"].as_str().unwrap()), "{way} {networks}");
            let hosts = api.exec("box", "cat /etc/hosts");
            assert!(hosts.contains(networks["other"]["IPAddress"].as_str().unwrap()), "{hosts}");
            works(api);
        },
    },
    Scenario {
        name: "take a link away",
        points: &["container.unlink."],
        passed: &[],
        prepare: |api| {
            api.post(
                "/containers/create?name=store",
                json!({ "Image": "busybox", "Cmd": ["sleep", "100000"] }),
            );
            api.post("/containers/store/start", Value::Null);
            running_as(api, json!({ "NetworkMode": "bridge", "Links": ["store:db"] }));
            assert!(api.exec("box", "cat /etc/hosts").contains("\tdb "), "there is no link");
        },
        act: |api| delete(api, "/containers/box/db?link=1"),
        again: |api| {
            if !inspect(api)["HostConfig"]["Links"].is_null() {
                api.delete("/containers/box/db?link=1");
            }
            assert!(inspect(api)["HostConfig"]["Links"].is_null());
            let hosts = api.exec("box", "cat /etc/hosts");
            assert!(!hosts.contains("\tdb "), "{hosts}");
            works(api);
        },
    },
    Scenario {
        name: "change ports",
        points: &["container.publish.", "network.publish."],
        passed: &["network.publish."],
        prepare: running,
        act: |api| post(api, "/containers/box/update", other_port()),
        again: |api| {
            works(api);
            api.post("/containers/box/update", other_port());
            assert!(answers(OTHER_PORT));
            assert_eq!(port(api), OTHER_PORT);
        },
    },
];

const LIMIT: u64 = 64 << 20;
const SMALLER: u64 = 48 << 20;
const OTHER_PORT: u16 = 8081;

fn other_port() -> Value {
    json!({ "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": OTHER_PORT.to_string() }] } })
}

/// A stage, and two copies of it: the second is made beside the first. What is told of it.
fn build(api: &Api) -> std::io::Result<String> {
    const FILE: &str = "FROM busybox AS stage\nCOPY Dockerfile /made/\n\
                        FROM busybox\nCOPY --from=stage /made /one\nCOPY --from=stage /made /two\n";
    let context = tempfile::tempdir()?;
    std::fs::write(context.path().join("Dockerfile"), FILE)?;
    let tar = Command::new("tar").arg("-C").arg(context.path()).args(["-c", "."]).output()?.stdout;
    let answer = api.send("POST", "/build?t=built", "application/x-tar", &tar)?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

fn post(api: &Api, path: &str, body: Value) -> std::io::Result<()> {
    api.call("POST", path, &body).map(drop)
}

fn delete(api: &Api, path: &str) -> std::io::Result<()> {
    api.call("DELETE", path, &Value::Null).map(drop)
}

/// A container that serves and ends with 3 when it is told to, with all that a container may have: a volume that is
/// filled from the image, one without a name, an image that is mounted, a limit, a network, a port.
fn container(more: Value) -> Value {
    let script = "httpd -p 80 -h /image; trap 'exit 3' TERM; sleep 100000 & wait";
    let mut host = json!({
        "NetworkMode": "net", "Memory": LIMIT, "MemorySwap": LIMIT, "Binds": ["full:/bin", "/anonymous"],
        "Mounts": [{ "Type": "image", "Source": "busybox", "Target": "/image" }],
        "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] },
    });
    host.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host, "ExposedPorts": { "80/tcp": {} },
        "Volumes": { "/anonymous": {} },
    })
}

/// Its removal is answered before all of it is given back.
fn without_own_volumes() -> Value {
    let mut body = container(json!({ "Binds": ["full:/bin"] }));
    body.as_object_mut().unwrap().remove("Volumes");
    body
}

fn network(api: &Api) {
    api.post("/networks/create", json!({ "Name": "net" }));
}

fn create(api: &Api) {
    api.post("/containers/create?name=box", container(json!({})));
}

fn created(api: &Api) {
    network(api);
    create(api);
}

fn running(api: &Api) {
    running_as(api, json!({}));
}

fn running_as(api: &Api, more: Value) {
    network(api);
    api.post("/containers/create?name=box", container(more));
    start(api);
}

fn with_another_network(api: &Api) {
    running(api);
    api.post("/networks/create", json!({ "Name": "other" }));
}

/// Starts it unless it runs.
fn start(api: &Api) {
    api.post("/containers/box/start", Value::Null);
    works(api);
}

fn end_inside(api: &Api) -> std::io::Result<()> {
    api.try_exec("box", "kill -TERM 1").map(drop)
}

fn inspect(api: &Api) -> Value {
    api.get("/containers/box/json")
}

fn state(api: &Api) -> Value {
    inspect(api)["State"].clone()
}

fn port(api: &Api) -> u16 {
    let ports = inspect(api)["NetworkSettings"]["Ports"].clone();
    ports["80/tcp"][0]["HostPort"].as_str().unwrap_or_default().parse().unwrap_or_default()
}

/// The limit that the kernel has.
fn limit(api: &Api) -> u64 {
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    api.exec("box", &format!("cat {files} 2>/dev/null"))
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap()
}

fn addresses(api: &Api) -> usize {
    let shown = api.exec("box", "ip -o -4 addr");
    shown.lines().filter(|line| line.contains("inet ") && !line.contains("127.0.0.1")).count()
}

/// It runs programs, and its port leads to it.
#[track_caller]
fn works(api: &Api) {
    let said = api.exec("box", "echo it works");
    assert!(said.contains("it works"), "{said:?} {}", state(api));
    let port = port(api);
    wait_until("an answer through the published port", || answers(port));
}

/// Removes all that a scenario may have made.
pub fn clean(api: &Api) {
    for container in api.get("/containers/json?all=1").as_array().unwrap() {
        api.delete(&format!("/containers/{}?force=1&v=1", container["Id"].as_str().unwrap()));
    }
    for network in ["net", "other"] {
        api.delete(&format!("/networks/{network}"));
    }
    for volume in ["vol", "full"] {
        api.delete(&format!("/volumes/{volume}"));
    }
    for image in api.get("/images/json").as_array().unwrap() {
        let is_ours =
            image["RepoTags"].as_array().is_some_and(|tags| tags.contains(&json!("busybox:latest")));
        if !is_ours {
            api.delete(&format!("/images/{}?force=1", image["Id"].as_str().unwrap()));
        }
    }
}

/// Does everything once, so that what is made when it is first needed is there.
pub fn warm_up(api: &Api) {
    running(api);
    post(api, "/containers/create?name=crate", json!({ "Image": "busybox", "Cmd": ["true"] })).unwrap();
    api.post("/containers/crate/start", Value::Null);
    api.post("/commit?container=box&repo=made", Value::Null);
    build(api).unwrap();
    clean(api);
    api.post("/build/prune", Value::Null);
}
