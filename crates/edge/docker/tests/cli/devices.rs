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
    - {hookName: poststop, path: /bin/true}
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
            let (code, _, err) =
                docker.run(&["run", "--rm", "--device", "acme.com/camera=back", "busybox", "true"]);
            assert!(code == 125 && err.contains("hooks.poststop"), "{err}");
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
