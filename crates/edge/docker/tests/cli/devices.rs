//! Devices of the Container Device Interface.

use crate::daemon::{Daemon, with_daemon};

const CAMERA: &str = r#"
cdiVersion: "0.7.0"
kind: acme.com/camera
containerEdits:
  env: [CAMERAS=here]
devices:
- name: front
  containerEdits:
    env: [FRONT=yes]
    deviceNodes:
    - {path: /dev/front, hostPath: /dev/zero, permissions: r}
    mounts:
    - {hostPath: DIR/driver, containerPath: /opt/driver, options: [ro]}
    hooks:
    - hookName: createContainer
      path: /bin/sh
      args: [sh, -c, 'bundle=$(sed "s/.*\"bundle\":\"//; s/\".*//"); root=$(sed "s/.*\"root\":{\"path\":\"//; s/\".*//" $bundle/config.json); echo hooked >$root/hooked']
    additionalGids: [4242]
- name: back
  containerEdits:
    hooks:
    - {hookName: prestart, path: /bin/sh, args: [sh, -c, 'cat >DIR/prestart']}
    - hookName: createRuntime
      path: /bin/sh
      args:
      - sh
      - -c
      - 'cat >DIR/created; id=$(sed "s/.*\"pid\":\([0-9]*\).*/\1/" DIR/created);
        readlink /proc/self/ns/mnt /proc/$id/ns/mnt >DIR/namespaces; ls /proc/$id/root/DIR/engine >DIR/seen;
        bundle=$(sed "s/.*\"bundle\":\"//; s/\".*//" DIR/created);
        root=$(sed "s/.*\"root\":{\"path\":\"//; s/\".*//" $bundle/config.json); ls $root >>DIR/seen'
    - {hookName: poststart, path: /bin/sh, args: [sh, -c, 'cat >DIR/started']}
    - {hookName: poststop, path: /bin/sh, args: [sh, -c, 'cat >>DIR/stopped; echo >>DIR/stopped']}
- name: broken
  containerEdits:
    hooks:
    - {hookName: createRuntime, path: /bin/sh, args: [sh, -c, 'echo out; echo no camera >&2; exit 3']}
    - {hookName: poststop, path: /bin/sh, args: [sh, -c, 'cat >>DIR/broken']}
- name: slow
  containerEdits:
    hooks:
    - {hookName: createRuntime, path: /bin/sleep, args: [sleep, '100'], timeout: 1}
- name: late
  containerEdits:
    hooks:
    - {hookName: poststart, path: /bin/false}
"#;

fn describe(docker: &Daemon, name: &str, text: &str) {
    std::fs::create_dir_all(docker.dir.join("cdi")).unwrap();
    std::fs::create_dir_all(docker.dir.join("driver")).unwrap();
    std::fs::write(docker.dir.join("driver/lib"), "library\n").unwrap();
    let text = text.replace("DIR", docker.dir.to_str().unwrap());
    std::fs::write(docker.dir.join("cdi").join(name), text).unwrap();
}

/// Only newer command lines know such devices.
fn newest(docker: &Daemon) -> bool {
    docker.run(&["create", "--help"]).1.contains("--annotation")
}

#[test]
fn a_device_brings_all_that_its_vendor_says() {
    with_daemon(|docker| {
        docker.import_busybox();
        describe(docker, "camera.yaml", CAMERA);
        let script = "echo $CAMERAS $FRONT; head -c 2 /dev/front | wc -c; id -G | grep -o 4242; \
                      cat /opt/driver/lib /hooked; touch /opt/driver/x || echo refused";
        docker.with_each_cli(|docker| {
            if !newest(docker) {
                return;
            }
            let run = ["run", "--rm", "--device", "acme.com/camera=front", "busybox", "sh", "-c", script];
            let (_, out, err) = docker.run(&run);
            assert!(out.starts_with("here yes\n2\n4242\nlibrary\nhooked\nrefused\n"), "{out}{err}");
            let (code, _, err) =
                docker.run(&["run", "--rm", "--device", "acme.com/camera=side", "busybox", "true"]);
            let words = "CDI device injection failed: unresolvable CDI devices acme.com/camera=side";
            assert!(code == 125 && err.contains(words) && err.contains("acme.com/camera=front"), "{err}");
        });
    });
}

#[test]
fn hooks_of_the_host_run_around_a_container_s_life() {
    with_daemon(|docker| {
        docker.import_busybox();
        describe(docker, "camera.yaml", CAMERA);
        let read = |name: &str| std::fs::read_to_string(docker.dir.join(name)).unwrap_or_default();
        docker.with_each_cli(|docker| {
            if !newest(docker) {
                return;
            }
            let run = ["run", "-d", "--device", "acme.com/camera=back", "busybox", "sleep", "100"];
            let id = docker.ok(&run).trim().to_owned();
            let state = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
            let pid = docker.ok(&["inspect", "--format", "{{.State.Pid}}", &id]).trim().to_owned();
            for (name, status) in [("prestart", "creating"), ("created", "creating"), ("started", "running")]
            {
                let state = state(name);
                assert_eq!(
                    (&state["id"], &state["status"]),
                    (&id.as_str().into(), &status.into()),
                    "{state}"
                );
                assert_eq!(state["pid"].to_string(), pid, "{state}");
            }
            let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
            let (of_hook, of_container) =
                read("namespaces").split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            assert_eq!(of_hook, own.to_str().unwrap());
            assert_ne!(of_container.trim(), of_hook);
            let seen = read("seen");
            assert!(
                seen.contains("containers") && seen.contains("\nproc\n"),
                "before the root is entered: {seen}"
            );
            assert_eq!(read("stopped"), "");
            docker.ok(&["restart", "--time", "0", &id]);
            docker.ok(&["rm", "--force", &id]);
            let stopped = read("stopped");
            let ends: Vec<serde_json::Value> =
                stopped.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(ends.len(), 2, "{stopped}");
            assert!(
                ends.iter().all(|end| end["status"] == "stopped" && end["id"] == id.as_str()),
                "{stopped}"
            );
        });
    });
}

#[test]
fn a_hook_that_fails_fails_the_start_and_leaves_nothing() {
    with_daemon(|docker| {
        docker.import_busybox();
        describe(docker, "camera.yaml", CAMERA);
        docker.with_each_cli(|docker| {
            if !newest(docker) {
                return;
            }
            for (device, words) in [
                (
                    "broken",
                    "error running createRuntime hook #0: exit status 3, stdout: out, stderr: no camera",
                ),
                ("slow", "error running createRuntime hook #0: hook ran past specified timeout of 1.0s"),
                ("late", "error running poststart hook #0: exit status 1, stdout: , stderr:"),
            ] {
                let device = format!("acme.com/camera={device}");
                let (code, out, err) =
                    docker.run(&["run", "--rm", "--device", &device, "busybox", "sleep", "100"]);
                assert!(code == 125 && err.contains(words), "{device}: {code} {out}{err}");
                assert_eq!(docker.ok(&["ps", "-aq"]), "");
            }
            let ended = std::fs::read_to_string(docker.dir.join("broken")).unwrap();
            assert!(ended.contains("\"status\":\"stopped\""), "{ended}");
            std::fs::remove_file(docker.dir.join("broken")).unwrap();
        });
    });
}

#[test]
fn gpus_are_devices_of_their_vendor() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let (code, _, err) = docker.run(&["run", "--rm", "--gpus", "all", "busybox", "true"]);
            let words = "could not select device driver \"\" with capabilities: [[gpu]]";
            assert!(code == 125 && err.contains(words) && err.contains("nvidia.com/gpu=all"), "{err}");
        });
        let gpu = |name: &str| format!(r#"{{"name":"{name}","containerEdits":{{"env":["GPU_{name}=1"]}}}}"#);
        let devices = [gpu("0"), gpu("1"), gpu("all")].join(",");
        let text = format!(r#"{{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[{devices}]}}"#);
        describe(docker, "gpu.json", &text);
        docker.with_each_cli(|docker| {
            for (asked, has) in
                [("all", "GPU_all=1\n"), ("2", "GPU_0=1\nGPU_1=1\n"), ("device=1", "GPU_1=1\n")]
            {
                let script = "env | grep GPU | sort";
                assert_eq!(docker.ok(&["run", "--rm", "--gpus", asked, "busybox", "sh", "-c", script]), has);
            }
        });
    });
}

#[test]
fn info_says_where_devices_are_described_and_which() {
    with_daemon(|docker| {
        describe(docker, "camera.yaml", CAMERA);
        let info = docker.ok(&["info", "--format", "{{json .CDISpecDirs}} {{json .}}"]);
        assert!(info.contains(docker.dir.join("cdi").to_str().unwrap()), "{info}");
    });
}
